"""The lookups agree with the plainest way to answer the same questions."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from fwlb.config.checks import cross_check
from fwlb.config.draft import complete
from fwlb.config.lookup import ZoneTable
from fwlb.config.models import Config
from fwlb.config.services import parse_service

NAMES = ("inside", "lab", "outside")


def network4(bits: int, length: int) -> str:
    return str(IPv4Network((0x0A000000 | bits, length), strict=False))


def network6(bits: int, length: int) -> str:
    return str(IPv6Network(((0xFD << 120) | bits, length), strict=False))


NETWORKS = st.builds(
    network4, st.integers(0, 2**24 - 1), st.sampled_from([9, 10, 16, 24, 30, 31, 32])
) | st.builds(network6, st.integers(0, 2**120 - 1), st.sampled_from([9, 48, 64, 127, 128]))
PORTS = st.integers(1, 40).flatmap(
    lambda first: st.integers(0, 5).map(lambda more: f"{first}-{first + more}" if more else first)
)
SERVICES = st.builds(lambda name, ports: f"{name}/{ports}", st.sampled_from(["tcp", "udp"]), PORTS)
ANY_SERVICE = SERVICES | st.sampled_from(["any", "icmp", "gre", "proto/6", "proto/17"])
ACTIONS = st.sampled_from(["accept", "drop", "reject"])
ALLOWS = st.fixed_dictionaries(
    {
        "from": st.sampled_from(NAMES),
        "to": st.sampled_from([*NAMES, "gateway"]),
        "services": st.lists(ANY_SERVICE, min_size=1, max_size=4),
        "action": ACTIONS,
    }
)


def config_of(networks: list[list[str]], allow: list[Any], policy: dict[str, str]) -> Config:
    return Config.model_validate(
        {
            "node": {"name": "gw1"},
            "zones": {
                name: {"interfaces": [f"{name}0"], "networks": of_zone}
                for name, of_zone in zip(NAMES, networks, strict=False)
            },
            "allow": allow,
            "policy": policy,
        }
    )


def has_mistakes(config: Config) -> bool:
    return any(True for _ in cross_check(complete(config)))


@given(
    st.lists(st.lists(NETWORKS, min_size=1, max_size=4), min_size=1, max_size=2),
    st.booleans(),
    st.data(),
)
def test_the_zone_of_an_address_is_that_of_the_longest_network_with_it(
    networks: list[list[str]], everything_else: bool, data: st.DataObject
) -> None:
    config = config_of([*networks, *([[]] if everything_else else [])], [], {})
    every = [(network, name) for name, zone in config.zones.items() for network in zone.networks]
    assume(len({network for network, _ in every}) == len(every))
    edges = [int(network[0]) for network, _ in every] + [int(network[-1]) for network, _ in every]
    near = st.sampled_from(edges).flatmap(lambda edge: st.integers(edge - 1, edge + 1))
    number = data.draw(near | st.integers(0, 2**128 - 1))
    address = IPv4Address(number) if number < 2**32 else IPv6Address(number)
    containing = [(network.prefixlen, name) for network, name in every if address in network]
    rest = next((name for name, zone in config.zones.items() if not zone.networks), None)
    assert ZoneTable(config).zone_of(address) == (max(containing)[1] if containing else rest)


@given(
    st.lists(ALLOWS, max_size=8),
    st.fixed_dictionaries({"forward": ACTIONS, "input": ACTIONS}),
    st.sampled_from([None, *NAMES]),
    st.sampled_from([None, *NAMES, "gateway"]),
    st.sampled_from([6, 17, 1, 47, 132]),
    st.none() | st.integers(1, 47),
)
def test_the_action_is_that_of_the_most_specific_service(
    allow: list[Any],
    policy: dict[str, str],
    source: str | None,
    destination: str | None,
    protocol: int,
    port: int | None,
) -> None:
    config = config_of([["10.1.0.0/16"], ["10.2.0.0/16"], []], allow, policy)
    assume(not has_mistakes(config))
    matching = [
        (service.protocol is not None, service.ports is not None, entry.action)
        for entry in config.allow
        if (entry.from_zone, entry.to_zone) == (source, destination)
        for service in map(parse_service, entry.services)
        if service.covers(protocol, port)
    ]
    default = config.policy.input if destination == "gateway" else config.policy.forward
    expected = max(matching)[2] if matching else default
    assert ZoneTable(config).action(source, destination, protocol, port) == expected


@given(st.lists(st.lists(NETWORKS, max_size=5), min_size=1, max_size=3))
def test_overlapping_networks_are_found_if_and_only_if_two_have_an_address_in_common(
    networks: list[list[str]],
) -> None:
    config = config_of(networks, [], {})
    every = [network for zone in config.zones.values() for network in zone.networks]
    overlap = any(
        one.version == other.version and one.overlaps(other)
        for index, one in enumerate(every)
        for other in every[:index]
    )
    said = [finding for finding in cross_check(complete(config)) if "network " in finding.message]
    assert bool(said) is overlap


@given(st.lists(ALLOWS, max_size=6))
def test_services_named_twice_are_found_if_and_only_if_two_are_of_one_port_or_protocol(
    allow: list[Any],
) -> None:
    config = config_of([["10.1.0.0/16"], ["10.2.0.0/16"], []], allow, {})
    exact: set[tuple[object, ...]] = set()
    twice = False
    for entry in config.allow:
        for service in map(parse_service, entry.services):
            ports: list[int | None] = [None]
            if service.ports is not None:
                ports = list(range(service.ports.first, service.ports.last + 1))
            keys = {(entry.from_zone, entry.to_zone, service.protocol, port) for port in ports}
            twice = twice or bool(keys & exact)
            exact |= keys
    assert has_mistakes(config) is twice
