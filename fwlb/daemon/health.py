"""What the daemon knows about itself: the last error, how late its event loop runs."""

from __future__ import annotations

from collections import deque
from typing import Any

LAG_BEATS = 60
"""Beats that the reported lag covers: at one a second, the last minute."""

REPEAT_S = 60.0
"""The same error again is no news for this long."""


class Health:
    """`now_s` is on any monotonic scale, `at` the same moment as RFC 3339 text."""

    def __init__(self) -> None:
        self.last_error: dict[str, Any] | None = None
        """text and time (`at`) of the last trouble that an operator should know of."""
        self._news_at = float("-inf")
        self._lags_s: deque[float] = deque(maxlen=LAG_BEATS)

    def note_error(self, text: str, *, now_s: float, at: str) -> bool:
        """Remember an error; True when it is news and belongs in the log."""
        same = self.last_error is not None and self.last_error["text"] == text
        self.last_error = {"text": text, "at": at}
        if same and now_s - self._news_at < REPEAT_S:
            return False
        self._news_at = now_s
        return True

    def note_beat(self, due_s: float, now_s: float) -> None:
        """A timer that was due at `due_s` ran at `now_s`."""
        self._lags_s.append(max(0.0, now_s - due_s))

    @property
    def lag_ms(self) -> float:
        """The worst lag of the last minute."""
        return round(max(self._lags_s, default=0.0) * 1000, 3)
