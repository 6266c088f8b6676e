"""The lab: built, used and taken down, whatever happens to its owner."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fwlb.errors import LabError
from fwlb.lab import (
    Answering,
    Appears,
    Lab,
    LabOptions,
    Listening,
    Says,
    clean,
    leftovers,
    namespaces,
)
from fwlb.lab.owners import records
from fwlb.lab.process import listening_ports

pytestmark = pytest.mark.netns

ECHO = """
import socket
with socket.create_server(("::", 7), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
    while True:
        peer, address = listener.accept()
        with peer:
            peer.sendall(address[0].removeprefix("::ffff:").encode())
"""
CONNECT = """
import socket, sys
with socket.create_connection((sys.argv[1], 7), timeout=float(sys.argv[2])) as s:
    print(s.recv(100).decode())
"""


def say_address(lab: Lab, host: str = "s1") -> None:
    """Start a server on port 7 that tells every client its address."""
    lab.hosts[host].start([sys.executable, "-c", ECHO], ready=Listening(7))


@contextmanager
def owner(code: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Another process that builds a lab, prints its id and goes on with `code`."""
    build = "lab = Lab(LabOptions(clients=1, servers=1)).__enter__()\nprint(lab.id, flush=True)\n"
    script = f"import os, sys, time\nfrom fwlb.lab import Lab, LabOptions\n{build}{code}"
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        lab_id = process.stdout.readline().strip()
        assert len(namespaces_of(lab_id)) == 4
        try:
            yield process, lab_id
        finally:
            process.kill()


def our_labs() -> dict[str, list[str]]:
    """Labs of this process, and their namespaces."""
    return {lab.id: lab.namespaces() for lab in records() if lab.pid == os.getpid()}


def namespaces_of(lab_id: str) -> list[str]:
    return [name for name in namespaces.names() if name.startswith(f"fwlb-{lab_id}-")]


@pytest.fixture(scope="module")
def plain(lab: Callable[[LabOptions], Lab]) -> Lab:
    """A lab whose servers know the way back, with the address teller on s1 and s2."""
    built = lab(LabOptions(route_back4=True, second_wan_address=True, mtu_bytes=1400))
    say_address(built, "s1")
    say_address(built, "s2")
    return built


@pytest.fixture(scope="module")
def small(lab: Callable[[LabOptions], Lab]) -> Lab:
    """One client, one server."""
    return lab(LabOptions(clients=1, servers=1))


class TestTopology:
    def test_building_is_quick(self, plain: Lab) -> None:
        assert 0 < plain.build_s < 2.0

    @pytest.mark.parametrize("family", [4, 6])
    @pytest.mark.parametrize("client", ["c1", "c2"])
    @pytest.mark.parametrize("server", ["s1", "s2"])
    def test_every_client_reaches_every_server(
        self, plain: Lab, client: str, server: str, family: int
    ) -> None:
        there = plain.hosts[server].address(4 if family == 4 else 6)
        seen = plain.hosts[client].python(CONNECT, there, "2").stdout.strip()
        assert seen == plain.hosts[client].address(4 if family == 4 else 6)

    def test_addresses_are_the_documented_ones(self, plain: Lab) -> None:
        assert [client.address4 for client in plain.clients] == ["10.1.0.2", "10.1.0.3"]
        assert [server.address6 for server in plain.servers] == ["fd02::10", "fd02::11"]
        gateway = plain.gateway
        assert (gateway.address4, gateway.address(4, "lan0")) == ("203.0.113.1", "10.1.0.1")
        assert gateway.address(6, "wan0", 2) == "fd02::2"
        with pytest.raises(LabError, match=r"no IPv4 address number 2 on eth0"):
            plain.clients[0].address(4, number=2)

    def test_gateway_prefers_its_first_addresses(self, plain: Lab) -> None:
        for there, expected in (("203.0.113.10", "203.0.113.1"), ("fd02::10", "fd02::1")):
            route = plain.gateway.run(["ip", "route", "get", there]).stdout
            assert f"src {expected} " in route

    def test_mtu_holds_everywhere(self, plain: Lab) -> None:
        for host in plain.hosts.values():
            assert "mtu 1400" in host.run(["ip", "link", "show", host.interface]).stdout

    def test_sysctl_reads_and_writes_this_host_only(self, plain: Lab) -> None:
        c1, c2 = plain.clients
        before = c2.sysctl("net.ipv4.ip_default_ttl")
        assert c1.sysctl("net.ipv4.ip_default_ttl", 33) == "33"
        assert c2.sysctl("net.ipv4.ip_default_ttl") == before != "33"
        assert plain.gateway.sysctl("net.ipv6.conf.all.forwarding") == "1"
        with pytest.raises(LabError, match=r"c1: sysctl net\.no\.such"):
            c1.sysctl("net.no.such")

    def test_a_function_called_in_a_host_opens_its_sockets_there(self, plain: Lab) -> None:
        server = plain.servers[0]

        def dial() -> socket.socket:
            return socket.create_connection((server.address4, 7), timeout=2)

        with plain.clients[1].call(dial) as connection:
            assert connection.recv(100) == b"10.1.0.3"

    def test_capture_holds_the_packets_of_the_block(
        self, plain: Lab, require_program: Callable[[str], str]
    ) -> None:
        require_program("tcpdump")
        server, client = plain.servers[0], plain.clients[0]
        with server.capture(only="tcp dst port 7 and tcp[tcpflags] & tcp-syn != 0") as pcap:
            client.python(CONNECT, server.address4, "2")
        shown = server.run(["tcpdump", "-n", "-r", pcap]).stdout.splitlines()
        assert len(shown) == 1
        assert "10.1.0.2" in shown[0]

    def test_servers_do_not_know_private_addresses_by_default(self) -> None:
        with Lab(LabOptions(clients=1, servers=1)) as lab:
            say_address(lab)
            client, server = lab.clients[0], lab.servers[0]
            assert client.python(CONNECT, server.address6, "2").stdout.strip() == "fd01::2"
            with pytest.raises(LabError, match="ended with status 1"):
                client.python(CONNECT, server.address4, "0.3")

    def test_without_ipv6_there_is_no_ipv6(self) -> None:
        with Lab(LabOptions(clients=1, servers=1, ipv6=False)) as lab:
            for host in lab.hosts.values():
                assert host.run(["ip", "-6", "address"]).stdout == ""
            with pytest.raises(LabError, match="no IPv6 address"):
                _ = lab.servers[0].address6

    def test_two_labs_side_by_side_do_not_meet(self) -> None:
        options = LabOptions(clients=1, servers=1, route_back4=True)
        with Lab(options) as first, Lab(options) as second:
            say_address(second)
            there = first.servers[0].address4
            assert second.clients[0].python(CONNECT, there, "2").stdout.strip() == "10.1.0.2"
            with pytest.raises(LabError, match="ConnectionRefusedError"):
                first.clients[0].python(CONNECT, there, "2")

    def test_many_hosts(self) -> None:
        with Lab(LabOptions(clients=12, servers=1, route_back4=True)) as lab:
            say_address(lab)
            seen = lab.hosts["c12"].python(CONNECT, lab.servers[0].address6, "2").stdout.strip()
            assert seen == "fd01::d"


class TestPrograms:
    def test_a_failing_program_says_why(self, small: Lab) -> None:
        with pytest.raises(LabError, match=r"(?s)c1: sh -c .*status 3; it said last:\nno luck"):
            small.clients[0].run(["sh", "-c", "echo no luck >&2; exit 3"])
        done = small.clients[0].run(["sh", "-c", "exit 3"], check=False)
        assert done.returncode == 3

    def test_a_hanging_program_is_killed_with_its_children(self, small: Lab) -> None:
        began = time.monotonic()
        with pytest.raises(LabError, match=r"(?s)still ran after 0\.3 s; it said last:\nwell"):
            small.clients[0].run(["sh", "-c", "echo well; sleep 60 & sleep 60"], timeout_s=0.3)
        assert time.monotonic() - began < 3
        deadline = time.monotonic() + 2
        while namespaces.pids_in([small.clients[0].namespace]) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert namespaces.pids_in([small.clients[0].namespace]) == set()

    def test_input_and_environment_reach_the_program(self, small: Lab) -> None:
        done = small.clients[0].run(["sh", "-c", "cat; echo $X"], text="in ", env={"X": "out"})
        assert done.stdout == "in out\n"

    def test_ready_by_output_file_port_and_socket(self, small: Lab) -> None:
        host, path = small.clients[0], small.directory / "there"
        with host.start(["sh", "-c", "echo up; exec sleep 60"], ready=Says("up")) as process:
            assert process.output() == "up\n"
            assert namespaces.pids_in([host.namespace]) == {process.pid}
        assert process.exit_status == -signal.SIGTERM
        with host.start(["sh", "-c", f"touch {path}; exec sleep 60"], ready=Appears(path)):
            assert path.exists()
        bind = (
            "import socket, time; s=socket.socket(); s.bind(('', 99)); s.listen(); time.sleep(60)"
        )
        with host.start([sys.executable, "-c", bind], ready=Listening(99)):
            assert listening_ports(host.namespace) == {99}
            assert listening_ports(small.servers[0].namespace) == set()
        control = small.directory / "socket"
        unix = f"import socket, time; s = socket.socket(1); s.bind('{control}'); s.listen()"
        code = f"{unix}; time.sleep(60)"
        with host.start([sys.executable, "-c", code], ready=Answering(control)) as process:
            assert process.exit_status is None

    def test_ready_udp(self, small: Lab) -> None:
        code = "import socket,time; s=socket.socket(type=2); s.bind(('', 53)); time.sleep(60)"
        host = small.clients[0]
        with host.start([sys.executable, "-c", code], ready=Listening(53, "udp")):
            assert 53 in listening_ports(host.namespace, "udp")

    def test_a_program_that_never_gets_ready_is_ended(self, small: Lab) -> None:
        host = small.clients[0]
        with pytest.raises(LabError, match=r"(?s)ended with status 4 before.*last:\noh"):
            host.start(["sh", "-c", "echo oh; exit 4"], ready=Listening(80))
        with pytest.raises(LabError, match=r"(?s)was not ready \(Listening.*after 0\.2 s.*nothing"):
            host.start(["sleep", "60"], ready=Listening(80), ready_timeout_s=0.2)
        assert namespaces.pids_in([host.namespace]) == set()

    def test_stopping_a_stubborn_program(self, small: Lab) -> None:
        stubborn = ["sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.05; done"]
        process = small.clients[0].start(stubborn, ready=Says("up"))
        assert process.stop(timeout_s=0.2) == -signal.SIGKILL
        assert process.stop() == -signal.SIGKILL


class TestEnd:
    def test_nothing_is_left_after_an_exception(self) -> None:
        lab = Lab(LabOptions(clients=1, servers=1))

        def fail() -> None:
            with lab:
                seen.extend([lab.id, lab.directory])
                stubborn = "trap '' TERM; sleep 60 & echo up; sleep 60"
                lab.servers[0].start(["sh", "-c", stubborn], ready=Says("up"))
                assert len(namespaces_of(lab.id)) == 4
                raise ZeroDivisionError

        seen: list[str | Path] = []
        with pytest.raises(ZeroDivisionError):
            fail()
        lab_id, directory = str(seen[0]), Path(seen[1])
        assert namespaces_of(lab_id) == []
        assert not directory.exists()
        assert lab_id not in [record.id for record in records()]

    def test_nothing_is_left_when_building_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(28, "no space")

        before = our_labs()
        monkeypatch.setattr("fwlb.lab.wiring._connect", refuse)
        with pytest.raises(LabError, match=r"cannot build the lab: .*no space"):
            Lab().__enter__()
        assert our_labs() == before

    def test_closing_twice_and_using_a_closed_lab(self) -> None:
        lab = Lab(LabOptions(clients=1, servers=1))
        with lab:
            with pytest.raises(LabError, match="open already"):
                lab.__enter__()
            lab.close()
            lab.close()
        with pytest.raises(LabError, match="not open"):
            _ = lab.directory

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
    def test_nothing_is_left_after_a_signal(self, number: signal.Signals) -> None:
        with owner("time.sleep(60)") as (process, lab_id):
            process.send_signal(number)
            assert process.wait(10) == -number
        assert namespaces_of(lab_id) == []

    def test_nothing_is_left_at_the_end_of_the_interpreter(self) -> None:
        with owner("sys.stdin.read()") as (process, lab_id):
            assert process.stdin is not None
            process.stdin.close()
            assert process.wait(10) == 0
        assert namespaces_of(lab_id) == []

    def test_a_forked_child_takes_nothing_down(self) -> None:
        code = "child = os.fork()\nif not child: sys.exit()\nos.waitpid(child, 0)\nprint('lives')\n"
        with owner(code + "sys.stdout.flush(); time.sleep(60)") as (process, lab_id):
            assert process.stdout is not None
            assert process.stdout.readline() == "lives\n"
            assert len(namespaces_of(lab_id)) == 4
            process.terminate()
            process.wait(10)

    def test_clean_removes_the_lab_of_a_killed_owner_and_no_other(self) -> None:
        with (
            Lab(LabOptions(clients=1, servers=1)) as living,
            owner("lab.servers[0].start(['sleep', '60']); time.sleep(60)") as (process, lab_id),
        ):
            deadline = time.monotonic() + 5
            while not (pids := namespaces.pids_in(namespaces_of(lab_id))):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            process.kill()
            process.wait(10)
            assert lab_id in [record.id for record in leftovers()]
            assert lab_id in [record.id for record in clean()]
            assert namespaces_of(lab_id) == []
            assert not any(Path(f"/proc/{pid}/ns/net").exists() for pid in pids)
            assert len(namespaces_of(living.id)) == 4
            assert living.id not in [record.id for record in leftovers()]
