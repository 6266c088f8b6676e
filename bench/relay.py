"""One TCP stream through the relay beside the same stream forwarded directly.

iperf3 runs on port 21, so the relay takes it; what it says is no FTP, so the relay moves it unread
(`os.splice`), as it moves every stream that needs no more looking at. Both ways pass the same
firewall with masquerade, in the same lab, in turns.
"""

from __future__ import annotations

import json
import statistics

from bench.report import Row
from fwlb.lab.demo import configuration, fwlb_command
from fwlb.lab.plan import LabOptions
from fwlb.lab.process import Answering, Listening
from fwlb.lab.topology import Lab

ROUNDS = 3
SECONDS = 4
CONNECTIONS = 300
TARGET = 0.9

_CONNECT = """
import socket, sys, time
address, count = sys.argv[1], int(sys.argv[2])
began = time.perf_counter()
for _ in range(count):
    with socket.create_connection((address, 2100), 5) as connection:
        connection.recv(100)
print(count / (time.perf_counter() - began))
"""
_GREET = """
import socket
with socket.create_server(("0.0.0.0", 2100), backlog=512) as server:
    while True:
        connection, _ = server.accept()
        connection.sendall(b"220 hello\\r\\n")
        connection.close()
"""


def run() -> list[Row]:
    streams: dict[str, list[float]] = {"direct": [], "relay": []}
    opened: dict[str, list[float]] = {"direct": [], "relay": []}
    with Lab(LabOptions(clients=1, servers=1)) as lab:
        server = lab.servers[0]
        server.start(["iperf3", "-s", "-p", "21"], ready=Listening(21))
        server.start(["python3", "-c", _GREET], ready=Listening(2100))
        for _ in range(ROUNDS):
            for way in ("direct", "relay"):
                stream, rate = _measure(lab, helper=way == "relay")
                streams[way].append(stream)
                opened[way].append(rate)
    return [
        Row(
            "relay, one stream after hand-over to splice",
            statistics.median(streams["relay"]),
            "Gbit/s",
            statistics.median(streams["direct"]),
            "forwarded directly",
            target=TARGET,
        ),
        Row(
            "relay, new control connections one after the other",
            statistics.median(opened["relay"]),
            "/s",
            statistics.median(opened["direct"]),
            "forwarded directly",
        ),
    ]


def _measure(lab: Lab, *, helper: bool) -> tuple[float, float]:
    """Gbit/s of one stream, and connections per second."""
    path = lab.directory / "bench.toml"
    text = configuration(lab.directory, helper=helper)
    path.write_text(
        text.replace('"tcp/21"', '"tcp/21", "tcp/2100"').replace(
            "[helpers.ftp]", "[helpers.ftp]\nports = [21, 2100]"
        )
    )
    command, environment = fwlb_command("up", "-c", path)
    daemon = lab.gateway.start(
        command, ready=Answering(lab.directory / "run/control.sock"), env=environment
    )
    client, server = lab.clients[0], lab.servers[0]
    answer = client.run(
        ["iperf3", "-c", server.address4, "-p", "21", "-t", str(SECONDS), "-J"],
        timeout_s=SECONDS + 20,
    )
    rate = client.python(_CONNECT, server.address4, str(CONNECTIONS), timeout_s=60)
    daemon.stop(timeout_s=40)
    bits_per_second: float = json.loads(answer.stdout)["end"]["sum_received"]["bits_per_second"]
    return bits_per_second / 1e9, float(rate.stdout)
