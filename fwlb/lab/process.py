"""A program that runs in a lab namespace, and how to know that it is ready.

Output goes to a file, so a talkative program never blocks on a full pipe.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from fwlb.errors import LabError
from fwlb.lab import namespaces

_POLL_S = 0.01
_TAIL_LINES = 15
_TCP_LISTEN = "0A"
"""State of a listening socket in /proc/net/tcp (TCP_LISTEN of the kernel's tcp_states.h)."""


class Ready(Protocol):
    """A condition that a started program fulfils once it can be used."""

    def met(self, process: Process) -> bool: ...


@dataclass(frozen=True, slots=True)
class Listening:
    """Somebody in the namespace listens on `port`, on any address."""

    port: int
    protocol: Literal["tcp", "udp"] = "tcp"

    def met(self, process: Process) -> bool:
        return self.port in listening_ports(process.namespace, self.protocol)


@dataclass(frozen=True, slots=True)
class Says:
    """`text` stands in the program's output."""

    text: str

    def met(self, process: Process) -> bool:
        return self.text in process.output()


@dataclass(frozen=True, slots=True)
class Appears:
    """The file (or socket) `path` exists."""

    path: Path

    def met(self, process: Process) -> bool:  # noqa: ARG002 - the process has no part in this one
        return self.path.exists()


@dataclass(frozen=True, slots=True)
class Answering:
    """Somebody accepts connections on the unix socket `path`."""

    path: Path

    def met(self, process: Process) -> bool:  # noqa: ARG002 - the same here
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.path)) == 0


def listening_ports(namespace: str, protocol: Literal["tcp", "udp"] = "tcp") -> set[int]:
    """Ports that are listened on (TCP) or bound (UDP) in the namespace, IPv4 and IPv6."""

    def read() -> set[int]:
        found = set()
        for table in (protocol, f"{protocol}6"):
            # thread-self: /proc/self would show the namespace of the main thread
            with suppress(FileNotFoundError):  # no IPv6 here
                for line in Path(f"/proc/thread-self/net/{table}").read_text().splitlines()[1:]:
                    columns = line.split()
                    if protocol == "udp" or columns[3] == _TCP_LISTEN:
                        found.add(int(columns[1].rpartition(":")[2], 16))
        return found

    return namespaces.call_in(namespace, read)


def enter(namespace: str, args: Sequence[str | Path]) -> list[str]:
    """The command that runs `args` in the namespace (network only: files stay the same)."""
    return ["nsenter", f"--net={namespaces.path_of(namespace)}", "--", *map(str, args)]


class Process:
    """One running program. As a context manager it is stopped at the end."""

    def __init__(
        self,
        namespace: str,
        args: Sequence[str | Path],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.namespace = namespace
        self.command = " ".join(map(str, args))
        self.log = log
        with log.open("wb") as out:
            # nsenter becomes the program itself (exec), so this pid is the program's
            self._popen = subprocess.Popen(
                enter(namespace, args),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative: the signal that ended it."""
        return self._popen.poll()

    def output(self) -> str:
        """Everything written so far, stdout and stderr in one."""
        return self.log.read_text(errors="replace")

    def wait_ready(self, ready: Ready, timeout_s: float) -> None:
        """Return when `ready`; LabError with the last output when it ends or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not ready.met(self):
            if self.exit_status is not None:
                raise self._error(f"ended with status {self.exit_status} before it was ready")
            if time.monotonic() > deadline:
                raise self._error(f"was not ready ({ready}) after {timeout_s:g} s")
            time.sleep(_POLL_S)

    def wait(self, timeout_s: float) -> int:
        """Its exit status, once it ends by itself; LabError when it does not in time."""
        try:
            return self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired as error:
            raise self._error(f"still ran after {timeout_s:g} s") from error

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the program; nothing happens when it has ended."""
        self._popen.send_signal(number)

    def stop(self, *, first: signal.Signals = signal.SIGTERM, timeout_s: float = 5.0) -> int:
        """End it and what it started: `first`, after `timeout_s` SIGKILL. Returns its exit
        status, also when it ended earlier by itself."""
        if (status := self.exit_status) is not None:
            return status
        self.send_signal(first)
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._popen.kill()
        status = self._popen.wait()
        with suppress(ProcessLookupError):
            # it leads a process group of its own, where its children are left
            os.killpg(self.pid, signal.SIGKILL)
        return status

    def reap(self) -> None:
        """Collect the exit status of a program that was ended from outside."""
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(1.0)

    def _error(self, what: str) -> LabError:
        said = "\n".join(self.output().splitlines()[-_TAIL_LINES:]) or "(nothing)"
        return LabError(f"{self.command}\n{what}; it said last:\n{said}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
