"""Clients and servers that misbehave: what they see, what is counted, and that nothing is opened.

Each test starts `fwlb up` on a lab gateway; at its end `fwlb down` must have left nothing
(fixture `site`).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from fwlb.lab import Lab, Process
from fwlb.lab.programs import FtpServer, vsftpd
from tests.netns import scene
from tests.netns.ftp_by_hand import Control, Server, polite, port_argument
from tests.netns.scene import Site, opened, wait_for

pytestmark = pytest.mark.netns

FLOOD_BYTES = 10_000_000
MAX_GROWTH_BYTES = 8_000_000
"""What a peer may cost the daemon."""
CLIENT, NEIGHBOUR, STRANGER = "10.1.0.2", "10.1.0.3", "203.0.113.10"


@pytest.fixture(scope="module")
def peers_lab(lab: Callable[[], Lab]) -> Lab:
    return lab()


@pytest.fixture(scope="module")
def server(peers_lab: Lab, require_program: Callable[[str], str]) -> FtpServer:
    for program in ("vsftpd", "curl"):
        require_program(program)
    return vsftpd(peers_lab.servers[0], peers_lab.directory / "ftp")


@pytest.fixture
def site(peers_lab: Lab, server: FtpServer, tmp_path: Path) -> Iterator[Site]:
    with scene.site(peers_lab, server, tmp_path) as whole:
        yield whole


def start(site: Site, *, helper: str = "", relay: str = "") -> Process:
    """`fwlb up` with more settings for the helper and the relay."""
    text = site.gateway.file.read_text()
    site.gateway.configure(text.replace("[helpers.ftp]", f"[helpers.ftp]\n{helper}"))
    site.gateway.configure(site.gateway.file.read_text(), more=f"\n[relay]\n{relay}\n")
    return site.gateway.start()


def resident_bytes(process: Process) -> int:
    status = Path(f"/proc/{process.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


def refusals(site: Site) -> dict[str, int]:
    """What the daemon counts, without zeros."""
    counted = site.gateway.call("status")["refusals"]
    return {reason: count for reason, count in counted.items() if count}


def is_closed(control: Control) -> bool:
    """Whether the client hears nothing more but the end, or a reset."""
    try:
        return control.rest() == b""
    except ConnectionResetError:
        return True


# --- too much -------------------------------------------------------------------------------------


@pytest.mark.parametrize("garbled", ["pass", "close"])
def test_ten_megabytes_without_a_newline(site: Site, garbled: str) -> None:
    daemon = start(site, helper=f'garbled = "{garbled}"')
    with Server(site.other) as server, Control(site.client, server.address) as control:
        control.login()
        before, told = resident_bytes(daemon), server.bytes_received
        control.socket.settimeout(10)
        try:
            control.socket.sendall(b"x" * FLOOD_BYTES)
        except ConnectionError:
            assert garbled == "close"
        if garbled == "close":
            assert is_closed(control)
            assert server.bytes_received == told
        else:
            wait_for("all bytes", lambda: server.bytes_received == told + FLOOD_BYTES)
            assert control.say("\r\nNOOP").startswith("502")
        assert resident_bytes(daemon) - before < MAX_GROWTH_BYTES
    assert refusals(site) == {"line-too-long": 1}
    assert site.status()["sessions"]["went_opaque"] == (garbled == "pass")
    assert site.get().ok


def test_a_server_that_sends_ten_megabytes_without_a_newline(site: Site) -> None:
    daemon = start(site)
    greeting = b"220 " + b"x" * FLOOD_BYTES + b"\r\n"
    with Server(site.other, greeting=greeting) as server:
        before = resident_bytes(daemon)
        with Control(site.client, server.address) as control:
            assert len(control.hear()) == FLOOD_BYTES + 4
        assert resident_bytes(daemon) - before < MAX_GROWTH_BYTES
    assert refusals(site) == {"line-too-long": 1}


def test_five_hundred_ports_one_after_the_other(site: Site) -> None:
    start(site)
    with Control(site.client, site.server.host.address4) as control:
        control.login()
        for number in range(500):
            reply = control.say(f"PORT {port_argument(CLIENT, 50000 + number)}")
            assert reply.startswith("200"), (number, reply)
        status = site.status()
        for what in ("pinholes", "bindings"):
            assert status[what] == {"now": 1, "opened": 500, "closed": 499}
    wait_for("the end", lambda: site.gateway.call("status")["sessions"]["now"] == 0)
    (ports,) = site.status()["ports"]
    assert (ports["in_use"], ports["resting"]) == (0, 500)
    assert not opened(site.gateway)
    assert refusals(site) == {}


@pytest.mark.parametrize("garbled", ["pass", "close"])
def test_five_hundred_ports_at_once(site: Site, garbled: str) -> None:
    """The server answers none of them, so they all wait for a reply."""
    daemon = start(site, helper=f'garbled = "{garbled}"')

    def silent(line: str) -> str | None:
        return None if line.startswith("PORT") else polite(line)

    with Server(site.other, answer=silent) as server, Control(site.client, server.address) as it:
        it.login()
        before = resident_bytes(daemon)
        commands = (f"PORT {port_argument(CLIENT, 50000 + n)}\r\n" for n in range(500))
        it.socket.sendall("".join(commands).encode())
        if garbled == "close":
            assert is_closed(it)
        else:
            wait_for("all of them", lambda: sum("PORT" in line for line in server.lines) == 500)
        status = site.status()
        assert (status["pinholes"]["now"], status["bindings"]["now"]) == (0, 0)
        assert not opened(site.gateway)
        assert resident_bytes(daemon) - before < MAX_GROWTH_BYTES
        arrived = [line for line in server.lines if line.startswith("PORT")]
        translated = [line for line in arrived if "203,0,113,1," in line]
        assert len(translated) == 64
        assert len(arrived) == (500 if garbled == "pass" else 64)
    assert refusals(site) == {"too-many-pending-commands": 1}


def test_two_thousand_sessions_cost_no_memory(site: Site) -> None:
    daemon = start(site)

    def answer(line: str) -> str | None:
        if line == "PASV":
            return f"227 here ({port_argument(site.other.address4, 45000)})"
        return "221 bye" if line == "QUIT" else polite(line)

    def session(number: int) -> str:
        with Control(site.client, site.other.address4) as control:
            control.login()
            said = control.say("PASV")[:3]
            said += control.say(f"PORT {port_argument(CLIENT, 40000 + number)}")[:3]
            return said + control.say("QUIT")[:3]

    with Server(site.other, answer=answer), ThreadPoolExecutor(8) as pool:
        assert set(pool.map(session, range(400))) == {"227200221"}
        before = resident_bytes(daemon)
        assert set(pool.map(session, range(2000))) == {"227200221"}
        assert resident_bytes(daemon) - before < 2_000_000
    wait_for("the end", lambda: site.gateway.call("status")["sessions"]["now"] == 0)
    status = site.status()
    assert status["sessions"]["opened"] == 2400
    assert (status["pinholes"]["now"], status["bindings"]["now"]) == (0, 0)
    assert not opened(site.gateway)


# --- too little -----------------------------------------------------------------------------------


def test_a_server_that_accepts_and_says_nothing(site: Site) -> None:
    start(site, relay="idle_timeout_s = 1.5")
    with Server(site.other, greeting=b"") as server:
        began = time.monotonic()
        with ExitStack() as stack:
            waiting = [stack.enter_context(Control(site.client, server.address)) for _ in range(50)]
            assert site.get().ok
            assert all(is_closed(control) for control in waiting)
        assert 1 < time.monotonic() - began < 8
    assert refusals(site) == {"idle-timeout": 50}
    assert site.status()["relay"]["connections"] == 0


def test_a_server_that_does_not_even_accept(site: Site) -> None:
    start(site, relay="connect_timeout_s = 1.5")
    site.other.run(["nft", "add table ip hole"])
    try:
        chain = "{ type filter hook input priority 0; policy accept; }"
        site.other.run(["nft", f"add chain ip hole input {chain}"])
        site.other.run(["nft", "add rule ip hole input tcp dport 21 drop"])
        with ExitStack() as stack:
            address = site.other.address4
            waiting = [stack.enter_context(Control(site.client, address)) for _ in range(50)]
            assert site.gateway.call("status")["relay"]["connecting"] == 50
            assert site.get().ok
            for control in waiting:
                with pytest.raises(ConnectionResetError):
                    control.hear()
    finally:
        site.other.run(["nft", "delete table ip hole"])
    assert refusals(site) == {"upstream-timeout": 50}
    assert site.status()["relay"]["connections"] == 0


# --- something else -------------------------------------------------------------------------------

SLIPSTREAM = b"POST / HTTP/1.1\r\nContent-Length: 99\r\n\r\nPORT 10,1,0,2,195,80\r\n"
"""A browser that is made to say FTP (NAT Slipstreaming)."""
TLS_HELLO = b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03\r\nPORT 10,1,0,2,195,80\r\n"
BINARY = bytes(range(256)) + b"\r\nPORT 10,1,0,2,195,80\r\n"
NOT_FTP = {"http": SLIPSTREAM, "tls": TLS_HELLO, "binary": BINARY}


@pytest.mark.parametrize("garbled", ["pass", "close"])
@pytest.mark.parametrize("what", NOT_FTP)
def test_a_client_that_does_not_speak_ftp(site: Site, what: str, garbled: str) -> None:
    start(site, helper=f'garbled = "{garbled}"')
    data = NOT_FTP[what]
    with Server(site.other) as server, Control(site.client, server.address) as control:
        assert control.hear() == "220 by hand"
        control.socket.sendall(data)
        if garbled == "close":
            assert is_closed(control)
            assert server.bytes_received == 0
        else:
            wait_for("every byte", lambda: server.bytes_received == len(data))
            # unread means unchanged
            assert server.lines[-1] == "PORT 10,1,0,2,195,80"
        assert not opened(site.gateway)
    assert refusals(site) == {"not-this-protocol": 1}
    assert site.status()["bindings"]["opened"] == 0


@pytest.mark.parametrize("garbled", ["pass", "close"])
def test_a_server_that_does_not_speak_ftp(site: Site, garbled: str) -> None:
    start(site, helper=f'garbled = "{garbled}"')
    banner = b"SSH-2.0-by-hand\r\n"
    with Server(site.other, greeting=banner) as server, Control(site.client, server.address) as it:
        said = it.socket.recv(100)
        assert said == (banner if garbled == "pass" else b"")
    assert refusals(site) == {"not-this-protocol": 1}


# --- what must never be opened --------------------------------------------------------------------

FORBIDDEN = {
    f"PORT {port_argument(STRANGER, 50000)}": "third-party-address",
    f"PORT {port_argument(NEIGHBOUR, 50000)}": "third-party-address",
    f"EPRT |1|{STRANGER}|50000|": "third-party-address",
    f"PORT {port_argument('127.0.0.1', 50000)}": "bad-address",
    f"PORT {port_argument(CLIENT, 22)}": "port-below-1024",
    f"EPRT |1|{CLIENT}|22|": "port-below-1024",
    f"PORT {port_argument(CLIENT, 3306)}": "denied-port",
    "EPRT |2|fd01::2|50000|": "wrong-address-family",
    "PORT 10,1,0,2,999,1": "bad-number",
}
FORBIDDEN_227 = {
    port_argument(NEIGHBOUR, 50000): "third-party-address",
    port_argument(STRANGER, 50000): "third-party-address",
    port_argument("203.0.113.11", 22): "port-below-1024",
    port_argument("203.0.113.11", 3306): "denied-port",
}


@pytest.mark.parametrize("refused", ["reject", "pass"])
def test_commands_that_open_nothing(site: Site, refused: str) -> None:
    start(site, helper=f'refused = "{refused}"')

    def answer(line: str) -> str | None:
        return "501 where to?" if line in {"PORT", "EPRT"} else polite(line)

    with Server(site.other, answer=answer) as server, Control(site.client, server.address) as it:
        it.login()
        for command, reason in FORBIDDEN.items():
            counted = refusals(site).get(reason, 0)
            reply = it.say(command)
            if refused == "reject":
                assert reply == "501 where to?"
                assert server.lines[-1] == command.partition(" ")[0]
            else:
                assert reply == "200 ok"
                assert server.lines[-1] == command
            assert refusals(site)[reason] == counted + 1
            assert not opened(site.gateway)
        # the session goes on
        assert it.say(f"PORT {port_argument(CLIENT, 50000)}") == "200 ok"
        assert opened(site.gateway)
    status = site.status()
    assert (status["pinholes"]["opened"], status["bindings"]["opened"]) == (1, 1)
    assert sum(status["refusals"].values()) == len(FORBIDDEN)


@pytest.mark.parametrize("refused", ["reject", "pass"])
def test_replies_that_open_nothing(site: Site, refused: str) -> None:
    start(site, helper=f'refused = "{refused}"')
    numbers = iter(FORBIDDEN_227)

    def answer(line: str) -> str | None:
        return f"227 here ({next(numbers)})" if line == "PASV" else polite(line)

    with Server(site.other, answer=answer) as server, Control(site.client, server.address) as it:
        it.login()
        for argument, reason in FORBIDDEN_227.items():
            counted = refusals(site).get(reason, 0)
            reply = it.say("PASV")
            if refused == "reject":
                assert reply.startswith("425")
            else:
                assert reply == f"227 here ({argument})"
            assert refusals(site)[reason] == counted + 1
            assert not opened(site.gateway)
    assert site.status()["pinholes"]["opened"] == 0


def test_a_bounce_reaches_nobody(site: Site) -> None:
    """The server is as bad as the client: it connects wherever PORT says, and gets nowhere."""
    start(site, helper='refused = "pass"')
    target = site.client.call(lambda: socket.create_server((CLIENT, 3306)))
    with target, Server(site.other) as server, Control(site.client, server.address) as control:
        control.login()
        assert control.say(f"PORT {port_argument(CLIENT, 3306)}") == "200 ok"
        for address, port in ((CLIENT, 3306), ("203.0.113.1", 3306)):
            with pytest.raises(OSError, match=r"refused|unreachable|timed out"):
                site.other.call(
                    lambda at=(address, port): socket.create_connection(at, 1)  # type: ignore[misc]
                )
        target.settimeout(0.2)
        with pytest.raises(TimeoutError):
            target.accept()
