"""Routing that the relay needs, and what the routing table says about an address.

A packet that `rules/20-relay.nft` marks MARK_RELAY_IN must be delivered to this host although its
destination is somebody else's address:

* one `ip rule` per interface and family: fwmark MARK iif INTERFACE lookup TABLE. The interface is
  named because with `src_valid_mark` (wg-quick sets it) the reverse path check would look at
  the same table without it and drop the packet;
* one route per family in TABLE: local default dev lo.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, ip_address
from pathlib import Path
from struct import Struct
from typing import Any, NamedTuple

from fwlb.errors import KernelError
from fwlb.kernel.netlink import NETLINK_ROUTE, Answer, NetlinkSocket, attribute, attributes
from fwlb.model import IPAddress

RULE_PRIORITY = 100
"""Before rules of others: a marked packet must not be routed by them."""

_RTM_GETADDR, _RTM_GETROUTE = 22, 26  # linux/rtnetlink.h
_ROUTE = Struct("=BBBBBBBBI")
"""struct rtmsg: family, lengths of destination and source, tos, table, protocol, scope, type."""
_ROUTE_TYPE = 7
_RTN_UNICAST = 1
_RTA_DST, _RTA_OIF, _RTA_GATEWAY = 1, 4, 5
_ADDRESS = Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, interface."""
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_IFA_F_SECONDARY = 0x01
_SCOPE_UNIVERSE = 0
_U32 = Struct("=I")

_FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
_RTN_LOCAL = 2  # linux/rtnetlink.h
_DISCARD_PORT = 9  # RFC 863; nothing is ever sent to it


class RelayRoute(NamedTuple):
    """One `ip rule` (with `interface`) or route (without) that fwlb makes. `family` is 4 or 6."""

    family: int
    table: int
    mark: int
    interface: str

    def __str__(self) -> str:
        if self.interface:
            return (
                f"ip -{self.family} rule: fwmark {self.mark:#x}/{self.mark:#x} "
                f"iif {self.interface} lookup {self.table}"
            )
        return f"ip -{self.family} route: local default dev lo table {self.table}"


def wanted_relay_routes(table: int, mark: int, interfaces: Iterable[str]) -> list[RelayRoute]:
    """What the relay needs for these interfaces, in both families that this host has."""
    families = [4, 6] if _has_ipv6() else [4]
    names = ["", *interfaces]
    return [RelayRoute(f, table, mark if name else 0, name) for f in families for name in names]


def _has_ipv6() -> bool:
    """Whether lo takes IPv6 routes: the kernel has IPv6, and no sysctl switches it off."""
    try:
        return Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6").read_text(encoding="ascii") == "0\n"
    except FileNotFoundError:
        return False


def relay_routes(table: int) -> list[RelayRoute]:
    """What is there now: every rule that leads to `table` and every local route in it."""
    found = []
    with _iproute() as ip:
        for family, number in _FAMILIES.items():
            rules = [rule for rule in ip.get_rules(family=number) if _leads_to(rule, table)]
            found += [
                RelayRoute(family, table, rule.get_attr("FRA_FWMARK") or 0, interface)
                for rule in rules
                if (interface := rule.get_attr("FRA_IIFNAME"))
            ]
            found += [
                RelayRoute(family, table, 0, "")
                for route in ip.get_routes(family=number, table=table)
                if route["type"] == _RTN_LOCAL and route["dst_len"] == 0
            ]
    return found


def _leads_to(rule: Any, table: int) -> bool:
    return bool(rule.get_attr("FRA_TABLE") == table)


def add_relay_route(item: RelayRoute) -> None:
    """Add a rule or route; no error when it is there."""
    _change("add", item, there=errno.EEXIST)


def remove_relay_route(item: RelayRoute) -> None:
    """Remove a rule or route; no error when it is gone."""
    _change("del", item, there=errno.ENOENT)


