"""A lab gateway with fwlb's rules and daemon, and sockets in the hosts around it.

Sockets of clients and servers live in the test process (`Host.call`); the daemon is a process of
its own in the gateway.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fwlb.config.load import parse
from fwlb.config.models import Config
from fwlb.daemon.control import call
from fwlb.kernel import routes
from fwlb.lab import Host, Lab, LabOptions, Process, Says
from fwlb.model import MARK_RELAY_IN
from fwlb.ruleset.source import source

CONFIG = """
[node]
name = "gw1"
[zones.inside]
interfaces = ["lan0"]
networks = ["10.1.0.0/24", "fd01::/64"]
[zones.outside]
interfaces = ["wan0"]
[[allow]]
from = "inside"
to = "outside"
services = ["tcp/21"]
[[nat]]
from = "inside"
to = "outside"
[[publish]]
address = "203.0.113.1"
port = 21
to_address = "10.1.0.3"
[[publish]]
address = "fd02::1"
port = 21
to_address = "fd01::3"
[helpers.ftp]
when_away = "{when_away}"
[relay]
{relay}
[paths]
rules = "{directory}/rules.d"
state = "{directory}/state"
runtime = "{directory}/run"
"""

RELAY = {
    "liveness_timeout_s": 2.0,
    "connect_timeout_s": 1.0,
    "drain_timeout_s": 20.0,
    "max_sessions_per_source": 600,
}

DAEMON = """
import sys
from pathlib import Path
from fwlb.config.load import load
from fwlb.daemon.main import run
from fwlb.errors import FwlbError
file = Path(sys.argv[1])
try:
    sys.exit(run(load(file), reload=lambda: load(file), file=file))
