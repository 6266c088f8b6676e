"""The first line of a message: Request-Line and Status-Line (RFC 3261 sections 7.1 and 7.2)."""

from __future__ import annotations

import re
from typing import NamedTuple

from fwlb.helpers.sip.grammar import TOKEN
from fwlb.helpers.sip.refusals import MalformedError, SipFlaw, shown
from fwlb.helpers.sip.uri import URI, Uri, uri_of

_VERSION = rb"[Ss][Ii][Pp]/2\.0"
# One space between the fields and none around them: who splits at any white space reads another
# URI than who splits at the first and the last space (RFC 4475 sections 3.1.2.8 to 3.1.2.10).
_REQUEST = re.compile(rb"(" + TOKEN + rb") " + URI + rb" " + _VERSION + rb"\r\n")
_BAD_REQUEST = re.compile(TOKEN + rb" ([^\x00-\x20\x7f]++) " + _VERSION)
_STATUS = re.compile(_VERSION + rb" ([1-6][0-9]{2}) ([^\x00-\x08\x0a-\x1f\x7f]*+)\r\n")
_ANY_VERSION = re.compile(rb"(?:\A|[ \t])[Ss][Ii][Pp]/([0-9]++\.[0-9]++)(?:[ \t]|\Z)")
_STATUS_CODE = re.compile(rb"[^ ]++ [1-6][0-9]{2}(?: |\Z)")
_TEXT = re.compile(rb"[\t\x20-\x7e\x80-\xff]*+")
_TOKEN_BYTES = frozenset(byte for byte in range(128) if re.fullmatch(TOKEN, bytes([byte])))


class RequestLine(NamedTuple):
    """`method uri SIP/2.0`. Methods are case-sensitive tokens of any name."""

    method: bytes
    uri: Uri


class StatusLine(NamedTuple):
    """`SIP/2.0 status reason`; `status` is 100..699, `reason` any text or none."""

    status: int
    reason: bytes


def read_start_line(data: bytes, start: int) -> tuple[RequestLine | StatusLine, int]:
    """The start line at `data[start:]`, and where the line after it starts.

    Raises MalformedError; the flaw is NOT_SIP for a line that does not even mention SIP.
    """
    found = _REQUEST.match(data, start)
    if found:
        return RequestLine(found[1], _request_uri(found)), found.end()
    found = _STATUS.match(data, start)
    if found:
        return StatusLine(int(found[1]), found[2]), found.end()
    raise _diagnosis(data[start:])


def may_begin(byte: int) -> bool:
    """Whether a message can begin with this byte."""
    return byte in _TOKEN_BYTES


def _request_uri(found: re.Match[bytes]) -> Uri:
    uri = uri_of(found, 2)
    if uri.has_headers:
        # RFC 3261 section 19.1.1 forbids them here; who obeys them adds headers of its own
        detail = f"the request URI {shown(uri.raw)} has headers"
        raise MalformedError(SipFlaw.HEADERS_IN_REQUEST_URI, detail)
    return uri


def _diagnosis(data: bytes) -> MalformedError:
    """What is wrong with a first line that is neither."""
    end = data.find(b"\n")
    line = (data if end < 0 else data[:end]).removesuffix(b"\r")
    version = _ANY_VERSION.search(line)
    if version is None:
        return MalformedError(SipFlaw.NOT_SIP, f"{shown(line)} is no SIP start line")
    request = _BAD_REQUEST.fullmatch(line)
    if end >= 0 and data[end - 1 : end] != b"\r":
        reason, why = SipFlaw.BARE_LINE_END, "ends without CR"
    elif version[1] != b"2.0":
        reason, why = SipFlaw.BAD_VERSION, "is of another version than SIP 2.0"
    elif not _TEXT.fullmatch(line):
        reason, why = SipFlaw.CONTROL_CHARACTER, "has a control character"
    elif request:
        reason, why = SipFlaw.BAD_URI, f"has {shown(request[1])} where a URI should be"
    elif version.start() == 0 and not _STATUS_CODE.match(line):
        reason, why = SipFlaw.BAD_STATUS, "has no status of 100..699"
    else:
        reason, why = SipFlaw.BAD_START_LINE, "has other fields or spaces than a start line"
    return MalformedError(reason, f"{shown(line)} {why}")
