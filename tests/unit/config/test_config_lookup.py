"""What a configuration says about addresses, zones and services."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fwlb.config.load import parse
from fwlb.config.lookup import Masquerade, PortSpan, Snat, Translation, ZoneTable
from fwlb.config.models import Action
from fwlb.model import Endpoint

CONFIG = parse(
    """
    [node]
    name = "gw1"
    [zones.inside]
    interfaces = ["lan0"]
    networks = ["10.1.0.0/16", "fd01::/64"]
    [zones.lab]
    interfaces = ["lab0"]
    networks = ["10.2.0.0/16", "10.3.0.1/32", "fd02::/64"]
    [zones.outside]
    interfaces = ["wan0"]

    [policy]
    forward = "reject"
    input = "drop"

    [[allow]]
    from = "inside"
    to = "outside"
    services = ["tcp/21", "udp/8000-8010", "gre"]
    [[allow]]
    from = "inside"
    to = "outside"
    services = ["proto/6"]
    action = "drop"
    [[allow]]
    from = "lab"
    to = "outside"
    [[allow]]
    from = "lab"
    to = "outside"
    services = ["tcp/25"]
    action = "reject"
    [[allow]]
    from = "inside"
    to = "inside"
    services = ["icmp"]
    [[allow]]
    from = "inside"
    to = "gateway"
    services = ["tcp/22"]

    [[nat]]
    from = "inside"
    to = "outside"
    ipv6 = "snat"
    ipv6_address = "2001:db8::1"
    [[nat]]
    from = "lab"
    to = "outside"
    ipv4 = "snat"
    ipv4_address = "203.0.113.2"
    ipv4_ports = "32768-40000"

    [[publish]]
    address = "203.0.113.1"
    port = 2100
    to_address = "10.1.0.10"
    to_port = 21
    [[publish]]
    protocol = "udp"
    address = "2001:db8::1"
    port = 5060
    to_address = "fd01::10"
    """,
    "fwlb.toml",
)
TABLE = ZoneTable(CONFIG)
WITHOUT_OUTSIDE = ZoneTable(
    parse('[node]\nname="gw1"\n[zones.inside]\ninterfaces=["lan0"]\nnetworks=["10.1.0.0/16"]', "x")
)


@pytest.mark.parametrize(
    ("address", "zone"),
    [
        ("10.1.0.0", "inside"),
        ("10.1.255.255", "inside"),
        ("10.2.0.1", "lab"),
        ("10.3.0.1", "lab"),
        ("10.3.0.2", "outside"),
        ("203.0.113.10", "outside"),
        ("fd01::1", "inside"),
        ("fd02::ffff:ffff:ffff:ffff", "lab"),
        ("fd02:0:0:1::", "outside"),
        ("2001:db8::10", "outside"),
        ("::a01:1", "outside"),  # not 10.1.0.1
    ],
)
def test_the_zone_of_an_address(address: str, zone: str) -> None:
    assert TABLE.zone_of(ip_address(address)) == zone


def test_without_a_zone_for_everything_else_the_rest_is_in_none() -> None:
    assert WITHOUT_OUTSIDE.zone_of(ip_address("10.1.0.1")) == "inside"
    assert WITHOUT_OUTSIDE.zone_of(ip_address("10.2.0.1")) is None
    assert WITHOUT_OUTSIDE.zone_of(ip_address("fd01::1")) is None


@pytest.mark.parametrize(
    ("source", "destination", "translation"),
    [
        ("10.1.0.1", "203.0.113.10", Masquerade()),
        ("10.1.0.1", "10.2.0.1", None),
        ("203.0.113.10", "10.1.0.1", None),
        ("fd01::1", "2001:db8::10", Snat(ip_address("2001:db8::1"))),
        ("10.2.0.1", "8.8.8.8", Snat(ip_address("203.0.113.2"), PortSpan(32768, 40000))),
        ("fd02::1", "2001:db8::10", None),
        ("10.1.0.1", "2001:db8::10", None),  # two families
    ],
)
def test_the_translation_of_a_flow(
    source: str, destination: str, translation: Translation | None
) -> None:
    assert TABLE.translation(ip_address(source), ip_address(destination)) == translation


def test_a_published_server_is_found_by_protocol_address_and_port() -> None:
    public = Endpoint(ip_address("203.0.113.1"), 2100)
    assert TABLE.published("tcp", public) == Endpoint(ip_address("10.1.0.10"), 21)
    assert TABLE.published("udp", public) is None
    assert TABLE.published("tcp", Endpoint(public.address, 21)) is None
    assert TABLE.published("udp", Endpoint(ip_address("2001:db8::1"), 5060)) == Endpoint(
        ip_address("fd01::10"), 5060
    )


@pytest.mark.parametrize(
    ("source", "destination", "protocol", "port", "action"),
    [
        ("inside", "outside", 6, 21, "accept"),  # the port wins over its protocol
        ("inside", "outside", 6, 22, "drop"),
        ("inside", "outside", 6, None, "drop"),
        ("inside", "outside", 17, 8000, "accept"),
        ("inside", "outside", 17, 8010, "accept"),
        ("inside", "outside", 17, 8011, "reject"),
        ("inside", "outside", 17, 7999, "reject"),
        ("inside", "outside", 47, None, "accept"),
        ("inside", "outside", 1, None, "reject"),
        ("lab", "outside", 6, 25, "reject"),  # the port wins over `any`
        ("lab", "outside", 6, 26, "accept"),
        ("lab", "outside", 132, None, "accept"),
        ("outside", "inside", 6, 21, "reject"),
        ("inside", "inside", 1, None, "accept"),
        ("inside", "inside", 6, 21, "reject"),
        ("inside", "gateway", 6, 22, "accept"),
        ("inside", "gateway", 6, 23, "drop"),
        ("outside", "gateway", 6, 22, "drop"),
        (None, "outside", 6, 21, "reject"),
        ("inside", None, 6, 21, "reject"),
        (None, "gateway", 6, 22, "drop"),
    ],
)
def test_a_port_wins_over_its_protocol_over_any_over_the_policy(
    source: str | None, destination: str | None, protocol: int, port: int | None, action: Action
) -> None:
    assert TABLE.action(source, destination, protocol, port) == action
