"""Messages, keep-alives and STUN in datagrams; messages and line ends in streams."""

from __future__ import annotations

from typing import Any

import pytest

from fwlb.helpers.sip import (
    Flaw,
    PassKind,
    PassThrough,
    Request,
    SipFlaw,
    SipLimits,
    StreamReader,
    Unread,
    read_datagram,
)
from tests.corpus.sip.messages import make

OPTIONS = make("OPTIONS sip:bob@example.net SIP/2.0", "Content-Length: 0")
NOTIFY = make("NOTIFY sip:bob@example.net SIP/2.0", "l: 6", body="a\r\nb\r\n".replace("\r\n", "\n"))
STUN = bytes.fromhex("000100002112a442000102030405060708090a0b")
STUN_ANSWER = bytes.fromhex("0101000c2112a442000102030405060708090a0b0020000800010001deadbeef")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", PassKind.EMPTY),
        (b"\r\n", PassKind.LINE_ENDS),
        (b"\r\n\r\n", PassKind.LINE_ENDS),
        (b"\0", PassKind.NULS),
        (b"\0\0\0\0", PassKind.NULS),
        (STUN, PassKind.STUN),
        (STUN_ANSWER, PassKind.STUN),
    ],
)
def test_what_passes_by_in_datagrams(data: bytes, kind: PassKind) -> None:
    assert read_datagram(data) == PassThrough(kind, data)


@pytest.mark.parametrize(
    "data",
    [
        b"\r",
        b"\n",
        b"\r\n\r",
        b"\0" * 5,
        b"jaK",
        STUN[:-1],
        STUN + b"\0",
        STUN + STUN,
        b"\x40" + STUN[1:],
        STUN[:4] + b"\0\0\0\0" + STUN[8:],
        STUN_ANSWER[:-1],
        STUN_ANSWER[:2] + b"\0\x0b" + STUN_ANSWER[4:-1],
        b"\x16\x03\x01",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_does_not(data: bytes) -> None:
    found = read_datagram(data)
    assert isinstance(found, Flaw)
    assert found.reason is SipFlaw.NOT_SIP


def test_line_ends_before_a_message_are_kept_but_not_read() -> None:
    message = read_datagram(b"\r\n\r\n" + OPTIONS)
    assert isinstance(message, Request)
    assert message.start == 4
    assert message.data == b"\r\n\r\n" + OPTIONS
    field = message.head.fields(b"call-id")[0]
    assert message.data[field.value_start : field.value_end] == message.call_id


def test_a_method_may_begin_like_stun() -> None:
    message = read_datagram(make("!x sip:a@h SIP/2.0"))
    assert isinstance(message, Request)
    assert message.method == b"!x"


def feed(data: bytes, size: int, limits: SipLimits | None = None) -> list[Any]:
    """Items of a stream fed in pieces, with line ends and lost bytes put together again."""
    reader = StreamReader(limits or SipLimits())
    items: list[Any] = []
    for start in range(0, len(data), size):
        fed: list[Any] = list(reader.feed(data[start : start + size]))
        for item in fed:
            last = items[-1] if items else None
            together = isinstance(item, PassThrough) or (isinstance(item, Unread) and item.lost)
            if together and isinstance(last, type(item)):
                items[-1] = item._replace(data=last.data + item.data)
            else:
                items.append(item)
    rest = reader.finish()
    return [*items, rest] if rest else items


def shape(items: list[Any]) -> list[str]:
    words = []
    for item in items:
        if isinstance(item, Request):
            words.append(item.method.decode())
        elif isinstance(item, PassThrough):
            words.append(item.kind.value)
        elif isinstance(item, Unread):
            words.append(("lost: " if item.lost else "") + item.flaw.reason.value)
        else:
            words.append("rest")
    return words


BAD_CALL_ID = OPTIONS.replace(b"Call-ID: ", b"Call-ID: a ")
POST = b"POST / HTTP/1.1\r\nContent-Length: 500\r\n\r\n" + OPTIONS
LIMITS = SipLimits(max_head_bytes=400, max_body_bytes=100)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 10_000])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (OPTIONS, ["OPTIONS"]),
        (OPTIONS + NOTIFY + OPTIONS, ["OPTIONS", "NOTIFY", "OPTIONS"]),
        (b"\r\n\r\n" + OPTIONS + b"\r\n", ["line-ends", "OPTIONS", "line-ends"]),
        (b"\r\n" * 300, ["line-ends"]),
        (OPTIONS + NOTIFY[:-1], ["OPTIONS", "rest"]),
        (OPTIONS + b"\r", ["OPTIONS", "rest"]),
        (OPTIONS[:-1], ["rest"]),
        (BAD_CALL_ID + OPTIONS, ["bad-call-id", "OPTIONS"]),
        (POST, ["lost: not-sip"]),
        (OPTIONS + POST, ["OPTIONS", "lost: not-sip"]),
        (b" " + OPTIONS, ["lost: not-sip"]),
        (b"\n" + OPTIONS, ["lost: not-sip"]),
        (b"\r" + OPTIONS, ["lost: not-sip"]),
        (b"\x16\x03\x01" + OPTIONS, ["lost: not-sip"]),
        (STUN + OPTIONS, ["lost: not-sip"]),
        (b"A" * 300 + b"\x01" + OPTIONS, ["lost: not-sip"]),
        (b"A" * 500 + b"\x01" + OPTIONS, ["lost: head-too-long"]),
        (b"A" * 400 + b"\r\n" + OPTIONS, ["lost: head-too-long"]),
        (OPTIONS.replace(b"SIP/2.0", b"SIP/3.0"), ["lost: bad-sip-version"]),
        (OPTIONS.replace(b"\r\n", b"\n"), ["lost: bare-line-end"]),
        (OPTIONS.replace(b"\r\nTo", b"\nTo") + OPTIONS, ["lost: bare-line-end"]),
        (make("OPTIONS sip:h SIP/2.0") + OPTIONS, ["lost: content-length-missing"]),
        (OPTIONS.replace(b": 0", b": 101") + OPTIONS, ["lost: body-too-long"]),
        (OPTIONS.replace(b": 0", b": 4294967296") + OPTIONS, ["lost: bad-number"]),
        (OPTIONS.replace(b": 0", b": 0\r\nl: 0") + OPTIONS, ["lost: duplicate-header"]),
        (OPTIONS.replace(b"\r\n\r\n", b"\r\nX: " + b"x" * 400), ["lost: head-too-long"]),
        (OPTIONS.replace(b"\r\n\r\n", b"\r\nno colon\r\n\r\n"), ["lost: bad-header-line"]),
    ],
)
def test_a_stream_is_the_same_however_it_is_split(
    data: bytes, expected: list[str], size: int
) -> None:
    items = feed(data, size, LIMITS)
    assert shape(items) == expected
    assert b"".join(getattr(item, "data", item) for item in items) == data


