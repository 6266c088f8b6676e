"""Messages out of datagrams and streams (RFC 3261 sections 7.5 and 18.3).

What stands between messages without being one passes by: line ends, which are also the keep-alives
of RFC 5626 section 4.4.1 on streams and of many phones on UDP, a few NUL bytes, which other phones
send, and STUN on the same port (RFC 5626 section 4.4.2, datagrams only).

A stream is read from its first byte on. What is wrong inside a message whose extent is sure costs
that message; when the extent is not sure, or the stream did not begin with SIP, nothing more is
read of it: to look for a message in the middle of something else is how a browser is made to
open ports (NAT Slipstreaming).
"""

from __future__ import annotations

import re
from enum import Enum
from typing import NamedTuple

from fwlb.helpers.sip.headers import Head, read_head, too_long
from fwlb.helpers.sip.limits import DEFAULT_LIMITS, SipLimits
from fwlb.helpers.sip.message import Request, Response, assemble, body_length, read_message
from fwlb.helpers.sip.refusals import Flaw, MalformedError, SipFlaw, shown
from fwlb.helpers.sip.startline import RequestLine, StatusLine, may_begin, read_start_line

_LINE_ENDS = re.compile(rb"(?:\r\n)*+")
_STUN_COOKIE = b"\x21\x12\xa4\x42"
_STUN_HEADER_BYTES = 20
_MAX_NULS = 4
_NO_TEXT = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class PassKind(Enum):
    """What passes by without being a message."""

    EMPTY = "empty"
    LINE_ENDS = "line-ends"
    NULS = "nuls"
    STUN = "stun"


class PassThrough(NamedTuple):
    """A keep-alive or STUN: for the other side as it is."""

    kind: PassKind
    data: bytes


class Unread(NamedTuple):
    """Bytes of a stream that are refused for `flaw`.

    Without `lost`, `data` is one whole message, and the next one may be fine. With it, nothing
    can be said about this byte or any later one.
    """

    flaw: Flaw
    data: bytes
    lost: bool


StreamItem = Request | Response | PassThrough | Unread


def read_datagram(
    data: bytes, limits: SipLimits = DEFAULT_LIMITS
) -> Request | Response | PassThrough | Flaw:
    """One datagram: a message, which line ends may precede, or something that passes by.

    Never raises for any bytes.
    """
    if data[:1] > b"@":  # the usual case: a letter
        return read_message(data, limits)
    kind = _passes_by(data)
    if kind:
        return PassThrough(kind, data)
    return read_message(data, limits, start=_skip_line_ends(data))


def _passes_by(data: bytes) -> PassKind | None:
    if not data:
        return PassKind.EMPTY
    if _is_stun(data):
        return PassKind.STUN
    if len(data) <= _MAX_NULS and not data.strip(b"\0"):
        return PassKind.NULS
    if _skip_line_ends(data) == len(data):
        return PassKind.LINE_ENDS
    return None


def _is_stun(data: bytes) -> bool:
    """RFC 5389 section 6: two zero bits, the cookie, and a length that is that of the datagram.
    SIP may start with two zero bits ("!"), but not go on like that."""
    return (
        len(data) >= _STUN_HEADER_BYTES
        and data[0] < 0x40
        and data[4:8] == _STUN_COOKIE
        and int.from_bytes(data[2:4], "big") == len(data) - _STUN_HEADER_BYTES
        and len(data) % 4 == 0
    )


def _skip_line_ends(data: bytes | bytearray) -> int:
    found = _LINE_ENDS.match(data)
    return found.end() if found else 0


class _FirstLine(NamedTuple):
    """A start line that has come, with its line end in front of `fields_start`."""

    line: RequestLine | StatusLine
    fields_start: int


class _Begun(NamedTuple):
    """A message whose head has come: `end` is where it will end."""

    line: RequestLine | StatusLine
    head: Head
    end: int


