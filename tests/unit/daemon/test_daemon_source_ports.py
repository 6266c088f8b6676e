"""Source ports of server legs: free among our own legs, unguessable, and given back."""

from __future__ import annotations

import asyncio
import errno
import socket
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwlb.daemon import upstream
from fwlb.daemon.upstream import FIRST_PORT, LAST_PORT, SourcePorts, connect
from fwlb.model import Endpoint

CLIENT = ip_address("10.1.0.2")
SERVER = Endpoint(ip_address("203.0.113.10"), 21)
OTHER = Endpoint(ip_address("203.0.113.11"), 21)


def always(number: int) -> SourcePorts:
    return SourcePorts(lambda _below: number)


@given(st.integers(min_value=0), st.sets(st.integers(FIRST_PORT, LAST_PORT), max_size=50))
def test_a_chosen_port_is_nobodys(number: int, used: set[int]) -> None:
    ports = SourcePorts(lambda below: number % below)
    for port in used:
        ports.hold(Endpoint(CLIENT, port), SERVER)
    chosen = ports.choose(CLIENT, SERVER)
    assert FIRST_PORT <= chosen <= LAST_PORT
    assert chosen not in used


def test_a_port_counts_only_for_its_pair() -> None:
    ports = always(0)
    ports.hold(Endpoint(CLIENT, FIRST_PORT), SERVER)
    assert ports.choose(CLIENT, SERVER) == FIRST_PORT + 1
    assert ports.choose(CLIENT, OTHER) == FIRST_PORT
    assert ports.choose(ip_address("10.1.0.3"), SERVER) == FIRST_PORT


def test_the_last_holder_gives_a_port_back() -> None:
    ports = always(0)
    leg = Endpoint(CLIENT, FIRST_PORT)
    ports.hold(leg, SERVER)
    ports.hold(leg, SERVER)
    ports.release(leg, SERVER)
    assert ports.choose(CLIENT, SERVER) == FIRST_PORT + 1
    ports.release(leg, SERVER)
    assert ports.choose(CLIENT, SERVER) == FIRST_PORT
    assert len(ports) == 0


def test_the_search_goes_round() -> None:
    ports = always(LAST_PORT - FIRST_PORT)
    ports.hold(Endpoint(CLIENT, LAST_PORT), SERVER)
    assert ports.choose(CLIENT, SERVER) == FIRST_PORT


def test_when_every_port_is_used_the_kernel_has_the_word() -> None:
    ports = always(5)
    for port in range(FIRST_PORT, LAST_PORT + 1):
        ports.hold(Endpoint(CLIENT, port), SERVER)
    assert ports.choose(CLIENT, SERVER) == FIRST_PORT + 5


async def connected(monkeypatch: pytest.MonkeyPatch, outcomes: list[int]) -> list[int | None]:
    """Ports that are tried when each try ends with one errno of `outcomes` (0: it connects)."""
    tried: list[int | None] = []

    async def attempt(
        _source: object, port: int | None, _server: object, _traffic_class: int
    ) -> socket.socket:
        tried.append(port)
        number = outcomes[len(tried) - 1]
        if number:
            raise OSError(number, "as told")
        return socket.socket()

    monkeypatch.setattr(upstream, "_connect", attempt)
    numbers = iter(range(100))
    connection = await connect(
        CLIENT, SERVER, SourcePorts(lambda _below: next(numbers)), traffic_class=0, timeout_s=1
    )
    connection.close()
    return tried


def test_a_taken_port_is_followed_by_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = asyncio.run(connected(monkeypatch, [errno.EADDRINUSE, errno.EADDRNOTAVAIL, 0]))
    assert tried == [FIRST_PORT, FIRST_PORT + 1, FIRST_PORT + 2]


def test_after_many_taken_ports_the_kernel_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = asyncio.run(connected(monkeypatch, [errno.EADDRNOTAVAIL] * upstream.MAX_TRIES + [0]))
    assert tried[-1] is None
    assert len(tried) == upstream.MAX_TRIES + 1


def test_a_refusal_of_the_server_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionRefusedError):
        asyncio.run(connected(monkeypatch, [errno.ECONNREFUSED]))
