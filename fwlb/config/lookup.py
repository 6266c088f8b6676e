"""Questions that other parts ask a configuration: zone, translation, published server, action.

Everything here is pure and answers as the nftables rules would for a new flow (`rules/*.nft`).
The configuration must have passed `load`, which refuses overlapping networks and services.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Literal

from fwlb.config.services import GATEWAY, PortSpan, Service, parse_service, parse_span
from fwlb.model import Endpoint, IPAddress

if TYPE_CHECKING:
    from fwlb.config.models import Action, Config, Nat

__all__ = ["Masquerade", "PortSpan", "Service", "Snat", "ZoneTable", "parse_service"]


@dataclass(frozen=True, slots=True)
class Masquerade:
    """The source becomes the gateway's own address on the interface that the flow leaves by."""


@dataclass(frozen=True, slots=True)
class Snat:
    """The source becomes `address`, with a port of `ports` where these are given."""

    address: IPAddress
    ports: PortSpan | None = None


Translation = Masquerade | Snat


@dataclass(slots=True)
class _Spans:
    """Port spans of one protocol that do not overlap, sorted, each with its action."""

    firsts: list[int] = field(default_factory=list)
    lasts: list[int] = field(default_factory=list)
    actions: list[Action] = field(default_factory=list)

    def action(self, port: int) -> Action | None:
        index = bisect_right(self.firsts, port) - 1
        return self.actions[index] if index >= 0 and port <= self.lasts[index] else None


@dataclass(slots=True)
class _Policy:
    """All `[[allow]]` of one pair of zones."""

    services: dict[int, _Spans] = field(default_factory=dict)
    protocols: dict[int, Action] = field(default_factory=dict)
    anything: Action | None = None

    def action(self, protocol: int, port: int | None) -> Action | None:
        if port is not None and protocol in self.services:
            action = self.services[protocol].action(port)
            if action is not None:
                return action
        return self.protocols.get(protocol, self.anything)


class _Networks:
    """Networks of one family -> zone; the longest prefix wins."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._by_shift: dict[int, dict[int, str]] = {}

    def add(self, first_address: int, prefix_length: int, zone: str) -> None:
        shift = self._bits - prefix_length
        self._by_shift.setdefault(shift, {})[first_address >> shift] = zone

    def sort(self) -> None:
        self._by_shift = dict(sorted(self._by_shift.items()))

    def zone_of(self, address: int) -> str | None:
        for shift, zones in self._by_shift.items():
            zone = zones.get(address >> shift)
            if zone is not None:
                return zone
        return None


class ZoneTable:
    """What a configuration says about addresses, zones and services."""

    def __init__(self, config: Config) -> None:
        self._input, self._forward = config.policy.input, config.policy.forward
        self._networks = {4: _Networks(32), 6: _Networks(128)}
        self._everything_else: str | None = None
        for name, zone in config.zones.items():
            if not zone.networks:
                self._everything_else = name
            for network in zone.networks:
                first_address = int(network.network_address)
                self._networks[network.version].add(first_address, network.prefixlen, name)
        for networks in self._networks.values():
            networks.sort()
        self._translations = dict(_translations(config.nat))
        self._published = {
            (entry.protocol, Endpoint(entry.address, entry.port)): Endpoint(
                entry.to_address, entry.to_port or entry.port
            )
            for entry in config.publish
        }
        self._policies = _policies(config)

    def zone_of(self, address: IPAddress) -> str | None:
        """The zone of an address: the most specific network that contains it, else the zone
        without networks; None where no zone is without networks."""
        return self._networks[address.version].zone_of(int(address)) or self._everything_else

    def translation(self, source: IPAddress, destination: IPAddress) -> Translation | None:
        """How the source address of a flow is translated; None where it stays."""
        if source.version != destination.version:
            return None
        pair = (self.zone_of(source), self.zone_of(destination))
        return self._translations.get((*pair, source.version))

    def published(self, protocol: Literal["tcp", "udp"], dialled: Endpoint) -> Endpoint | None:
        """The real endpoint of the server that is published as `dialled`, or None."""
        return self._published.get((protocol, dialled))

    def action(
        self, source_zone: str | None, destination_zone: str | None, protocol: int, port: int | None
    ) -> Action:
        """What happens to a new flow by `[[allow]]` and policy.

        A named port wins over its protocol, the protocol over `any`, `any` over `[policy]`. Flows
        inside one zone are no exception. `destination_zone` `gateway` means this host itself.
        `port` is the destination port, None for protocols without ports.
        """
        policy = None
        if source_zone is not None and destination_zone is not None:
            policy = self._policies.get((source_zone, destination_zone))
        action = policy.action(protocol, port) if policy else None
        if action is not None:
            return action
        return self._input if destination_zone == GATEWAY else self._forward


def _translations(
    entries: Iterable[Nat],
) -> Iterable[tuple[tuple[str | None, str | None, int], Translation]]:
    for nat in entries:
        pair = (nat.from_zone, nat.to_zone)
        ports = parse_span(nat.ipv4_ports) if nat.ipv4_ports else None
        for version, kind, address, span in (
            (4, nat.ipv4, nat.ipv4_address, ports),
            (6, nat.ipv6, nat.ipv6_address, None),
        ):
            if kind == "masquerade":
                yield (*pair, version), Masquerade()
            elif kind == "snat" and isinstance(address, IPv4Address | IPv6Address):
                yield (*pair, version), Snat(address, span)


def _policies(config: Config) -> dict[tuple[str, str], _Policy]:
    policies: dict[tuple[str, str], _Policy] = {}
    spans: dict[tuple[str, str], list[tuple[int, PortSpan, Action]]] = {}
    for allow in config.allow:
        pair = (allow.from_zone, allow.to_zone)
        policy = policies.setdefault(pair, _Policy())
        for service in map(parse_service, allow.services):
            if service.protocol is None:
                policy.anything = allow.action
            elif service.ports is None:
                policy.protocols[service.protocol] = allow.action
            else:
                entry = (service.protocol, service.ports, allow.action)
                spans.setdefault(pair, []).append(entry)
    for pair, entries in spans.items():
        for protocol, span, action in sorted(entries):
            of_protocol = policies[pair].services.setdefault(protocol, _Spans())
            of_protocol.firsts.append(span.first)
            of_protocol.lasts.append(span.last)
            of_protocol.actions.append(action)
    return policies
