"""What may happen to the daemon and to the host under it, with real transfers while it happens.

Each test starts `fwlb up` on a lab gateway as an operator would; at its end `fwlb down` must have
left nothing (fixture `site`).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fwlb.lab import Host, Lab, Process
from fwlb.lab.programs import FtpServer, vsftpd
from fwlb.lab.transfers import Mode, Sample, Transfer, curl, download, sha256_of

sys.path.insert(0, str(Path(__file__).parent))
from ftp_by_hand import Control, Server
from gateway import Gateway

pytestmark = pytest.mark.netns

BIG_BYTES = 200_000_000
BIG_RATE = "50M"
"""Bytes a second, as curl wants it: four seconds."""
SIZE_BYTES = 300_000
MARKER = '\n[[allow]]\nfrom = "outside"\nto = "gateway"\nservices = ["tcp/2222"]\n'
"""A change of the configuration that is easy to find in the kernel."""
CRASHING_RULE = (
    "update @five { meta l4proto . ip saddr . ip daddr . th sport . th dport timeout 5m : meta mark }"
)
"""Valid, and nft 1.0.6 aborts on it."""
CRASHING_MAP = """map five {
	type inet_proto . ipv4_addr . ipv4_addr . inet_service . inet_service : mark
	flags dynamic,timeout
	size 1024
}
"""


@dataclass(frozen=True)
class Site:
    """A gateway, a client inside, and a real server outside."""

    gateway: Gateway
    client: Host
    server: FtpServer
    sample: Sample
    other: Host
    """A second host outside, for servers by hand."""

    def get(self, mode: Mode = "port", timeout_s: float = 8.0) -> Transfer:
        """Download the sample; nothing but fwlb's helper makes this possible."""
        return download(
            curl, self.client, self.server, self.sample, mode=mode, timeout_s=timeout_s
        )

    def start_download(self, mode: Mode, sample: Sample, rate: str) -> tuple[Process, Path]:
        """A download that goes on in the background, once its first bytes have come."""
        target = self.client.directory / f"{mode}.part"
        how = ["--disable-epsv"] if mode == "pasv" else ["--ftp-port", "-", "--disable-eprt"]
        url = self.server.url(str(sample.path.relative_to(self.server.root)))
        process = self.client.start(
            ["curl", "-sS", "--limit-rate", rate, *how, "--output", str(target), url]
        )
        wait_for("the first bytes", lambda: target.exists() and target.stat().st_size > 0)
        return process, target

    def passed_by(self) -> bool:
        """Whether a new control connection goes through without the relay: it keeps its port."""
        with Server(self.other) as server, Control(self.client, self.other.address4) as control:
            return control.hear() == "220 by hand" and server.peers[0][1] == control.own_port

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.gateway.fwlb("status", "--json").stdout)
        return answer


@pytest.fixture(scope="module")
def faults_lab(lab: Callable[[], Lab]) -> Lab:
    return lab()


@pytest.fixture(scope="module")
def server(faults_lab: Lab, require_program: Callable[[str], str]) -> FtpServer:
    for program in ("vsftpd", "curl", "conntrack", "tcpdump"):
        require_program(program)
    return vsftpd(faults_lab.servers[0], faults_lab.directory / "ftp")


@pytest.fixture
def site(faults_lab: Lab, server: FtpServer, tmp_path: Path) -> Iterator[Site]:
    gateway = Gateway(faults_lab, tmp_path)
    before = gateway.footprint()
    sample = Sample.make(server.root / "sample.bin", SIZE_BYTES)
    started = len(gateway.host.processes)
    yield Site(gateway, faults_lab.clients[0], server, sample, faults_lab.servers[1])
    for process in gateway.host.processes[started:]:
        process.send_signal(signal.SIGCONT)
        process.stop(timeout_s=15)
        assert "Traceback" not in process.output(), process.output()
    gateway.configure()
    gateway.fwlb("down")
    assert gateway.footprint() == before
    assert not gateway.state.exists()
    assert not gateway.socket.exists()


