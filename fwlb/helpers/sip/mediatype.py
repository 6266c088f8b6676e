"""Content-Type (RFC 3261 section 20.15, RFC 2045 section 5.1)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from fwlb.helpers.sip.grammar import OWS, QUOTED, TOKEN, duplicate_parameter, unquote
from fwlb.helpers.sip.refusals import MalformedError, SipFlaw, shown

# Boundaries without quotes often have characters that are not for tokens; nothing printable but
# these five could be taken for the end of a value.
_VALUE = rb"(?:[!#-+\-./:0-9<-\[\]-~]++|" + QUOTED + rb")"
_PARAMETER = OWS + rb";" + OWS + rb"(" + TOKEN + rb")" + OWS + rb"=" + OWS + rb"(" + _VALUE + rb")"
_MEDIA_TYPE = re.compile(
    OWS + rb"(" + TOKEN + rb")" + OWS + rb"/" + OWS + rb"(" + TOKEN + rb")"
    rb"((?:" + _PARAMETER + rb")*+)" + OWS,
    re.DOTALL,
)  # fmt: skip
_EACH_PARAMETER = re.compile(_PARAMETER, re.DOTALL)


class MediaType(NamedTuple):
    """`kind/subtype;parameters`, names in lower case, values without quotes."""

    kind: bytes
    subtype: bytes
    parameters: Mapping[bytes, bytes]

    @property
    def essence(self) -> bytes:
        """`application/sdp`"""
        return self.kind + b"/" + self.subtype


@lru_cache(maxsize=64)
def read_media_type(text: bytes) -> MediaType:
    """Raises MalformedError."""
    found = _MEDIA_TYPE.fullmatch(text)
    if found is None:
        raise MalformedError(SipFlaw.BAD_CONTENT_TYPE, f"{shown(text)} is no media type")
    pairs = _EACH_PARAMETER.findall(found[3]) if found[3] else []
    parameters = {name.lower(): unquote(value) for name, value in pairs}
    if len(parameters) != len(pairs):
        raise duplicate_parameter(text)
    return MediaType(found[1].lower(), found[2].lower(), parameters)
