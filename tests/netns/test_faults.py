"""What may happen to the daemon and to the host under it, with real transfers while it happens.

Each test starts `fwlb up` on a lab gateway as an operator would; at its end `fwlb down` must have
left nothing (fixture `site`).
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from fwlb.lab import Lab
from fwlb.lab.demo import fwlb_command
from fwlb.lab.programs import FtpServer, vsftpd
from fwlb.lab.transfers import Sample, sha256_of
from tests.netns import scene
from tests.netns.ftp_by_hand import Control, Download
from tests.netns.gateway import Gateway
from tests.netns.scene import Site, kernel, kill, log, opened, wait_for

pytestmark = pytest.mark.netns

BIG_BYTES = 200_000_000
BIG_RATE = "50M"
"""Bytes a second, as curl wants it: four seconds."""
MARKER = '\n[[allow]]\nfrom = "outside"\nto = "gateway"\nservices = ["tcp/2222"]\n'
"""A change of the configuration that is easy to find in the kernel."""
CRASHING_RULE = (
    "update @five { meta l4proto . ip saddr . ip daddr . th sport . th dport timeout 5m "
    ": meta mark }"
)
"""Valid, and nft 1.0.6 aborts on it: netlink_linearize.c, `dreg < ctx->reg_low`."""
CRASHING_MAP = """map five {
	type inet_proto . ipv4_addr . ipv4_addr . inet_service . inet_service : mark
	flags dynamic,timeout
	size 1024
}
"""


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
    with scene.site(faults_lab, server, tmp_path) as whole:
        yield whole


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


# --- the daemon hangs -----------------------------------------------------------------------------


def test_a_hung_daemon_is_passed_by_and_said_to_hang(site: Site) -> None:
    site.gateway.configure(more="\n[relay]\nliveness_timeout_s = 1.0\n")
    daemon = site.gateway.start()
    assert not site.passed_by()
    daemon.send_signal(signal.SIGSTOP)
    time.sleep(1.5)
    before = site.gateway.nft("-s", "list", "ruleset")
    with ThreadPoolExecutor(2) as pool:
        verbs = [pool.submit(site.gateway.fwlb, verb, status=7) for verb in ("status", "up")]
        assert site.passed_by()
    status, up = (verb.result().stderr for verb in verbs)
    assert "does not answer in time" in status
    assert f"(pid {daemon.pid})" in up
    assert site.gateway.nft("-s", "list", "ruleset") == before
    daemon.send_signal(signal.SIGCONT)
    wait_for("alive again", lambda: not site.passed_by())
    assert site.get().ok
    assert site.status()["loop_lag_ms"] > 1000


# --- the daemon cannot start ----------------------------------------------------------------------


def refused(site: Site, status: int) -> str:
    """What a `fwlb up` says that must fail with `status` and leave the kernel as it was."""
    before = kernel(site.gateway)
    said = site.gateway.fwlb("up", status=status).stderr
    assert kernel(site.gateway) == before
    assert not site.gateway.state.exists()
    return said


def test_a_taken_port_is_named_with_its_holder(site: Site) -> None:
    for address, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
        listen = partial(socket.create_server, (address, 2121), family=family)
        listener = site.gateway.host.call(listen)
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
    before = kernel(site.gateway)
    in_the_way = site.gateway.state / "applied.new"
    in_the_way.mkdir()
    site.gateway.configure(more=MARKER)
    assert str(in_the_way.with_suffix(".json")) in site.gateway.fwlb("up", status=4).stderr
    assert kernel(site.gateway) == before
    in_the_way.rmdir()


def test_a_second_daemon_changes_nothing(site: Site) -> None:
    first = site.gateway.start()
    before = kernel(site.gateway)
    site.gateway.configure(more=MARKER)
    said = site.gateway.fwlb("up", status=7).stderr
    assert f"(pid {first.pid})" in said
    assert "reload" in said
    assert kernel(site.gateway) == before
    assert site.get().ok


def test_verbs_do_not_take_a_daemon_without_its_socket_for_none(site: Site) -> None:
    daemon = site.gateway.start()
    before = kernel(site.gateway)
    site.gateway.socket.unlink()
    for verb in (["down"], ["up"], ["up", "--no-daemon"]):
        assert f"(pid {daemon.pid})" in site.gateway.fwlb(*verb, status=7).stderr
    assert kernel(site.gateway) == before
    assert site.get().ok


def test_a_killed_up_leaves_nothing_that_down_does_not_find(site: Site) -> None:
    before = kernel(site.gateway)
    command, environment = fwlb_command("up", "-c", site.gateway.file, "--no-daemon")
    began = time.monotonic()
    site.gateway.host.run(command, env=environment)
    whole_s = time.monotonic() - began
    site.gateway.fwlb("down")
    had_changed = set()
    for tenths in range(2, 11):
        process = site.gateway.host.start(command, env=environment)
        time.sleep(whole_s * tenths / 10)
        process.stop(first=signal.SIGKILL)
        had_changed.add(kernel(site.gateway) != before)
        site.gateway.fwlb("down")
        assert kernel(site.gateway) == before
        assert not site.gateway.state.exists()
    assert had_changed == {False, True}  # killed early and late


def test_ipv6_that_is_switched_off_is_not_needed(
    server: FtpServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The sysctl takes all addresses away: this test has a lab of its own."""
    with Lab() as lab:
        lab.gateway.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
        own = vsftpd(lab.servers[0], lab.directory / "ftp")
        with scene.site(lab, own, tmp_path_factory.mktemp("gateway")) as site:
            site.gateway.start()
            assert site.get().ok
            assert site.gateway.diff()["same"]
            lab.gateway.sysctl("net.ipv6.conf.all.disable_ipv6", 0)
            assert not site.gateway.diff()["same"]
            site.gateway.fwlb("up", "--no-daemon")
            assert site.gateway.diff()["same"]
            lab.gateway.sysctl("net.ipv6.conf.all.disable_ipv6", 1)


