"""Elements of sets and maps while traffic runs."""

from __future__ import annotations

import errno
import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fwlb.errors import (
    ElementExistsError,
    ElementMissingError,
    KernelError,
    NetlinkTimeoutError,
    SetFullError,
)
from fwlb.kernel import elements, nfnetlink
from fwlb.kernel.batch import commit
from fwlb.kernel.elements import ElementWriter
from fwlb.kernel.netlink import NLM_F_CREATE, NetlinkSocket
from fwlb.model import Change, ChangeKind, Element, FieldValue

pytestmark = pytest.mark.netns

ADD, RENEW, DELETE = ChangeKind.ADD, ChangeKind.RENEW, ChangeKind.DELETE
IN4, OUT4, IN6, OUT6 = (ip_address(a) for a in ("10.1.0.2", "203.0.113.1", "fd01::2", "fd02::1"))

BATCHES = st.lists(
    st.lists(
        st.tuples(st.sampled_from(ChangeKind), st.integers(1, 6), st.integers(1, 2)),
        min_size=1,
        max_size=10,
    ),
    max_size=10,
)
"""Batches of changes to few keys: what, which port, to which port."""

# of every run-time set and map: a key, its data, and how nft's JSON shows both
RUN_TIME: dict[str, tuple[Sequence[FieldValue], Sequence[FieldValue] | None, object, object]] = {
    "relay_alive": ((21,), None, 21, None),
    "pinhole4": ((6, IN4, OUT4, 40001), None, ["tcp", str(IN4), str(OUT4), 40001], None),
    "pinhole6": ((17, IN6, OUT6, 40001), None, ["udp", str(IN6), str(OUT6), 40001], None),
    "pinhole_snat4": (
        (6, IN4, OUT4, 40001),
        (OUT4,),
        ["tcp", str(IN4), str(OUT4), 40001],
        str(OUT4),
    ),
    "pinhole_snat6": (
        (6, IN6, OUT6, 40001),
        (OUT6,),
        ["tcp", str(IN6), str(OUT6), 40001],
        str(OUT6),
    ),
    "binding_in4": ((6, OUT4, 1), (IN4, 2), ["tcp", str(OUT4), 1], [str(IN4), 2]),
    "binding_in6": ((6, OUT6, 1), (IN6, 2), ["tcp", str(OUT6), 1], [str(IN6), 2]),
    "binding_out4": ((6, IN4, 2), (OUT4, 1), ["tcp", str(IN4), 2], [str(OUT4), 1]),
    "binding_out6": ((6, IN6, 2), (OUT6, 1), ["tcp", str(IN6), 2], [str(OUT6), 1]),
}


@pytest.fixture
def writer(with_rules: Any) -> Iterator[ElementWriter]:
    with with_rules.call(ElementWriter) as open_writer:
        yield open_writer


def alive(kind: ChangeKind, port: int, timeout_s: float = 60.0) -> Change:
    return Change(kind, Element("relay_alive", (port,), None, timeout_s))


def pinhole(kind: ChangeKind, number: int, timeout_s: float = 60.0) -> Change:
    key = (6, IN4, ip_address(0x0A000000 + number), 40000)
    return Change(kind, Element("pinhole4", key, None, timeout_s))


def binding(kind: ChangeKind, port: int, to_port: int, timeout_s: float = 60.0) -> Change:
    return Change(kind, Element("binding_in4", (6, OUT4, port), (IN4, to_port), timeout_s))


def listed(namespace: Any, name: str, kind: str = "set") -> list[Any]:
    """The elements of a set, by nft."""
    found = json.loads(namespace.run("nft", "-j", "list", kind, "inet", "fwlb", name))
    [described] = [item[kind] for item in found["nftables"] if kind in item]
    elements_: list[Any] = described.get("elem", [])
    return elements_


def test_these_are_all_the_run_time_sets(writer: ElementWriter) -> None:
    run_time = {name for name, info in writer.sets.items() if not info.is_static}
    assert run_time == RUN_TIME.keys()


