"""Host parts of URIs and Vias: names, IPv4 addresses, IPv6 references (RFC 3261 section 25.1)."""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import NamedTuple

from fwlb.helpers.sip.refusals import MalformedError, SipFlaw, shown
from fwlb.model import Endpoint, IPAddress

# The ABNF of RFC 3261 lets an IPv6 address with an IPv4 tail have three colons before it; RFC 5118
# section 4.10 wants both forms read, as the same address.
_THREE_COLONS = re.compile(rb":::(?=[0-9]++(?:\.[0-9]++){3}\Z)")
# The last label of a name starts with a letter (`toplabel`), so that a name is never taken for
# an address: "1.2.3", "0x7f.1" and "300.1.1.1" are read differently by different programs.
_LAST_LABEL = re.compile(rb"(?:.*\.)?[A-Za-z_][A-Za-z0-9_\-]*+\.?")


class Host(NamedTuple):
    """A host as written, with the brackets of an IPv6 reference; `address` is None for a name."""

    text: bytes
    address: IPAddress | None


# The same hosts come in every message; 4096 of them cost about a megabyte.
@lru_cache(maxsize=4096)
def read_host(text: bytes) -> Host:
    """The host `text`, which `grammar.HOST` matched.

    An underscore in a name is tolerated, as in the DNS. Raises MalformedError for what is
    neither a name nor an address.
    """
    if text[:1] == b"[":
        return Host(text, _ipv6(text, text[1:-1]))
    if _LAST_LABEL.fullmatch(text) and b".." not in text:
        return Host(text, None)
    try:
        return Host(text, IPv4Address(text.decode("ascii")))
    except AddressValueError:
        raise _bad_host(text) from None


@lru_cache(maxsize=4096)
def read_received(text: bytes) -> Host:
    """A host that may be an IPv6 address without brackets, as in `received` (RFC 5118 section
    4.5 and the ABNF of `via-received`)."""
    if b":" in text and text[:1] != b"[":
        return Host(text, _ipv6(text, text))
    if text[:1] == b"[" and text[-1:] != b"]":
        raise _bad_host(text)
    return read_host(text)


def write_host(address: IPAddress) -> bytes:
    """`address` as a host: IPv6 in brackets (RFC 5952 text)."""
    return (f"[{address}]" if address.version == 6 else f"{address}").encode()


def write_endpoint(endpoint: Endpoint) -> bytes:
    """`host:port`, always with the port."""
    return b"%b:%d" % (write_host(endpoint.address), endpoint.port)


def read_port(digits: bytes) -> int:
    """A port of 1..65535. Raises MalformedError for anything else."""
    if not digits.isdigit() or len(digits) > 5 or not 0 < int(digits) <= 65535:
        raise MalformedError(SipFlaw.BAD_PORT, f"port {shown(digits)} is not in 1..65535")
    return int(digits)


def _ipv6(text: bytes, digits: bytes) -> IPv6Address:
    try:
        return IPv6Address(_THREE_COLONS.sub(b"::", digits).decode("ascii"))
    except (AddressValueError, UnicodeDecodeError):
        raise _bad_host(text) from None


def _bad_host(text: bytes) -> MalformedError:
    return MalformedError(SipFlaw.BAD_HOST, f"{shown(text)} is neither a name nor an address")
