"""Network interfaces of a scratch namespace: names that rules can refer to, and nothing else.

Raw rtnetlink, because loading a netlink library costs more than everything that the short-lived
process of `nft_child` does.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from itertools import count
from struct import Struct

from fwlb.errors import HostError, KernelError, MissingFeatureError
from fwlb.kernel.netlink import (
    NETLINK_ROUTE,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NetlinkSocket,
    attribute,
    nested,
    text,
)

_RTM_NEWLINK = 16
_IFINFO = Struct("=BxHiII").pack(socket.AF_UNSPEC, 0, 0, 0, 0)
_IFLA_IFNAME, _IFLA_LINKINFO = 3, 18
_INFO_KIND, _INFO_DATA, _VETH_PEER = 1, 2, 1


def interface_names() -> list[str]:
    """Names of the interfaces of this network namespace."""
    return [name for _, name in socket.if_nameindex()]


def create_links(names: Sequence[str]) -> None:
    """Make interfaces of these names, two by two the ends of a veth pair.

    Raises HostError for a name that the kernel refuses, MissingFeatureError without veth.
    """
    taken = {*names, *interface_names()}
    if len(names) % 2:
        spare = next(name for n in count() if (name := f"spare{n}") not in taken)
        names = [*names, spare]
    with NetlinkSocket(NETLINK_ROUTE) as netlink:
        for name, peer in zip(names[::2], names[1::2], strict=True):
            try:
                netlink.request(_RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, _veth(name, peer), name)
            except KernelError as error:
                if error.errno == errno.EOPNOTSUPP:
                    raise MissingFeatureError(
                        "this kernel has no veth interfaces", hint="modprobe veth"
                    ) from error
                raise HostError(f"no interface can be called {name} or {peer}: {error}") from error


def _veth(name: str, peer: str) -> bytes:
    """struct ifinfomsg and attributes of RTM_NEWLINK for a pair (linux/veth.h)."""
    other = nested(_VETH_PEER, _IFINFO, text(_IFLA_IFNAME, peer))
    info = nested(_IFLA_LINKINFO, attribute(_INFO_KIND, b"veth"), nested(_INFO_DATA, other))
    return _IFINFO + text(_IFLA_IFNAME, name) + info
