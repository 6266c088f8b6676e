"""The plan of a lab: who is where, with which addresses and routes."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fwlb.errors import LabError
from fwlb.lab.plan import LAN4, LAN6, WAN4, WAN6, HostPlan, LabOptions, plan

options_that_work = st.builds(
    LabOptions,
    clients=st.integers(1, 100),
    servers=st.integers(1, 100),
    ipv6=st.booleans(),
    second_wan_address=st.booleans(),
    route_back4=st.booleans(),
    route_back6=st.booleans(),
)


def addresses_of(plans: list[HostPlan], bridge: str) -> list[str]:
    """Every address that is plugged into `bridge`."""
    found = []
    for host in plans:
        for port in host.ports:
            if port.bridge == bridge:
                for pair in port.addresses:
                    found += [address for address in (pair.ipv4, pair.ipv6) if address]
    return found


@given(options=options_that_work)
def test_every_address_is_unique_and_in_its_network(options: LabOptions) -> None:
    plans = plan(options)
    for bridge, networks in (("br-lan", (LAN4, LAN6)), ("br-wan", (WAN4, WAN6))):
        addresses = [ip_address(address) for address in addresses_of(plans, bridge)]
        assert len(set(addresses)) == len(addresses)
        allowed = [ip_network(network) for network in networks]
        assert all(any(address in network for network in allowed) for address in addresses)


@given(options=options_that_work)
def test_next_hops_are_the_gateway_on_the_same_bridge(options: LabOptions) -> None:
    gateway, *others = plan(options)
    assert gateway.forwards
    assert not any(host.forwards for host in others)
    for host in others:
        for destination, next_hop in host.routes:
            assert next_hop in addresses_of([gateway], host.ports[0].bridge)
            assert ip_address(next_hop).version == ip_network(destination).version


def test_names_count_from_one() -> None:
    names = [host.name for host in plan(LabOptions(clients=2, servers=3))]
    assert names == ["gw", "c1", "c2", "s1", "s2", "s3"]


def test_servers_know_the_clients_only_as_asked() -> None:
    def to_inside(options: LabOptions) -> set[str]:
        return {destination for destination, _ in plan(options)[-1].routes}

    assert to_inside(LabOptions()) == {LAN6}
    assert to_inside(LabOptions(route_back4=True, route_back6=False)) == {LAN4}
    assert to_inside(LabOptions(ipv6=False)) == set()


def test_without_ipv6_no_host_has_an_ipv6_address() -> None:
    plans = plan(LabOptions(ipv6=False, second_wan_address=True))
    everything = addresses_of(plans, "br-lan") + addresses_of(plans, "br-wan")
    assert all(ip_address(address).version == 4 for address in everything)
    assert {destination for host in plans for destination, _ in host.routes} == {"0.0.0.0/0"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clients": 0}, "0 clients asked for: a lab has 1 to 100"),
        ({"servers": 101}, "101 servers asked for"),
        ({"mtu_bytes": 1279}, "IPv6 needs 1280"),
    ],
)
def test_impossible_labs_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(LabError, match=message):
        LabOptions(**wrong)  # type: ignore[arg-type]


def test_a_small_mtu_is_fine_without_ipv6() -> None:
    assert LabOptions(mtu_bytes=576, ipv6=False).mtu_bytes == 576