@pytest.mark.parametrize("name", RUN_TIME)
def test_an_element_is_added_seen_by_nft_got_and_deleted(
    with_rules: Any, writer: ElementWriter, name: str
) -> None:
    key, data, shown_key, shown_data = RUN_TIME[name]
    element = Element(name, tuple(key), None if data is None else tuple(data), 60.0)
    writer.apply([Change(ADD, element)])
    [shown] = listed(with_rules, name, "map" if data else "set")
    timed = shown[0] if data else shown
    assert timed["elem"]["val"] == ({"concat": shown_key} if len(key) > 1 else shown_key)
    assert timed["elem"]["timeout"] == 60
    if data is not None:
        assert shown[1] == ({"concat": shown_data} if len(data) > 1 else shown_data)
    stored = writer.get(name, key)
    assert stored is not None
    assert (stored.key, stored.data, stored.timeout_s) == (element.key, element.data, 60.0)
    assert stored.expires_in_s == pytest.approx(60.0, abs=5)
    writer.apply([Change(DELETE, element)])
    assert writer.get(name, key) is None
    assert listed(with_rules, name, "map" if data else "set") == []


def test_to_add_what_is_there_is_no_error(writer: ElementWriter) -> None:
    for _ in range(2):
        writer.apply([alive(ADD, 21), binding(ADD, 1, 2)])


def test_renew_starts_the_time_out_again(writer: ElementWriter) -> None:
    writer.apply([alive(RENEW, 21, 30), binding(RENEW, 1, 2, 30)])  # absent: it is added
    time.sleep(0.2)
    before = writer.get("relay_alive", (21,))
    writer.apply([alive(RENEW, 21, 30), binding(RENEW, 1, 2, 30), alive(RENEW, 554, 30)])
    after = writer.get("relay_alive", (21,))
    assert before is not None
    assert after is not None
    assert before.expires_in_s is not None
    assert after.expires_in_s is not None
    assert after.expires_in_s > before.expires_in_s + 0.1
    assert writer.get("relay_alive", (554,)) is not None


def test_an_element_ends_and_comes_again(writer: ElementWriter) -> None:
    writer.apply([alive(ADD, 21, 0.1)])
    time.sleep(0.25)
    assert writer.get("relay_alive", (21,)) is None
    writer.apply([alive(RENEW, 21), alive(DELETE, 554)])
    assert writer.get("relay_alive", (21,)) is not None


def test_deleting_what_is_not_there_is_no_error(writer: ElementWriter) -> None:
    writer.apply([pinhole(DELETE, 1)])
    writer.apply([pinhole(ADD, 1), binding(ADD, 1, 2)])
    writer.apply([pinhole(DELETE, 2), pinhole(DELETE, 1), binding(DELETE, 1, 2), pinhole(ADD, 3)])
    assert writer.get("pinhole4", pinhole(ADD, 1).element.key) is None
    assert writer.get("pinhole4", pinhole(ADD, 3).element.key) is not None
    assert writer.get("binding_in4", (6, OUT4, 1)) is None


def test_a_deletion_needs_no_data(writer: ElementWriter) -> None:
    writer.apply([binding(ADD, 1, 2)])
    writer.apply([Change(DELETE, Element("binding_in4", (6, OUT4, 1)))])
    assert writer.get("binding_in4", (6, OUT4, 1)) is None


def test_changes_of_one_key_keep_their_order(writer: ElementWriter) -> None:
    writer.apply([alive(ADD, 1), alive(DELETE, 1), alive(DELETE, 2), alive(ADD, 2)])
    assert writer.get("relay_alive", (1,)) is None
    assert writer.get("relay_alive", (2,)) is not None
    writer.apply([alive(DELETE, 2), alive(ADD, 3), alive(DELETE, 2), alive(ADD, 2)])
    assert writer.get("relay_alive", (2,)) is not None
    writer.apply([binding(ADD, 1, 2), binding(DELETE, 1, 2), binding(ADD, 1, 3)])
    stored = writer.get("binding_in4", (6, OUT4, 1))
    assert stored is not None
    assert stored.data == (IN4, 3)


