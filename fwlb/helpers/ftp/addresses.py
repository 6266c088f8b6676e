"""How FTP writes endpoints: PORT and 227 (RFC 959), EPRT and 229 (RFC 2428).

A parser returns what it found and where, or a `Flaw`. It says nothing about whether the endpoint
may be opened: that is `limits.vet`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from fwlb.helpers.ftp.limits import Flaw
from fwlb.helpers.ftp.lines import Line
from fwlb.model import Endpoint, IPAddress, Refusal

# The look-behind lets a search start only where numbers start: linear time on any text.
_NUMBERS = re.compile(rb"(?<![0-9,])[0-9]+(?:,[0-9]+)+")
# RFC 2428 section 3: the delimiter is any of 33..126. A digit as delimiter cannot be told from
# the port beside it, and readers disagree; nobody sends it, nothing is opened for it.
_DELIMITER = re.compile(rb"[\x21-\x2f\x3a-\x7e]")
_EPSV_REPLY = re.compile(rb"\((" + _DELIMITER.pattern + rb")\1\1([0-9]+)\1\)")
_VERSIONS = {b"1": 4, b"2": 6}  # RFC 2428 section 2: address family numbers
_ADDRESS_TEXT = re.compile(rb"[0-9A-Fa-f:.]{2,45}")


@dataclass(frozen=True, slots=True)
class Commas:
    """`h1,h2,h3,h4,p1,p2` of PORT and 227: IPv4 only."""

    def build(self, endpoint: Endpoint) -> bytes:
        if endpoint.address.version != 4:
            raise ValueError(f"PORT and 227 cannot carry the IPv6 endpoint {endpoint}")
        return ",".join(map(str, [*endpoint.address.packed, *divmod(endpoint.port, 256)])).encode()


@dataclass(frozen=True, slots=True)
class Extended:
    """`|af|address|port|` of EPRT, with the sender's own delimiter where it can stay."""

    delimiter: bytes = b"|"

    def build(self, endpoint: Endpoint) -> bytes:
        family = "1" if endpoint.address.version == 4 else "2"
        fields = [b"", family.encode(), str(endpoint.address).encode(), b"%d" % endpoint.port, b""]
        delimiter = b"|" if self.delimiter in b"".join(fields) else self.delimiter
        return delimiter.join(fields)


@dataclass(frozen=True, slots=True)
class PortOnly:
    """The port of a 229: the address is always the one that the client dialled."""

    def build(self, endpoint: Endpoint) -> bytes:
        return b"%d" % endpoint.port


Style = Commas | Extended | PortOnly


@dataclass(frozen=True, slots=True)
class Announced:
    """An endpoint found in `text[start:end]`, written in `style`."""

    endpoint: Endpoint
    start: int
    end: int
    style: Style


@dataclass(frozen=True, slots=True)
class Rewrite:
    """`ChannelOffered.rewritten`: the message with another endpoint in place of the announced.

    `offset` is where in the line's text the parsed part starts. Raises ValueError for an IPv6
    endpoint in PORT or 227, which cannot carry it.
    """

    line: Line
    announced: Announced
    offset: int = 0

    def __call__(self, endpoint: Endpoint) -> bytes:
        found = self.announced
        if endpoint == found.endpoint:
            return self.line.raw
        new = found.style.build(endpoint)
        return self.line.splice(self.offset + found.start, self.offset + found.end, new)


def parse_port(argument: bytes) -> Announced | Flaw:
    """The argument of PORT (RFC 959 section 5.3.2): six decimal numbers and nothing else."""
    numbers = _NUMBERS.fullmatch(argument)
    if numbers is None:
        return _malformed("PORT wants h1,h2,h3,h4,p1,p2")
    return _from_numbers(numbers)


def parse_pasv_reply(text: bytes) -> Announced | Flaw:
    """A 227 reply: the six numbers wherever they stand (RFC 1123 section 4.1.2.6), with or
    without parentheses or `=`. Twice in one reply is a flaw: readers would disagree."""
    found = [run for run in _NUMBERS.finditer(text) if run[0].count(b",") == 5]
    if len(found) != 1:
        return _malformed(f"227 with {len(found)} times h1,h2,h3,h4,p1,p2 instead of one")
    return _from_numbers(found[0])


def _from_numbers(found: re.Match[bytes]) -> Announced | Flaw:
    fields = found[0].split(b",")
    if len(fields) != 6 or any(len(field) > 3 or int(field) > 255 for field in fields):
        return _malformed("not six numbers of 0..255")
    *host, high, low = map(int, fields)
    endpoint = Endpoint(IPv4Address(bytes(host)), high * 256 + low)
    return Announced(endpoint, found.start(), found.end(), Commas())


def parse_eprt(argument: bytes) -> Announced | Flaw:
    """The argument of EPRT (RFC 2428 section 2): `<d>af<d>address<d>port<d>`."""
    delimiter = argument[:1]
    fields = argument.split(delimiter) if _DELIMITER.fullmatch(delimiter) else []
    if len(fields) != 5 or fields[0] or fields[4] or not fields[1].isdigit():
        return _malformed("EPRT wants |family|address|port|")
    version = _VERSIONS.get(fields[1])
    if version is None:
        return Flaw(Refusal.WRONG_FAMILY, "the address family of EPRT is neither 1 nor 2")
    address = _address(fields[2], version)
    if address is None:
        return Flaw(Refusal.BAD_ADDRESS, f"EPRT without an IPv{version} address")
    port = _port(fields[3])
    if port is None:
        return _malformed("the port of EPRT is not in 0..65535")
    return Announced(Endpoint(address, port), 0, len(argument), Extended(delimiter))


def parse_epsv_reply(text: bytes, address: IPAddress) -> Announced | Flaw:
    """A 229 reply (RFC 2428 section 3): `(<d><d><d>port<d>)`. It names no address; `address` is
    the one to put into the endpoint."""
    found = list(_EPSV_REPLY.finditer(text))
    if len(found) != 1:
        return _malformed(f"229 with {len(found)} times (|||port|) instead of one")
    port = _port(found[0][2])
    if port is None:
        return _malformed("the port of 229 is not in 0..65535")
    return Announced(Endpoint(address, port), found[0].start(2), found[0].end(2), PortOnly())


def _address(text: bytes, version: int) -> IPAddress | None:
    if not _ADDRESS_TEXT.fullmatch(text):  # a scope (%eth0) means nothing to the other side
        return None
    try:
        return IPv4Address(text.decode()) if version == 4 else IPv6Address(text.decode())
    except AddressValueError:
        return None


def _port(text: bytes) -> int | None:
    if not text.isdigit() or len(text) > 5 or int(text) > 65535:
        return None
    return int(text)


def _malformed(detail: str) -> Flaw:
    return Flaw(Refusal.BAD_NUMBER, detail)
