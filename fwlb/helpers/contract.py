"""What a helper of a stream protocol promises to the engine.

A helper is given bytes with the side they come from, and returns events in stream order. The
concatenation of all `message`s that it returns for one side is exactly what that side sent: a
helper never swallows, reorders or repeats a byte. What may be *changed* is an event of its own,
whose `rewritten()` gives the new message; what is *refused* carries a `substitute`.

Who decides what:

* the helper knows the protocol: which message announces an endpoint, whether the other side
  accepted it, when the channel is over, and what must never be opened;
* the engine knows NAT and the firewall: what the other side must see instead of the endpoint,
  and when a pinhole opens. It forwards a message only after the kernel has what it announces.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol as TypingProtocol

from fwlb.model import Endpoint, Refusal, Side


@dataclass(frozen=True, slots=True)
class Forward:
    """Pass `message` from `sender` to the other side as it is."""

    sender: Side
    message: bytes


@dataclass(frozen=True, slots=True)
class ChannelOffered:
    """`sender` announces that it listens on `endpoint` for one channel of this session.

    Nothing opens yet. `rewritten(e)` is the message with `e` in place of the endpoint;
    `rewritten(endpoint)` is byte for byte `message`. `substitute` is what to send
    instead when the engine cannot provide the channel and policy says `reject`.
    """

    sender: Side
    channel: int
    endpoint: Endpoint
    message: bytes
    rewritten: Callable[[Endpoint], bytes]
    substitute: bytes


@dataclass(frozen=True, slots=True)
class ChannelExpected:
    """The flow may come now. Usually both sides agreed; a protocol whose real servers connect
    before they answer says in its helper what it takes as agreement instead."""

    channel: int


@dataclass(frozen=True, slots=True)
class ChannelEnded:
    """The channel is over, was refused by the other side, or was replaced by another."""

    channel: int
    why: str


@dataclass(frozen=True, slots=True)
class Refused:
    """`message` asks for something that is never opened, for `reason`; `detail` is for the log.

    By policy `pass` the engine forwards `message` unchanged, by `reject` it sends `substitute`.
    """

    sender: Side
    reason: Refusal
    detail: str
    message: bytes
    substitute: bytes


@dataclass(frozen=True, slots=True)
class WentOpaque:
    """From here on the bytes of both sides mean nothing to the helper: it must not be given more.

    `refusal` is None where this is how the protocol goes (AUTH TLS), else what was wrong.
    `message` is what was already received from `sender` and not yet returned. A session
    that went opaque opens nothing any more and never becomes readable again.
    """

    sender: Side
    message: bytes
    why: str
    refusal: Refusal | None = None


Event = Forward | ChannelOffered | ChannelExpected | ChannelEnded | Refused | WentOpaque


class StreamHelper(TypingProtocol):
    """One control connection, sans IO. Time is in seconds on any monotonic scale."""

    def receive(self, sender: Side, data: bytes, now: float) -> list[Event]:
        """Take what `sender` sent. Never raises for any bytes and any split of them."""
        ...

    def eof(self, sender: Side, now: float) -> list[Event]:
        """`sender` will send no more: return what is buffered from it, at least."""
        ...

    @property
    def buffered_bytes(self) -> int:
        """Bytes received and not yet returned; bounded by the helper's limits."""
        ...
