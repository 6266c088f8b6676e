"""Any bytes from both sides, split anywhere: nothing is lost, nothing grows, nothing is raised."""

from __future__ import annotations

import time
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

LIMITS = FtpLimits(max_line_bytes=128, max_pending_commands=6, denied_ports=frozenset({3389}))
ELSEWHERE = Endpoint(ip_address("203.0.113.9"), 20480)
Stream = list[tuple[Side, bytes]]


def new_helper() -> FtpHelper:
    return FtpHelper(
        client_addresses=frozenset(map(ip_address, ("192.0.2.1", "2001:db8::1"))),
        server_addresses=frozenset(map(ip_address, ("198.51.100.2", "2001:db8::2"))),
        limits=LIMITS,
    )


CLIENT_LINES = [
    b"USER a", b"PASS b", b"PASV", b"EPSV", b"EPSV 2", b"EPSV ALL", b"RETR x", b"STOR y", b"LIST",
    b"PORT 192,0,2,1,19,137", b"PORT 192,0,2,1,0,22", b"PORT 10,0,0,1,19,137", b"PORT x",
    b"EPRT |1|192.0.2.1|5001|", b"EPRT |2|2001:db8::1|5001|", b"EPRT |3|x|1|", b"ABOR", b"STAT",
    b"\xff\xf4\xff\xf2ABOR", b"NOOP", b"REIN", b"QUIT", b"LPSV", b"AUTH TLS", b"GET / HTTP/1.1",
    b"", b"NO\x00OP", b"\xff\xfd", b"XLONG " + b"x" * 130,
]  # fmt: skip
SERVER_LINES = [
    b"220 ready", b"220-ready", b"120 wait", b"200 ok", b"230 in", b"331 more", b"350 more",
    b"150 begins", b"125 begins", b"226 done", b"226-", b"250 done", b"425 no", b"426 aborted",
    b"225 idle", b"500 what", b"550 no", b"421 bye", b"211-", b"211 end", b"234 tls",
    b"227 (198,51,100,2,156,64)", b"227 =10,0,0,1,156,64", b"227-", b"229 (|||40000|)", b"229-x",
    b"229 (|||22|)", b"", b"nonsense", b"200 \x00", b"\xff\xfe", b"200 " + b"x" * 130,
]  # fmt: skip
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r\r\n", b"\r", b""])


def lines(side: Side, texts: list[bytes]) -> st.SearchStrategy[tuple[Side, bytes]]:
    some = st.sampled_from(texts) | st.binary(max_size=20)
    return st.builds(lambda text, end: (side, text + end), some, ENDS)


def streams() -> st.SearchStrategy[Stream]:
    """Mostly things that could be FTP, so that the helper gets far; often a decent beginning."""
    anything = lines(Side.CLIENT, CLIENT_LINES) | lines(Side.SERVER, SERVER_LINES)
    greeting: Stream = [(Side.SERVER, b"220 ready\r\n")]
    login: Stream = [*greeting, (Side.CLIENT, b"USER a\r\n"), (Side.SERVER, b"230 in\r\n")]
    beginnings = st.sampled_from([[], greeting, login, login])
    return st.builds(lambda first, rest: first + rest, beginnings, st.lists(anything, max_size=40))


def message_of(event: Event) -> bytes:
    return b"" if isinstance(event, ChannelExpected | ChannelEnded) else event.message


