"""When each of many things is over."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

_SLACK = 64
"""Dropped entries that may stay in the heap before it is built anew."""


class Deadlines(Generic[K]):
    """Keys with a time each. Every call is O(log n); memory follows the keys, not the calls."""

    def __init__(self) -> None:
        self._at: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._at)

    def set(self, key: K, at: float) -> None:
        """`key` is over at the time `at`, whatever was said before."""
        self._at[key] = at
        self._serial += 1  # keys of one time are never compared with each other
        heapq.heappush(self._heap, (at, self._serial, key))
        self._trim()

    def drop(self, key: K) -> None:
        """Forget `key`; no error when it is unknown."""
        self._at.pop(key, None)
        self._trim()

    def left(self, key: K, now: float) -> float:
        """Seconds until `key` is over; 0.0 when it is over or unknown."""
        return max(0.0, self._at.get(key, now) - now)

    def next(self) -> float | None:
        """The earliest time, None when there is none."""
        while self._heap and not self._valid(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now: float) -> list[K]:
        """Take out every key whose time has come, the earliest first."""
        due: list[K] = []
        while (at := self.next()) is not None and at <= now:
            _, _, key = heapq.heappop(self._heap)
            del self._at[key]
            due.append(key)
        return due

    def _valid(self, entry: tuple[float, int, K]) -> bool:
        at, _, key = entry
        return self._at.get(key) == at

    def _trim(self) -> None:
        if len(self._heap) > 2 * len(self._at) + _SLACK:
            self._heap = [(at, number, key) for number, (key, at) in enumerate(self._at.items())]
            heapq.heapify(self._heap)
            self._serial = len(self._heap)
