"""Sets as the kernel has them: what we read is what nft prints, and what nft takes back."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest

from fwlb.errors import ElementMissingError
from fwlb.kernel.sets import SetInfo, dump_elements, read_sets

pytestmark = pytest.mark.netns

# of every static set and map of rules/10-data.nft: elements as nft prints them
STATIC: dict[str, list[str]] = {
    "zone_source4": [
        '"lan0" . 10.1.0.0/24',
        '"lan0" . 10.2.0.1',
        '"wan0" . 0.0.0.0-9.255.255.255',
        '"wan0" . 11.0.0.0/8',
    ],
    "zone_source6": ['"lan0" . fd01::/64', '"wan0" . 2000::/3', '"wan0" . fd02::1-fd02::9'],
    "forward_service": [
        '"lan0" . "wan0" . tcp . 21 : accept',
        '"lan0" . "wan0" . udp . 5060 : drop',
        '"wan0" . "lan0" . tcp . 443 : goto refuse',
    ],
    "forward_protocol": ['"lan0" . "wan0" . icmp : accept', '"lan0" . "wan0" . 253 : drop'],
    "forward_zone": ['"lan0" . "wan0" : accept', '"wan0" . "lan0" : goto refuse'],
    "input_service": ['"lan0" . tcp . 22 : accept', '"wan0" . udp . 53 : drop'],
    "input_protocol": ['"lan0" . ipv6-icmp : accept', '"wan0" . gre : goto refuse'],
    "input_zone": ['"lan0" : accept', '"wan0" : drop', '"fifteen-chars-x" : goto refuse'],
    "masquerade4": ['10.1.0.0/24 . "wan0"', '192.168.0.5-192.168.0.7 . "wan0"'],
    "masquerade6": ['fd01::/64 . "wan0"', '::/0 . "wan1"'],
    "snat4": ['10.1.0.0/24 . "wan0" : 203.0.113.1', '0.0.0.0/0 . "wan1" : 203.0.113.2'],
    "snat6": ['fd01::/64 . "wan0" : 2001:db8::1'],
    "snat_ports4": [
        '10.1.0.0/24 . "wan0" : 203.0.113.1 . 10000-20000',
        '10.2.0.0/24 . "wan0" : 203.0.113.0/30 . 1024-65535',
    ],
    "publish4": [
        "tcp . 203.0.113.1 . 21 : 10.1.0.3 . 21",
        "udp . 203.0.113.1 . 53 : 10.1.0.4 . 53",
    ],
    "publish6": ["tcp . 2001:db8::1 . 21 : fd01::3 . 2121"],
    "published4": ["tcp . 203.0.113.1 . 21", "udp . 203.0.113.1 . 53"],
    "published6": ["tcp . 2001:db8::1 . 21"],
    "published_server4": ["tcp . 10.1.0.3 . 21"],
    "published_server6": ["tcp . fd01::3 . 2121", "tcp . ::ffff:10.1.0.3 . 2121"],
    "relay_ports": ["21", "554", "65535"],
    "relay_closed_ports": ["21"],
}

# declaration: elements, for types and kinds of sets that operators may add in rules.d/table
OTHERS: dict[str, list[str]] = {
    "set a { type ipv4_addr; flags interval; }": [
        "10.0.0.0/8",
        "11.0.0.0-11.0.0.5",
        "11.0.0.6",
        '12.0.0.1 comment "one host"',
        "255.0.0.0/8",
    ],
    "set b { type ipv4_addr; flags interval; auto-merge; }": ["0.0.0.0/0"],
    "set c { type inet_service; flags interval; }": ["0", "10-20", "21-30", "65000-65535"],
    "set d { type ifname; flags interval; }": ['"ppp*"', '"lan0"'],
    "set e { type ifname . mark; flags interval; }": [
        '"ppp*" . 0x00000005-0x00000009',
        '"wan0" . 0x00000100',
    ],
    "set f { type mark; }": ["0x00000010", "0xffffffff"],
    "set g { type mark; flags interval; }": ["0x00000010-0x00000020", "0x00000100"],
    "set h { type ether_addr; }": ["02:00:00:00:00:01", "ff:ff:ff:ff:ff:ff"],
    "set i { type ether_addr; flags interval; }": ["02:00:00:00:00:01-02:00:00:00:00:05"],
    "set j { type inet_proto . ether_addr; }": [
        "tcp . 02:00:00:00:00:01",
        "200 . 02:00:00:00:00:02",
    ],
    "set k { type inet_proto; flags interval; }": ["1-6", "udp"],
    "set l { type nf_proto; }": ["ipv4", "ipv6"],
    "set m { type ether_type; }": ["ip", "arp", "8021q", "ip6", "0x88cc"],
    "set n { type icmp_type; }": ["echo-request", "77"],
    "set o { type icmpv6_type; }": ["nd-neighbor-solicit", "77"],
    "set p { type pkt_type; }": ["host", "broadcast", "multicast", "other"],
    "set q { type iface_index . uid; }": ['"lo" . 1000'],
    "set r { type gid; }": ["0", "1000"],
    "set s { typeof meta mark . ip saddr . th dport; }": ["0x00000001 . 10.0.0.1 . 80"],
    "map t { type ipv4_addr : mark; }": ["10.0.0.1 : 0x00000010"],
    "map u { type inet_service : mark; flags interval; }": [
        "10-20 : 0x00000010",
        "30 : 0x00000001",
    ],
    "map v { type ipv4_addr : verdict; flags interval; }": [
        "10.0.0.0/8 : drop",
        "11.0.0.0/8 : jump c1",
        "12.0.0.0/8 : continue",
        "13.0.0.0/8 : return",
    ],
    "map w { type ipv4_addr : verdict; }": ["10.0.0.1 : accept", "* : drop"],
    "map x { type ipv4_addr : counter; }": ['10.0.0.1 : "n1"'],
    "map y { type mark . inet_service : interval ipv4_addr . inet_service; flags interval; }": [
        "0x00000001 . 1-5 : 1.2.3.4-1.2.3.8 . 1000-2000",
        "0x00000002 . 7 : 1.2.3.0/24 . 7",
    ],
    "map z { type ether_addr : ether_addr; }": ["02:00:00:00:00:01 : 02:00:00:00:00:02"],
}


def texts(namespace: Any, name: str, table: str = "fwlb") -> list[str]:
    def read() -> list[str]:
        return [element.text() for element in dump_elements(read_sets(table)[name])]

    result: list[str] = namespace.call(read)
    return result


def nft_prints(namespace: Any, info: SetInfo) -> list[str]:
    """The elements of a set as nft itself lists them."""
    kind = "map" if info.is_map else "set"
    listing = namespace.run("nft", "list", kind, info.family, info.table, info.name)
    elements = re.search(r"elements = \{(.*?)\}", listing, re.DOTALL)
    assert elements is not None, listing
    return [" ".join(text.split()) for text in elements[1].split(",")]


def add(info: SetInfo, elements: list[str]) -> str:
    return f"add element {info.family} {info.table} {info.name} {{ {', '.join(elements)} }}\n"


def test_every_static_set_of_the_rules_is_among_these(with_rules: Any) -> None:
    infos = with_rules.call(read_sets)
    assert {name for name, info in infos.items() if info.is_static} == STATIC.keys()
    assert not any(info.is_opaque for info in infos.values())


@pytest.mark.parametrize("name", STATIC)
def test_static_sets_are_read_shown_and_made_again(with_rules: Any, name: str) -> None:
    info = with_rules.call(read_sets)[name]
    assert texts(with_rules, name) == []
    with_rules.nft(add(info, STATIC[name]))
    found = texts(with_rules, name)
    assert sorted(found) == sorted(STATIC[name])
    assert sorted(found) == sorted(nft_prints(with_rules, info))
    with_rules.nft(f"flush {'map' if info.is_map else 'set'} inet fwlb {name}\n" + add(info, found))
    assert texts(with_rules, name) == found


@pytest.mark.parametrize("declaration", OTHERS)
def test_sets_of_operators_are_read_shown_and_made_again(namespace: Any, declaration: str) -> None:
    namespace.nft(f"table inet own {{\nchain c1 {{ }}\ncounter n1 {{ }}\n{declaration}\n}}\n")
    [info] = namespace.call(read_sets, "own").values()
    wanted = OTHERS[declaration]
    namespace.nft(add(info, wanted))
    found = texts(namespace, info.name, "own")
    if "auto-merge" not in declaration:
        assert sorted(found) == sorted(wanted)
    assert sorted(found) == sorted(nft_prints(namespace, info))
    namespace.nft(f"flush {'map' if info.is_map else 'set'} inet own {info.name}\n")
    namespace.nft(add(info, found))
    assert texts(namespace, info.name, "own") == found


def test_neighbouring_ranges_of_a_map_stay_two(namespace: Any) -> None:
    """The end of one and the beginning of the other are elements with the same key."""
    namespace.nft("table inet own {\nmap m { type ipv4_addr : mark; flags interval; }\n}\n")
    wanted = ["10.0.0.0/24 : 0x00000001", "10.0.1.0/24 : 0x00000002"]
    namespace.nft(f"add element inet own m {{ {', '.join(wanted)} }}\n")
    assert texts(namespace, "m", "own") == wanted


def test_counters_of_elements_are_no_part_of_them(namespace: Any) -> None:
    namespace.nft("table inet own {\nset s { type ipv4_addr; counter; }\n}\n")
    namespace.nft('add element inet own s { 10.0.0.1, 10.0.0.2 comment "x" }\n')
    assert texts(namespace, "s", "own") == ["10.0.0.1", '10.0.0.2 comment "x"']


@pytest.mark.parametrize(
    "declaration",
    [
        "set s { type ct_state; }",
        "set s { type dscp; }",
        "set s { typeof ip length; }",
        "set s { typeof ip saddr . ip dscp; }",
        "map s { type ipv4_addr : ct_state; }",
        "map s { type ipv4_addr : interval mark; flags interval; }",
    ],
)
def test_types_that_only_nft_can_show_are_opaque(namespace: Any, declaration: str) -> None:
    namespace.nft(f"table inet own {{\n{declaration}\n}}\n")
    [info] = namespace.call(read_sets, "own").values()
    assert info.is_opaque


def test_who_may_change_a_set_is_in_its_flags(with_rules: Any) -> None:
    infos = with_rules.call(read_sets)
    assert not infos["pinhole4"].is_static
    assert infos["relay_alive"].size == 256
    assert infos["binding_in4"].is_map
    assert infos["masquerade4"].is_interval
    assert infos["forward_zone"].has_verdicts
    with_rules.nft("table inet own {\nset s { type mark; flags timeout; timeout 90s; }\n}\n")
    assert with_rules.call(read_sets, "own")["s"].timeout_s == 90


def test_a_missing_table_is_said(namespace: Any) -> None:
    with pytest.raises(ElementMissingError, match="no table inet fwlb"):
        namespace.call(read_sets)
    namespace.nft("table ip fwlb {\nset s { type mark; }\n}\n")
    with pytest.raises(ElementMissingError, match="no table inet fwlb"):
        namespace.call(read_sets)


def test_a_missing_set_is_said(with_rules: Any) -> None:
    info = with_rules.call(read_sets)["relay_ports"]
    with_rules.nft("delete table inet fwlb\n")
    with pytest.raises(ElementMissingError, match="set relay_ports"):
        with_rules.call(dump_elements, info)


def test_ten_thousand_elements_take_a_fraction_of_a_second(with_rules: Any) -> None:
    wanted = [f'"lan{n % 7}" . "wan0" . tcp . {n} : accept' for n in range(1, 10001)]
    infos = with_rules.call(read_sets)
    with_rules.nft(add(infos["forward_service"], wanted))
    start = time.perf_counter()
    found = texts(with_rules, "forward_service")
    took_s = time.perf_counter() - start
    assert sorted(found) == sorted(wanted)
    assert took_s < 1.0  # 0.1 s on an idle core


def test_dumps_end_and_are_right_beside_a_busy_writer(with_rules: Any) -> None:
    infos = with_rules.call(read_sets)
    services = [f'"lan0" . "wan0" . tcp . {n} : accept' for n in range(1, 3001)]
    with_rules.nft(add(infos["forward_service"], services))
    with_rules.nft(add(infos["masquerade4"], STATIC["masquerade4"]))
    with with_rules.busy_writer(5000):
        for _ in range(3):
            assert with_rules.call(read_sets).keys() == infos.keys()
            assert sorted(texts(with_rules, "forward_service")) == sorted(services)
            assert sorted(texts(with_rules, "masquerade4")) == sorted(STATIC["masquerade4"])
