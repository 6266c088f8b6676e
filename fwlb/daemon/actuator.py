"""Carries the engine's changes to the kernel, a few milliseconds apart at most.

Every commit bumps the generation of the host's whole ruleset, and a listing by another tool
(`nft list ruleset`) starts over at each bump. Changes therefore go out at once when the last
commit is more than `WINDOW_S` ago, and else wait for the end of that window, all in one
transaction. One netlink call takes 20 to 50 us, so it is made right on the event loop.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from typing import Protocol

from fwlb.errors import FwlbError, KernelError, NetlinkTimeoutError, SetFullError
from fwlb.model import Change, Refusal

WINDOW_S = 0.005
"""At most one commit in this time."""


class Writer(Protocol):
    """What the actuator needs of `fwlb.kernel.elements.ElementWriter`."""

    def apply(self, changes: Sequence[Change]) -> None: ...

    def close(self) -> None: ...


class Timers(Protocol):
    """What the actuator needs of an event loop."""

    def time(self) -> float: ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> object: ...


class Actuator:
    """The one way of the daemon to set elements.

    `connect` makes a writer; it is called again when the netlink socket has lost its place.
    `report` hears of every error that no retry mended.
    """

    def __init__(
        self,
        connect: Callable[[], Writer],
        *,
        timers: Timers,
        report: Callable[[FwlbError], None],
        window_s: float = WINDOW_S,
    ) -> None:
        self.commits = 0
        """Transactions that the kernel took."""
        self._connect = connect
        self._timers = timers
        self._report = report
        self._window_s = window_s
        self._writer: Writer | None = connect()
        self._committed_at = float("-inf")
        self._waiting: list[tuple[Sequence[Change], asyncio.Future[Refusal | None]]] = []

    async def commit(self, changes: Sequence[Change]) -> Refusal | None:
        """Set `changes` as one transaction, after all that was asked for before.

        Returns None when the kernel has them, else why it has none of them. Never raises for what
        the kernel says.
        """
        if not changes:
            return None
        now = self._timers.time()
        if not self._waiting and now - self._committed_at > self._window_s:
            return self._write(changes)
        future: asyncio.Future[Refusal | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((changes, future))
        if len(self._waiting) == 1:
            self._timers.call_at(self._committed_at + self._window_s, self.flush)
        return await future

    def flush(self) -> None:
        """Commit now what waits for the end of the window."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        together = [change for changes, _ in waiting for change in changes]
        if len(waiting) > 1 and self._try(together) is None:
            answers: list[Refusal | None] = [None] * len(waiting)
        else:
            # one session's bad luck is not another's: ask for each alone
            answers = [self._write(changes) for changes, _ in waiting]
        for (_, future), answer in zip(waiting, answers, strict=True):
            if not future.done():  # its session may be gone; the change is still wanted, in order
                future.set_result(answer)

    def reconnect(self) -> None:
        """Use a new writer from now on: the ruleset was changed, or the socket lost its place."""
        self.close()
        self._writer = self._connect()

    def close(self) -> None:
        """Commit what waits and let go of the writer."""
        self.flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, changes: Sequence[Change]) -> Refusal | None:
        error = self._try(changes)
        if error is None:
            return None
        self._report(error)
        return Refusal.SET_FULL if isinstance(error, SetFullError) else Refusal.KERNEL

    def _try(self, changes: Sequence[Change]) -> FwlbError | None:
        try:
            try:
                self._apply(changes)
            except KernelError as error:
                if not _lost_its_place(error):
                    raise
                self._drop_writer()
                self._apply(changes)
        except FwlbError as error:
            return error
        except OSError as error:
            self._drop_writer()
            return KernelError(f"netlink: {error.strerror}", errno=error.errno or 0)
        return None

    def _apply(self, changes: Sequence[Change]) -> None:
        if self._writer is None:
            self._writer = self._connect()
        # counted as the start of the window also when it fails: a failing kernel is not hurried
        self._committed_at = self._timers.time()
        self._writer.apply(changes)
        self.commits += 1

    def _drop_writer(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _lost_its_place(error: KernelError) -> bool:
    """Answers were lost: what the next ones belong to is unknown. Asking again is safe, since an
    element that is already as wanted is no error."""
    return isinstance(error, NetlinkTimeoutError) or error.errno == errno.ENOBUFS
