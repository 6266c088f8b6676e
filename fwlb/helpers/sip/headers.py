"""The header lines of a message: their names, order and places (RFC 3261 section 7.3).

A line ends with CRLF. A bare LF or CR is refused: programs disagree whether it ends a line, and
what one of them takes for a value is a header line to another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from fwlb.helpers.sip.grammar import QUOTED, TOKEN
from fwlb.helpers.sip.limits import SipLimits
from fwlb.helpers.sip.refusals import Flaw, MalformedError, SipFlaw, shown

COMPACT_NAMES = {
    b"a": b"accept-contact",  # RFC 3841
    b"b": b"referred-by",  # RFC 3892
    b"c": b"content-type",
    b"d": b"request-disposition",  # RFC 3841
    b"e": b"content-encoding",
    b"f": b"from",
    b"i": b"call-id",
    b"j": b"reject-contact",  # RFC 3841
    b"k": b"supported",
    b"l": b"content-length",
    b"m": b"contact",
    b"n": b"identity-info",  # RFC 4474
    b"o": b"event",  # RFC 6665
    b"r": b"refer-to",  # RFC 3515
    b"s": b"subject",
    b"t": b"to",
    b"u": b"allow-events",  # RFC 6665
    b"v": b"via",
    b"x": b"session-expires",  # RFC 4028
    b"y": b"identity",  # RFC 8224
}
"""RFC 3261 section 7.3.3 and the IANA registry of header fields."""

SINGLE_HEADERS = frozenset(
    b"call-id content-disposition content-length content-transfer-encoding content-type cseq date "
    b"event expires from join max-forwards mime-version min-expires min-se rack refer-sub refer-to "
    b"referred-by replaces reply-to retry-after rseq session-expires sip-etag sip-if-match "
    b"subscription-state target-dialog timestamp to".split()
)
"""Headers that may come once. Twice is refused also when both say the same: it is never needed,
and which of the two counts differs between programs (RFC 4475 section 3.3.8)."""

_NAME = re.compile(rb"(" + TOKEN + rb")[ \t]*+")
_FOLD = re.compile(rb"\r\n(?=[ \t])")
_FOLDED_NAME = re.compile(rb"(?:\A|\n)[^ \t\r\n:][^\r\n:]*+\r\n[ \t]")
_QUOTED = re.compile(QUOTED, re.DOTALL)
_QUOTED_PAIR = re.compile(rb"\\[^\r\n]", re.DOTALL)
_SEPARATOR = re.compile(QUOTED + rb"|[,<>\"]", re.DOTALL)
_BARE_LF = re.compile(rb"(?<!\r)\n")
_TEXT = bytes({*range(0x20, 0x100), 0x09} - {0x7F})
"""Bytes that may stand in a header value as they are (RFC 3261 section 25.1, TEXT-UTF8)."""


def _spellings() -> dict[bytes, bytes]:
    """How header names are mostly written -> the name in lower case."""
    names = SINGLE_HEADERS | set(COMPACT_NAMES.values()) | set(
        b"accept accept-encoding accept-language alert-info allow authorization call-info "
        b"content-language diversion error-info feature-caps geolocation history-info in-reply-to "
        b"max-breadth organization p-access-network-info p-asserted-identity "
        b"p-associated-uri p-called-party-id p-charging-vector p-early-media p-preferred-identity "
        b"p-visited-network-id path priority privacy proxy-authenticate proxy-authorization "
        b"proxy-require reason record-route recv-info remote-party-id require route "
        b"security-client security-server security-verify server service-route supported "
        b"unsupported user-agent warning www-authenticate".split()
    )  # fmt: skip
    known = {spelling: name for name in names for spelling in (name, name.title(), name.upper())}
    known |= {b"Call-ID": b"call-id", b"CSeq": b"cseq", b"MIME-Version": b"mime-version"}
    known |= {b"RAck": b"rack", b"RSeq": b"rseq", b"WWW-Authenticate": b"www-authenticate"}
    for compact, name in COMPACT_NAMES.items():
        known[compact] = known[compact.upper()] = name
    return known


_KNOWN_SPELLINGS = _spellings()


class Field(NamedTuple):
    """One header line, folded or not, in `text[start:end]` with its CRLF.

    `name` is the long one in lower case; the value, without space around it, is in
    `text[value_start:value_end]`.
    """

    name: bytes
    start: int
    value_start: int
    value_end: int
    end: int


Places = dict[bytes, list[tuple[int, int]]]
"""Name -> where each value starts (after the colon) and ends (before CRLF), spaces included."""


class Value(NamedTuple):
    """One value of a header that is a list, in `text[start:end]`, without space around it."""

    text: bytes
    start: int
    end: int

    @property
    def raw(self) -> bytes:
        return self.text[self.start : self.end]


class Head(NamedTuple):
    """All header lines of a message.

    `text` is the message up to its body with every fold replaced by as many spaces: what is at a
    position there is at the same position in the message. `places` says where the values are;
    a `Field` is made when it is asked for.
    """

    text: bytes
    places: Places
    body_start: int

    def fields(self, name: bytes) -> list[Field]:
        """The lines of the header `name` (long, lower case) in order; none without it."""
        return [self._field(name, place) for place in self.places.get(name, ())]

    def all_fields(self) -> list[Field]:
        """All lines in order."""
        fields = [self._field(name, place) for name in self.places for place in self.places[name]]
        return sorted(fields, key=lambda field: field.start)

    def get(self, name: bytes) -> bytes | None:
        """The value of the first header `name`, unfolded; None without it."""
        places = self.places.get(name)
        if places is None:
            return None
        start, end = places[0]
        return self.text[start:end].strip(b" \t")

    def values(self, name: bytes) -> list[Value] | Flaw:
        """All values of all headers `name`, split at commas that are in no quotes and no angle
        brackets; or the flaw of an empty value, of quotes or brackets that stay open.

        Not for WWW-Authenticate, Authorization and their like, nor for Date: their commas
        separate something else.
        """
        places = self.places.get(name, ())
        try:
            return [value for place in places for value in split_list(self.text, *place)]
        except MalformedError as error:
            return error.flaw

    def _field(self, name: bytes, place: tuple[int, int]) -> Field:
        line_start = self.text.rfind(b"\n", 0, place[0]) + 1
        return Field(name, line_start, *_strip(self.text, *place), place[1] + 2)


def read_head(data: bytes, start: int, fields_start: int, limits: SipLimits) -> Head:
    """The header lines of a message that begins at `start`, whose start line ends at
    `fields_start`. Raises MalformedError."""
    body_start = data.find(b"\r\n\r\n", fields_start - 2) + 4
    if body_start < 4:
        raise _no_end(data, start, fields_start, limits)
    if body_start - start > limits.max_head_bytes:
        raise too_long(limits)
    text = unfold(data[:body_start], fields_start)
    return Head(text, read_lines(text, fields_start, body_start - 2, limits), body_start)


def read_lines(text: bytes, start: int, end: int, limits: SipLimits) -> Places:
    """The header lines in the unfolded `text[start:end]`, each with its CRLF.

    Raises MalformedError for a line that is none, for control characters and for too many lines.
    """
    region = text[start:end]
    lines = region.split(b"\r\n")
    lines.pop()  # nothing: what follows the last line end
    if len(lines) > limits.max_headers:
        raise MalformedError(SipFlaw.TOO_MANY_HEADERS, f"more than {limits.max_headers}")
    places: Places = {}
    for line in lines:
        colon = line.find(b":")
        name = _KNOWN_SPELLINGS.get(line[:colon])
        if name is None or colon < 0:
            name = _unusual_name(line, colon)
        line_end = start + len(line)
        if name in places:
            places[name].append((start + colon + 1, line_end))
        else:
            places[name] = [(start + colon + 1, line_end)]
        start = line_end + 2
    if region.translate(None, _TEXT) != b"\r\n" * len(lines):
        _check_controls(text, places)
    return places


def unfold(text: bytes, start: int) -> bytes:
    """`text` with two spaces for every CRLF after `start` that white space follows (RFC 3261
    section 7.3.1). Raises MalformedError."""
    if not _FOLD.search(text, start):
        return text
    lines = text[start:]
    if b"\\\r\n" in lines:
        # the backslash would quote the space that stands for the line end
        raise MalformedError(SipFlaw.BAD_HEADER_LINE, "a backslash before a folded line end")
    if _FOLDED_NAME.search(lines):  # only values may be folded (HCOLON)
        raise MalformedError(SipFlaw.BAD_HEADER_LINE, "a header is folded before its colon")
    return text[:start] + _FOLD.sub(b"  ", lines)


def split_list(text: bytes, start: int, end: int) -> list[Value]:
    """The values in `text[start:end]`; none for nothing but space. Raises MalformedError."""
    commas = list(_commas(text, start, end))
    if not commas and not text[start:end].strip(b" \t"):
        return []
    bounds = zip([start, *(comma + 1 for comma in commas)], [*commas, end], strict=True)
    values = [Value(text, *_strip(text, *bound)) for bound in bounds]
    if any(value.start == value.end for value in values):
        raise MalformedError(SipFlaw.BAD_LIST, f"an empty value in {shown(text[start:end])}")
    return values


def too_long(limits: SipLimits) -> MalformedError:
    return MalformedError(SipFlaw.HEAD_TOO_LONG, f"more than {limits.max_head_bytes} bytes")


def _strip(text: bytes, start: int, end: int) -> tuple[int, int]:
    """Where `text[start:end]` starts and ends without the space around it."""
    value = text[start:end].rstrip(b" \t")
    return start + len(value) - len(value.lstrip(b" \t")), start + len(value)


def _commas(text: bytes, start: int, end: int) -> Iterator[int]:
    """Where the commas outside quotes and angle brackets are."""
    bracketed = False
    for found in _SEPARATOR.finditer(text, start, end):
        separator = found[0]
        if separator == b'"':
            raise MalformedError(SipFlaw.UNBALANCED_QUOTES, shown(text[start:end]))
        if separator == b"," and not bracketed:
            yield found.start()
        elif separator in (b"<", b">"):
            if bracketed == (separator == b"<"):
                raise MalformedError(SipFlaw.BAD_LIST, f"brackets in {shown(text[start:end])}")
            bracketed = not bracketed
    if bracketed:
        raise MalformedError(SipFlaw.BAD_LIST, f"an open bracket in {shown(text[start:end])}")


def _unusual_name(line: bytes, colon: int) -> bytes:
    """The name of a header that is unknown, in unusual capitals or followed by space."""
    found = _NAME.fullmatch(line, 0, max(colon, 0))
    if found:
        name = found[1].lower()
        return COMPACT_NAMES.get(name, name)
    if b"\n" in line:
        raise MalformedError(SipFlaw.BARE_LINE_END, f"LF without CR in {shown(line)}")
    raise MalformedError(SipFlaw.BAD_HEADER_LINE, f"{shown(line)} is no header line")


def _check_controls(text: bytes, places: Places) -> None:
    """Raise MalformedError unless all control characters in values are in quoted pairs."""
    for field in Head(text, places, len(text)).all_fields():
        value = text[field.value_start : field.value_end]
        plain = _QUOTED.sub(lambda quoted: _QUOTED_PAIR.sub(b"", quoted[0]), value)
        controls = plain.translate(None, _TEXT)
        if b"\r" in controls or b"\n" in controls:
            raise MalformedError(SipFlaw.BARE_LINE_END, f"CR or LF alone in {shown(value)}")
        if controls:
            detail = f"{shown(controls)} in the header {shown(field.name)}"
            raise MalformedError(SipFlaw.CONTROL_CHARACTER, detail)


def _no_end(data: bytes, start: int, fields_start: int, limits: SipLimits) -> MalformedError:
    if len(data) - start > limits.max_head_bytes:
        return too_long(limits)
    if _BARE_LF.search(data, fields_start):
        return MalformedError(SipFlaw.BARE_LINE_END, "a header line ends without CR")
    return MalformedError(SipFlaw.INCOMPLETE, "no empty line ends the headers")