def test_another_protocol_is_noticed_before_its_first_line_ends() -> None:
    (item,) = StreamReader().feed(b"\x16")
    assert isinstance(item, Unread)
    assert item.lost
    (item,) = StreamReader().feed(b"POST / HTTP/1.1\r\n")
    assert isinstance(item, Unread)
    assert item.lost


def test_what_is_lost_stays_lost() -> None:
    reader = StreamReader()
    reader.feed(b"EHLO example\r\n")
    (item,) = reader.feed(OPTIONS)
    assert isinstance(item, Unread)
    assert (item.lost, item.data) == (True, OPTIONS)
    assert reader.feed(b"") == []
    assert reader.buffered_bytes == 0


def test_nothing_is_read_after_the_end() -> None:
    reader = StreamReader()
    reader.feed(OPTIONS[:40])
    assert reader.buffered_bytes == 40
    assert reader.finish() == OPTIONS[:40]
    (item,) = reader.feed(OPTIONS)
    assert isinstance(item, Unread)
    assert item.flaw.reason is SipFlaw.INCOMPLETE


def test_a_slow_head_is_bounded() -> None:
    reader = StreamReader(LIMITS)
    most = 0
    for byte in OPTIONS[:-4] + b"\r\nX: " + b"y" * 1000:
        reader.feed(bytes([byte]))
        most = max(most, reader.buffered_bytes)
    assert most <= LIMITS.max_head_bytes
