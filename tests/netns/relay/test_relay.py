"""The relay as clients and servers see it: addresses, bytes, ends of connections, limits.

What servers say is FTP where the helper is to read it, anything else where it is not.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
import threading
import time
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fwlb.daemon.control import call

if TYPE_CHECKING:
    from tests.netns.relay.conftest import Gateway, Wire

pytestmark = pytest.mark.netns

GREETING = b"220 ready\r\n"
NOT_FTP = b"this is no FTP at all\r\n"
"""A greeting after which the helper looks no more: the relay splices."""

BULK_BYTES = 50_000_000


# --- who sees whom -----------------------------------------------------------------------------


@pytest.mark.parametrize("family", [4, 6])
def test_a_server_outside_sees_the_clients_address_as_without_the_relay(
    relay: Gateway, wire: Wire, family: int
) -> None:
    """IPv4 is masqueraded behind the relay, IPv6 routed: the server sees the client itself."""
    client, server, _ = wire.connect(GREETING, family)
    own = wire.client_host.address4 if family == 4 else wire.client_host.address6
    assert server.getpeername()[0] == ("203.0.113.1" if family == 4 else own)
    assert server.getpeername()[1] != client.getsockname()[1]
    assert client.getpeername()[:2] == server.getsockname()[:2]
    client.sendall(b"USER x\r\n")
    assert wire.hear(server, 8) == b"USER x\r\n"
    (session,) = call(relay.control, "sessions")["sessions"]
    shown = session["client"].rpartition(":")[0].strip("[]")
    assert ip_address(shown) == ip_address(own)


@pytest.mark.parametrize("family", [4, 6])
def test_a_published_server_inside_sees_the_client_outside(
    relay: Gateway, wire: Wire, family: int
) -> None:
    listener = wire.listen(wire.inside_server_host, family)
    public = "203.0.113.1" if family == 4 else "fd02::1"
    client = wire.dial(wire.server_host, public)
    server = wire.accept(listener)
    assert server.getpeername()[0] == client.getsockname()[0]
    assert client.getpeername()[0] == public
    server.sendall(GREETING)
    assert wire.hear(client, len(GREETING)) == GREETING
    (session,) = call(relay.control, "sessions")["sessions"]
    assert session["dialled"] == (f"{public}:21" if family == 4 else f"[{public}]:21")
    assert session["server"] != session["dialled"]


@pytest.mark.parametrize("family", [4, 6])
def test_a_published_server_is_reached_from_inside_too(
    relay: Gateway, wire: Wire, family: int
) -> None:
    """Hairpin: client and server are neighbours, and the server must not answer directly."""
    listener = wire.listen(wire.inside_server_host, family)
    client = wire.dial(wire.client_host, "203.0.113.1" if family == 4 else "fd02::1")
    server = wire.accept(listener)
    assert server.getpeername()[0] == ("10.1.0.1" if family == 4 else "fd01::1")
    server.sendall(GREETING)
    assert wire.hear(client, len(GREETING)) == GREETING


@pytest.mark.parametrize("family", [4, 6])
def test_the_type_of_service_of_the_client_goes_on_to_the_server(
    relay: Gateway, wire: Wire, family: int
) -> None:
    cs5 = 0xA0
    listener = wire.listen(wire.server_host, family)
    address = listener.getsockname()[:2]

    def dial() -> socket.socket:
        connection = socket.socket(listener.family)
        if family == 4:
            connection.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, cs5)
        else:
            connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, cs5)
        connection.settimeout(5)
        connection.connect(address)
        return connection

    with wire.server_host.capture("eth0", "tcp dst port 21") as pcap:
        with wire.client_host.call(dial):
            wire.accept(listener)
        time.sleep(0.1)
    assert cs5 in _traffic_classes(pcap)


def _traffic_classes(pcap: Path) -> set[int]:
    """TOS and traffic class of the packets of a pcap file with Ethernet frames."""
    data, at, found = pcap.read_bytes(), 24, set()
    while at + 16 <= len(data):
        length = struct.unpack_from("<I", data, at + 8)[0]
        packet = data[at + 16 + 14 : at + 16 + length]
        at += 16 + length
        ipv4 = packet[0] >> 4 == 4
        found.add(packet[1] if ipv4 else (packet[0] << 4 | packet[1] >> 4) & 0xFF)
    return found


def test_who_dials_the_relays_own_port_gets_nothing(relay: Gateway, wire: Wire) -> None:
    def dial() -> bytes:
        with socket.create_connection(("127.0.0.1", 2121), 5) as connection:
            return connection.recv(1)

    with pytest.raises(ConnectionResetError):
        relay.host.call(dial)
    with pytest.raises(ConnectionRefusedError):
        wire.dial(wire.client_host, "10.1.0.1", 2121)


# --- bytes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [4, 6])
def test_fifty_megabytes_each_way_at_the_same_time(relay: Gateway, wire: Wire, family: int) -> None:
    client, server, _ = wire.connect(family=family)
    upwards, downwards = os.urandom(BULK_BYTES), NOT_FTP + os.urandom(BULK_BYTES)
    received: dict[str, bytes] = {}

    def send(connection: socket.socket, data: bytes) -> None:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    def receive(name: str, connection: socket.socket) -> None:
        digest = hashlib.sha256()
        while piece := connection.recv(1 << 20):
            digest.update(piece)
        received[name] = digest.digest()

    threads = [
        threading.Thread(target=send, args=(server, downwards)),
        threading.Thread(target=receive, args=("client", client)),
        threading.Thread(target=send, args=(client, upwards)),
        threading.Thread(target=receive, args=("server", server)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert received["client"] == hashlib.sha256(downwards).digest()
    assert received["server"] == hashlib.sha256(upwards).digest()
    assert relay.status()["sessions"]["went_opaque"] == 1


def test_a_long_text_that_the_helper_reads(relay: Gateway, wire: Wire) -> None:
    client, server, _ = wire.connect()
    lines = b"".join(b" line %d\r\n" % number for number in range(100_000))
    text = b"220-welcome\r\n" + lines + b"220 ok\r\n"
    thread = threading.Thread(target=server.sendall, args=(text,))
    thread.start()
    assert wire.hear(client, len(text)) == text
    thread.join()
    assert relay.status()["relay"]["opaque"] == 0


@pytest.mark.parametrize("greeting", [GREETING, NOT_FTP])
def test_a_reader_that_stalls_stops_the_sender_and_costs_no_memory(
    relay: Gateway, wire: Wire, greeting: bytes
) -> None:
    client, server, _ = wire.connect(greeting)
    before = _resident_bytes(relay.daemon.pid)
    server.settimeout(0.7)
    line = b"220-" + b"x" * 1000 + b"\r\n"
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < 200_000_000:
            sent += server.send(line)
    assert sent < 100_000_000
    assert _resident_bytes(relay.daemon.pid) - before < 8_000_000
    received = 0
    while received < sent:
        received += len(client.recv(1 << 20))
    assert received == sent


def _resident_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("greeting", [GREETING, NOT_FTP])
def test_urgent_bytes_of_an_abort_arrive(relay: Gateway, wire: Wire, greeting: bytes) -> None:
    client, server, _ = wire.connect(greeting)
    client.send(b"\xff\xf4\xff", socket.MSG_OOB)
    client.send(b"\xf2ABOR\r\n")
    assert wire.hear(server, 10) == b"\xff\xf4\xff\xf2ABOR\r\n"


def test_a_data_connection_is_let_through_and_no_second_one(relay: Gateway, wire: Wire) -> None:
    """The reply that announces it arrives when the kernel already lets it pass."""
    client, server, _ = wire.connect(GREETING)
    address, port = wire.server_host.address4, 40001
    data_listener = wire.listen(wire.server_host, port=port)
    with pytest.raises(TimeoutError):
        wire.dial(wire.client_host, address, port, timeout_s=0.3)
    client.sendall(b"PASV\r\n")
    wire.hear(server, 6)
    reply = b"227 Entering Passive Mode (203,0,113,10,%d,%d)\r\n" % divmod(port, 256)
    server.sendall(reply)
    assert wire.hear(client, len(reply)) == reply
    data = wire.dial(wire.client_host, address, port)
    wire.accept(data_listener).sendall(b"listing")
    assert wire.hear(data, 7) == b"listing"
    with pytest.raises(TimeoutError):
        wire.dial(wire.client_host, address, port, timeout_s=0.3)
    assert relay.wait_event("pinhole-opened")["flow"].startswith("tcp 10.1.0.2 ->")
    assert relay.status()["pinholes"]["opened"] == 1


# --- how connections end -----------------------------------------------------------------------


@pytest.mark.parametrize("greeting", [GREETING, NOT_FTP])
@pytest.mark.parametrize("first", ["client", "server"])
def test_half_a_connection_goes_on(relay: Gateway, wire: Wire, first: str, greeting: bytes) -> None:
    client, server, _ = wire.connect(greeting)
    ending, staying = (client, server) if first == "client" else (server, client)
    ending.shutdown(socket.SHUT_WR)
    assert wire.hear(staying, 1) == b""
    line = b"221 bye\r\n" if staying is server else b"QUIT\r\n"
    staying.sendall(line)
    staying.shutdown(socket.SHUT_WR)
    assert wire.hear(ending, 100) == line
    client.close()
    server.close()
    relay.wait_idle()
    assert relay.wait_event("session-closed")["why"] == "both sides ended"


@pytest.mark.parametrize("greeting", [GREETING, NOT_FTP])
@pytest.mark.parametrize("first", ["client", "server"])
def test_a_reset_stays_a_reset(relay: Gateway, wire: Wire, first: str, greeting: bytes) -> None:
    client, server, _ = wire.connect(greeting)
    breaking, other = (client, server) if first == "client" else (server, client)
    wire.reset(breaking)
    with pytest.raises(ConnectionResetError):
        wire.hear(other, 1)
    assert relay.wait_event("session-closed")["why"] == f"{first}: connection reset by peer"


def test_a_server_that_refuses_resets_the_client(relay: Gateway, wire: Wire) -> None:
    client = wire.dial(wire.client_host, wire.server_host.address4)
    with pytest.raises(ConnectionResetError):
        wire.hear(client, 1)
    assert relay.status()["refusals"]["upstream-unreachable"] == 1


def test_a_dead_server_is_given_up_in_time(relay: Gateway, wire: Wire) -> None:
    chain = "type filter hook input priority 0"
    wire.server_host.run(["nft", f"add table ip dead; add chain ip dead in {{ {chain}; }}"])
    try:
        wire.server_host.run(["nft", "add rule ip dead in tcp dport 21 drop"])
        client = wire.dial(wire.client_host, wire.server_host.address4)
        began = time.monotonic()
        with pytest.raises(ConnectionResetError):
            wire.hear(client, 1)
        assert 0.5 < time.monotonic() - began < 3
    finally:
        wire.server_host.run(["nft", "delete table ip dead"])
    assert relay.status()["refusals"]["upstream-timeout"] == 1
    assert relay.status()["relay"]["connections"] == 0


def test_what_no_rule_allows_is_reset(relay: Gateway, wire: Wire) -> None:
    """From outside to an address that is not published: the forward policy holds here too."""
    with pytest.raises(ConnectionResetError):  # dialling may see it already
        wire.hear(wire.dial(wire.server_host, wire.client_host.address6), 1)
    assert relay.status()["refusals"]["forward-policy"] == 1


def test_silence_ends_a_session(gateway: Gateway, wire: Wire) -> None:
    gateway.configure(idle_timeout_s=1.0)
    gateway.start()
    client, server, _ = wire.connect()
    assert wire.hear(client, 1) == b""
    assert wire.hear(server, 1) == b""
    assert gateway.status()["refusals"]["idle-timeout"] == 1


# --- many --------------------------------------------------------------------------------------


def test_five_hundred_connections_at_once(relay: Gateway, wire: Wire) -> None:
    count = 500
    listener = wire.listen(wire.server_host)
    address = listener.getsockname()

    def dial_all() -> list[socket.socket]:
        dialled = []
        for _ in range(count):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(address)
            dialled.append(connection)
        return dialled

    clients = wire.client_host.call(dial_all)
    accepted = [wire.accept(listener) for _ in range(count)]
    assert relay.status()["relay"]["connections"] == count
    ports = {connection.getpeername()[1] for connection in accepted}
    assert len(ports) == count
    for connection in accepted:
        connection.sendall(b"220 %d\r\n" % connection.getpeername()[1])
    greetings = set()
    for client in clients:
        client.settimeout(10)
        greetings.add(client.recv(100))
    assert greetings == {b"220 %d\r\n" % port for port in ports}
    for connection in [*clients, *accepted]:
        connection.close()
    relay.wait_idle()
    status = relay.status()
    assert status["sessions"] == {"now": 0, "opened": count, "closed": count, "went_opaque": 0}
    assert status["last_error"] is None


def test_beyond_the_limits_connections_are_reset(gateway: Gateway, wire: Wire) -> None:
    gateway.configure(max_sessions=5, max_sessions_per_source=3)
    gateway.start()
    listener = wire.listen(wire.server_host)
    address = wire.server_host.address4
    kept = []
    for host, limit in ((wire.client_host, 3), (wire.inside_server_host, 2)):
        for _ in range(limit):
            kept.append(wire.dial(host, address))
            wire.accept(listener)
        with pytest.raises(ConnectionResetError):
            wire.hear(wire.dial(host, address), 1)
    refusals = gateway.status()["refusals"]
    assert (refusals["source-limit"], refusals["session-limit"]) == (1, 1)
    for client in kept:
        wire.reset(client)
    gateway.wait_idle()
    wire.dial(wire.client_host, address)
    wire.accept(listener)
