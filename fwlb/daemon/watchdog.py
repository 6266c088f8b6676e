"""Rolls back a change that nobody confirms: a process of its own, so that it outlives its parent.

`fwlb up --confirm` starts it before anything changes. It waits until the change is confirmed
(`pending.json` is gone) or its time is over; then it puts back what was before, and tells the
daemon.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

from fwlb import operate
from fwlb.daemon.control import call
from fwlb.errors import DaemonError, FwlbError

POLL_S = 0.2


def boottime_s() -> float:
    """The clock of deadlines: it goes on while the machine sleeps and cannot be set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def boot_id() -> str:
    """Tells one boot from another, as CLOCK_BOOTTIME begins anew."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start(state: Path, runtime: Path) -> None:
    """Start the watchdog in a session of its own; it ends by itself."""
    with (state / "watchdog.log").open("ab") as log:
        subprocess.Popen(
            [sys.executable, "-m", "fwlb.daemon.watchdog", str(state), str(runtime)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def watch(state: Path, runtime: Path) -> None:
    """Wait for the confirmation or the deadline, and roll back at the deadline."""
    while (deadline_s := operate.pending_deadline_s(state)) is not None:
        if boottime_s() >= deadline_s:
            if operate.roll_back(state):
                _tell_daemon(state, runtime / "control.sock")
            return
        time.sleep(min(POLL_S, max(0.0, deadline_s - boottime_s())))


def _tell_daemon(state: Path, socket: Path) -> None:
    with contextlib.suppress(DaemonError):  # nobody listens: nobody has to know
        if operate.applied_config(state) is None:
            call(socket, "stop")
        else:
            call(socket, "reload", config="applied")


if __name__ == "__main__":
    try:
        watch(Path(sys.argv[1]), Path(sys.argv[2]))
    except FwlbError as error:
        sys.exit(f"fwlb watchdog: {error}")
