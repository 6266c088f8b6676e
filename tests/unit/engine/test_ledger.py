"""The book of elements: holders, and the difference that one Outcome makes."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fwlb.engine.ledger import ChangeSet, Ledger
from fwlb.model import Change, ChangeKind, Element

KEY = (6, ip_address("10.1.0.2"), 40001)
ELEMENT = Element("binding_out4", KEY, (ip_address("203.0.113.1"), 20480), 60)
OTHER_DATA = Element("binding_out4", KEY, (ip_address("203.0.113.1"), 20481), 60)


def changes_of(ledger: Ledger, changes: ChangeSet) -> list[tuple[str, Element]]:
    return [(change.kind.value, change.element) for change in ledger.changes(changes)]


def held(*holders: str) -> Ledger:
    ledger = Ledger()
    for holder in holders:
        ledger.hold(holder, ELEMENT, ChangeSet(), now=0)
    return ledger


def test_the_first_holder_adds_and_the_next_renews() -> None:
    ledger, first, second = Ledger(), ChangeSet(), ChangeSet()
    ledger.hold("a", ELEMENT, first, now=0)
    assert changes_of(ledger, first) == [("add", ELEMENT)]
    ledger.hold("b", ELEMENT, second, now=0)
    assert changes_of(ledger, second) == [("renew", ELEMENT)]


def test_only_the_last_holder_deletes() -> None:
    ledger, first, second = held("a", "b"), ChangeSet(), ChangeSet()
    ledger.release("a", ELEMENT, first, now=1)
    assert changes_of(ledger, first) == []
    ledger.release("b", ELEMENT, second, now=1)
    assert changes_of(ledger, second) == [("delete", ELEMENT)]
    assert ELEMENT not in ledger


def test_what_lapsed_in_the_kernel_is_not_deleted() -> None:
    ledger, changes = held("a"), ChangeSet()
    ledger.release("a", ELEMENT, changes, now=61)
    assert changes_of(ledger, changes) == []
    assert ledger.elements() == []


def test_the_kernel_may_have_it_a_little_longer() -> None:
    """Its time-out starts at the commit, a little after the decision."""
    ledger, changes = held("a"), ChangeSet()
    ledger.release("a", ELEMENT, changes, now=60.9)
    assert changes_of(ledger, changes) == [("delete", ELEMENT)]


def test_who_does_not_hold_it_cannot_release_it() -> None:
    ledger, changes = held("a"), ChangeSet()
    ledger.release("b", ELEMENT, changes, now=1)
    assert changes_of(ledger, changes) == []
    assert ELEMENT in ledger


def test_to_come_and_go_is_no_change() -> None:
    ledger, changes = Ledger(), ChangeSet()
    ledger.hold("a", ELEMENT, changes, now=0)
    ledger.release("a", ELEMENT, changes, now=0)
    assert changes_of(ledger, changes) == []


def test_to_go_and_come_back_is_a_renewal() -> None:
    ledger, changes = held("a"), ChangeSet()
    ledger.release("a", ELEMENT, changes, now=1)
    ledger.hold("b", ELEMENT, changes, now=1)
    assert changes_of(ledger, changes) == [("renew", ELEMENT)]


def test_other_data_is_deleted_before_it_is_added() -> None:
    ledger, changes = held("a"), ChangeSet()
    ledger.release("a", ELEMENT, changes, now=1)
    ledger.hold("b", OTHER_DATA, changes, now=1)
    assert ledger.changes(changes) == (
        Change(ChangeKind.DELETE, ELEMENT),
        Change(ChangeKind.ADD, OTHER_DATA),
    )


def test_other_data_conflicts_while_somebody_holds_the_key() -> None:
    ledger = held("a")
    assert ledger.conflicts(OTHER_DATA)
    assert not ledger.conflicts(ELEMENT)
    with pytest.raises(ValueError, match="cannot be held"):
        ledger.hold("b", OTHER_DATA, ChangeSet(), now=0)
    ledger.release("a", ELEMENT, ChangeSet(), now=0)
    assert not ledger.conflicts(OTHER_DATA)


def test_an_element_without_a_timeout_would_stay_for_ever() -> None:
    with pytest.raises(ValueError, match="cannot be held"):
        Ledger().hold("a", Element("pinhole4", KEY), ChangeSet(), now=0)


def test_delete_again_spares_what_is_held() -> None:
    ledger, changes = held("a"), ChangeSet()
    gone = Element("pinhole4", KEY, None, 60)
    ledger.delete_again([OTHER_DATA, gone], changes)
    assert changes_of(ledger, changes) == [("delete", gone)]
