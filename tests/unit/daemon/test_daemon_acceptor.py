"""Accepting: in bursts, only while there is room, and not at all while descriptors are short."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable

import pytest

from fwlb.daemon import acceptor as acceptor_module
from fwlb.daemon.acceptor import Acceptor
from fwlb.errors import PortInUseError


class Bench:
    """An acceptor on an ordinary listener: tproxy needs root, taking connections does not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.taken: list[socket.socket] = []
        self.room = 1000
        self.errors: list[OSError] = []
        self.listening: dict[int, tuple[str, int]] = {}
        self.no_ipv6 = False
        monkeypatch.setattr(acceptor_module, "listen", self.listen)
        self.acceptor = Acceptor(
            take=self.taken.append,
            has_room=lambda: len(self.taken) < self.room,
            report=self.errors.append,
        )

    def listen(self, family: socket.AddressFamily, port: int) -> socket.socket | None:
        if family is socket.AF_INET6 and self.no_ipv6:
            return None
        if port == 1:
            raise PortInUseError("port 1 is taken")
        if port == 2 and family is socket.AF_INET6:
            raise PortInUseError("port 2 is taken")
        listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        listener.setblocking(False)
        self.listening[family] = listener.getsockname()
        return listener

    def dial(
        self, count: int, family: socket.AddressFamily = socket.AF_INET
    ) -> list[socket.socket]:
        return [socket.create_connection(self.listening[family]) for _ in range(count)]

    def close(self, *others: socket.socket) -> None:
        self.acceptor.close()
        for each in (*self.taken, *others):
            each.close()


def scenario(monkeypatch: pytest.MonkeyPatch, play: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        await play(Bench(monkeypatch))

    asyncio.run(run())


def test_connections_of_both_families_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(bench: Bench) -> None:
        assert bench.acceptor.open(2121)
        dialled = bench.dial(90) + bench.dial(5, socket.AF_INET6)
        await asyncio.sleep(0.05)
        assert len(bench.taken) == 95
        assert bench.acceptor.accepting
        bench.close(*dialled)

    scenario(monkeypatch, play)


def test_without_room_connections_wait_in_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(bench: Bench) -> None:
        bench.room = 3
        bench.acceptor.open(2121)
        dialled = bench.dial(10)
        await asyncio.sleep(0.05)
        assert len(bench.taken) == 3
        assert not bench.acceptor.accepting
        bench.acceptor.resume()
        assert not bench.acceptor.accepting
        bench.room = 1000
        bench.acceptor.resume()
        await asyncio.sleep(0.05)
        assert len(bench.taken) == 10
        bench.close(*dialled)

    scenario(monkeypatch, play)


def test_short_of_descriptors_it_pauses_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(bench: Bench) -> None:
        bench.acceptor.open(2121)
        (listener, _) = bench.acceptor._listeners
        shortage = _Short(listener)
        bench.acceptor._accept(shortage)  # type: ignore[arg-type]
        assert [error.errno for error in bench.errors] == [errno.EMFILE]
        assert bench.acceptor.shortages == 1
        bench.acceptor.resume()  # a session that ends does not end the pause
        assert not bench.acceptor.accepting
        dialled = bench.dial(2)
        await asyncio.sleep(acceptor_module.PAUSE_S / 2)
        assert bench.taken == []
        await asyncio.sleep(acceptor_module.PAUSE_S)
        assert len(bench.taken) == 2
        bench.close(*dialled)

    scenario(monkeypatch, play)


class _Short:
    """A listener for whose connections no descriptor is left."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener

    def accept(self) -> tuple[socket.socket, object]:
        raise OSError(errno.EMFILE, "Too many open files")


def test_closing_takes_first_what_the_kernel_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(bench: Bench) -> None:
        bench.acceptor.open(2121)
        dialled = bench.dial(7)
        bench.acceptor.close()
        assert len(bench.taken) == 7
        assert not bench.acceptor.listening
        bench.close(*dialled)

    scenario(monkeypatch, play)


@pytest.mark.parametrize("port", [1, 2])
def test_a_taken_port_leaves_the_former_listeners(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    async def play(bench: Bench) -> None:
        bench.acceptor.open(2121)
        former = dict(bench.listening)
        with pytest.raises(PortInUseError):
            bench.acceptor.open(port)
        bench.listening = former
        dialled = bench.dial(1)
        await asyncio.sleep(0.02)
        assert len(bench.taken) == 1
        bench.close(*dialled)

    scenario(monkeypatch, play)


def test_a_host_without_ipv6_is_served_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(bench: Bench) -> None:
        bench.no_ipv6 = True
        assert not bench.acceptor.open(2121)
        dialled = bench.dial(1)
        await asyncio.sleep(0.02)
        assert len(bench.taken) == 1
        bench.close(*dialled)

    scenario(monkeypatch, play)
