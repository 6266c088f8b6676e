"""The service manager's notification protocol, sd_notify(3), in plain datagrams.

Does nothing when the variable NOTIFY_SOCKET is not set. A manager that does not listen never
hurts the daemon.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping


class Notifier:
    """Tells the service manager what state the daemon is in."""

    def __init__(self, address: str | None = None, *, watchdog_s: float | None = None) -> None:
        self.watchdog_s = watchdog_s
        """The manager restarts the daemon when it is silent for this long; None: it does not."""
        self._address = address
        self._socket: socket.socket | None = None
        if address is not None:
            kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
            self._socket = socket.socket(socket.AF_UNIX, kind)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str], pid: int) -> Notifier:
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID, and take them out: child
        processes must not speak for the daemon."""
        address = environment.pop("NOTIFY_SOCKET", None)
        watchdog_usec = environment.pop("WATCHDOG_USEC", "")
        watchdog_pid = environment.pop("WATCHDOG_PID", "")
        if address is not None and address[:1] not in {"/", "@"}:
            address = None  # vsock and whatever comes: not for a daemon on this host
        watchdog_s = None
        if watchdog_usec.isdecimal() and int(watchdog_usec) and watchdog_pid in {"", str(pid)}:
            watchdog_s = int(watchdog_usec) / 1e6
        return cls(address, watchdog_s=watchdog_s)

    def ready(self) -> None:
        """Start, or reload, is complete."""
        self._send("READY=1")

    def reloading(self, monotonic_s: float) -> None:
        """A reload begins; `monotonic_s` is CLOCK_MONOTONIC now (`Type=notify-reload`)."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic_s * 1e6)}")

    def stopping(self, within_s: float) -> None:
        """The daemon stops, and needs up to `within_s` for it."""
        self._send(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={int(within_s * 1e6)}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send("STATUS=" + text.replace("\n", " "))

    def watchdog(self) -> None:
        """The daemon is alive."""
        self._send("WATCHDOG=1")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, message: str) -> None:
        if self._socket is None or self._address is None:
            return
        address = self._address
        # a leading @ stands for the NUL byte of an abstract name
        target = b"\0" + os.fsencode(address[1:]) if address[0] == "@" else os.fsencode(address)
        with contextlib.suppress(OSError):
            self._socket.sendto(message.encode(), target)
