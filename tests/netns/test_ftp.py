"""FTP through the gateway with real servers and clients: default drop, IPv4 hidden, IPv6 routed.

Every case fails without the helper: `test_without_the_helper_no_transfer_works` runs the same ones.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest

from fwlb.lab import Host, Lab, Process
from fwlb.lab.programs import SERVERS, FtpServer
from fwlb.lab.transfers import CLIENTS, Family, Mode, Sample, Transfer, download, upload
from tests.netns.gateway import Gateway

pytestmark = pytest.mark.netns

SIZE_BYTES = 300_000


@dataclass(frozen=True)
class Scene:
    """A gateway with fwlb, a server behind it, a client before it."""

    gateway: Gateway
    daemon: Process | None
    client: Host
    server: FtpServer
    sample: Sample

    def transfer(
        self, client: str, mode: Mode, family: Family, *, put: bool = False, timeout_s: float = 10
    ) -> Transfer:
        move = upload if put else download
        return move(
            CLIENTS[client],
            self.client,
            self.server,
            self.sample,
            mode=mode,
            family=family,
            timeout_s=timeout_s,
        )


def cases() -> Iterator[tuple[str, Mode, Family]]:
    for client in CLIENTS:
        for mode in get_args(Mode):
            for family in get_args(Family):
                if family == 6 and mode in {"pasv", "port"}:
                    continue  # RFC 2428: these carry IPv4 addresses only
                if client == "lftp" and mode == "eprt" and family == 4:
                    continue  # it cannot be told to
                yield client, mode, family


def scene(lab: Lab, directory: Path, name: str, *, helper: bool = True) -> Scene:
    gateway = Gateway(lab, directory)
    gateway.configure(helper=helper)
    daemon = gateway.start() if helper else None
    if not helper:
        gateway.fwlb("up", "--no-daemon")
    root = lab.directory / "ftp"
    server = SERVERS[name](lab.servers[0], root)
    sample = Sample.make(root / "sample.bin", SIZE_BYTES)
    return Scene(gateway, daemon, lab.clients[0], server, sample)


@pytest.fixture(scope="module", params=SERVERS)
def server_scene(
    request: pytest.FixtureRequest,
    require_packages: Any,
    require_program: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    packages = {"pure-ftpd": "pure-ftpd", "proftpd": "proftpd-core"}
    if request.param in packages:
        require_packages(packages[request.param])
    for program in ("vsftpd", "curl", "lftp"):
        require_program(program)
    with Lab() as lab:
        yield scene(lab, tmp_path_factory.mktemp("gateway"), request.param)


@pytest.fixture(scope="module")
def vsftpd_scene(require_program: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    require_program("vsftpd")
    with Lab() as lab:
        yield scene(lab, tmp_path_factory.mktemp("gateway"), "vsftpd")


@pytest.mark.parametrize(("client", "mode", "family"), list(cases()))
def test_a_file_comes_and_goes(
    server_scene: Scene, client: str, mode: Mode, family: Family
) -> None:
    for put in (False, True):
        done = server_scene.transfer(client, mode, family, put=put)
        assert done.ok, f"{'upload' if put else 'download'}: {done}"


def test_without_the_helper_no_transfer_works(require_program: Any, tmp_path: Path) -> None:
    require_program("vsftpd")
    with Lab() as lab:
        bare = scene(lab, tmp_path, "vsftpd", helper=False)
        with ThreadPoolExecutor(8) as pool:
            tries = [pool.submit(bare.transfer, *case, timeout_s=3.0) for case in cases()]
        assert [each.result().ok for each in tries] == [False] * len(tries)


# --- proof that data flows used the pinhole -------------------------------------------------------


def elements(gateway: Gateway) -> str:
    sets = ("pinhole4", "pinhole6", "binding_in4", "binding_out4", "pinhole_snat4")
    listings = (
        gateway.nft("list", "set" if s[0] == "p" and "snat" not in s else "map", "inet", "fwlb", s)
        for s in sets
    )
    return "".join(listings)


@pytest.mark.parametrize("mode", ["pasv", "port"])
def test_the_data_flow_used_a_pinhole_that_is_gone_afterwards(
    vsftpd_scene: Scene, mode: Mode
) -> None:
    gateway = vsftpd_scene.gateway
    flows_before = opened(gateway)
    assert vsftpd_scene.transfer("curl", mode, 4).ok
    # conntrack still knows the flow: its mark says that it came through a pinhole
    flows = gateway.host.run(["conntrack", "-L", "-p", "tcp", "-m", "0x02000000"]).stdout
    if mode == "port":  # the server came to the public address and was led to the client
        assert any(
            "src=203.0.113.10 dst=203.0.113.1" in f and "src=10.1.0.2" in f
            for f in flows.splitlines()
        )
    else:
        assert any("src=10.1.0.2 dst=203.0.113.10" in f for f in flows.splitlines())
    assert opened(gateway) == flows_before + 1
    wait_for_no_sessions(gateway)
    assert "expires" not in elements(gateway)


def opened(gateway: Gateway) -> int:
    listing = gateway.nft("list", "counter", "inet", "fwlb", "pinhole_flows")
    return int(listing.split("packets ")[1].split()[0])


def wait_for_no_sessions(gateway: Gateway) -> None:
    deadline = time.monotonic() + 5
    while gateway.call("status")["sessions"]["now"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_private_addresses_never_leave(vsftpd_scene: Scene) -> None:
    with vsftpd_scene.gateway.host.capture("wan0", "ip and net 10.0.0.0/8") as pcap:
        for mode in ("pasv", "port", "eprt"):
            assert vsftpd_scene.transfer("curl", mode, 4).ok
    read = vsftpd_scene.gateway.host.run(["tcpdump", "-nr", pcap]).stdout
    assert read == ""
    with vsftpd_scene.gateway.host.capture("wan0", "tcp port 21") as pcap:
        assert vsftpd_scene.transfer("curl", "port", 4).ok
    text = pcap.read_bytes()
    assert b"PORT 203,0,113,1," in text
    assert b"10,1,0,2" not in text


def test_a_pinhole_lets_one_connection_through(vsftpd_scene: Scene) -> None:
    """Control connection by hand: the second data connection to the announced port is dropped."""
    code = """
