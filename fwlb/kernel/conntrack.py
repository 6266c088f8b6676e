"""Connections as the kernel tracks them: list those with a mark, delete one.

Raw ctnetlink (linux/netfilter/nfnetlink_conntrack.h): quick enough for an event loop.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import Struct

from fwlb.kernel.netlink import (
    NLM_F_ACK,
    NLM_F_REQUEST,
    NetlinkSocket,
    attribute,
    attributes,
    error_of,
    message,
    nested,
)
from fwlb.model import Endpoint

_SUBSYSTEM = 1
_GET, _DELETE = _SUBSYSTEM << 8 | 1, _SUBSYSTEM << 8 | 2
_HEAD = Struct(">BBH")
_U16, _U32 = Struct(">H"), Struct(">I")

_TUPLE_ORIGINAL, _TUPLE_REPLY, _STATUS, _PROTOCOL_INFO = 1, 2, 3, 4
_MARK, _ZONE, _MARK_MASK = 8, 18, 21
_TUPLE_IP, _TUPLE_PROTOCOL = 1, 2
_SOURCE4, _DESTINATION4, _SOURCE6, _DESTINATION6 = 1, 2, 3, 4
_NUMBER, _SOURCE_PORT, _DESTINATION_PORT = 1, 2, 3
_INFO_TCP, _TCP_STATE = 1, 1
_SEEN_REPLY = 1 << 1  # enum ip_conntrack_status

_TCP_STATES = (  # enum tcp_conntrack
    "none",
    "syn-sent",
    "syn-recv",
    "established",
    "fin-wait",
    "close-wait",
    "last-ack",
    "time-wait",
    "close",
    "syn-sent2",
)


@dataclass(frozen=True, slots=True)
class Direction:
    """Addresses and ports of the packets of one direction."""

    source: Endpoint
    destination: Endpoint

    def __str__(self) -> str:
        return f"{self.source} -> {self.destination}"


@dataclass(frozen=True, slots=True)
class ConntrackFlow:
    """A tracked connection of a protocol with ports."""

    protocol: int
    original: Direction
    """As its first packet arrived."""
    reply: Direction
    """As answers to it arrive, before translation back."""
    mark: int
    state: str
    """For TCP the kernel's name of the state, else `replied` or `unreplied`."""
    zone: int = 0


def flows(mark: int, mask: int) -> list[ConntrackFlow]:
    """Connections of this namespace, IPv4 and IPv6, whose mark is `mark` in the bits of `mask`."""
    wanted = attribute(_MARK, _U32.pack(mark)) + attribute(_MARK_MASK, _U32.pack(mask))
    body = _HEAD.pack(socket.AF_UNSPEC, 0, 0) + wanted
    with NetlinkSocket() as netlink:
        bodies, _ = netlink.dump(_GET, body, "list connections")
    # the table changes while it is dumped: a connection may come twice
    return list(dict.fromkeys(flow for body in bodies for flow in _flow(body)))


def delete(flow: ConntrackFlow) -> bool:
    """Forget a connection: its next packet is a new one to the firewall. False when it is gone."""
    source, destination = flow.original.source, flow.original.destination
    is4 = source.address.version == 4
    addresses = nested(
        _TUPLE_IP,
        attribute(_SOURCE4 if is4 else _SOURCE6, source.address.packed),
        attribute(_DESTINATION4 if is4 else _DESTINATION6, destination.address.packed),
    )
    ports = nested(
        _TUPLE_PROTOCOL,
        attribute(_NUMBER, bytes([flow.protocol])),
        attribute(_SOURCE_PORT, _U16.pack(source.port)),
        attribute(_DESTINATION_PORT, _U16.pack(destination.port)),
    )
    body = (
        _HEAD.pack(socket.AF_INET if is4 else socket.AF_INET6, 0, 0)
        + nested(_TUPLE_ORIGINAL, addresses, ports)
        + (attribute(_ZONE, _U16.pack(flow.zone)) if flow.zone else b"")
    )
    what = f"delete connection {flow.original}"
    with NetlinkSocket() as netlink:
        sequences = netlink.sequences(1)
        netlink.send(message(_DELETE, NLM_F_REQUEST | NLM_F_ACK, sequences[0], body), what)
        answer = netlink.acknowledgement(sequences, what)
    if answer.errno not in {0, errno.ENOENT}:
        raise error_of(answer, what)
    return answer.errno == 0


def _flow(body: bytes) -> Iterator[ConntrackFlow]:
    """The connection in a message; none for protocols without ports."""
    found = dict(attributes(body[_HEAD.size :]))
    original, reply = _direction(found[_TUPLE_ORIGINAL]), _direction(found[_TUPLE_REPLY])
    if original is None or reply is None:
        return
    protocol, forth = original
    yield ConntrackFlow(
        protocol=protocol,
        original=forth,
        reply=reply[1],
        mark=_U32.unpack(found[_MARK])[0] if _MARK in found else 0,
        state=_state(found),
        zone=_U16.unpack(found[_ZONE])[0] if _ZONE in found else 0,
    )


def _direction(nest: bytes) -> tuple[int, Direction] | None:
    found = dict(attributes(nest))
    protocol = dict(attributes(found[_TUPLE_PROTOCOL]))
    if _SOURCE_PORT not in protocol or _DESTINATION_PORT not in protocol:
        return None
    ip = dict(attributes(found[_TUPLE_IP]))
    source_port, destination_port = (
        _U16.unpack(protocol[kind])[0] for kind in (_SOURCE_PORT, _DESTINATION_PORT)
    )
    if _SOURCE4 in ip:
        source = Endpoint(IPv4Address(ip[_SOURCE4]), source_port)
        destination = Endpoint(IPv4Address(ip[_DESTINATION4]), destination_port)
    else:
        source = Endpoint(IPv6Address(ip[_SOURCE6]), source_port)
        destination = Endpoint(IPv6Address(ip[_DESTINATION6]), destination_port)
    return protocol[_NUMBER][0], Direction(source, destination)


def _state(found: dict[int, bytes]) -> str:
    tcp = dict(attributes(found.get(_PROTOCOL_INFO, b""))).get(_INFO_TCP)
    if tcp is not None:
        number = dict(attributes(tcp)).get(_TCP_STATE, b"\0")[0]
        return _TCP_STATES[number] if number < len(_TCP_STATES) else str(number)
    status = _U32.unpack(found[_STATUS])[0] if _STATUS in found else 0
    return "replied" if status & _SEEN_REPLY else "unreplied"
