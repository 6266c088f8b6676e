"""Attributes, and the errors that refusals of the kernel become."""

import errno
import socket
import struct

import pytest

from fwlb.errors import (
    ElementExistsError,
    ElementMissingError,
    FwlbError,
    KernelError,
    NetlinkTimeoutError,
    PrivilegeError,
    SetFullError,
)
from fwlb.kernel.netlink import (
    NETLINK_ROUTE,
    Answer,
    NetlinkSocket,
    attribute,
    attributes,
    error_of,
    nested,
    text,
)

RTM_GETADDR = 22
EVERY_ADDRESS = struct.pack("=BBBBI", socket.AF_INET, 0, 0, 0, 0)


def test_attributes_are_padded_to_four_bytes() -> None:
    assert text(1, "fwlb").hex() == "0900010066776c6200" + "000000"
    assert nested(3, attribute(1, b"\x05")) == struct.pack("=HHHHBxxx", 12, 0x8003, 5, 1, 5)


def test_attributes_are_read_back_in_order() -> None:
    payload = attribute(2, b"abc") + nested(3, attribute(1, b"")) + attribute(2, b"again")
    assert list(attributes(payload)) == [
        (2, b"abc"),
        (3, attribute(1, b"")),
        (2, b"again"),
    ]


@pytest.mark.parametrize("payload", [b"", b"\0", b"\x03\0\x01\0", b"\0" * 40])
def test_what_is_no_attribute_ends_the_reading(payload: bytes) -> None:
    assert list(attributes(payload)) == []


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOENT, ElementMissingError),
        (errno.EEXIST, ElementExistsError),
        (errno.ENFILE, SetFullError),
        (errno.EPERM, PrivilegeError),
        (errno.EINVAL, KernelError),
        (errno.ENOBUFS, KernelError),
    ],
)
def test_each_refusal_has_its_error(number: int, kind: type[FwlbError]) -> None:
    error = error_of(Answer(1, number), "set pinhole4: add")
    assert type(error) is kind
    assert str(error).startswith("set pinhole4: add: ")
    if isinstance(error, KernelError):
        assert error.errno == number


def test_the_kernels_own_words_win() -> None:
    error = error_of(Answer(1, errno.EINVAL, "Device does not exist"), "eth9")
    assert error.message == "eth9: Device does not exist"


def test_misleading_words_are_replaced() -> None:
    assert "full" in error_of(Answer(1, errno.ENFILE), "set x").message


def test_a_dump_needs_no_privilege() -> None:
    with NetlinkSocket(NETLINK_ROUTE) as netlink:
        bodies, _ = netlink.dump(RTM_GETADDR, EVERY_ADDRESS, "addresses")
    assert all(body[0] == socket.AF_INET for body in bodies)


def test_no_answer_is_an_error_after_the_time_out() -> None:
    with NetlinkSocket(NETLINK_ROUTE, timeout_s=0.02) as netlink:
        never_sent = netlink.sequences(1)
        with pytest.raises(NetlinkTimeoutError, match=r"within 0\.02 s"):
            netlink.acknowledgement(never_sent, "nothing")


def test_late_answers_to_others_are_skipped() -> None:
    with NetlinkSocket(NETLINK_ROUTE, timeout_s=1) as netlink:
        stale = netlink.sequences(1)
        netlink.send(struct.pack("=IHHII", 16, 0xFF, 0x5, stale[0], 0), "an unknown message")
        bodies, _ = netlink.dump(RTM_GETADDR, EVERY_ADDRESS, "addresses")
        again, _ = netlink.dump(RTM_GETADDR, EVERY_ADDRESS, "addresses")
    assert bodies == again


def test_refusals_of_a_dump_are_raised() -> None:
    with (
        NetlinkSocket(NETLINK_ROUTE, timeout_s=1) as netlink,
        pytest.raises(KernelError, match="nonsense"),
    ):
        netlink.dump(0xFFF, b"", "nonsense")


def test_sequence_numbers_start_again_before_they_overflow() -> None:
    with NetlinkSocket(NETLINK_ROUTE) as netlink:
        assert netlink.sequences(2) == range(1, 3)
        netlink._next_sequence = (1 << 32) - 2
        assert netlink.sequences(2) == range((1 << 32) - 2, 1 << 32)
        assert netlink.sequences(3) == range(1, 4)
