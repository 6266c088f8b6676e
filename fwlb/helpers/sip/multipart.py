"""The parts of a body (RFC 2046 section 5.1; in SIP: RFC 5621).

A multipart body is read as a whole or refused: a part that one program finds and another does not
could announce media behind the firewall's back. What other programs may take for a delimiter
(a line that only starts with one, one after a bare LF) is refused as ambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from fwlb.helpers.sip.edits import Edit
from fwlb.helpers.sip.grammar import read_number
from fwlb.helpers.sip.headers import Head, read_lines, unfold
from fwlb.helpers.sip.limits import DEFAULT_LIMITS, SipLimits
from fwlb.helpers.sip.mediatype import MediaType, read_media_type
from fwlb.helpers.sip.message import Message
from fwlb.helpers.sip.refusals import Flaw, MalformedError, SipFlaw, shown

_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_TEXT_PLAIN = MediaType(b"text", b"plain", {})  # RFC 2046 section 5.1
_SINGLE_HEADERS = (
    b"content-type",
    b"content-length",
    b"content-encoding",
    b"content-transfer-encoding",
    b"content-disposition",
)
_PLAIN = (b"binary", b"8bit", b"7bit", b"identity")
_MAX_NESTING = 1


class Part(NamedTuple):
    """One part that is not itself multipart, or a whole simple body: `data[start:end]`.

    `encoding` is its Content-Encoding or Content-Transfer-Encoding in lower case. `length` is
    where its own Content-Length stands; None mostly.
    """

    data: bytes
    start: int
    end: int
    content_type: MediaType
    encoding: bytes
    disposition: bytes | None
    length: tuple[int, int] | None

    @property
    def content(self) -> bytes:
        return self.data[self.start : self.end]

    @property
    def is_plain(self) -> bool:
        """Whether the content stands for itself: neither compressed nor in base64 and the like."""
        return self.encoding in _PLAIN

    def with_content(self, content: bytes) -> list[Edit]:
        """The edits of the message that put `content` in place of this part's."""
        edits = [Edit(self.start, self.end, content)]
        if self.length and len(content) != self.end - self.start:
            edits.append(Edit(*self.length, b"%d" % len(content)))
        return edits


def read_parts(message: Message, limits: SipLimits = DEFAULT_LIMITS) -> tuple[Part, ...] | Flaw:
    """The parts of the message's body in order, those of one nested level included; one part for
    a body that is not multipart, none for no body. Never raises for any bytes."""
    data, head = message.data, message.head
    if message.content_type is None or head.body_start == len(data):
        return ()
    try:
        whole = _part(data, head.body_start, len(data), head)._replace(length=None)
        return tuple(_leaves(whole, limits, [limits.max_parts], nesting=0))
    except MalformedError as error:
        return error.flaw


def _leaves(part: Part, limits: SipLimits, left: list[int], nesting: int) -> Iterator[Part]:
    """`part`, or the parts in it; `left` counts down how many more there may be."""
    if part.content_type.kind != b"multipart":
        yield part
        return
    if nesting > _MAX_NESTING:
        raise MalformedError(SipFlaw.BAD_MULTIPART, f"nested more than {_MAX_NESTING} deep")
    if not part.is_plain:  # forbidden by RFC 2045 section 6.4
        raise MalformedError(SipFlaw.BAD_MULTIPART, f"a multipart in {shown(part.encoding)}")
    for start, end in _split(part):
        left[0] -= 1
        if left[0] < 0:
            raise MalformedError(SipFlaw.TOO_MANY_PARTS, f"more than {limits.max_parts}")
        head = _part_head(part.data, start, end, limits)
        yield from _leaves(_part(part.data, head.body_start, end, head), limits, left, nesting + 1)


def _split(part: Part) -> Iterator[tuple[int, int]]:
    """Where each part starts and ends, its headers included."""
    data, end = part.data, part.end
    boundary = part.content_type.parameters.get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(boundary):
        raise _bad(f"{shown(boundary)} is no boundary")
    delimiter = b"--" + boundary
    if data.count(b"\n" + delimiter, part.start, end) != data.count(
        b"\r\n" + delimiter, part.start, end
    ):
        raise MalformedError(SipFlaw.AMBIGUOUS_BOUNDARY, "a delimiter after a bare LF")
    if data.startswith(delimiter, part.start, end):
        position = part.start
    else:  # the preamble is for nobody
        position = _next(data, delimiter, part.start, end) + 2
    position += len(delimiter)
    start = _line_after(data, position, end)
    while start is not None:
        stop = _next(data, delimiter, start, end)
        yield start, stop
        position = stop + 2 + len(delimiter)
        start = _line_after(data, position, end)
    if data.find(b"\r\n" + delimiter, position, end) >= 0:
        raise MalformedError(SipFlaw.AMBIGUOUS_BOUNDARY, "a delimiter after the last one")


def _next(data: bytes, delimiter: bytes, start: int, end: int) -> int:
    """Where the line end before the next delimiter is."""
    found = data.find(b"\r\n" + delimiter, start, end)
    if found < 0:
        raise _bad("the last delimiter is missing")
    return found


def _line_after(data: bytes, position: int, end: int) -> int | None:
    """Where the line after a delimiter starts, whose boundary ends at `position`; None when it
    was the last one."""
    line_end = data.find(b"\r\n", position, end)
    rest = data[position : line_end if line_end >= 0 else end]
    last = rest.startswith(b"--")
    if rest.removeprefix(b"--").strip(b" \t"):
        detail = f"a line goes on after the boundary: {shown(rest)}"
        raise MalformedError(SipFlaw.AMBIGUOUS_BOUNDARY, detail)
    if last:
        return None
    if line_end < 0:
        raise _bad("the body ends in a delimiter")
    return line_end + 2


def _part_head(data: bytes, start: int, end: int, limits: SipLimits) -> Head:
    """The headers of a part, which may have none."""
    stop = data.find(b"\r\n\r\n", start - 2, end)
    if stop < 0:
        raise _bad("no empty line ends the headers of a part")
    text = unfold(data[: stop + 2], start)
    places = read_lines(text, start, stop + 2, limits)
    for name in _SINGLE_HEADERS:
        if len(places.get(name, ())) > 1:
            raise MalformedError(SipFlaw.DUPLICATE_HEADER, f"{name.decode()} twice in a part")
    return Head(text, places, stop + 4)


def _part(data: bytes, start: int, end: int, head: Head) -> Part:
    """The body in `data[start:end]` that `head` describes."""
    media_type = head.get(b"content-type")
    encoding = head.get(b"content-encoding") or head.get(b"content-transfer-encoding")
    return Part(
        data,
        start,
        end,
        read_media_type(media_type) if media_type is not None else _TEXT_PLAIN,
        encoding.lower() if encoding else b"binary",
        head.get(b"content-disposition"),
        _length_place(head, end - start),
    )


def _length_place(head: Head, content_bytes: int) -> tuple[int, int] | None:
    """Where the Content-Length of a part stands, which has to be true."""
    fields = head.fields(b"content-length")
    if not fields:
        return None
    place = fields[0].value_start, fields[0].value_end
    value = head.text[slice(*place)]
    if read_number(value, 2**31 - 1, "Content-Length of a part") != content_bytes:
        raise _bad(f"a part with Content-Length {shown(value)} has {content_bytes} bytes")
    return place


def _bad(detail: str) -> MalformedError:
    return MalformedError(SipFlaw.BAD_MULTIPART, detail)
