"""Changes become messages: grouped, in order, cut to what netlink can carry."""

import struct
from ipaddress import IPv4Address

import pytest

from fwlb.errors import KernelError
from fwlb.kernel import nfnetlink as nft
from fwlb.kernel.batch import runs_of
from fwlb.kernel.netlink import attributes
from fwlb.kernel.packing import Packer
from fwlb.kernel.sets import SetInfo
from fwlb.kernel.types import layout_of
from fwlb.model import Change, ChangeKind, Element, FieldValue

ADD, RENEW, DELETE = ChangeKind.ADD, ChangeKind.RENEW, ChangeKind.DELETE

PORTS = Packer(SetInfo("ports", "inet", "fwlb", nft.SET_TIMEOUT, layout_of(13, 2), size=256))
MARKS = Packer(SetInfo("marks", "inet", "fwlb", nft.SET_MAP, layout_of(7, 4), data=layout_of(9, 6)))
RANGES = Packer(SetInfo("ranges", "inet", "fwlb", nft.SET_INTERVAL, layout_of(13, 2)))
VERDICTS = Packer(
    SetInfo("verdicts", "inet", "fwlb", nft.SET_MAP, layout_of(13, 2), has_verdicts=True)
)
PACKERS = {packer.info.name: packer for packer in (PORTS, MARKS, RANGES, VERDICTS)}


def port(kind: ChangeKind, number: FieldValue, timeout_s: float | None = 5.0) -> Change:
    return Change(kind, Element("ports", (number,), None, timeout_s))


def sent(*changes: Change, gone: frozenset[tuple[str, bytes]] = frozenset()) -> list[str]:
    """What is sent, as `+port` and `-port` by message."""
    result = []
    for run in runs_of(changes, PACKERS.__getitem__, gone):
        for kind, _, body in run.messages():
            elements = dict(attributes(body[nft.HEAD_BYTES :]))[nft.ATTR_ELEMENTS]
            keys = [PORTS.describe(struct.pack("=HH", 0, 0) + e) for _, e in attributes(elements)]
            result.append(("+" if kind == nft.NEWSETELEM else "-") + ",".join(keys))
    return result


def test_neighbours_of_one_kind_share_a_message() -> None:
    assert sent(port(ADD, 1), port(ADD, 2), port(DELETE, 3), port(ADD, 4)) == ["+1,2", "-3", "+4"]


def test_to_renew_is_to_add_delete_and_add_again() -> None:
    assert sent(port(RENEW, 1), port(RENEW, 2)) == ["+1,2", "-1,2", "+1,2"]


def test_a_key_is_renewed_once_in_a_run() -> None:
    assert sent(port(RENEW, 1), port(RENEW, 1)) == ["+1", "-1", "+1"] * 2


def test_a_deletion_is_sent_once() -> None:
    assert sent(port(DELETE, 1), port(DELETE, 1)) == ["-1"]
    assert sent(port(DELETE, 1), port(ADD, 2), port(DELETE, 1)) == ["-1", "+2"]
    assert sent(port(DELETE, 1), port(ADD, 1), port(DELETE, 1)) == ["-1", "+1", "-1"]


def test_keys_that_are_gone_are_not_deleted_unless_this_batch_adds_them() -> None:
    gone = frozenset({("ports", PORTS.key((1,)))})
    assert sent(port(DELETE, 1), port(DELETE, 2), gone=gone) == ["-2"]
    assert sent(port(DELETE, 1), port(ADD, 1), port(DELETE, 1), gone=gone) == ["+1", "-1"]
    assert sent(port(DELETE, 1), gone=gone) == []


def test_sets_are_grouped_and_each_keeps_its_order() -> None:
    mark = Change(ADD, Element("marks", (IPv4Address("10.0.0.1"),), (b"\x02" * 6,)))
    runs = runs_of([port(ADD, 1), mark, port(ADD, 2)], PACKERS.__getitem__)
    assert [(run.packer.info.name, len(run.full)) for run in runs] == [("ports", 2), ("marks", 1)]


def test_long_runs_are_cut_below_the_64_kib_of_an_attribute() -> None:
    messages = runs_of([port(ADD, n) for n in range(1, 10001)], PACKERS.__getitem__)[0].messages()
    assert len(messages) > 1
    assert all(len(body) < 1 << 16 for _, _, body in messages)
    count = sum(
        len(list(attributes(dict(attributes(body[nft.HEAD_BYTES :]))[nft.ATTR_ELEMENTS])))
        for _, _, body in messages
    )
    assert count == 10000


def test_an_element_with_data_and_time_out_byte_by_byte() -> None:
    packed = MARKS.full(Element("marks", (IPv4Address("10.0.0.1"),), (b"\1\2\3\4\5\6",)))
    assert packed == (
        struct.pack("=HHHHHH", 32, 0x8001, 12, 0x8001, 8, 1)
        + bytes([10, 0, 0, 1])
        + struct.pack("=HHHH", 16, 0x8002, 10, 1)
        + bytes([1, 2, 3, 4, 5, 6, 0, 0])  # padded, or the kernel never answers
    )
    timed = PORTS.full(Element("ports", (21,), None, 1.5))
    assert timed == (
        struct.pack("=HHHHHH", 28, 0x8001, 12, 0x8001, 6, 1)
        + bytes([0, 21, 0, 0])
        + struct.pack("=HH", 12, 4)
        + struct.pack(">Q", 1500)
    )


def test_a_tiny_time_out_is_not_for_ever() -> None:
    assert PORTS.full(Element("ports", (21,), None, 0.0001)).endswith(struct.pack(">Q", 1))


@pytest.mark.parametrize(
    ("element", "why"),
    [
        (Element("ports", (70000,)), "inet_service cannot hold 70000"),
        (Element("ports", (1, 2)), "1 fields wanted, 2 given"),
        (Element("ports", (1,), (2,)), "no map"),
        (Element("ports", (1,), None, -1.0), "no time-out is -1.0 s"),
        (Element("marks", (IPv4Address("10.0.0.1"),)), "1 fields wanted, 0 given"),
        (Element("marks", (IPv4Address("10.0.0.1"),), (b"\0" * 6,), 5.0), "have no time-out"),
        (Element("ranges", (1,)), "ranges"),
        (Element("verdicts", (1,), ("accept",)), "only a ruleset sets"),
    ],
)
def test_what_does_not_fit_names_the_set(element: Element, why: str) -> None:
    with pytest.raises(KernelError, match=why) as caught:
        PACKERS[element.set_name].full(element)
    assert element.set_name in str(caught.value)


def test_the_refused_element_is_found_by_its_offset() -> None:
    run = runs_of([port(ADD, n) for n in (1, 2, 3)], PACKERS.__getitem__)[0]
    first = 16 + len(PORTS.address) + 4
    assert run.describe(first) == "add 1"
    assert run.describe(first + 2 * len(run.full[0])) == "add 3"
    assert run.describe(None) == "add one of 3 elements"
