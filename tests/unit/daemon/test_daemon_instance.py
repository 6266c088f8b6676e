"""One daemon in each network namespace."""

from __future__ import annotations

import asyncio
import os
import socket

import pytest

from fwlb.daemon import instance
from fwlb.daemon.instance import Instance
from fwlb.errors import AlreadyRunningError, DaemonError

NAME = f"\0fwlb-test-{os.getpid()}".encode()


def test_the_second_one_is_told_who_is_first() -> None:
    async def scenario() -> None:
        first = Instance(NAME)
        with first.answering():
            for _ in range(300):  # more often than its queue is long
                with pytest.raises(AlreadyRunningError, match=rf"pid {os.getpid()}\b"):
                    Instance(NAME)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert instance.is_held(NAME)
        first.close()
        assert not instance.is_held(NAME)
        Instance(NAME).close()

    asyncio.run(scenario())


def test_one_that_hangs_still_counts() -> None:
    first = Instance(NAME)
    for _ in range(300):  # nobody takes these connections, and the queue is full
        with pytest.raises(AlreadyRunningError):
            Instance(NAME)
    assert instance.is_held(NAME)
    first.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user")
def test_a_stranger_who_took_the_name_is_named() -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        os.seteuid(65534)
        try:
            stranger.bind(NAME)
            stranger.listen()
        finally:
            os.seteuid(0)
        with pytest.raises(DaemonError, match="of user 65534") as caught:
            Instance(NAME)
        assert not isinstance(caught.value, AlreadyRunningError)
