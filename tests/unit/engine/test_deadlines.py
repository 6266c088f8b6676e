"""When each of many things is over."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fwlb.engine.deadlines import Deadlines

STEPS = st.lists(
    st.tuples(st.sampled_from(["set", "drop", "wait"]), st.integers(0, 5), st.integers(0, 20)),
    max_size=60,
)


def test_the_earliest_is_next() -> None:
    deadlines = Deadlines[str]()
    assert deadlines.next() is None
    deadlines.set("late", 20)
    deadlines.set("early", 10)
    assert deadlines.next() == 10
    assert deadlines.pop_due(9) == []
    assert deadlines.pop_due(30) == ["early", "late"]
    assert deadlines.next() is None


def test_the_last_word_counts() -> None:
    deadlines = Deadlines[str]()
    deadlines.set("a", 10)
    deadlines.set("a", 20)
    assert deadlines.pop_due(10) == []
    assert deadlines.left("a", 12) == 8
    deadlines.drop("a")
    deadlines.drop("a")
    assert deadlines.next() is None
    assert deadlines.left("a", 0) == 0


def test_keys_need_no_order() -> None:
    deadlines = Deadlines[object]()
    one, other = object(), object()
    deadlines.set(one, 1)
    deadlines.set(other, 1)
    assert deadlines.pop_due(1) == [one, other]


def test_memory_follows_the_keys_not_the_calls() -> None:
    deadlines = Deadlines[int]()
    for number in range(10_000):
        deadlines.set(number % 3, number)
        deadlines.drop((number + 1) % 3)
    assert len(deadlines) <= 3
    assert len(deadlines._heap) < 100


@given(STEPS)
def test_like_a_plain_dictionary(steps: list[tuple[str, int, int]]) -> None:
    deadlines, plain, now = Deadlines[int](), dict[int, float](), 0
    for what, key, number in steps:
        if what == "set":
            deadlines.set(key, now + number)
            plain[key] = now + number
        elif what == "drop":
            deadlines.drop(key)
            plain.pop(key, None)
        else:
            now += number
            due = {key for key, at in plain.items() if at <= now}
            assert set(deadlines.pop_due(now)) == due
            plain = {key: at for key, at in plain.items() if key not in due}
        assert deadlines.next() == min(plain.values(), default=None)