class Watcher:
    """Feeds a helper and checks what the contract promises for every single event."""

    def __init__(self) -> None:
        self.helper = new_helper()
        self.given = dict.fromkeys(Side, b"")
        self.returned = dict.fromkeys(Side, b"")
        self.told: list[Any] = []
        self.offered = 0
        self.open: set[int] = set()
        self.expected: set[int] = set()
        self.opaque = False

    def feed(self, side: Side, data: bytes) -> None:
        self.given[side] += data
        self.take(self.helper.receive(side, data, 0.0))

    def take(self, events: list[Event]) -> None:
        for event in events:
            if not isinstance(event, ChannelExpected | ChannelEnded):
                self.returned[event.sender] += event.message
            assert not self.opaque or isinstance(event, Forward)
            self.check(event)
        held = sum(len(self.given[side]) - len(self.returned[side]) for side in Side)
        assert held == self.helper.buffered_bytes <= 3 * LIMITS.max_line_bytes
        assert all(self.given[side].startswith(self.returned[side]) for side in Side)
        # the one in use and the one that replaces it
        assert len(self.expected) <= 2

    def check(self, event: Event) -> None:
        match event:
            case Forward():
                assert event.message
                return
            case ChannelOffered():
                self.offered += 1
                assert event.channel == self.offered
                assert event.endpoint.port >= LIMITS.min_port
                assert event.endpoint.port not in LIMITS.denied_ports
                assert event.rewritten(event.endpoint) == event.message
                assert event.rewritten(ELSEWHERE) != event.message
                self.open.add(event.channel)
            case ChannelExpected():
                assert event.channel in self.open - self.expected
                self.expected.add(event.channel)
            case ChannelEnded():
                self.open.remove(event.channel)
                self.expected.discard(event.channel)
            case WentOpaque():
                self.opaque = True
                assert not self.open
                self.told.append((event.sender, event.why, event.refusal))
                return
            case Refused():
                assert event.substitute.endswith(b"\r\n")
                assert event.message.endswith(b"\n")
        self.told.append(event)


@given(streams(), st.sampled_from(Side))
def test_the_contract_holds_for_anything(stream: Stream, last: Side) -> None:
    watcher = Watcher()
    for side, data in stream:
        watcher.feed(side, data)
    watcher.take(watcher.helper.eof(last, 0.0))
    assert not watcher.open
    assert watcher.helper.buffered_bytes == 0
    assert watcher.returned == watcher.given


@given(st.lists(st.tuples(st.sampled_from(Side), st.binary(min_size=1)), max_size=30))
def test_noise_opens_nothing(stream: Stream) -> None:
    watcher = Watcher()
    for side, data in stream:
        watcher.feed(side, data)
    assert watcher.offered == 0


@given(streams(), st.data())
def test_splitting_changes_nothing(stream: Stream, data: st.DataObject) -> None:
    whole, split, bytewise = Watcher(), Watcher(), Watcher()
    for side, chunk in stream:
        whole.feed(side, chunk)
        cut = data.draw(st.integers(0, len(chunk)))
        split.feed(side, chunk[:cut])
        split.feed(side, chunk[cut:])
        for position in range(len(chunk)):
            bytewise.feed(side, chunk[position : position + 1])
    assert split.told == whole.told == bytewise.told
    assert split.returned == whole.returned == bytewise.returned
    assert split.helper.buffered_bytes == whole.helper.buffered_bytes


HOSTILE = [
    b" ", b"\t", b"\r", b"\xff", b"\xff\xff", b"\xff\xfb", b"1,", b"1", b"|", b"(", b"(|||1", b",",
    b"PORT ", b"227-", b"\xff\xf1",
]  # fmt: skip


@pytest.mark.parametrize(
    "start", [b"PORT ", b"EPRT ", b"NOOP ", b"227 ", b"229 ", b"227-", b"200 "]
)
@pytest.mark.parametrize("side", list(Side))
def test_time_grows_no_faster_than_the_line(side: Side, start: bytes) -> None:
    """A line of 60 kB of whatever repeats takes milliseconds, not seconds (no quadratic search)."""
    for part in HOSTILE:
        helper = FtpHelper(
            client_addresses=frozenset({ip_address("192.0.2.1")}),
            server_addresses=frozenset({ip_address("198.51.100.2")}),
            limits=FtpLimits(max_line_bytes=65536),
        )
        helper.receive(Side.SERVER, b"220 ready\r\n", 0.0)
        helper.receive(Side.CLIENT, b"EPSV\r\n" if start == b"229 " else b"PASV\r\n", 0.0)
        line = start + part * (60000 // len(part)) + b"\r\n"
        began = time.process_time()
        helper.receive(side, line, 0.0)
        assert time.process_time() - began < 1, part
