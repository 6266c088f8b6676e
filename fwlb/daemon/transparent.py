"""Sockets that stand for addresses of others: the listeners, and the relay's legs to servers.

linux/in.h, linux/in6.h: the numbers that Python's `socket` does not have.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from fwlb.errors import PortInUseError, PrivilegeError
from fwlb.model import Endpoint, IPAddress

IP_PKTOPTIONS, IP_RECVTOS, IP_TRANSPARENT, IP_BIND_ADDRESS_NO_PORT = 9, 13, 19, 24
IPV6_2292PKTOPTIONS, IPV6_RECVTCLASS, IPV6_TCLASS, IPV6_TRANSPARENT = 6, 66, 67, 75
BACKLOG = 4096
_CMSG_HEADER = struct.Struct("@Nii")


def listen(family: socket.AddressFamily, port: int) -> socket.socket | None:
    """A listener on the loopback address, to which tproxy hands connections with any destination.

    On a wildcard address it could be reached from outside under its own port. Returns None where
    the kernel has no IPv6. Raises PortInUseError, PrivilegeError.
    """
    address = "127.0.0.1" if family is socket.AF_INET else "::1"
    try:
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    except OSError as error:
        if error.errno == errno.EAFNOSUPPORT and family is socket.AF_INET6:
            return None
        raise
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        _make_transparent(listener)
        if family is socket.AF_INET:
            listener.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
        else:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVTCLASS, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
    except (OSError, PrivilegeError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise _port_in_use(family, address, port) from error
        raise
    return listener


def dial(
    source: IPAddress, port: int | None, *, mark: int, traffic_class: int = 0
) -> socket.socket:
    """An unconnected socket that speaks as `source`:`port`; with None the kernel chooses the port
    at connect(). Raises PrivilegeError, or OSError: EADDRINUSE when the port is taken."""
    family = socket.AF_INET if source.version == 4 else socket.AF_INET6
    dialler = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        dialler.setblocking(False)
        # one port may serve several servers, as long as the four-tuples differ
        dialler.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        dialler.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        _make_transparent(dialler)
        if port is None:
            dialler.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
        if traffic_class:
            level, option = _traffic_class_option(family)
            dialler.setsockopt(level, option, traffic_class)
        dialler.bind((str(source), port or 0))
    except (OSError, PrivilegeError):
        dialler.close()
        raise
    return dialler


def endpoint(address: tuple[str, int] | tuple[str, int, int, int]) -> Endpoint:
    """A socket address as an endpoint; the scope of a link-local one is dropped."""
    return Endpoint(ipaddress.ip_address(address[0].partition("%")[0]), address[1])


def traffic_class(connection: socket.socket) -> int:
    """TOS or traffic class of the peer's SYN, without its two ECN bits; 0 when unknown."""
    if connection.family == socket.AF_INET:
        level, option, wanted = socket.IPPROTO_IP, IP_PKTOPTIONS, socket.IP_TOS
    else:
        level, option, wanted = socket.IPPROTO_IPV6, IPV6_2292PKTOPTIONS, IPV6_TCLASS
    try:
        options = connection.getsockopt(level, option, 256)
    except OSError:
        return 0
    for kind, value in _control_messages(options):
        if kind == (level, wanted) and value:
            # TOS is one byte, the traffic class an int (RFC 3542 section 6.5)
            number = value[0] if len(value) < 4 else int.from_bytes(value[:4], sys.byteorder)
            return number & 0xFC
    return 0


def _control_messages(data: bytes) -> Iterator[tuple[tuple[int, int], bytes]]:
    """(level, type), value of each struct cmsghdr in `data`."""
    at = 0
    while at + _CMSG_HEADER.size <= len(data):
        length, level, kind = _CMSG_HEADER.unpack_from(data, at)
        if length < _CMSG_HEADER.size:
            return
        yield (level, kind), data[at + _CMSG_HEADER.size : at + length]
        at += -(-length // 8) * 8


def _traffic_class_option(family: int) -> tuple[int, int]:
    if family == socket.AF_INET:
        return socket.IPPROTO_IP, socket.IP_TOS
    return socket.IPPROTO_IPV6, IPV6_TCLASS


def _make_transparent(sock: socket.socket) -> None:
    try:
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_TRANSPARENT, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_TRANSPARENT, 1)
    except PermissionError as error:
        raise PrivilegeError(
            "the relay may not speak for other addresses (IP_TRANSPARENT)",
            hint="run the daemon as root, or with CAP_NET_ADMIN",
        ) from error


def _port_in_use(family: socket.AddressFamily, address: str, port: int) -> PortInUseError:
    holder = holder_of(family, port)
    return PortInUseError(
        f"port {port} on {address} is taken" + (f" by {holder}" if holder else ""),
        hint="stop that program, or choose another `relay.port` and run `fwlb up` again",
    )


def holder_of(family: socket.AddressFamily, port: int) -> str | None:
    """`name (pid N)` of who listens on TCP `port` of this network namespace, or None when that
    cannot be seen. Follows proc_pid_net(5): the inode in /proc/net/tcp, then /proc/PID/fd."""
    table = Path("/proc/self/net/tcp" if family is socket.AF_INET else "/proc/self/net/tcp6")
    inodes = set()
    with contextlib.suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    for process in Path("/proc").glob("[0-9]*") if inodes else ():
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) in inodes:
                    return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None
