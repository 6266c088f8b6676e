"""A leg: bounded, half-closing, and honest about resets. Also splice between two legs."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from fwlb.daemon import leg as leg_module
from fwlb.daemon import splice
from fwlb.daemon.leg import Leg, LegBroken
from fwlb.daemon.splice import Splicer
from fwlb.model import Side

BUFFER_BYTES = 65536


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    far.setblocking(False)
    return near, far


class Bench:
    """Two legs, and the peers at their far ends."""

    def __init__(self, splicer: Splicer | None = None) -> None:
        self.splicer = splicer or Splicer()
        client, self.client = tcp_pair()
        server, self.server = tcp_pair()
        self.client_leg = Leg(Side.CLIENT, client, buffer_bytes=BUFFER_BYTES)
        self.server_leg = Leg(Side.SERVER, server, buffer_bytes=BUFFER_BYTES)
        self.loop = asyncio.get_running_loop()

    def close(self) -> None:
        self.splicer.close()
        self.client_leg.close()
        self.server_leg.close()
        self.client.close()
        self.server.close()


def scenario(play: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        bench = Bench()
        try:
            async with asyncio.timeout(30):
                await play(bench)
        finally:
            bench.close()

    asyncio.run(run())


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


async def read_all(loop: asyncio.AbstractEventLoop, peer: socket.socket) -> bytes:
    data = bytearray()
    while piece := await loop.sock_recv(peer, 65536):
        data += piece
    return bytes(data)


def test_bytes_come_and_go() -> None:
    async def play(bench: Bench) -> None:
        await bench.loop.sock_sendall(bench.client, b"USER x\r\n")
        assert await bench.client_leg.read() == b"USER x\r\n"
        bench.client_leg.write(b"331 ")
        bench.client_leg.write(b"password\r\n")
        bench.client_leg.end()
        assert await read_all(bench.loop, bench.client) == b"331 password\r\n"

    scenario(play)


def test_the_end_of_a_stream_is_empty_and_the_other_direction_goes_on() -> None:
    async def play(bench: Bench) -> None:
        bench.client.shutdown(socket.SHUT_WR)
        assert await bench.client_leg.read() == b""
        bench.client_leg.write(b"still here")
        assert await bench.loop.sock_recv(bench.client, 100) == b"still here"

    scenario(play)


def test_a_peer_that_does_not_read_leaves_no_room() -> None:
    async def play(bench: Bench) -> None:
        sent = 0
        while bench.client_leg.unsent_bytes < BUFFER_BYTES:
            bench.client_leg.write(b"x" * 10_000)
            sent += 10_000
        bench.client_leg.end()
        waiting = asyncio.ensure_future(bench.client_leg.room())
        await asyncio.sleep(0.02)
        assert not waiting.done()
        received = len(await read_all(bench.loop, bench.client))
        await waiting
        await bench.client_leg.flushed()
        assert received == sent

    scenario(play)


def test_far_too_much_unsent_breaks_the_leg() -> None:
    async def play(bench: Bench) -> None:
        for _ in range(1000):
            bench.client_leg.write(b"x" * 65536)
        assert bench.client_leg.unsent_bytes == 0
        with pytest.raises(LegBroken, match="no buffer space"):
            await bench.client_leg.room()

    scenario(play)


def test_a_reset_is_told_to_readers() -> None:
    async def play(bench: Bench) -> None:
        reading = asyncio.ensure_future(bench.client_leg.read())
        await asyncio.sleep(0.01)
        reset(bench.client)
        with pytest.raises(LegBroken, match="client: connection reset by peer"):
            await reading

    scenario(play)


def test_a_reset_that_a_write_notices_is_no_end_of_stream_for_the_reader() -> None:
    async def play(bench: Bench) -> None:
        reset(bench.client)
        await asyncio.sleep(0.01)
        bench.client_leg.write(b"hello")  # takes the error away from the socket
        with pytest.raises(LegBroken):
            await bench.client_leg.read()

    scenario(play)


def test_a_reset_is_told_to_those_who_wait_for_room() -> None:
    async def play(bench: Bench) -> None:
        while bench.client_leg.unsent_bytes < BUFFER_BYTES:
            bench.client_leg.write(b"x" * 65536)
        waiting = [
            asyncio.ensure_future(bench.client_leg.room()),
            asyncio.ensure_future(bench.client_leg.flushed()),
        ]
        await asyncio.sleep(0.01)
        reset(bench.client)
        for task in waiting:
            with pytest.raises(LegBroken):
                await task

    scenario(play)


def test_reset_reaches_the_peer_as_a_reset_and_close_as_an_end() -> None:
    async def play(bench: Bench) -> None:
        bench.client_leg.reset()
        with pytest.raises(ConnectionResetError):
            await bench.loop.sock_recv(bench.client, 10)
        bench.server_leg.close()
        assert await bench.loop.sock_recv(bench.server, 10) == b""
        bench.server_leg.close()  # a second time is no error

    scenario(play)


def test_what_is_written_after_the_end_goes_nowhere() -> None:
    async def play(bench: Bench) -> None:
        bench.client_leg.end()
        bench.client_leg.write(b"too late")
        assert await read_all(bench.loop, bench.client) == b""

    scenario(play)


def test_urgent_bytes_stay_in_the_stream() -> None:
    async def play(bench: Bench) -> None:
        # what BSD ftp sends before ABOR: IAC IP IAC, the last byte urgent, then DM
        bench.client.send(b"\xff\xf4\xff", socket.MSG_OOB)
        bench.client.send(b"\xf2ABOR\r\n")
        bench.client.shutdown(socket.SHUT_WR)
        data = b""
        while piece := await bench.client_leg.read():
            data += piece
        assert data == b"\xff\xf4\xff\xf2ABOR\r\n"

    scenario(play)


# --- splice ------------------------------------------------------------------------------------


async def moved_through(bench: Bench, data: bytes) -> bytes:
    """What arrives at the server when the client sends `data` and ends."""

    async def send() -> None:
        await bench.loop.sock_sendall(bench.client, data)
        bench.client.shutdown(socket.SHUT_WR)

    async def move() -> None:
        await bench.splicer.move(bench.client_leg, bench.server_leg, lambda: None)
        bench.server_leg.end()

    results = await asyncio.gather(send(), move(), read_all(bench.loop, bench.server))
    return results[2]


def test_splice_moves_everything() -> None:
    async def play(bench: Bench) -> None:
        data = os.urandom(8_000_000)
        received = await moved_through(bench, data)
        assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()

    scenario(play)


def test_splice_waits_for_what_was_written_before() -> None:
    async def play(bench: Bench) -> None:
        first = b"a" * 3_000_000
        while len(first) and bench.server_leg.unsent_bytes < BUFFER_BYTES:
            bench.server_leg.write(first[:100_000])
            first = first[100_000:]
        written = 3_000_000 - len(first)
        received = await moved_through(bench, b"b" * 1000)
        assert received == b"a" * written + b"b" * 1000

    scenario(play)


def test_splice_passes_urgent_bytes_and_does_not_spin() -> None:
    async def play(bench: Bench) -> None:
        moved = 0

        def count() -> None:
            nonlocal moved
            moved += 1

        task = asyncio.ensure_future(bench.splicer.move(bench.client_leg, bench.server_leg, count))
        for _ in range(3):
            bench.client.send(b"abc", socket.MSG_OOB)
            await asyncio.sleep(0.02)
            bench.client.send(b"def")
            await asyncio.sleep(0.02)
        bench.client.shutdown(socket.SHUT_WR)
        await task
        bench.server_leg.end()
        assert await read_all(bench.loop, bench.server) == b"abcdef" * 3
        assert moved < 50

    scenario(play)


def test_splice_copies_when_there_are_no_pipes(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_pipes(_flags: int) -> tuple[int, int]:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "pipe2", no_pipes)

    async def play(bench: Bench) -> None:
        data = os.urandom(3_000_000)
        assert await moved_through(bench, data) == data

    scenario(play)


def test_splice_copies_where_the_kernel_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(*_arguments: object, **_options: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "splice", cannot)

    async def play(bench: Bench) -> None:
        data = os.urandom(3_000_000)
        assert await moved_through(bench, data) == data

    scenario(play)


@pytest.mark.parametrize("breaks", [Side.CLIENT, Side.SERVER])
def test_splice_tells_which_side_was_reset(breaks: Side) -> None:
    async def play(bench: Bench) -> None:
        task = asyncio.ensure_future(
            bench.splicer.move(bench.client_leg, bench.server_leg, lambda: None)
        )
        await asyncio.sleep(0.01)
        reset(bench.client if breaks is Side.CLIENT else bench.server)
        await asyncio.sleep(0.01)
        if breaks is Side.SERVER:
            bench.client.send(b"for nobody")
        with pytest.raises(LegBroken) as caught:
            await task
        assert caught.value.side is breaks

    scenario(play)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_a_stream_has_a_pipe_only_while_bytes_are_in_it() -> None:
    async def play(bench: Bench) -> None:
        before = open_descriptors()
        task = asyncio.ensure_future(
            bench.splicer.move(bench.client_leg, bench.server_leg, lambda: None)
        )
        for _ in range(3):  # the second and third piece go through the pipe of the first
            await bench.loop.sock_sendall(bench.client, b"piece")
            assert await bench.loop.sock_recv(bench.server, 100) == b"piece"
            bench.splicer.close()
            assert open_descriptors() == before
        task.cancel()
        await asyncio.wait([task])

    scenario(play)


async def stall(bench: Bench, *, most_bytes: int = 64 << 20) -> tuple[asyncio.Task[None], int]:
    """Move from the client to a server that reads nothing, until no more is taken: the task that
    moves, and how much was sent."""
    task = bench.loop.create_task(
        bench.splicer.move(bench.client_leg, bench.server_leg, lambda: None)
    )
    sent = quiet = 0
    while quiet < 20:
        assert sent < most_bytes, "no back-pressure"
        try:
            sent += bench.client.send(bytes(1 << 20))
            quiet = 0
        except BlockingIOError:
            quiet += 1
        await asyncio.sleep(0.005)
    return task, sent


def test_stalled_streams_share_the_large_pipes_and_lose_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(splice, "LARGE_PIPES", 1)
    sizes = []

    def pipes_in_use() -> list[int]:
        found = {}
        for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208
            with contextlib.suppress(OSError):
                link = str(Path(f"/proc/self/fd/{number}").readlink())
                if link.startswith("pipe:"):
                    found[link] = fcntl.fcntl(number, fcntl.F_GETPIPE_SZ)
        return sorted(found.values())

    async def play(first: Bench) -> None:
        second = Bench(first.splicer)
        try:
            others = pipes_in_use()
            stalled = [(bench, *await stall(bench)) for bench in (first, second)]
            sizes.extend(pipes_in_use())
            for size in others:
                sizes.remove(size)
            for bench, task, sent in stalled:
                bench.client.shutdown(socket.SHUT_WR)
                received = 0
                while received < sent:
                    received += len(await bench.loop.sock_recv(bench.server, 1 << 20))
                await task
                assert received == sent
            first.splicer.close()
            assert pipes_in_use() == others
        finally:
            second.close()

    scenario(play)
    assert sizes == [65536, splice.PIECE_BYTES]


@pytest.mark.parametrize("how", ["cancelled", "reset"])
def test_bytes_left_in_a_pipe_never_reach_another_stream(how: str) -> None:
    async def play(bench: Bench) -> None:
        before = open_descriptors()
        task, _ = await stall(bench)
        assert open_descriptors() == before + 2
        if how == "cancelled":
            task.cancel()
        else:
            reset(bench.server)
        await asyncio.wait([task])
        other = Bench(bench.splicer)
        try:
            data = os.urandom(3_000_000)
            assert await moved_through(other, data) == data
        finally:
            other.close()

    scenario(play)


def test_reads_are_bounded() -> None:
    async def play(bench: Bench) -> None:
        await bench.loop.sock_sendall(bench.client, b"x" * 200_000)
        assert len(await bench.client_leg.read()) <= leg_module.READ_BYTES

    scenario(play)
