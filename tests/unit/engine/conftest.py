"""A gateway without a network: the engine, a clock, a kernel that only remembers elements, and a
helper for a toy protocol. One line is one message:

    LISTEN n address port   the sender listens there for channel n
    AGREE n                 both ends agreed on channel n
    OVER n                  channel n is over
    SECRET                  from here on nobody can read along
    JUNK                    this is not the toy protocol
    BAD                     a wish that is never granted; `NO` is sent instead
    LISTEN! n address port  LISTEN and AGREE in one message (like FTP's 227)
    anything else           passes
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address
from itertools import count
from typing import Any
from zlib import crc32

import pytest

from fwlb.config.models import Config, Helpers
from fwlb.engine import Admitted, Engine, LogEvent, MakeHelper, Opening, Outcome, Rejected, Send
from fwlb.helpers import registry
from fwlb.helpers.contract import (
    ChannelEnded,
    ChannelExpected,
    ChannelOffered,
    Event,
    Forward,
    Refused,
    WentOpaque,
)
from fwlb.model import Change, ChangeKind, Element, Endpoint, IPAddress, Refusal, Side

Key = tuple[str, tuple[Any, ...]]


def dice(seed: int) -> Callable[[int], int]:
    """Numbers without a pattern, the same in every run."""
    throws = count(seed)
    return lambda sides: crc32(next(throws).to_bytes(8, "big")) % sides


class ToyHelper:
    """Keeps to the contract of `StreamHelper`; what it reads is described above."""

    def __init__(
        self, client_addresses: frozenset[IPAddress], server_addresses: frozenset[IPAddress]
    ) -> None:
        self.addresses = {Side.CLIENT: client_addresses, Side.SERVER: server_addresses}
        self._buffers = {Side.CLIENT: b"", Side.SERVER: b""}

    @property
    def buffered_bytes(self) -> int:
        return sum(map(len, self._buffers.values()))

    def receive(self, sender: Side, data: bytes, _now: float) -> list[Event]:
        *lines, self._buffers[sender] = (self._buffers[sender] + data).split(b"\n")
        return [event for line in lines for event in self._read(sender, line + b"\n")]

    def eof(self, sender: Side, _now: float) -> list[Event]:
        rest, self._buffers[sender] = self._buffers[sender], b""
        return [Forward(sender, rest)] if rest else []

    def _read(self, sender: Side, line: bytes) -> list[Event]:
        events: list[Event] = [Forward(sender, line)]
        match line.decode().split():
            case ["LISTEN" | "LISTEN!" as verb, number, address, port]:
                endpoint = Endpoint(ip_address(address), int(port))
                events = [
                    ChannelOffered(
                        sender,
                        int(number),
                        endpoint,
                        line,
                        lambda e: f"{verb} {number} {e.address} {e.port}\n".encode(),
                        b"NO\n",
                    )
                ]
                if verb == "LISTEN!":
                    events.append(ChannelExpected(int(number)))
            case ["AGREE", number]:
                events.insert(0, ChannelExpected(int(number)))
            case ["OVER", number]:
                events.append(ChannelEnded(int(number), "transfer complete"))
            case ["SECRET"]:
                events = [WentOpaque(sender, line, "encrypted")]
            case ["JUNK"]:
                events = [WentOpaque(sender, line, "no toy", Refusal.NOT_THIS_PROTOCOL)]
            case ["BAD"]:
                events = [Refused(sender, Refusal.LOW_PORT, "port 22", line, b"NO\n")]
        return events


class Kernel:
    """Elements with their time-outs. It knows only what it was told, and takes nothing wrong."""

    def __init__(self) -> None:
        self._elements: dict[Key, tuple[Element, float]] = {}

    def apply(self, changes: Sequence[Change], now: float) -> None:
        for change in changes:
            element = change.element
            key = (element.set_name, element.key)
            if change.kind is ChangeKind.DELETE:
                self._elements.pop(key, None)
                continue
            there = self._elements.get(key)
            if change.kind is ChangeKind.ADD and there is not None and there[1] > now:
                assert there[0].data == element.data, f"EEXIST: {element}"
            assert element.timeout_s is not None
            self._elements[key] = (element, now + element.timeout_s)

    def elements(self, now: float) -> dict[Key, tuple[Any, ...] | None]:
        """Key -> data of what is there now."""
        return {key: e.data for key, (e, until) in self._elements.items() if until > now}


class Gateway:
    """What a test plays with. Outcomes are carried out at once, unless the kernel is `broken`."""

    def __init__(self, config: Config, make_helper: MakeHelper | None = None) -> None:
        self.now = 1000.0
        self.kernel = Kernel()
        self.broken: Refusal | None = None
        self.helpers: list[ToyHelper] = []
        self.log: list[LogEvent] = []
        self.engine = Engine(
            config,
            entropy=dice(7),
            make_helper=make_helper or self._make_toy,
        )
        self._opened = 0

    def open(
        self,
        client: str = "10.1.0.2",
        dialled: str = "198.51.100.7",
        *,
        port: int = 21,
        egress: str | None = "203.0.113.1",
        session_id: str = "s1",
    ) -> Admitted | Rejected:
        self._opened += 1
        answer, outcome = self.engine.open(
            Opening(
                session_id,
                "ftp",
                Endpoint(ip_address(client), 50000 + self._opened),
                Endpoint(ip_address(dialled), port),
                ip_address(egress) if egress else None,
            ),
            self.now,
        )
        self.carry_out(session_id, outcome)
        return answer

    def client(self, text: str, session_id: str = "s1") -> str:
        """The client sends `text`; what the server gets."""
        return self._say(session_id, Side.CLIENT, text)

    def server(self, text: str, session_id: str = "s1") -> str:
        """The server sends `text`; what the client gets."""
        return self._say(session_id, Side.SERVER, text)

    def close(self, session_id: str = "s1", why: str = "bye") -> None:
        self.carry_out(session_id, self.engine.close(session_id, self.now, why))

    def wait(self, seconds: float) -> None:
        """Time goes by, tick by tick."""
        end = self.now + seconds
        while (at := self.engine.next_deadline(self.now)) is not None and at <= end:
            self.now = at
            self.carry_out("", self.engine.tick(at))
        self.now = end

    def carry_out(self, session_id: str, outcome: Outcome) -> tuple[Send, ...]:
        self.log += outcome.events
        if self.broken is None or not outcome.changes:
            self.kernel.apply(outcome.changes, self.now)
            return outcome.sends
        reason, self.broken = self.broken, None
        repair = self.engine.kernel_refused(session_id, outcome, reason, self.now)
        self.carry_out(session_id, repair)
        return outcome.sends_if_refused

    def in_kernel(self, of: str = "") -> dict[str, str | None]:
        """What the kernel has now, as text: `set: key` -> data."""
        return {
            f"{name}: {' . '.join(map(str, key))}": " . ".join(map(str, data)) if data else None
            for (name, key), data in self.kernel.elements(self.now).items()
            if name.startswith(of)
        }

    def events(self, *names: str) -> list[dict[str, Any]]:
        """The fields of all log events so far, of these names."""
        return [dict(event.fields) for event in self.log if event.name in names]

    def refusals(self) -> dict[str, int]:
        """The refusal counters that are not zero."""
        counts: dict[str, int] = self.engine.snapshot(self.now)["refusals"]
        return {reason: count for reason, count in counts.items() if count}

    def _say(self, session_id: str, sender: Side, text: str) -> str:
        outcome = self.engine.receive(session_id, sender, text.encode(), self.now)
        sends = self.carry_out(session_id, outcome)
        assert all(send.to is sender.other for send in sends)
        return b"".join(send.data for send in sends).decode()

    def _make_toy(
        self,
        name: str,
        _config: Helpers,
        client_addresses: frozenset[IPAddress],
        server_addresses: frozenset[IPAddress],
    ) -> ToyHelper:
        assert name == "ftp"
        self.helpers.append(ToyHelper(client_addresses, server_addresses))
        return self.helpers[-1]


def configuration(**changes: Any) -> Config:
    """Two zones, masquerading for IPv4, one published server. `changes` replace whole tables."""
    return Config.model_validate(
        {
            "node": {"name": "gw1"},
            "zones": {
                "inside": {"interfaces": ["lan0"], "networks": ["10.1.0.0/24", "fd01::/64"]},
                "outside": {"interfaces": ["wan0"]},
            },
            "allow": [{"from": "inside", "to": "outside", "services": ["tcp/21"]}],
            "nat": [{"from": "inside", "to": "outside"}],
            "publish": [
                {"address": "203.0.113.1", "port": 21, "to_address": "10.1.0.10"},
                {"address": "203.0.113.2", "port": 2100, "to_address": "10.1.0.10", "to_port": 21},
            ],
            **changes,
        }
    )


@pytest.fixture
def gateway() -> Gateway:
    """A gateway with the usual configuration."""
    return Gateway(configuration())


@pytest.fixture
def ftp_gateway() -> Gateway:
    """A gateway with the usual configuration and the real helpers."""
    return Gateway(configuration(), registry.make)


@pytest.fixture
def make_gateway() -> Callable[..., Gateway]:
    """`make_gateway(relay={...})`: one with other tables."""
    return lambda **changes: Gateway(configuration(**changes))


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """`make_config(relay={...})`: a configuration with other tables."""
    return configuration
