"""What this process may do."""

from __future__ import annotations

from pathlib import Path

from fwlb.errors import PrivilegeError

_CAP_NET_ADMIN = 12  # linux/capability.h
_CAP_SYS_ADMIN = 21


def require_root() -> None:
    """Raise `PrivilegeError` unless this process may change netfilter and make namespaces."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff"))
    missing = [
        name
        for name, bit in (("CAP_NET_ADMIN", _CAP_NET_ADMIN), ("CAP_SYS_ADMIN", _CAP_SYS_ADMIN))
        if not int(effective, 16) >> bit & 1
    ]
    if missing:
        raise PrivilegeError(f"this needs {' and '.join(missing)}", hint="run it as root")
