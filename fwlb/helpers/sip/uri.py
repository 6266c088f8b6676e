"""URIs: sip and sips (RFC 3261 section 19.1) with all their parts, tel (RFC 3966), and any other
scheme as something opaque (RFC 3261 `absoluteURI`)."""

from __future__ import annotations

import re
from typing import NamedTuple

from fwlb.helpers.sip.edits import Edit
from fwlb.helpers.sip.grammar import (
    ESCAPED,
    HOST,
    check_count,
    duplicate_parameter,
    remove_parameter,
    set_parameter,
    unescape,
)
from fwlb.helpers.sip.hosts import Host, read_host, read_port, write_endpoint
from fwlb.helpers.sip.refusals import MalformedError, SipFlaw, shown
from fwlb.model import Endpoint

_PLAIN = rb"A-Za-z0-9\-_.!~*'()"  # unreserved
# "#" is no character of `user`, but of the `telephone-subscriber` that may stand there (RFC 2806).
_USER = rb"(?:[" + _PLAIN + rb"&=+$,;?/#]++|" + ESCAPED + rb")++"
_USER_UNBRACKETED = rb"(?:[" + _PLAIN + rb"&=+$/#]++|" + ESCAPED + rb")++"
_PASSWORD = rb"(?::(?:[" + _PLAIN + rb"&=+$,]++|" + ESCAPED + rb")*+)?"
_PASSWORD_UNBRACKETED = rb"(?::(?:[" + _PLAIN + rb"&=+$]++|" + ESCAPED + rb")*+)?"
_WORD = rb"(?:[" + _PLAIN + rb"\[\]/:&+$]++|" + ESCAPED + rb")++"
_PARAMETERS = rb"(?:;" + _WORD + rb"(?:=" + _WORD + rb")?)*+"
_HEADER = rb"(?:[" + _PLAIN + rb"\[\]/?:+$]++|" + ESCAPED + rb")"
_HEADERS = (
    rb"\?" + _HEADER + rb"++=" + _HEADER + rb"*+(?:&" + _HEADER + rb"++=" + _HEADER + rb"*+)*+"
)
_SCHEME = rb"([Ss][Ii][Pp][Ss]?):"
_HOST_PORT = rb"(" + HOST + rb")(?::([0-9]++))?"
# absoluteURI; a sip URI that is wrong must not pass as one
_OTHER_SCHEME = rb"(?![Ss][Ii][Pp][Ss]?:)([A-Za-z][A-Za-z0-9+.\-]*+):"

URI = (
    rb"(?:" + _SCHEME + rb"(?:(" + _USER + rb")" + _PASSWORD + rb"@)?" + _HOST_PORT
    + rb"(" + _PARAMETERS + rb")(" + _HEADERS + rb")?"
    + rb"|" + _OTHER_SCHEME + rb"((?:[" + _PLAIN + rb";/?:@&=+$,#\[\]]++|" + ESCAPED + rb")++))"
)  # fmt: skip
"""Groups: scheme, user, host, port, parameters, headers; or another scheme and what follows."""
UNBRACKETED_URI = (
    rb"(?:" + _SCHEME + rb"(?:(" + _USER_UNBRACKETED + rb")" + _PASSWORD_UNBRACKETED + rb"@)?"
    + _HOST_PORT + rb"()()"
    + rb"|" + _OTHER_SCHEME + rb"((?:[" + _PLAIN + rb"/:@&=+$#\[\]]++|" + ESCAPED + rb")++))"
)  # fmt: skip
"""The same without comma, semicolon and question mark: a URI that has one must stand in angle
brackets (RFC 3261 section 20), because what follows would belong to the header. Same groups."""
URI_GROUPS = 8

_PARAMETER = re.compile(rb";(" + _WORD + rb")(?:=(" + _WORD + rb"))?")
_TEL = re.compile(rb"([0-9A-Fa-f*#+()\-.]++)(" + _PARAMETERS + rb")")


