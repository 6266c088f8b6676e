"""One TCP stream through the relay beside the same stream forwarded directly, and new connections.

iperf3 runs on port 21, so the relay takes it; what it says is no FTP, so the relay moves it unread
(`os.splice`), as it moves every stream that needs no more looking at. Both ways pass the same
firewall with masquerade, in the same lab, in turns.
"""

from __future__ import annotations

import json
import statistics
import sys
from pathlib import Path

from bench.report import Row
from fwlb.daemon.control import call
from fwlb.lab import Answering, Lab, LabOptions, Listening
from fwlb.lab.demo import configuration, fwlb_command

ROUNDS = 5
SECONDS = 4
CONNECTIONS = 500
IPERF_PORT, GREETING_PORT = 21, 2100
TARGET = 0.9

_CONNECT = f"""
import socket, sys, time
address, count = sys.argv[1], int(sys.argv[2])
began = time.perf_counter()
for _ in range(count):
    with socket.create_connection((address, {GREETING_PORT}), 5) as connection:
        connection.recv(100)
print(count / (time.perf_counter() - began))
"""
# the client ends first, so TIME-WAIT stays with it and the next round cannot meet one elsewhere
_GREET = f"""
import socket
with socket.create_server(("0.0.0.0", {GREETING_PORT}), backlog=512) as server:
    while True:
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"220 hello\\r\\n")
            connection.recv(100)
"""


def run() -> list[Row]:
    streams: dict[bool, list[float]] = {False: [], True: []}
    opened: dict[bool, list[float]] = {False: [], True: []}
    with Lab(LabOptions(clients=1, servers=1)) as lab:
        server = lab.servers[0]
        server.start(["iperf3", "-s", "-p", str(IPERF_PORT)], ready=Listening(IPERF_PORT))
        server.start([sys.executable, "-c", _GREET], ready=Listening(GREETING_PORT))
        for _ in range(ROUNDS):
            for relayed in (False, True):
                stream, rate = _measure(lab, relayed=relayed)
                streams[relayed].append(stream)
                opened[relayed].append(rate)
    direct = "forwarded directly"
    return [
        Row(
            "relay, one stream after hand-over to splice",
            statistics.median(streams[True]),
            "Gbit/s",
            statistics.median(streams[False]),
            direct,
            target=TARGET,
        ),
        Row(
            "relay, new control connections one after the other",
            statistics.median(opened[True]),
            "/s",
            statistics.median(opened[False]),
            direct,
        ),
    ]


def _measure(lab: Lab, *, relayed: bool) -> tuple[float, float]:
    """Gbit/s of one stream, and connections per second."""
    client, address = lab.clients[0], lab.servers[0].address4
    command, environment = fwlb_command("up", "-c", _configure(lab, relayed=relayed))
    control = lab.directory / "run/control.sock"
    with lab.gateway.start(command, ready=Answering(control), env=environment):
        iperf = ["iperf3", "-c", address, "-p", str(IPERF_PORT), "-t", str(SECONDS), "-J"]
        answer = client.run(iperf, timeout_s=SECONDS + 20)
        rate = client.python(_CONNECT, address, str(CONNECTIONS), timeout_s=60)
        accepted = call(control, "status")["relay"]["accepted"]
    if (accepted > CONNECTIONS) != relayed:
        raise RuntimeError(f"the relay took {accepted} connections: not what was to be measured")
    bits_per_second: float = json.loads(answer.stdout)["end"]["sum_received"]["bits_per_second"]
    return bits_per_second / 1e9, float(rate.stdout)


def _configure(lab: Lab, *, relayed: bool) -> Path:
    path = lab.directory / "bench.toml"
    text = configuration(lab.directory, helper=relayed)
    ports = (IPERF_PORT, GREETING_PORT)
    services = ", ".join(f'"tcp/{port}"' for port in ports)
    text = text.replace('"tcp/21"', services)
    path.write_text(text.replace("[helpers.ftp]", f"[helpers.ftp]\nports = {list(ports)}"))
    return path
