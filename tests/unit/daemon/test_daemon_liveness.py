"""The sign of life: renewed three times in a time-out, taken away on stop."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Sequence

from fwlb.daemon.actuator import Actuator
from fwlb.daemon.liveness import Liveness
from fwlb.errors import FwlbError, KernelError
from fwlb.model import Change, ChangeKind


class Kernel:
    def __init__(self) -> None:
        self.changes: list[tuple[ChangeKind, int, float | None]] = []
        self.broken = False

    def apply(self, changes: Sequence[Change]) -> None:
        if self.broken:
            raise KernelError("no such table", errno=errno.ENOENT)
        for change in changes:
            assert change.element.set_name == "relay_alive"
            (port,) = change.element.key
            self.changes.append((change.kind, int(str(port)), change.element.timeout_s))

    def close(self) -> None:
        pass


def liveness(kernel: Kernel, errors: list[FwlbError], timeout_s: float = 3.0) -> Liveness:
    loop = asyncio.get_running_loop()
    actuator = Actuator(lambda: kernel, timers=loop, report=errors.append, window_s=0.0)
    return Liveness(actuator, [554, 21], timeout_s)


def test_every_port_is_renewed_with_the_whole_time_out() -> None:
    async def scenario() -> None:
        kernel = Kernel()
        alive = liveness(kernel, [])
        assert not alive.alive
        assert await alive.renew()
        assert kernel.changes == [(ChangeKind.RENEW, 21, 3.0), (ChangeKind.RENEW, 554, 3.0)]
        assert alive.alive

    asyncio.run(scenario())


def test_it_goes_on_three_times_in_a_time_out() -> None:
    async def scenario() -> None:
        kernel = Kernel()
        task = asyncio.ensure_future(liveness(kernel, [], timeout_s=0.15).run())
        await asyncio.sleep(0.27)
        task.cancel()
        assert 4 <= len(kernel.changes) / 2 <= 6

    asyncio.run(scenario())


def test_a_renewal_that_fails_is_reported_and_the_next_one_mends_it() -> None:
    async def scenario() -> None:
        kernel = Kernel()
        errors: list[FwlbError] = []
        alive = liveness(kernel, errors)
        await alive.renew()
        kernel.broken = True
        assert not await alive.renew()
        assert not alive.alive
        assert "no such table" in str(errors[0])
        kernel.broken = False
        assert await alive.renew()

    asyncio.run(scenario())


def test_stop_takes_the_ports_away() -> None:
    async def scenario() -> None:
        kernel = Kernel()
        alive = liveness(kernel, [])
        await alive.renew()
        await alive.stop()
        assert kernel.changes[2:] == [(ChangeKind.DELETE, 21, None), (ChangeKind.DELETE, 554, None)]
        assert not alive.alive

    asyncio.run(scenario())


def test_other_ports_replace_the_former_ones() -> None:
    async def scenario() -> None:
        kernel = Kernel()
        alive = liveness(kernel, [])
        await alive.renew()
        await alive.change([21, 5060], 9.0)
        assert kernel.changes[2:] == [
            (ChangeKind.DELETE, 554, None),
            (ChangeKind.RENEW, 21, 9.0),
            (ChangeKind.RENEW, 5060, 9.0),
        ]

    asyncio.run(scenario())


def test_without_ports_nothing_is_alive() -> None:
    async def scenario() -> None:
        kernel = Kernel()
        alive = liveness(kernel, [])
        await alive.change([], 3.0)
        assert not alive.alive

    asyncio.run(scenario())
