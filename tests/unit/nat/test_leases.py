"""Which public port stands for which inside endpoint."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fwlb.config.services import PortSpan
from fwlb.model import Bucket, Endpoint, Protocol
from fwlb.nat.leases import PublicPorts

TCP = Protocol.TCP
PUBLIC, OTHER, THIRD = (ip_address(f"203.0.113.{n}") for n in (1, 2, 3))
INSIDE = Endpoint(ip_address("10.1.0.2"), 40001)


def ports(max_addresses: int = 64) -> PublicPorts:
    span = PortSpan(20480, 20735)
    return PublicPorts(span, Bucket(0, "gw1"), entropy=lambda n: n - 1, max_addresses=max_addresses)


def test_the_same_endpoint_has_the_same_public_port_while_it_is_used() -> None:
    public = ports()
    one, again = (public.lease(TCP, INSIDE, PUBLIC, now=0) for _ in range(2))
    assert one is not None
    assert one == again
    public.give_back(TCP, INSIDE, one, now=0)
    assert public.usage()[0].in_use == 1
    public.give_back(TCP, INSIDE, one, now=0)
    assert public.usage()[0].in_use == 0


def test_another_endpoint_or_another_public_address_has_another_port() -> None:
    public = ports()
    neighbour = Endpoint(ip_address("10.1.0.3"), 40001)
    leases = {
        public.lease(TCP, INSIDE, PUBLIC, now=0),
        public.lease(TCP, neighbour, PUBLIC, now=0),
        public.lease(TCP, INSIDE, OTHER, now=0),
        public.lease(Protocol.UDP, INSIDE, THIRD, now=0),
    }
    assert len(leases) == 4
    assert None not in leases


def test_the_inside_port_is_kept_where_it_is_free() -> None:
    public = ports()
    kept = Endpoint(ip_address("10.1.0.2"), 20500)
    assert public.lease(TCP, kept, PUBLIC, now=0) == Endpoint(PUBLIC, 20500)


def test_nothing_is_left() -> None:
    public = ports()
    for port in range(256):
        assert public.lease(TCP, Endpoint(INSIDE.address, 30000 + port), PUBLIC, now=0)
    assert public.lease(TCP, INSIDE, PUBLIC, now=0) is None


def test_give_back_what_was_not_leased() -> None:
    public = ports()
    with pytest.raises(ValueError, match="is not leased"):
        public.give_back(TCP, INSIDE, Endpoint(PUBLIC, 20480), now=0)


def test_addresses_are_bounded_and_unused_ones_make_room() -> None:
    public = ports(max_addresses=2)
    first = public.lease(TCP, INSIDE, PUBLIC, now=0)
    assert first is not None
    assert public.lease(TCP, INSIDE, OTHER, now=0) is not None
    assert public.lease(TCP, INSIDE, THIRD, now=0) is None
    public.give_back(TCP, INSIDE, first, now=0)
    assert public.lease(TCP, INSIDE, THIRD, now=119) is None
    assert public.lease(TCP, INSIDE, THIRD, now=120) is not None


def test_a_changed_range_holds_for_new_leases() -> None:
    public = ports()
    old = public.lease(TCP, INSIDE, PUBLIC, now=0)
    public.reconfigure(PortSpan(30720, 30975), Bucket(0, "gw1"), now=0)
    assert public.lease(TCP, INSIDE, PUBLIC, now=0) == old
    other = public.lease(TCP, Endpoint(INSIDE.address, 40002), PUBLIC, now=0)
    assert other is not None
    assert 30720 <= other.port <= 30975