def wait_for(what: str, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout_s:g} s: {what}"
        time.sleep(0.02)


def kill(process: Process) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait(5) == -signal.SIGKILL


def log(process: Process, name: str) -> list[dict[str, Any]]:
    """The daemon's log events of that name."""
    lines = [line for line in process.output().splitlines() if line.startswith("{")]
    return [event for event in map(json.loads, lines) if event["event"] == name]


# --- the daemon dies ------------------------------------------------------------------------------


def test_transfers_survive_the_daemon_to_their_last_byte(site: Site) -> None:
    """kill -9 while 200 MB come in passive and in active mode."""
    daemon = site.gateway.start()
    big = Sample.make(site.server.root / "big.bin", BIG_BYTES)
    try:
        with site.gateway.host.capture("wan0", "ip and net 10.0.0.0/8") as leaked:
            running = [site.start_download(mode, big, BIG_RATE) for mode in ("pasv", "port")]
            kill(daemon)
            assert all(target.stat().st_size < BIG_BYTES / 2 for _, target in running)
            # the sign of life has not lapsed yet
            assert "expires" in site.gateway.nft("list", "set", "inet", "fwlb", "relay_alive")
            assert site.passed_by()
            for process, target in running:
                process.wait(30)
                assert target.stat().st_size == BIG_BYTES
                assert sha256_of(target) == big.sha256
        assert site.gateway.host.run(["tcpdump", "-nr", leaked]).stdout == ""
    finally:
        big.path.unlink()
    assert not site.get(timeout_s=1.5).ok
    site.gateway.start()
    status = site.status()
    assert (status["sessions"]["opened"], status["pinholes"]["now"]) == (0, 0)
    assert site.get().ok
    assert site.gateway.diff()["same"]


def test_down_after_a_kill_removes_all(site: Site) -> None:
    """The fixture compares the kernel; here are the files."""
    kill(site.gateway.start())
    assert site.gateway.socket.exists()
    removed = site.gateway.fwlb("down").stdout
    assert "table inet fwlb" in removed
    assert not site.gateway.socket.exists()
    assert not site.gateway.state.exists()


def test_what_a_killed_daemon_opened_is_gone_with_the_next(site: Site) -> None:
    daemon = site.gateway.start()
    with Control(site.client, site.server.host.address4) as control:
        control.login()
        assert control.say("PORT 10,1,0,2,200,1").startswith("200")
        kill(daemon)
        assert opened(site.gateway)
        site.gateway.start()
        assert not opened(site.gateway)


def opened(gateway: Gateway) -> bool:
    """Whether the kernel holds a pinhole or a binding."""
    names = [("set", "pinhole4"), ("map", "binding_in4"), ("map", "binding_out4")]
    return any("expires" in gateway.nft("list", kind, "inet", "fwlb", name) for kind, name in names)


# --- the daemon hangs -----------------------------------------------------------------------------


def test_a_hung_daemon_is_passed_by_and_said_to_hang(site: Site) -> None:
    site.gateway.configure(more="\n[relay]\nliveness_timeout_s = 1.0\n")
    daemon = site.gateway.start()
    assert not site.passed_by()
    daemon.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    assert site.passed_by()
    done = site.gateway.fwlb("status", status=7)
    assert "does not answer in time" in done.stderr
    again = site.gateway.fwlb("up", status=7)
    assert f"(pid {daemon.pid})" in again.stderr
    daemon.send_signal(signal.SIGCONT)
    wait_for("alive again", lambda: not site.passed_by())
    assert site.get().ok
    assert site.status()["loop_lag_ms"] > 1000


# --- the daemon cannot start ----------------------------------------------------------------------


def refused(site: Site, status: int) -> str:
    """What a `fwlb up` says that must fail with `status` and leave the kernel as it was."""
    before = site.gateway.footprint()
    said = site.gateway.fwlb("up", status=status).stderr
    assert site.gateway.footprint() == before
    assert not site.gateway.state.exists()
    return said


