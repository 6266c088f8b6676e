"""What the daemon and the engine tell each other."""

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
    """Something an operator may want to see. Names and fields are stable; values are text, numbers,
    true, false or null.

    ==================  =========================================================================
    session-opened      helper, client, dialled, server, client_seen (address that the server
                        sees), hairpin
    session-closed      helper, client, dialled, server, why, age_s
    session-opaque      why, reason (null where the protocol goes so), closing
    binding-opened      channel, inside, public, timeout_s
    binding-closed      channel, inside, public, why
    pinhole-opened      channel, flow, source_nat (null: by the zones' rules), timeout_s
    pinhole-closed      channel, flow, source_nat, why
    refused             reason, detail; where known: sender, channel, helper, client, dialled;
                        channels (how many ended because the kernel refused elements)
    ==================  =========================================================================

    `why` is `timeout` for what lapsed in the kernel unused or long in use, a refusal's name for
    what the kernel did not take, else the protocol's or the daemon's own words.
    """

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