import socket, sys
host = sys.argv[1]
control = socket.create_connection((host, 21), 5).makefile("rwb")
def say(line):
    control.write(line.encode() + b"\\r\\n"); control.flush()
    return hear()
def hear():
    while True:
        line = control.readline()
        if line[3:4] == b" ":
            return line.decode()
hear(); say("USER anonymous"); say("PASS x")
numbers = say("PASV").split("(")[1].split(")")[0].split(",")
port = int(numbers[4]) * 256 + int(numbers[5])
first = socket.create_connection((host, port), 3)
try:
    socket.create_connection((host, port), 1.5)
    print("second connection open")
except TimeoutError:
    print("second connection dropped")
"""
    done = vsftpd_scene.client.python(code, vsftpd_scene.server.host.address4)
    assert done.stdout == "second connection dropped\n"


# --- more than one at a time ----------------------------------------------------------------------


def test_many_transfers_at_once(vsftpd_scene: Scene) -> None:
    with ThreadPoolExecutor(8) as pool:
        tries = [pool.submit(vsftpd_scene.transfer, *case) for case in list(cases()) * 3]
    assert all(each.result().ok for each in tries)


def test_lftp_gets_many_files_over_one_session(vsftpd_scene: Scene) -> None:
    many = vsftpd_scene.server.root / "many"
    many.mkdir()
    for number in range(60):
        (many / f"{number}.txt").write_text(f"file {number}\n")
    target = vsftpd_scene.client.directory / "many"
    script = f"set ftp:passive-mode true; mirror -v many {target}; bye"
    url = f"ftp://{vsftpd_scene.server.host.address4}"
    vsftpd_scene.client.run(
        ["lftp", "--norc", "-e", script, url], env={"HOME": str(target.parent)}, timeout_s=60
    )
    assert len(list(target.iterdir())) == 60


# --- the status says what happened ----------------------------------------------------------------


def test_status_and_sessions_tell_what_is_going_on(vsftpd_scene: Scene) -> None:
    gateway = vsftpd_scene.gateway
    address = vsftpd_scene.server.host.address4
    holder = vsftpd_scene.client.start(
        [
            sys.executable,
            "-c",
            f"""
import socket, time
s = socket.create_connection(("{address}", 21), 5)
for line in (b"USER anonymous", b"PASS x", b"PASV"):
    s.recv(1000); s.sendall(line + b"\\r\\n"); time.sleep(0.3)
print(s.recv(1000), flush=True); time.sleep(60)
""",
        ]
    )
    deadline = time.monotonic() + 10
    while "227" not in holder.output():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    shown = gateway.fwlb("sessions").stdout
    assert "ftp" in shown
    assert "10.1.0.2" in shown
    status = gateway.call("status")
    assert status["sessions"]["now"] == 1
    assert status["pinholes"]["now"] == 1
    assert "1 now" in gateway.fwlb("status").stdout
    holder.stop()
    wait_for_no_sessions(gateway)
    assert gateway.call("status")["pinholes"]["now"] == 0
