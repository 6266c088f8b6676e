"""Any bytes are a message or one refusal, in bounded time; however a stream is split."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwlb.helpers.sip import (
    Flaw,
    Message,
    PassThrough,
    Rewriter,
    SipLimits,
    StreamReader,
    Unread,
    quick_call_id,
    read_datagram,
    read_parts,
)
from tests.corpus.sip.messages import load_all

SEEDS = [*load_all("samples").values(), *load_all("torture").values()]
PIECES = [
    *(b"\r\n", b"\n", b"\r", b"\r\n ", b"\0", b" ", b",", b";", b'"', b"<", b">", b":", b"\\"),
    *(b"%", b"[", b"]", b"::", b"0", b"4294967296", b"Content-Length: 5\r\n", b"l:0\r\n"),
    *(b"Via: SIP/2.0/UDP h\r\n", b"i: x\r\n", b"Contact: *\r\n", b"--inner", b"\r\n\r\n", b"\xff"),
]
LIMITS = SipLimits(
    max_head_bytes=2000, max_headers=40, max_values=40, max_body_bytes=600, max_parts=4
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        until = at + draw(st.sampled_from([0, 0, 1, 2, 20]))
        data = data[:at] + draw(st.sampled_from(PIECES) | st.binary(max_size=4)) + data[until:]
    return data


def check(data: bytes) -> None:
    quick = quick_call_id(data)
    found = read_datagram(data, LIMITS)
    if isinstance(found, PassThrough):
        assert found.data == data
    elif isinstance(found, Message):
        assert found.call_id == quick
        assert Rewriter(found).build() == data
        assert len(found.body) <= LIMITS.max_body_bytes
        assert found.head.body_start - found.start <= LIMITS.max_head_bytes
        touch(found)
    else:
        assert found.detail.isascii()
        assert len(found.detail) < 500


def touch(message: Message) -> None:
    """Ask for everything that can be asked for: nothing of it may fail."""
    lines = message.head.all_fields()
    assert message.head.body_start == lines[-1].end + 2
    assert all(line.end == after.start for line, after in pairwise(lines))
    for via in message.vias:
        assert via.raw == message.head.text[via.start : via.end]
        assert via.branch != b""
        assert all(port is None or 0 < port < 65536 for port in (via.port, via.rport))
        assert (via.received is None) is (b"received" not in via.parameters)
        assert (via.maddr is None) is (b"maddr" not in via.parameters)
    for address in (message.sender, message.recipient, *message.contacts):
        assert address.uri.raw in address.raw
        assert address.display in address.raw
        assert address.tag == address.parameters.get(b"tag")
        assert address.uri.host_port in address.uri.raw
        assert address.uri.headers in address.uri.raw
        assert len(address.uri.parameters) <= address.uri.raw.count(b";")
    parts = read_parts(message, LIMITS)
    if not isinstance(parts, Flaw):
        assert len(parts) <= LIMITS.max_parts
        assert all(part.content in message.body for part in parts)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    check(data)


@given(mutated())
@settings(max_examples=400)
def test_mutated_messages(data: bytes) -> None:
    check(data)


@given(st.lists(mutated() | st.sampled_from(SEEDS), min_size=1, max_size=3), st.data())
@settings(max_examples=200)
def test_a_stream_says_the_same_however_it_is_split(sent: list[bytes], more: st.DataObject) -> None:
    stream = b"".join(sent)
    cuts = sorted(more.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    assert story(stream, cuts) == story(stream, [])


def story(stream: bytes, cuts: list[int]) -> list[Any]:
    """What a stream was read as: the same for the same bytes, but for where pieces end."""
    reader = StreamReader(LIMITS)
    items: list[Any] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        for item in reader.feed(stream[start:end]):
            what = (type(item), item.flaw.reason if isinstance(item, Unread) else None)
            if items and items[-1][0] == what and not isinstance(item, Message):
                items[-1] = (what, items[-1][1] + item.data)
            else:
                items.append((what, item.data))
        assert reader.buffered_bytes <= LIMITS.max_head_bytes + LIMITS.max_body_bytes
    rest = reader.finish()
    assert b"".join(data for _, data in items) + rest == stream
    return [*items, rest]


def head(*lines: bytes) -> bytes:
    start = b"INVITE sip:h SIP/2.0\r\nf: <sip:a@h>\r\nt: <sip:b@h>\r\ni: x\r\nCSeq: 1 INVITE\r\n"
    return start + b"\r\n".join(lines) + b"\r\n\r\n"


VIA = b"v: SIP/2.0/UDP h"
BOMBS = {
    "spaces": head(VIA, b"m:" + b" " * 16_000 + b"x"),
    "spaces in parameters": head(VIA + b";x " * 1 + b" " * 16_000 + b"\x22"),
    "parameters": head(VIA + b"".join(b";p%d=1" % n for n in range(1800))),
    "quotes": head(VIA, b"m: " + b'"\\"' * 5000),
    "backslashes": head(VIA, b'm: "' + b"\\" * 16_000),
    "commas": head(VIA, b"m: " + b"sip:a," * 2600),
    "vias": head(b"v: " + b",".join([b"SIP/2.0/UDP h"] * 1100)),
    "escapes": head(VIA, b"m: <sip:" + b"%41" * 5000 + b">"),
    "uri parameters": head(VIA, b"m: <sip:h" + b";a" * 8000 + b">"),
    "uri headers": head(VIA, b"m: <sip:h?" + b"a=b&" * 4000 + b">"),
    "brackets": head(VIA, b"m: " + b"<" * 16_000),
    "colons": head(VIA, b"m: <sip:" + b":" * 16_000 + b">"),
    "digits": head(VIA, b"Expires: " + b"9" * 16_000),
    "zeros": head(VIA, b"Expires: " + b"0" * 16_000),
    "name": head(VIA, b"a" * 16_000),
    "lines": head(VIA, *[b"a:"] * 4000),
    "folds": head(VIA, b"m:" + b"\r\n " * 5000),
    "start line": b"a" * 60_000,
    "start line of spaces": b"A " * 30_000 + b"\r\n",
    "call ids": b"\r\ni:" * 20_000,
    "call ids and spaces": (b"\r\nCall-ID: " + b" " * 1000) * 60,
    "line ends": b"\r\n" * 32_000 + b"x",
    "boundaries": head(VIA, b"c: multipart/mixed;boundary=b") + b"\r\n--b" * 12_000,
    "delimiters": head(VIA, b"c: multipart/mixed;boundary=b") + b"--b\r\n\r\n\r\n" * 6_000,
    "controls": head(VIA, *[b'X-Y: "\\\x01"'] * 200),
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_what_could_be_slow_is_not(name: str) -> None:
    """The time of one datagram; the bound is a hundred times what a usual one takes."""
    data = BOMBS[name]
    best_s = 1.0
    for _ in range(5):
        started = time.perf_counter()
        quick_call_id(data)
        found = read_datagram(data)
        if isinstance(found, Message):
            read_parts(found)
        best_s = min(best_s, time.perf_counter() - started)
    assert best_s < 0.02


def test_a_slow_sender_costs_no_more_than_a_fast_one() -> None:
    data = b"A" * 16_000 + b"\r\n" + b"b: c\r\n" * 100
    started = time.perf_counter()
    reader = StreamReader()
    for byte in data:
        reader.feed(bytes([byte]))
    assert time.perf_counter() - started < 2.0
    (lost,) = reader.feed(b"x" * 20)
    assert isinstance(lost, Unread)