def vanishing(writer: ElementWriter, monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Let the question which keys are gone be outdated `times` times; returns the calls."""
    real: Callable[..., frozenset[tuple[str, bytes]]] = writer._gone
    calls: list[int] = []

    def outdated(changes: Sequence[Change]) -> frozenset[tuple[str, bytes]]:
        calls.append(len(changes))
        return frozenset() if len(calls) <= times else real(changes)

    monkeypatch.setattr(writer, "_gone", outdated)
    return calls


def test_a_key_that_vanishes_at_the_last_moment_does_not_fail_the_batch(
    writer: ElementWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer.apply([pinhole(ADD, 1)])
    calls = vanishing(writer, monkeypatch, 2)
    writer.apply([pinhole(DELETE, 1), pinhole(DELETE, 2), pinhole(ADD, 3), binding(DELETE, 1, 2)])
    assert len(calls) == 3
    assert writer.get("pinhole4", pinhole(ADD, 1).element.key) is None
    assert writer.get("pinhole4", pinhole(ADD, 3).element.key) is not None


def test_retries_are_bounded(writer: ElementWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = vanishing(writer, monkeypatch, 1000)
    with pytest.raises(ElementMissingError, match=r"set pinhole4: delete tcp \. 10\.1\.0\.2"):
        writer.apply([pinhole(DELETE, 2)])
    assert len(calls) < 10


def test_other_data_is_refused_and_nothing_of_the_batch_is_done(writer: ElementWriter) -> None:
    writer.apply([binding(ADD, 1, 2)])
    for kind in (ADD, RENEW):
        with pytest.raises(
            ElementExistsError, match=r"map binding_in4: \w+ tcp \. 203\.0\.113\.1 \. 1: "
        ):
            writer.apply([alive(ADD, 21), binding(ADD, 5, 6), binding(kind, 1, 3)])
        assert writer.get("relay_alive", (21,)) is None
        assert writer.get("binding_in4", (6, OUT4, 5)) is None
    stored = writer.get("binding_in4", (6, OUT4, 1))
    assert stored is not None
    assert stored.data == (IN4, 2)


def test_a_full_set_is_said_and_nothing_of_the_batch_is_done(writer: ElementWriter) -> None:
    writer.apply([alive(ADD, port) for port in range(1, 257)])
    with pytest.raises(SetFullError, match="set relay_alive: add 1000: the set is full") as caught:
        writer.apply([pinhole(ADD, 1), alive(ADD, 1000)])
    assert caught.value.errno == errno.ENFILE
    assert "256" in str(caught.value)
    assert writer.get("pinhole4", pinhole(ADD, 1).element.key) is None
    writer.apply([alive(DELETE, 1), alive(DELETE, 2)])
    writer.apply([alive(ADD, 1000)])


def test_elements_of_a_full_set_can_be_renewed(writer: ElementWriter) -> None:
    writer.apply([alive(ADD, port, 30) for port in range(1, 257)])
    time.sleep(0.15)
    writer.apply([alive(RENEW, 7, 30)])
    stored = writer.get("relay_alive", (7,))
    assert stored is not None
    assert stored.expires_in_s == pytest.approx(30.0, abs=0.1)


@pytest.mark.parametrize(
    "element",
    [
        Element("relay_alive", (70000,), None, 5.0),
        Element("relay_alive", (21,), (5,), 5.0),
        Element("pinhole4", (6, IN4, OUT6, 5), None, 5.0),
        Element("binding_in4", (6, OUT4, 5), None, 5.0),
        Element("relay_ports", (21,), None, 5.0),
        Element("masquerade4", (IN4, "lan0")),
        Element("input_zone", ("lan0",), ("accept",)),
    ],
)
def test_values_that_do_not_fit_never_reach_the_kernel(
    writer: ElementWriter, element: Element
) -> None:
    with pytest.raises(KernelError, match=element.set_name) as caught:
        writer.apply([alive(ADD, 21), Change(ADD, element)])
    assert caught.value.errno == errno.EINVAL
    assert writer.get("relay_alive", (21,)) is None


def test_an_unknown_set_is_said(writer: ElementWriter) -> None:
    with pytest.raises(ElementMissingError, match="no set nowhere"):
        writer.apply([Change(ADD, Element("nowhere", (1,)))])
    with pytest.raises(ElementMissingError, match="no set nowhere"):
        writer.flush("nowhere")


def test_no_table_no_writer(namespace: Any) -> None:
    with pytest.raises(ElementMissingError, match="no table inet fwlb"):
        namespace.call(ElementWriter)


def test_a_flush_empties_one_set(writer: ElementWriter) -> None:
    writer.apply([*(pinhole(ADD, n) for n in range(1000)), alive(ADD, 21)])
    writer.flush("pinhole4")
    assert writer.get("pinhole4", pinhole(ADD, 5).element.key) is None
    assert writer.get("relay_alive", (21,)) is not None


def test_twenty_thousand_changes_are_one_transaction(writer: ElementWriter) -> None:
    writer.apply([binding(ADD, 1, 2)])
    many = [pinhole(ADD, n) for n in range(20_000)]
    with pytest.raises(ElementExistsError):
        writer.apply([*many, binding(ADD, 1, 3)])
    assert writer.get("pinhole4", many[0].element.key) is None
    writer.apply(many)
    assert all(writer.get("pinhole4", many[n].element.key) for n in (0, 9_999, 19_999))
    writer.apply([pinhole(DELETE, n) for n in range(10_000, 30_000)])
    assert writer.get("pinhole4", many[9_999].element.key) is not None
    assert writer.get("pinhole4", many[19_999].element.key) is None


def test_above_the_documented_size_there_are_several_transactions(
    writer: ElementWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elements, "MAX_TRANSACTION_BYTES", 2_000)
    writer.apply([binding(ADD, 1, 2)])
    with pytest.raises(ElementExistsError):
        writer.apply([*(pinhole(ADD, n) for n in range(200)), binding(ADD, 1, 3)])
    assert writer.get("pinhole4", pinhole(ADD, 0).element.key) is not None


def test_the_largest_transaction_is_taken(writer: ElementWriter) -> None:
    count = elements.MAX_TRANSACTION_BYTES // (3 * writer._packers["pinhole4"].element_bytes) - 9
    writer.apply([pinhole(RENEW, n) for n in range(count)])
    assert writer.get("pinhole4", pinhole(RENEW, count - 1).element.key) is not None


def test_a_new_ruleset_is_noticed(with_rules: Any, writer: ElementWriter) -> None:
    writer.apply([alive(ADD, 21)])
    with_rules.nft(
        "delete table inet fwlb\n"
        "table inet fwlb {\n"
        "set relay_alive { type inet_proto . inet_service; flags timeout; }\n"
        "set more { type inet_service; flags timeout; }\n}\n"
    )
    writer.apply([Change(ADD, Element("more", (21,), None, 5.0))])  # a set that was not there
    writer.apply([Change(ADD, Element("relay_alive", (6, 21), None, 5.0))])  # another key
    assert writer.get("relay_alive", (6, 21)) is not None
    with pytest.raises(ElementMissingError, match="no set pinhole4"):
        writer.apply([pinhole(ADD, 1)])


def test_a_set_that_changed_its_key_is_read_again(with_rules: Any, writer: ElementWriter) -> None:
    with_rules.nft(
        "delete table inet fwlb\n"
        "table inet fwlb {\nset relay_alive { type mark; flags timeout; }\n}\n"
    )
    writer.apply([alive(ADD, 21)])
    assert writer.get("relay_alive", (21,)) is not None


def test_elements_can_be_written_from_elsewhere(with_rules: Any, writer: ElementWriter) -> None:
    """The socket stays in the namespace in which it was made."""
    writer.apply([alive(ADD, 21)])
    assert len(listed(with_rules, "relay_alive")) == 1


def test_lost_answers_are_an_error_and_the_next_question_is_answered(with_rules: Any) -> None:
    netlink = with_rules.call(NetlinkSocket)
    netlink._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    with with_rules.call(ElementWriter, netlink=netlink) as writer:
        with pytest.raises(KernelError, match="answers of the kernel were lost") as caught:
            writer.apply([pinhole(DELETE, n) for n in range(100)])
        assert caught.value.errno == errno.ENOBUFS
        writer.apply([alive(ADD, 21)])
        stored = writer.get("relay_alive", (21,))
    assert stored is not None
    assert stored.key == (21,)


def test_a_message_with_wrong_lengths_is_never_answered(with_rules: Any) -> None:
    netlink = with_rules.call(NetlinkSocket, timeout_s=0.1)
    with with_rules.call(ElementWriter, netlink=netlink) as writer:
        address = nfnetlink.set_address("inet", "fwlb", "relay_alive")
        shifted = (nfnetlink.NEWSETELEM, NLM_F_CREATE, address + b"\0")
        with pytest.raises(NetlinkTimeoutError):
            commit(netlink, [shifted], "shifted")
        writer.apply([alive(ADD, 21)])
        assert writer.get("relay_alive", (21,)) is not None


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(BATCHES)
def test_any_batches_leave_what_a_simple_book_says(
    writer: ElementWriter, batches: list[list[tuple[ChangeKind, int, int]]]
) -> None:
    """Each batch is taken whole or, where a key has other data, not at all."""
    writer.flush("binding_in4")
    book: dict[int, int] = {}
    for batch in batches:
        changes = [binding(*each) for each in batch]
        after, is_legal = dict(book), True
        for kind, port, to_port in batch:
            if kind is DELETE:
                after.pop(port, None)
            else:
                is_legal &= after.setdefault(port, to_port) == to_port
        if is_legal:
            writer.apply(changes)
            book = after
        else:
            with pytest.raises(ElementExistsError):
                writer.apply(changes)
        stored = {port: writer.get("binding_in4", (6, OUT4, port)) for port in range(1, 7)}
        assert {p: e.data for p, e in stored.items() if e} == {p: (IN4, t) for p, t in book.items()}
