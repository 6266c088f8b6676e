"""Structured logs: one event a line, JSON for machines and readable text on a terminal.

::

    {"time": "2024-05-01T10:00:00.123Z", "level": "info", "event": "pinhole-opened",
     "session": "6f2c-17", "flow": "tcp 10.1.0.2 -> 203.0.113.10:40001"}

Standard `logging` lies underneath, so libraries' records come out in the same form with the event
name `log`. Lines are written by a thread of their own: a reader that stalls must not stop the event
loop. What the bounded queue cannot hold is dropped and counted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

LogFormat = Literal["auto", "json", "text"]

QUEUE_LINES = 10_000
"""Lines that may wait for a slow reader of stderr."""

GATHER_S = 0.01
"""How long a line may wait for others, to be written together with them."""

_LOGGER = logging.getLogger("fwlb")
_NAME_ATTRIBUTE, _SESSION_ATTRIBUTE, _FIELDS_ATTRIBUTE = "fwlb_name", "fwlb_session", "fwlb_fields"


def emit(
    name: str,
    *,
    session: str | None = None,
    level: int = logging.INFO,
    fields: Mapping[str, Any] | None = None,
    error: BaseException | None = None,
) -> None:
    """Log the event `name` (stable, `words-with-dashes`); with `error` its traceback goes along."""
    extra = {
        _NAME_ATTRIBUTE: name,
        _SESSION_ATTRIBUTE: session,
        _FIELDS_ATTRIBUTE: dict(fields or {}),
    }
    _LOGGER.log(level, "%s", name, extra=extra, exc_info=error)


def as_event(record: logging.LogRecord) -> dict[str, Any]:
    """A log record as the JSON-able event that `events` subscribers and log files see."""
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
    event: dict[str, Any] = {
        "time": time.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": getattr(record, _NAME_ATTRIBUTE, "log"),
    }
    if session := getattr(record, _SESSION_ATTRIBUTE, None):
        event["session"] = session
    if hasattr(record, _NAME_ATTRIBUTE):
        fields: dict[str, Any] = getattr(record, _FIELDS_ATTRIBUTE)
    else:
        fields = {"logger": record.name, "message": record.getMessage()}
    for key, value in fields.items():
        event.setdefault(key, value)
    if record.exc_info and record.exc_info[1] is not None:
        event["traceback"] = logging.Formatter().formatException(record.exc_info)
    return event


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(as_event(record), default=str)


class TextFormatter(logging.Formatter):
    """`10:00:00.123 info  pinhole-opened 6f2c-17 flow="tcp 10.1.0.2 -> ..."`, times in UTC.

    Values that came over the network cannot move the cursor: they are quoted as in JSON.
    """

    def format(self, record: logging.LogRecord) -> str:
        event = as_event(record)
        time = event.pop("time")[11:-1]
        traceback = event.pop("traceback", None)
        words = [time, f"{event.pop('level'):<7}", event.pop("event")]
        if session := event.pop("session", None):
            words.append(session)
        words += [f"{key}={_quoted(value)}" for key, value in event.items()]
        line = " ".join(words)
        return f"{line}\n{traceback}" if traceback else line


def _quoted(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if text and text.isascii() and text.isprintable() and not set(text) & {" ", '"', "="}:
        return text
    return json.dumps(text) if isinstance(value, str) else text


class LineWriter(logging.Handler):
    """Writes formatted records to `stream` from its own thread; see the module's docstring.

    The thread lets lines gather for `GATHER_S` and writes them together: waking it for each line
    would cost the event loop more than all the rest of logging.
    """

    def __init__(self, stream: TextIO, *, queue_lines: int = QUEUE_LINES) -> None:
        super().__init__()
        self.dropped = 0
        """Lines that were lost because the reader was too slow."""
        self._stream = stream
        self._lines: deque[str] = deque()
        self._queue_lines = queue_lines
        self._arrived = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="fwlb-log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        if len(self._lines) >= self._queue_lines:
            self.dropped += 1
            return
        self._lines.append(self.format(record))
        if not self._arrived.is_set():
            self._arrived.set()

    def _write(self) -> None:
        reported = 0
        while not self._closing.is_set() or self._lines:
            self._arrived.wait()
            self._closing.wait(GATHER_S)
            self._arrived.clear()
            lines = [self._lines.popleft() for _ in range(len(self._lines))]
            if (dropped := self.dropped) != reported:
                lines.append(self.format(_dropped_record(dropped - reported)))
                reported = dropped
            # a reader that went away must not end the daemon
            with contextlib.suppress(OSError, ValueError):
                self._stream.write("".join(f"{line}\n" for line in lines))
                self._stream.flush()

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what waits, for at most `timeout_s`."""
        self._closing.set()
        self._arrived.set()
        self._thread.join(timeout_s)
        super().close()


def _dropped_record(count: int) -> logging.LogRecord:
    record = logging.LogRecord("fwlb", logging.WARNING, "", 0, "log-lines-dropped", (), None)
    record.__dict__ |= {_NAME_ATTRIBUTE: record.msg, _FIELDS_ATTRIBUTE: {"count": count}}
    return record


def configure(
    log_format: LogFormat = "auto", *, stream: TextIO | None = None, level: int = logging.INFO
) -> LineWriter:
    """Send all logs of this process to `stream` (stderr); `auto` is text on a terminal, else JSON.

    The caller hands the result to `unconfigure` when it ends.
    """
    stream = stream or sys.stderr
    as_json = log_format == "json" or (log_format == "auto" and not stream.isatty())
    writer = LineWriter(stream)
    writer.setFormatter(JsonFormatter() if as_json else TextFormatter())
    root = logging.getLogger()
    root.addHandler(writer)
    root.setLevel(logging.WARNING)
    _LOGGER.setLevel(level)
    return writer


def unconfigure(writer: LineWriter) -> None:
    """Undo `configure`: write what waits and let go of the stream."""
    logging.getLogger().removeHandler(writer)
    writer.close()
