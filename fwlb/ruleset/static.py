"""The static elements: what the configuration puts into the sets and maps of `rules/10-data.nft`.

The values are nft text, so that `fwlb render` prints them as an operator would write them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    collapse_addresses,
    summarize_address_range,
)
from itertools import product

from fwlb.config.lookup import Service, parse_service
from fwlb.config.models import GATEWAY, Action, Config, Network, Zone

VERDICTS: dict[Action, str] = {"accept": "accept", "drop": "drop", "reject": "goto refuse"}

Elements = dict[str, list[str]]


def static_elements(config: Config) -> Elements:
    """Set name -> nft text of its elements, in the order of the configuration."""
    elements: dict[str, dict[str, None]] = {}  # ordered, each text once
    for part in (
        _zone_sources(config),
        _forward_policy(config),
        _input_policy(config),
        _source_nat(config),
        _published(config),
        _relay_ports(config),
    ):
        for name, text in part:
            elements.setdefault(name, {})[text] = None
    return {name: list(texts) for name, texts in elements.items()}


def _quoted(interface: str) -> str:
    return f'"{interface}"'


def _zone_sources(config: Config) -> Iterator[tuple[str, str]]:
    for zone in config.zones.values():
        for interface, version in product(zone.interfaces, (4, 6)):
            for network in zone_networks(config, zone, version):
                yield f"zone_source{version}", f"{_quoted(interface)} . {network}"


def zone_networks(config: Config, zone: Zone, version: int) -> Sequence[Network]:
    """Networks of one family whose hosts belong to `zone`. A zone without networks has what no
    other zone has."""
    if zone.networks:
        return [network for network in zone.networks if network.version == version]
    others = [network for other in config.zones.values() for network in other.networks]
    if version == 4:
        taken4 = collapse_addresses(n for n in others if isinstance(n, IPv4Network))
        return _networks(IPv4Address, 2**32, taken4)
    taken6 = collapse_addresses(n for n in others if isinstance(n, IPv6Network))
    return _networks(IPv6Address, 2**128, taken6)


def _networks(
    address: type[IPv4Address | IPv6Address], end: int, taken: Iterable[Network]
) -> list[Network]:
    """The networks between those in `taken`, which are sorted and do not overlap."""
    rest: list[Network] = []
    free = 0
    for network in [*taken, None]:
        first = end if network is None else int(network.network_address)
        if first > free:
            rest.extend(summarize_address_range(address(free), address(first - 1)))
        free = end if network is None else int(network.broadcast_address) + 1
    return rest


def _forward_policy(config: Config) -> Iterator[tuple[str, str]]:
    said: set[tuple[str, str]] = set()
    for allow in config.allow:
        if allow.to_zone == GATEWAY:
            continue
        for source, target in _interface_pairs(config, allow.from_zone, allow.to_zone):
            pair = f"{_quoted(source)} . {_quoted(target)}"
            for text in allow.services:
                service = parse_service(text)
                if service.protocol is None:
                    said.add((source, target))
                yield from _verdicts("forward", pair, service, allow.action)
    if config.policy.forward == "reject":  # a chain policy cannot reject, an element can
        interfaces = [name for zone in config.zones.values() for name in zone.interfaces]
        for source, target in product(interfaces, interfaces):
            if (source, target) not in said:
                yield (
                    "forward_zone",
                    f"{_quoted(source)} . {_quoted(target)} : {VERDICTS['reject']}",
                )


def _input_policy(config: Config) -> Iterator[tuple[str, str]]:
    said: set[str] = set()
    for allow in config.allow:
        if allow.to_zone != GATEWAY:
            continue
        for interface in config.zones[allow.from_zone].interfaces:
            for text in allow.services:
                service = parse_service(text)
                if service.protocol is None:
                    said.add(interface)
                yield from _verdicts("input", _quoted(interface), service, allow.action)
    if config.policy.input == "reject":
        for zone in config.zones.values():
            for interface in zone.interfaces:
                if interface not in said:
                    yield "input_zone", f"{_quoted(interface)} : {VERDICTS['reject']}"


def _interface_pairs(config: Config, source: str, target: str) -> Iterable[tuple[str, str]]:
    return product(config.zones[source].interfaces, config.zones[target].interfaces)


def _verdicts(chain: str, key: str, service: Service, action: Action) -> Iterator[tuple[str, str]]:
    verdict = VERDICTS[action]
    if service.protocol is None:
        yield f"{chain}_zone", f"{key} : {verdict}"
    elif service.first_port is None or service.last_port is None:
        yield f"{chain}_protocol", f"{key} . {service.protocol} : {verdict}"
    else:
        for port in range(service.first_port, service.last_port + 1):
            yield f"{chain}_service", f"{key} . {service.protocol} . {port} : {verdict}"


def _source_nat(config: Config) -> Iterator[tuple[str, str]]:
    for nat in config.nat:
        for version, mode, address, ports in (
            (4, nat.ipv4, nat.ipv4_address, nat.ipv4_ports),
            (6, nat.ipv6, nat.ipv6_address, None),
        ):
            if mode == "none":
                continue
            networks = zone_networks(config, config.zones[nat.from_zone], version)
            for network, interface in product(networks, config.zones[nat.to_zone].interfaces):
                key = f"{network} . {_quoted(interface)}"
                if mode == "masquerade":
                    yield f"masquerade{version}", key
                    continue
                if ports is not None:
                    yield f"snat_ports{version}", f"{key} : {address} . {ports}"
                yield f"snat{version}", f"{key} : {address}"


def _published(config: Config) -> Iterator[tuple[str, str]]:
    for entry in config.publish:
        version = entry.address.version
        public = f"{entry.protocol} . {entry.address} . {entry.port}"
        server_port = entry.to_port or entry.port
        yield f"publish{version}", f"{public} : {entry.to_address} . {server_port}"
        yield f"published{version}", public
        yield f"published_server{version}", f"{entry.protocol} . {entry.to_address} . {server_port}"


def _relay_ports(config: Config) -> Iterator[tuple[str, str]]:
    for _, helper in config.helpers:
        if helper.enabled:
            for port in helper.ports:
                yield "relay_ports", str(port)
                if helper.when_away == "closed":
                    yield "relay_closed_ports", str(port)
