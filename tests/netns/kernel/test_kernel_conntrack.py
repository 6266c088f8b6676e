"""Tracked connections with a mark: listed as they are, and forgotten one by one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import ip_address
from typing import Any

import pytest

from fwlb.kernel import conntrack
from fwlb.kernel.conntrack import ConntrackFlow, Direction
from fwlb.model import MARK_PINHOLE, Endpoint

pytestmark = pytest.mark.netns

MARKED = """
table inet t {
	chain nat {
		type nat hook output priority -100
		tcp dport 21 dnat ip to 127.0.0.1:2121
	}
	chain c {
		type filter hook output priority filter
		tcp dport { 21, 2121 } ct mark set 0x02000001
		udp dport 5000 ct mark set 0x02000000
		ip6 daddr ::1 ct mark set 0x03000000
		icmp type echo-request ct mark set 0x02000000
	}
}
"""


@pytest.fixture
def host(namespace: Any) -> Iterator[Any]:
    """A host with one TCP connection (translated), one UDP flow, one IPv6 TCP connection, and
    one UDP flow without a mark."""
    namespace.run("ip", "link", "set", "lo", "up")
    namespace.nft(MARKED)
    with ExitStack() as open_sockets:
        namespace.call(_connect, open_sockets)
        yield namespace


def _connect(stack: ExitStack) -> None:
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 2121)))
    stack.enter_context(
        socket.create_connection(("127.0.0.9", 21), source_address=("127.0.0.1", 4001))
    )
    stack.enter_context(listener.accept()[0])
    listener6 = stack.enter_context(socket.create_server(("::1", 2121), family=socket.AF_INET6))
    stack.enter_context(socket.create_connection(("::1", 2121), source_address=("::1", 4002)))
    stack.enter_context(listener6.accept()[0])
    for port in (5000, 5001):
        sender = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        receiver = stack.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        receiver.bind(("127.0.0.1", port))
        sender.bind(("127.0.0.1", port + 1000))
        sender.sendto(b"x", ("127.0.0.1", port))


def end(address: str, port: int) -> Endpoint:
    return Endpoint(ip_address(address), port)


def test_connections_with_a_mark_are_listed(host: Any) -> None:
    found = host.call(conntrack.flows, MARK_PINHOLE, MARK_PINHOLE)
    assert sorted((str(flow.original), flow.state) for flow in found) == [
        ("127.0.0.1:4001 -> 127.0.0.9:21", "established"),
        ("127.0.0.1:6000 -> 127.0.0.1:5000", "unreplied"),
        ("[::1]:4002 -> [::1]:2121", "established"),
    ]


def test_the_mask_chooses_the_bits_of_the_mark(host: Any) -> None:
    assert len(host.call(conntrack.flows, 0x02000000, 0xFFFFFFFF)) == 1
    assert len(host.call(conntrack.flows, 0x01, 0x01)) == 1
    assert host.call(conntrack.flows, 0x04000000, 0x04000000) == []


def test_translation_is_seen_in_the_reply(host: Any) -> None:
    [flow] = host.call(conntrack.flows, 0x01, 0x01)
    assert flow == ConntrackFlow(
        protocol=6,
        original=Direction(end("127.0.0.1", 4001), end("127.0.0.9", 21)),
        reply=Direction(end("127.0.0.1", 2121), end("127.0.0.1", 4001)),
        mark=0x02000001,
        state="established",
    )


def test_a_connection_is_forgotten_once(host: Any) -> None:
    before = host.call(conntrack.flows, MARK_PINHOLE, MARK_PINHOLE)
    for flow in before:
        assert host.call(conntrack.delete, flow) is True
        assert host.call(conntrack.delete, flow) is False
    assert host.call(conntrack.flows, MARK_PINHOLE, MARK_PINHOLE) == []
    assert "dport=5001" in host.run("conntrack", "-L")


def test_a_zone_is_part_of_the_name(namespace: Any) -> None:
    namespace.run("ip", "link", "set", "lo", "up")
    namespace.nft(
        "table inet t {\nchain z {\ntype filter hook output priority raw\nct zone set 7\n}\n"
        "chain c {\ntype filter hook output priority filter\nct mark set 0x2000000\n}\n}\n"
    )
    namespace.call(_send)
    [flow] = namespace.call(conntrack.flows, MARK_PINHOLE, MARK_PINHOLE)
    assert flow.zone == 7
    assert namespace.call(conntrack.delete, flow)
    assert namespace.call(conntrack.flows, MARK_PINHOLE, MARK_PINHOLE) == []


def _send() -> None:
    with (
        socket.socket(type=socket.SOCK_DGRAM) as sender,
        socket.socket(type=socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(("127.0.0.1", 5000))
        sender.sendto(b"x", ("127.0.0.1", 5000))
