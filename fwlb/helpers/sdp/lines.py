"""What the lines of one section say: each value with the place where it stands.

A section is filled while a description is read and not changed afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from fwlb.helpers.sdp.flaws import FlawError, SdpFlaw
from fwlb.helpers.sdp.values import (
    REMOTE_CANDIDATE,
    Host,
    Profile,
    Reach,
    bad_port,
    read_host,
    read_port,
    read_profile,
    read_typed_host,
)
from fwlb.model import IPAddress, Protocol


class Direction(Enum):
    """RFC 8866 section 6.7, as the section's sender sees it."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        return self in (Direction.SENDRECV, Direction.RECVONLY)


class Setup(Enum):
    """Who connects (RFC 4145 section 4): the sender, the other party, either, nobody yet."""

    ACTIVE = "active"
    PASSIVE = "passive"
    ACTPASS = "actpass"
    HOLDCONN = "holdconn"


class Kind(Enum):
    """How a transport was announced: by m=, c= and a=rtcp, or by ICE (RFC 8839 section 5)."""

    DEFAULT = "default"
    HOST = "host"
    SERVER_REFLEXIVE = "srflx"
    PEER_REFLEXIVE = "prflx"
    RELAY = "relay"
    REMOTE = "remote"  # a=remote-candidates: the *other* party's, as its sender sees it


_CANDIDATE_KINDS = {
    kind.value.encode(): kind for kind in Kind if kind not in (Kind.DEFAULT, Kind.REMOTE)
}
_NOTHING = Reach.NOTHING
_LISTENING = (b"passive", b"so")  # RFC 6544 section 4.5; "so" is simultaneous open


class Connection(NamedTuple):
    """A c= line. `refused` says why it opens nothing, `unicast` is where it can receive;
    `host` is None outside the internet."""

    found: re.Match[bytes]
    host: Host | None
    refused: SdpFlaw | None
    unicast: IPAddress | None


class Rtcp(NamedTuple):
    """An a=rtcp line. `own` is whether it names a host; else the address of the c= line is meant.
    `unicast` is where it can receive by itself."""

    found: re.Match[bytes]
    port: int
    own: bool
    unicast: IPAddress | None


class Candidate(NamedTuple):
    """An a=candidate line, or one out of an a=remote-candidates line, which has no related address.

    `found[address_group]` is the address, the group after it the port. `protocol` is None where
    nothing can be received: active TCP, unknown transports and types.
    """

    found: re.Match[bytes]
    address_group: int
    component: int
    protocol: Protocol | None
    host: Host
    port: int
    kind: Kind
    related: Host | None = None
    related_port: int | None = None


class Lines:
    """What has been read of one section; the session's own part has port 0.

    `port` is the one on the m= line, `numbers` are all that it stands for, for RTP without those of
    RTCP between them. `attributes` are where the values of plain attributes start.
    """

    __slots__ = (
        "attributes", "candidates", "connection", "direction", "numbers", "port", "profile",
        "remote_candidates", "rtcp", "setup",
    )  # fmt: skip

    def __init__(self, numbers: Sequence[int], profile: Profile | None) -> None:
        self.port = numbers[0]
        self.numbers = numbers
        self.profile = profile
        self.connection: Connection | None = None
        self.direction: Direction | None = None
        self.setup: Setup | None = None
        self.rtcp: Rtcp | None = None
        self.candidates: list[Candidate] = []
        self.remote_candidates: list[Candidate] = []
        self.attributes: dict[bytes, int] = {}


@lru_cache(maxsize=4096)
def _read_connection(
    network: bytes, family: bytes, text: bytes, slash: bool
) -> tuple[Host | None, SdpFlaw | None]:
    host = read_typed_host(network, family, text)
    if host is None:
        return host, SdpFlaw.UNKNOWN_NETWORK
    if host.reach is Reach.NAME:
        return host, SdpFlaw.HOST_NAME
    if host.reach is _NOTHING:
        return host, SdpFlaw.BAD_ADDRESS
    # a TTL or a number of addresses belongs to multicast
    return host, SdpFlaw.MULTICAST if slash or host.reach is Reach.MULTICAST else None


