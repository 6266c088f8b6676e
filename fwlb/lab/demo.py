"""`fwlb demo`: real FTP transfers through a lab gateway, first without fwlb's helper, then with.

The gateway drops everything but connections to port 21 from inside, hides IPv4 addresses and
routes IPv6. Eight transfers cover every way to announce a data connection, in both directions.
They must all fail without the helper (else the firewall would be open) and all succeed with it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

import fwlb
from fwlb.errors import LabError
from fwlb.lab.cases import CASES, Case, Result, as_json, outcome, summary
from fwlb.lab.host import Host
from fwlb.lab.narration import EventFeed, Narrator, event_line
from fwlb.lab.owners import clean
from fwlb.lab.plan import LAN4, LAN6, LabOptions
from fwlb.lab.process import Answering
from fwlb.lab.programs import FtpServer, any_ftp_server, find_program
from fwlb.lab.topology import Lab
from fwlb.lab.transfers import CLIENTS, Sample, Transfer, download, upload

SIZE_BYTES = 4 * 1024 * 1024
"""Size of the file that is transferred."""

_FAIL_TIMEOUT_S = 2.5  # how long a client waits where nothing is expected to come
_PASS_TIMEOUT_S = 10.0
_VERB_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 15.0
_EVENTS_TIMEOUT_S = 2.0
_PROGRAMS = (("nft", "nftables"), ("ip", "iproute2"), ("ss", "iproute2"), ("sysctl", "procps"))
_FOOTPRINT = {
    "nftables": ("nft", "list", "ruleset"),
    "IPv4 rules": ("ip", "-4", "rule"),
    "IPv6 rules": ("ip", "-6", "rule"),
    "IPv4 routes": ("ip", "-4", "route", "show", "table", "all"),
    "IPv6 routes": ("ip", "-6", "route", "show", "table", "all"),
    "listeners": ("ss", "-Hltn"),
    "sysctls": ("sysctl", "-a", "-r", r"^net\.(ipv4\.ip_forward|ipv[46]\.conf)"),
}


def run_demo(console: Console, *, json_path: Path | None = None) -> int:
    """Run the demonstration and print it; write the results to `json_path` too.

    Returns the exit status: 0 when every transfer failed without and succeeded with fwlb and
    nothing was left behind, else 1. Raises FwlbError when the lab or fwlb does not start.
    """
    say = Narrator(console)
    for killed in clean():
        say.step(f"removed lab {killed.id}, whose process {killed.pid} was killed")
    with Lab(LabOptions(clients=1, servers=1)) as lab:
        say.step(f"built client, gateway and server (network namespaces) in {lab.build_s:.2f} s")
        stage = Stage.prepare(lab)
        say.step(
            f"started {stage.server.name}; {stage.client_program} will move {SIZE_BYTES:,} random "
            f"bytes in {len(CASES)} ways"
        )
        before = footprint(lab.gateway)
        without = transfers_without(stage, say)
        with_fwlb = transfers_with(stage, say)
        after = footprint(lab.gateway)
    left = [name for name in _FOOTPRINT if before[name] != after[name]]
    say.step(f"fwlb LEFT BEHIND: {', '.join(left)}" if left else "fwlb left nothing behind")
    results = [Result(*row) for row in zip(CASES, without, with_fwlb, strict=True)]
    ok = not left and all(result.as_expected for result in results)
    console.print(summary(results))
    say.step("everything went as it should" if ok else "this is NOT how it should go")
    if json_path is not None:
        answer = {
            "ok": ok,
            "elapsed_s": round(say.elapsed_s, 3),
            "server": stage.server.name,
            "client": stage.client_program,
            "left_behind": left,
            "transfers": as_json(results),
        }
        json_path.write_text(json.dumps(answer, indent=2) + "\n")
    return 0 if ok else 1


def configuration(directory: Path, *, helper: bool) -> str:
    """The gateway's fwlb.toml; rules, state and control socket lie below `directory`."""
    return f"""\
[node]
name = "demo"

[zones.inside]
interfaces = ["lan0"]
networks = ["{LAN4}", "{LAN6}"]

[zones.outside]
interfaces = ["wan0"]

[policy]
forward = "drop"

[[allow]]
from = "inside"
to = "outside"
services = ["tcp/21", "icmp", "icmpv6"]

[[nat]]
from = "inside"
to = "outside"
ipv4 = "masquerade"
ipv6 = "none"

[helpers.ftp]
enabled = {"true" if helper else "false"}

[paths]
rules = "{directory}/rules.d"
state = "{directory}/state"
runtime = "{directory}/run"
"""


