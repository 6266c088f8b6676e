"""The element writer beside libnftables (JSON and text): one timed element, and batches.

All begin with the same values as the engine makes them (`Change`), and end when the kernel has
answered: putting them into the form that the library takes is part of its way.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from typing import Any

from bench.report import Row
from bench.scratch import in_scratch_namespace
from fwlb.kernel.elements import ElementWriter
from fwlb.model import Change, ChangeKind, Element

TURNS = 10
"""The ways take turns, because the set grows and the machine has moods."""
SINGLES, BATCHES = 300, 20
"""In one turn of one way."""
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
TARGET_SINGLE, TARGET_BATCH = 5, 2
OURS = "raw netlink"
Way = Callable[[list[Change]], object]
_numbers = itertools.count()


def run() -> list[Row]:
    return in_scratch_namespace(_measure)


def _measure() -> list[Row]:
    import nftables

    nft = nftables.Nftables()

    def checked(answer: tuple[int, Any, str]) -> None:
        if answer[0]:
            raise RuntimeError(answer[2])

    checked(nft.cmd(RULES))
    with ElementWriter() as writer:
        others: dict[str, Way] = {
            "libnftables JSON": lambda changes: checked(nft.json_cmd(_as_json(changes))),
            "libnftables text": lambda changes: checked(nft.cmd(_as_text(changes))),
        }
        ways = {OURS: writer.apply, **others}
        single_s = _durations_s(ways, 1, SINGLES)
        batch_s = _durations_s(ways, BATCH, BATCHES)
    rows = []
    for other in others:
        wanted = "JSON" in other
        rows += [
            Row(
                f"element writer, one timed element, p{percent}",
                _percentile(single_s[OURS], percent) * 1e6,
                "us",
                _percentile(single_s[other], percent) * 1e6,
                other,
                more_is_better=False,
                target=TARGET_SINGLE if wanted and percent == 50 else None,
            )
            for percent in (50, 99)
        ]
        rows.append(
            Row(
                f"element writer, batches of {BATCH}",
                BATCH / statistics.median(batch_s[OURS]),
                "elements/s",
                BATCH / statistics.median(batch_s[other]),
                other,
                target=TARGET_BATCH if wanted else None,
            )
        )
    return rows


def _changes(count: int) -> list[Change]:
    elements = (Element("pinhole4", _key(), None, TIMEOUT_S) for _ in range(count))
    return [Change(ChangeKind.ADD, element) for element in elements]


def _key() -> tuple[int, IPv4Address, IPv4Address, int]:
    number = next(_numbers)
    return 6, IPv4Address(0x0A000000 + (number >> 14)), SERVER, 1024 + (number & 0x3FFF)


def _as_text(changes: list[Change]) -> str:
    texts = []
    for change in changes:
        key = " . ".join(["tcp", *map(str, change.element.key[1:])])
        texts.append(f"{key} timeout {change.element.timeout_s}s")
    return f"add element inet fwlb pinhole4 {{ {', '.join(texts)} }}"


def _as_json(changes: list[Change]) -> dict[str, Any]:
    elements = []
    for change in changes:
        _, source, destination, port = change.element.key
        value = {"concat": ["tcp", str(source), str(destination), port]}
        elements.append({"elem": {"val": value, "timeout": change.element.timeout_s}})
    element = {"family": "inet", "table": "fwlb", "name": "pinhole4", "elem": elements}
    return {"nftables": [{"add": {"element": element}}]}


def _durations_s(ways: dict[str, Way], count: int, times: int) -> dict[str, list[float]]:
    """How long each way takes for `count` elements."""
    durations: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, way in ways.items():
            for _ in range(times):
                changes = _changes(count)
                began = time.perf_counter()
                way(changes)
                durations[name].append(time.perf_counter() - began)
    return durations


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
