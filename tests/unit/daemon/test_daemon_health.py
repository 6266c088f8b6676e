"""The last error, and how late the event loop runs."""

from __future__ import annotations

from fwlb.daemon.health import LAG_BEATS, REPEAT_S, Health

AT = "2024-05-01T10:00:00Z"


def test_the_same_error_is_news_once_a_minute() -> None:
    health = Health()
    assert health.note_error("no table", now_s=0.0, at=AT)
    assert not health.note_error("no table", now_s=1.0, at=AT)
    assert health.note_error("set full", now_s=2.0, at=AT)
    assert not health.note_error("set full", now_s=2.0 + REPEAT_S - 1, at=AT)
    assert health.note_error("set full", now_s=2.0 + REPEAT_S, at="later")
    assert health.last_error == {"text": "set full", "at": "later"}


def test_the_lag_is_the_worst_of_the_last_beats() -> None:
    health = Health()
    assert health.lag_ms == 0.0
    health.note_beat(due_s=10.0, now_s=10.25)
    health.note_beat(due_s=11.0, now_s=10.999)
    assert health.lag_ms == 250.0
    for second in range(LAG_BEATS):
        health.note_beat(due_s=float(second), now_s=second + 0.002)
    assert health.lag_ms == 2.0
