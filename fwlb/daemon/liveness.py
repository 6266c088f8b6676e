"""The sign of life that the rules look at: elements of `relay_alive`, renewed from the event loop.

A daemon that is killed or hangs renews nothing; after `timeout_s` new control connections pass it
by (or are refused, by `when_away`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from fwlb.daemon.actuator import Actuator
from fwlb.model import Change, ChangeKind, Element

SET_NAME = "relay_alive"


class Liveness:
    """Keeps `ports` alive while `run` runs."""

    def __init__(self, actuator: Actuator, ports: Iterable[int], timeout_s: float) -> None:
        self.alive = False
        """Whether the last renewal reached the kernel."""
        self._actuator = actuator
        self._ports = tuple(sorted(ports))
        self._timeout_s = timeout_s

    async def renew(self) -> bool:
        """Start the time-out of every port again. The actuator reports what went wrong."""
        changes = [self._change(ChangeKind.RENEW, port) for port in self._ports]
        self.alive = await self._actuator.commit(changes) is None and bool(self._ports)
        return self.alive

    async def run(self) -> None:
        """Renew three times in a time-out, until cancelled."""
        while True:
            await self.renew()
            await asyncio.sleep(self._timeout_s / 3)

    async def change(self, ports: Iterable[int], timeout_s: float) -> None:
        """Other ports or another time-out, from now on."""
        gone = set(self._ports) - set(ports)
        self._ports, self._timeout_s = tuple(sorted(ports)), timeout_s
        await self._actuator.commit(
            [self._change(ChangeKind.DELETE, port) for port in sorted(gone)]
        )
        await self.renew()

    async def stop(self) -> None:
        """New connections pass by from now on."""
        self.alive = False
        await self._actuator.commit([self._change(ChangeKind.DELETE, port) for port in self._ports])

    def _change(self, kind: ChangeKind, port: int) -> Change:
        timeout_s = self._timeout_s if kind is ChangeKind.RENEW else None
        return Change(kind, Element(SET_NAME, (port,), timeout_s=timeout_s))
