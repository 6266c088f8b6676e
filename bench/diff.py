"""How long `fwlb diff` takes with 10, 1,000 and 10,000 static elements, and beside a writer."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.report import Row, median_s
from bench.scratch import in_scratch_namespace
from fwlb import operate
from fwlb.config.models import Config
from fwlb.kernel.elements import ElementWriter
from fwlb.model import Change, ChangeKind, Element

COUNTS = (10, 1_000, 10_000)
ROUNDS = 5
LIMIT_S = 2.0
WRITES_PER_S = 5_000


def run() -> list[Row]:
    with TemporaryDirectory() as directory:
        return in_scratch_namespace(lambda: _measure(Path(directory)))


def _measure(directory: Path) -> list[Row]:
    rows = []
    baseline = 0.0
    for count in COUNTS:
        config = _config(directory, count)
        operate.apply(config, file=directory / "fwlb.toml", now_s=0.0, boot_id="bench")
        seconds = median_s(lambda config=config: operate.prepare(config), ROUNDS)  # type: ignore[misc]
        baseline = baseline or seconds
        rows.append(_row(f"diff, {count:,} static elements", seconds, baseline))
    stop = threading.Event()
    writer = threading.Thread(target=_write, args=(stop,))
    writer.start()
    try:
        seconds = median_s(lambda: operate.prepare(config), ROUNDS)
    finally:
        stop.set()
        writer.join()
    rows.append(_row(f"the same beside {WRITES_PER_S:,} commits/s", seconds, baseline))
    return rows


def _row(what: str, seconds: float, baseline: float) -> Row:
    few = f"{COUNTS[0]} elements"
    return Row(what, seconds, "s", baseline, few, more_is_better=False, limit=LIMIT_S)


def _config(directory: Path, count: int) -> Config:
    rules = directory / "rules.d" / "table"
    rules.mkdir(parents=True, exist_ok=True)
    elements = ", ".join(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(count))
    (rules / "many.nft").write_text(
        f"set many {{\n type ipv4_addr\n elements = {{ {elements} }}\n}}\n"
    )
    (directory / "fwlb.toml").write_text("")
    value: dict[str, Any] = {
        "node": {"name": "bench"},
        "zones": {"inside": {"interfaces": ["lan0"], "interfaces_may_be_absent": True}},
        "helpers": {"ftp": {"enabled": False}},
        "paths": {"rules": rules.parent, "state": directory / "state"},
    }
    return Config.model_validate(value)


def _write(stop: threading.Event) -> None:
    interval = 1 / WRITES_PER_S
    with ElementWriter() as writer:
        due = time.perf_counter()
        number = 0
        while not stop.is_set():
            number += 1
            element = Element("relay_alive", (1 + number % 200,), None, 5.0)
            writer.apply([Change(ChangeKind.RENEW, element)])
            due += interval
            time.sleep(max(0.0, due - time.perf_counter()))
