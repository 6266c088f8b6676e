"""Which elements a configuration puts into the static sets."""

from ipaddress import ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fwlb.config.models import Config
from fwlb.ruleset.static import static_elements, zone_networks

ZONES = {
    "inside": {"interfaces": ["lan0"], "networks": ["10.0.0.0/8", "fd01::/48"]},
    "outside": {"interfaces": ["wan0", "wan1"]},
}


def config(**more: Any) -> Config:
    return Config.model_validate({"node": {"name": "gw"}, "zones": ZONES, **more})


def test_the_zone_without_networks_has_what_no_other_zone_has() -> None:
    networks = zone_networks(config(), config().zones["outside"], 4)
    assert ip_network("10.0.0.0/8") not in networks
    assert sum(network.num_addresses for network in networks) == 2**32 - 2**24


@given(st.ip_addresses(v=4))
def test_every_address_is_in_exactly_one_zone(address: Any) -> None:
    here = config()
    homes = [
        name
        for name, zone in here.zones.items()
        if any(address in network for network in zone_networks(here, zone, 4))
    ]
    assert homes == ["inside" if address in ip_network("10.0.0.0/8") else "outside"]


def test_sources_are_written_per_interface_and_family() -> None:
    elements = static_elements(config())
    assert '"lan0" . 10.0.0.0/8' in elements["zone_source4"]
    assert '"lan0" . fd01::/48' in elements["zone_source6"]
    assert {text.split(" . ")[0] for text in elements["zone_source6"]} == {
        '"lan0"',
        '"wan0"',
        '"wan1"',
    }


def test_allow_becomes_verdicts_per_interface_pair() -> None:
    allow = [
        {"from": "inside", "to": "outside", "services": ["tcp/21", "udp/8000-8002", "icmp"]},
        {"from": "outside", "to": "inside", "action": "reject"},
        {"from": "inside", "to": "gateway", "services": ["tcp/22"]},
    ]
    elements = static_elements(config(allow=allow))
    assert elements["forward_service"][:4] == [
        '"lan0" . "wan0" . 6 . 21 : accept',
        '"lan0" . "wan0" . 17 . 8000 : accept',
        '"lan0" . "wan0" . 17 . 8001 : accept',
        '"lan0" . "wan0" . 17 . 8002 : accept',
    ]
    assert elements["forward_protocol"] == [
        '"lan0" . "wan0" . 1 : accept',
        '"lan0" . "wan1" . 1 : accept',
    ]
    assert elements["forward_zone"] == [
        '"wan0" . "lan0" : goto refuse',
        '"wan1" . "lan0" : goto refuse',
    ]
    assert elements["input_service"] == ['"lan0" . 6 . 22 : accept']


def test_a_policy_of_reject_answers_between_all_interfaces_not_named_otherwise() -> None:
    allow = [{"from": "inside", "to": "outside"}]
    elements = static_elements(config(allow=allow, policy={"forward": "reject"}))
    assert '"lan0" . "wan0" : accept' in elements["forward_zone"]
    assert '"wan0" . "lan0" : goto refuse' in elements["forward_zone"]
    assert len(elements["forward_zone"]) == 9


def test_nat_is_keyed_by_source_network_and_interface() -> None:
    nat = [
        {
            "from": "inside",
            "to": "outside",
            "ipv4": "snat",
            "ipv4_address": "203.0.113.1",
            "ipv4_ports": "32768-60999",
            "ipv6": "masquerade",
        }
    ]
    elements = static_elements(config(nat=nat))
    assert elements["snat4"][0] == '10.0.0.0/8 . "wan0" : 203.0.113.1'
    assert elements["snat_ports4"][0] == '10.0.0.0/8 . "wan0" : 203.0.113.1 . 32768-60999'
    assert elements["masquerade6"] == ['fd01::/48 . "wan0"', 'fd01::/48 . "wan1"']
    assert "masquerade4" not in elements


def test_a_published_server_is_in_three_places() -> None:
    publish = [{"address": "203.0.113.1", "port": 2021, "to_address": "10.1.0.5", "to_port": 21}]
    elements = static_elements(config(publish=publish))
    assert elements["publish4"] == ["tcp . 203.0.113.1 . 2021 : 10.1.0.5 . 21"]
    assert elements["published4"] == ["tcp . 203.0.113.1 . 2021"]
    assert elements["published_server4"] == ["tcp . 10.1.0.5 . 21"]


def test_ports_that_close_with_the_daemon_are_named_twice() -> None:
    elements = static_elements(
        config(helpers={"ftp": {"ports": [21, 2121], "when_away": "closed"}})
    )
    assert elements["relay_ports"] == elements["relay_closed_ports"] == ["21", "2121"]
    assert "relay_closed_ports" not in static_elements(config())
    assert static_elements(config(helpers={"ftp": {"enabled": False}})).get("relay_ports") is None
