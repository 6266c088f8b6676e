"""Via (RFC 3261 section 20.42; `rport`: RFC 3581)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from fwlb.helpers.sip.edits import Edit
from fwlb.helpers.sip.grammar import (
    HEADER_PARAMETER,
    HOST,
    OWS,
    PARAMETERS,
    TOKEN,
    read_parameters,
    remove_parameter,
    set_parameter,
)
from fwlb.helpers.sip.hosts import Host, read_host, read_port, read_received, write_endpoint
from fwlb.helpers.sip.refusals import MalformedError, SipFlaw, shown
from fwlb.model import Endpoint

MAGIC_COOKIE = b"z9hG4bK"
"""Starts every branch that is unique across transactions (RFC 3261 section 8.1.1.7)."""

_SLASH = OWS + rb"/" + OWS
_VIA = re.compile(
    OWS + rb"([Ss][Ii][Pp]" + _SLASH + rb"2\.0)" + _SLASH + rb"(" + TOKEN + rb")[ \t]++"
    rb"(" + HOST + rb")(?:" + OWS + rb":" + OWS + rb"([0-9]++))?(" + PARAMETERS + rb")" + OWS,
    re.DOTALL,
)  # fmt: skip
_EMPTY_BRANCHES = (b"", MAGIC_COOKIE.lower())
_COMMA = 0x2C


class Via(NamedTuple):
    """One hop in `text[start:end]`. `transport` is in capitals (UDP, TCP, TLS, WSS, ...).

    `host` and `port` are the sent-by, in `text[host_start:host_end]`.
    `parameters`: name in lower case -> value as written, nothing for one without a value.
    """

    text: bytes
    start: int
    end: int
    transport: bytes
    host: Host
    host_start: int
    host_end: int
    port: int | None
    parameters_start: int
    parameters: Mapping[bytes, bytes]

    @property
    def raw(self) -> bytes:
        return self.text[self.start : self.end]

    @property
    def branch(self) -> bytes | None:
        return self.parameters.get(b"branch")

    @property
    def received(self) -> Host | None:
        """The address that the request came from, as a later hop saw it."""
        return self._host_parameter(b"received")

    @property
    def rport(self) -> int | None:
        """The port that the request came from, as a later hop saw it (RFC 3581)."""
        value = self.parameters.get(b"rport")
        return read_port(value) if value else None

    @property
    def wants_rport(self) -> bool:
        """Whether the sender asked for the answer at the port that it sends from."""
        return b"rport" in self.parameters

    @property
    def maddr(self) -> Host | None:
        """Where answers are wanted instead of at sent-by."""
        return self._host_parameter(b"maddr")

    def _host_parameter(self, name: bytes) -> Host | None:
        value = self.parameters.get(name)
        return read_received(value) if value is not None else None

    def at(self, endpoint: Endpoint) -> Edit:
        """The edit that puts `endpoint` in place of sent-by."""
        return self.with_host(write_endpoint(endpoint))

    def with_host(self, host_port: bytes) -> Edit:
        """The edit that puts `host_port` (`host` or `host:port`) in place of sent-by: to restore
        exactly what was written."""
        return Edit(self.host_start, self.host_end, host_port)

    @property
    def host_port(self) -> bytes:
        """sent-by as written, unfolded, for `with_host`."""
        return self.text[self.host_start : self.host_end]

    def with_parameter(self, name: bytes, value: bytes) -> Edit:
        """The edit that sets the parameter `name`: in its place, or after the others."""
        return set_parameter(
            HEADER_PARAMETER, self.text, self.parameters_start, self.end, name, value
        )

    def without_parameter(self, name: bytes) -> Edit | None:
        """The edit that takes the parameter `name` out; None when it is not there."""
        return remove_parameter(HEADER_PARAMETER, self.text, self.parameters_start, self.end, name)


def read_via(text: bytes, start: int, end: int) -> tuple[Via, int]:
    """The first hop in `text[start:end]`, and where the next one starts: `end` when it was the
    only one. Raises MalformedError, also for parameters that cannot be what their name says."""
    found = _VIA.match(text, start, end)
    if found is None:
        raise _bad_via(text[start:end].strip(b" \t"))
    stop = found.end()
    if stop < end:
        stop += 1
        if text[stop - 1] != _COMMA or stop == end:
            raise _bad_via(text[start:end].strip(b" \t"))
    spans = found.regs
    host, port, parameters = spans[3], spans[4], spans[5]
    has_port = port[0] >= 0
    via = Via(
        text,
        spans[1][0],
        parameters[1],
        found[2].upper(),
        read_host(found[3]),
        host[0],
        port[1] if has_port else host[1],
        read_port(found[4]) if has_port else None,
        parameters[0],
        read_parameters(text, *parameters),
    )
    _check(via)
    return via, stop


def _check(via: Via) -> None:
    """Read every parameter that means something, so that asking for it later cannot fail."""
    parameters = via.parameters
    branch = parameters.get(b"branch")
    if branch is not None and branch.lower() in _EMPTY_BRANCHES:
        # RFC 4475 section 3.2.1: nothing could be told apart by it
        raise MalformedError(SipFlaw.EMPTY_BRANCH, f"{shown(via.raw)} has an empty branch")
    if parameters.get(b"rport"):
        read_port(parameters[b"rport"])
    if b"received" in parameters:
        read_received(parameters[b"received"])
    if b"maddr" in parameters:
        read_received(parameters[b"maddr"])


def _bad_via(value: bytes) -> MalformedError:
    return MalformedError(SipFlaw.BAD_VIA, f"{shown(value)} is no list of Vias")
