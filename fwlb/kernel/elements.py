"""Writes elements of sets and maps while traffic runs: one netlink message, one answer.

A transaction is a batch of nf_tables messages (nfnetlink_rcv_batch): all of it or nothing. What
the kernel does with one element differs between versions, and what is here works on all of them:

* adding an element that is there does not renew its time-out before Linux 6.12, and deleting one
  that is not there is an error: so RENEW is add, delete and add again, in one transaction;
* a key may vanish (time-out, or `delete @pinhole4` in a rule) before the DELETE of it arrives, and
  then the whole batch would be refused: keys are asked for first, and left out when they are gone.
"""

from __future__ import annotations

import errno as errnos
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from fwlb.errors import ElementMissingError, FwlbError, KernelError
from fwlb.kernel import nfnetlink as nft
from fwlb.kernel.batch import Message, Run, commit, runs_of
from fwlb.kernel.netlink import Answer, NetlinkSocket, attributes, error_of
from fwlb.kernel.packing import Packer
from fwlb.kernel.sets import SetInfo, read_sets
from fwlb.model import Change, ChangeKind, FieldValue

MAX_TRANSACTION_BYTES = 4 << 20
"""A longer batch becomes several transactions, of 65,000 bindings each (IPv4; 43,000 of IPv6), or a
third of that to renew."""
_MESSAGE_BYTES = 128  # around the elements, names included
_ATTEMPTS = 6
_WRONG_RULESET = "the ruleset in force is another one; put it back: fwlb up --no-daemon"
_QUERIES_AT_ONCE = 128  # their answers must fit the receive buffer


@dataclass(frozen=True, slots=True)
class StoredElement:
    """An element as the kernel has it now."""

    key: tuple[FieldValue, ...]
    data: tuple[FieldValue, ...] | None
    timeout_s: float | None
    """What it was given; None: it stays."""
    expires_in_s: float | None
    """What is left of it."""


