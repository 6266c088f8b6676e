"""Carries out what the engine decided: first the kernel, then the log, then the wire."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from fwlb.daemon import log
from fwlb.daemon.actuator import Actuator
from fwlb.engine import Engine, LogEvent, Outcome, Send


class Outcomes:
    """The order that keeps promises: bytes that announce a channel leave after it exists."""

    def __init__(self, engine: Engine, actuator: Actuator, now: Callable[[], float]) -> None:
        self._engine = engine
        self._actuator = actuator
        self._now = now

    async def carry_out(self, session_id: str, outcome: Outcome) -> Sequence[Send]:
        """Make the changes of one session's outcome; returns what is to be sent then."""
        refusal = await self._actuator.commit(outcome.changes)
        _log(outcome.events)
        if refusal is None:
            return outcome.sends
        # its events tell that what was opened is closed again, and why
        await self.settle(self._engine.kernel_refused(session_id, outcome, refusal, self._now()))
        return outcome.sends_if_refused

    async def settle(self, outcome: Outcome) -> None:
        """Make changes that nobody waits for: of a session that is over, of elements that lapsed.
        What the kernel refuses here is reported by the actuator and ends by its own time-out."""
        await self._actuator.commit(outcome.changes)
        _log(outcome.events)


def _log(events: Sequence[LogEvent]) -> None:
    for event in events:
        level = logging.WARNING if event.name == "refused" else logging.INFO
        log.emit(event.name, session=event.session_id, level=level, fields=event.fields)
