"""Names and message heads of nf_tables, as in linux/netfilter/nf_tables.h and nfnetlink.h."""

from __future__ import annotations

from struct import Struct

from fwlb.errors import KernelError
from fwlb.kernel import netlink

FAMILIES = {"inet": 1, "ip": 2, "arp": 3, "netdev": 5, "bridge": 7, "ip6": 10}

_SUBSYSTEM = 10
NEWSET, GETSET = (_SUBSYSTEM << 8) | 9, (_SUBSYSTEM << 8) | 10
NEWSETELEM, GETSETELEM, DELSETELEM = (_SUBSYSTEM << 8 | kind for kind in (12, 13, 14))
BATCH_BEGIN, BATCH_END = 0x10, 0x11

SET_ANONYMOUS, SET_INTERVAL, SET_MAP, SET_TIMEOUT, SET_EVAL, SET_OBJECT = (
    0x1,
    0x4,
    0x8,
    0x10,
    0x20,
    0x40,
)

ATTR_TABLE, ATTR_SET, ATTR_ELEMENTS = 1, 2, 3
"""Of set and of element messages: both begin with table and set."""
LIST_ELEMENT = 1

ELEM_KEY, ELEM_DATA, ELEM_FLAGS, ELEM_TIMEOUT, ELEM_EXPIRATION, ELEM_USERDATA = 1, 2, 3, 4, 5, 6
ELEM_EXPR, ELEM_OBJREF, ELEM_KEY_END, ELEM_EXPRESSIONS = 7, 9, 10, 11
ELEM_FLAG_INTERVAL_END, ELEM_FLAG_CATCHALL = 1, 2
DATA_VALUE, DATA_VERDICT = 1, 2
VERDICT_CODE, VERDICT_CHAIN = 1, 2

_HEAD = Struct(">BBH")
HEAD_BYTES = _HEAD.size
U32 = Struct(">I")
I32 = Struct(">i")
U64 = Struct(">Q")


def head(family: str) -> bytes:
    """struct nfgenmsg for an address family. Raises KernelError for one that nf_tables lacks."""
    try:
        return _HEAD.pack(FAMILIES[family], 0, 0)
    except KeyError:
        raise KernelError(f"nftables has no family {family!r}: {', '.join(FAMILIES)}") from None


BATCH_HEAD = _HEAD.pack(0, 0, _SUBSYSTEM)
"""struct nfgenmsg of both ends of a batch: the subsystem that the batch is for."""


def set_address(family: str, table: str, name: str) -> bytes:
    """The beginning of every element message: which set it is about."""
    return head(family) + netlink.text(ATTR_TABLE, table) + netlink.text(ATTR_SET, name)