def footprint(gateway: Host) -> dict[str, str]:
    """What fwlb could leave behind in the gateway's kernel, as the usual programs list it."""
    return {name: gateway.run(args).stdout for name, args in _FOOTPRINT.items()}


@dataclass(frozen=True, slots=True)
class Stage:
    """Who takes part: the hosts, the server, the client program, and the file to move."""

    client: Host
    gateway: Host
    server: FtpServer
    client_program: str
    sample: Sample
    directory: Path

    @classmethod
    def prepare(cls, lab: Lab) -> Stage:
        """Start the server and make the file. MissingFeatureError names what is to install."""
        for program, package in _PROGRAMS:
            find_program(program, package=package)
        root = lab.directory / "ftp"
        server = any_ftp_server(lab.servers[0], root, ("vsftpd", "pyftpdlib"))
        client_program = "curl" if shutil.which("curl") else "ftplib"
        sample = Sample.make(root / "sample.bin", SIZE_BYTES)
        return cls(lab.clients[0], lab.gateway, server, client_program, sample, lab.directory)

    def transfer(self, case: Case, *, timeout_s: float) -> Transfer:
        """Run one case."""
        move = upload if case.upload else download
        return move(
            CLIENTS[self.client_program],
            self.client,
            self.server,
            self.sample,
            mode=case.mode,
            family=case.family,
            timeout_s=timeout_s,
        )

    def configure(self, name: str, *, helper: bool) -> Path:
        """Write a configuration file; returns its path."""
        path = self.directory / name
        path.write_text(configuration(self.directory, helper=helper))
        return path

    def fwlb(self, *args: str | Path) -> str:
        """Run a verb of fwlb on the gateway to its end; returns what it printed."""
        command, environment = fwlb_command(*args)
        return self.gateway.run(command, timeout_s=_VERB_TIMEOUT_S, env=environment).stdout


def transfers_without(stage: Stage, say: Narrator) -> list[Transfer]:
    """Apply the firewall without the helper, and try every case, all at the same time."""
    config = stage.configure("without.toml", helper=False)
    stage.fwlb("up", "--no-daemon", "-c", config)
    say.step("loaded the firewall without the FTP helper: only connections to port 21 pass")
    with ThreadPoolExecutor(len(CASES)) as pool:
        tries = [pool.submit(stage.transfer, case, timeout_s=_FAIL_TIMEOUT_S) for case in CASES]
    found = [each.result() for each in tries]
    for case, transfer in zip(CASES, found, strict=True):
        say.step(f"{case.name:20} {outcome(transfer)}")
    return found


def transfers_with(stage: Stage, say: Narrator) -> list[Transfer]:
    """Start fwlb with the helper, run every case one by one, and take fwlb down again."""
    config = stage.configure("fwlb.toml", helper=True)
    command, environment = fwlb_command("up", "-c", config)
    daemon = stage.gateway.start(
        command,
        ready=Answering(stage.directory / "run/control.sock"),
        ready_timeout_s=_VERB_TIMEOUT_S,
        env=environment,
    )
    say.step("started `fwlb up` on the gateway: the same firewall with the FTP helper")
    feed = EventFeed(daemon.log)
    found = []
    for case in CASES:
        transfer = stage.transfer(case, timeout_s=_PASS_TIMEOUT_S)
        found.append(transfer)
        say.step(f"{case.name:20} {outcome(transfer)}")
        for event in feed.until("session-closed", _EVENTS_TIMEOUT_S):
            say.detail(event_line(event))
    status_text = stage.fwlb("status", "-c", config)
    say.step("fwlb status")
    say.detail(status_text)
    exit_status = daemon.stop(timeout_s=_STOP_TIMEOUT_S)
    if exit_status != 0:
        raise LabError(f"the daemon ended with status {exit_status}", hint=daemon.output()[-2000:])
    say.step("stopped the daemon (SIGTERM)")
    stage.fwlb("down", "-c", config)
    say.step("fwlb down")
    return found


def fwlb_command(*args: str | Path) -> tuple[list[str], dict[str, str]]:
    """Command and environment that run this very fwlb, wherever it lies."""
    here = str(Path(fwlb.__file__).parent.parent)
    inherited = os.environ.get("PYTHONPATH")
    search = f"{here}:{inherited}" if inherited else here
    return [sys.executable, "-m", "fwlb", *map(str, args)], {"PYTHONPATH": search}
