"""Kernel settings below /proc/sys, of this network namespace."""

from __future__ import annotations

from pathlib import Path

from fwlb.errors import HostError, Where

ROOT = Path("/proc/sys")


def _path(name: str) -> Path:
    # an interface name may hold a dot, which sysctl(8) writes as a slash
    return ROOT / name.replace(".", "\0").replace("/", ".").replace("\0", "/")


def read(name: str) -> str:
    """Value of `net.ipv4.ip_forward`, without the line end; fields separated by one blank."""
    try:
        return " ".join(_path(name).read_text(encoding="ascii").split())
    except OSError as error:
        raise HostError(
            f"cannot read {name}: {error.strerror}",
            where=Where(key="sysctl"),
            hint="this kernel has no such setting; see `sysctl -a`",
        ) from error


def write(name: str, value: str) -> None:
    """Set a value. Raises `HostError` when the kernel refuses it."""
    try:
        _path(name).write_text(value + "\n", encoding="ascii")
    except OSError as error:
        raise HostError(
            f"cannot set {name} = {value}: {error.strerror}", where=Where(key="sysctl")
        ) from error
