"""Life and death of the daemon: start, reload, stop, kill, hang, and what is said about it."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fwlb.daemon import running
from fwlb.daemon.control import call, events
from fwlb.errors import (
    AlreadyRunningError,
    ConfigError,
    DaemonError,
    NotRunningError,
    PortInUseError,
)
from fwlb.operate.state import State

if TYPE_CHECKING:
    from tests.netns.relay.conftest import Gateway, Wire

pytestmark = pytest.mark.netns

GREETING = b"220 ready\r\n"
PCAP_HEADER_BYTES = 24


# --- the end -----------------------------------------------------------------------------------


def test_after_kill_new_connections_pass_and_nothing_leaks(relay: Gateway, wire: Wire) -> None:
    client, server, listener = wire.connect(GREETING)
    with relay.host.capture("wan0", "ip and src net 10.1.0.0/24") as leaks:
        relay.daemon.send_signal(signal.SIGKILL)
        relay.daemon.wait(5)
        with pytest.raises(OSError, match=r"reset|Broken pipe"):  # noqa: PT012
            for _ in range(20):
                client.sendall(b"NOOP\r\n")
                time.sleep(0.05)
        relay.wait_for(
            "a new connection past the dead daemon",
            lambda: wire.passes_by(listener),
            timeout_s=1.5,
        )
    assert leaks.stat().st_size == PCAP_HEADER_BYTES, "packets left with their private source"
    assert wire.hear(server, 1) == b""  # the kernel closed the dead daemon's sockets
    with pytest.raises(OSError, match=r"reset|Broken pipe"):  # noqa: PT012
        for _ in range(20):
            server.sendall(b"421 bye\r\n")
            time.sleep(0.05)


def test_what_is_left_of_a_connection_without_sockets_is_reset_and_does_not_leak(
    relay: Gateway, wire: Wire
) -> None:
    """The kernel forgets the dead daemon's sockets at last; the connection's mark remains."""
    relay.host.sysctl("net.ipv4.tcp_fin_timeout", 1)
    client, _server, _ = wire.connect(GREETING)
    relay.daemon.send_signal(signal.SIGKILL)
    relay.daemon.wait(5)
    with relay.host.capture("wan0", "ip and src net 10.1.0.0/24") as leaks:
        relay.wait_for(
            "no sockets are left",
            lambda: ":21" not in relay.host.run(["ss", "-Htna"]).stdout,
            timeout_s=10,
        )
        with pytest.raises(OSError, match=r"reset|Broken pipe"):  # noqa: PT012
            for _ in range(20):
                client.sendall(b"NOOP\r\n")
                time.sleep(0.05)
        time.sleep(0.1)
    assert leaks.stat().st_size == PCAP_HEADER_BYTES, "packets left with their private source"
    counter = relay.host.run(["nft", "list counter inet fwlb relay_orphans"]).stdout
    assert "packets 0 " not in counter


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
def test_where_it_is_configured_nothing_passes_without_the_daemon(
    gateway: Gateway, wire: Wire, end: signal.Signals
) -> None:
    """From the moment it is gone: also while its sign of life has not lapsed yet."""
    gateway.configure(when_away="closed")
    gateway.start()
    _, _, listener = wire.connect(GREETING)
    gateway.daemon.send_signal(end)
    if end is signal.SIGKILL:
        gateway.daemon.wait(5)
    elif end is signal.SIGTERM:
        gateway.wait_for("no sign of life", lambda: not gateway.status()["relay"]["alive"])
    listener.settimeout(0.1)
    refused = 0
    deadline = time.monotonic() + 2 * gateway.config.relay.liveness_timeout_s
    while time.monotonic() < deadline:
        try:
            wire.reset(wire.dial(wire.client_host, wire.server_host.address4, timeout_s=0.3))
            refused = 0
        except ConnectionRefusedError:
            refused += 1
        with pytest.raises(TimeoutError):
            wire.accept(listener)
    assert refused > 2


def test_a_hung_daemon_is_passed_by(relay: Gateway, wire: Wire) -> None:
    listener = wire.listen(wire.server_host)
    relay.daemon.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    relay.wait_for(
        "a new connection past the hung daemon", lambda: wire.passes_by(listener), timeout_s=5
    )
    assert time.monotonic() - began < 3
    with pytest.raises(DaemonError, match="in time"):
        call(relay.control, "status", 0.2)
    time.sleep(max(0.0, began + 2.2 - time.monotonic()))
    relay.daemon.send_signal(signal.SIGCONT)
    other = wire.listen(wire.other_server_host)
    relay.wait_for("the daemon is back", lambda: not wire.passes_by(other))
    assert relay.status()["loop_lag_ms"] > 1000


def test_a_stopping_daemon_lets_its_sessions_finish(relay: Gateway, wire: Wire) -> None:
    client, server, listener = wire.connect(GREETING)
    relay.daemon.send_signal(signal.SIGTERM)
    relay.wait_event("daemon-stopping", sessions=1)
    relay.wait_for("a new connection past the stopping daemon", lambda: wire.passes_by(listener))
    client.sendall(b"NOOP\r\n")
    assert wire.hear(server, 6) == b"NOOP\r\n"
    assert relay.status()["stopping"]
    client.close()
    server.close()
    assert relay.daemon.wait(5) == 0
    relay.wait_event("daemon-stopped", finished=1, reset=0)
    assert not relay.control.exists()


def test_what_does_not_finish_in_time_is_reset(gateway: Gateway, wire: Wire) -> None:
    gateway.configure(drain_timeout_s=0.5)
    gateway.start()
    client, server, _ = wire.connect()
    gateway.daemon.send_signal(signal.SIGTERM)
    for connection in (client, server):
        with pytest.raises(ConnectionResetError):
            wire.hear(connection, 1)
    assert gateway.daemon.wait(5) == 0
    gateway.wait_event("daemon-stopped", finished=0, reset=1)


def test_a_second_signal_stops_at_once(relay: Gateway, wire: Wire) -> None:
    wire.connect()
    relay.daemon.send_signal(signal.SIGTERM)
    relay.wait_event("daemon-stopping")
    relay.daemon.send_signal(signal.SIGTERM)
    assert relay.daemon.wait(3) == 0
    relay.wait_event("daemon-stopped", reset=1)


def test_the_stop_verb_stops(relay: Gateway) -> None:
    assert call(relay.control, "stop")["pid"] == relay.daemon.pid
    assert relay.daemon.wait(5) == 0
    with pytest.raises(NotRunningError):
        relay.status()


# --- the start ---------------------------------------------------------------------------------


def test_one_daemon_in_a_network_namespace(relay: Gateway) -> None:
    first = relay.daemon
    assert relay.launch().wait(10) == 7
    assert f"(pid {first.pid})" in relay.daemon.output()
    assert relay.status()["relay"]["alive"]
    first.stop()


def test_a_taken_port_is_told_with_its_holder(gateway: Gateway) -> None:
    with gateway.host.call(lambda: socket.create_server(("127.0.0.1", 2121))):
        assert gateway.launch().wait(10) == 7
    assert "port 2121 on 127.0.0.1 is taken" in gateway.daemon.output()
    assert f"(pid {os.getpid()})" in gateway.daemon.output()


def test_a_daemon_without_its_table_says_what_to_do(gateway: Gateway) -> None:
    gateway.host.run(["nft", "delete table inet fwlb"])
    assert gateway.launch().wait(10) == 6
    assert "fwlb up" in gateway.daemon.output()


def test_what_a_former_daemon_left_behind_is_emptied(gateway: Gateway) -> None:
    left = "tcp . 10.1.0.2 . 203.0.113.10 . 40001 timeout 60s"
    gateway.host.run(["nft", f"add element inet fwlb pinhole4 {{ {left} }}"])
    gateway.start()
    listing = gateway.host.run(["nft", "list set inet fwlb pinhole4"]).stdout
    assert "40001" not in listing


def test_the_service_manager_is_told(gateway: Gateway) -> None:
    path = gateway.lab.directory / "notify"
    told = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.settimeout(5)
        gateway.start(NOTIFY_SOCKET=str(path), WATCHDOG_USEC="400000")
        told.append(manager.recv(200).decode())
        assert manager.recv(200) == b"WATCHDOG=1"
        gateway.daemon.send_signal(signal.SIGHUP)
        gateway.wait_event("reloaded")
        gateway.daemon.send_signal(signal.SIGTERM)
        gateway.daemon.wait(5)
        manager.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                told.append(manager.recv(200).decode().partition("\n")[0])
    path.unlink()
    states = [each for each in told if each != "WATCHDOG=1" and "STATUS" not in each]
    assert states == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


# --- while it runs -----------------------------------------------------------------------------


def test_status_says_how_it_is(relay: Gateway, wire: Wire) -> None:
    wire.connect()
    status = relay.status()
    assert status["node"] == "gw1"
    assert status["pid"] == relay.daemon.pid
    assert status["config"].endswith("fwlb.toml")
    assert status["relay"] == {
        "port": 2121,
        "accepting": True,
        "alive": True,
        "connections": 1,
        "connecting": 0,
        "opaque": 0,
        "accepted": 1,
        "shortages": 0,
        "mishaps": 0,
    }
    assert status["last_error"] is None
    assert status["uptime_s"] > 0


def test_events_are_seen_live(relay: Gateway, wire: Wire) -> None:
    stream = events(relay.control)
    seen: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: seen.append(next(stream)))
    thread.start()
    time.sleep(0.3)
    wire.connect()
    thread.join(5)
    stream.close()
    assert seen[0]["event"] == "session-opened"
    assert seen[0]["client"].startswith("10.1.0.2:")


@pytest.mark.parametrize("how", ["signal", "verb"])
def test_reload_takes_another_port_and_keeps_sessions(relay: Gateway, wire: Wire, how: str) -> None:
    client, server, listener = wire.connect(GREETING)
    relay.configure(port=2222)
    if how == "signal":
        relay.daemon.send_signal(signal.SIGHUP)
        relay.wait_event("reloaded")
    else:
        assert call(relay.control, "reload") == {"reloaded": True}
    assert relay.status()["relay"]["port"] == 2222
    client.sendall(b"NOOP\r\n")
    assert wire.hear(server, 6) == b"NOOP\r\n"
    assert not wire.passes_by(listener)
    assert relay.status()["sessions"]["opened"] == 2


def test_a_reload_that_fails_changes_nothing(relay: Gateway, wire: Wire) -> None:
    relay.file.write_text("[node]\nname = 3\n")
    with pytest.raises(ConfigError, match="name"):
        call(relay.control, "reload")
    status = relay.status()
    assert "reload" in status["last_error"]["text"]
    assert status["relay"]["alive"]
    wire.connect()
    assert relay.status()["relay"]["connections"] == 1


def test_a_reload_onto_a_taken_port_is_an_error_and_the_daemon_is_passed_by(
    relay: Gateway, wire: Wire
) -> None:
    relay.configure(port=2222)
    with relay.host.call(lambda: socket.create_server(("127.0.0.1", 2222))):
        with pytest.raises(PortInUseError, match="2222"):
            call(relay.control, "reload")
        status = relay.status()
        assert not status["relay"]["alive"]
        assert "2222" in status["last_error"]["text"]
        assert wire.passes_by(wire.listen(wire.server_host))
    assert call(relay.control, "reload") == {"reloaded": True}
    assert relay.status()["relay"]["alive"]
    assert not wire.passes_by(wire.listen(wire.other_server_host))


def test_without_descriptors_accepting_pauses_and_goes_on(relay: Gateway, wire: Wire) -> None:
    pid = relay.daemon.pid
    listener = wire.listen(wire.server_host)
    address = wire.server_host.address4
    in_use = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (in_use + 20, 20000))
    clients = [wire.dial(wire.client_host, address) for _ in range(40)]
    relay.wait_event("accept-paused")
    for client in clients:
        wire.reset(client)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (20000, 20000))
    relay.wait_for("accepting again", lambda: relay.status()["relay"]["accepting"])
    relay.wait_idle()
    assert relay.status()["relay"]["shortages"] > 0
    listener.close()
    wire.connect(GREETING)


def test_other_verbs_find_the_daemon(relay: Gateway) -> None:
    in_gateway = relay.host.call
    with pytest.raises(AlreadyRunningError, match=rf"pid {relay.daemon.pid}\b"):
        in_gateway(lambda: running.require_startable(relay.config))
    with pytest.raises(AlreadyRunningError, match=r"control\.sock"):
        running.require_startable(relay.config)  # another namespace, the same directory
    assert in_gateway(lambda: running.stop_running(relay.config)) == [
        f"daemon (pid {relay.daemon.pid})"
    ]
    assert relay.daemon.wait(5) == 0
    in_gateway(lambda: running.require_startable(relay.config))
    assert in_gateway(lambda: running.stop_running(relay.config)) == []
    assert not running.reload_running(relay.config)


def test_a_daemon_takes_over_what_another_process_applied(relay: Gateway) -> None:
    with pytest.raises(DaemonError, match="no configuration is applied"):
        running.reload_running(relay.config)
    relay.configure(port=2222)
    applied = {"file": str(relay.file), "config": relay.file.read_text()}
    state = State(relay.config.paths.state)
    with state.locked():
        state.write("applied", applied)
    relay.file.write_text("this is not what counts")
    assert running.reload_running(relay.config)
    assert relay.status()["relay"]["port"] == 2222
    with state.locked():
        state.remove("applied")


def test_a_table_that_vanishes_is_told_and_one_that_comes_back_is_used(
    relay: Gateway, wire: Wire
) -> None:
    relay.host.run(["nft", "delete table inet fwlb"])
    relay.wait_for("not alive", lambda: not relay.status()["relay"]["alive"])
    assert relay.status()["last_error"] is not None
    relay.wait_event("relay-passed-by")
    relay.configure()
    relay.wait_event("relay-alive")
    wire.connect()
    assert relay.status()["relay"]["connections"] == 1
