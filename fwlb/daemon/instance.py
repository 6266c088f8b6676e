"""One daemon in each network namespace.

The mark is an abstract unix socket: its name belongs to the network namespace, exactly as the
nftables table and the relay's ports do, and the kernel removes it with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

from fwlb.errors import AlreadyRunningError, DaemonError

NAME = b"\0fwlb"


class Instance:
    """Held for the life of the process. Raises AlreadyRunningError when somebody holds it."""

    def __init__(self, name: bytes = NAME) -> None:
        self._socket = socket.socket(
            socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        )
        try:
            self._socket.bind(name)
            self._socket.listen()
        except OSError as error:
            self._socket.close()
            if error.errno != errno.EADDRINUSE:
                raise DaemonError(
                    f"cannot mark this daemon as running: {error.strerror}"
                ) from error
            raise _already_running(name) from error

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Let others ask for our pid as often as they like, on the running event loop."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._socket, self._hang_up)
        try:
            yield
        finally:
            loop.remove_reader(self._socket)

    def close(self) -> None:
        self._socket.close()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._socket.accept()
            connection.close()


def is_held(name: bytes = NAME) -> bool:
    """Whether a daemon runs in this network namespace."""
    with _probe() as probe:
        try:
            probe.connect(name)
        except ConnectionRefusedError:
            return False
        except OSError:
            pass  # too busy to be asked, but there
        return True


def already_answers(path: Path) -> AlreadyRunningError:
    """The error for a control socket on which somebody answers."""
    return AlreadyRunningError(
        f"a daemon answers on {path}",
        hint="stop it, or give this one another `paths.runtime`",
    )


def _already_running(name: bytes) -> DaemonError:
    holder = _holder(name)
    if holder is None:
        who = ""
    else:
        pid, uid = holder
        who = f" (pid {pid})"
        if uid != 0:  # unix(7): everybody may take an abstract name
            return DaemonError(
                f"process {pid} of user {uid} holds the socket name @fwlb, and is no fwlb daemon",
                hint=f"find out what it is (ps -p {pid}) and end it",
            )
    return AlreadyRunningError(
        f"a fwlb daemon runs in this network namespace{who}",
        hint="see `fwlb status`; `systemctl reload fwlb` gives it a new configuration",
    )


def _holder(name: bytes) -> tuple[int, int] | None:
    """pid and uid of who listens on `name`, by SO_PEERCRED (unix(7)); None when it is too busy.
    The pid is 0 when it lives in another pid namespace."""
    with _probe() as probe:
        try:
            probe.connect(name)
            data = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        except OSError:
            return None
    pid, uid, _gid = struct.unpack("=iII", data)
    return pid, uid


def _probe() -> socket.socket:
    kind = socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    return socket.socket(socket.AF_UNIX, kind)
