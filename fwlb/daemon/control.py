"""Asking the running daemon something: one JSON object a line over a unix socket.

Request: `{"verb": "status"}`, also `sessions`, `reload`, `stop`, `events`. Answer: `{"ok": true,
...}` or `{"ok": false, "error": {...}}` with what `FwlbError.as_json` gives. `reload` reads the
configuration file again and applies it; with `"config": "applied"` the daemon only takes over what
another process has applied. After the answer to `events` every line is one log event, until the
caller hangs up.

This is the caller's side, and light to import; `control_server` is the daemon's.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from fwlb import errors
from fwlb.errors import ConfigError, DaemonError, FwlbError, NotRunningError, Problem, Where

SOCKET_NAME = "control.sock"
"""Name of the socket below `paths.runtime`."""

MAX_REQUEST_BYTES = 65536
MAX_ANSWER_BYTES = 256 * 1024 * 1024
"""A bound, not a size: `sessions` of a full relay takes a few hundred bytes for each."""

DEFAULT_TIMEOUT_S = 10.0


def call(
    path: Path, verb: str, timeout_s: float = DEFAULT_TIMEOUT_S, **arguments: Any
) -> dict[str, Any]:
    """Ask the daemon that listens on `path`; returns its answer without `ok`.

    Raises NotRunningError when nobody listens, the daemon's own error when it says no, and
    DaemonError when it does not answer in time or not in our language.
    """
    with _connect(path, timeout_s) as connection:
        lines = _lines(connection, path, time.monotonic() + timeout_s)
        return _ask(connection, path, lines, {"verb": verb, **arguments})


def events(
    path: Path, timeout_s: float = DEFAULT_TIMEOUT_S
) -> Generator[dict[str, Any], None, None]:
    """Log events as they happen, until the daemon ends. Raises as `call` does."""
    with _connect(path, timeout_s) as connection:
        answers = _lines(connection, path, time.monotonic() + timeout_s)
        _ask(connection, path, answers, {"verb": "events"})
        yield from map(json.loads, answers)


def error_from_json(value: dict[str, Any]) -> FwlbError:
    """The error that `FwlbError.as_json` described, of the same class."""
    code = value.get("error")
    problem = _problem(value)
    if code == ConfigError.code:
        return ConfigError([_problem(each) for each in value.get("problems", [])])
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, FwlbError) and kind.code == code:
            if issubclass(kind, errors.KernelError):
                return kind(problem.message, hint=problem.hint)
            return kind(problem.message, where=problem.where, hint=problem.hint)
    return DaemonError(problem.message, where=problem.where, hint=problem.hint)


def _problem(value: dict[str, Any]) -> Problem:
    where = Where(value.get("file"), value.get("line"), value.get("key"))
    return Problem(where, str(value.get("message")), value.get("hint"))


def _connect(path: Path, timeout_s: float) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    connection.settimeout(timeout_s)
    try:
        connection.connect(str(path))
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
        connection.close()
        raise NotRunningError(
            f"no fwlb daemon answers on {path}",
            hint="start it: fwlb up (or: systemctl start fwlb)",
        ) from error
    except OSError as error:
        connection.close()
        if isinstance(error, TimeoutError | BlockingIOError):
            raise _too_slow(path) from error
        raise DaemonError(
            f"cannot reach the daemon on {path}: {error.strerror or error}",
            hint="the control socket is for root" if isinstance(error, PermissionError) else None,
        ) from error
    return connection


def _ask(
    connection: socket.socket, path: Path, lines: Iterator[bytes], request: dict[str, Any]
) -> dict[str, Any]:
    try:
        connection.sendall(json.dumps(request).encode() + b"\n")
        line = next(lines, None)
    except TimeoutError as error:
        raise _too_slow(path) from error
    except OSError as error:
        raise DaemonError(f"the daemon on {path} hung up: {error.strerror}") from error
    if line is None:
        raise DaemonError(f"the daemon on {path} hung up without an answer")
    try:
        answer = json.loads(line)
        succeeded = answer.pop("ok")
        if not succeeded:
            raise error_from_json(answer["error"])
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DaemonError(f"what listens on {path} is no fwlb daemon: {line[:80]!r}") from error
    return dict(answer)


def _lines(connection: socket.socket, path: Path, deadline_s: float) -> Iterator[bytes]:
    """Lines of the daemon. `deadline_s` (time.monotonic) holds for the first; then we wait."""
    held = bytearray()
    searched = 0
    answered = False
    while True:
        while (end := held.find(b"\n", searched)) >= 0:
            yield bytes(held[:end])
            answered = True
            del held[: end + 1]
            searched = 0
        searched = len(held)
        if searched > MAX_ANSWER_BYTES:
            raise DaemonError(f"the daemon on {path} answers without end")
        left_s = max(deadline_s - time.monotonic(), 0.001)
        connection.settimeout(None if answered else left_s)
        piece = connection.recv(65536)
        if not piece:
            return
        held += piece


def _too_slow(path: Path) -> DaemonError:
    return DaemonError(
        f"the daemon on {path} does not answer in time",
        hint="it hangs or is stopped; new connections pass it by. See its log, then restart it",
    )