class ElementWriter:
    """Writes elements of one table, in the network namespace where it was made.

    Holds a netlink socket: close it, or use it as a context manager. Not for several threads.
    Raises ElementMissingError when there is no such table, PrivilegeError without CAP_NET_ADMIN.
    """

    def __init__(
        self,
        table: str = "fwlb",
        family: str = "inet",
        *,
        timeout_s: float = 5.0,
        netlink: NetlinkSocket | None = None,
    ) -> None:
        self.table = table
        self.family = family
        self._what = f"table {family} {table}"
        self._packers: dict[str, Packer] = {}
        self._netlink = netlink or NetlinkSocket(timeout_s=timeout_s)
        try:
            self.refresh()
        except BaseException:
            self._netlink.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._netlink.close()

    @property
    def sets(self) -> Mapping[str, SetInfo]:
        """The sets and maps of the table as they were when last read."""
        return {name: packer.info for name, packer in self._packers.items()}

    def refresh(self) -> None:
        """Read the declarations again: the ruleset was replaced. `apply` does so by itself when a
        set is missing or has another key than before."""
        infos = read_sets(self.table, self.family, netlink=self._netlink)
        self._packers = {name: Packer(info) for name, info in infos.items()}

    def apply(self, changes: Sequence[Change]) -> None:
        """Carry out `changes`, all or none of them (up to `MAX_TRANSACTION_BYTES`).

        Applying the same changes twice is harmless, so after NetlinkTimeoutError or ENOBUFS, when
        it is not known whether they were made, apply them again.

        Raises ElementExistsError, SetFullError, ElementMissingError (no such set), or KernelError
        for values that do not fit the set.
        """
        if len(changes) == 1:
            self._transact(changes)
            return
        for part in self._parts(changes):
            self._transact(part)

    def get(self, set_name: str, key: Sequence[FieldValue]) -> StoredElement | None:
        """The element with this key, or None. Costs the same in any set of exact keys."""
        packer = self._packer(set_name)
        what = f"{packer.info}: get {key!r}"
        answer = self._netlink.query(nft.GETSETELEM, packer.query(packer.key(key)), what)
        if isinstance(answer, Answer):
            if answer.errno == errnos.ENOENT:
                return None
            raise error_of(answer, what)
        return _stored(packer, answer)

    def flush(self, set_name: str) -> None:
        """Take all elements out of a set."""
        packer = self._packer(set_name)
        what = f"{packer.info}: flush"
        for _, answer in commit(self._netlink, [(nft.DELSETELEM, 0, packer.address)], what):
            raise error_of(answer, what)

    # --- one transaction -------------------------------------------------------------------------

    def _transact(self, changes: Sequence[Change]) -> None:
        refusals: Refusals = []
        refreshed = False
        for _ in range(_ATTEMPTS):
            runs = runs_of(changes, self._packer, self._gone(changes))
            refusals = self._send(runs) if runs else []
            if not refusals:
                return
            if any(_is_missing_key(refusal) for refusal in refusals):
                continue
            if refreshed or not _may_be_outdated(refusals):
                break
            refreshed = True
            self.refresh()
        raise _error(refusals)

    def _gone(self, changes: Sequence[Change]) -> frozenset[tuple[str, bytes]]:
        """Set and packed key of each element that a DELETE names and that is not there.

        It is asked for beforehand: often the packet that a pinhole waited for has taken it away,
        and each refused transaction costs milliseconds (the kernel waits for an RCU grace period).
        """
        deletes = [change.element for change in changes if change.kind is ChangeKind.DELETE]
        gone = set()
        for start in range(0, len(deletes), _QUERIES_AT_ONCE):
            part = []
            for element in deletes[start : start + _QUERIES_AT_ONCE]:
                packer = self._packer(element.set_name)
                part.append((packer, packer.key(element.key)))
            bodies = [packer.query(key) for packer, key in part]
            replies = self._netlink.queries(nft.GETSETELEM, bodies, self._what)
            for (packer, key), reply in zip(part, replies, strict=True):
                if isinstance(reply, Answer):
                    gone.add((packer.info.name, key))
        return frozenset(gone)

    def _send(self, runs: Sequence[Run]) -> Refusals:
        messages: list[Message] = []
        owners: list[Run] = []
        for run in runs:
            of_run = run.messages()
            messages += of_run
            owners += [run] * len(of_run)
        refused = commit(self._netlink, messages, self._what)
        return [(owners[position], messages[position][0], answer) for position, answer in refused]

    # --- parts -----------------------------------------------------------------------------------

    def _parts(self, changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
        """Cut a batch into transactions."""
        start = size = 0
        before: tuple[str, ChangeKind] | None = None
        for position, change in enumerate(changes):
            name, kind = change.element.set_name, change.kind
            weight = self._packer(name).element_bytes
            if before != (name, kind):
                weight += _MESSAGE_BYTES
                before = name, kind
            if kind is ChangeKind.RENEW:
                weight *= 3
            if size + weight > MAX_TRANSACTION_BYTES:
                yield changes[start:position]
                start, size = position, 0
            size += weight
        if start < len(changes):
            yield changes[start:]

    def _packer(self, set_name: str) -> Packer:
        packer = self._packers.get(set_name)
        if packer is None:
            self.refresh()  # a set that came with a new ruleset
            packer = self._packers.get(set_name)
        if packer is None:
            raise ElementMissingError(
                f"table {self.family} {self.table} has no set {set_name}",
                errno=errnos.ENOENT,
                hint=_WRONG_RULESET,
            )
        return packer


Refusals = list[tuple[Run, int, Answer]]
"""What the kernel refused: the run, the type of the message, the answer."""


def _is_missing_key(refusal: tuple[Run, int, Answer]) -> bool:
    """A key to delete has vanished since we asked; in a RENEW it lapsed between add and delete."""
    _, kind, answer = refusal
    return kind == nft.DELSETELEM and answer.errno == errnos.ENOENT


def _may_be_outdated(refusals: Refusals) -> bool:
    """The set is gone or has another key than we think."""
    return any(answer.errno in {errnos.ENOENT, errnos.EINVAL} for _, _, answer in refusals)


def _error(refusals: Refusals) -> FwlbError:
    """The first refusal that is not just a consequence of a key that went missing."""
    run, _, answer = min(refusals, key=_is_missing_key)
    hint = {
        errnos.ENOENT: _WRONG_RULESET,
        errnos.EEXIST: "delete the element first, or take another key",
        errnos.ENFILE: f"it holds {run.packer.info.size} elements; ended ones count for a second",
    }.get(answer.errno)
    return error_of(answer, f"{run.packer.info}: {run.describe(answer.offset)}", hint=hint)


def _stored(packer: Packer, body: bytes) -> StoredElement:
    elements = dict(attributes(body[nft.HEAD_BYTES :])).get(nft.ATTR_ELEMENTS, b"")
    found = dict(attributes(dict(attributes(elements)).get(nft.LIST_ELEMENT, b"")))

    def value(kind: int) -> bytes:
        return dict(attributes(found[kind])).get(nft.DATA_VALUE, b"")

    def seconds(kind: int) -> float | None:
        return nft.U64.unpack(found[kind])[0] / 1000 if kind in found else None

    info = packer.info
    try:
        return StoredElement(
            key=info.key.unpack(value(nft.ELEM_KEY)) if info.key else (),
            data=info.data.unpack(value(nft.ELEM_DATA)) if info.data else None,
            timeout_s=seconds(nft.ELEM_TIMEOUT),
            expires_in_s=seconds(nft.ELEM_EXPIRATION),
        )
    except (KeyError, struct.error, ValueError) as error:
        raise KernelError(f"{info}: the kernel's answer cannot be read: {error}") from error
