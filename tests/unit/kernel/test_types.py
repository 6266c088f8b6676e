"""A set's type says what its bytes are: packing, unpacking, and text as nft prints it."""

import sys
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import pytest

from fwlb.kernel.types import FIELD_TYPES, VERDICT_TYPE, Layout, layout_of, verdict_text
from fwlb.model import FieldValue, Protocol

NUMBERS = {field.name: number for number, field in FIELD_TYPES.items()}


def layout(*names: str, big_endian: bool = False) -> Layout:
    return Layout([FIELD_TYPES[NUMBERS[name]] for name in names], big_endian=big_endian)


def type_number(*names: str) -> int:
    """As nftables numbers a concatenation: six bits a field."""
    number = 0
    for name in names:
        number = number << 6 | NUMBERS[name]
    return number


PINHOLE4 = layout("inet_proto", "ipv4_addr", "ipv4_addr", "inet_service")


@pytest.mark.parametrize(
    ("names", "values", "raw", "text"),
    [
        (("inet_service",), (443,), "01bb0000", "443"),
        (("ipv4_addr",), (IPv4Address("10.1.0.2"),), "0a010002", "10.1.0.2"),
        (("inet_proto",), (Protocol.TCP,), "06000000", "tcp"),
        (("inet_proto",), (200,), "c8000000", "200"),
        (("ether_addr",), (b"\x02\0\0\0\0\x0a",), "02000000000a0000", "02:00:00:00:00:0a"),
        (("ifname",), ("lan0",), "6c616e30" + "00" * 12, '"lan0"'),
        (("ifname",), (b"lan0",), "6c616e30" + "00" * 12, '"lan0"'),
        (("nf_proto",), (10,), "0a000000", "ipv6"),
        (("ether_type",), (0x86DD,), "86dd0000", "ip6"),
        (("ether_type",), (0x88CC,), "88cc0000", "0x88cc"),
        (("icmp_type",), (8,), "08000000", "echo-request"),
        (("icmpv6_type",), (128,), "80000000", "echo-request"),
        (("pkt_type",), (1,), "01000000", "broadcast"),
        (
            ("inet_proto", "ipv4_addr", "inet_service"),
            (6, IPv4Address("203.0.113.1"), 40001),
            "06000000" + "cb007101" + "9c410000",
            "tcp . 203.0.113.1 . 40001",
        ),
        (
            ("ipv6_addr", "inet_service"),
            (IPv6Address("fd01::2"), 21),
            "fd01" + "00" * 13 + "02" + "00150000",
            "fd01::2 . 21",
        ),
        (("ipv6_addr",), (IPv6Address("::ffff:1.2.3.4"),), "00" * 10 + "ffff01020304", None),
    ],
)
def test_values_bytes_and_text(
    names: tuple[str, ...], values: tuple[FieldValue, ...], raw: str, text: str | None
) -> None:
    packed = layout(*names).pack(values)
    assert packed.hex() == raw
    again = layout(*names).unpack(packed)
    assert again == tuple("lan0" if names == ("ifname",) and v == b"lan0" else v for v in values)
    if text is not None:
        assert layout(*names).text(packed) == text


def test_a_mark_is_in_host_order_except_in_keys_of_ranges() -> None:
    host = layout("mark", "inet_service").pack((0x10, 5))
    network = layout("mark", "inet_service", big_endian=True).pack((0x10, 5))
    assert host[:4] == (0x10).to_bytes(4, sys.byteorder)
    assert network[:4] == b"\0\0\0\x10"
    assert layout("mark", "inet_service").text(host) == "0x00000010 . 5"
    assert layout("mark", "inet_service", big_endian=True).text(network) == "0x00000010 . 5"


