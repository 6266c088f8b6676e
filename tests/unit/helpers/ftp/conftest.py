"""A dialogue with the helper, told back as short sentences."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fwlb.helpers.contract import (
    ChannelEnded,
    ChannelExpected,
    ChannelOffered,
    Event,
    Forward,
    Refused,
    WentOpaque,
)
from fwlb.helpers.ftp import FtpHelper, FtpLimits
from fwlb.model import Endpoint, Side

CLIENT4, SERVER4, PUBLISHED4 = "192.0.2.1", "198.51.100.2", "203.0.113.7"
CLIENT6, SERVER6 = "2001:db8::1", "2001:db8:1::2"


def tell(event: Event) -> str:
    """One event in words; what is only passed on is an empty string."""
    match event:
        case Forward():
            return ""
        case ChannelOffered():
            return f"offer {event.channel} by {event.sender.value}: {event.endpoint}"
        case ChannelExpected():
            return f"expect {event.channel}"
        case ChannelEnded():
            return f"end {event.channel}: {event.why}"
        case Refused():
            return f"refuse {event.sender.value}: {event.reason.value}"
        case WentOpaque():
            return f"opaque: {event.refusal.value if event.refusal else event.why}"


def message_of(event: Event) -> tuple[Side | None, bytes]:
    """Who sent the bytes that an event returns, and those bytes."""
    if isinstance(event, ChannelExpected | ChannelEnded):
        return None, b""
    return event.sender, event.message


class Dialogue:
    """Feeds a helper and checks, each time, that it returns exactly the bytes it was given."""

    def __init__(self, limits: FtpLimits | None = None) -> None:
        self.helper = FtpHelper(
            client_addresses=frozenset(map(ip_address, (CLIENT4, CLIENT6))),
            server_addresses=frozenset(map(ip_address, (SERVER4, PUBLISHED4, SERVER6))),
            limits=limits or FtpLimits(),
        )
        self.events: list[Event] = []
        self._given = dict.fromkeys(Side, b"")
        self._returned = dict.fromkeys(Side, b"")

    def server(self, *lines: str | bytes) -> list[str]:
        """The server sends lines (text gets CRLF, bytes stay); what the helper made of them."""
        return self._send(Side.SERVER, lines)

    def client(self, *lines: str | bytes) -> list[str]:
        """The client sends lines."""
        return self._send(Side.CLIENT, lines)

    def ask(self, command: str, *replies: str) -> list[str]:
        """A command and its reply lines."""
        return self.client(command) + self.server(*replies)

    def eof(self, sender: Side) -> list[str]:
        return self._take(self.helper.eof(sender, 0.0))

    def offered(self) -> ChannelOffered:
        """The latest offer."""
        return next(e for e in reversed(self.events) if isinstance(e, ChannelOffered))

    def refused(self) -> Refused:
        """The latest refusal."""
        return next(e for e in reversed(self.events) if isinstance(e, Refused))

    def rewritten(self, endpoint: str, port: int) -> bytes:
        """The latest offer with another endpoint in it."""
        return self.offered().rewritten(Endpoint(ip_address(endpoint), port))

    def returned(self, side: Side) -> bytes:
        return self._returned[side]

    def _send(self, sender: Side, lines: tuple[str | bytes, ...]) -> list[str]:
        data = b"".join(
            line if isinstance(line, bytes) else line.encode() + b"\r\n" for line in lines
        )
        self._given[sender] += data
        return self._take(self.helper.receive(sender, data, 0.0))

    def _take(self, events: list[Event]) -> list[str]:
        for event in events:
            side, message = message_of(event)
            if side:
                self._returned[side] += message
            if isinstance(event, ChannelOffered):
                assert event.rewritten(event.endpoint) == event.message
        self.events += events
        for side in Side:
            assert self._given[side].startswith(self._returned[side])
        held = sum(len(self._given[side]) - len(self._returned[side]) for side in Side)
        assert held == self.helper.buffered_bytes
        return [told for event in events if (told := tell(event))]


@pytest.fixture
def fresh() -> Dialogue:
    """Nobody has said anything."""
    return Dialogue()


@pytest.fixture
def session() -> Dialogue:
    """Greeted and logged in."""
    dialogue = Dialogue()
    dialogue.server("220 ready")
    dialogue.ask("USER anonymous", "331 password please")
    assert dialogue.ask("PASS a@b", "230 welcome") == []
    return dialogue


@pytest.fixture
def with_limits() -> type[Dialogue]:
    """For a dialogue with limits of its own."""
    return Dialogue
