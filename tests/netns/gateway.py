"""A lab gateway with fwlb on it: write a configuration, run verbs, look at the kernel."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from fwlb.daemon.control import call
from fwlb.lab import Answering, Host, Lab, Process
from fwlb.lab.demo import configuration, fwlb_command


class Gateway:
    """fwlb on `lab.gateway`, with its files in a directory of its own."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.host: Host = lab.gateway
        self.directory = directory
        self.file = directory / "fwlb.toml"
        self.state = directory / "state"
        self.socket = directory / "run" / "control.sock"
        self.configure()

    def configure(self, text: str | None = None, *, helper: bool = True, more: str = "") -> None:
        """Write fwlb.toml: the demo's firewall, or `text`; `more` goes to its end."""
        self.file.write_text((text or configuration(self.directory, helper=helper)) + more)

    def rules(self, chain: str, text: str, name: str = "10-test.nft") -> Path:
        """Write a file of the operator's own rules."""
        path = self.directory / "rules.d" / chain / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def fwlb(self, *args: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a verb; `status` is the exit status it must have (None: any)."""
        verb, *rest = args
        command, environment = fwlb_command(verb, "-c", self.file, *rest)
        done = self.host.run(command, timeout_s=60, check=False, env=environment)
        assert status is None or done.returncode == status, (
            f"fwlb {' '.join(args)}: status {done.returncode}\n{done.stdout}{done.stderr}"
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def diff(self) -> dict[str, Any]:
        """`fwlb diff --json`."""
        answer: dict[str, Any] = json.loads(self.fwlb("diff", "--json", status=None).stdout)
        return answer

    def start(self, *args: str) -> Process:
        """`fwlb up` in the foreground, ready."""
        command, environment = fwlb_command("up", "-c", self.file, *args)
        return self.host.start(
            command, ready=Answering(self.socket), ready_timeout_s=30, env=environment
        )

    def call(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """Ask the daemon."""
        return call(self.socket, verb, **arguments)

    def nft(self, *args: str, check: bool = True) -> str:
        return self.host.run(["nft", *args], check=check).stdout

    def footprint(self) -> dict[str, str]:
        """Everything of the gateway's kernel that fwlb could leave something in."""
        commands = {
            "ruleset": ["nft", "list", "ruleset"],
            "rules": ["ip", "rule"],
            "rules6": ["ip", "-6", "rule"],
            "routes": ["ip", "route", "show", "table", "all"],
            "routes6": ["ip", "-6", "route", "show", "table", "all"],
            "listeners": ["ss", "-Hltn"],
            "abstract sockets": ["ss", "-Hlx"],
            "forwarding": ["sysctl", "net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"],
        }
        return {name: self.host.run(command).stdout for name, command in commands.items()}
