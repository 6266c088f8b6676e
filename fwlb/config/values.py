"""The types of single values in `fwlb.toml`: how each is read, and what it is called in words.

Each reader raises `WrongValueError` for a wrong value; pydantic refuses the wrong TOML type.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticKnownError

from fwlb.config.mistake import WrongValueError, short
from fwlb.config.services import parse_service, parse_span


@dataclass(frozen=True, slots=True)
class Words:
    """What a type is called in messages and in the reference: one of them, and several."""

    one: str
    many: str


_NO_HOST = {
    "unspecified": ("0.0.0.0/8", "::/128"),
    "loopback": ("127.0.0.0/8", "::1/128"),
    "link-local": ("169.254.0.0/16", "fe80::/10"),
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "broadcast": ("255.255.255.255/32",),
    "IPv4-mapped": ("::ffff:0:0/96",),
}
"""Addresses that no host beyond a router can have: RFC 6890, RFC 4291."""
_NO_HOST_NETWORKS = [(kind, ip_network(text)) for kind, texts in _NO_HOST.items() for text in texts]


def _no_host(network: IPv4Network | IPv6Network) -> str | None:
    """The kind of special addresses that `network` contains, or None."""
    for kind, special in _NO_HOST_NETWORKS:
        if network.version == special.version and network.overlaps(special):
            return kind
    return None


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,30}", text):
        raise WrongValueError(
            f'"{short(text)}" is no name',
            "a name starts with a small letter and has small letters, digits, `-` and `_`, "
            "at most 31 in all",
        )
    return text


def _interface_name(text: str) -> str:
    # the kernel's rules (net/core/dev.c, dev_valid_name), and no pattern characters
    if re.search(r"[*?\[\]]", text):
        raise WrongValueError(f'"{short(text)}" is a pattern', "name each interface exactly")
    size_bytes = len(text.encode())
    valid = re.fullmatch(r'[^\s/:"\\]+', text) and text.isprintable() and text not in (".", "..")
    if not valid or size_bytes > 15:
        raise WrongValueError(
            f'"{short(text)}" is no interface name',
            'an interface name has 1 to 15 bytes and no space, `/`, `:`, `"` or backslash',
        )
    if text == "lo":
        raise WrongValueError(
            "the loopback interface belongs to no zone",
            'it leads to this host itself, which is `to = "gateway"` in `[[allow]]`',
        )
    return text


def _text_of(value: object) -> str:
    """Text, or the error of pydantic for a wrong type."""
    if not isinstance(value, str):
        raise PydanticKnownError("string_type")
    return value


def _network(value: object) -> IPv4Network | IPv6Network:
    network = value if isinstance(value, IPv4Network | IPv6Network) else _parse_network(value)
    kind = _no_host(network)
    if network.prefixlen == 0:
        raise WrongValueError(
            f"{network} is every address",
            "leave `networks` out: the zone without networks is everything else",
        )
    if kind:
        raise WrongValueError(
            f"{network} has {kind} addresses", "name the networks that hosts live in"
        )
    return network


def _parse_network(value: object) -> IPv4Network | IPv6Network:
    text = _text_of(value)
    address, slash, prefix = text.partition("/")
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise WrongValueError(
            f'"{short(text)}" is no network', "write it like 10.1.0.0/16 or fd01::/64"
        ) from None
    if "%" in text:
        raise WrongValueError(
            f'"{short(text)}" names an interface', f"write {address.partition('%')[0]}/{prefix}"
        )
    if not slash:
        raise WrongValueError(
            f'"{short(text)}" has no prefix length', f"one address alone is {network}"
        )
    if not prefix.isdecimal():
        raise WrongValueError(
            f'"{short(text)}" has a mask instead of a prefix length', f"write {network}"
        )
    if ip_address(address) != network.network_address:
        raise WrongValueError(f'"{short(text)}" has host bits set', f"the network is {network}")
    return network


def _address(value: object) -> IPv4Address | IPv6Address:
    address = value if isinstance(value, IPv4Address | IPv6Address) else _parse_address(value)
    if kind := _no_host(ip_network(address)):
        raise WrongValueError(
            f"{address} is a{'n' if kind[0] in 'uI' else ''} {kind} address",
            "name an address that a host can be reached under",
        )
    return address


def _parse_address(value: object) -> IPv4Address | IPv6Address:
    text = _text_of(value)
    try:
        address = ip_address(text)
    except ValueError:
        hint = _without_prefix(text) or "write it like 203.0.113.1 or 2001:db8::1"
        raise WrongValueError(f'"{short(text)}" is no address', hint) from None
    if "%" in text:
        raise WrongValueError(
            f'"{short(text)}" names an interface', f"write {text.partition('%')[0]}"
        )
    return address


def _without_prefix(text: str) -> str | None:
    """The hint for an address that was written with its prefix length."""
    bare, slash, _ = text.partition("/")
    try:
        return f"write {ip_address(bare)}, without a prefix length" if slash else None
    except ValueError:
        return None


def _address4(value: object) -> IPv4Address:
    address = _address(value)
    if not isinstance(address, IPv4Address):
        raise WrongValueError(f"{address} is an IPv6 address", "an IPv4 address is needed here")
    return address


def _address6(value: object) -> IPv6Address:
    address = _address(value)
    if not isinstance(address, IPv6Address):
        raise WrongValueError(f"{address} is an IPv4 address", "an IPv6 address is needed here")
    return address


def _port_range(text: str) -> str:
    parse_span(text)
    return text


def _service(text: str) -> str:
    parse_service(text)
    return text


def _absolute(path: Path) -> Path:
    if not path.is_absolute() or "\0" in str(path):
        raise WrongValueError(f'"{short(str(path))}" is no absolute path', "start it with `/`")
    return path


def _sysctl_name(text: str) -> str:
    # as sysctl(8) writes them: a dot in an interface name is a slash here
    part = r"[A-Za-z0-9_][A-Za-z0-9_@:+-]*(?:/[A-Za-z0-9_@:+-]+)*"
    if not re.fullmatch(rf"net(?:\.{part})+", text):
        raise WrongValueError(
            f'"{short(text)}" is no kernel setting below `net.`',
            'write the whole name in quotes: `"net.ipv4.ip_forward" = 1`',
        )
    return text


def _sysctl_value(value: object) -> int | str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise PydanticKnownError("string_type")
    if isinstance(value, int) and value.bit_length() > 64:
        raise WrongValueError("the number has more than 64 bits", "no kernel setting has")
    if isinstance(value, str) and not (value and value.isprintable()):
        raise WrongValueError(
            "the value is empty or has control characters", "write one line of text"
        )
    return value


Action = Literal["accept", "drop", "reject"]
Switch = Annotated[bool, Field(strict=True), Words("`true` or `false`", "`true` or `false`")]
Name = Annotated[str, AfterValidator(_name), Words("a name", "names")]
InterfaceName = Annotated[
    str, AfterValidator(_interface_name), Words("an interface name", "interface names")
]
Port = Annotated[
    int,
    Field(strict=True, ge=1, le=65535),
    Words("a port number from 1 to 65535", "port numbers from 1 to 65535"),
]
PortRange = Annotated[
    str, AfterValidator(_port_range), Words("a port range `first-last`", "port ranges")
]
ServiceText = Annotated[str, AfterValidator(_service), Words("a service", "services")]
Network = Annotated[
    IPv4Network | IPv6Network,
    BeforeValidator(_network),
    Words("an IPv4 or IPv6 network", "IPv4 and IPv6 networks"),
]
Address = Annotated[
    IPv4Address | IPv6Address,
    BeforeValidator(_address),
    Words("an IPv4 or IPv6 address", "IPv4 and IPv6 addresses"),
]
Address4 = Annotated[
    IPv4Address, BeforeValidator(_address4), Words("an IPv4 address", "IPv4 addresses")
]
Address6 = Annotated[
    IPv6Address, BeforeValidator(_address6), Words("an IPv6 address", "IPv6 addresses")
]
AbsolutePath = Annotated[
    Path, AfterValidator(_absolute), Words("an absolute path", "absolute paths")
]
SysctlName = Annotated[
    str, AfterValidator(_sysctl_name), Words("a setting below `net.`", "settings below `net.`")
]
SysctlValue = Annotated[
    int | str, BeforeValidator(_sysctl_value), Words("a number or a text", "numbers or texts")
]
