"""Why bytes are not read as a SIP message.

Nothing is guessed: bytes are a message as a whole, or they are refused with one `SipFlaw`. Inside
this package a parser raises `MalformedError`; what others call returns the `Flaw`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SipFlaw(Enum):
    """Why a message is refused. The value is the counter's name."""

    NOT_SIP = "not-sip"
    BAD_START_LINE = "bad-start-line"
    BAD_VERSION = "bad-sip-version"
    BAD_STATUS = "bad-status-code"
    INCOMPLETE = "incomplete-message"
    HEAD_TOO_LONG = "head-too-long"
    TOO_MANY_HEADERS = "too-many-headers"
    TOO_MANY_VALUES = "too-many-values"
    TOO_MANY_PARAMETERS = "too-many-parameters"
    BODY_TOO_LONG = "body-too-long"
    BAD_HEADER_LINE = "bad-header-line"
    BARE_LINE_END = "bare-line-end"
    CONTROL_CHARACTER = "control-character"
    MISSING_HEADER = "missing-header"
    DUPLICATE_HEADER = "duplicate-header"
    DUPLICATE_PARAMETER = "duplicate-parameter"
    BAD_NUMBER = "bad-number"
    BAD_CALL_ID = "bad-call-id"
    BAD_CSEQ = "bad-cseq"
    CSEQ_MISMATCH = "cseq-method-mismatch"
    BAD_VIA = "bad-via"
    EMPTY_BRANCH = "empty-branch"
    BAD_NAME_ADDR = "bad-name-addr"
    UNBALANCED_QUOTES = "unbalanced-quotes"
    BAD_URI = "bad-uri"
    HEADERS_IN_REQUEST_URI = "headers-in-request-uri"
    BAD_HOST = "bad-host"
    BAD_PORT = "bad-port"
    BAD_PARAMETER = "bad-parameter"
    BAD_LIST = "bad-list"
    BAD_DATE = "bad-date"
    BAD_CONTENT_TYPE = "bad-content-type"
    LENGTH_MISSING = "content-length-missing"
    LENGTH_BEYOND_DATAGRAM = "content-length-beyond-datagram"
    BYTES_AFTER_BODY = "bytes-after-body"
    BAD_MULTIPART = "bad-multipart"
    AMBIGUOUS_BOUNDARY = "ambiguous-boundary"
    TOO_MANY_PARTS = "too-many-parts"


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why something is refused; `detail` is for the log."""

    reason: SipFlaw
    detail: str


class MalformedError(ValueError):
    """Bytes that do not follow the grammar. Becomes a `Flaw` at the edge of this package."""

    def __init__(self, reason: SipFlaw, detail: str) -> None:
        super().__init__(detail)
        self.flaw = Flaw(reason, detail)


def shown(data: bytes, limit_bytes: int = 60) -> str:
    """The start of `data` as ASCII text for a log, with everything else escaped."""
    text = data[:limit_bytes].decode("latin-1").encode("unicode_escape").decode("ascii")
    return f"{text}..." if len(data) > limit_bytes else text
