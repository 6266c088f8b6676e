"""What the engine counts since it started."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fwlb.model import Refusal


@dataclass(slots=True)
class Tally:
    """How many of one thing were opened and closed."""

    opened: int = 0
    closed: int = 0

    @property
    def now(self) -> int:
        return self.opened - self.closed

    def as_json(self) -> dict[str, int]:
        return {"now": self.now, "opened": self.opened, "closed": self.closed}


@dataclass(slots=True)
class Counters:
    """`opened` and `closed` only grow. Every reason has a refusal counter, from zero."""

    sessions: Tally = field(default_factory=Tally)
    pinholes: Tally = field(default_factory=Tally)
    bindings: Tally = field(default_factory=Tally)
    went_opaque: int = 0
    refusals: dict[Refusal, int] = field(default_factory=lambda: dict.fromkeys(Refusal, 0))

    def refuse(self, reason: Refusal) -> None:
        self.refusals[reason] += 1

    def as_json(self) -> dict[str, Any]:
        return {
            "sessions": {**self.sessions.as_json(), "went_opaque": self.went_opaque},
            "pinholes": self.pinholes.as_json(),
            "bindings": self.bindings.as_json(),
            "refusals": {reason.value: count for reason, count in self.refusals.items()},
        }
