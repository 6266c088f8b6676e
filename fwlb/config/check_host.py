"""What is wrong with ports and paths on this host; each check is one function."""

from __future__ import annotations

import os
from collections.abc import Iterator

from fwlb.config.check_nat import nat_of, publish_of
from fwlb.config.draft import Draft
from fwlb.config.locate import KeyPath
from fwlb.config.messages import Finding, key_text
from fwlb.config.models import Helper

MAX_RUNTIME_PATH_BYTES = 107 - len("/control.sock")
"""unix(7): `sun_path` has 108 bytes, the last of them zero."""


# --- ports -------------------------------------------------------------------------------------


def _binding_range(draft: Draft) -> Iterator[Finding]:
    path: KeyPath = ("bindings", "ports")
    if draft.bindings is None:
        return
    span = draft.bindings.span
    if span.first < 1024:
        yield Finding(path, f"the range {span} starts below 1024", "use ports from 1024 on")
    if not span.whole_blocks():
        yield Finding(
            path,
            f"the range {span} has no whole block of 256 ports",
            "a block starts at a multiple of 256, like 20480-20735",
        )


def _binding_conflicts(draft: Draft) -> Iterator[Finding]:
    if draft.bindings is None:
        return
    span = draft.bindings.span
    needs: tuple[KeyPath, ...] = (("bindings", "ports"),)
    hint = f"keep `bindings.ports` ({span}) free of every other use"
    if draft.relay is not None and draft.relay.port in span:
        message = f"the relay's port {draft.relay.port} lies in `bindings.ports`"
        yield Finding(("relay", "port"), message, hint, needs)
    for index, nat in nat_of(draft):
        if nat.ipv4_span is not None and nat.ipv4_span.overlaps(span):
            message = f"the ports {nat.ipv4_ports} overlap `bindings.ports`"
            yield Finding(("nat", index, "ipv4_ports"), message, hint, needs)
    for index, entry in publish_of(draft):
        if entry.port in span:
            message = f"the public port {entry.port} lies in `bindings.ports`"
            yield Finding(("publish", index, "port"), message, hint, needs)


def _helpers(draft: Draft) -> Iterator[tuple[str, Helper]]:
    return iter(draft.helpers or ())


def _helper_ports(draft: Draft) -> Iterator[Finding]:
    seen: dict[int, KeyPath] = {}
    for name, helper in _helpers(draft):
        path: KeyPath = ("helpers", name, "ports")
        enabled: KeyPath = ("helpers", name, "enabled")
        if not helper.enabled:
            continue
        if not helper.ports:
            hint = "name its ports, or switch it off with `enabled = false`"
            yield Finding(path, f"the helper `{name}` has no port", hint, (enabled,))
        for index, port in enumerate(helper.ports):
            first = seen.setdefault(port, (*path, index))
            if first != (*path, index):
                yield Finding(
                    (*path, index),
                    f"the port {port} is named by {key_text(first)} already",
                    "a port belongs to exactly one helper, once",
                    (first, enabled),
                )
            if draft.relay is not None and draft.relay.port == port:
                yield Finding(
                    ("relay", "port"),
                    f"the relay's port {port} is a port of the helper `{name}` too",
                    "give the relay a port of its own, like 2121",
                    ((*path, index), enabled),
                )


# --- this host ---------------------------------------------------------------------------------


def _roles(draft: Draft) -> Iterator[Finding]:
    if draft.node is not None and not draft.node.roles:
        hint = 'write `roles = ["gateway"]`, or leave it out'
        yield Finding(("node", "roles"), "this host has no role", hint)


def _socket_path(draft: Draft) -> Iterator[Finding]:
    if draft.paths is None:
        return
    size_bytes = len(os.fsencode(draft.paths.runtime))
    if size_bytes > MAX_RUNTIME_PATH_BYTES:
        yield Finding(
            ("paths", "runtime"),
            f"the path has {size_bytes} bytes, too many for the control socket in it",
            f"use at most {MAX_RUNTIME_PATH_BYTES} bytes",
        )


CHECKS = (
    _binding_range,
    _binding_conflicts,
    _helper_ports,
    _roles,
    _socket_path,
)
