"""The named sets and maps of a table, and the elements of those that the packets do not change.

Everything is read by raw netlink dumps: libnftables starts a listing of elements over at each
commit of anybody, and never ends beside a busy writer.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from fwlb.errors import ElementMissingError, KernelError
from fwlb.kernel import nfnetlink as nft
from fwlb.kernel.netlink import NetlinkSocket, attribute, attributes, nested, text
from fwlb.kernel.types import VERDICT_TYPE, Layout, layout_of, verdict_text

_SET_FLAGS, _SET_KEY_TYPE, _SET_KEY_LEN, _SET_DATA_TYPE, _SET_DATA_LEN = 3, 4, 5, 6, 7
_SET_DESC, _SET_TIMEOUT, _SET_USERDATA, _SET_EXPR, _SET_EXPRESSIONS = 9, 11, 13, 17, 18
_DESC_SIZE = 1
_UDATA_DATA_INTERVAL = 6  # in a set's user data (libnftnl, udata.h)
_UDATA_COMMENT = 0  # in an element's user data

_ATTEMPTS = 12
_PAUSE_S = 0.004


@dataclass(frozen=True, slots=True)
class SetInfo:
    """A named set or map as it was declared. A layout is None where the type is unknown here."""

    name: str
    family: str
    table: str
    flags: int
    key: Layout | None
    data: Layout | None = None
    has_verdicts: bool = False
    has_ranges_as_data: bool = False
    has_expressions: bool = False
    timeout_s: float | None = None
    """What an element gets that names no time-out."""
    size: int | None = None
    """How many elements fit in; None: as many as memory allows."""

    def __str__(self) -> str:
        return f"{'map' if self.is_map else 'set'} {self.name}"

    @property
    def is_map(self) -> bool:
        return bool(self.flags & (nft.SET_MAP | nft.SET_OBJECT))

    @property
    def is_interval(self) -> bool:
        return bool(self.flags & nft.SET_INTERVAL)

    @property
    def has_objects(self) -> bool:
        """The data of this map are names of counters, quotas, helpers."""
        return bool(self.flags & nft.SET_OBJECT)

    @property
    def is_static(self) -> bool:
        """Neither time nor packets change it: only rulesets do."""
        return not self.flags & (nft.SET_TIMEOUT | nft.SET_EVAL)

    @property
    def is_opaque(self) -> bool:
        """The elements cannot be shown as text by this module."""
        named_data = self.has_verdicts or self.has_objects
        return self.key is None or (self.is_map and not named_data and self.data is None)


@dataclass(frozen=True, slots=True)
class StaticElement:
    """One element or range. `text()` recreates it: `add element inet fwlb NAME { TEXT }`."""

    info: SetInfo
    first: bytes
    """The key, or the first key of a range; empty for the element that stands for all others."""
    last: bytes
    data: bytes | str | None = None
    """Bytes of a value; the text of a verdict or object name; None in a set."""
    comment: str | None = None

    def text(self) -> str:
        """The element in nft syntax, as nft prints it (without counters)."""
        key = self.info.key
        if key is None:
            raise KernelError(f"{self.info}: elements of this type cannot be shown")
        if not self.first:
            words = "*"
        elif self.first == self.last:
            words = key.text(self.first)
        else:
            words = key.range_text(self.first, self.last)
        if self.comment is not None:
            words += f' comment "{self.comment}"'
        return words if self.data is None else f"{words} : {self._data_text(self.data)}"

    def _data_text(self, data: bytes | str) -> str:
        layout = self.info.data
        if isinstance(data, str):
            return data
        if layout is None:
            raise KernelError(f"{self.info}: data of this type cannot be shown")
        if not self.info.has_ranges_as_data:
            return layout.text(data)
        return layout.range_text(data[: layout.size_bytes], data[layout.size_bytes :])


@contextmanager
def _socket(given: NetlinkSocket | None) -> Iterator[NetlinkSocket]:
    if given is not None:
        yield given
        return
    with NetlinkSocket() as own:
        yield own


def read_sets(
    table: str = "fwlb", family: str = "inet", *, netlink: NetlinkSocket | None = None
) -> dict[str, SetInfo]:
    """Every named set and map of a table, by name.

    Raises ElementMissingError when there is no such table. The namespace is that of the calling
    thread, or the one in which `netlink` was made.
    """
    body = nft.head(family) + text(nft.ATTR_TABLE, table)
    try:
        with _socket(netlink) as connection:
            found = _dump_until_stable(
                connection, nft.GETSET, body, f"sets of table {family} {table}", _declarations
            )
    except ElementMissingError as error:
        raise ElementMissingError(
            f"there is no table {family} {table}", errno=error.errno, hint="run `fwlb up`"
        ) from error
    infos = (_set_info(dict(attributes(each)), family, table) for each in found)
    return {info.name: info for info in infos if not info.flags & nft.SET_ANONYMOUS}


def _set_info(found: dict[int, bytes], family: str, table: str) -> SetInfo:
    def number(kind: int) -> int:
        return nft.U32.unpack(found[kind])[0] if kind in found else 0

    flags = number(_SET_FLAGS)
    has_verdicts = number(_SET_DATA_TYPE) == VERDICT_TYPE
    ranges = b"\x01" in dict(_user_data(found.get(_SET_USERDATA, b""))).get(
        _UDATA_DATA_INTERVAL, b""
    )
    data = None
    if flags & nft.SET_MAP and not has_verdicts:
        data = layout_of(number(_SET_DATA_TYPE), number(_SET_DATA_LEN) // (2 if ranges else 1))
        if data and ranges and any(field.host_order for field in data.fields):
            data = None  # nft 1.0.6 itself shows such ranges with their bytes swapped
    size = dict(attributes(found.get(_SET_DESC, b""))).get(_DESC_SIZE)
    timeout = found.get(_SET_TIMEOUT)
    return SetInfo(
        name=_string(found[nft.ATTR_SET]),
        family=family,
        table=table,
        flags=flags,
        key=layout_of(
            number(_SET_KEY_TYPE),
            number(_SET_KEY_LEN),
            big_endian=bool(flags & nft.SET_INTERVAL),
        ),
        data=data,
        has_verdicts=has_verdicts,
        has_ranges_as_data=ranges,
        has_expressions=_SET_EXPR in found or _SET_EXPRESSIONS in found,
        timeout_s=nft.U64.unpack(timeout)[0] / 1000 if timeout else None,
        size=nft.U32.unpack(size)[0] if size else None,
    )


def dump_elements(info: SetInfo, *, netlink: NetlinkSocket | None = None) -> list[StaticElement]:
    """The elements of a static set or map in the order of their keys, ranges put together.

    Raises KernelError when the set itself goes on changing while it is read, and
    ElementMissingError when it is gone.
    """
    with _socket(netlink) as connection:
        found = raw_elements(info, netlink=connection)
    parts = [_element(info, dict(attributes(payload))) for payload in found]
    if info.is_interval:
        return _ranges(info, parts)
    return sorted((element for element, _ in parts), key=lambda element: element.first)


def raw_elements(info: SetInfo, *, netlink: NetlinkSocket) -> list[bytes]:
    """The elements as the kernel has them (attributes of one element each), sorted, without
    counters and time-outs."""
    body = nft.set_address(info.family, info.table, info.name)
    return _dump_until_stable(
        netlink, nft.GETSETELEM, body, str(info), lambda bodies: _payloads(info, bodies)
    )


def digest(elements: Sequence[bytes]) -> str:
    """A short name for what `raw_elements` returned: equal for equal elements."""
    return hashlib.sha256(b"".join(elements)).hexdigest()[:16]


def add_raw_elements(info: SetInfo, elements: Sequence[bytes]) -> list[bytes]:
    """Bodies of NEWSETELEM messages that put what `raw_elements` returned into a set."""
    address = nft.set_address(info.family, info.table, info.name)
    return [
        address + nested(nft.ATTR_ELEMENTS, nested(nft.LIST_ELEMENT, each)) for each in elements
    ]


def _dump_until_stable(
    connection: NetlinkSocket,
    kind: int,
    body: bytes,
    what: str,
    extract: Callable[[Sequence[bytes]], Iterable[bytes]],
) -> list[bytes]:
    """Dump, and dump again where the first answer may be wrong.

    NLM_F_DUMP_INTR says that the generation of the *whole* ruleset changed, and each commit of a
    daemon to any of its sets does that. A dump walks one set only (nf_tables_dump_set), and
    commits to other sets do not touch it, so starting over until the flag stays away (as
    libnftables does) is needless and may never end. What can spoil a walk is a change of the very
    set: then two dumps in a row differ, or, while its hash table grows, elements come twice
    for others that are missing. Both are waited out.
    """
    before: list[bytes] | None = None
    for attempt in range(_ATTEMPTS):
        if attempt > 1:
            time.sleep(_PAUSE_S * attempt)
        bodies, interrupted = connection.dump(kind, body, what)
        found = sorted(extract(bodies))
        unique = len(set(found)) == len(found)
        if unique and (not interrupted or found == before):
            return found
        before = found if unique else None
    raise KernelError(
        f"{what}: it changed each of {_ATTEMPTS} times that it was read",
        hint="another program writes to it without pause; stop that program and try again",
    )


def _declarations(bodies: Sequence[bytes]) -> Iterator[bytes]:
    """What was declared of each set; newer kernels also say how many elements there are."""
    for body in bodies:
        found = attributes(body[nft.HEAD_BYTES :])
        yield b"".join(attribute(kind, value) for kind, value in found if kind <= _SET_EXPRESSIONS)


def _payloads(info: SetInfo, bodies: Sequence[bytes]) -> Iterator[bytes]:
    for body in bodies:
        for kind, value in attributes(body[nft.HEAD_BYTES :]):
            if kind == nft.ATTR_ELEMENTS:
                for _, payload in attributes(value):
                    yield _without_state(payload) if info.has_expressions else payload


def _without_state(payload: bytes) -> bytes:
    """What packets change is no part of a static element: counters, times."""
    state = {nft.ELEM_TIMEOUT, nft.ELEM_EXPIRATION, nft.ELEM_EXPR, nft.ELEM_EXPRESSIONS}
    return b"".join(attribute(k, value) for k, value in attributes(payload) if k not in state)


def _element(info: SetInfo, found: dict[int, bytes]) -> tuple[StaticElement, bool]:
    """An element, and whether it is the end of the range before it (not included in it)."""
    flags = nft.U32.unpack(found[nft.ELEM_FLAGS])[0] if nft.ELEM_FLAGS in found else 0
    first = _value(found.get(nft.ELEM_KEY, b""))
    last = _value(found[nft.ELEM_KEY_END]) if nft.ELEM_KEY_END in found else first
    data: bytes | str | None = None
    if nft.ELEM_DATA in found:
        data = _data(found[nft.ELEM_DATA])
    elif nft.ELEM_OBJREF in found:
        data = f'"{_string(found[nft.ELEM_OBJREF])}"'
    comment = dict(_user_data(found.get(nft.ELEM_USERDATA, b""))).get(_UDATA_COMMENT)
    element = StaticElement(info, first, last, data, None if comment is None else _string(comment))
    return element, bool(flags & nft.ELEM_FLAG_INTERVAL_END)


def _ranges(info: SetInfo, parts: list[tuple[StaticElement, bool]]) -> list[StaticElement]:
    """Put starts and ends together. Sets of one field keep both ends of a range as elements of
    their own, the end being the first key that is *not* in it; the last range may have no end.
    Concatenations say both ends in one element."""
    if info.key is None or info.key.is_concatenated:
        return sorted((element for element, _ in parts), key=lambda element: element.first)
    # where one range ends and the next begins with the same key, the end comes first
    parts.sort(key=lambda part: (part[0].first, not part[1]))
    result: list[StaticElement] = []
    is_open = False
    for element, is_end in parts:
        if is_open:
            before = int.from_bytes(element.first, "big") - 1
            result[-1] = replace(result[-1], last=before.to_bytes(info.key.size_bytes, "big"))
        is_open = not is_end and bool(element.first)
        if not is_end:
            result.append(element)
    if is_open:
        result[-1] = replace(result[-1], last=b"\xff" * info.key.size_bytes)
    return result


def _value(nest: bytes) -> bytes:
    """NFTA_DATA_VALUE inside a key."""
    return dict(attributes(nest)).get(nft.DATA_VALUE, b"")


def _data(nest: bytes) -> bytes | str:
    found = dict(attributes(nest))
    if nft.DATA_VERDICT not in found:
        return found[nft.DATA_VALUE]
    verdict = dict(attributes(found[nft.DATA_VERDICT]))
    chain = verdict.get(nft.VERDICT_CHAIN)
    code = nft.I32.unpack(verdict[nft.VERDICT_CODE])[0]
    return verdict_text(code, _string(chain) if chain else None)


def _user_data(raw: bytes) -> Iterator[tuple[int, bytes]]:
    """nftables' own notes: type and length in one byte each (libnftnl, udata.c)."""
    start = 0
    while start + 2 <= len(raw):
        length = raw[start + 1]
        yield raw[start], raw[start + 2 : start + 2 + length]
        start += 2 + length


def _string(raw: bytes) -> str:
    return raw.rstrip(b"\0").decode(errors="surrogateescape")
