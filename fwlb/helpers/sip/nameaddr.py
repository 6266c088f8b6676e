"""Addresses in headers: `name-addr` and `addr-spec` with parameters (RFC 3261 section 20.10)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from fwlb.helpers.sip.edits import Edit
from fwlb.helpers.sip.grammar import (
    HEADER_PARAMETER,
    OWS,
    PARAMETERS,
    QUOTED,
    TOKEN_CHARS,
    read_parameters,
    remove_parameter,
    set_parameter,
)
from fwlb.helpers.sip.refusals import MalformedError, SipFlaw, shown
from fwlb.helpers.sip.uri import UNBRACKETED_URI, URI, URI_GROUPS, Uri, uri_of

# A display name without quotes is tokens; letters outside ASCII are tolerated in it, because they
# end nothing. A comma is not (RFC 4475 section 3.1.2.15): it would end the value.
_DISPLAY = QUOTED + rb"|[" + TOKEN_CHARS + rb" \t\x80-\xff]*+"
_BRACKETED = re.compile(
    OWS + rb"(" + _DISPLAY + rb")" + OWS + rb"<" + URI + rb">(" + PARAMETERS + rb")" + OWS,
    re.DOTALL,
)
_UNBRACKETED = re.compile(
    OWS + rb"()" + UNBRACKETED_URI + rb"(" + PARAMETERS + rb")" + OWS, re.DOTALL
)
_PARAMETERS_GROUP = 2 + URI_GROUPS
_QUOTED = re.compile(QUOTED, re.DOTALL)
_COMMA = 0x2C


class NameAddr(NamedTuple):
    """An address in `text[start:end]`: `"display" <uri>;parameters`, or `uri;parameters`.

    `parameters` are those of the header, not of the URI: name in lower case -> value as written,
    nothing for one without a value.
    """

    text: bytes
    start: int
    end: int
    display_start: int
    display_end: int
    uri: Uri
    bracketed: bool
    parameters_start: int
    parameters: Mapping[bytes, bytes]

    @property
    def raw(self) -> bytes:
        return self.text[self.start : self.end]

    @property
    def display(self) -> bytes:
        """The display name as written, with its quotes; `grammar.unquote` takes them off."""
        return self.text[self.display_start : self.display_end].rstrip(b" \t")

    @property
    def tag(self) -> bytes | None:
        """The tag of From and To; None before a dialog has one."""
        return self.parameters.get(b"tag")

    def with_parameter(self, name: bytes, value: bytes) -> Edit:
        """The edit that sets the parameter `name`: in its place, or after the others."""
        return set_parameter(
            HEADER_PARAMETER, self.text, self.parameters_start, self.end, name, value
        )

    def without_parameter(self, name: bytes) -> Edit | None:
        """The edit that takes the parameter `name` out; None when it is not there."""
        return remove_parameter(HEADER_PARAMETER, self.text, self.parameters_start, self.end, name)


_NO_PARAMETERS: Mapping[bytes, bytes] = MappingProxyType({})


def read_name_addr(text: bytes, start: int, end: int) -> tuple[NameAddr, int]:
    """The first address in `text[start:end]`, and where the next one starts: `end` when it was
    the only one. Raises MalformedError.

    A comma with nothing after it is an empty value, and none is allowed (RFC 3261 section 7.3.1).
    """
    found = _BRACKETED.match(text, start, end)
    bracketed = found is not None
    found = found or _UNBRACKETED.match(text, start, end)
    if found is None:
        raise _diagnosis(text[start:end].strip(b" \t"))
    stop = found.end()
    if stop < end:
        stop += 1
        if text[stop - 1] != _COMMA or stop == end:
            raise _diagnosis(text[start:end].strip(b" \t"))
    display_start, display_end = found.span(1)
    parameters = found.span(_PARAMETERS_GROUP)
    uri = uri_of(found, 2)
    address = NameAddr(
        text,
        display_start if bracketed else uri.start,
        parameters[1],
        display_start,
        display_end,
        uri,
        bracketed,
        parameters[0],
        read_parameters(text, *parameters) if parameters[0] < parameters[1] else _NO_PARAMETERS,
    )
    return address, stop


def _diagnosis(value: bytes) -> MalformedError:
    if b'"' in _QUOTED.sub(b"", value):
        return MalformedError(SipFlaw.UNBALANCED_QUOTES, f"{shown(value)} has an open quote")
    return MalformedError(SipFlaw.BAD_NAME_ADDR, f"{shown(value)} is no list of addresses")