@pytest.mark.parametrize(
    ("names", "first", "last", "text"),
    [
        (("ipv4_addr",), ("10.0.0.0",), ("10.255.255.255",), "10.0.0.0/8"),
        (("ipv4_addr",), ("0.0.0.0",), ("255.255.255.255",), "0.0.0.0/0"),
        (("ipv4_addr",), ("10.0.0.1",), ("10.0.0.2",), "10.0.0.1-10.0.0.2"),
        (("ipv6_addr",), ("fd01::",), ("fd01::ffff:ffff:ffff:ffff",), "fd01::/64"),
        (("inet_service",), (1024,), (65535,), "1024-65535"),
        (("inet_proto",), (6,), (17,), "6-17"),
        (("ipv4_addr", "inet_service"), ("10.0.0.0", 5), ("10.0.0.3", 5), "10.0.0.0/30 . 5"),
        (("mark",), (0x10,), (0x1F,), "0x00000010-0x0000001f"),
    ],
)
def test_ranges_are_shown_as_networks_where_they_are(
    names: tuple[str, ...], first: tuple[object, ...], last: tuple[object, ...], text: str
) -> None:
    types = layout(*names, big_endian=True)

    def packed(values: tuple[object, ...]) -> bytes:
        kinds: dict[str, Callable[[Any], Any]] = {
            "ipv4_addr": IPv4Address,
            "ipv6_addr": IPv6Address,
        }
        return types.pack(
            [kinds.get(n, lambda v: v)(v) for n, v in zip(names, values, strict=True)]
        )

    assert types.range_text(packed(first), packed(last)) == text


def test_a_range_of_interface_names_is_a_prefix() -> None:
    types = layout("ifname", big_endian=True)
    assert types.range_text(b"ppp".ljust(16, b"\0"), b"ppp".ljust(16, b"\xff")) == '"ppp*"'
    assert types.range_text(b"a".ljust(16, b"\0"), b"b".ljust(16, b"\0")) == '"a"-"b"'


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ((6, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")), "4 fields wanted, 3 given"),
        ((6, IPv6Address("::1"), IPv4Address("10.0.0.2"), 5), "wants an IPv4Address"),
        ((6, 1, IPv4Address("10.0.0.2"), 5), "wants an IPv4Address"),
        ((6, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), 65536), "too large"),
        ((6, IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), -1), "too large"),
        (("tcp", IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), 5), "no number"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_declared_type(
    values: tuple[FieldValue, ...], why: str
) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        PINHOLE4.pack(values)
    assert "inet_proto . ipv4_addr . ipv4_addr . inet_service cannot hold" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ifname", ""),
        ("ifname", "sixteen-bytes-xx"),
        ("ifname", 5),
        ("ether_addr", b"\0" * 5),
        ("mark", 1 << 32),
        ("mark", "1"),
        ("ipv6_addr", IPv4Address("10.0.0.1")),
    ],
)
def test_single_values_that_do_not_fit(name: str, value: FieldValue) -> None:
    with pytest.raises(ValueError, match=name):
        layout(name).pack((value,))


def test_layouts_come_from_the_numbers_that_a_set_declares() -> None:
    number = type_number("inet_proto", "ipv4_addr", "inet_service")
    assert number == 49613  # what nft gives the kernel for binding_in4
    found = layout_of(number, 12)
    assert found is not None
    assert str(found) == "inet_proto . ipv4_addr . inet_service"


@pytest.mark.parametrize(
    ("number", "size_bytes"),
    [
        (26, 4),  # ct_state: a bitmask, nft alone shows it
        (type_number("ipv4_addr") << 6 | 4, 8),  # a field of type `integer` has no length
        (13, 4),  # a port of four bytes is no port
        (VERDICT_TYPE, 16),
        (0, 0),
    ],
)
def test_unknown_types_have_no_layout(number: int, size_bytes: int) -> None:
    assert layout_of(number, size_bytes) is None


@pytest.mark.parametrize(
    ("code", "chain", "text"),
    [
        (0, None, "drop"),
        (1, None, "accept"),
        (-1, None, "continue"),
        (-3, "c", "jump c"),
        (-4, "refuse", "goto refuse"),
        (-5, None, "return"),
        (7, None, "7"),
    ],
)
def test_verdicts(code: int, chain: str | None, text: str) -> None:
    assert verdict_text(code, chain) == text


def test_too_few_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="too few"):
        PINHOLE4.unpack(b"\0" * 12)
