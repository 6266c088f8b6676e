"""The pure core: what happens to control connections, and what the kernel must know for it.

The daemon tells the engine what came in and carries out the `Outcome`: first all `changes` in one
kernel transaction, then the `sends` in order. When the kernel refuses the changes the daemon sends
`sends_if_refused` instead and says so with `kernel_refused`. The engine never waits, reads no
clock and remembers only what its limits allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fwlb.model import Change, Endpoint, IPAddress, Refusal, Session, Side


@dataclass(frozen=True, slots=True)
class Opening:
    """A control connection that the relay accepted. `egress` is this gateway's own address on the
    interface towards the server: what masquerading would use."""

    session_id: str
    helper: str
    client: Endpoint
    dialled: Endpoint
    egress: IPAddress | None


@dataclass(frozen=True, slots=True)
class Admitted:
    """Connect to `session.server`, as `source` (the client's own address, or the gateway's)."""

    session: Session
    source: IPAddress


@dataclass(frozen=True, slots=True)
class Rejected:
    """Reset the connection."""

    reason: Refusal
    detail: str


@dataclass(frozen=True, slots=True)
class Send:
    """Send `data` to the end `to` of the session."""

    to: Side
    data: bytes


@dataclass(frozen=True, slots=True)
class LogEvent:
    """Something an operator may want to see. `name` is stable (`pinhole-opened`)."""

    name: str
    session_id: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What to do now. `opaque`: from now on move bytes without asking. `close`: end both legs
    once everything is sent."""

    changes: tuple[Change, ...] = ()
    sends: tuple[Send, ...] = ()
    sends_if_refused: tuple[Send, ...] = ()
    events: tuple[LogEvent, ...] = field(default=())
    opaque: bool = False
    close: bool = False
