"""The words of the SIP grammar (RFC 3261 section 25.1) that several headers share.

Every parser works on the *text* of a head (`headers.Head`): unfolded, as long as the original,
and without control characters outside quoted pairs. A position in the text is the same position
in the message, so whatever was found can be replaced there.

All loops in the patterns are possessive (`*+`, `++`): no input makes them slow.
"""

from __future__ import annotations

import re

from fwlb.helpers.sip.edits import Edit
from fwlb.helpers.sip.refusals import MalformedError, SipFlaw, shown

OWS = rb"[ \t]*+"
TOKEN_CHARS = rb"A-Za-z0-9\-.!%*_+`'~"
TOKEN = rb"[" + TOKEN_CHARS + rb"]++"
QUOTED = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
ESCAPED = rb"%[0-9A-Fa-f]{2}"
HOST = rb"(?:\[[0-9A-Fa-f:.]++\]|[A-Za-z0-9_][A-Za-z0-9_.\-]*+)"

# gen-value is a token, a host or a quoted string; ":" and brackets are those of IPv6 addresses,
# which RFC 5118 section 4.5 wants read in `received` with and without brackets.
_VALUE = rb"(?:[" + TOKEN_CHARS + rb"\[\]:]++|" + QUOTED + rb")"
_EQUALS = OWS + rb"=" + OWS
PARAMETERS = rb"(?:" + OWS + rb";" + OWS + TOKEN + rb"(?:" + _EQUALS + _VALUE + rb")?)*+"

HEADER_PARAMETER = re.compile(
    OWS + rb";" + OWS + rb"(" + TOKEN + rb")(?:" + _EQUALS + rb"(" + _VALUE + rb"))?",
    re.DOTALL,
)
"""One `;name=value` after a URI in a header, or in a Via."""
MAX_PARAMETERS = 64
_ESCAPE = re.compile(ESCAPED)


def unescape(text: bytes) -> bytes:
    """`text` with its %HH replaced (RFC 3261 section 19.1.2)."""
    if b"%" not in text:
        return text
    return _ESCAPE.sub(lambda found: bytes.fromhex(found[0][1:].decode()), text)


def unquote(value: bytes) -> bytes:
    """A token as it is, a quoted string without its quotes and backslashes."""
    if value[:1] != b'"':
        return value
    return re.sub(rb"\\(.)", rb"\1", value[1:-1], flags=re.DOTALL)


def read_parameters(text: bytes, start: int, end: int) -> dict[bytes, bytes]:
    """The header parameters in `text[start:end]`: name in lower case -> value as written, with
    its quotes; nothing for one without `=`.

    Raises MalformedError where a name comes twice (RFC 3261 section 7.3.1): readers would
    disagree; and for too many.
    """
    check_count(text, start, end)
    found = HEADER_PARAMETER.findall(text, start, end)
    if len(found) == 1:  # the usual case of From and To
        name, value = found[0]
        return {name.lower(): value}
    parameters = {name.lower(): value for name, value in found}
    if len(parameters) != len(found):
        raise duplicate_parameter(text[start:end])
    return parameters


def check_count(text: bytes, start: int, end: int) -> None:
    """Raise MalformedError for more parameters in `text[start:end]` than anyone needs.

    Semicolons are counted, those in quoted strings too.
    """
    if text.count(b";", start, end) > MAX_PARAMETERS:
        raise MalformedError(SipFlaw.TOO_MANY_PARAMETERS, f"more than {MAX_PARAMETERS} in a value")


def duplicate_parameter(where: bytes) -> MalformedError:
    return MalformedError(SipFlaw.DUPLICATE_PARAMETER, f"one comes twice in {shown(where)}")


def set_parameter(
    pattern: re.Pattern[bytes], text: bytes, start: int, end: int, name: bytes, value: bytes
) -> Edit:
    """The edit that gives the parameter `name` (lower case) the value `value`: in its place if it
    is there, else after the last one. `value` needs its own quotes."""
    for found in pattern.finditer(text, start, end):
        if found[1].lower() == name:
            return Edit(found.end(1), found.end(), b"=" + value)
    return Edit(end, end, b";" + name + b"=" + value)


def remove_parameter(
    pattern: re.Pattern[bytes], text: bytes, start: int, end: int, name: bytes
) -> Edit | None:
    """The edit that takes the parameter `name` (lower case) out; None when it is not there."""
    for found in pattern.finditer(text, start, end):
        if found[1].lower() == name:
            return Edit(found.start(), found.end(), b"")
    return None


def read_number(text: bytes, maximum: int, what: str) -> int:
    """A whole number of 0..maximum in decimal digits; leading zeros mean nothing.

    Raises MalformedError for all else, also for a number of any length that is too big.
    """
    digits = text if len(text) <= 16 else text.lstrip(b"0")
    if not text.isdigit() or len(digits) > 16 or int(digits or 0) > maximum:
        detail = f"{what} is {shown(text)}, no number of 0..{maximum}"
        raise MalformedError(SipFlaw.BAD_NUMBER, detail)
    return int(digits or 0)
