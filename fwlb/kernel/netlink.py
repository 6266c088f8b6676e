"""The small netlink codec: headers, attributes, and a socket that knows which answer is whose.

Layouts follow linux/netlink.h, linux/netfilter/nfnetlink.h and netlink(7). Headers and attribute
headers are in host byte order, what is inside the attributes is what the subsystem says.
"""

from __future__ import annotations

import errno as errnos
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from struct import Struct
from typing import NamedTuple, Self

from fwlb.errors import (
    ElementExistsError,
    ElementMissingError,
    FwlbError,
    KernelError,
    NetlinkTimeoutError,
    PrivilegeError,
    SetFullError,
)

NETLINK_ROUTE = 0
NETLINK_NETFILTER = 12

NLM_F_REQUEST = 0x1
NLM_F_ACK = 0x4
NLM_F_DUMP = 0x300
NLM_F_EXCL = 0x200
NLM_F_CREATE = 0x400

NLMSG_ERROR = 2
NLMSG_DONE = 3
_NLM_F_DUMP_INTR = 0x10
_NLM_F_CAPPED = 0x100
_NLM_F_ACK_TLVS = 0x200
_NLMSGERR_ATTR_MSG = 1
_NLMSGERR_ATTR_OFFS = 2

_SOL_NETLINK = 270
_NETLINK_CAP_ACK = 10
_NETLINK_EXT_ACK = 11
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33

HEADER = Struct("=IHHII")
"""struct nlmsghdr: length, type, flags, sequence number, port id."""
_ATTRIBUTE = Struct("=HH")
_ERROR = Struct("=i")
_U32 = Struct("=I")
_NESTED = 0x8000
_TYPE_MASK = 0x3FFF

BUFFER_BYTES = 8 << 20
"""Of a socket, each way: the largest transaction, and room for answers to all its messages."""
_RECEIVE_BYTES = 1 << 16  # the kernel makes no answer and no part of a dump larger than 32 KiB


