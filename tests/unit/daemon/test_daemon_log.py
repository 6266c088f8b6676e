"""Logs: one event a line, as JSON or for people, and never a reason to wait."""

from __future__ import annotations

import io
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from fwlb.daemon import log


@contextmanager
def logging_to(stream: io.StringIO, log_format: log.LogFormat) -> Iterator[None]:
    writer = log.configure(log_format, stream=stream)
    try:
        yield
    finally:
        log.unconfigure(writer)


def lines_of(log_format: log.LogFormat, *, error: Exception | None = None) -> list[str]:
    stream = io.StringIO()
    with logging_to(stream, log_format):
        log.emit("pinhole-opened", session="a1-7", fields={"flow": "tcp 10.1.0.2", "port": 40001})
        log.emit("session-mishap", level=logging.ERROR, error=error)
    return stream.getvalue().splitlines()


def test_json_lines_carry_time_level_event_session_and_fields() -> None:
    event = json.loads(lines_of("json")[0])
    assert event.pop("time").endswith("Z")
    assert event == {
        "level": "info",
        "event": "pinhole-opened",
        "session": "a1-7",
        "flow": "tcp 10.1.0.2",
        "port": 40001,
    }


def test_a_stream_that_is_no_terminal_gets_json() -> None:
    assert json.loads(lines_of("auto")[1])["event"] == "session-mishap"


def test_text_lines_are_for_people() -> None:
    time, rest = lines_of("text")[0].split(" ", 1)
    assert len(time) == len("10:00:00.123")
    assert rest == 'info    pinhole-opened a1-7 flow="tcp 10.1.0.2" port=40001'


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_an_error_brings_its_traceback(log_format: log.LogFormat) -> None:
    with pytest.raises(ValueError, match="bad") as caught:
        int("bad luck")
    lines = lines_of(log_format, error=caught.value)
    text = json.loads(lines[1])["traceback"] if log_format == "json" else "\n".join(lines[2:])
    assert "Traceback" in text
    assert "ValueError: invalid literal" in text


def test_values_from_the_network_cannot_move_the_cursor() -> None:
    stream = io.StringIO()
    with logging_to(stream, "text"):
        log.emit("refused", fields={"detail": "\x1b[2J\nroot login"})
    assert stream.getvalue().count("\n") == 1
    assert "\x1b" not in stream.getvalue()


def test_fields_cannot_replace_what_every_event_has() -> None:
    stream = io.StringIO()
    with logging_to(stream, "json"):
        log.emit("refused", fields={"event": "session-opened", "time": "never"})
    event = json.loads(stream.getvalue())
    assert event["event"] == "refused"
    assert event["time"] != "never"


def test_libraries_log_in_the_same_form() -> None:
    stream = io.StringIO()
    with logging_to(stream, "json"):
        logging.getLogger("some.library").warning("%d left", 3)
        logging.getLogger("some.library").info("chatter")
    (event,) = map(json.loads, stream.getvalue().splitlines())
    assert (event["event"], event["logger"], event["message"]) == ("log", "some.library", "3 left")


def test_a_reader_that_stalls_costs_lines_and_not_time() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(write_end, "w") as stream, os.fdopen(read_end) as reader:
        writer = log.LineWriter(stream, queue_lines=10)
        writer.setFormatter(log.JsonFormatter())
        record = logging.LogRecord("fwlb", logging.INFO, "", 0, "x" * 1000, (), None)
        emitted = 500  # far more than the pipe's 64 KiB and the queue hold
        for _ in range(emitted):
            writer.emit(record)
        assert writer.dropped > 0
        received: list[str] = []
        thread = threading.Thread(target=lambda: received.extend(reader))
        thread.start()
        writer.close()
        stream.close()
        thread.join()
    events = [json.loads(line) for line in received]
    lost = sum(event["count"] for event in events if event["event"] == "log-lines-dropped")
    assert lost == writer.dropped
    assert len([event for event in events if event["event"] == "log"]) == emitted - lost


def test_a_reader_that_is_gone_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    stream = os.fdopen(write_end, "w")
    writer = log.configure("json", stream=stream)
    log.emit("daemon-started")
    log.unconfigure(writer)
    with pytest.raises(BrokenPipeError):
        stream.close()
