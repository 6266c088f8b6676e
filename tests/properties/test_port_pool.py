"""The port pool against a plain model: one dictionary of what every port does."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from itertools import count
from zlib import crc32

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fwlb.config.services import PortSpan
from fwlb.model import Bucket, Protocol
from fwlb.nat.ports import PortBlock, PortPool, blocks_of

HERE = Bucket(0, "gw1")
ADDRESS = ip_address("203.0.113.1")
UDP = Protocol.UDP
HOLD_S, MIN_HOLD_S = 100, 10

SMALL = tuple(PortBlock(HERE, ADDRESS, base, 8) for base in (1024, 1040))
MOVED = tuple(PortBlock(HERE, ADDRESS, base, 8) for base in (1040, 1048))


def dice(seed: int) -> Callable[[int], int]:
    """Numbers without a pattern, the same in every run."""
    throws = count(seed)
    return lambda sides: crc32(next(throws).to_bytes(8, "big")) % sides


class PoolMachine(RuleBasedStateMachine):
    """16 ports in two blocks that do not touch, so that shortage and odd halves are common."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.blocks = SMALL
        self.pool = PortPool(
            SMALL,
            entropy=dice(3),
            hold_s=HOLD_S,
            min_hold_s=MIN_HOLD_S,
        )
        self.in_use: set[int] = set()
        self.given_back: dict[int, float] = {}

    def rested(self, hold_s: float) -> set[int]:
        """Ports that are free and have rested so long."""
        return {
            port
            for block in self.blocks
            for port in range(block.base, block.base + block.size)
            if port not in self.in_use and self.given_back.get(port, -1e9) + hold_s <= self.now
        }

    @rule(prefer=st.none() | st.integers(1020, 1060))
    def take(self, prefer: int | None) -> None:
        free, in_need = self.rested(HOLD_S), self.rested(MIN_HOLD_S)
        # a pair in need wakes ports before their time; those that it did not take are ready too
        free |= self.state()[1]
        port = self.pool.take(UDP, ADDRESS, bucket=HERE, prefer=prefer, now=self.now)
        if port is None:
            assert not in_need
            return
        assert port in (free or in_need)
        if prefer in free:
            assert port == prefer
        elif prefer is not None and {p for p in free if p % 2 == prefer % 2}:
            assert port % 2 == prefer % 2
        self.in_use.add(port)

    def state(self) -> tuple[int, set[int], int]:
        """Ports in use, ready and resting, as the pool sees it."""
        space = self.pool._space(HERE, UDP, ADDRESS)
        assert space is not None
        ready = {n for single in space._single for n in single._ports}
        return len(self.in_use), ready, len(space.resting)

    @rule()
    def take_pair(self) -> None:
        port = self.pool.take_pair(UDP, ADDRESS, bucket=HERE, now=self.now)
        in_need = self.rested(MIN_HOLD_S)
        if port is None:
            assert not any(p % 2 == 0 and p + 1 in in_need for p in in_need)
            return
        assert port % 2 == 0
        assert {port, port + 1} <= in_need
        self.in_use |= {port, port + 1}

    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        if self.in_use:
            port = data.draw(st.sampled_from(sorted(self.in_use)))
            self.pool.give_back(UDP, ADDRESS, port, self.now)
            self.in_use.discard(port)
            self.given_back[port] = self.now

    @rule(seconds=st.sampled_from([1, 10, 60, 100]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(blocks=st.sampled_from([SMALL, MOVED]))
    def replace(self, blocks: tuple[PortBlock, ...]) -> None:
        self.pool.replace(blocks, self.now)
        self.blocks = blocks

    @invariant()
    def every_port_is_in_one_place(self) -> None:
        count, ready, resting = self.state()
        assert not ready & self.in_use
        owned = {p for block in self.blocks for p in range(block.base, block.base + block.size)}
        assert ready <= owned
        assert len(owned) <= count + len(ready) + resting

    @invariant()
    def pairs_are_what_is_ready_side_by_side(self) -> None:
        space = self.pool._space(HERE, UDP, ADDRESS)
        assert space is not None
        _, ready, _ = self.state()
        assert set(space._pairs._ports) == {p for p in ready if p % 2 == 0 and p + 1 in ready}

    def teardown(self) -> None:
        for port in list(self.in_use):
            self.pool.give_back(UDP, ADDRESS, port, self.now)
        self.in_use.clear()
        self.now += HOLD_S
        for port in self.rested(HOLD_S):
            assert self.pool.take(UDP, ADDRESS, bucket=HERE, prefer=port, now=self.now) is not None
        assert self.pool.take(UDP, ADDRESS, bucket=HERE, now=self.now) is None


PoolMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestPortPool = PoolMachine.TestCase


def test_a_full_range_is_used_up_before_any_port_is_used_again() -> None:
    """64512 ports: every port comes once, then the first that were given back."""
    blocks = blocks_of(HERE, ADDRESS, PortSpan(1024, 65535))
    pool = PortPool(blocks, entropy=dice(5))
    taken = []
    for second in range(64512):
        port = pool.take(UDP, ADDRESS, bucket=HERE, now=float(second))
        assert port is not None
        pool.give_back(UDP, ADDRESS, port, now=float(second))
        taken.append(port)
    assert len(set(taken)) > 64512 - 512
    assert min(taken) >= 1024
