"""Live log events for whoever asks the control socket for `events`.

A subscriber that reads too slowly loses events and is told how many; nobody else waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Any

from fwlb.daemon.log import as_event

QUEUE_EVENTS = 1000
"""Events that may wait for one subscriber."""


class Subscription:
    """The events of one subscriber, oldest first."""

    def __init__(self, queue_events: int) -> None:
        self._events: deque[dict[str, Any]] = deque()
        self._queue_events = queue_events
        self._dropped = 0
        self._arrived = asyncio.Event()

    def offer(self, event: dict[str, Any]) -> None:
        """Queue `event`, or count it as dropped."""
        if len(self._events) >= self._queue_events:
            self._dropped += 1
        else:
            self._events.append(event)
        self._arrived.set()

    async def next(self) -> dict[str, Any]:
        """The next event; `events-dropped` with its `count` follows what could be kept."""
        while not self._events and not self._dropped:
            self._arrived.clear()
            await self._arrived.wait()
        if self._events:
            return self._events.popleft()
        dropped, self._dropped = self._dropped, 0
        return {"event": "events-dropped", "count": dropped}


class EventFeed(logging.Handler):
    """Hands every log event to all subscribers, from any thread, on the loop's thread."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, queue_events: int = QUEUE_EVENTS
    ) -> None:
        super().__init__()
        self._loop = loop
        self._queue_events = queue_events
        self._subscriptions: set[Subscription] = set()

    def subscribe(self) -> Subscription:
        subscription = Subscription(self._queue_events)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def emit(self, record: logging.LogRecord) -> None:
        if self._subscriptions and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._offer, as_event(record))

    def _offer(self, event: dict[str, Any]) -> None:
        for subscription in self._subscriptions:
            subscription.offer(event)
