"""The actuator: at once when it is quiet, together when not, each alone when one fails."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence

import pytest

from fwlb.daemon.actuator import Actuator
from fwlb.errors import FwlbError, KernelError, NetlinkTimeoutError, SetFullError
from fwlb.model import Change, ChangeKind, Element, Refusal

WINDOW_S = 0.005


def add(port: int) -> Change:
    return Change(ChangeKind.ADD, Element("relay_alive", (port,), timeout_s=3.0))


class Clock:
    """Time that moves when told, and runs what is due."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: list[tuple[float, Callable[[], object]]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], object], /) -> None:
        self.due.append((when, callback))

    def advance(self, seconds: float) -> None:
        self.now += seconds
        ready = [callback for when, callback in self.due if when <= self.now]
        self.due = [(when, callback) for when, callback in self.due if when > self.now]
        for callback in ready:
            callback()


class Kernel:
    """Records transactions; `fail` decides which of them are refused, and how."""

    def __init__(self) -> None:
        self.transactions: list[list[int]] = []
        self.connections = 0
        self.closed = 0
        self.fail: Callable[[list[int]], Exception | None] = lambda _ports: None

    def connect(self) -> Kernel:
        self.connections += 1
        return self

    def apply(self, changes: Sequence[Change]) -> None:
        ports = [int(str(change.element.key[0])) for change in changes]
        error = self.fail(ports)
        if error is not None:
            raise error
        self.transactions.append(ports)

    def close(self) -> None:
        self.closed += 1


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.kernel = Kernel()
        self.errors: list[FwlbError] = []
        self.actuator = Actuator(
            self.kernel.connect,
            timers=self.clock,
            report=self.errors.append,
            window_s=WINDOW_S,
        )

    async def start(self, *ports: int) -> asyncio.Task[Refusal | None]:
        """Ask for `ports` and let the request get as far as it can."""
        task = asyncio.ensure_future(self.actuator.commit([add(port) for port in ports]))
        await asyncio.sleep(0)
        return task


def scenario(play: Callable[[Bench], Awaitable[None]]) -> None:
    asyncio.run(_play(play))


async def _play(play: Callable[[Bench], Awaitable[None]]) -> None:
    await play(Bench())


def test_a_change_after_a_quiet_time_goes_out_at_once() -> None:
    async def play(bench: Bench) -> None:
        assert await bench.actuator.commit([add(21)]) is None
        bench.clock.advance(2 * WINDOW_S)
        assert await bench.actuator.commit([add(554)]) is None
        assert bench.kernel.transactions == [[21], [554]]
        assert bench.clock.due == []

    scenario(play)


def test_changes_soon_after_a_commit_wait_and_go_out_together_in_order() -> None:
    async def play(bench: Bench) -> None:
        await bench.actuator.commit([add(1)])
        bench.clock.advance(0.001)
        first, second = await bench.start(2, 3), await bench.start(4)
        assert bench.kernel.transactions == [[1]]
        bench.clock.advance(WINDOW_S - 0.001)
        assert await first is None
        assert await second is None
        assert bench.kernel.transactions == [[1], [2, 3, 4]]
        assert bench.actuator.commits == 2

    scenario(play)


def test_no_changes_are_no_commit() -> None:
    async def play(bench: Bench) -> None:
        assert await bench.actuator.commit([]) is None
        assert bench.kernel.transactions == []

    scenario(play)


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (SetFullError("pinhole4 is full", errno=errno.ENFILE), Refusal.SET_FULL),
        (KernelError("no", errno=errno.EINVAL), Refusal.KERNEL),
        (OSError(errno.EPERM, "not permitted"), Refusal.KERNEL),
    ],
)
def test_what_the_kernel_refuses_is_a_refusal_and_reported(
    error: Exception, refusal: Refusal
) -> None:
    async def play(bench: Bench) -> None:
        bench.kernel.fail = lambda _ports: error
        assert await bench.actuator.commit([add(1)]) is refusal
        assert len(bench.errors) == 1

    scenario(play)


def test_one_sessions_failure_is_not_anothers() -> None:
    async def play(bench: Bench) -> None:
        await bench.actuator.commit([add(1)])
        bench.kernel.fail = lambda ports: (
            SetFullError("full", errno=errno.ENFILE) if 3 in ports else None
        )
        waiting = [await bench.start(port) for port in (2, 3, 4)]
        bench.clock.advance(WINDOW_S)
        assert [await task for task in waiting] == [None, Refusal.SET_FULL, None]
        assert bench.kernel.transactions == [[1], [2], [4]]
        assert len(bench.errors) == 1

    scenario(play)


@pytest.mark.parametrize(
    "error",
    [NetlinkTimeoutError("no answer"), KernelError("overrun", errno=errno.ENOBUFS)],
)
def test_lost_answers_mean_a_new_socket_and_another_try(error: KernelError) -> None:
    async def play(bench: Bench) -> None:
        failures = [error]
        bench.kernel.fail = lambda _ports: failures.pop() if failures else None
        assert await bench.actuator.commit([add(1)]) is None
        assert (bench.kernel.connections, bench.kernel.closed) == (2, 1)
        assert bench.errors == []

    scenario(play)


def test_a_kernel_that_never_answers_is_asked_twice_and_no_more() -> None:
    async def play(bench: Bench) -> None:
        asked: list[list[int]] = []

        def silent(ports: list[int]) -> Exception:
            asked.append(ports)
            return NetlinkTimeoutError("no answer")

        bench.kernel.fail = silent
        assert await bench.actuator.commit([add(1)]) is Refusal.KERNEL
        assert asked == [[1], [1]]

    scenario(play)


def test_without_a_writer_the_next_change_connects_again() -> None:
    async def play(bench: Bench) -> None:
        bench.actuator.close()
        assert await bench.actuator.commit([add(1)]) is None
        assert bench.kernel.connections == 2

    scenario(play)


def test_reconnecting_commits_first_what_waits() -> None:
    async def play(bench: Bench) -> None:
        await bench.actuator.commit([add(1)])
        task = await bench.start(2)
        bench.actuator.reconnect()
        assert await task is None
        assert bench.kernel.transactions == [[1], [2]]
        assert bench.kernel.connections == 2
        bench.clock.advance(WINDOW_S)  # the timer of the window finds nothing
        assert bench.kernel.transactions == [[1], [2]]

    scenario(play)


def test_changes_of_a_session_that_went_away_are_still_made_in_order() -> None:
    async def play(bench: Bench) -> None:
        await bench.actuator.commit([add(1)])
        gone, stays = await bench.start(2), await bench.start(3)
        gone.cancel()
        await asyncio.sleep(0)
        bench.clock.advance(WINDOW_S)
        assert await stays is None
        assert bench.kernel.transactions == [[1], [2, 3]]

    scenario(play)
