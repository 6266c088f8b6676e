"""Who sees whom by which address, for every kind of translation."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import pytest

from fwlb.config.lookup import ZoneTable
from fwlb.config.models import Config
from fwlb.model import Endpoint, IPAddress, Side
from fwlb.nat.parties import Parties, parties

INSIDE = {"interfaces": ["lan0"], "networks": ["10.1.0.0/24", "fd01::/64"]}
DMZ = {"interfaces": ["dmz0"], "networks": ["10.2.0.0/24", "fd03::/64"]}
OUTSIDE = {"interfaces": ["wan0"]}
PUBLISHED = [
    {"address": "203.0.113.1", "port": 21, "to_address": "10.1.0.10"},
    {"address": "fd02::1", "port": 21, "to_address": "fd01::10", "to_port": 2121},
    {"address": "203.0.113.1", "port": 2121, "to_address": "10.2.0.10", "to_port": 21},
]


def zones(*nat: dict[str, Any]) -> ZoneTable:
    return ZoneTable(
        Config.model_validate(
            {
                "node": {"name": "gw1"},
                "zones": {"inside": INSIDE, "dmz": DMZ, "outside": OUTSIDE},
                "nat": nat,
                "publish": PUBLISHED,
            }
        )
    )


MASQUERADE = {"from": "inside", "to": "outside"}
SNAT = {**MASQUERADE, "ipv4": "snat", "ipv4_address": "203.0.113.99"}
NAT66 = {**MASQUERADE, "ipv6": "masquerade"}


@dataclass(frozen=True)
class Case:
    says: str
    table: ZoneTable
    client: str
    dialled: str
    egress: str
    client_seen: str
    server_real: str
    relay_source: str
    nat_of_client: str | None = None
    nat_of_server: str | None = None
    hairpin: bool = False


CASES = [
    Case(
        "routed: nobody is translated",
        zones(),
        *("10.1.0.2", "198.51.100.7", "203.0.113.1"),
        *("10.1.0.2", "198.51.100.7", "10.1.0.2"),
    ),
    Case(
        "masqueraded: the server sees the address of the outgoing interface",
        zones(MASQUERADE),
        *("10.1.0.2", "198.51.100.7", "203.0.113.1"),
        *("203.0.113.1", "198.51.100.7", "10.1.0.2"),
    ),
    Case(
        "snat: the server sees the configured address",
        zones(SNAT),
        *("10.1.0.2", "198.51.100.7", "203.0.113.1"),
        *("203.0.113.99", "198.51.100.7", "10.1.0.2"),
    ),
    Case(
        "IPv6 beside IPv4 NAT stays routed",
        zones(MASQUERADE),
        *("fd01::2", "2001:db8::7", "fd02::1"),
        *("fd01::2", "2001:db8::7", "fd01::2"),
    ),
    Case(
        "NAT66",
        zones(NAT66),
        *("fd01::2", "2001:db8::7", "fd02::1"),
        *("fd02::1", "2001:db8::7", "fd01::2"),
    ),
    Case(
        "published: the client must be called from the address that it dialled",
        zones(MASQUERADE),
        *("198.51.100.7", "203.0.113.1", "10.1.0.1"),
        *("198.51.100.7", "10.1.0.10", "198.51.100.7"),
        nat_of_server="203.0.113.1",
    ),
    Case(
        "published, IPv6",
        zones(),
        *("2001:db8::7", "fd02::1", "fd01::1"),
        *("2001:db8::7", "fd01::10", "2001:db8::7"),
        nat_of_server="fd02::1",
    ),
    Case(
        "hairpin: the server sees the gateway, so that answers come back through it",
        zones(MASQUERADE),
        *("10.1.0.2", "203.0.113.1", "10.1.0.1"),
        *("10.1.0.1", "10.1.0.10", "10.1.0.1"),
        nat_of_client="10.1.0.1",
        nat_of_server="203.0.113.1",
        hairpin=True,
    ),
    Case(
        "within one zone, dialled by its real address",
        zones(MASQUERADE),
        *("10.1.0.2", "10.1.0.10", "10.1.0.1"),
        *("10.1.0.2", "10.1.0.10", "10.1.0.2"),
    ),
    Case(
        "a published server in another zone is no hairpin",
        zones(MASQUERADE),
        *("10.1.0.2", "203.0.113.1:2121", "10.2.0.1"),
        *("10.1.0.2", "10.2.0.10", "10.1.0.2"),
        nat_of_server="203.0.113.1",
    ),
    Case(
        "a hidden server that was dialled by its real address keeps it when it calls back",
        zones(MASQUERADE),
        *("198.51.100.7", "10.1.0.20", "10.1.0.1"),
        *("198.51.100.7", "10.1.0.20", "198.51.100.7"),
        nat_of_server="10.1.0.20",
    ),
]


def address(text: str | None) -> IPAddress | None:
    return None if text is None else ip_address(text)


def ends(case: Case, egress: IPAddress | None) -> Parties | None:
    host, _, port = case.dialled.partition(":") if "." in case.dialled else (case.dialled, "", "")
    dialled = Endpoint(ip_address(host), int(port or 21))
    server = case.table.published("tcp", dialled) or dialled
    return parties(ip_address(case.client), dialled, server, egress, case.table)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_who_sees_whom(case: Case) -> None:
    who = ends(case, ip_address(case.egress))
    assert who is not None
    assert who.view(Side.CLIENT).real == address(case.client)
    assert who.view(Side.CLIENT).seen == address(case.client_seen)
    assert who.view(Side.SERVER).real == address(case.server_real)
    assert who.view(Side.SERVER).seen == ip_address(case.dialled.removesuffix(":2121"))
    assert who.relay_source == address(case.relay_source)
    assert who.source_nat(Side.CLIENT) == address(case.nat_of_client)
    assert who.source_nat(Side.SERVER) == address(case.nat_of_server)
    assert who.hairpin is case.hairpin


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.says)
def test_without_an_own_address_there_is_no_masquerading(case: Case) -> None:
    needs_egress = case.client_seen == case.egress
    assert (ends(case, None) is None) is needs_egress


def test_an_end_may_call_itself_by_both_addresses() -> None:
    who = ends(CASES[1], ip_address("203.0.113.1"))
    assert who is not None
    assert who.client.addresses == {ip_address("10.1.0.2"), ip_address("203.0.113.1")}
    assert who.client.translated
    assert who.server.addresses == {ip_address("198.51.100.7")}
    assert not who.server.translated
