"""Elements as bytes, for one set: everything that can be computed once is.

An element is a nest of KEY { VALUE }, DATA { VALUE } and TIMEOUT, each padded to four bytes:
without the padding of DATA the kernel misreads what follows and never answers.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence

from fwlb.errors import KernelError
from fwlb.kernel import nfnetlink as nft
from fwlb.kernel.sets import SetInfo
from fwlb.kernel.types import Layout
from fwlb.model import Element, FieldValue

_NESTED = 0x8000
_ELEMENT_AND_KEY = struct.Struct("=HHHHHH")
_NEST_AND_VALUE = struct.Struct("=HHHH")
_NEST = struct.Struct("=HH")
_TIMEOUT = struct.Struct(">4sQ")
_TIMEOUT_HEADER = struct.pack("=HH", _TIMEOUT.size, nft.ELEM_TIMEOUT)


class Packer:
    """Packs elements of one set or map. Raises KernelError (EINVAL) for what does not fit."""

    def __init__(self, info: SetInfo) -> None:
        self.info = info
        self.address = nft.set_address(info.family, info.table, info.name)
        """Beginning of the body of each message about this set."""
        self._why_not = _why_not(info)
        self._key = info.key or Layout([])
        self._data = info.data if self._why_not is None else None
        self._can_time_out = bool(info.flags & nft.SET_TIMEOUT)
        data_header, data_bytes = _data_header(self._data)
        self._data_header = data_header
        self._bare_header = _key_header(self._key, 0)
        self._plain_header = _key_header(self._key, data_bytes)
        self._timed_header = _key_header(self._key, data_bytes + _TIMEOUT.size)
        key_end = _ELEMENT_AND_KEY.size + _padded(self._key)
        self._key_slice = slice(_ELEMENT_AND_KEY.size, key_end)
        self.element_bytes = key_end + data_bytes + _TIMEOUT.size
        """Length of an element with all that it can have."""

    def key(self, values: Sequence[FieldValue]) -> bytes:
        """The key as the kernel stores it, padded to four bytes."""
        self._refuse_unknown()
        try:
            return self._key.pack(values)
        except ValueError as error:
            raise self._misfit(str(error)) from error

    def bare(self, key: bytes) -> bytes:
        """An element that names just its (packed) key: to delete, or to ask for."""
        return self._bare_header + key

    def full(self, element: Element) -> bytes:
        """An element with its data and time-out: to add."""
        if self._why_not is not None:
            self._refuse_unknown()
        timeout_s = element.timeout_s
        try:
            packed = self._plain_header if timeout_s is None else self._timed_header
            packed += self._key.pack(element.key)
            if self._data is not None:
                packed += self._data_header + self._data.pack(element.data or ())
            elif element.data is not None:
                raise self._misfit(f"it is no map, and {element.data!r} was given as data")
            if timeout_s is not None:
                # 0 would mean: stay for ever
                packed += _TIMEOUT.pack(_TIMEOUT_HEADER, round(timeout_s * 1000) or 1)
        except ValueError as error:
            raise self._misfit(str(error)) from error
        except struct.error as error:
            raise self._misfit(f"no time-out is {timeout_s} s") from error
        if timeout_s is not None and not self._can_time_out:
            raise self._misfit("its elements have no time-out")
        return packed

    def key_of(self, full: bytes) -> bytes:
        """The packed key of an element that `full` or `bare` returned."""
        return full[self._key_slice]

    def query(self, key: bytes) -> bytes:
        """Body of a message that asks for one packed key."""
        bare = self.bare(key)
        return self.address + _NEST.pack(4 + len(bare), nft.ATTR_ELEMENTS | _NESTED) + bare

    def describe(self, element: bytes) -> str:
        """The key of a packed element, in nft syntax."""
        return self._key.text(self.key_of(element))

    def _refuse_unknown(self) -> None:
        if self._why_not is not None:
            raise self._misfit(self._why_not)

    def _misfit(self, why: str) -> KernelError:
        return KernelError(f"{self.info}: {why}", errno=errno.EINVAL)


def _why_not(info: SetInfo) -> str | None:
    if info.is_interval:
        return "it holds ranges, which only a ruleset sets"
    if info.has_verdicts or info.has_objects or info.has_ranges_as_data or info.is_opaque:
        return "its type is one that only a ruleset sets"
    return None


def _padded(layout: Layout) -> int:
    return (layout.size_bytes + 3) & ~3


def _key_header(key: Layout, rest_bytes: int) -> bytes:
    """Headers of the element (with `rest_bytes` behind the key), its key, and the value of that."""
    key_bytes = 8 + _padded(key)
    return _ELEMENT_AND_KEY.pack(
        4 + key_bytes + rest_bytes,
        nft.LIST_ELEMENT | _NESTED,
        key_bytes,
        nft.ELEM_KEY | _NESTED,
        4 + key.size_bytes,
        nft.DATA_VALUE,
    )


def _data_header(data: Layout | None) -> tuple[bytes, int]:
    """Headers of the data and its value, and the length of all of it."""
    if data is None:
        return b"", 0
    total = 8 + _padded(data)
    header = _NEST_AND_VALUE.pack(
        total, nft.ELEM_DATA | _NESTED, 4 + data.size_bytes, nft.DATA_VALUE
    )
    return header, total
