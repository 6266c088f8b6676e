"""The book of run-time elements: which the kernel should hold, and for whom.

Two channels may need the same element (the same pair of hosts, the same port). It is in the
kernel once and goes away with its last holder. The book is the truth; the kernel is not asked.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field

from fwlb.model import Change, ChangeKind, Element, FieldValue

Key = tuple[str, tuple[FieldValue, ...]]

GRACE_S = 1.0
"""The kernel starts the time-out of an element when it commits it, a little after the engine
decided. For this long more the book keeps it, so that it never takes a key for free too early."""


def key_of(element: Element) -> Key:
    """What makes an element one: its set and its key."""
    return element.set_name, element.key


@dataclass(slots=True)
class _Entry:
    element: Element
    lapses_at: float
    holders: set[Hashable]


@dataclass(slots=True)
class ChangeSet:
    """What happens to elements within one Outcome. Only the difference of before and after counts:
    an element that comes and goes within one Outcome is no change at all."""

    before: dict[Key, Element | None] = field(default_factory=dict)
    renewed: set[Key] = field(default_factory=set)


class Ledger:
    """Elements and their holders. A holder is any value that can be compared; an element has at
    least one."""

    def __init__(self) -> None:
        self._entries: dict[Key, _Entry] = {}

    def __contains__(self, element: Element) -> bool:
        return key_of(element) in self._entries

    def elements(self) -> list[Element]:
        """Every element of the book, as it was last set."""
        return [entry.element for entry in self._entries.values()]

    def conflicts(self, element: Element) -> bool:
        """Whether somebody holds this key with other data."""
        entry = self._entries.get(key_of(element))
        return entry is not None and entry.element.data != element.data

    def hold(self, holder: Hashable, element: Element, changes: ChangeSet, now: float) -> None:
        """`holder` needs the element for its whole time-out from now on.

        Raises ValueError when it conflicts or has no time-out: ask `conflicts` first.
        """
        if element.timeout_s is None or self.conflicts(element):
            raise ValueError(f"{element} cannot be held")
        key = key_of(element)
        entry = self._entries.get(key)
        changes.before.setdefault(key, entry.element if entry else None)
        changes.renewed.add(key)
        lapses_at = now + element.timeout_s + GRACE_S
        if entry is None:
            self._entries[key] = _Entry(element, lapses_at, {holder})
        else:
            entry.element = element
            entry.lapses_at = lapses_at
            entry.holders.add(holder)

    def release(self, holder: Hashable, element: Element, changes: ChangeSet, now: float) -> None:
        """`holder` needs the element no more. The last one takes it away: out of the kernel too,
        unless it has lapsed there. No error when `holder` did not hold it."""
        key = key_of(element)
        entry = self._entries.get(key)
        if entry is None or holder not in entry.holders:
            return
        entry.holders.remove(holder)
        if entry.holders:
            return
        lapsed = entry.lapses_at <= now
        changes.before.setdefault(key, None if lapsed else entry.element)
        del self._entries[key]

    def delete_again(self, elements: Iterable[Element], changes: ChangeSet) -> None:
        """The kernel did not do as told: delete those of `elements` that nobody holds."""
        for element in elements:
            if element not in self:
                changes.before.setdefault(key_of(element), element)

    def changes(self, changes: ChangeSet) -> tuple[Change, ...]:
        """`changes` as wishes to the kernel, deletions first."""
        deletes: list[Change] = []
        others: list[Change] = []
        for key, before in changes.before.items():
            entry = self._entries.get(key)
            after = entry.element if entry else None
            replaced = after is not None and before is not None and before.data != after.data
            if before is not None and (after is None or replaced):
                deletes.append(Change(ChangeKind.DELETE, before))
            if after is not None and (before is None or replaced):
                others.append(Change(ChangeKind.ADD, after))
            elif after is not None and key in changes.renewed:
                others.append(Change(ChangeKind.RENEW, after))
        return (*deletes, *others)
