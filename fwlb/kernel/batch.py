"""From changes to the messages of one transaction."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from fwlb.kernel import nfnetlink as nft
from fwlb.kernel.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REQUEST,
    Answer,
    NetlinkSocket,
    error_of,
    message,
)
from fwlb.kernel.packing import Packer
from fwlb.model import Change, ChangeKind

_MAX_NEST_BYTES = 60_000  # the length of an attribute is 16 bits wide
_NEST = struct.Struct("=HH")
_ELEMENTS = nft.ATTR_ELEMENTS | 0x8000
_HEADER_BYTES = 16


Message = tuple[int, int, bytes]
"""Type, flags and body of a netlink message."""


@dataclass(slots=True)
class Run:
    """Changes of one kind to one set that stand one after the other: one message, or few.

    `full` are elements to add, `bare` elements to delete; `keys` their packed keys.
    """

    packer: Packer
    kind: ChangeKind
    keys: set[bytes] = field(default_factory=set)
    full: list[bytes] = field(default_factory=list)
    bare: list[bytes] = field(default_factory=list)

    def messages(self) -> list[Message]:
        """What to send, in order."""
        if self.kind is ChangeKind.DELETE:
            return self._messages(nft.DELSETELEM, 0, self.bare)
        adds = self._messages(nft.NEWSETELEM, NLM_F_CREATE, self.full)
        if self.kind is ChangeKind.ADD:
            return adds
        return [*adds, *self._messages(nft.DELSETELEM, 0, self.bare), *adds]

    def _messages(self, kind: int, flags: int, elements: Sequence[bytes]) -> list[Message]:
        messages = []
        for start, end in _chunks(elements):
            nest = b"".join(elements[start:end])
            body = self.packer.address + _NEST.pack(4 + len(nest), _ELEMENTS) + nest
            messages.append((kind, flags, body))
        return messages

    def describe(self, offset: int | None) -> str:
        """What was tried with which key. `offset` is where in its message the kernel says the
        element is; old kernels do not say."""
        elements = self.full or self.bare
        what = self.kind.value
        if len(elements) == 1:
            return f"{what} {self.packer.describe(elements[0])}"
        if offset is not None and len(list(_chunks(elements))) == 1:
            position = _HEADER_BYTES + len(self.packer.address) + _NEST.size
            for element in self.bare if self.kind is ChangeKind.DELETE else self.full:
                if position >= offset:
                    return f"{what} {self.packer.describe(element)}"
                position += len(element)
        return f"{what} one of {len(elements)} elements"


def _chunks(elements: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    start = size = 0
    for position, element in enumerate(elements):
        if size + len(element) > _MAX_NEST_BYTES:
            yield start, position
            start, size = position, 0
        size += len(element)
    if start < len(elements):
        yield start, len(elements)


def runs_of(
    changes: Sequence[Change],
    packer_of: Callable[[str], Packer],
    gone: Collection[tuple[str, bytes]] = (),
) -> list[Run]:
    """Group `changes`. The order of changes to one set stays; sets have nothing to do with each
    other inside a transaction. A DELETE of a key in `gone` (set name, packed key) is left out,
    unless an earlier change of this very batch adds the key."""
    runs: dict[str, list[Run]] = {}
    there: dict[tuple[str, bytes], bool] = {}
    for change in changes:
        element, kind = change.element, change.kind
        name = element.set_name
        packer = packer_of(name)
        full = None if kind is ChangeKind.DELETE else packer.full(element)
        key = packer.key(element.key) if full is None else packer.key_of(full)
        if full is None and not there.get((name, key), (name, key) not in gone):
            continue
        there[name, key] = full is not None
        run = _run_for(runs.setdefault(name, []), packer, kind, key)
        run.keys.add(key)
        if full is not None:
            run.full.append(full)
        if kind is not ChangeKind.ADD:
            run.bare.append(packer.bare(key))
    return [run for of_set in runs.values() for run in of_set]


def _run_for(runs: list[Run], packer: Packer, kind: ChangeKind, key: bytes) -> Run:
    """The run that the next change belongs to. A key may be renewed once in a run: all of it is
    added, then all of it deleted, then all of it added again."""
    if not runs or runs[-1].kind is not kind or (kind is ChangeKind.RENEW and key in runs[-1].keys):
        runs.append(Run(packer, kind))
    return runs[-1]


def commit(
    netlink: NetlinkSocket, messages: Sequence[Message], what: str
) -> list[tuple[int, Answer]]:
    """Send one transaction. Returns the refusals with the position of the message each is about;
    nothing was changed if there are any.

    The kernel answers each message that it refuses, and the last one, where we ask for it. An
    answer to the begin of the batch is about all of it (no privilege, or the commit failed): that
    one is raised.
    """
    last = len(messages) - 1
    sequences = netlink.sequences(len(messages) + 2)
    first = sequences[0]
    parts = [message(nft.BATCH_BEGIN, NLM_F_REQUEST, first, nft.BATCH_HEAD)]
    for position, (kind, flags, body) in enumerate(messages):
        asks = NLM_F_REQUEST | NLM_F_ACK if position == last else NLM_F_REQUEST
        parts.append(message(kind, flags | asks, first + 1 + position, body))
    parts.append(message(nft.BATCH_END, NLM_F_REQUEST, sequences[-1], nft.BATCH_HEAD))
    netlink.send(b"".join(parts), what)
    refusals = []
    while True:
        answer = netlink.acknowledgement(sequences, what)
        position = answer.sequence - first - 1
        if position < 0:
            raise error_of(answer, what)
        if answer.errno:
            refusals.append((position, answer))
        if position == last:
            return refusals
