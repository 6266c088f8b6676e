"""Answers of the daemon as text for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from fwlb.ruleset.plan import LineChange, Op

COLOURS = {Op.ADD: "32", Op.REMOVE: "31", Op.KEEP: ""}
HEADING_COLOUR = "36"


class Patch(Protocol):
    """A plan that can be shown."""

    @property
    def is_empty(self) -> bool: ...

    def patch(self) -> Iterator[LineChange | str]: ...


def patch_text(plan: Patch, file: Path, *, colour: bool) -> str:
    """`fwlb diff`: the plan as a patch from the kernel to the configuration file."""
    if plan.is_empty:
        return "no difference"
    lines = ["--- kernel", f"+++ {file}"]
    for line in plan.patch():
        if isinstance(line, LineChange):
            lines.append(_coloured(f"{line.op.value} {line.text}", colour and COLOURS[line.op]))
        else:
            lines.append(_coloured(line, colour and HEADING_COLOUR))
    return "\n".join(lines)


def _coloured(text: str, code: str | bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if code else text


def duration_text(seconds: float) -> str:
    """`3d 4h`, `5m 6s`: the two largest units."""
    left = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])


def status_text(status: Mapping[str, Any]) -> str:
    """`fwlb status`."""
    relay = status["relay"]
    gate = "alive" if relay["alive"] else "passed by: the sign of life has lapsed"
    if not relay["accepting"]:
        gate = "stopping: new connections pass it by"
    process = f"fwlb {status['version']}, pid {status['pid']}"
    lines = [
        f"node       {status['node']}, {process}, up {duration_text(status['uptime_s'])}",
        f"config     {status['config']}",
        f"relay      port {relay['port']}, {gate}",
        f"control    {relay['connections']} connections, {relay['opaque']} of them unread",
    ]
    lines += [
        f"{what:10} {status[what]['now']} now, {status[what]['opened']} opened"
        for what in ("sessions", "pinholes", "bindings")
    ]
    refusals = {reason: count for reason, count in status["refusals"].items() if count}
    lines += ["refused    nothing"] if not refusals else ["refused"]
    lines += [f"  {count:>8} {reason}" for reason, count in sorted(refusals.items())]
    error = status["last_error"]
    lines.append(f"last error {error['at']} {error['text']}" if error else "last error none")
    return "\n".join(lines)


def sessions_text(answer: Mapping[str, Any]) -> str:
    """`fwlb sessions`: a line a session, and one for each of its channels."""
    lines = []
    for session in answer["sessions"]:
        unread = ", unread" if session["opaque"] else ""
        lines.append(
            f"{session['id']}  {session['helper']}  {session['client']} -> {session['dialled']}"
            f"  {duration_text(session['age_s'])}{unread}"
        )
        for channel in session["channels"]:
            public = f" as {channel['public']}" if channel["public"] else ""
            left_s = channel["pinhole_left_s"]
            pinhole = "offered" if left_s is None else f"pinhole for {duration_text(left_s)}"
            lines.append(
                f"    {channel['listener']} listens on {channel['endpoint']}{public}, {pinhole}"
            )
    return "\n".join(lines) if lines else "no sessions"
