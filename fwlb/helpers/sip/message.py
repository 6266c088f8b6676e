"""Whole messages (RFC 3261 section 7): read once, completely, and never changed.

What a message must have to be one, beyond the grammar of its lines:

* Via, From, To, Call-ID and CSeq (RFC 3261 section 8.1.1). Max-Forwards may be missing, because
  RFC 2543 had none and RFC 3261 section 16.6 lets a proxy add it; From may be without a tag for
  the same reason.
* No header twice that may come once (`headers.SINGLE_HEADERS`), no parameter twice.
* In a request, the method of CSeq (RFC 3261 section 8.1.1.5).
* Content-Type, when there is a body (RFC 3261 section 7.4.1).
* A Content-Length that ends the body where the datagram ends. A bigger one is wrong by RFC 3261
  section 18.3, which would have a smaller one obeyed and the rest thrown away. That rest is
  refused too: a receiver that reads it, as RFC 4475 section 3.1.1.8 knows some do, gets a message
  that no firewall has seen.
* Date in GMT, if there is one (RFC 3261 section 20.17).

All headers with addresses that NAT may have to change, and all with numbers that time or size
something, are read at once: a message is refused as a whole or every property of it works.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from fwlb.helpers.sip.grammar import read_number
from fwlb.helpers.sip.headers import SINGLE_HEADERS, Head, read_head
from fwlb.helpers.sip.limits import DEFAULT_LIMITS, SipLimits
from fwlb.helpers.sip.mediatype import MediaType, read_media_type
from fwlb.helpers.sip.nameaddr import NameAddr, read_name_addr
from fwlb.helpers.sip.refusals import Flaw, MalformedError, SipFlaw, shown
from fwlb.helpers.sip.startline import RequestLine, StatusLine, read_start_line
from fwlb.helpers.sip.uri import Uri
from fwlb.helpers.sip.via import Via, read_via

MANDATORY_HEADERS = frozenset((b"via", b"from", b"to", b"call-id", b"cseq"))
ADDRESS_HEADERS = {
    b"contact": False,
    b"route": True,
    b"record-route": True,
    b"path": True,
    b"service-route": True,
    b"refer-to": False,
    b"referred-by": False,
    b"reply-to": False,
    b"p-asserted-identity": False,
    b"p-preferred-identity": False,
    b"p-associated-uri": False,
}
"""Headers that are read as addresses, beside From and To. True: only with angle brackets, because
without them `;lr` would belong to the header (RFC 3261 section 20.34, RFC 3327, RFC 3608)."""

_CSEQ = re.compile(rb"[ \t]*+([0-9]++)[ \t]++([A-Za-z0-9\-.!%*_+`'~]++)[ \t]*+")
# RFC 3261 section 25.1 allows fewer characters; what matters is where it ends.
_CALL_ID = re.compile(rb"[ \t]*+([!-+\--~]++)[ \t]*+")
_DATE = re.compile(rb"[A-Za-z]{3}, [0-9]{1,2} [A-Za-z]{3} [0-9]{4} [0-9:]{8} [Gg][Mm][Tt]")
_SEQUENCE_MAX = 2**31 - 1  # RFC 3261 section 8.1.1.5
_DELTA_MAX_S = 2**32 - 1  # RFC 3261 section 20.19

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """What requests and responses have in common. Places in `head`, `vias`, `sender`, ... are
    places in `data`.

    `start` is where the message begins in `data`: a few line ends may come before it.
    `content_length`, `expires_s` and `max_forwards` are None without the header.
    """

    data: bytes
    start: int
    head: Head
    vias: tuple[Via, ...]
    sender: NameAddr
    recipient: NameAddr
    addresses: Mapping[bytes, tuple[NameAddr, ...]]
    call_id: bytes
    cseq: int
    cseq_method: bytes
    content_length: int | None
    content_type: MediaType | None
    expires_s: int | None
    max_forwards: int | None
    removes_all_contacts: bool

    @property
    def body(self) -> bytes:
        return self.data[self.head.body_start :]

    @property
    def from_tag(self) -> bytes | None:
        return self.sender.tag

    @property
    def to_tag(self) -> bytes | None:
        return self.recipient.tag

    @property
    def contacts(self) -> tuple[NameAddr, ...]:
        """All Contact addresses; none for `Contact: *`, see `removes_all_contacts`."""
        return self.addresses.get(b"contact", ())


@dataclass(frozen=True, slots=True, eq=False)
class Request(Message):
    """A request; `method` is case-sensitive and may be one that nobody knows."""

    method: bytes
    uri: Uri


@dataclass(frozen=True, slots=True, eq=False)
class Response(Message):
    """A response to the request that had `cseq_method`; `status` is 100..699."""

    status: int
    reason: bytes


def read_message(
    data: bytes, limits: SipLimits = DEFAULT_LIMITS, *, start: int = 0
) -> Request | Response | Flaw:
    """`data[start:]` as exactly one message, or why it is none. Never raises for any bytes."""
    try:
        first, fields_start = read_start_line(data, start)
        head = read_head(data, start, fields_start, limits)
        return assemble(data, start, first, head, limits)
    except MalformedError as error:
        return error.flaw


def assemble(
    data: bytes, start: int, first: RequestLine | StatusLine, head: Head, limits: SipLimits
) -> Request | Response:
    """The message in `data[start:]` whose start line and header lines were read before.

    Raises MalformedError.
    """
    _check_presence(head)
    content_length = body_length(head, limits)
    _check_extent(data, head, content_length, limits)
    cseq, cseq_method = _read_cseq(head)
    if isinstance(first, RequestLine) and cseq_method != first.method:
        detail = f"{shown(first.method)} with a CSeq of {shown(cseq_method)}"
        raise MalformedError(SipFlaw.CSEQ_MISMATCH, detail)
    removes_all_contacts = head.get(b"contact") == b"*" and len(head.places[b"contact"]) == 1
    vias, addresses = _read_parties(head, limits, removes_all_contacts)
    common = (
        data,
        start,
        head,
        vias,
        _read_one(head, b"from"),
        _read_one(head, b"to"),
        addresses,
        _read_call_id(head),
        cseq,
        cseq_method,
        content_length,
        _read_content_type(head, len(data)),
        _optional_number(head, b"expires", _DELTA_MAX_S),
        _optional_number(head, b"max-forwards", 255),
        removes_all_contacts,
    )
    if isinstance(first, RequestLine):
        return Request(*common, *first)
    return Response(*common, *first)


def body_length(head: Head, limits: SipLimits) -> int | None:
    """The number in Content-Length; None without one.

    Raises MalformedError for two of them, for what is no number and for one above the limit.
    """
    text = head.get(b"content-length")
    if text is None:
        return None
    if len(head.places[b"content-length"]) > 1:
        raise MalformedError(SipFlaw.DUPLICATE_HEADER, "content-length comes twice")
    # a limit of its own, so that a body that is just big is told from nonsense
    length = read_number(text, 2**31 - 1, "Content-Length")
    if length > limits.max_body_bytes:
        detail = f"Content-Length is {length}, more than {limits.max_body_bytes}"
        raise MalformedError(SipFlaw.BODY_TOO_LONG, detail)
    return length


def _check_presence(head: Head) -> None:
    present = head.places.keys()
    if not present >= MANDATORY_HEADERS:
        missing = b", ".join(sorted(MANDATORY_HEADERS - present)).decode()
        raise MalformedError(SipFlaw.MISSING_HEADER, f"no {missing}")
    for name, places in head.places.items():
        if len(places) > 1 and name in SINGLE_HEADERS:
            raise MalformedError(SipFlaw.DUPLICATE_HEADER, f"{name.decode()} comes twice")
    date = head.get(b"date")
    if date is not None and not _DATE.fullmatch(date):
        raise MalformedError(SipFlaw.BAD_DATE, f"{shown(date)} is no date in GMT")


def _check_extent(data: bytes, head: Head, content_length: int | None, limits: SipLimits) -> None:
    """Whether the body ends where `data` ends."""
    there = len(data) - head.body_start
    if there > limits.max_body_bytes:
        raise MalformedError(SipFlaw.BODY_TOO_LONG, f"{there} bytes of body")
    if content_length is None or content_length == there:
        return
    detail = f"Content-Length is {content_length}, the body has {there} bytes"
    if content_length > there:
        raise MalformedError(SipFlaw.LENGTH_BEYOND_DATAGRAM, detail)
    raise MalformedError(SipFlaw.BYTES_AFTER_BODY, detail)


def _read_cseq(head: Head) -> tuple[int, bytes]:
    start, end = head.places[b"cseq"][0]
    found = _CSEQ.fullmatch(head.text, start, end)
    if found is None:
        raise MalformedError(SipFlaw.BAD_CSEQ, f"{shown(head.text[start:end])} is no CSeq")
    return read_number(found[1], _SEQUENCE_MAX, "CSeq"), found[2]


def _read_call_id(head: Head) -> bytes:
    start, end = head.places[b"call-id"][0]
    found = _CALL_ID.fullmatch(head.text, start, end)
    if found is None:
        raise MalformedError(SipFlaw.BAD_CALL_ID, f"{shown(head.text[start:end])} is no Call-ID")
    return found[1]


def _read_content_type(head: Head, end: int) -> MediaType | None:
    text = head.get(b"content-type")
    if text is not None:
        return read_media_type(text)
    if end > head.body_start:
        raise MalformedError(SipFlaw.MISSING_HEADER, "a body without content-type")
    return None


def _optional_number(head: Head, name: bytes, maximum: int) -> int | None:
    text = head.get(name)
    return None if text is None else read_number(text, maximum, name.decode())


def _read_parties(
    head: Head, limits: SipLimits, removes_all_contacts: bool
) -> tuple[tuple[Via, ...], Mapping[bytes, tuple[NameAddr, ...]]]:
    """All Vias, and the addresses of `ADDRESS_HEADERS` by name."""
    left = limits.max_values
    vias = _read_all(head, b"via", read_via, left)
    left -= len(vias)
    addresses = {}
    for name, in_brackets in ADDRESS_HEADERS.items():
        if name not in head.places or (removes_all_contacts and name == b"contact"):
            continue
        found = _read_all(head, name, read_name_addr, left)
        left -= len(found)
        if in_brackets:
            _check_brackets(name, found)
        addresses[name] = found
    for contact in addresses.get(b"contact", ()):
        if b"expires" in contact.parameters:
            read_number(contact.parameters[b"expires"], _DELTA_MAX_S, "expires of a Contact")
    return vias, addresses


def _check_brackets(name: bytes, addresses: tuple[NameAddr, ...]) -> None:
    for address in addresses:
        if not address.bracketed:
            detail = f"{shown(address.raw)} in {name.decode()} is without angle brackets"
            raise MalformedError(SipFlaw.BAD_NAME_ADDR, detail)


def _read_all(
    head: Head, name: bytes, read: Callable[[bytes, int, int], tuple[_T, int]], limit: int
) -> tuple[_T, ...]:
    text = head.text
    values: list[_T] = []
    for start, end in head.places[name]:
        position = start
        while position < end or position == start:  # an empty header is one bad value
            value, position = read(text, position, end)
            values.append(value)
            if len(values) > limit:
                raise MalformedError(SipFlaw.TOO_MANY_VALUES, f"at {name.decode()}")
    return tuple(values)


def _read_one(head: Head, name: bytes) -> NameAddr:
    start, end = head.places[name][0]
    address, stop = read_name_addr(head.text, start, end)
    if stop != end:
        raise MalformedError(SipFlaw.BAD_NAME_ADDR, f"more than one address in {name.decode()}")
    return address