def test_a_taken_port_is_named_with_its_holder(site: Site) -> None:
    for address, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        listener = site.gateway.host.call(
            lambda at=(address, 2121), family=family: socket.create_server(at, family=family)
        )
        with listener:
            said = refused(site, 7)
        assert f"port 2121 on {address} is taken" in said
        assert f"(pid {os.getpid()})" in said
        assert "relay.port" in said


def test_a_runtime_directory_that_cannot_be_is_named(site: Site) -> None:
    (site.gateway.directory / "run").write_text("a file, no directory")
    assert "paths.runtime" in refused(site, 7)
    (site.gateway.directory / "run").unlink()


def test_a_missing_runtime_directory_is_made(site: Site) -> None:
    runtime = site.gateway.directory / "deeper" / "run"
    text = site.gateway.file.read_text().replace(str(site.gateway.socket.parent), str(runtime))
    site.gateway.configure(text)
    site.gateway.socket = runtime / "control.sock"
    daemon = site.gateway.start()
    assert site.status()["pid"] == daemon.pid


def test_a_state_directory_that_cannot_be_is_named(site: Site) -> None:
    nowhere = "/proc/fwlb"
    text = site.gateway.file.read_text().replace(str(site.gateway.state), nowhere)
    site.gateway.configure(text)
    said = refused(site, 4)
    assert nowhere in said
    assert "[paths] state" in said


def test_when_the_state_cannot_be_kept_nothing_is_changed(site: Site) -> None:
    """The last file cannot be written when the kernel has the new rules already."""
    site.gateway.fwlb("up", "--no-daemon")
    before = site.gateway.footprint()
    in_the_way = site.gateway.state / "applied.new"
    in_the_way.mkdir()
    site.gateway.configure(more=MARKER)
    assert str(in_the_way.with_suffix(".json")) in site.gateway.fwlb("up", status=4).stderr
    assert site.gateway.footprint() == before
    in_the_way.rmdir()


def test_a_second_daemon_changes_nothing(site: Site) -> None:
    first = site.gateway.start()
    before = site.gateway.footprint()
    site.gateway.configure(more=MARKER)
    said = site.gateway.fwlb("up", status=7).stderr
    assert f"(pid {first.pid})" in said
    assert "reload" in said
    assert site.gateway.footprint() == before
    assert site.get().ok


# --- signals --------------------------------------------------------------------------------------


def test_a_broken_configuration_is_said_and_the_old_one_stays(site: Site) -> None:
    daemon = site.gateway.start()
    before = site.gateway.footprint()
    site.gateway.file.write_text(site.gateway.file.read_text() + '\n[relay]\nport = "many"\n')
    daemon.send_signal(signal.SIGHUP)
    wait_for("the failure", lambda: bool(log(daemon, "reload-failed")))
    site.gateway.configure()  # the verbs read it too
    error = site.status()["last_error"]["text"]
    assert "relay.port" in error
    assert f"{site.gateway.file}:" in error
    assert "last error 20" in site.gateway.fwlb("status").stdout
    assert site.gateway.footprint() == before
    assert site.get().ok


def test_a_new_configuration_is_applied_and_sessions_go_on(site: Site) -> None:
    daemon = site.gateway.start()
    running, target = site.start_download("pasv", site.sample, "150k")
    site.gateway.configure(more=MARKER)
    daemon.send_signal(signal.SIGHUP)
    wait_for("the reload", lambda: bool(log(daemon, "reloaded")))
    assert "2222" in site.gateway.nft("list", "map", "inet", "fwlb", "input_service")
    assert site.gateway.diff()["same"]
    assert target.stat().st_size < SIZE_BYTES
    assert running.wait(10) == 0
    assert sha256_of(target) == site.sample.sha256
    assert site.status()["sessions"]["opened"] == 1


