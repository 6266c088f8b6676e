"""A lab of network namespaces: clients, a gateway, servers. The demo, the tests and the
benchmarks share it.

::

    c1 10.1.0.2 fd01::2 ┐                   gw                    ┌ s1 203.0.113.10 fd02::10
    c2 10.1.0.3 fd01::3 ┴── lan0 10.1.0.1      203.0.113.1 wan0 ──┴ s2 203.0.113.11 fd02::11
    ...                          fd01::1           fd02::1          ...

The two bridges are in a namespace of their own. The gateway forwards and has no firewall until
somebody loads one. Servers have no route to 10.1.0.0/24 (NAT is to hide it), but one to fd01::/64;
anything can run anywhere, so a server inside and clients outside is the same lab.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Self

from fwlb.errors import LabError, MissingFeatureError, PrivilegeError
from fwlb.lab import wiring
from fwlb.lab.host import Host
from fwlb.lab.owners import LabRecord
from fwlb.lab.plan import LabOptions, plan

_open_labs: set[Lab] = set()
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Lab:
    """The whole lab, as a context manager: `with Lab(LabOptions(clients=1)) as lab:`.

    It is taken down at the end of the block whatever happens, also at SIGTERM and at the end of
    the interpreter; after SIGKILL `fwlb.lab.clean()` does it. Labs do not disturb each other.
    """

    def __init__(self, options: LabOptions | None = None) -> None:
        self.options = options or LabOptions()
        self.hosts: dict[str, Host] = {}
        """Every host by its short name: `gw`, `c1`, `s1`, ..."""
        self.build_s = 0.0
        """How long building took."""
        self._record: LabRecord | None = None

    @property
    def id(self) -> str:
        """Unique on this machine; part of every namespace's name."""
        return self._open_record.id

    @property
    def directory(self) -> Path:
        """For files of this lab; everybody may read it. It vanishes with the lab."""
        return self._open_record.directory

    @property
    def gateway(self) -> Host:
        """The gateway: `wan0` leads to the servers (its `address4`), `lan0` to the clients."""
        return self.hosts["gw"]

    @property
    def clients(self) -> list[Host]:
        return [self.hosts[f"c{number + 1}"] for number in range(self.options.clients)]

    @property
    def servers(self) -> list[Host]:
        return [self.hosts[f"s{number + 1}"] for number in range(self.options.servers)]

    @property
    def _open_record(self) -> LabRecord:
        if self._record is None:
            raise LabError("this lab is not open", hint="use it inside `with Lab() as lab:`")
        return self._record

    def __enter__(self) -> Self:
        if self._record is not None:
            raise LabError("this lab is open already")
        _require_host()
        began = time.monotonic()
        directory = Path(tempfile.mkdtemp(prefix="fwlb-lab-"))
        directory.chmod(0o755)  # FTP servers give up root and still have to come in
        record = self._record = LabRecord.make(directory)
        _take_down_at_exit(self)
        try:
            plans = plan(self.options)
            wiring.build(plans, self.options, record.namespace)
        except BaseException:
            self.close()
            raise
        for each in plans:
            self.hosts[each.name] = Host(each, record.namespace(each.name), directory)
        self.build_s = time.monotonic() - began
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take everything down. Can be repeated; does nothing in a forked child, whose lab it is
        not. LabError when a process cannot be ended."""
        if self._record is None or self._record.pid != os.getpid():
            return
        survivors = self._record.tear_down()
        for host in self.hosts.values():
            for process in host.processes:
                process.reap()
        self.hosts.clear()
        self._record = None
        _forget(self)
        if survivors:
            raise LabError(f"these processes of the lab cannot be ended: {sorted(survivors)}")


def _require_host() -> None:
    if os.geteuid() != 0:
        raise PrivilegeError("the lab makes network namespaces: it needs root", hint="use sudo")
    if shutil.which("nsenter") is None:
        raise MissingFeatureError(
            "the program nsenter is not here", hint="install it: apt-get install util-linux"
        )


def _take_down_at_exit(lab: Lab) -> None:
    if not _open_labs:
        atexit.register(_take_down_all)
        if threading.current_thread() is threading.main_thread():
            for number in _ENDING_SIGNALS:
                if signal.getsignal(number) is signal.SIG_DFL:
                    signal.signal(number, _take_down_and_die)
    _open_labs.add(lab)


def _forget(lab: Lab) -> None:
    _open_labs.discard(lab)
    if not _open_labs:
        atexit.unregister(_take_down_all)
        if threading.current_thread() is threading.main_thread():
            for number in _ENDING_SIGNALS:
                if signal.getsignal(number) is _take_down_and_die:
                    signal.signal(number, signal.SIG_DFL)


def _take_down_all() -> None:
    for lab in list(_open_labs):
        with suppress(LabError):
            lab.close()


def _take_down_and_die(number: int, frame: FrameType | None) -> None:
    del frame
    _take_down_all()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
