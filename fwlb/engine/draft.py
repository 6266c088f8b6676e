"""An Outcome while it is being written."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from fwlb.engine.exchange import LogEvent, Outcome, Send
from fwlb.engine.ledger import ChangeSet, Ledger
from fwlb.model import Side


@dataclass(frozen=True, slots=True)
class _Line:
    """One message. The one that announces a channel has `otherwise`: what to send if the kernel
    does not take that channel."""

    to: Side
    data: bytes
    otherwise: bytes
    channel: Hashable


class Draft:
    """Collects the sends, changes and events of one call, of one session."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.changes = ChangeSet()
        self.opaque = False
        self.close = False
        self._lines: list[_Line] = []
        self._events: list[LogEvent] = []
        self._needed: set[Hashable] = set()
        self._withdrawn: set[Hashable] = set()

    def send(self, to: Side, data: bytes) -> None:
        """Send `data`, whatever the kernel says."""
        self._lines.append(_Line(to, data, data, None))

    def announce(self, to: Side, data: bytes, *, otherwise: bytes, channel: Hashable) -> None:
        """Send `data`, which announces `channel`; `otherwise` if the kernel refuses elements that
        this channel needs from this Outcome."""
        self._lines.append(_Line(to, data, otherwise, channel))

    def needs_kernel(self, channel: Hashable) -> None:
        """`channel` gets elements with this Outcome."""
        self._needed.add(channel)

    def withdraw(self, channel: Hashable) -> None:
        """`channel` cannot be had after all: send `otherwise` in place of its announcement, if
        that is still in this Outcome."""
        self._withdrawn.add(channel)

    def log(self, name: str, **fields: Any) -> None:
        self._events.append(LogEvent(name, self.session_id, fields))

    def outcome(self, ledger: Ledger) -> Outcome:
        return Outcome(
            changes=ledger.changes(self.changes),
            sends=self._sends(self._withdrawn),
            sends_if_refused=self._sends(self._withdrawn | self._needed),
            events=tuple(self._events),
            opaque=self.opaque,
            close=self.close,
        )

    def _sends(self, denied: set[Hashable]) -> tuple[Send, ...]:
        chosen = (
            (line.to, line.otherwise if line.channel in denied else line.data)
            for line in self._lines
        )
        return tuple(Send(to, data) for to, data in chosen if data)
