"""Public ports: blocks of them, and which port is free.

A port is public knowledge once it is announced, and guessing the next one is the first step of
stealing a data connection. So ports are drawn at random (`entropy`) from those that are ready.
A port that was given back rests, because the peers and conntrack remember its last flow for a
while (TIME_WAIT: 120 s), and the longest rested come back first, only as they are needed.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise

from fwlb.config.services import PortSpan
from fwlb.model import Bucket, IPAddress, Protocol

Entropy = Callable[[int], int]
"""entropy(n) is a number from 0 to n - 1 that nobody can guess (`secrets.randbelow`)."""

HOLD_S = 120.0
"""How long a port rests after use: as long as conntrack's TIME_WAIT."""
MIN_HOLD_S = 5.0
"""How long it rests at least, when no other port is left."""
READY_PORTS = 256
"""Rested ports come back while fewer than this are ready: few enough that a port is used again
late, enough that the next one cannot be guessed."""


@dataclass(frozen=True, slots=True)
class PortBlock:
    """`size` ports of one public address from `base` on, aligned; they belong to `bucket`."""

    bucket: Bucket
    address: IPAddress
    base: int
    size: int = 256

    def __post_init__(self) -> None:
        if self.size < 2 or self.size & (self.size - 1):
            raise ValueError(f"block size {self.size} is no power of two")
        if self.base % self.size or not 0 < self.base <= 65536 - self.size:
            raise ValueError(f"block base {self.base} is not aligned to {self.size} or no port")

    def __contains__(self, port: int) -> bool:
        return self.base <= port < self.base + self.size


def blocks_of(bucket: Bucket, address: IPAddress, span: PortSpan) -> tuple[PortBlock, ...]:
    """The whole aligned blocks of 256 ports in `span`."""
    return tuple(PortBlock(bucket, address, base) for base in span.whole_blocks() if base)


@dataclass(frozen=True, slots=True)
class PortUsage:
    """How many ports of one public address are in use, resting after use, and ready."""

    protocol: Protocol
    address: IPAddress
    in_use: int
    resting: int
    ready: int


class PortPool:
    """Which ports are free, for every bucket, protocol and public address by itself.

    Every call is O(1) (amortised); memory is about 10 bytes for every port of a space that was
    used at all, and a little for each port in use.
    """

    def __init__(
        self,
        blocks: Iterable[PortBlock] = (),
        *,
        entropy: Entropy,
        hold_s: float = HOLD_S,
        min_hold_s: float = MIN_HOLD_S,
    ) -> None:
        self._entropy = entropy
        self._holds_s = (hold_s, min_hold_s)
        self._blocks: dict[tuple[int, IPAddress], list[PortBlock]] = {}
        self._spaces: dict[tuple[int, Protocol, IPAddress], _Space] = {}
        self._in_use: dict[tuple[Protocol, IPAddress, int], _Space] = {}
        self.replace(blocks, now=0.0)

    @property
    def addresses(self) -> frozenset[IPAddress]:
        """The public addresses that have blocks."""
        return frozenset(address for _, address in self._blocks)

    def owns(self, bucket: Bucket, address: IPAddress) -> bool:
        """Whether `bucket` has blocks of `address`."""
        return (bucket.number, address) in self._blocks

    def replace(self, blocks: Iterable[PortBlock], now: float) -> None:
        """Use these blocks from now on. Ports in use stay booked and resting ports go on resting,
        also where their block is gone. Raises ValueError when two blocks overlap."""
        owned: dict[tuple[int, IPAddress], list[PortBlock]] = {}
        for block in _without_overlap(blocks):
            owned.setdefault((block.bucket.number, block.address), []).append(block)
        self._blocks = owned
        booked: dict[_Space, set[int]] = {}
        for (_, _, port), space in self._in_use.items():
            booked.setdefault(space, set()).add(port)
        for (bucket, protocol, address), space in list(self._spaces.items()):
            blocks_now = owned.get((bucket, address), [])
            if blocks_now or space in booked or space.rests(now):
                space.reshape(blocks_now, booked.get(space, set()))
            else:
                del self._spaces[bucket, protocol, address]

    def take(
        self,
        protocol: Protocol,
        address: IPAddress,
        *,
        bucket: Bucket,
        prefer: int | None = None,
        now: float,
    ) -> int | None:
        """A free port of `address`: `prefer` itself, else one of the same parity, else any; None
        when all are in use or only just given back."""
        space = self._space(bucket, protocol, address)
        port = space.take(prefer, self._entropy, now) if space else None
        if space and port is not None:
            self._in_use[protocol, address, port] = space
        return port

    def take_pair(
        self, protocol: Protocol, address: IPAddress, *, bucket: Bucket, now: float
    ) -> int | None:
        """Two free ports side by side, an even one and the next (RTP and RTCP, RFC 3550 section
        11); the answer is the even one. Each is given back by itself."""
        space = self._space(bucket, protocol, address)
        port = space.take_pair(self._entropy, now) if space else None
        if space and port is not None:
            self._in_use[protocol, address, port] = space
            self._in_use[protocol, address, port + 1] = space
        return port

    def give_back(self, protocol: Protocol, address: IPAddress, port: int, now: float) -> None:
        """End the use of a port. Raises ValueError when it is not in use."""
        space = self._in_use.pop((protocol, address, port), None)
        if space is None:
            raise ValueError(f"{protocol.name} port {port} of {address} is not in use")
        space.resting.append((port, now))

    def idle(self, address: IPAddress, now: float) -> bool:
        """Whether no port of `address` is in use or resting."""
        if any(used == address for _, used, _ in self._in_use):
            return False
        spaces = [space for (_, _, of), space in self._spaces.items() if of == address]
        return not any(space.rests(now) for space in spaces)

    def usage(self) -> list[PortUsage]:
        """One line for each protocol and address that was used since its blocks came."""
        in_use: dict[_Space, int] = {}
        for space in self._in_use.values():
            in_use[space] = in_use.get(space, 0) + 1
        return [
            PortUsage(protocol, address, in_use.get(space, 0), len(space.resting), space.ready)
            for (_, protocol, address), space in self._spaces.items()
        ]

    def _space(self, bucket: Bucket, protocol: Protocol, address: IPAddress) -> _Space | None:
        key = (bucket.number, protocol, address)
        if key not in self._spaces:
            blocks = self._blocks.get((bucket.number, address))
            if not blocks:
                return None
            self._spaces[key] = _Space(blocks, self._holds_s)
        return self._spaces[key]


