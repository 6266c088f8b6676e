"""One control connection: what its helper says becomes sends and changes, in stream order."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from typing import Any

from fwlb.config.models import Helper
from fwlb.engine.channels import Books, Channels, Timeouts
from fwlb.engine.draft import Draft
from fwlb.helpers.contract import (
    ChannelEnded,
    ChannelExpected,
    ChannelOffered,
    Event,
    Forward,
    Refused,
    StreamHelper,
    WentOpaque,
)
from fwlb.model import Refusal, Session, Side
from fwlb.nat.parties import Parties


class Phase(Enum):
    """`reading` may become one of the others; those stay."""

    READING = "reading"
    OPAQUE = "opaque"
    CLOSING = "closing"


class RunningSession:
    """A session with its helper, its channels and the policy of the time when it was opened."""

    def __init__(
        self,
        session: Session,
        parties: Parties,
        helper: StreamHelper,
        policy: Helper,
        books: Books,
        *,
        binding_timeout_s: float,
    ) -> None:
        self.session = session
        self.parties = parties
        self.phase = Phase.READING
        timeouts = Timeouts(binding_timeout_s, policy.pinhole_timeout_s)
        self.channels = Channels(session.id, parties, books, timeouts)
        self._helper = helper
        self._policy = policy
        self._counters = books.counters

    def receive(self, sender: Side, data: bytes, draft: Draft, now: float) -> None:
        """Take what `sender` sent."""
        if self.phase is Phase.READING:
            self._carry_out(self._helper.receive(sender, data, now), draft, now)
        elif self.phase is Phase.OPAQUE:
            draft.send(sender.other, data)
        self._tell_phase(draft)

    def eof(self, sender: Side, draft: Draft, now: float) -> None:
        """`sender` will send no more."""
        if self.phase is Phase.READING:
            self._carry_out(self._helper.eof(sender, now), draft, now)
        self._tell_phase(draft)

    def as_json(self, now: float) -> dict[str, Any]:
        return {
            "id": self.session.id,
            **self.fields(),
            "client_seen": str(self.parties.client.seen),
            "age_s": round(max(0.0, now - self.session.opened_at), 3),
            "opaque": self.phase is Phase.OPAQUE,
            "channels": self.channels.as_json(now),
        }

    def fields(self) -> dict[str, Any]:
        """Who takes part, for logs and listings."""
        return {
            "helper": self.session.helper,
            "client": str(self.session.client),
            "dialled": str(self.session.dialled),
            "server": str(self.session.server),
        }

    def _carry_out(self, events: Iterable[Event], draft: Draft, now: float) -> None:
        for event in events:
            if self.phase is Phase.CLOSING:
                return
            match event:
                case Forward(sender=sender, message=message):
                    draft.send(sender.other, message)
                case ChannelOffered():
                    self._offer(event, draft, now)
                case ChannelExpected(channel=channel):
                    reason = self.channels.expect(channel, draft, now)
                    if reason is not None:
                        self._log_refusal(reason, draft, channel=channel)
                case ChannelEnded(channel=channel, why=why):
                    self.channels.end(channel, why, draft, now)
                case Refused():
                    self._log_refusal(
                        event.reason, draft, detail=event.detail, sender=event.sender.value
                    )
                    draft.send(event.sender.other, self._instead(event))
                case WentOpaque():
                    self._go_opaque(event, draft, now)

    def _offer(self, event: ChannelOffered, draft: Draft, now: float) -> None:
        to = event.sender.other
        channel = self.channels.offer(event.channel, event.sender, event.endpoint, draft, now)
        if isinstance(channel, Refusal):
            self._log_refusal(
                channel,
                draft,
                channel=event.channel,
                sender=event.sender.value,
                detail=f"cannot provide {event.endpoint}",
            )
            draft.send(to, self._instead(event))
            return
        told = channel.public or event.endpoint
        message = event.message if told == event.endpoint else event.rewritten(told)
        draft.announce(to, message, otherwise=self._instead(event), channel=channel)

    def _instead(self, event: ChannelOffered | Refused) -> bytes:
        """What is sent for a message whose wish is not granted."""
        return event.substitute if self._policy.refused == "reject" else event.message

    def _go_opaque(self, event: WentOpaque, draft: Draft, now: float) -> None:
        closing = event.refusal is not None and self._policy.garbled == "close"
        self.phase = Phase.CLOSING if closing else Phase.OPAQUE
        if event.refusal is not None:
            self._log_refusal(event.refusal, draft, detail=event.why, sender=event.sender.value)
        draft.log(
            "session-opaque",
            why=event.why,
            reason=event.refusal.value if event.refusal else None,
            closing=closing,
        )
        # nobody will say when these channels are over
        self.channels.end_all("opaque", draft, now)
        if not closing:
            self._counters.went_opaque += 1
            draft.send(event.sender.other, event.message)

    def _log_refusal(
        self, reason: Refusal, draft: Draft, *, detail: str = "", **fields: Any
    ) -> None:
        self._counters.refuse(reason)
        draft.log("refused", reason=reason.value, detail=detail, **fields)

    def _tell_phase(self, draft: Draft) -> None:
        draft.opaque = self.phase is Phase.OPAQUE
        draft.close = self.phase is Phase.CLOSING
