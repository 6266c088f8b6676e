"""The relay's leg to the server: which source port it uses, and how it connects.

The server must see the client's address (after NAT, the public one), so the leg is bound to an
address that may not be ours. The client's own *port* cannot be used again on this host: the
connection tracking entry of the client's leg has that tuple, the SYN would match it and leave
without NAT. So the leg gets a port of its own that is no live leg's.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable

from fwlb.daemon.transparent import dial
from fwlb.model import MARK_RELAY_OUT, Endpoint, IPAddress

FIRST_PORT, LAST_PORT = 1024, 32767
"""Below the ports that hosts choose for their own connections (Linux from 32768, others from 49152,
RFC 6335 section 6): a client that dials the same server again must not hit our tuple."""

MAX_TRIES = 8
"""Ports that are tried before the kernel is asked to choose."""

_PORT_TAKEN = {errno.EADDRINUSE, errno.EADDRNOTAVAIL}


class SourcePorts:
    """Which ports live legs use, for each pair of source address and destination.

    `randbelow(n)` gives a random number in 0..n-1 that outsiders cannot guess: whoever knows
    the port can disturb the connection.
    """

    def __init__(self, randbelow: Callable[[int], int]) -> None:
        self._randbelow = randbelow
        self._used: dict[tuple[IPAddress, Endpoint], Counter[int]] = {}

    def __len__(self) -> int:
        return sum(used.total() for used in self._used.values())

    def hold(self, source: Endpoint, destination: Endpoint) -> None:
        """A leg from `source` to `destination` lives, ours or the client's."""
        self._used.setdefault((source.address, destination), Counter())[source.port] += 1

    def release(self, source: Endpoint, destination: Endpoint) -> None:
        """That leg is gone."""
        pair = (source.address, destination)
        used = self._used[pair]
        used[source.port] -= 1
        if not used[source.port]:
            del used[source.port]
        if not used:
            del self._used[pair]

    def choose(self, source: IPAddress, destination: Endpoint) -> int:
        """A random port that no live leg of this pair uses."""
        used = self._used.get((source, destination), Counter())
        span = LAST_PORT - FIRST_PORT + 1
        first = self._randbelow(span)
        for step in range(span):
            port = FIRST_PORT + (first + step) % span
            if port not in used:
                return port
        return FIRST_PORT + first  # all are in use: connect() will say so


async def connect(
    source: IPAddress,
    server: Endpoint,
    ports: SourcePorts,
    *,
    traffic_class: int,
    timeout_s: float,
) -> socket.socket:
    """Connect to `server` as `source`. Raises TimeoutError, or OSError as connect(2) does."""
    async with asyncio.timeout(timeout_s):
        for _ in range(MAX_TRIES):
            port = ports.choose(source, server)
            try:
                return await _connect(source, port, server, traffic_class)
            except OSError as error:
                if error.errno not in _PORT_TAKEN:
                    raise
        return await _connect(source, None, server, traffic_class)


async def _connect(
    source: IPAddress, port: int | None, server: Endpoint, traffic_class: int
) -> socket.socket:
    dialler = dial(source, port, mark=MARK_RELAY_OUT, traffic_class=traffic_class)
    try:
        loop = asyncio.get_running_loop()
        await loop.sock_connect(dialler, (str(server.address), server.port))
    except BaseException:
        dialler.close()
        raise
    return dialler
