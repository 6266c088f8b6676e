"""How SDP writes addresses, ports and what carries them. All offsets are those of the whole
description: a value is rewritten where it was found.

More than one space between two fields, spaces before the end of a line, and tokens in small
letters are read: programs send them, and no reader takes them for something else.
"""

from __future__ import annotations

import re
from enum import Enum, auto
from functools import lru_cache
from ipaddress import ip_address
from typing import NamedTuple

from fwlb.helpers.sdp.flaws import FlawError, SdpFlaw
from fwlb.model import IPAddress, Protocol

_FIELD = rb"([!-~]{1,255})"
_END = rb" *(?![^\r\n])"
_TYPE = rb"([!-~]{1,16})"
_PORT = rb"([0-9]+)"

MEDIA = re.compile(_FIELD + rb" +" + _PORT + rb"(?:/([0-9]+))? +" + _FIELD + rb"(?![^ \r\n])")
"""RFC 8866 section 5.14: kind, port, number of ports, protocol; formats follow."""
ORIGIN = re.compile(rb"(?:[^ \r\n]+ +)+?" + _TYPE + rb" +" + _TYPE + rb" +" + _FIELD + _END)
"""RFC 8866 section 5.2, by its last three fields: some put spaces into the user name."""
CONNECTION = re.compile(
    _TYPE + rb" +" + _TYPE + rb" +([!-.0-~]{1,255})(/[0-9]+(?:/[0-9]+)?)?" + _END
)
"""RFC 8866 section 5.7: network type, address type, address, TTL and number of addresses."""
RTCP = re.compile(_PORT + rb"(?: +" + _TYPE + rb" +" + _TYPE + rb" +" + _FIELD + rb")?" + _END)
"""RFC 3605 section 2.1: port, and network type, address type, address."""
CANDIDATE = re.compile(
    rb" *[!-~]+ +([0-9]+) +" + _FIELD + rb" +[0-9]+ +" + _FIELD + rb" +" + _PORT
    + rb" +(?i:typ) +" + _FIELD
    + rb"(?: +(?i:raddr) +" + _FIELD + rb")?(?: +(?i:rport) +" + _PORT + rb")?"
    + rb"(?: +(?i:tcptype) +" + _FIELD + rb")?(?![^ \r\n])"
)  # fmt: skip
"""RFC 8839 section 5.1, RFC 6544 section 4.5: component, transport, address, port, type, related
address and port, TCP type; extensions follow."""
REMOTE_CANDIDATES = re.compile(
    rb" *[0-9]+ +[!-~]{1,255} +[0-9]+(?: +[0-9]+ +[!-~]{1,255} +[0-9]+)*" + _END
)
REMOTE_CANDIDATE = re.compile(rb"([0-9]+) +" + _FIELD + rb" +" + _PORT + rb"(?![!-~])")
"""RFC 8839 section 5.2: component, address, port, as often as there are components."""
SOURCE_FILTER = re.compile(
    rb" *(?i:incl|excl) +" + _FIELD + rb" +" + _FIELD + rb" +([!-~]{1,255}(?: +[!-~]{1,255})+)"
    + _END
)  # fmt: skip
"""RFC 4570 section 3: network type, address type, destination and sources."""

_NAME = re.compile(rb"(?:[A-Za-z0-9_-]+\.)*[A-Za-z][A-Za-z0-9_-]*\.?")


class Reach(Enum):
    """What an address field names."""

    UNICAST = auto()
    UNSPECIFIED = auto()  # 0.0.0.0 and ::, "hold" of RFC 2543
    MULTICAST = auto()
    NAME = auto()  # a host name
    NOTHING = auto()  # neither


class Component(Enum):
    """What arrives at a transport."""

    RTP = "rtp"
    RTCP = "rtcp"
    UDPTL = "udptl"
    TCP = "tcp"
    DATA = "data"  # anything else over UDP: BFCP, SCTP over DTLS


class Host(NamedTuple):
    """An address field. `address` is None for a name, `unicast` unless it is a party's address."""

    address: IPAddress | None
    reach: Reach
    unicast: IPAddress | None = None


@lru_cache(maxsize=4096)  # 255 bytes each at most
def read_host(text: bytes) -> Host:
    """Read an address field. Numbers with leading zeros, in hex or with fewer than four parts
    are nothing: readers disagree about them. A scope (%eth0) means nothing to the other side."""
    try:
        address = ip_address(text.decode("ascii"))
    except ValueError:
        return Host(None, Reach.NAME if _NAME.fullmatch(text) else Reach.NOTHING)
    if b"%" in text:
        return Host(None, Reach.NOTHING)
    if address.is_unspecified:
        return Host(address, Reach.UNSPECIFIED)
    if address.is_multicast:
        return Host(address, Reach.MULTICAST)
    return Host(address, Reach.UNICAST, address)


@lru_cache(maxsize=4096)
def read_typed_host(network: bytes, family: bytes, text: bytes) -> Host | None:
    """Read network type, address type and address; None where the network is no internet.
    `Reach.NOTHING` also where the address is not of that type."""
    version = {b"IP4": 4, b"IP6": 6}.get(family.upper())
    if network.upper() != b"IN" or version is None:
        return None
    host = read_host(text)
    if host.address is not None and host.address.version != version:
        return Host(None, Reach.NOTHING)
    return host


def read_port(found: re.Match[bytes], group: int) -> int:
    """Read a port. Raises FlawError when it is above 65535."""
    text = found[group]
    if len(text) > 5 or (port := int(text)) > 65535:
        raise bad_port(found, group)
    return port


def bad_port(found: re.Match[bytes], group: int) -> FlawError:
    detail = f"a port that is not in 0..65535: {found[group][:20].decode()}"
    return FlawError(SdpFlaw.BAD_PORT, detail, found.start(group))


class Profile(NamedTuple):
    """What the protocol field of an m= line means: RFC 8866 section 8.2.4 and the registry."""

    protocol: Protocol
    component: Component  # of the first port
    rtp: bool
    secured: bool  # a TLS or DTLS handshake comes first, from both sides


_FIRST = {
    b"TCP": Protocol.TCP,
    b"TCPTL": Protocol.TCP,  # T.38 annex D
    b"UDP": Protocol.UDP,
    b"UDPTL": Protocol.UDP,
    b"RTP": Protocol.UDP,
    b"DTLS": Protocol.UDP,  # DTLS/SCTP, as data channels were written before RFC 8841
}


@lru_cache(maxsize=256)
def read_profile(text: bytes) -> Profile | None:
    """Read the protocol field of an m= line, None for transports that are neither TCP nor UDP."""
    words = text.upper().split(b"/")
    protocol = _FIRST.get(words[0])
    if protocol is None:
        return None
    component = Component.DATA
    if b"RTP" in words:
        component = Component.RTP
    elif b"UDPTL" in words:
        component = Component.UDPTL
    elif protocol is Protocol.TCP:
        component = Component.TCP
    secured = b"TLS" in words or b"DTLS" in words
    return Profile(protocol, component, component is Component.RTP, secured)
