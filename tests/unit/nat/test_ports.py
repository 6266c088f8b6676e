"""Public ports: which one is next, when a port may be used again, and who owns it."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from itertools import count, pairwise
from zlib import crc32

import pytest

from fwlb.config.services import PortSpan
from fwlb.model import Bucket, Protocol
from fwlb.nat.ports import READY_PORTS, PortBlock, PortPool, blocks_of

HERE = Bucket(0, "gw1")
ONE, TWO = ip_address("203.0.113.1"), ip_address("2001:db8::1")
TCP, UDP = Protocol.TCP, Protocol.UDP


def dice(seed: int) -> Callable[[int], int]:
    """Numbers without a pattern, the same in every run."""
    throws = count(seed)
    return lambda sides: crc32(next(throws).to_bytes(8, "big")) % sides


def pool(span: str = "20480-20735", **options: float) -> PortPool:
    first, _, last = span.partition("-")
    blocks = blocks_of(HERE, ONE, PortSpan(int(first), int(last)))
    return PortPool(blocks, entropy=dice(1), **options)


def take(ports: PortPool, now: float, prefer: int | None = None) -> int:
    port = ports.take(TCP, ONE, bucket=HERE, prefer=prefer, now=now)
    assert port is not None
    return port


def take_all(ports: PortPool, now: float) -> list[int]:
    taken = []
    while (port := ports.take(TCP, ONE, bucket=HERE, now=now)) is not None:
        taken.append(port)
    return taken


class TestBlocks:
    def test_only_whole_aligned_blocks_count(self) -> None:
        bases = [block.base for block in blocks_of(HERE, ONE, PortSpan(20481, 21503))]
        assert bases == [20736, 20992, 21248]

    def test_a_span_without_a_whole_block_has_none(self) -> None:
        assert blocks_of(HERE, ONE, PortSpan(20481, 20990)) == ()

    def test_the_last_block_of_all(self) -> None:
        (block,) = blocks_of(HERE, ONE, PortSpan(65280, 65535))
        assert 65535 in block
        assert 65279 not in block

    @pytest.mark.parametrize(("base", "size"), [(100, 256), (0, 256), (65536, 256), (768, 3)])
    def test_a_block_that_the_kernel_could_not_mask_is_an_error(self, base: int, size: int) -> None:
        with pytest.raises(ValueError, match="block"):
            PortBlock(HERE, ONE, base, size)

    def test_two_owners_of_one_port_are_an_error(self) -> None:
        other = Bucket(1, "gw2")
        with pytest.raises(ValueError, match="two blocks hold port 20480"):
            PortPool([PortBlock(HERE, ONE, 20480), PortBlock(other, ONE, 20480)], entropy=int)

    def test_a_bucket_takes_only_from_its_own_blocks(self) -> None:
        other = Bucket(1, "gw2")
        ports = PortPool(
            [PortBlock(HERE, ONE, 20480), PortBlock(other, ONE, 20736)], entropy=lambda n: n - 1
        )
        mine, theirs = take_all(ports, 0), ports.take(TCP, ONE, bucket=other, now=0)
        assert sorted(mine) == list(range(20480, 20736))
        assert theirs in range(20736, 20992)


class TestTake:
    def test_every_port_once(self) -> None:
        assert sorted(take_all(pool(), now=0)) == list(range(20480, 20736))

    def test_the_order_cannot_be_guessed_from_the_numbers(self) -> None:
        taken = take_all(pool(), now=0)
        assert sum(b - a == 1 for a, b in pairwise(taken)) < 10

    def test_the_order_is_what_entropy_says(self) -> None:
        asked: list[int] = []

        def zero(below: int) -> int:
            asked.append(below)
            return 0

        ports = PortPool(blocks_of(HERE, ONE, PortSpan(20480, 20735)), entropy=zero)
        take(ports, 0), take(ports, 0)
        assert asked == [256, 255]

    def test_the_preferred_port_when_it_is_free(self) -> None:
        ports = pool()
        assert take(ports, 0, prefer=20500) == 20500

    @pytest.mark.parametrize("wanted", [40001, 40002, 20500, 21])
    def test_else_one_of_the_same_parity(self, wanted: int) -> None:
        ports = pool()
        take(ports, 0, prefer=20500)
        for _ in range(50):
            assert take(ports, 0, prefer=wanted) % 2 == wanted % 2

    def test_else_any(self) -> None:
        ports = pool()
        odd = [take(ports, 0, prefer=40001) for _ in range(128)]
        assert all(port % 2 for port in odd)
        assert take(ports, 0, prefer=40001) % 2 == 0

    def test_each_address_and_protocol_by_itself(self) -> None:
        span = PortSpan(20480, 20735)
        blocks = blocks_of(HERE, ONE, span) + blocks_of(HERE, TWO, span)
        ports = PortPool(blocks, entropy=lambda n: n // 2)
        assert len(take_all(ports, now=0)) == 256
        assert ports.take(UDP, ONE, bucket=HERE, prefer=20480, now=0) == 20480
        assert ports.take(TCP, TWO, bucket=HERE, prefer=20480, now=0) == 20480

    def test_an_address_without_blocks_has_no_ports(self) -> None:
        assert pool().take(TCP, TWO, bucket=HERE, now=0) is None
        assert pool().take_pair(TCP, TWO, bucket=HERE, now=0) is None


class TestPairs:
    def test_an_even_port_and_the_next(self) -> None:
        ports = pool()
        evens = []
        while (even := ports.take_pair(UDP, ONE, bucket=HERE, now=0)) is not None:
            evens.append(even)
        assert sorted(evens) == list(range(20480, 20736, 2))

    def test_half_a_pair_is_none(self) -> None:
        ports = pool()
        for odd in range(20481, 20735, 2):
            assert ports.take(UDP, ONE, bucket=HERE, prefer=odd, now=0) == odd
        assert ports.take_pair(UDP, ONE, bucket=HERE, now=0) == 20734
        assert ports.take_pair(UDP, ONE, bucket=HERE, now=0) is None

    def test_a_pair_is_whole_again_when_both_halves_have_rested(self) -> None:
        ports = pool(hold_s=100, min_hold_s=10)
        while ports.take_pair(UDP, ONE, bucket=HERE, now=0) is not None:
            pass
        ports.give_back(UDP, ONE, 20500, now=0)
        ports.give_back(UDP, ONE, 20502, now=0)
        ports.give_back(UDP, ONE, 20501, now=1)
        assert ports.take_pair(UDP, ONE, bucket=HERE, now=10.9) is None
        assert ports.take_pair(UDP, ONE, bucket=HERE, now=11) == 20500


class TestRest:
    def test_a_port_rests_before_it_is_used_again(self) -> None:
        ports = pool(hold_s=100, min_hold_s=10)
        used = take(ports, 0)
        ports.give_back(TCP, ONE, used, now=0)
        others = [take(ports, now=50) for _ in range(255)]
        assert used not in others

    def test_it_rests_less_when_nothing_else_is_left(self) -> None:
        ports = pool(hold_s=100, min_hold_s=10)
        taken = take_all(ports, now=0)
        ports.give_back(TCP, ONE, taken[7], now=0)
        assert ports.take(TCP, ONE, bucket=HERE, now=9.9) is None
        assert ports.take(TCP, ONE, bucket=HERE, now=10) == taken[7]

    def test_in_need_the_longest_rested_comes_first(self) -> None:
        ports = pool(hold_s=100, min_hold_s=10)
        taken = take_all(ports, now=0)
        for second, port in enumerate(taken[:5]):
            ports.give_back(TCP, ONE, port, now=float(second))
        assert [take(ports, now=50) for _ in range(5)] == taken[:5]

    def test_a_resting_port_is_not_given_even_when_preferred(self) -> None:
        ports = pool(hold_s=100, min_hold_s=10)
        take(ports, 0, prefer=20500)
        ports.give_back(TCP, ONE, 20500, now=0)
        assert take(ports, 99, prefer=20500) != 20500

    def test_used_again_as_late_as_possible(self) -> None:
        """With 1024 ports, one that was used comes back only when most others were used too."""
        ports = pool("20480-21503", hold_s=1, min_hold_s=1)
        first = take(ports, 0)
        ports.give_back(TCP, ONE, first, now=0)
        uses = 1
        now = 0.0
        while True:
            now += 10
            port = take(ports, now)
            ports.give_back(TCP, ONE, port, now)
            if port == first:
                break
            uses += 1
        assert uses > 1024 - READY_PORTS

    def test_give_back_what_is_not_in_use(self) -> None:
        ports = pool()
        used = take(ports, 0)
        ports.give_back(TCP, ONE, used, now=0)
        with pytest.raises(ValueError, match="is not in use"):
            ports.give_back(TCP, ONE, used, now=0)


class TestReplace:
    def test_ports_in_use_stay_booked(self) -> None:
        ports = pool()
        used = take(ports, 0, prefer=20500)
        ports.replace(blocks_of(HERE, ONE, PortSpan(20480, 20991)), now=0)
        assert used not in take_all(ports, now=0)

    def test_new_blocks_are_used_and_old_ones_no_more(self) -> None:
        ports = pool()
        used = take(ports, 0)
        ports.replace(blocks_of(HERE, ONE, PortSpan(30720, 30975)), now=0)
        ports.give_back(TCP, ONE, used, now=0)
        assert sorted(take_all(ports, now=500)) == list(range(30720, 30976))

    def test_resting_goes_on_over_a_change(self) -> None:
        ports = pool(hold_s=100, min_hold_s=100)
        used = take(ports, 0)
        ports.give_back(TCP, ONE, used, now=0)
        ports.replace(blocks_of(HERE, ONE, PortSpan(30720, 30975)), now=0)
        ports.replace(blocks_of(HERE, ONE, PortSpan(20480, 20735)), now=0)
        assert used not in take_all(ports, now=99)
        assert take(ports, now=100) == used

    def test_no_blocks_no_ports_and_nothing_is_remembered(self) -> None:
        ports = pool()
        used = take(ports, 0)
        ports.replace([], now=0)
        assert ports.take(TCP, ONE, bucket=HERE, now=0) is None
        assert [usage.in_use for usage in ports.usage()] == [1]
        ports.give_back(TCP, ONE, used, now=0)
        ports.replace([], now=119)
        assert [usage.resting for usage in ports.usage()] == [1]
        ports.replace([], now=120)
        assert ports.usage() == []


class TestUsage:
    def test_one_line_for_each_address_in_use(self) -> None:
        ports = pool()
        assert ports.usage() == []
        first = take(ports, 0)
        take(ports, 0)
        ports.give_back(TCP, ONE, first, now=0)
        (usage,) = ports.usage()
        assert (usage.in_use, usage.resting, usage.ready) == (1, 1, 254)

    def test_idle_means_neither_in_use_nor_resting(self) -> None:
        ports = pool(hold_s=100)
        assert ports.idle(ONE, now=0)
        port = take(ports, 0)
        assert not ports.idle(ONE, now=0)
        ports.give_back(TCP, ONE, port, now=0)
        assert not ports.idle(ONE, now=99)
        assert ports.idle(ONE, now=100)
