"""What the bytes of a set's key or data mean, by the types that the set declares.

nftables knows data types by number (`enum datatypes` in nftables, userspace only: to the kernel
keys are bytes). A concatenation is a number of 6 bits a field, the first field highest, and each of
its fields is padded to four bytes (`TYPE_BITS`, `netlink_padded_len` in nftables). Numbers are in
network byte order except those that the packet path keeps in host order (mark, indexes, ids), and
even these are big-endian in keys of interval sets, where the kernel compares bytes.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

from fwlb.model import FieldValue

VERDICT_TYPE = 0xFFFFFF00
"""The data type of a verdict map (NFT_DATA_VERDICT)."""

_TYPE_BITS = 6
_TYPE_MASK = (1 << _TYPE_BITS) - 1

_VERDICTS = {0: "drop", 1: "accept", 3: "queue", -1: "continue", -2: "break", -5: "return"}
_TO_CHAIN = {-3: "jump", -4: "goto"}


class FieldType:
    """One data type: a number in network byte order, shown as `number` says."""

    def __init__(
        self,
        name: str,
        size_bytes: int,
        *,
        number: Callable[[int], str] = str,
        symbol: Callable[[int], str | None] = lambda _: None,
        host_order: bool = False,
    ) -> None:
        self.name = name
        self.size_bytes = size_bytes
        self.host_order = host_order
        self._number = number
        self._symbol = symbol

    @property
    def code(self) -> str:
        """How `struct` packs what `encode` returns, in network byte order."""
        return {1: "B", 2: "H", 4: "I", 8: "Q"}[self.size_bytes]

    convert: Callable[[FieldValue], int | bytes] | None = None
    """From a value to what `struct` takes, or TypeError; None where that is the value itself."""

    def decode(self, raw: bytes) -> FieldValue:
        return int.from_bytes(raw, "big")

    def text(self, raw: bytes) -> str:
        """The value in nft syntax, as nft prints it. `raw` is in network byte order."""
        value = int.from_bytes(raw, "big")
        return self._symbol(value) or self._number(value)

    def range_text(self, first: bytes, last: bytes) -> str:
        """First to last, both included, as nft prints it: numbers only."""
        low, high = int.from_bytes(first, "big"), int.from_bytes(last, "big")
        return f"{self._number(low)}-{self._number(high)}"


class _Address(FieldType):
    """An IPv4 or IPv6 address; a range that is a network is shown as one."""

    def __init__(self, name: str, kind: type[IPv4Address | IPv6Address]) -> None:
        super().__init__(name, 4 if kind is IPv4Address else 16)
        self._kind = kind
        self._family = socket.AF_INET if kind is IPv4Address else socket.AF_INET6
        self.convert = self._number4 if kind is IPv4Address else self._bytes6

    @property
    def code(self) -> str:
        return "I" if self.size_bytes == 4 else "16s"

    @staticmethod
    def _number4(value: FieldValue) -> int:
        if not isinstance(value, IPv4Address):
            raise TypeError(f"ipv4_addr wants an IPv4Address, not {value!r}")
        return int(value)

    @staticmethod
    def _bytes6(value: FieldValue) -> bytes:
        if not isinstance(value, IPv6Address):
            raise TypeError(f"ipv6_addr wants an IPv6Address, not {value!r}")
        return value.packed

    def decode(self, raw: bytes) -> FieldValue:
        return self._kind(raw)

    def text(self, raw: bytes) -> str:
        return socket.inet_ntop(self._family, raw)

    def range_text(self, first: bytes, last: bytes) -> str:
        low, high = int.from_bytes(first, "big"), int.from_bytes(last, "big")
        size = high - low + 1
        if size & (size - 1) == 0 and low % size == 0:
            return f"{self.text(first)}/{8 * self.size_bytes + 1 - size.bit_length()}"
        return f"{self.text(first)}-{self.text(last)}"


class _InterfaceName(FieldType):
    """An interface name, 16 bytes with NULs at the end; a range is a prefix: `"ppp*"`."""

    def __init__(self) -> None:
        super().__init__("ifname", 16)

    code = "16s"

    def convert(self, value: FieldValue) -> bytes:
        raw = value.encode() if isinstance(value, str) else value
        if not isinstance(raw, bytes) or not 0 < len(raw) < self.size_bytes:
            raise TypeError(f"ifname wants a name of 1 to 15 bytes, not {value!r}")
        return raw

    def decode(self, raw: bytes) -> FieldValue:
        return self._name(raw)

    def text(self, raw: bytes) -> str:
        return f'"{self._name(raw)}"'

    @staticmethod
    def _name(raw: bytes) -> str:
        return raw.rstrip(b"\0").decode(errors="surrogateescape")

    def range_text(self, first: bytes, last: bytes) -> str:
        prefix = first.rstrip(b"\0")
        if last == prefix.ljust(self.size_bytes, b"\xff"):
            return f'"{self._name(prefix)}*"'
        return f"{self.text(first)}-{self.text(last)}"


class _HardwareAddress(FieldType):
    """An Ethernet address."""

    def __init__(self) -> None:
        super().__init__("ether_addr", 6)

    code = "6s"

    def convert(self, value: FieldValue) -> bytes:
        if not isinstance(value, bytes) or len(value) != self.size_bytes:
            raise TypeError(f"ether_addr wants 6 bytes, not {value!r}")
        return value

    def decode(self, raw: bytes) -> FieldValue:
        return raw

    def text(self, raw: bytes) -> str:
        return raw.hex(":")

    def range_text(self, first: bytes, last: bytes) -> str:
        return f"{self.text(first)}-{self.text(last)}"


@cache
def _protocols() -> Mapping[int, str]:
    """Number -> name by /etc/protocols, where nft looks too; the first line of a number counts."""
    names: dict[int, str] = {}
    path = Path("/etc/protocols")
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        words = line.partition("#")[0].split()
        if len(words) >= 2 and words[1].isdecimal():
            names.setdefault(int(words[1]), words[0])
    return names


def _interface(index: int) -> str | None:
    """The name of an interface of this network namespace, as nft shows an index."""
    try:
        return f'"{socket.if_indextoname(index)}"'
    except OSError:
        return None


_ICMP = {
    0: "echo-reply",
    3: "destination-unreachable",
    4: "source-quench",
    5: "redirect",
    8: "echo-request",
    9: "router-advertisement",
    10: "router-solicitation",
    11: "time-exceeded",
    12: "parameter-problem",
    13: "timestamp-request",
    14: "timestamp-reply",
    15: "info-request",
    16: "info-reply",
    17: "address-mask-request",
    18: "address-mask-reply",
}
_ICMPV6 = {
    1: "destination-unreachable",
    2: "packet-too-big",
    3: "time-exceeded",
    4: "parameter-problem",
    128: "echo-request",
    129: "echo-reply",
    130: "mld-listener-query",
    131: "mld-listener-report",
    132: "mld-listener-done",
    133: "nd-router-solicit",
    134: "nd-router-advert",
    135: "nd-neighbor-solicit",
    136: "nd-neighbor-advert",
    137: "nd-redirect",
    138: "router-renumbering",
    141: "ind-neighbor-solicit",
    142: "ind-neighbor-advert",
    143: "mld2-listener-report",
}
_ETHER_TYPES = {0x0800: "ip", 0x0806: "arp", 0x86DD: "ip6", 0x8100: "8021q", 0x88A8: "8021ad"}
_PACKET_TYPES = {0: "host", 1: "broadcast", 2: "multicast", 3: "other"}

# by the numbers of nftables' `enum datatypes`; what is not here is shown by nft alone
FIELD_TYPES: Mapping[int, FieldType] = {
    2: FieldType("nf_proto", 1, symbol={2: "ipv4", 10: "ipv6"}.get),
    7: _Address("ipv4_addr", IPv4Address),
    8: _Address("ipv6_addr", IPv6Address),
    9: _HardwareAddress(),
    10: FieldType("ether_type", 2, number="0x{:04x}".format, symbol=_ETHER_TYPES.get),
    12: FieldType("inet_proto", 1, symbol=lambda value: _protocols().get(value)),
    13: FieldType("inet_service", 2),
    14: FieldType("icmp_type", 1, symbol=_ICMP.get),
    19: FieldType("mark", 4, number="0x{:08x}".format, host_order=True),
    20: FieldType("iface_index", 4, symbol=_interface, host_order=True),
    24: FieldType("uid", 4, host_order=True),
    25: FieldType("gid", 4, host_order=True),
    29: FieldType("icmpv6_type", 1, symbol=_ICMPV6.get),
    31: FieldType("pkt_type", 1, symbol=_PACKET_TYPES.get),
    41: _InterfaceName(),
}


class Layout:
    """The fields of a key or of data, one after the other.

    `big_endian` is for keys of interval sets, where host-order fields are big-endian as well.
    """

    def __init__(self, fields: Sequence[FieldType], *, big_endian: bool = False) -> None:
        self.fields = tuple(fields)
        self.is_concatenated = len(self.fields) > 1
        self._slices: list[tuple[FieldType, int, int, bool]] = []
        self._converters: list[tuple[int, Callable[[FieldValue], int | bytes]]] = []
        start = end = 0
        code = ">"
        for position, field in enumerate(self.fields):
            swapped = field.host_order and not big_endian and sys.byteorder == "little"
            end = start + field.size_bytes
            self._slices.append((field, start, end, swapped))
            if swapped:
                self._converters.append((position, _little_endian(field)))
            elif field.convert is not None:
                self._converters.append((position, field.convert))
            padding = -field.size_bytes % 4
            code += f"{field.size_bytes}s" if swapped else field.code
            code += f"{padding}x" if padding else ""
            start = end + padding
        self.size_bytes = start if self.is_concatenated else end
        """Length of the value; `pack` adds zeros up to a multiple of four, as attributes have."""
        self._pack = struct.Struct(code).pack

    def __str__(self) -> str:
        return " . ".join(field.name for field in self.fields)

    def pack(self, values: Sequence[FieldValue]) -> bytes:
        """Values to bytes. Raises ValueError when they do not fit."""
        arguments: list[Any] = list(values)
        try:
            for position, convert in self._converters:
                arguments[position] = convert(arguments[position])
            return self._pack(*arguments)
        except (struct.error, IndexError, TypeError, OverflowError) as error:
            why = str(error)
            if isinstance(error, struct.error):  # its own words differ between Python versions
                why = "a value is no number, or too large for its field"
            if len(arguments) != len(self.fields):
                why = f"{len(self.fields)} fields wanted, {len(arguments)} given"
            raise ValueError(f"{self} cannot hold {_shown(values)}: {why}") from error

    def unpack(self, raw: bytes) -> tuple[FieldValue, ...]:
        """Bytes to values: addresses, numbers in host order, names, six bytes for Ethernet."""
        return tuple(field.decode(part) for field, part in self._parts(raw))

    def text(self, raw: bytes) -> str:
        """nft syntax: `tcp . 10.1.0.2 . 40001`."""
        return " . ".join([field.text(part) for field, part in self._parts(raw)])

    def range_text(self, first: bytes, last: bytes) -> str:
        """nft syntax for a range in each field, both ends included."""
        return " . ".join(
            field.text(low) if low == high else field.range_text(low, high)
            for (field, low), (_, high) in zip(self._parts(first), self._parts(last), strict=True)
        )

    def _parts(self, raw: bytes) -> list[tuple[FieldType, bytes]]:
        if len(raw) < self.size_bytes:
            raise ValueError(f"{len(raw)} bytes are too few for {self}")
        return [
            (field, raw[start:end][::-1] if swapped else raw[start:end])
            for field, start, end, swapped in self._slices
        ]


def _little_endian(field: FieldType) -> Callable[[FieldValue], bytes]:
    def convert(value: FieldValue) -> bytes:
        if not isinstance(value, int):
            raise TypeError(f"{field.name} wants a number, not {value!r}")
        return value.to_bytes(field.size_bytes, "little")

    return convert


def _shown(values: Sequence[FieldValue]) -> str:
    return " . ".join(
        v if isinstance(v, str) else v.hex(":") if isinstance(v, bytes) else str(v) for v in values
    )


def layout_of(type_number: int, size_bytes: int, *, big_endian: bool = False) -> Layout | None:
    """The layout that a set declares by its type number and key (or data) length, or None for a
    type that this module does not know, or that has another length than it should."""
    numbers: list[int] = []
    rest = type_number
    while rest:
        numbers.insert(0, rest & _TYPE_MASK)
        rest >>= _TYPE_BITS
    fields = [FIELD_TYPES.get(number) for number in numbers]
    known = [field for field in fields if field is not None]
    if not known or len(known) < len(fields):
        return None
    layout = Layout(known, big_endian=big_endian)
    return layout if layout.size_bytes == size_bytes else None


def verdict_text(code: int, chain: str | None) -> str:
    """nft syntax of a verdict (NFTA_VERDICT_CODE, signed): `accept`, `goto refuse`."""
    if code in _TO_CHAIN and chain:
        return f"{_TO_CHAIN[code]} {chain}"
    return _VERDICTS.get(code, str(code))
