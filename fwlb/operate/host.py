"""All of the kernel that `up` touches, as one value: the table, the relay's routing, sysctls.

`observe` reads it, `HostPlan` compares two of them, `move` carries a plan out. Going back is the
same as going forward with the two sides exchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fwlb.kernel import nft, routes, sysctl
from fwlb.ruleset.plan import Content, LineChange, Op, Plan


@dataclass(frozen=True, slots=True)
class HostState:
    """What fwlb made (or would make) on this host. `sysctl` holds only names that matter to it."""

    table: Content | None = None
    routing: frozenset[routes.RelayRoute] = frozenset()
    sysctl: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        table = self.table
        return {
            "table": {
                "listing": table.listing,
                "elements": {name: list(texts) for name, texts in table.elements.items()},
                "opaque": dict(table.opaque),
                "opaque_text": dict(table.opaque_text),
            }
            if table
            else None,
            "routing": [list(item) for item in sorted(self.routing)],
            "sysctl": dict(self.sysctl),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> HostState:
        table = value["table"]
        return cls(
            Content(
                table["listing"],
                {name: tuple(texts) for name, texts in table["elements"].items()},
                table["opaque"],
                table["opaque_text"],
            )
            if table
            else None,
            frozenset(routes.RelayRoute(*item) for item in value["routing"]),
            value["sysctl"],
        )


class HostPlan:
    """How to get from `live` to `wanted`."""

    def __init__(self, live: HostState, wanted: HostState) -> None:
        self.live = live
        self.wanted = wanted
        self.table = Plan(live.table, wanted.table)

    @property
    def is_empty(self) -> bool:
        return self.table.is_empty and not any(True for _ in self._lines())

    def patch(self) -> Iterator[LineChange | str]:
        """The plan as a patch; what is not the table stands under a heading of its own."""
        yield from self.table.patch()
        heading = ""
        for title, line in self._lines():
            if title != heading:
                heading = title
                yield f"@@ {title} @@"
            yield line

    def as_json(self) -> dict[str, Any]:
        lines = [
            {"what": what, "op": line.op.value, "text": line.text} for what, line in self._lines()
        ]
        return {**self.table.as_json(), "same": self.is_empty, "host": lines}

    def _lines(self) -> Iterator[tuple[str, LineChange]]:
        for item in sorted(self.live.routing - self.wanted.routing):
            yield "routing", LineChange(Op.REMOVE, str(item))
        for item in sorted(self.wanted.routing - self.live.routing):
            yield "routing", LineChange(Op.ADD, str(item))
        for name, value in self.wanted.sysctl.items():
            before = self.live.sysctl.get(name)
            if before != value:
                if before is not None:
                    yield "sysctl", LineChange(Op.REMOVE, f"{name} = {before}")
                yield "sysctl", LineChange(Op.ADD, f"{name} = {value}")


def observe(route_tables: Iterable[int], sysctl_names: Iterable[str]) -> HostState:
    """What is on this host now."""
    snapshot = nft.snapshot()
    return HostState(
        content(snapshot) if snapshot else None,
        observe_routing(route_tables),
        {name: sysctl.read(name) for name in sysctl_names},
    )


def observe_routing(route_tables: Iterable[int]) -> frozenset[routes.RelayRoute]:
    """The relay's rules and routes, in all tables that fwlb ever used here."""
    return frozenset(item for table in route_tables for item in routes.relay_routes(table))


def content(snapshot: nft.Snapshot) -> Content:
    """A snapshot in the terms of a plan."""
    return Content(snapshot.listing, snapshot.elements, snapshot.opaque, snapshot.opaque_text)


def move(plan: HostPlan) -> None:
    """Carry out a plan; raises on the first thing that fails, and the caller moves back.

    The order closes before it opens: routes stand before rules that use them, the firewall stands
    while forwarding (a sysctl) is on.
    """
    for item in sorted(plan.wanted.routing - plan.live.routing):
        routes.add_relay_route(item)
    if plan.wanted.table is None:
        _set_sysctls(plan)
    if not plan.table.is_empty:
        nft.run(plan.table.transaction())
    if plan.wanted.table is not None:
        _set_sysctls(plan)
    for item in sorted(plan.live.routing - plan.wanted.routing):
        routes.remove_relay_route(item)


def _set_sysctls(plan: HostPlan) -> None:
    for name, value in plan.wanted.sysctl.items():
        if plan.live.sysctl.get(name) != value:
            sysctl.write(name, value)
