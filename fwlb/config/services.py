"""Words of `fwlb.toml` that stand for more: `gateway`, services, port ranges -> frozen values.

Protocol numbers are IANA's ("Assigned Internet Protocol Numbers").
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fwlb.config.mistake import WrongValueError, short, similar

GATEWAY = "gateway"
"""The reserved zone name for this host itself, as the target of `[[allow]]`."""

MAX_PORTS_OF_A_SERVICE = 1024
"""Every port of a service is one exact key in the kernel, so a range must stay short."""

WITH_PORTS = {"tcp": 6, "udp": 17}
WITHOUT_PORTS = {"ah": 51, "esp": 50, "gre": 47, "icmp": 1, "icmpv6": 58, "ipip": 4, "sctp": 132}

_NUMBER = r"(0|[1-9][0-9]{0,5})"
_SPAN = re.compile(rf"{_NUMBER}-{_NUMBER}")
_PORTS = re.compile(rf"{_NUMBER}(?:-{_NUMBER})?")
_EXAMPLES = "examples: `tcp/21`, `udp/8000-8010`, `icmp`, `gre`, `proto/47`, `any`"


@dataclass(frozen=True, slots=True, order=True)
class PortSpan:
    """The ports from `first` to `last`, both included; 1 to 65535, in order."""

    first: int
    last: int

    def __post_init__(self) -> None:
        for port in (self.first, self.last):
            if not 1 <= port <= 65535:
                raise WrongValueError(f"port {port} is out of range", "ports go from 1 to 65535")
        if self.first > self.last:
            raise WrongValueError(
                f"the range {self} ends before it starts", f"write {self.last}-{self.first}"
            )

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __len__(self) -> int:
        return self.last - self.first + 1

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"

    def overlaps(self, other: PortSpan) -> bool:
        """Whether the two have a port in common."""
        return self.first <= other.last and other.first <= self.last

    def whole_blocks(self, size: int = 256) -> range:
        """First ports of the aligned blocks of `size` ports that lie wholly inside.

        The kernel finds a block by `port & 0xff00`, so only aligned blocks count.
        """
        start = -(-self.first // size) * size
        return range(start, self.last - size + 2, size)


def parse_span(text: str) -> PortSpan:
    """Read `first-last`. Raises `WrongValueError`."""
    match = _SPAN.fullmatch(text)
    if not match:
        raise WrongValueError(
            f'"{short(text)}" is no port range', 'write it as "first-last", like "20480-28671"'
        )
    return PortSpan(int(match[1]), int(match[2]))


@dataclass(frozen=True, slots=True)
class Service:
    """What an `[[allow]]` names. `protocol` None is `any`; ports None are all of the protocol."""

    protocol: int | None
    first_port: int | None = None
    last_port: int | None = None

    @property
    def ports(self) -> PortSpan | None:
        """The ports as one value; None where the service has none."""
        if self.first_port is None or self.last_port is None:
            return None
        return PortSpan(self.first_port, self.last_port)

    def covers(self, protocol: int, port: int | None) -> bool:
        """Whether a flow of `protocol` to `port` (None: without ports) is meant."""
        if self.protocol is None:
            return True
        if self.protocol != protocol:
            return False
        return self.ports is None or (port is not None and port in self.ports)

    def __str__(self) -> str:
        if self.protocol is None:
            return "any"
        if self.ports is None:
            names = {number: name for name, number in WITHOUT_PORTS.items()}
            return names.get(self.protocol, f"proto/{self.protocol}")
        names = {number: name for name, number in WITH_PORTS.items()}
        name = names[self.protocol]
        return f"{name}/{self.first_port}" if len(self.ports) == 1 else f"{name}/{self.ports}"


def parse_service(text: str) -> Service:
    """Read one service of an `[[allow]]`. Raises `WrongValueError`."""
    name, slash, rest = text.partition("/")
    if name in WITH_PORTS and slash:
        return _with_ports(text, WITH_PORTS[name], rest)
    if name == "proto" and slash:
        return Service(_protocol_number(text, rest))
    if text == "any":
        return Service(None)
    if text in WITHOUT_PORTS:
        return Service(WITHOUT_PORTS[text])
    raise WrongValueError(f'"{short(text)}" is no service', _advice(text, name, rest))


def _with_ports(text: str, protocol: int, rest: str) -> Service:
    match = _PORTS.fullmatch(rest)
    if not match:
        raise WrongValueError(f'"{short(text)}" has no port number', _EXAMPLES)
    span = PortSpan(int(match[1]), int(match[2] or match[1]))
    if len(span) > MAX_PORTS_OF_A_SERVICE:
        raise WrongValueError(
            f'"{short(text)}" has {len(span)} ports',
            f"a service has at most {MAX_PORTS_OF_A_SERVICE} ports; all ports of the protocol "
            f"are `proto/{protocol}`",
        )
    return Service(protocol, span.first, span.last)


def _protocol_number(text: str, rest: str) -> int:
    if not re.fullmatch(_NUMBER, rest) or not 1 <= int(rest) <= 255:
        raise WrongValueError(
            f'"{short(text)}" has no protocol number', "protocol numbers go from 1 to 255"
        )
    return int(rest)


def _advice(text: str, name: str, rest: str) -> str:
    """What somebody who wrote `text` most likely meant."""
    if text in WITH_PORTS:
        return f"name a port, like `{text}/21`; all ports are `proto/{WITH_PORTS[text]}`"
    if name in WITHOUT_PORTS:
        return f"`{name}` is written without a port"
    if _PORTS.fullmatch(name):
        protocol = rest if rest in WITH_PORTS else "tcp"
        return f"did you mean `{protocol}/{name}`?"
    known = {*WITH_PORTS, *WITHOUT_PORTS, "any", "proto"}
    guess = similar(name, known)
    if guess in WITH_PORTS or guess == "proto":
        return f"did you mean `{guess}/{rest or '21'}`?"
    return f"did you mean `{guess}`?" if guess else _EXAMPLES
