"""The element writer beside libnftables (JSON and text): one timed element, and batches."""

from __future__ import annotations

import itertools
import statistics
import time
from ipaddress import IPv4Address
from typing import Any

from bench.report import Row
from fwlb.kernel import netns
from fwlb.kernel.elements import ElementWriter
from fwlb.model import Change, ChangeKind, Element

NAMESPACE = "fwlb-bench-elements"
SINGLES = 3000
BATCHES = 40
BATCH = 1000
TIMEOUT_S = 600
RULES = """table inet fwlb {
    set pinhole4 {
        type inet_proto . ipv4_addr . ipv4_addr . inet_service
        flags timeout,dynamic
        size 4000000
    }
}
"""
SERVER = IPv4Address("203.0.113.10")
_numbers = itertools.count()


def _key() -> tuple[int, IPv4Address, IPv4Address, int]:
    number = next(_numbers)
    return 6, IPv4Address(0x0A000000 + (number >> 14)), SERVER, 1024 + (number & 0x3FFF)


def _change() -> Change:
    return Change(ChangeKind.ADD, Element("pinhole4", _key(), None, TIMEOUT_S))


def _text() -> str:
    _, source, destination, port = _key()
    return f"tcp . {source} . {destination} . {port} timeout {TIMEOUT_S}s"


def _json() -> dict[str, Any]:
    _, source, destination, port = _key()
    value = {"concat": ["tcp", str(source), str(destination), port]}
    return {"elem": {"val": value, "timeout": TIMEOUT_S}}


def run() -> list[Row]:
    with netns.temporary(NAMESPACE) as namespace:
        return namespace.call(_measure)


def _measure() -> list[Row]:
    import nftables

    nft = nftables.Nftables()
    status, _, error = nft.cmd(RULES)
    if status:
        raise RuntimeError(error)

    def by_json(count: int) -> None:
        element = {"family": "inet", "table": "fwlb", "name": "pinhole4"}
        element["elem"] = [_json() for _ in range(count)]  # type: ignore[assignment]
        status, _, error = nft.json_cmd({"nftables": [{"add": {"element": element}}]})
        if status:
            raise RuntimeError(error)

    def by_text(count: int) -> None:
        texts = ", ".join(_text() for _ in range(count))
        status, _, error = nft.cmd(f"add element inet fwlb pinhole4 {{ {texts} }}")
        if status:
            raise RuntimeError(error)

    with ElementWriter() as writer:

        def raw(count: int) -> None:
            writer.apply([_change() for _ in range(count)])

        ways = {"raw": raw, "libnftables JSON": by_json, "libnftables text": by_text}
        single = {name: _single_us(way) for name, way in ways.items()}
        batch = {name: _batch_rate(way) for name, way in ways.items()}
    rows = []
    for name in ("libnftables JSON", "libnftables text"):
        rows.append(
            Row(
                "element writer, one timed element, p50",
                single["raw"][0],
                "us",
                single[name][0],
                name,
                more_is_better=False,
                target=5 if "JSON" in name else None,
            )
        )
        rows.append(
            Row(
                "element writer, one timed element, p99",
                single["raw"][1],
                "us",
                single[name][1],
                name,
                more_is_better=False,
            )
        )
        rows.append(
            Row(
                f"element writer, batches of {BATCH}",
                batch["raw"],
                "elements/s",
                batch[name],
                name,
                target=3 if "JSON" in name else None,
            )
        )
    return rows


def _single_us(way: Any) -> tuple[float, float]:
    durations = []
    for _ in range(SINGLES):
        began = time.perf_counter()
        way(1)
        durations.append((time.perf_counter() - began) * 1e6)
    durations.sort()
    return statistics.median(durations), durations[int(len(durations) * 0.99)]


def _batch_rate(way: Any) -> float:
    rates = []
    for _ in range(BATCHES):
        began = time.perf_counter()
        way(BATCH)
        rates.append(BATCH / (time.perf_counter() - began))
    return statistics.median(rates)
