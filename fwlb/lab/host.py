"""One computer of the lab: a network namespace with an address, in which programs run."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, TypeVar

from fwlb.errors import LabError
from fwlb.lab import namespaces
from fwlb.lab.plan import HostPlan
from fwlb.lab.process import Process, Ready, Says, enter

_TAIL_BYTES = 2000

Result = TypeVar("Result")


class Host:
    """One computer. `name` is its short name in the lab (`c1`), `namespace` the name under
    /run/netns, `interface` its first network interface, `directory` a place for its files."""

    def __init__(self, plan: HostPlan, namespace: str, directory: Path) -> None:
        self.name = plan.name
        self.namespace = namespace
        self.interface = plan.ports[0].interface
        self.directory = directory
        self.processes: list[Process] = []
        self._addresses = {port.interface: port.addresses for port in plan.ports}
        self._numbers = itertools.count(1)

    @property
    def address4(self) -> str:
        """IPv4 address of `interface`."""
        return self.address(4)

    @property
    def address6(self) -> str:
        """IPv6 address of `interface`; LabError in a lab without IPv6."""
        return self.address(6)

    def address(self, family: Literal[4, 6], interface: str | None = None, number: int = 1) -> str:
        """The address of that family (number 2: the second one) on `interface`. LabError when
        there is none."""
        of_interface = self._addresses.get(interface or self.interface, ())
        if number <= len(of_interface):
            addresses = of_interface[number - 1]
            found = addresses.ipv4 if family == 4 else addresses.ipv6
            if found is not None:
                return found
        raise LabError(
            f"{self.name} has no IPv{family} address number {number} on "
            f"{interface or self.interface}",
            hint="the options of the lab decide this: `ipv6`, `second_wan_address`",
        )

    def run(
        self,
        args: Sequence[str | Path],
        *,
        timeout_s: float = 30.0,
        check: bool = True,
        text: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end, with `text` as its input.

        LabError when it takes longer than `timeout_s` (it is killed then), and with `check` when
        its exit status is not 0.
        """
        command = " ".join(map(str, args))
        with subprocess.Popen(
            enter(self.namespace, args),
            stdin=subprocess.DEVNULL if text is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        ) as popen:
            try:
                out, err = popen.communicate(text, timeout_s)
            except BaseException as error:
                # its children hold the pipes too, and communicate() would wait for them
                with suppress(ProcessLookupError):
                    os.killpg(popen.pid, signal.SIGKILL)
                if not isinstance(error, subprocess.TimeoutExpired):
                    raise
                out, err = popen.communicate()
                raise LabError(
                    f"{self.name}: {command}\nstill ran after {timeout_s:g} s{_said(out + err)}"
                ) from None
        if check and popen.returncode != 0:
            raise LabError(
                f"{self.name}: {command}\nended with status {popen.returncode}{_said(out + err)}"
            )
        return subprocess.CompletedProcess(list(map(str, args)), popen.returncode, out, err)

    def python(
        self, code: str, *args: str, timeout_s: float = 30.0, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run Python code in a process of its own; `args` are its `sys.argv[1:]`."""
        return self.run([sys.executable, "-c", code, *args], timeout_s=timeout_s, check=check)

    def start(
        self,
        args: Sequence[str | Path],
        *,
        ready: Ready | None = None,
        ready_timeout_s: float = 10.0,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> Process:
        """Start a program and wait until it is `ready`. It ends with the lab at the latest.

        LabError, with what it said last, when it does not become ready.
        """
        log = self.directory / f"{self.name}-{next(self._numbers)}-{Path(args[0]).name}.log"
        process = Process(self.namespace, args, log=log, env=env, cwd=cwd)
        self.processes.append(process)
        if ready is not None:
            try:
                process.wait_ready(ready, ready_timeout_s)
            except BaseException:
                process.stop()
                raise
        return process

    def call(self, function: Callable[[], Result]) -> Result:
        """What `function()` returns inside this host, in a thread of this process. A socket
        opened so belongs to this host for good."""
        return namespaces.call_in(self.namespace, function)

    def sysctl(self, name: str, value: int | str | None = None) -> str:
        """Read a `net.` sysctl of this host, after writing `value` when given."""
        path = Path("/proc/sys") / name.replace(".", "/")

        def access() -> str:
            if value is not None:
                path.write_text(f"{value}\n")
            return path.read_text().strip()

        try:
            return self.call(access)
        except OSError as error:
            raise LabError(f"{self.name}: sysctl {name}: {error}") from error

    @contextmanager
    def capture(self, interface: str | None = None, only: str = "") -> Iterator[Path]:
        """Capture packets with tcpdump while the block runs; yields the pcap file, which is
        complete after the block. `only` is a pcap-filter(7) expression."""
        pcap = self.directory / f"{self.name}-{next(self._numbers)}.pcap"
        listen = ["tcpdump", "-n", "-i", interface or self.interface]
        # written packet by packet, and not as the user that Debian's tcpdump would become
        write = ["-U", "--immediate-mode", "-Z", "root", "-w", str(pcap)]
        process = self.start([*listen, *write, *only.split()], ready=Says("listening on"))
        try:
            yield pcap
        finally:
            process.stop(first=signal.SIGINT)


def _said(output: str) -> str:
    tail = output.strip()[-_TAIL_BYTES:]
    return f"; it said last:\n{tail}" if tail else "; it said nothing"