def test_a_stopping_daemon_waits_for_a_transfer(site: Site) -> None:
    daemon = site.gateway.start()
    running, target = site.start_download("port", site.sample, "150k")
    daemon.send_signal(signal.SIGTERM)
    wait_for("the sign of life to end", site.passed_by)
    assert daemon.exit_status is None
    assert running.wait(10) == 0
    assert sha256_of(target) == site.sample.sha256
    assert daemon.wait(5) == 0
    assert log(daemon, "daemon-stopped")[0]["finished"] == 1
    assert not opened(site.gateway)


# --- somebody else changes the kernel -------------------------------------------------------------


@pytest.mark.parametrize("command", ["delete table inet fwlb", "flush ruleset"])
def test_a_table_removed_by_hand_is_said_and_up_mends_it(site: Site, command: str) -> None:
    site.gateway.start()
    site.gateway.nft(command)
    wait_for("the daemon to see it", lambda: not site.gateway.call("status")["relay"]["alive"])
    shown = site.gateway.fwlb("status").stdout
    assert "passed by" in shown
    assert "fwlb up" in site.status()["last_error"]["text"]
    site.gateway.fwlb("up", "--no-daemon")
    assert site.status()["relay"]["alive"]
    assert site.get().ok
    assert site.get("pasv").ok


def test_an_unconfirmed_change_is_taken_back_from_a_running_daemon(site: Site) -> None:
    daemon = site.gateway.start()
    site.gateway.configure(helper=False)
    site.gateway.fwlb("up", "--no-daemon", "--confirm", "2")
    assert not site.get(timeout_s=1).ok
    wait_for("the roll-back", lambda: site.gateway.call("status")["relay"]["alive"])
    assert site.get().ok
    assert daemon.exit_status is None


def test_a_full_set_is_refused_counted_and_got_over(site: Site) -> None:
    daemon = site.gateway.start()
    fill(site.gateway)
    done = site.get("pasv", timeout_s=4)
    assert not done.ok
    assert done.message.startswith("425")
    done = site.get("port", timeout_s=4)
    assert not done.ok
    assert done.message[0] == "5"
    status = site.status()
    assert status["refusals"]["set-full"] == 2
    assert "full" in status["last_error"]["text"]
    assert (status["pinholes"]["now"], status["bindings"]["now"]) == (0, 0)
    assert daemon.exit_status is None
    site.gateway.nft("flush", "set", "inet", "fwlb", "pinhole4")
    assert site.get("pasv").ok
    assert site.get("port").ok


def fill(gateway: Gateway) -> None:
    """Fill pinhole4 to its declared size."""
    code = """
from ipaddress import ip_address
from fwlb.kernel.elements import ElementWriter
from fwlb.model import Change, ChangeKind, Element
source, server = ip_address("192.0.2.1"), ip_address("198.51.100.1")
with ElementWriter() as writer:
    for number in range(0, 262144, 2048):
        keys = ((6, source, server + (n >> 16), n & 65535) for n in range(number, number + 2048))
        elements = (Element("pinhole4", key, None, 600.0) for key in keys)
        writer.apply([Change(ChangeKind.ADD, element) for element in elements])
"""
    gateway.host.python(code)


# --- libnftables crashes --------------------------------------------------------------------------


def test_rules_that_crash_libnftables_hurt_nobody(site: Site) -> None:
    rules = site.gateway.directory / "rules.d"
    daemon = site.gateway.start()
    before = site.gateway.footprint()
    site.gateway.rules("table", CRASHING_MAP)
    path = site.gateway.rules("forward", f"{CRASHING_RULE}\n")
    shown = site.gateway.fwlb("diff", status=2).stderr
    said = site.gateway.fwlb("up", "--no-daemon", status=5).stderr
    for text in (shown, said):
        assert "libnftables was ended by SIGABRT" in text
        assert "Assertion" in text
        assert str(path.parent.parent) in text
    daemon.send_signal(signal.SIGHUP)
    wait_for("the failure", lambda: bool(log(daemon, "reload-failed")))
    assert "SIGABRT" in site.status()["last_error"]["text"]
    assert site.gateway.footprint() == before
    assert site.get().ok
    shutil.rmtree(rules)
