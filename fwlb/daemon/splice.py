"""Moves the bytes of a session that needs no more looking at, without copying them to Python.

splice(2) through a pipe keeps back-pressure: what the target does not take stays in the pipe, then
in the source's receive buffer. How fast it is depends on how much is moved at a time: a pipe of
the default size (64 KiB) costs 1.6 times the CPU time per byte of a large one.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass

from fwlb.daemon.leg import Leg

PIECE_BYTES = 1 << 20
"""Most that is moved at a time, about a millisecond's work; what a large pipe holds, and what any
process may ask for (fs.pipe-max-size)."""

LARGE_PIPES = 32
"""All large pipes together hold half of what one user's pipes may (fs.pipe-user-pages-soft, 64
MiB), so they do not make the pipes of other programs tiny (pipe(7))."""

_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_CANNOT_SPLICE = {errno.EINVAL, errno.ENOSYS, errno.ENOMEM}


@dataclass(slots=True)
class Pipe:
    """A pipe and how many bytes are in it. `kept`: it goes back to the pool."""

    outlet: int
    inlet: int
    kept: bool
    held_bytes: int = 0

    def close(self) -> None:
        os.close(self.outlet)
        os.close(self.inlet)


class Splicer:
    """Moves streams, with pipes that all of them share.

    A stream has a pipe only while bytes are in it: an idle stream costs nothing, a hundred busy
    ones can do with a single pipe. Streams whose targets stall keep theirs; when they have all the
    large ones, the others use pipes of the default size, and copy where no pipe can be had.
    """

    def __init__(self) -> None:
        self._free: list[Pipe] = []
        self._kept = 0

    async def move(self, source: Leg, target: Leg, moved: Callable[[], object]) -> None:
        """Move bytes until the source's end of stream; `moved` is called after every piece.

        Raises `LegBroken`.
        """
        await target.flushed()
        while await self._move_piece(source, target, moved):
            moved()
            await asyncio.sleep(0)  # a fast sender must not keep the others waiting

    def close(self) -> None:
        """Let go of the pipes that nobody uses now."""
        while self._free:
            self._free.pop().close()
            self._kept -= 1

    async def _move_piece(self, source: Leg, target: Leg, moved: Callable[[], object]) -> bool:
        """Move what is there, or comes next; False at the end of the stream."""
        try:
            pipe = self._filled(source)
        except BlockingIOError:
            await source.readable()
            try:
                pipe = self._filled(source)
            except BlockingIOError:
                # readable, yet nothing to splice: splice(2) does not pass an urgent byte
                pipe = None
        if pipe is None:
            return await _copy_piece(source, target)
        try:
            ended = not pipe.held_bytes
            await _drain(pipe, target, moved)
        finally:
            self._give_back(pipe)
        return not ended

    def _filled(self, source: Leg) -> Pipe | None:
        """A pipe with the next bytes of `source`, with none at its end; None where only copying
        is possible. Raises BlockingIOError while there is nothing, and `LegBroken`."""
        try:
            pipe = self._take()
        except OSError:  # no descriptors left
            return None
        try:
            pipe.held_bytes = os.splice(
                source.socket.fileno(), pipe.inlet, PIECE_BYTES, flags=_FLAGS
            )
        except OSError as error:
            self._give_back(pipe)
            if isinstance(error, BlockingIOError):
                raise
            if error.errno in _CANNOT_SPLICE:
                return None
            raise source.fail(error) from error
        return pipe

    def _take(self) -> Pipe:
        """An empty pipe. Raises OSError where none can be had."""
        if self._free:
            return self._free.pop()
        outlet, inlet = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        pipe = Pipe(outlet, inlet, kept=self._kept < LARGE_PIPES)
        if pipe.kept:
            self._kept += 1
            _enlarge(pipe)
        return pipe

    def _give_back(self, pipe: Pipe) -> None:
        if pipe.kept and not pipe.held_bytes:
            self._free.append(pipe)
            return
        pipe.close()
        self._kept -= pipe.kept


def _enlarge(pipe: Pipe) -> None:
    # refused where this user's pipes hold too much already (EPERM): then it is slower
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe.inlet, fcntl.F_SETPIPE_SZ, PIECE_BYTES)


async def _drain(pipe: Pipe, target: Leg, moved: Callable[[], object]) -> None:
    while pipe.held_bytes:
        try:
            pipe.held_bytes -= os.splice(
                pipe.outlet, target.socket.fileno(), pipe.held_bytes, flags=_FLAGS
            )
        except BlockingIOError:
            await target.writable()
        except OSError as error:
            raise target.fail(error) from error
        else:
            moved()


async def _copy_piece(source: Leg, target: Leg) -> bool:
    data = await source.read()
    target.write(data)
    await target.flushed()
    return bool(data)
