"""One end of a relayed connection: a non-blocking TCP socket with a bounded outgoing buffer.

Not asyncio's transports, because a leg must be able to end by a reset, to tell a reset from an
end of stream whichever call notices it first, and to lend its descriptor to splice(2).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable

from fwlb.model import Side

READ_BYTES = 65536
"""Most that is read at a time."""

OVERFLOW_BYTES = 1 << 20
"""What may be unsent beyond `buffer_bytes`: the line a helper held back, answers it made up."""

KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S, KEEPALIVE_PROBES = 600, 60, 5
"""A peer that vanished is noticed a quarter of an hour later, long before `idle_timeout_s`."""


class LegBroken(Exception):  # noqa: N818  it is news about the network, not an error of fwlb
    """The connection of `side` was reset or timed out; `why` is the system's word for it."""

    def __init__(self, side: Side, why: str) -> None:
        super().__init__(f"{side.value}: {why}")
        self.side = side
        self.why = why


class Leg:
    """The connection to one side of a session. One reader at a time."""

    def __init__(self, side: Side, connection: socket.socket, *, buffer_bytes: int) -> None:
        self.side = side
        self.socket = connection
        # asyncio looks sockets up by number; given the object, it would describe it with two
        # system calls each time (KeyError of selectors), a tenth of the cost of a connection
        self._number = connection.fileno()
        self._loop = asyncio.get_running_loop()
        self._buffer_bytes = buffer_bytes
        self._outgoing = bytearray()
        self._ending = False
        self._broken: LegBroken | None = None
        self._waiters: list[asyncio.Future[None]] = []
        prepare(connection)

    @property
    def unsent_bytes(self) -> int:
        """What the kernel has not taken yet."""
        return len(self._outgoing)

    async def read(self) -> bytes:
        """The next bytes of the peer; empty once it will send no more. Raises `LegBroken`."""
        while True:
            if self._broken:  # the socket tells of a reset only once, maybe to a write
                raise self._broken
            try:
                return self.socket.recv(READ_BYTES)
            except BlockingIOError:
                await self.readable()
            except OSError as error:
                raise self.fail(error) from error

    async def readable(self) -> None:
        """Wait until there is something to read. Raises `LegBroken`."""
        await self._wait_for(self._loop.add_reader, self._loop.remove_reader)

    async def writable(self) -> None:
        """Wait until the kernel takes bytes again; only while nothing is unsent."""
        await self._wait_for(self._loop.add_writer, self._loop.remove_writer)

    def write(self, data: bytes) -> None:
        """Send `data` after all that was written before. Never waits: ask `room` first.

        A peer that makes us hold far more than `buffer_bytes` breaks the leg.
        """
        if self._broken or self._ending or not data:
            return
        if self._outgoing:
            self._outgoing += data
            if len(self._outgoing) > self._buffer_bytes + OVERFLOW_BYTES:
                self.fail(OSError(errno.ENOBUFS, "too much unsent"))
            return
        sent = self._send(data)
        if sent < len(data) and not self._broken:
            self._outgoing += memoryview(data)[sent:]
            self._loop.add_writer(self._number, self._send_more)

    def end(self) -> None:
        """Tell the peer that no more will come, once all is sent."""
        self._ending = True
        if not self._outgoing:
            self._shut()

    async def room(self) -> None:
        """Wait until less than `buffer_bytes` are unsent. Raises `LegBroken`."""
        await self._until(lambda: len(self._outgoing) < self._buffer_bytes)

    async def flushed(self) -> None:
        """Wait until the kernel has everything. Raises `LegBroken`."""
        await self._until(lambda: not self._outgoing)

    def fail(self, error: OSError) -> LegBroken:
        """Note that the connection is broken and tell everybody who waits for it."""
        if self._broken is None:
            self._broken = LegBroken(self.side, os.strerror(error.errno or 0).lower())
            self._outgoing.clear()
            self._loop.remove_writer(self._number)
            self._wake()
        return self._broken

    def close(self) -> None:
        """End in good order: what the kernel holds is still delivered."""
        if self.socket.fileno() >= 0:
            self._loop.remove_reader(self._number)
            self._loop.remove_writer(self._number)
            self.socket.close()

    def reset(self) -> None:
        """End by a reset, as far as the peer still cares."""
        reset_on_close(self.socket)
        self.close()

    async def part(self) -> None:
        """Send the rest, end, and wait for the peer's end. Never raises.

        Closing with unread bytes would turn the end of the stream into a reset, which could cost
        the peer the last lines sent to it (RFC 1122 section 4.2.2.13).
        """
        self.end()
        with contextlib.suppress(LegBroken):
            await self.flushed()
            while await self.read():
                pass

    def _send(self, data: bytes | bytearray) -> int:
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError as error:
            self.fail(error)
            return 0

    def _send_more(self) -> None:
        sent = self._send(self._outgoing)
        del self._outgoing[:sent]
        if not self._outgoing:
            self._loop.remove_writer(self._number)
            if self._ending:
                self._shut()
        self._wake()

    def _shut(self) -> None:
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            self.fail(error)

    async def _until(self, reached: Callable[[], bool]) -> None:
        while True:
            if self._broken:
                raise self._broken
            if reached():
                return
            await self._woken()

    async def _wait_for(
        self,
        add: Callable[[int, Callable[[], object]], object],
        remove: Callable[[int], object],
    ) -> None:
        if self._broken:
            raise self._broken
        add(self._number, self._wake)
        try:
            await self._woken()
        finally:
            if self.socket.fileno() >= 0:
                remove(self._number)
        if self._broken:
            raise self._broken

    async def _woken(self) -> None:
        future: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(future)
        try:
            await future
        finally:
            if future in self._waiters:
                self._waiters.remove(future)

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


def prepare(connection: socket.socket) -> None:
    """What both legs want: no delays, signs of life, and urgent bytes kept in the stream.

    Without SO_OOBINLINE the byte that an FTP client marks urgent before ABOR (RFC 959 section
    4.1.3, telnet Synch) would be cut out of the stream.
    """
    connection.setblocking(False)
    for level, option, value in (
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.SOL_SOCKET, socket.SO_OOBINLINE, 1),
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES),
    ):
        connection.setsockopt(level, option, value)


def reset_on_close(connection: socket.socket) -> None:
    """Make the next close() send a reset instead of an end of stream."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
