"""A dump that may be wrong is repeated; one that others merely disturbed is not."""

from collections.abc import Iterator

import pytest

from fwlb.errors import KernelError
from fwlb.kernel import nfnetlink as nft
from fwlb.kernel import sets
from fwlb.kernel.netlink import NetlinkSocket, attribute, nested
from fwlb.kernel.sets import SetInfo, dump_elements
from fwlb.kernel.types import layout_of

PORTS = SetInfo("ports", "inet", "fwlb", 0, layout_of(13, 2))


def body(*ports: int) -> bytes:
    """One message of a dump."""
    elements = (
        nested(
            nft.LIST_ELEMENT,
            nested(nft.ELEM_KEY, attribute(nft.DATA_VALUE, port.to_bytes(2, "big"))),
        )
        for port in ports
    )
    return nft.head("inet") + nested(nft.ATTR_ELEMENTS, *elements)


class Script(NetlinkSocket):
    """Answers each dump with the next of those prepared: ports, and whether it was disturbed."""

    def __init__(self, *dumps: tuple[list[int], bool]) -> None:
        self.dumps: Iterator[tuple[list[int], bool]] = iter(dumps)
        self.asked = 0

    def dump(self, *_: object) -> tuple[list[bytes], bool]:
        self.asked += 1
        ports, disturbed = next(self.dumps)
        return [body(*ports)], disturbed


def texts(script: Script) -> list[str]:
    return [element.text() for element in dump_elements(PORTS, netlink=script)]


def test_a_quiet_dump_is_believed_at_once() -> None:
    script = Script(([2, 1], False))
    assert texts(script) == ["1", "2"]
    assert script.asked == 1


def test_a_disturbed_dump_is_believed_when_the_next_says_the_same() -> None:
    script = Script(([1, 2], True), ([2, 1], True))
    assert texts(script) == ["1", "2"]
    assert script.asked == 2


def test_a_set_that_changes_is_read_until_it_rests() -> None:
    script = Script(([1], True), ([1, 2], True), ([1, 2, 3], True), ([3, 2, 1], True))
    assert texts(script) == ["1", "2", "3"]
    assert script.asked == 4


def test_repeated_elements_are_a_growing_table_and_not_believed() -> None:
    script = Script(([1, 1, 2], False), ([1, 1, 2], False), ([1, 2, 3], False))
    assert texts(script) == ["1", "2", "3"]


def test_a_set_that_never_rests_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "_PAUSE_S", 0)
    script = Script(*[([n], True) for n in range(1, 100)])
    with pytest.raises(KernelError, match="set ports: it changed each of"):
        texts(script)
    assert script.asked < 20
