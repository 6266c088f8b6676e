"""Takes connections from the listeners, as long as there is room for more."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from fwlb.daemon.transparent import listen

BURST = 64
"""Connections that are accepted before others get their turn."""

PAUSE_S = 0.1
"""How long nothing is accepted after the host had no descriptor or memory left."""

_NOTHING_LEFT = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Acceptor:
    """Both listeners of the relay. `take` gets every connection; `has_room` is asked before each;
    `report` hears when the host runs out of something."""

    def __init__(
        self,
        *,
        take: Callable[[socket.socket], None],
        has_room: Callable[[], bool],
        report: Callable[[OSError], None],
    ) -> None:
        self.shortages = 0
        """How often accepting paused because descriptors or memory were short."""
        self._take = take
        self._has_room = has_room
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._listeners: list[socket.socket] = []
        self._watching = False
        self._short = False

    @property
    def listening(self) -> bool:
        return bool(self._listeners)

    @property
    def accepting(self) -> bool:
        """Whether new connections are taken at this moment."""
        return self._watching

    def open(self, port: int) -> bool:
        """Listen on `port` instead of what was listened on before; False when IPv6 is off here.

        Raises PortInUseError and leaves everything as it was.
        """
        opened: list[socket.socket] = []
        try:
            for family in (socket.AF_INET, socket.AF_INET6):
                opened += filter(None, [listen(family, port)])
        except BaseException:
            for listener in opened:
                listener.close()
            raise
        self.close()
        self._listeners = opened
        self.resume()
        return len(opened) == 2

    def resume(self) -> None:
        """Accept again, if there is room and somebody listens."""
        if not self._watching and not self._short and self._listeners and self._has_room():
            self._watching = True
            for listener in self._listeners:
                self._loop.add_reader(listener.fileno(), self._accept, listener)

    def close(self) -> None:
        """Take what the kernel has already accepted, then listen no more."""
        for listener in self._listeners:
            self._accept(listener)
        self._pause()
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def _pause(self) -> None:
        if self._watching:
            self._watching = False
            for listener in self._listeners:
                self._loop.remove_reader(listener.fileno())

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(BURST):
            if not self._has_room():
                self._pause()
                return
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _NOTHING_LEFT:
                    self._run_short(error)
                    return
                continue  # that connection died in the queue (accept(2), "Error handling")
            self._take(connection)

    def _run_short(self, error: OSError) -> None:
        self.shortages += 1
        self._report(error)
        self._pause()
        self._short = True
        self._loop.call_later(PAUSE_S, self._try_again)

    def _try_again(self) -> None:
        self._short = False
        self.resume()
