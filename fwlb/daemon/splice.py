"""Moves the bytes of a session that needs no more looking at, without copying them to Python.

splice(2) through a pipe reaches 0.91 to 0.97 of direct forwarding and keeps back-pressure: what
the target does not take stays in the pipe, then in the source's receive buffer.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable

from fwlb.daemon.leg import Leg

PIPE_BYTES = 65536
"""What a pipe holds by default, and so the most that is moved at a time."""

_FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


async def move(source: Leg, target: Leg, moved: Callable[[], object]) -> None:
    """Move bytes until the source's end of stream; `moved` is called after every piece.

    Raises `LegBroken`. Copies where no pipe can be had.
    """
    await target.flushed()
    try:
        pipe_out, pipe_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # no descriptors left
        await _copy(source, target, moved)
        return
    try:
        while await _fill(source, target, pipe_in, pipe_out, moved):
            moved()
            await asyncio.sleep(0)  # a fast sender must not keep the others waiting
    finally:
        os.close(pipe_in)
        os.close(pipe_out)


async def _fill(
    source: Leg, target: Leg, pipe_in: int, pipe_out: int, moved: Callable[[], object]
) -> bool:
    """Move one piece; False at the end of the stream."""
    waited = False
    while True:
        try:
            held = os.splice(source.socket.fileno(), pipe_in, PIPE_BYTES, flags=_FLAGS)
        except BlockingIOError:
            if waited:
                # readable, yet nothing to splice: splice(2) does not pass an urgent byte
                return await _copy_once(source, target)
            await source.readable()
            waited = True
            continue
        except OSError as error:
            if error.errno in {errno.EINVAL, errno.ENOSYS, errno.ENOMEM}:
                return await _copy_once(source, target)
            raise source.fail(error) from error
        if not held:
            return False
        await _drain(pipe_out, target, held, moved)
        return True


async def _drain(pipe_out: int, target: Leg, held: int, moved: Callable[[], object]) -> None:
    while held:
        try:
            held -= os.splice(pipe_out, target.socket.fileno(), held, flags=_FLAGS)
        except BlockingIOError:
            await target.writable()
        except OSError as error:
            raise target.fail(error) from error
        else:
            moved()


async def _copy_once(source: Leg, target: Leg) -> bool:
    data = await source.read()
    target.write(data)
    await target.flushed()
    return bool(data)


async def _copy(source: Leg, target: Leg, moved: Callable[[], object]) -> None:
    while await _copy_once(source, target):
        moved()
        await asyncio.sleep(0)
