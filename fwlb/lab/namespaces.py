"""Named network namespaces: make, enter, look into, empty, remove.

Linux keeps a network namespace per *thread*: a thread that enters one takes nothing else of the
process with it, so every entry here is a short-lived thread. Names are files in /run/netns, as
ip-netns(8) makes them, so `ip netns exec NAME ...` works on them too.
"""

from __future__ import annotations

import ctypes
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pyroute2 import netns

from fwlb.errors import LabError

RUN_DIRECTORY = Path("/run/netns")
CLONE_NEWNET = 0x40000000
_POLL_S = 0.01

Result = TypeVar("Result")


def path_of(name: str) -> Path:
    """The file that names the namespace; `nsenter --net=FILE` enters it."""
    return RUN_DIRECTORY / name


def create(name: str) -> None:
    """Make a namespace called `name`. LabError when the kernel or a mount refuses."""

    def unshare_and_name() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
        # /proc/PID also takes a thread's number, and only this thread is in the new namespace
        netns.attach(name, threading.get_native_id())

    try:
        _in_thread(unshare_and_name)
    except OSError as error:
        raise LabError(
            f"cannot make network namespace {name}: {error}",
            hint="the lab needs root with CAP_SYS_ADMIN; containers need `--privileged`",
        ) from error


def call_in(name: str, function: Callable[[], Result]) -> Result:
    """What `function()` returns when called inside the namespace, in a thread of its own.

    Sockets opened there stay in the namespace, wherever they are used later. LabError when there
    is no such namespace; what `function` raises is raised here.
    """

    def enter_and_call() -> Result:
        try:
            netns.setns(str(path_of(name)), flags=0, fork=False)
        except OSError as error:
            raise LabError(f"cannot enter network namespace {name}: {error}") from error
        return function()

    return _in_thread(enter_and_call)


def _in_thread(function: Callable[[], Result]) -> Result:
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(function).result()


def remove(name: str) -> None:
    """Take the namespace away. No error when it is gone already."""
    with suppress(FileNotFoundError):
        netns.remove(name)


def names() -> list[str]:
    """Every named namespace of this machine, sorted."""
    with suppress(FileNotFoundError):
        return sorted(entry.name for entry in RUN_DIRECTORY.iterdir())
    return []


def pids_in(namespaces: Iterable[str]) -> set[int]:
    """Processes (never this one) whose network namespace is one of `namespaces`."""
    wanted = set()
    for name in namespaces:
        with suppress(FileNotFoundError):
            status = path_of(name).stat()
            wanted.add((status.st_dev, status.st_ino))
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            # a process that ends meanwhile has no namespace any more
            with suppress(OSError):
                status = (entry / "ns/net").stat()
                if (status.st_dev, status.st_ino) in wanted:
                    found.add(int(entry.name))
    return found


def end_processes(namespaces: Iterable[str], *, grace_s: float = 2.0) -> set[int]:
    """SIGTERM to every process in `namespaces`, after `grace_s` SIGKILL. Returns who survived
    both (a process that hangs in the kernel)."""
    namespaces = list(namespaces)
    left: set[int] = set()
    for number in (signal.SIGTERM, signal.SIGKILL):
        told: set[int] = set()
        deadline = time.monotonic() + grace_s
        while left := pids_in(namespaces):
            for pid in left - told:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            told |= left
            if time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
    return left
