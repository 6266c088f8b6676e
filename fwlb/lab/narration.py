"""What the demonstration prints while it runs: plain lines, fit for a terminal and for a CI log."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

_POLL_S = 0.02
_INDENT = " " * 10
_NOT_SHOWN = {"time", "level", "event", "session"}


class Narrator:
    """Prints steps, each with the seconds since the start, and details below them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began

    def step(self, text: str) -> None:
        self._print(f"{self.elapsed_s:6.2f} s  {text}", style="bold")

    def detail(self, text: str) -> None:
        for line in text.rstrip().splitlines():
            self._print(f"{_INDENT}{line}")

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


class EventFeed:
    """The daemon's log, read while it is written: the events of sessions, one JSON object a
    line, between lines of other kinds."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._offset_bytes = 0

    def until(self, name: str, timeout_s: float) -> list[dict[str, Any]]:
        """New events, up to one called `name` at least; without it those of `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        found = self._new()
        while all(event["event"] != name for event in found) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            found += self._new()
        return found

    def _new(self) -> list[dict[str, Any]]:
        with self._log.open("rb") as file:
            file.seek(self._offset_bytes)
            text = file.read()
        complete = text[: text.rfind(b"\n") + 1]
        self._offset_bytes += len(complete)
        return [event for line in complete.splitlines() if (event := _event(line))]


def event_line(event: Mapping[str, Any]) -> str:
    """An event for people: `pinhole-opened   flow=tcp 203.0.113.10 -> 10.1.0.2:40001`."""
    fields = (f"{key}={value}" for key, value in event.items() if key not in _NOT_SHOWN)
    return f"{event['event']:17} {'  '.join(fields)}".rstrip()


def _event(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        content = json.loads(line)
    except ValueError:
        return None
    return content if "event" in content and "session" in content else None
