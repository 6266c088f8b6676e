"""Which helpers there are, how one is made, and which TCP ports are theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from fwlb.config.models import Helper, Helpers
from fwlb.errors import ConfigError, Problem, Where
from fwlb.helpers.contract import StreamHelper
from fwlb.helpers.ftp import FtpHelper, FtpLimits
from fwlb.model import IPAddress

Addresses = frozenset[IPAddress]


@dataclass(frozen=True, slots=True)
class _Entry:
    """`settings` finds a helper's part of the configuration, `make` makes one."""

    settings: Callable[[Helpers], Helper]
    make: Callable[[Helpers, Addresses, Addresses], StreamHelper]


def _make_ftp(
    config: Helpers, client_addresses: Addresses, server_addresses: Addresses
) -> StreamHelper:
    return FtpHelper(
        client_addresses=client_addresses,
        server_addresses=server_addresses,
        limits=FtpLimits(
            max_line_bytes=config.ftp.max_line_bytes,
            max_pending_commands=config.ftp.max_pending_commands,
            denied_ports=frozenset(config.ftp.denied_ports),
        ),
    )


_ENTRIES: Mapping[str, _Entry] = {"ftp": _Entry(lambda config: config.ftp, _make_ftp)}

HELPERS: tuple[str, ...] = tuple(_ENTRIES)
"""Names of all helpers: those of their tables in the configuration."""


def make(
    name: str, config: Helpers, client_addresses: Addresses, server_addresses: Addresses
) -> StreamHelper:
    """A new helper for one connection between parties that are known under these addresses.

    Raises ConfigError when there is no helper of that name.
    """
    entry = _ENTRIES.get(name)
    if entry is None:
        hint = f"known helpers: {', '.join(HELPERS)}"
        raise ConfigError([Problem(Where(key=f"helpers.{name}"), "there is no such helper", hint)])
    return entry.make(config, client_addresses, server_addresses)


def ports(config: Helpers) -> dict[int, str]:
    """TCP port -> name of the helper that looks into it, for all enabled helpers."""
    settings = {name: entry.settings(config) for name, entry in _ENTRIES.items()}
    return {port: name for name, own in settings.items() if own.enabled for port in own.ports}
