"""What the relay's sockets can say about ports, addresses and traffic classes, without root."""

from __future__ import annotations

import errno
import os
import socket
import struct

import pytest

from fwlb.daemon import transparent
from fwlb.daemon.transparent import endpoint, holder_of, listen, traffic_class
from fwlb.errors import PrivilegeError
from fwlb.model import Endpoint


def test_socket_addresses_become_endpoints() -> None:
    assert str(endpoint(("10.1.0.2", 21))) == "10.1.0.2:21"
    assert str(endpoint(("fd01::2", 21, 0, 0))) == "[fd01::2]:21"
    assert str(endpoint(("fe80::1%eth0", 21, 0, 2))) == "[fe80::1]:21"
    assert isinstance(endpoint(("::1", 1, 0, 0)), Endpoint)


def test_who_holds_a_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert str(holder_of(socket.AF_INET, port)).endswith(f"(pid {os.getpid()})")
        assert holder_of(socket.AF_INET6, port) is None
    assert holder_of(socket.AF_INET, port) is None


def test_a_kernel_without_ipv6_gets_no_ipv6_listener(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(family: int, *_arguments: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", unsupported)
    assert listen(socket.AF_INET6, 2121) is None
    with pytest.raises(OSError, match="not supported"):
        listen(socket.AF_INET, 2121)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: becomes another user")
def test_without_privilege_it_is_said_what_is_missing() -> None:
    os.seteuid(65534)
    try:
        with pytest.raises(PrivilegeError, match="IP_TRANSPARENT"):
            listen(socket.AF_INET, 0)
    finally:
        os.seteuid(0)


class Told:
    """A socket whose kernel tells these control messages."""

    def __init__(self, family: int, options: bytes | OSError) -> None:
        self.family = family
        self._options = options

    def getsockopt(self, _level: int, _option: int, _size: int) -> bytes:
        if isinstance(self._options, OSError):
            raise self._options
        return self._options


def message(level: int, kind: int, value: bytes) -> bytes:
    header = struct.pack("@Nii", 16 + len(value), level, kind)
    return header + value + bytes(-len(value) % 8)


@pytest.mark.parametrize(
    ("family", "options", "expected"),
    [
        (socket.AF_INET, message(socket.IPPROTO_IP, socket.IP_TOS, b"\xb8"), 0xB8),
        (socket.AF_INET, message(socket.IPPROTO_IP, socket.IP_TOS, b"\xbb"), 0xB8),
        (
            socket.AF_INET,
            message(socket.IPPROTO_IP, socket.IP_TTL, struct.pack("@i", 64))
            + message(socket.IPPROTO_IP, socket.IP_TOS, b"\x10"),
            0x10,
        ),
        (
            socket.AF_INET6,
            message(socket.IPPROTO_IPV6, transparent.IPV6_TCLASS, struct.pack("@i", 0xA0)),
            0xA0,
        ),
        (socket.AF_INET, b"", 0),
        (socket.AF_INET, struct.pack("@Nii", 3, 0, 1), 0),
        (socket.AF_INET6, OSError(errno.ENOPROTOOPT, "no such option"), 0),
    ],
)
def test_the_traffic_class_of_the_client(
    family: int, options: bytes | OSError, expected: int
) -> None:
    """The two lowest bits are the connection's own business (ECN, RFC 3168)."""
    assert traffic_class(Told(family, options)) == expected  # type: ignore[arg-type]
