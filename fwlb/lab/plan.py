"""What a lab looks like, as data: hosts, their interfaces, addresses and routes."""

from __future__ import annotations

from dataclasses import dataclass

from fwlb.errors import LabError

LAN4, LAN6 = "10.1.0.0/24", "fd01::/64"
"""The clients' networks."""
WAN4, WAN6 = "203.0.113.0/24", "fd02::/64"
"""The servers' networks."""

_MAX_HOSTS = 100
_IPV6_MIN_MTU_BYTES = 1280


@dataclass(frozen=True, slots=True)
class Addresses:
    """An IPv4 address (/24) and, unless the lab has no IPv6, an IPv6 address (/64)."""

    ipv4: str
    ipv6: str | None


@dataclass(frozen=True, slots=True)
class Port:
    """An interface of a host, and the bridge of the switch that it is plugged into."""

    interface: str
    bridge: str
    addresses: tuple[Addresses, ...]


@dataclass(frozen=True, slots=True)
class HostPlan:
    """One host. `routes` are pairs of destination network and next hop."""

    name: str
    ports: tuple[Port, ...]
    routes: tuple[tuple[str, str], ...] = ()
    forwards: bool = False


@dataclass(frozen=True, slots=True)
class LabOptions:
    """How a lab is built.

    `second_wan_address`: the gateway also has 203.0.113.2 and fd02::2 on `wan0`.
    `route_back4`, `route_back6`: the servers know the way to the clients' network.
    `mtu_bytes` holds for every link.
    """

    clients: int = 2
    servers: int = 2
    ipv6: bool = True
    second_wan_address: bool = False
    route_back4: bool = False
    route_back6: bool = True
    mtu_bytes: int = 1500

    def __post_init__(self) -> None:
        for word, count in (("clients", self.clients), ("servers", self.servers)):
            if not 1 <= count <= _MAX_HOSTS:
                raise LabError(f"{count} {word} asked for: a lab has 1 to {_MAX_HOSTS}")
        if self.ipv6 and self.mtu_bytes < _IPV6_MIN_MTU_BYTES:
            raise LabError(
                f"mtu_bytes is {self.mtu_bytes}: IPv6 needs {_IPV6_MIN_MTU_BYTES} (RFC 8200 5)",
                hint="build the lab without IPv6, or with a larger MTU",
            )


def plan(options: LabOptions) -> list[HostPlan]:
    """Every host of the lab: the gateway, then the clients, then the servers."""

    def addresses(ipv4: str, ipv6: str) -> Addresses:
        return Addresses(ipv4, ipv6 if options.ipv6 else None)

    lan = addresses("10.1.0.1", "fd01::1")
    wan = addresses("203.0.113.1", "fd02::1")
    second = (addresses("203.0.113.2", "fd02::2"),) if options.second_wan_address else ()
    gateway = HostPlan(
        "gw",
        (Port("wan0", "br-wan", (wan, *second)), Port("lan0", "br-lan", (lan,))),
        forwards=True,
    )
    to_outside = [("0.0.0.0/0", lan.ipv4)] + ([("::/0", lan.ipv6)] if lan.ipv6 else [])
    to_inside = [(LAN4, wan.ipv4)] if options.route_back4 else []
    if wan.ipv6 and options.route_back6:
        to_inside.append((LAN6, wan.ipv6))
    clients = [
        HostPlan(
            f"c{number}",
            (Port("eth0", "br-lan", (addresses(f"10.1.0.{n}", f"fd01::{n:x}"),)),),
            tuple(to_outside),
        )
        for number, n in enumerate(range(2, options.clients + 2), 1)
    ]
    servers = [
        HostPlan(
            f"s{number}",
            (Port("eth0", "br-wan", (addresses(f"203.0.113.{n}", f"fd02::{n + 6:x}"),)),),
            tuple(to_inside),
        )
        for number, n in enumerate(range(10, options.servers + 10), 1)
    ]
    return [gateway, *clients, *servers]
