"""The channels of one session: announced, expected, over; and what the kernel has for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from fwlb.engine.counters import Counters
from fwlb.engine.deadlines import Deadlines
from fwlb.engine.draft import Draft
from fwlb.engine.ledger import GRACE_S, Key, Ledger, key_of
from fwlb.model import Binding, Element, Endpoint, Flow, Pinhole, Protocol, Refusal, Side
from fwlb.nat import bindings, pinholes
from fwlb.nat.leases import PublicPorts
from fwlb.nat.parties import Parties

MAX_CHANNELS = 64
"""Channels of one session at one time, whatever its helper thinks."""


class Part(Enum):
    """The two things that a channel may have in the kernel."""

    BINDING = "binding"
    PINHOLE = "pinhole"


Holder = tuple[str, int, Part]
"""Who holds an element: session id, channel, part."""


@dataclass(slots=True)
class Books:
    """What all sessions share."""

    ports: PublicPorts
    ledger: Ledger = field(default_factory=Ledger)
    lapses: Deadlines[Holder] = field(default_factory=Deadlines)
    counters: Counters = field(default_factory=Counters)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each part waits for the first packet of its flow, in seconds."""

    binding_s: float
    pinhole_s: float


@dataclass(slots=True, eq=False)
class Channel:
    """`inside` is where `listener` really listens; `public` is what stands for it on this gateway,
    None where the other end sees the real endpoint. The parts are None while not open.

    Channels are told apart by identity: a number may be used again.
    """

    number: int
    listener: Side
    inside: Endpoint
    public: Endpoint | None
    binding: Binding | None = None
    pinhole: Pinhole | None = None
    held: dict[Part, tuple[Element, ...]] = field(default_factory=dict)