# --- signals --------------------------------------------------------------------------------------


def test_a_broken_configuration_is_said_and_the_old_one_stays(site: Site) -> None:
    daemon = site.gateway.start()
    before = kernel(site.gateway)
    site.gateway.file.write_text(site.gateway.file.read_text() + '\n[relay]\nport = "many"\n')
    daemon.send_signal(signal.SIGHUP)
    wait_for("the failure", lambda: bool(log(daemon, "reload-failed")))
    site.gateway.configure()  # the verbs read it too
    error = site.status()["last_error"]["text"]
    assert "relay.port" in error
    assert f"{site.gateway.file}:" in error
    assert "last error 20" in site.gateway.fwlb("status").stdout
    assert kernel(site.gateway) == before
    assert site.get().ok


def test_a_new_configuration_is_applied_and_sessions_go_on(site: Site) -> None:
    daemon = site.gateway.start()
    with Control(site.client, site.server.host.address4) as control:
        control.login()
        download = Download(control, "sample.bin", "pasv")
        received = download.read(1_000_000)
        site.gateway.configure(more=MARKER)
        daemon.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: bool(log(daemon, "reloaded")))
        assert "2222" in site.gateway.nft("list", "map", "inet", "fwlb", "input_service")
        assert site.gateway.diff()["same"]
        received += download.finish()
        assert received == site.sample.path.read_bytes()
        received = Download(control, "sample.bin", "port").finish()
        assert received == site.sample.path.read_bytes()
    assert site.status()["sessions"]["opened"] == 1


def test_a_stopping_daemon_waits_for_a_transfer(site: Site) -> None:
    daemon = site.gateway.start()
    with Control(site.client, site.server.host.address4) as control:
        control.login()
        download = Download(control, "sample.bin", "port")
        received = download.read(1_000_000)
        daemon.send_signal(signal.SIGTERM)
        wait_for("the sign of life to end", site.passed_by)
        assert daemon.exit_status is None
        received += download.finish()
        assert received == site.sample.path.read_bytes()
        # the session is not over before its client says so
        assert Download(control, "sample.bin", "pasv").finish() == received
    assert daemon.wait(5) == 0
    stopped = log(daemon, "daemon-stopped")[0]
    assert stopped["finished"] >= 1  # and a try of `passed_by` that came too early
    assert stopped["reset"] == 0
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
    if "v1.0.6" not in site.gateway.nft("--version"):
        pytest.skip("only nft 1.0.6 is known to abort on these rules")
    rules = site.gateway.directory / "rules.d"
    daemon = site.gateway.start()
    before = kernel(site.gateway)
    site.gateway.rules("table", CRASHING_MAP)
    path = site.gateway.rules("forward", f"{CRASHING_RULE}\n")
    shown = site.gateway.fwlb("diff", status=2).stderr
    said = site.gateway.fwlb("up", "--no-daemon", status=5).stderr
    for text in (shown, said):
        assert "libnftables was ended by SIGABRT" in text
        assert "Assertion" in text
        assert str(path) in text
    daemon.send_signal(signal.SIGHUP)
    wait_for("the failure", lambda: bool(log(daemon, "reload-failed")))
    assert "SIGABRT" in site.status()["last_error"]["text"]
    assert kernel(site.gateway) == before
    assert site.get().ok
    shutil.rmtree(rules)
