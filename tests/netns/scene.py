"""A gateway with fwlb between a client and a server, for tests of what goes wrong."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fwlb.lab import Host, Lab, Process
from fwlb.lab.programs import FtpServer
from fwlb.lab.transfers import Mode, Sample, Transfer, curl, download
from tests.netns.ftp_by_hand import Control, Server
from tests.netns.gateway import Gateway

SIZE_BYTES = 10_000_000


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
        return download(curl, self.client, self.server, self.sample, mode=mode, timeout_s=timeout_s)

    def start_download(self, mode: Mode, sample: Sample, rate: str) -> tuple[Process, Path]:
        """A download at so many bytes a second, which has begun and goes on in the background."""
        target = self.client.directory / f"{mode}.part"
        target.unlink(missing_ok=True)
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


@contextmanager
def gateway(lab: Lab, directory: Path) -> Iterator[Gateway]:
    """The lab's gateway without a daemon. At the end every daemon is stopped, and `fwlb down` must
    leave nothing."""
    gateway = Gateway(lab, directory)
    before = gateway.footprint()
    started = len(gateway.host.processes)
    yield gateway
    for process in gateway.host.processes[started:]:
        process.send_signal(signal.SIGCONT)
        process.stop(timeout_s=15)
        assert "Traceback" not in process.output(), process.output()
    gateway.configure()
    gateway.fwlb("down")
    assert gateway.footprint() == before
    assert not gateway.state.exists()
    assert not gateway.socket.exists()


@contextmanager
def site(lab: Lab, server: FtpServer, directory: Path) -> Iterator[Site]:
    """The whole scene, without a daemon."""
    sample = Sample.make(server.root / "sample.bin", SIZE_BYTES)
    with gateway(lab, directory) as host:
        yield Site(host, lab.clients[0], server, sample, lab.servers[1])


def opened(gateway: Gateway) -> bool:
    """Whether the kernel holds a pinhole or a binding."""
    names = [("set", "pinhole4"), ("map", "binding_in4"), ("map", "binding_out4")]
    return any("expires" in gateway.nft("list", kind, "inet", "fwlb", name) for kind, name in names)


def wait_for(what: str, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {timeout_s:g} s: {what}"
        time.sleep(0.02)


def kernel(gateway: Gateway) -> dict[str, str]:
    """The gateway's kernel without counters and clocks, which run on."""
    listing = gateway.nft("-s", "list", "ruleset")
    return {**gateway.footprint(), "ruleset": re.sub(r" expires \S+", "", listing)}


def kill(process: Process) -> None:
    process.send_signal(signal.SIGKILL)
    assert process.wait(5) == -signal.SIGKILL


def log(process: Process, name: str) -> list[dict[str, Any]]:
    """The daemon's log events of that name."""
    lines = [line for line in process.output().splitlines() if line.startswith("{")]
    return [event for event in map(json.loads, lines) if event["event"] == name]