except FwlbError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_status)
"""


class Gateway:
    """The lab's gateway with rules, routes and, most of the time, a daemon."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.host = lab.gateway
        self.file = lab.directory / "fwlb.toml"
        self.configure()
        self._daemon: Process | None = None

    def configure(self, *, when_away: str = "open", **relay: float) -> None:
        """Write the configuration and apply its ruleset, as `fwlb up` would."""
        settings = "\n".join(f"{key} = {value}" for key, value in (RELAY | relay).items())
        text = CONFIG.format(relay=settings, when_away=when_away, directory=self.lab.directory)
        self.file.write_text(text)
        self.config: Config = parse(text, str(self.file))
        table = "table inet fwlb\ndelete table inet fwlb\n"
        self.host.run(["nft", "-f", "-"], text=table + source(self.config).text)
        number = self.config.relay.route_table
        wanted = routes.wanted_relay_routes(number, MARK_RELAY_IN, ["lan0", "wan0"])

        def add_routes() -> None:
            for route in wanted:
                routes.add_relay_route(route)

        self.host.call(add_routes)

    @property
    def control(self) -> Path:
        return self.config.paths.runtime / "control.sock"

    @property
    def daemon(self) -> Process:
        assert self._daemon is not None, "start it first"
        return self._daemon

    def launch(self, **env: str) -> Process:
        """Start the daemon's process, and wait for nothing."""
        self._daemon = self.host.start([sys.executable, "-c", DAEMON, str(self.file)], env=env)
        return self._daemon

    def start(self, **env: str) -> Process:
        """Start the daemon."""
        daemon = self.launch(**env)
        daemon.wait_ready(Says("daemon-started"), 10.0)
        return daemon

    def stop(self) -> None:
        """Stop the daemon at once; it must not have met anything unexpected."""
        if self._daemon is None:
            return
        self._daemon.send_signal(signal.SIGCONT)
        self._daemon.send_signal(signal.SIGTERM)
        time.sleep(0.1)  # two signals at the same moment could become one
        self._daemon.stop()
        output = self._daemon.output()
        self._daemon = None
        assert "Traceback" not in output, output
        assert "mishap" not in output, output

    def status(self) -> dict[str, Any]:
        return call(self.control, "status")

    def wait_for(self, what: str, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                said = self._daemon.output() if self._daemon else ""
                pytest.fail(f"not in {timeout_s:g} s: {what}\n{said[-3000:]}")
            time.sleep(0.02)

    def wait_event(self, name: str, **fields: Any) -> dict[str, Any]:
        """The last log event of that name and with these fields, once there is one."""
        found: list[dict[str, Any]] = []

        def seen() -> bool:
            lines = [json.loads(line) for line in self.daemon.output().splitlines()]
            wanted = {"event": name, **fields}.items()
            found[:] = [event for event in lines if wanted <= event.items()]
            return bool(found)

        self.wait_for(f"event {name} {fields}", seen)
        return found[-1]

    def wait_idle(self) -> None:
        self.wait_for("no connections", lambda: self.status()["relay"]["connections"] == 0)


class Wire:
    """Sockets in the hosts of the lab; all are closed at the end of the test."""

    def __init__(self, lab: Lab, stack: contextlib.ExitStack) -> None:
        self.client_host, self.inside_server_host = lab.clients
        self.server_host, self.other_server_host = lab.servers
        self._stack = stack

    def listen(self, host: Host, family: int = 4, port: int = 21) -> socket.socket:
        address = host.address4 if family == 4 else host.address6
        kind = socket.AF_INET if family == 4 else socket.AF_INET6

        def make() -> socket.socket:
            return socket.create_server((address, port), family=kind, backlog=1024)

        listener = self._stack.enter_context(host.call(make))
        listener.settimeout(10)
        return listener

    def dial(self, host: Host, address: str, port: int = 21, timeout_s: float = 5) -> socket.socket:
        connection = host.call(lambda: socket.create_connection((address, port), timeout_s))
        connection.settimeout(10)
        return self._stack.enter_context(connection)

    def accept(self, listener: socket.socket) -> socket.socket:
        connection, _ = listener.accept()
        connection.settimeout(10)
        return self._stack.enter_context(connection)

    def connect(
        self, greeting: bytes = b"", family: int = 4
    ) -> tuple[socket.socket, socket.socket, socket.socket]:
        """A connection from inside to the server outside: client's end, server's end, listener.
        The greeting has passed already."""
        host = self.server_host
        listener = self.listen(host, family)
        client = self.dial(self.client_host, host.address4 if family == 4 else host.address6)
        server = self.accept(listener)
        server.sendall(greeting)
        assert self.hear(client, len(greeting)) == greeting
        return client, server, listener

    @staticmethod
    def hear(connection: socket.socket, count: int) -> bytes:
        """`count` bytes, or fewer at the end of the stream."""
        data = b""
        while len(data) < count and (piece := connection.recv(count - len(data))):
            data += piece
        return data

    @staticmethod
    def reset(connection: socket.socket) -> None:
        """End the connection by a reset."""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    def passes_by(self, listener: socket.socket, greeting: bytes = b"220 ready\r\n") -> bool:
        """Whether a new connection to `listener` is passed by the relay: its own port is kept."""
        client = server = None
        try:
            client = self.dial(self.client_host, listener.getsockname()[0], timeout_s=0.5)
            client.settimeout(1)
            listener.settimeout(0.5)
            server = self.accept(listener)
            server.sendall(greeting)
            kept = server.getpeername()[1] == client.getsockname()[1]
            return kept and self.hear(client, len(greeting)) == greeting
        except OSError:
            return False
        finally:
            for each in filter(None, (client, server)):
                self.reset(each)


@pytest.fixture(scope="module")
def gateway_lab(lab: Callable[..., Lab]) -> Lab:
    return lab(LabOptions(clients=2, servers=2))


@pytest.fixture
def gateway(gateway_lab: Lab) -> Iterator[Gateway]:
    """The gateway with rules and without a daemon."""
    gateway = Gateway(gateway_lab)
    yield gateway
    gateway.stop()


@pytest.fixture
def relay(gateway: Gateway) -> Gateway:
    """The gateway with a running daemon."""
    gateway.start()
    return gateway


@pytest.fixture
def wire(gateway_lab: Lab) -> Iterator[Wire]:
    with contextlib.ExitStack() as stack:
        yield Wire(gateway_lab, stack)