class _Space:
    """The ports of one bucket, protocol and address that are not in use: ready or resting."""

    def __init__(self, blocks: list[PortBlock], holds_s: tuple[float, float]) -> None:
        self.resting: deque[tuple[int, float]] = deque()
        self._hold_s, self._min_hold_s = holds_s
        self._blocks: list[PortBlock] = []
        self._single = (_PortSet(0, 0), _PortSet(0, 0))
        self._pairs = _PortSet(0, 0)
        self.reshape(blocks, set())

    def reshape(self, blocks: list[PortBlock], in_use: set[int]) -> None:
        """Own these blocks from now on; ports of them are ready unless in use or resting."""
        if blocks == self._blocks:
            return
        first = min((block.base for block in blocks), default=0)
        last = max((block.base + block.size for block in blocks), default=0)
        self._blocks = blocks
        self._single = (_PortSet(first, last), _PortSet(first, last))
        self._pairs = _PortSet(first, last)
        away = in_use | {port for port, _ in self.resting}
        for block in blocks:
            for port in range(block.base, block.base + block.size):
                if port not in away:
                    self._add(port)

    @property
    def ready(self) -> int:
        return len(self._single[0]) + len(self._single[1])

    def rests(self, now: float) -> bool:
        """Whether a port has not rested long enough."""
        return bool(self.resting) and self.resting[-1][1] + self._hold_s > now

    def take(self, prefer: int | None, entropy: Entropy, now: float) -> int | None:
        self._top_up(now)
        if not self.ready and not self._wake_oldest(now, self._min_hold_s):
            return None
        if prefer is not None and prefer in self._single[prefer & 1]:
            port = prefer
        else:
            port = self._draw(prefer, entropy)
        self._remove(port)
        return port

    def take_pair(self, entropy: Entropy, now: float) -> int | None:
        self._top_up(now)
        for hold_s in (self._hold_s, self._min_hold_s):
            while not len(self._pairs) and self._wake_oldest(now, hold_s):
                pass
        if not len(self._pairs):
            return None
        port = self._pairs.at(entropy(len(self._pairs)))
        self._remove(port)
        self._remove(port + 1)
        return port

    def _draw(self, like: int | None, entropy: Entropy) -> int:
        """Any ready port, of the parity of `like` when there is one."""
        even, odd = self._single
        if like is not None and len(self._single[like & 1]):
            chosen = self._single[like & 1]
            return chosen.at(entropy(len(chosen)))
        number = entropy(len(even) + len(odd))
        return even.at(number) if number < len(even) else odd.at(number - len(even))

    def _top_up(self, now: float) -> None:
        while self.ready < READY_PORTS and self._wake_oldest(now, self._hold_s):
            pass

    def _wake_oldest(self, now: float, hold_s: float) -> bool:
        """Make the port that rested longest ready, if it rested for `hold_s`."""
        while self.resting and self.resting[0][1] + hold_s <= now:
            port, _ = self.resting.popleft()
            if any(port in block for block in self._blocks):
                self._add(port)
                return True
        return False

    def _add(self, port: int) -> None:
        self._single[port & 1].add(port)
        if port ^ 1 in self._single[~port & 1]:
            self._pairs.add(port & ~1)

    def _remove(self, port: int) -> None:
        self._single[port & 1].discard(port)
        self._pairs.discard(port & ~1)


def _without_overlap(blocks: Iterable[PortBlock]) -> list[PortBlock]:
    """The blocks in order of address and port. Raises ValueError when two overlap."""
    ordered = sorted(blocks, key=lambda b: (b.address.version, int(b.address), b.base))
    for one, other in pairwise(ordered):
        if one.address == other.address and other.base in one:
            raise ValueError(f"two blocks hold port {other.base} of {one.address}")
    return ordered


class _PortSet:
    """A set of ports of one parity from `first` to before `last`, numbered for random choice."""

    def __init__(self, first: int, last: int) -> None:
        self._first = first
        self._ports = array("H")
        self._place = array("i", [-1]) * ((last - first) // 2)

    def __len__(self) -> int:
        return len(self._ports)

    def __contains__(self, port: int) -> bool:
        place = (port - self._first) // 2
        return 0 <= place < len(self._place) and self._place[place] >= 0

    def at(self, number: int) -> int:
        return self._ports[number]

    def add(self, port: int) -> None:
        self._place[(port - self._first) // 2] = len(self._ports)
        self._ports.append(port)

    def discard(self, port: int) -> None:
        if port not in self:
            return
        number = self._place[(port - self._first) // 2]
        last = self._ports.pop()
        if last != port:
            self._ports[number] = last
            self._place[(last - self._first) // 2] = number
        self._place[(port - self._first) // 2] = -1
