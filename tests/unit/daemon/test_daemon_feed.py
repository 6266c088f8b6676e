"""Live events: every subscriber has a bounded queue of its own, and learns what it lost."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator

import pytest

from fwlb.daemon import log
from fwlb.daemon.feed import EventFeed


@pytest.fixture(autouse=True)
def info_level() -> Iterator[None]:
    logger = logging.getLogger("fwlb")
    logger.setLevel(logging.INFO)
    yield
    logger.setLevel(logging.NOTSET)


def attached(feed: EventFeed) -> EventFeed:
    logging.getLogger("fwlb").addHandler(feed)
    return feed


def test_subscribers_get_events_in_order() -> None:
    async def scenario() -> None:
        feed = attached(EventFeed(asyncio.get_running_loop()))
        one, other = feed.subscribe(), feed.subscribe()
        for name in ("session-opened", "session-closed"):
            log.emit(name, session="a1-1")
        for subscription in (one, other):
            names = [(await subscription.next())["event"] for _ in range(2)]
            assert names == ["session-opened", "session-closed"]
        logging.getLogger("fwlb").removeHandler(feed)

    asyncio.run(scenario())


def test_events_of_other_threads_arrive() -> None:
    async def scenario() -> None:
        feed = attached(EventFeed(asyncio.get_running_loop()))
        subscription = feed.subscribe()
        thread = threading.Thread(target=log.emit, args=("reloaded",))
        thread.start()
        assert (await asyncio.wait_for(subscription.next(), 5))["event"] == "reloaded"
        thread.join()
        logging.getLogger("fwlb").removeHandler(feed)

    asyncio.run(scenario())


def test_a_slow_subscriber_loses_events_and_is_told_how_many() -> None:
    async def scenario() -> None:
        feed = attached(EventFeed(asyncio.get_running_loop(), queue_events=2))
        slow = feed.subscribe()
        for number in range(5):
            log.emit("refused", fields={"number": number})
        await asyncio.sleep(0)
        assert [(await slow.next())["number"] for _ in range(2)] == [0, 1]
        assert await slow.next() == {"event": "events-dropped", "count": 3}
        log.emit("refused", fields={"number": 5})
        assert (await slow.next())["number"] == 5
        logging.getLogger("fwlb").removeHandler(feed)

    asyncio.run(scenario())


def test_after_unsubscribing_nothing_is_kept() -> None:
    async def scenario() -> None:
        feed = attached(EventFeed(asyncio.get_running_loop()))
        subscription = feed.subscribe()
        feed.unsubscribe(subscription)
        log.emit("reloaded")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(subscription.next(), 0.05)
        logging.getLogger("fwlb").removeHandler(feed)

    asyncio.run(scenario())