def attribute(kind: int, payload: bytes) -> bytes:
    """One attribute, padded to four bytes."""
    return _ATTRIBUTE.pack(4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """An attribute that contains attributes. At most 65531 bytes (its length is 16 bits wide)."""
    payload = b"".join(attributes)
    return _ATTRIBUTE.pack(4 + len(payload), kind | _NESTED) + payload


def text(kind: int, value: str) -> bytes:
    """An attribute with a NUL-terminated string."""
    return attribute(kind, value.encode() + b"\0")


def attributes(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and contents of every attribute, in order. Stops at what cannot be an attribute."""
    start, end = 0, len(payload)
    while start + 4 <= end:
        length, kind = _ATTRIBUTE.unpack_from(payload, start)
        if length < 4:
            return
        yield kind & _TYPE_MASK, payload[start + 4 : start + length]
        start += (length + 3) & ~3


_REASONS = {
    errnos.EEXIST: "it is there with other data",
    errnos.ENFILE: "the set is full",
    errnos.ENOBUFS: "answers of the kernel were lost",
}
"""Where the general text for an error number would mislead."""


class Answer(NamedTuple):
    """What the kernel says about one message: `errno` 0 is success."""

    sequence: int
    errno: int
    message: str = ""
    """The kernel's own explanation (extended ACK), often empty."""
    offset: int | None = None
    """Where in our message the refused attribute starts."""


def error_of(answer: Answer, what: str, *, hint: str | None = None) -> FwlbError:
    """The exception for a refusal; `what` says what was tried: `set pinhole4: add ...`."""
    reason = answer.message or _REASONS.get(answer.errno) or os.strerror(answer.errno)
    if answer.errno in {errnos.EPERM, errnos.EACCES}:
        return PrivilegeError(f"{what}: {reason}", hint="run as root (CAP_NET_ADMIN is needed)")
    kind = {
        errnos.ENOENT: ElementMissingError,
        errnos.EEXIST: ElementExistsError,
        errnos.ENFILE: SetFullError,
    }.get(answer.errno, KernelError)
    return kind(f"{what}: {reason}", errno=answer.errno, hint=hint)


class NetlinkSocket:
    """A blocking netlink socket of the network namespace in which it was made.

    Answers to earlier requests (after a time-out, or a lost message) are recognised by their
    sequence number and skipped. Not for use by several threads.
    """

    def __init__(
        self,
        protocol: int = NETLINK_NETFILTER,
        *,
        buffer_bytes: int = BUFFER_BYTES,
        timeout_s: float = 5.0,
    ) -> None:
        self.timeout_s = timeout_s
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol
        )
        try:
            self._configure(buffer_bytes)
        except BaseException:
            self._socket.close()
            raise
        self._next_sequence = 1
        self._buffer = bytearray(_RECEIVE_BYTES)

    def _configure(self, buffer_bytes: int) -> None:
        self._socket.bind((0, 0))
        for forced, usual in (
            (_SO_SNDBUFFORCE, socket.SO_SNDBUF),
            (_SO_RCVBUFFORCE, socket.SO_RCVBUF),
        ):
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, forced, buffer_bytes)
            except PermissionError:  # reading routes needs no privilege and no large buffer
                self._socket.setsockopt(socket.SOL_SOCKET, usual, buffer_bytes)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(_SOL_NETLINK, _NETLINK_EXT_ACK, 1)
        # not settimeout(): that would cost a poll() before each receive
        microseconds = max(1, int(self.timeout_s * 1e6))  # 0 would be forever
        self._socket.setsockopt(
            socket.SOL_SOCKET,
            socket.SO_RCVTIMEO,
            Struct("@ll").pack(microseconds // 1_000_000, microseconds % 1_000_000),
        )

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def sequences(self, count: int) -> range:
        """`count` fresh sequence numbers in a row, none of them 0."""
        first = self._next_sequence
        if first + count > 1 << 32:
            first = 1
        self._next_sequence = first + count
        return range(first, first + count)

    def send(self, data: bytes, what: str) -> None:
        """Send one or more whole messages in one system call."""
        try:
            self._socket.send(data)
        except OSError as error:
            raise error_of(Answer(0, error.errno or errnos.EIO), what) from error

    def request(self, kind: int, flags: int, body: bytes, what: str) -> None:
        """Send one message and wait until the kernel has carried it out. Raises its refusal."""
        sequences = self.sequences(1)
        self.send(message(kind, NLM_F_REQUEST | NLM_F_ACK | flags, sequences[0], body), what)
        answer = self.acknowledgement(sequences, what)
        if answer.errno:
            raise error_of(answer, what)

    def query(self, kind: int, body: bytes, what: str) -> bytes | Answer:
        """Ask for one object: the body of the message about it, or the refusal."""
        return self.queries(kind, [body], what)[0]

    def queries(self, kind: int, bodies: Sequence[bytes], what: str) -> list[bytes | Answer]:
        """Several queries at once, with their replies in the same order. The replies have to fit
        the receive buffer."""
        sequences = self.sequences(len(bodies))
        asked = zip(sequences, bodies, strict=True)
        self.send(b"".join([message(kind, NLM_F_REQUEST, n, body) for n, body in asked]), what)
        return [self._reply(wanted, what) for wanted in sequences]

    def _reply(self, wanted: int, what: str) -> bytes | Answer:
        while True:
            for kind, flags, sequence, body in self._receive(what):
                if sequence == wanted:
                    return _answer(body, flags) if kind == NLMSG_ERROR else body

    def acknowledgement(self, wanted: range, what: str) -> Answer:
        """The next answer to one of the messages `wanted`."""
        while True:
            for kind, flags, sequence, body in self._receive(what):
                if kind == NLMSG_ERROR and sequence in wanted:
                    return _answer(body, flags)

    def dump(self, kind: int, body: bytes, what: str) -> tuple[list[bytes], bool]:
        """All objects that a dump returns (bodies of messages), and whether the kernel says that
        something changed meanwhile (NLM_F_DUMP_INTR). Raises the kernel's refusal."""
        wanted = self.sequences(1)[0]
        self.send(message(kind, NLM_F_REQUEST | NLM_F_DUMP, wanted, body), what)
        bodies: list[bytes] = []
        interrupted = False
        while True:
            for answer, flags, sequence, payload in self._receive(what):
                if sequence != wanted:
                    continue
                interrupted |= bool(flags & _NLM_F_DUMP_INTR)
                if answer == NLMSG_ERROR or (answer == NLMSG_DONE and _status(payload)):
                    raise error_of(_answer(payload, flags), what)
                if answer == NLMSG_DONE:
                    return bodies, interrupted
                bodies.append(payload)

    def _receive(self, what: str) -> list[tuple[int, int, int, bytes]]:
        """Type, flags, sequence number and body of each message in one datagram."""
        try:
            size = self._socket.recv_into(self._buffer)
        except BlockingIOError as error:
            raise NetlinkTimeoutError(
                f"{what}: the kernel did not answer within {self.timeout_s:g} s",
                errno=errnos.ETIMEDOUT,
                hint="it never answers a message whose lengths do not add up",
            ) from error
        except OSError as error:
            if error.errno == errnos.ENOBUFS:
                self._drain()
            raise error_of(Answer(0, error.errno or errnos.EIO), what) from error
        messages = []
        start = 0
        while start + 16 <= size:
            length, kind, flags, sequence, _ = HEADER.unpack_from(self._buffer, start)
            if length < 16:
                break
            body = bytes(self._buffer[start + 16 : start + length])
            messages.append((kind, flags, sequence, body))
            start += (length + 3) & ~3
        return messages

    def _drain(self) -> None:
        """An answer was thrown away because the queue was full, and as long as it is not empty
        the next ones are too: read all that is there."""
        with suppress(BlockingIOError):
            while True:
                try:
                    self._socket.recv_into(self._buffer, 0, socket.MSG_DONTWAIT)
                except OSError as error:
                    if error.errno != errnos.ENOBUFS:
                        raise


def message(kind: int, flags: int, sequence: int, body: bytes) -> bytes:
    """A whole message: header and body."""
    return HEADER.pack(16 + len(body), kind, flags, sequence, 0) + body


def _status(payload: bytes) -> int:
    return _ERROR.unpack_from(payload)[0] if len(payload) >= 4 else 0


def _answer(payload: bytes, flags: int) -> Answer:
    """Read an NLMSG_ERROR (or a failed NLMSG_DONE): error, header of our message, attributes."""
    error = -_status(payload)
    if len(payload) < 20:
        return Answer(0, error)
    length, _, _, sequence, _ = HEADER.unpack_from(payload, 4)
    said, offset = "", None
    if flags & _NLM_F_ACK_TLVS:
        start = 20 if flags & _NLM_F_CAPPED else 4 + ((length + 3) & ~3)
        for kind, value in attributes(payload[start:]):
            if kind == _NLMSGERR_ATTR_MSG:
                said = value.rstrip(b"\0").decode(errors="replace")
            elif kind == _NLMSGERR_ATTR_OFFS:
                offset = _U32.unpack(value)[0]
    return Answer(sequence, error, said, offset)
