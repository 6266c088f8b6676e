"""The relay's routing, the address that masquerading uses, settings and interfaces."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from fwlb.errors import HostError
from fwlb.kernel import routes, sysctl
from fwlb.kernel.links import create_links, interface_names
from fwlb.kernel.routes import RelayRoute

pytestmark = pytest.mark.netns

TABLE, MARK = 2121, 0x01000000


@pytest.fixture
def host(namespace: Any) -> Any:
    """A gateway with two interfaces towards nobody."""
    namespace.run("ip", "link", "set", "lo", "up")
    namespace.call(create_links, ["lan0", "lan0-peer", "wan0", "wan0-peer"])
    for link, *addresses in (
        ("lan0", "10.1.0.1/24", "fd01::1/64"),
        ("wan0", "203.0.113.1/24", "198.51.100.7/24", "203.0.113.2/24", "fd02::1/64"),
    ):
        for name in (link, f"{link}-peer"):
            namespace.run("ip", "link", "set", name, "up")
        for address in addresses:
            nodad = ["nodad"] if ":" in address else []
            namespace.run("ip", "address", "add", address, "dev", link, *nodad)
    return namespace


def egress(host: Any, destination: str) -> str | None:
    address = host.call(routes.egress_address, ip_address(destination))
    return None if address is None else str(address)


# --- the relay's routing -------------------------------------------------------------------------


def test_the_relays_routing_comes_goes_and_is_read_back(host: Any) -> None:
    wanted = routes.wanted_relay_routes(TABLE, MARK, ["lan0", "wan0"])
    assert len(wanted) == 6  # two rules and a route, for two families
    for _ in range(2):  # again is no error
        for item in wanted:
            host.call(routes.add_relay_route, item)
        assert sorted(host.call(routes.relay_routes, TABLE)) == sorted(wanted)
    shown = host.run("ip", "rule") + host.run("ip", "route", "show", "table", str(TABLE))
    assert "from all fwmark 0x1000000/0x1000000 iif lan0 lookup 2121" in shown
    assert "local default dev lo" in shown
    assert "local default dev lo" in host.run("ip", "-6", "route", "show", "table", str(TABLE))
    for _ in range(2):
        for item in wanted:
            host.call(routes.remove_relay_route, item)
        assert host.call(routes.relay_routes, TABLE) == []
    assert "2121" not in host.run("ip", "rule") + host.run("ip", "-6", "rule")


def test_routing_of_others_is_not_the_relays(host: Any) -> None:
    host.run("ip", "rule", "add", "fwmark", "5", "lookup", "99")
    host.run("ip", "route", "add", "default", "via", "203.0.113.9", "table", "99")
    assert host.call(routes.relay_routes, TABLE) == []
    assert host.call(routes.relay_routes, 99) == []


def test_routing_reads_as_ip_writes_it() -> None:
    rule, route = RelayRoute(4, TABLE, MARK, "lan0"), RelayRoute(6, TABLE, 0, "")
    assert str(rule) == "ip -4 rule: fwmark 0x1000000/0x1000000 iif lan0 lookup 2121"
    assert str(route) == "ip -6 route: local default dev lo table 2121"


# --- the address that others see -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("destination", "address"),
    [
        ("203.0.113.10", "203.0.113.1"),  # not the secondary address of the same network
        ("198.51.100.9", "198.51.100.7"),
        ("10.1.0.2", "10.1.0.1"),
        ("fd02::10", "fd02::1"),
        ("fd01::2", "fd01::1"),
        ("192.0.2.1", None),
        ("2001:db8::1", None),
    ],
)
def test_the_egress_address_is_the_primary_one_of_the_network(
    host: Any, destination: str, address: str | None
) -> None:
    assert egress(host, destination) == address


@pytest.mark.parametrize("source", [[], ["src", "203.0.113.2"], ["src", "10.1.0.1"]])
def test_it_is_what_masquerade_takes_whatever_source_a_route_prefers(
    host: Any, source: list[str]
) -> None:
    host.run("ip", "route", "add", "default", "via", "198.51.100.1", "dev", "wan0", *source)
    assert egress(host, "192.0.2.1") == "198.51.100.7"
    # ask the kernel: a masqueraded packet, as conntrack sees it
    host.nft(
        "table ip t {\nchain c {\ntype nat hook postrouting priority 100\nmasquerade\n}\n"
        "chain f {\ntype filter hook output priority 0\nct state new counter\n}\n}\n"
    )
    host.run("ip", "neighbour", "add", "198.51.100.1", "lladdr", "02:00:00:00:00:01", "dev", "wan0")
    code = "import socket; s = socket.socket(type=socket.SOCK_DGRAM)\n"
    code += "s.bind(('10.1.0.1', 0)); s.sendto(b'x', ('192.0.2.1', 9))"
    host.run("python3", "-c", code)
    tracked = host.run("conntrack", "-L", "-p", "udp", "-d", "192.0.2.1")
    assert "dst=198.51.100.7" in tracked


def test_an_interface_without_address_borrows_one(host: Any) -> None:
    host.call(create_links, ["ppp0", "ppp0-peer"])
    host.run("ip", "link", "set", "ppp0", "up")
    host.run("ip", "route", "add", "192.0.2.0/24", "dev", "ppp0")
    assert egress(host, "192.0.2.1") in {"10.1.0.1", "203.0.113.1"}


def test_the_hosts_own_addresses_need_no_gateway(host: Any) -> None:
    assert egress(host, "203.0.113.1") == "203.0.113.1"


def test_changes_count_at_once(host: Any) -> None:
    assert egress(host, "192.0.2.1") is None
    host.run("ip", "route", "add", "default", "via", "203.0.113.9")
    assert egress(host, "192.0.2.1") == "203.0.113.1"
    host.run("ip", "address", "del", "203.0.113.1/24", "dev", "wan0")
    host.run("ip", "address", "add", "203.0.113.77/24", "dev", "wan0")
    host.run("ip", "route", "replace", "default", "via", "203.0.113.9")
    assert egress(host, "192.0.2.1") == "203.0.113.77"


# --- interfaces and settings ---------------------------------------------------------------------


def test_interfaces_have_names_and_indexes(host: Any) -> None:
    found = host.call(routes.interfaces)
    assert found["lo"] == 1
    assert {"lan0", "wan0"} < found.keys()


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_scratch_interfaces_of_any_number(namespace: Any, count: int) -> None:
    names = [f"eth{n}.{n}" for n in range(count)]
    namespace.call(create_links, names)
    assert set(names) <= set(namespace.call(interface_names))


@pytest.mark.parametrize("name", ["sixteen-bytes-xx", "a/b", "lo"])
def test_a_name_that_no_interface_can_have(namespace: Any, name: str) -> None:
    with pytest.raises(HostError, match=name):
        namespace.call(create_links, [name])


def test_settings_belong_to_the_namespace(namespace: Any) -> None:
    before = sysctl.read("net.ipv4.ip_forward")
    other = "0" if namespace.call(sysctl.read, "net.ipv4.ip_forward") == "1" else "1"
    namespace.call(sysctl.write, "net.ipv4.ip_forward", other)
    assert namespace.call(sysctl.read, "net.ipv4.ip_forward") == other
    assert sysctl.read("net.ipv4.ip_forward") == before


def test_a_dot_in_an_interface_name_is_written_as_a_slash(namespace: Any) -> None:
    namespace.call(create_links, ["eth0.100"])
    namespace.call(sysctl.write, "net.ipv4.conf.eth0/100.rp_filter", "2")
    assert namespace.call(sysctl.read, "net.ipv4.conf.eth0/100.rp_filter") == "2"


def test_unknown_settings_and_values_are_errors(namespace: Any) -> None:
    with pytest.raises(HostError, match=r"cannot read net\.ipv4\.nothing"):
        namespace.call(sysctl.read, "net.ipv4.nothing")
    with pytest.raises(HostError, match=r"cannot set net\.ipv4\.ip_forward = nonsense"):
        namespace.call(sysctl.write, "net.ipv4.ip_forward", "nonsense")