class Uri(NamedTuple):
    """The URI in `text[start:end]`, with the places of its parts (-1 where there is none).

    `scheme` is in lower case. `host` is None for schemes other than sip and sips. `host_end` is
    the end of the port, where there is one. For tel the "user" is the number.
    """

    text: bytes
    start: int
    end: int
    scheme: bytes
    user_start: int
    user_end: int
    host: Host | None
    host_start: int
    host_end: int
    port: int | None
    parameters_start: int
    parameters_end: int

    @property
    def raw(self) -> bytes:
        return self.text[self.start : self.end]

    @property
    def user(self) -> bytes | None:
        """As written, still escaped; `grammar.unescape` gives the octets."""
        return self.text[self.user_start : self.user_end] if self.user_start >= 0 else None

    @property
    def headers(self) -> bytes:
        """What stands after `?`, still escaped; nothing in most URIs."""
        return self.text[self.parameters_end + 1 : self.end] if self.has_headers else b""

    @property
    def has_headers(self) -> bool:
        return self.end > self.parameters_end

    @property
    def parameters(self) -> dict[bytes, bytes]:
        """`transport`, `maddr`, `lr`, ...: name in lower case and value, both without escapes;
        nothing for one without `=`."""
        return _read_parameters(self.text, self.parameters_start, self.parameters_end)

    def with_parameter(self, name: bytes, value: bytes) -> Edit:
        """The edit that sets the parameter `name`: in its place, or after the others."""
        span = self.parameters_start, self.parameters_end
        return set_parameter(_PARAMETER, self.text, *span, name, value)

    def without_parameter(self, name: bytes) -> Edit | None:
        """The edit that takes the parameter `name` out; None when it is not there."""
        span = self.parameters_start, self.parameters_end
        return remove_parameter(_PARAMETER, self.text, *span, name)

    def at(self, endpoint: Endpoint) -> Edit:
        """The edit that puts `endpoint` in place of host and port.

        Raises ValueError for a URI without a host.
        """
        return self.with_host(write_endpoint(endpoint))

    def with_host(self, host_port: bytes) -> Edit:
        """The edit that puts `host_port` (`host` or `host:port`) in place of host and port: to
        restore exactly what was written. Raises ValueError for a URI without a host."""
        if self.host is None:
            raise ValueError(f"a {self.scheme.decode()} URI has no host")
        return Edit(self.host_start, self.host_end, host_port)

    @property
    def host_port(self) -> bytes:
        """Host and port as written, for `with_host`."""
        return self.text[self.host_start : self.host_end] if self.host else b""


def uri_of(found: re.Match[bytes], first_group: int) -> Uri:
    """The URI whose `URI_GROUPS` groups start at `first_group` of the match.

    Raises MalformedError for an impossible host, port or parameter list.
    """
    text = found.string
    spans = found.regs
    start, scheme_end = spans[first_group]
    if start < 0:
        return _other_uri(text, spans[first_group + 6], spans[first_group + 7])
    user_start, user_end = spans[first_group + 1]
    host_start, host_end = spans[first_group + 2]
    port_start, port_end = spans[first_group + 3]
    parameters_start, parameters_end = spans[first_group + 4]
    headers_end = spans[first_group + 5][1]
    if text.count(b";", parameters_start, parameters_end) > 1:
        _read_parameters(text, parameters_start, parameters_end)
    return Uri(
        text,
        start,
        headers_end if headers_end >= 0 else parameters_end,
        text[start:scheme_end].lower(),
        user_start,
        user_end,
        read_host(text[host_start:host_end]),
        host_start,
        port_end if port_end >= 0 else host_end,
        read_port(text[port_start:port_end]) if port_start >= 0 else None,
        parameters_start,
        parameters_end,
    )


def _other_uri(text: bytes, scheme: tuple[int, int], rest: tuple[int, int]) -> Uri:
    """A tel URI, or one whose scheme means nothing here: only its extent is of interest."""
    name = text[slice(*scheme)].lower()
    end = rest[1]
    user, parameters = (-1, -1), (end, end)
    if name == b"tel":
        tel = _TEL.fullmatch(text, *rest)
        if tel is None:
            raise MalformedError(SipFlaw.BAD_URI, f"{shown(text[slice(*rest)])} is no tel number")
        user, parameters = tel.span(1), tel.span(2)
        _read_parameters(text, *parameters)
    return Uri(text, scheme[0], end, name, *user, None, -1, -1, None, *parameters)


def _read_parameters(text: bytes, start: int, end: int) -> dict[bytes, bytes]:
    """Raises MalformedError where a name comes twice (RFC 3261 section 19.1.1), escaped or not;
    and for too many."""
    check_count(text, start, end)
    found = _PARAMETER.findall(text, start, end)
    parameters = {unescape(name).lower(): unescape(value) for name, value in found}
    if len(parameters) != len(found):
        raise duplicate_parameter(text[start:end])
    return parameters
