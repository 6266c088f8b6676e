"""Builds what a plan says: namespaces, one switch with two bridges, cables, addresses, routes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from fwlb.errors import LabError
from fwlb.lab import namespaces
from fwlb.lab.plan import HostPlan, LabOptions, Port

SWITCH = "sw"
"""The namespace that holds the bridges."""

_IFA_F_NODAD = 0x02
_SYSCTLS = Path("/proc/sys/net")


def build(plans: Sequence[HostPlan], options: LabOptions, name: Callable[[str], str]) -> None:
    """Make every namespace of `plans` and connect them. `name` gives the namespace of a host.

    LabError when the kernel refuses something; what exists by then is left to the caller.
    """
    try:
        _make_namespace(name(SWITCH), ipv6=False)
        for plan in plans:
            _make_namespace(name(plan.name), ipv6=options.ipv6)
        namespaces.call_in(name(SWITCH), lambda: _connect(plans, options, name))
        for plan in plans:
            namespaces.call_in(name(plan.name), _configuration(plan, ipv6=options.ipv6))
    except (NetlinkError, OSError) as error:
        raise LabError(f"cannot build the lab: {error}") from error


def _make_namespace(name: str, *, ipv6: bool) -> None:
    namespaces.create(name)

    def prepare() -> None:
        for scope in ("all", "default"):
            conf = _SYSCTLS / "ipv6/conf" / scope
            (conf / "disable_ipv6").write_text(f"{int(not ipv6)}\n")
            # addresses are usable at once, and nobody advertises routers here
            (conf / "accept_dad").write_text("0\n")
            (conf / "accept_ra").write_text("0\n")

    namespaces.call_in(name, prepare)


def _connect(plans: Sequence[HostPlan], options: LabOptions, name: Callable[[str], str]) -> None:
    """In the switch: the bridges, and a cable to every port of every host."""
    with IPRoute() as network:
        bridges: dict[str, int] = {}
        for plan in plans:
            for port in plan.ports:
                if port.bridge not in bridges:
                    bridges[port.bridge] = _add_bridge(network, port.bridge)
                here = f"{plan.name}-{port.interface}"
                there = {
                    "ifname": port.interface,
                    "net_ns_fd": name(plan.name),
                    "mtu": options.mtu_bytes,
                }
                network.link("add", ifname=here, kind="veth", peer=there, mtu=options.mtu_bytes)
                index = _index(network, here)
                network.link("set", index=index, master=bridges[port.bridge], state="up")


def _add_bridge(network: IPRoute, bridge: str) -> int:
    # no listening and learning delay; multicast (neighbour discovery) goes everywhere
    network.link("add", ifname=bridge, kind="bridge", br_forward_delay=0, br_mcast_snooping=0)
    index = _index(network, bridge)
    network.link("set", index=index, state="up")
    return index


def _configuration(plan: HostPlan, *, ipv6: bool) -> Callable[[], None]:
    """In a host: addresses, routes, forwarding."""

    def configure() -> None:
        with IPRoute() as network:
            network.link("set", index=_index(network, "lo"), state="up")
            for port in plan.ports:
                _configure_port(network, port)
            for destination, next_hop in plan.routes:
                network.route("add", dst=destination, gateway=next_hop)
        if plan.forwards:
            (_SYSCTLS / "ipv4/ip_forward").write_text("1\n")
            if ipv6:
                (_SYSCTLS / "ipv6/conf/all/forwarding").write_text("1\n")

    return configure


def _configure_port(network: IPRoute, port: Port) -> None:
    index = _index(network, port.interface)
    network.link("set", index=index, state="up")
    for addresses in port.addresses:
        network.addr("add", index=index, address=addresses.ipv4, prefixlen=24)
    # among equal IPv6 addresses the kernel prefers the one that was added last
    for addresses in reversed(port.addresses):
        if addresses.ipv6 is not None:
            network.addr(
                "add", index=index, address=addresses.ipv6, prefixlen=64, flags=_IFA_F_NODAD
            )


def _index(network: IPRoute, interface: str) -> int:
    (index,) = network.link_lookup(ifname=interface)
    return int(index)