def connection_of(found: re.Match[bytes]) -> Connection:
    """A c= line. Raises FlawError for an address that is none."""
    network, family, text, slash = found.groups()
    host, refused = _read_connection(network, family, text, slash is not None)
    if refused is None and host is not None:
        return Connection(found, host, None, host.unicast)
    if refused is SdpFlaw.BAD_ADDRESS:
        raise _bad_address(found, 3)
    return Connection(found, host, refused, None)


def lines_of(found: re.Match[bytes], max_ports: int) -> Lines:
    """A new section with this m= line. Raises FlawError for ports that cannot be."""
    _, text, several, proto = found.groups()
    if len(text) > 5 or (port := int(text)) > 65535:
        raise bad_port(found, 2)
    profile = read_profile(proto)
    if several is None:
        return Lines((port,), profile)
    if len(several) > 5 or (count := int(several)) > max_ports:
        detail = f"more than {max_ports} ports on an m= line"
        raise FlawError(SdpFlaw.TOO_MANY_TRANSPORTS, detail, found.start(3))
    if count == 0:
        raise FlawError(SdpFlaw.BAD_MEDIA, "an m= line with 0 ports", found.start(3))
    step = 2 if profile is not None and profile.rtp else 1
    if port + count * step > 65536:
        raise bad_port(found, 3)
    return Lines(range(port, port + count * step, step), profile)


def rtcp_of(found: re.Match[bytes]) -> Rtcp:
    """An a=rtcp line (RFC 3605). Raises FlawError for an address or port that is none."""
    text, network, family, address = found.groups()
    if len(text) > 5 or (port := int(text)) > 65535:
        raise bad_port(found, 1)
    if network is None:
        return Rtcp(found, port, False, None)
    host = read_typed_host(network, family, address)
    if host is None:
        return Rtcp(found, port, True, None)
    if host.reach is _NOTHING:
        raise _bad_address(found, 4)
    return Rtcp(found, port, True, host.unicast)


def candidate_of(found: re.Match[bytes]) -> Candidate:
    """An a=candidate line."""
    component, name, _, _, kind_name, related, related_port, tcp_type = found.groups()
    if len(component) > 3:  # RFC 8839 section 5.1: 1 to 256
        raise FlawError(SdpFlaw.BAD_ATTRIBUTE, "a=candidate with a wild component", found.start(1))
    name = name.upper()
    protocol = None
    if name == b"UDP":
        protocol = Protocol.UDP
    elif name == b"TCP" and tcp_type is not None and tcp_type.lower() in _LISTENING:
        protocol = Protocol.TCP
    kind = _CANDIDATE_KINDS.get(kind_name.lower())
    if kind is None:
        kind, protocol = Kind.HOST, None
    return Candidate(
        found,
        3,
        int(component),
        protocol,
        _candidate_host(found, 3),
        read_port(found, 4),
        kind,
        None if related is None else read_host(related),
        None if related_port is None else read_port(found, 7),
    )


def remote_candidates_of(line: re.Match[bytes], profile: Profile | None) -> list[Candidate]:
    """An a=remote-candidates line (RFC 8839 section 5.2). It does not name the transport protocol:
    the m= line does."""
    protocol = profile.protocol if profile else Protocol.UDP
    return [
        Candidate(
            found,
            2,
            int(found[1][:3]),
            protocol,
            _candidate_host(found, 2),
            read_port(found, 3),
            Kind.REMOTE,
        )
        for found in REMOTE_CANDIDATE.finditer(line.string, *line.span())
    ]


def _candidate_host(found: re.Match[bytes], group: int) -> Host:
    host = read_host(found[group])
    if host.reach is _NOTHING:
        raise _bad_address(found, group)
    return host


def _bad_address(found: re.Match[bytes], group: int) -> FlawError:
    detail = f"{found[group][:64]!r} is no address of its type"
    return FlawError(SdpFlaw.BAD_ADDRESS, detail, found.start(group))


def line_at(data: bytes, offset: int) -> bytes:
    """The rest of the line from `offset` on, without spaces around it."""
    end = data.find(b"\n", offset)
    return data[offset : len(data) if end < 0 else end].strip(b" \r")