class StreamReader:
    """One direction of a TCP or TLS connection, sans IO.

    All `data` of the returned items together are exactly what was fed, in order. How the bytes
    are split over calls changes nothing but how line ends and lost bytes are split over items.
    """

    def __init__(self, limits: SipLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._buffer = bytearray()
        self._seen_bytes = 0
        self._first: _FirstLine | None = None
        self._begun: _Begun | None = None
        self._lost: Flaw | None = None

    @property
    def buffered_bytes(self) -> int:
        """Bytes fed and not yet returned: less than a head and a body of the limits."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[StreamItem]:
        """Take what has come. Never raises for any bytes and any split of them."""
        if self._lost:
            return [Unread(self._lost, data, lost=True)] if data else []
        self._buffer += data
        items: list[StreamItem] = []
        try:
            while item := self._next_item():
                items.append(item)
        except MalformedError as error:
            self._lost = error.flaw
            items.append(Unread(error.flaw, self._take(len(self._buffer)), lost=True))
        return items

    def finish(self) -> bytes:
        """The sender has closed: what is left, less than a message. Nothing is read any more."""
        self._lost = self._lost or Flaw(SipFlaw.INCOMPLETE, "the stream has ended")
        return self._take(len(self._buffer))

    def _next_item(self) -> StreamItem | None:
        """The next whole thing in the buffer. Raises MalformedError when the stream is lost."""
        if self._begun is None:
            line_ends = _skip_line_ends(self._buffer) if self._first is None else 0
            if line_ends:
                return PassThrough(PassKind.LINE_ENDS, self._take(line_ends))
            self._begun = self._read_head()
        begun = self._begun
        if begun is None or len(self._buffer) < begun.end:
            return None
        data = self._take(begun.end)
        try:
            return assemble(data, 0, begun.line, begun.head, self._limits)
        except MalformedError as error:
            return Unread(error.flaw, data, lost=False)

    def _read_head(self) -> _Begun | None:
        """What is in the buffer as the head of a message; None while it is not complete.

        Only what stands within the limit is looked at, line by line and then as a whole, so that
        the same is found wherever the stream is split.
        """
        limits, buffer = self._limits, self._buffer
        self._first = self._first or self._read_first_line()
        if self._first is None:
            return None
        line, fields_start = self._first
        # the empty line may have begun before what has come now
        from_byte = max(fields_start - 2, self._seen_bytes - 3)
        head_end = buffer.find(b"\r\n\r\n", from_byte, limits.max_head_bytes) + 4
        if head_end < 4:
            if len(buffer) > limits.max_head_bytes:
                raise too_long(limits)
            self._seen_bytes = len(buffer)
            return None
        head = read_head(bytes(buffer[:head_end]), 0, fields_start, limits)
        length = body_length(head, limits)
        if length is None:
            detail = "a message on a stream without Content-Length"  # RFC 3261 section 20.14
            raise MalformedError(SipFlaw.LENGTH_MISSING, detail)
        return _Begun(line, head, head_end + length)

    def _read_first_line(self) -> _FirstLine | None:
        """The start line; None while it is not complete.

        Raises MalformedError as soon as it cannot be one.
        """
        limit_bytes, buffer = self._limits.max_head_bytes, self._buffer
        if not buffer or buffer == bytearray(b"\r"):
            return None
        if not may_begin(buffer[0]):
            detail = f"{shown(bytes(buffer[:20]))} is no beginning"
            raise MalformedError(SipFlaw.NOT_SIP, detail)
        line_end = buffer.find(b"\n", self._seen_bytes, limit_bytes) + 1
        if _NO_TEXT.search(buffer, self._seen_bytes, line_end or limit_bytes):
            raise MalformedError(SipFlaw.NOT_SIP, "a control character in the first line")
        self._seen_bytes = line_end or min(len(buffer), limit_bytes)
        if line_end:
            return _FirstLine(*read_start_line(bytes(buffer[:line_end]), 0))
        if len(buffer) > limit_bytes:
            raise too_long(self._limits)
        return None

    def _take(self, size_bytes: int) -> bytes:
        """The first bytes of the buffer; nothing is known yet of what comes after them."""
        taken = bytes(self._buffer[:size_bytes])
        del self._buffer[:size_bytes]
        self._seen_bytes = 0
        self._first = self._begun = None
        return taken