def _change(verb: str, item: RelayRoute, *, there: int) -> None:
    from pyroute2 import NetlinkError

    with _iproute() as ip:
        family = _FAMILIES[item.family]
        try:
            if item.interface:
                ip.rule(
                    verb,
                    family=family,
                    table=item.table,
                    priority=RULE_PRIORITY,
                    fwmark=item.mark,
                    fwmask=item.mark,
                    iifname=item.interface,
                )
            else:
                loopback = socket.if_nametoindex("lo")
                everything = "0.0.0.0/0" if item.family == 4 else "::/0"
                scope = {"scope": "host"} if item.family == 4 else {}
                ip.route(
                    verb,
                    family=family,
                    table=item.table,
                    type="local",
                    dst=everything,
                    oif=loopback,
                    **scope,
                )
        except NetlinkError as error:
            if error.code not in {there, errno.ESRCH if there == errno.ENOENT else there}:
                raise KernelError(
                    f"cannot {verb} {item}: {error.args[-1]}",
                    errno=error.code,
                    hint="is lo up in this network namespace?",
                ) from error


def _iproute() -> Any:
    from pyroute2 import IPRoute

    return IPRoute()


def interfaces() -> dict[str, int]:
    """Names and indexes of the network interfaces of this namespace."""
    return {name: index for index, name in socket.if_nameindex()}


def egress_address(destination: IPAddress) -> IPAddress | None:
    """The address that `masquerade` gives to what leaves towards `destination`, None without a
    route. About 0.1 ms, and always up to date."""
    if isinstance(destination, IPv4Address):
        with NetlinkSocket(NETLINK_ROUTE) as netlink:
            route = _route(netlink, destination)
            address = None if route is None else _select_address(netlink, *route)
        if address is not None:
            return address
    return _source_address(destination)


def _source_address(destination: IPAddress) -> IPAddress | None:
    """What this host itself would use. A connected UDP socket makes the kernel look the route up
    and sends nothing. Masquerading chooses by the same rules for IPv6 (ipv6_dev_get_saddr), and
    for IPv4 where the outgoing interface has no address of its own."""
    with socket.socket(_FAMILIES[destination.version], socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(destination), _DISCARD_PORT))
        except OSError:
            return None
        return ip_address(probe.getsockname()[0])


def _route(netlink: NetlinkSocket, destination: IPv4Address) -> tuple[int, IPv4Address] | None:
    """Interface and next hop towards a destination elsewhere, by RTM_GETROUTE."""
    body = _ROUTE.pack(socket.AF_INET, 32, 0, 0, 0, 0, 0, 0, 0)
    body += attribute(_RTA_DST, destination.packed)
    reply = netlink.query(_RTM_GETROUTE, body, f"route to {destination}")
    if isinstance(reply, Answer) or reply[_ROUTE_TYPE] != _RTN_UNICAST:
        return None
    found = dict(attributes(reply[_ROUTE.size :]))
    next_hop = IPv4Address(found[_RTA_GATEWAY]) if _RTA_GATEWAY in found else destination
    return _U32.unpack(found[_RTA_OIF])[0], next_hop


def _select_address(
    netlink: NetlinkSocket, interface: int, towards: IPv4Address
) -> IPv4Address | None:
    """inet_select_addr() of net/ipv4/devinet.c: the first primary global address of the interface
    in the same network as the next hop, else the first. A route's own `src` does not count."""
    body = _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)
    bodies, _ = netlink.dump(_RTM_GETADDR, body, "addresses of interfaces")
    first = None
    for each in bodies:
        _, prefix, flags, scope, index = _ADDRESS.unpack_from(each)
        if index != interface or flags & _IFA_F_SECONDARY or scope != _SCOPE_UNIVERSE:
            continue
        found = dict(attributes(each[_ADDRESS.size :]))
        local = IPv4Address(found[_IFA_LOCAL])
        if towards in IPv4Network((found[_IFA_ADDRESS], prefix), strict=False):
            return local
        first = first or local
    return first
