"""The engine: all sessions of this gateway, their limits, and what the kernel holds for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from fwlb.config.lookup import ZoneTable
from fwlb.config.models import Config, Helper, Helpers
from fwlb.engine.channels import Books
from fwlb.engine.draft import Draft
from fwlb.engine.exchange import Admitted, Opening, Outcome, Rejected
from fwlb.engine.ledger import key_of
from fwlb.engine.session import RunningSession
from fwlb.helpers import registry
from fwlb.helpers.contract import StreamHelper
from fwlb.model import (
    Bucket,
    ChangeKind,
    Element,
    Endpoint,
    IPAddress,
    Protocol,
    Refusal,
    Session,
    Side,
)
from fwlb.nat.leases import PublicPorts
from fwlb.nat.parties import Parties, parties
from fwlb.nat.ports import Entropy

MakeHelper = Callable[[str, Helpers, frozenset[IPAddress], frozenset[IPAddress]], StreamHelper]
"""name, configuration, addresses of the client, addresses of the server -> a new helper."""


class Engine:
    """Sessions in, Outcomes out. Not thread-safe, never waits.

    `now` is in seconds on one monotonic scale for all calls. The daemon carries out the Outcomes
    of one session in the order it got them.
    """

    def __init__(
        self, config: Config, *, entropy: Entropy, make_helper: MakeHelper = registry.make
    ) -> None:
        self._use(config)
        self._make_helper = make_helper
        self._books = Books(PublicPorts(config.bindings.span, _bucket(config), entropy=entropy))
        self._sessions: dict[str, RunningSession] = {}
        self._per_source: Counter[IPAddress] = Counter()

    def server_of(self, dialled: Endpoint) -> Endpoint:
        """Where a client that dialled `dialled` must be connected to."""
        return self._zones.published("tcp", dialled) or dialled

    def open(self, opening: Opening, now: float) -> tuple[Admitted | Rejected, Outcome]:
        """A new control connection. Raises ValueError for a session id that is in use, ConfigError
        for a helper that does not exist."""
        if opening.session_id in self._sessions:
            raise ValueError(f"session {opening.session_id} is open already")
        draft = Draft(opening.session_id)
        ends = self._judge(opening)
        if isinstance(ends, Rejected):
            self._books.counters.refuse(ends.reason)
            draft.log(
                "refused",
                reason=ends.reason.value,
                detail=ends.detail,
                helper=opening.helper,
                client=str(opening.client),
                dialled=str(opening.dialled),
            )
            return ends, draft.outcome(self._books.ledger)
        running = self._start(opening, ends, now)
        draft.log(
            "session-opened",
            **running.fields(),
            client_seen=str(ends.client.seen),
            hairpin=ends.hairpin,
        )
        admitted = Admitted(running.session, ends.relay_source)
        return admitted, draft.outcome(self._books.ledger)

    def receive(self, session_id: str, sender: Side, data: bytes, now: float) -> Outcome:
        """`sender` sent `data`. Raises KeyError for an unknown session."""
        draft = Draft(session_id)
        self._sessions[session_id].receive(sender, data, draft, now)
        return draft.outcome(self._books.ledger)

    def eof(self, session_id: str, sender: Side, now: float) -> Outcome:
        """`sender` will send no more; the other direction goes on. Raises KeyError for an unknown
        session."""
        draft = Draft(session_id)
        self._sessions[session_id].eof(sender, draft, now)
        return draft.outcome(self._books.ledger)

    def close(self, session_id: str, now: float, why: str) -> Outcome:
        """The control connection is gone, and with it all that it opened. Flows that run go on.
        No error for a session that is closed already."""
        draft = Draft(session_id)
        running = self._sessions.pop(session_id, None)
        if running is not None:
            source = running.session.client.address
            self._per_source[source] -= 1
            if not self._per_source[source]:
                del self._per_source[source]
            running.channels.end_all("session closed", draft, now)
            self._books.counters.sessions.closed += 1
            age_s = round(max(0.0, now - running.session.opened_at), 3)
            draft.log("session-closed", **running.fields(), why=why, age_s=age_s)
        return draft.outcome(self._books.ledger)

    def kernel_refused(
        self, session_id: str, outcome: Outcome, reason: Refusal, now: float
    ) -> Outcome:
        """The kernel has none of the changes of `outcome`, or did not answer.

        Channels that needed them are forgotten. The answer deletes whatever of them could be in
        the kernel after all, and repeats the deletions that were lost. When the kernel refuses
        that too nothing more is tried: elements lapse by themselves.
        """
        draft = Draft(session_id)
        wanted = [c.element for c in outcome.changes if c.kind is not ChangeKind.DELETE]
        deleted = [c.element for c in outcome.changes if c.kind is ChangeKind.DELETE]
        running = self._sessions.get(session_id)
        ended: list[int] = []
        if running is not None and wanted:
            keys = {key_of(element) for element in wanted}
            ended = running.channels.undo(keys, reason.value, draft, now)
        if wanted:
            self._books.ledger.delete_again([*wanted, *deleted], draft.changes)
        self._books.counters.refuse(reason)
        draft.log(
            "refused",
            reason=reason.value,
            detail=f"the kernel took none of {len(outcome.changes)} changes",
            channels=len(ended),
        )
        return draft.outcome(self._books.ledger)

    def count(self, reason: Refusal) -> None:
        """The daemon refused something itself (a time-out of the relay)."""
        self._books.counters.refuse(reason)

    def tick(self, now: float) -> Outcome:
        """Forget what has lapsed in the kernel. Call at `next_deadline` or later."""
        draft = Draft("")
        for session_id, channel, part in self._books.lapses.pop_due(now):
            draft.session_id = session_id
            self._sessions[session_id].channels.lapse(channel, part, draft, now)
        return draft.outcome(self._books.ledger)

    def next_deadline(self, now: float) -> float | None:
        """When `tick` has something to do, not before `now`; None while nothing is open."""
        earliest = self._books.lapses.next()
        return None if earliest is None else max(earliest, now)

    def reconfigure(self, config: Config, now: float) -> Outcome:
        """New sessions go by `config`. Running ones keep their parties, policies and time-outs;
        their ports stay booked."""
        self._use(config)
        self._books.ports.reconfigure(config.bindings.span, _bucket(config), now)
        return self.tick(now)

    def elements(self) -> list[Element]:
        """What the kernel holds by the book. A pinhole whose flow has come is still in it, and
        what lapsed is so until the next `tick`."""
        return self._books.ledger.elements()

    def snapshot(self, now: float) -> dict[str, Any]:
        """Counters and gauges for `fwlb status`, JSON-able."""
        oldest = min((s.session.opened_at for s in self._sessions.values()), default=now)
        return {
            **self._books.counters.as_json(),
            "oldest_session_age_s": round(max(0.0, now - oldest), 3),
            "ports": [
                {
                    "address": str(usage.address),
                    "protocol": usage.protocol.name.lower(),
                    "in_use": usage.in_use,
                    "resting": usage.resting,
                    "ready": usage.ready,
                }
                for usage in self._books.ports.usage()
            ],
        }

    def sessions(self, now: float) -> list[dict[str, Any]]:
        """Every open session for `fwlb sessions`, the oldest first, JSON-able."""
        return [running.as_json(now) for running in self._sessions.values()]

    def _use(self, config: Config) -> None:
        self._config = config
        self._zones = ZoneTable(config)

    def _judge(self, opening: Opening) -> Parties | Rejected:
        """May this session be opened, and who is who in it?"""
        relay, source = self._config.relay, opening.client.address
        if len(self._sessions) >= relay.max_sessions:
            return Rejected(Refusal.SESSION_LIMIT, f"{relay.max_sessions} sessions are open")
        if self._per_source[source] >= relay.max_sessions_per_source:
            limit = relay.max_sessions_per_source
            return Rejected(Refusal.SOURCE_LIMIT, f"{source} has {limit} sessions open")
        server = self.server_of(opening.dialled)
        if self._zones.published("tcp", opening.dialled) is None:
            rejected = self._forward_policy(source, server)
            if rejected is not None:
                return rejected
        ends = parties(source, opening.dialled, server, opening.egress, self._zones)
        if ends is None:
            detail = f"no own address towards {server.address}"
            return Rejected(Refusal.UPSTREAM_UNREACHABLE, detail)
        return ends

    def _forward_policy(self, source: IPAddress, server: Endpoint) -> Rejected | None:
        """What the rules would do with this connection, were it not for the relay."""
        zone_from, zone_to = self._zones.zone_of(source), self._zones.zone_of(server.address)
        if zone_from is None or zone_to is None:
            stranger = source if zone_from is None else server.address
            return Rejected(Refusal.POLICY, f"{stranger} is in no zone")
        action = self._zones.action(zone_from, zone_to, Protocol.TCP, server.port)
        if action == "accept":
            return None
        service = f"tcp/{server.port}"
        return Rejected(Refusal.POLICY, f"{service} from {zone_from} to {zone_to}: {action}")

    def _start(self, opening: Opening, ends: Parties, now: float) -> RunningSession:
        helpers, name = self._config.helpers, opening.helper
        session = Session(
            id=opening.session_id,
            helper=name,
            client=opening.client,
            dialled=opening.dialled,
            server=self.server_of(opening.dialled),
            opened_at=now,
        )
        helper = self._make_helper(name, helpers, ends.client.addresses, ends.server.addresses)
        policy: Helper = getattr(helpers, name)
        running = RunningSession(
            session,
            ends,
            helper,
            policy,
            self._books,
            binding_timeout_s=self._config.bindings.timeout_s,
        )
        self._sessions[opening.session_id] = running
        self._per_source[opening.client.address] += 1
        self._books.counters.sessions.opened += 1
        return running


def _bucket(config: Config) -> Bucket:
    """One gateway by itself owns all its ports."""
    return Bucket(0, owner=config.node.name)