class Channels:
    """All channels of one session. A public port stays booked until its channel ends, also when
    the binding has lapsed: a transfer may still use it."""

    def __init__(self, session_id: str, parties: Parties, books: Books, timeouts: Timeouts) -> None:
        self._session_id = session_id
        self._parties = parties
        self._books = books
        self._timeouts = timeouts
        self._channels: dict[int, Channel] = {}

    def offer(
        self, number: int, listener: Side, announced: Endpoint, draft: Draft, now: float
    ) -> Channel | Refusal:
        """`listener` announces an endpoint. Opens the binding, where one is needed."""
        self.end(number, "replaced", draft, now)
        if len(self._channels) >= MAX_CHANNELS:
            return Refusal.CHANNEL_LIMIT
        view = self._parties.view(listener)
        # the listener may know itself by its public address; it can listen on the real one only
        inside = Endpoint(view.real, announced.port)
        if not view.translated:
            self._channels[number] = channel = Channel(number, listener, inside, None)
            return channel
        public = self._books.ports.lease(Protocol.TCP, inside, view.seen, now)
        if public is None:
            return Refusal.NO_FREE_PORT
        self._channels[number] = channel = Channel(number, listener, inside, public)
        self._open_binding(channel, public, draft, now)
        return channel

    def expect(self, number: int, draft: Draft, now: float) -> Refusal | None:
        """Both ends agreed: open the pinhole. Nothing happens for a channel that was refused."""
        channel = self._channels.get(number)
        if channel is None:
            return None
        connector = channel.listener.other
        pinhole = Pinhole(
            Flow(Protocol.TCP, self._parties.view(connector).real, channel.inside),
            timeout_s=self._timeouts.pinhole_s,
            source_nat=self._parties.source_nat(connector),
        )
        elements = pinholes.elements(pinhole)
        if any(self._books.ledger.conflicts(element) for element in elements):
            self.end(number, Refusal.FLOW_TAKEN.value, draft, now)
            draft.withdraw(channel)
            return Refusal.FLOW_TAKEN
        if channel.public is not None and self._half_gone(channel, now):
            self._open_binding(channel, channel.public, draft, now)
        if channel.pinhole is None:
            channel.pinhole = pinhole
            self._books.counters.pinholes.opened += 1
            draft.log(
                "pinhole-opened", **_pinhole_fields(channel, pinhole), timeout_s=pinhole.timeout_s
            )
        self._hold(channel, Part.PINHOLE, elements, pinhole.timeout_s, draft, now)
        return None

    def end(self, number: int, why: str, draft: Draft, now: float) -> None:
        """The channel is over: nothing of it stays, but a flow that runs goes on. No error when
        there is no such channel."""
        channel = self._channels.pop(number, None)
        if channel is None:
            return
        for part in (Part.PINHOLE, Part.BINDING):
            self._close(channel, part, why, draft, now)
        if channel.public is not None:
            self._books.ports.give_back(Protocol.TCP, channel.inside, channel.public, now)

    def end_all(self, why: str, draft: Draft, now: float) -> None:
        for number in list(self._channels):
            self.end(number, why, draft, now)

    def lapse(self, number: int, part: Part, draft: Draft, now: float) -> None:
        """The kernel's time-out of one part is over."""
        self._close(self._channels[number], part, "timeout", draft, now)

    def undo(self, refused: set[Key], why: str, draft: Draft, now: float) -> list[int]:
        """The kernel did not take these elements: end the channels that hold one of them."""
        numbers = [
            channel.number
            for channel in self._channels.values()
            if any(key_of(e) in refused for held in channel.held.values() for e in held)
        ]
        for number in numbers:
            self.end(number, why, draft, now)
        return numbers

    def as_json(self, now: float) -> list[dict[str, Any]]:
        return [self._describe(channel, now) for channel in self._channels.values()]

    def _open_binding(self, channel: Channel, public: Endpoint, draft: Draft, now: float) -> None:
        timeout_s = self._timeouts.binding_s
        if channel.binding is None:
            bucket = self._books.ports.bucket
            binding = Binding(Protocol.TCP, channel.inside, public, bucket, timeout_s)
            channel.binding = binding
            self._books.counters.bindings.opened += 1
            draft.log("binding-opened", **_binding_fields(channel, binding), timeout_s=timeout_s)
        # A server published under two addresses may announce one port under both. Its own
        # endpoint then keeps the first translation: a listener starts no flows, so only the way
        # in matters, and that is another key for each public address.
        ledger = self._books.ledger
        way_in, way_out = bindings.elements(channel.binding)
        elements = (way_in,) if ledger.conflicts(way_out) else (way_in, way_out)
        self._hold(channel, Part.BINDING, elements, timeout_s, draft, now)

    def _half_gone(self, channel: Channel, now: float) -> bool:
        """Whether the binding has lapsed or will soon, so that its pinhole would outlive it."""
        left_s = self._books.lapses.left(self._holder(channel, Part.BINDING), now)
        return left_s < self._timeouts.binding_s / 2

    def _hold(
        self,
        channel: Channel,
        part: Part,
        elements: tuple[Element, ...],
        timeout_s: float,
        draft: Draft,
        now: float,
    ) -> None:
        holder = self._holder(channel, part)
        for element in elements:
            self._books.ledger.hold(holder, element, draft.changes, now)
        channel.held[part] = elements
        self._books.lapses.set(holder, now + timeout_s + GRACE_S)
        draft.needs_kernel(channel)

    def _close(self, channel: Channel, part: Part, why: str, draft: Draft, now: float) -> None:
        holder = self._holder(channel, part)
        for element in channel.held.pop(part, ()):
            self._books.ledger.release(holder, element, draft.changes, now)
        self._books.lapses.drop(holder)
        if part is Part.PINHOLE and channel.pinhole is not None:
            draft.log("pinhole-closed", **_pinhole_fields(channel, channel.pinhole), why=why)
            self._books.counters.pinholes.closed += 1
            channel.pinhole = None
        elif part is Part.BINDING and channel.binding is not None:
            draft.log("binding-closed", **_binding_fields(channel, channel.binding), why=why)
            self._books.counters.bindings.closed += 1
            channel.binding = None

    def _holder(self, channel: Channel, part: Part) -> Holder:
        return self._session_id, channel.number, part

    def _describe(self, channel: Channel, now: float) -> dict[str, Any]:
        pinhole = channel.pinhole
        return {
            "channel": channel.number,
            "listener": channel.listener.value,
            "endpoint": str(channel.inside),
            "public": str(channel.public) if channel.public else None,
            "binding_left_s": self._left_s(channel, Part.BINDING, now),
            "flow": str(pinhole.flow) if pinhole else None,
            "source_nat": str(pinhole.source_nat) if pinhole and pinhole.source_nat else None,
            "pinhole_left_s": self._left_s(channel, Part.PINHOLE, now),
        }

    def _left_s(self, channel: Channel, part: Part, now: float) -> float | None:
        if part not in channel.held:
            return None
        left_s = self._books.lapses.left(self._holder(channel, part), now) - GRACE_S
        return round(max(0.0, left_s), 3)


def _binding_fields(channel: Channel, binding: Binding) -> dict[str, Any]:
    return {
        "channel": channel.number,
        "inside": str(binding.inside),
        "public": str(binding.public),
    }


def _pinhole_fields(channel: Channel, pinhole: Pinhole) -> dict[str, Any]:
    return {
        "channel": channel.number,
        "flow": str(pinhole.flow),
        "source_nat": str(pinhole.source_nat) if pinhole.source_nat else None,
    }
