"""The daemon's side of the control socket; `control` describes the language.

Whoever may open the socket may do all that the daemon does: it belongs to root, mode 0600.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from fwlb.daemon import log
from fwlb.daemon.control import MAX_REQUEST_BYTES
from fwlb.daemon.feed import EventFeed
from fwlb.daemon.instance import already_answers
from fwlb.errors import DaemonError, FwlbError

MAX_CLIENTS = 32
REQUEST_TIMEOUT_S = 10.0
"""How long a client may take to send a request, and to read the answer."""

Verb = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Takes the request, returns the answer; may raise FwlbError."""


class ControlServer:
    """Answers requests on `path`. `verbs` by name; `events` is served from `feed`."""

    def __init__(self, path: Path, verbs: Mapping[str, Verb], feed: EventFeed) -> None:
        self._path = path
        self._verbs = dict(verbs)
        self._feed = feed
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen. Raises AlreadyRunningError when somebody answers there, else DaemonError."""
        try:
            require_directory(self._path)
            self._remove_stale()
            listener = _bind(self._path)
        except OSError as error:
            raise _cannot_listen(self._path, error) from error
        self._server = await asyncio.start_unix_server(
            self._welcome, sock=listener, limit=MAX_REQUEST_BYTES
        )

    async def close(self) -> None:
        """Hang up and remove the socket."""
        if self._server is None:
            return
        self._server.close()
        with contextlib.suppress(OSError):
            self._path.unlink()
        for client in self._clients:
            client.cancel()
        if self._clients:
            await asyncio.wait(self._clients)
        await self._server.wait_closed()
        self._server = None

    def _remove_stale(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self._path))
            except FileNotFoundError:
                return
            except ConnectionRefusedError:
                self._path.unlink()
                return
            except (TimeoutError, BlockingIOError):
                pass  # slow or overrun, but there
        raise already_answers(self._path)

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= MAX_CLIENTS:
            writer.transport.abort()
            return
        self._clients.add(task)
        try:
            await self._serve(reader, writer)
            writer.close()
        except (OSError, asyncio.CancelledError):
            pass  # the client is gone or too slow, or the daemon ends
        except Exception as error:  # noqa: BLE001  a bad answer must not end the daemon
            log.emit("control-mishap", level=logging.ERROR, error=error)
        finally:
            if not writer.is_closing():
                writer.transport.abort()
            self._clients.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    line = await reader.readline()
            except ValueError:
                refusal = DaemonError(f"a request is longer than {MAX_REQUEST_BYTES} bytes")
                await _answer(writer, {"ok": False, "error": refusal.as_json()})
                return
            if not line:
                return
            request = _parse(line)
            await _answer(writer, await self._result(request))
            if request.get("verb") == "events":
                await self._stream(reader, writer)
                return

    async def _result(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request.get("verb")
        try:
            if name == "events":
                return {"ok": True}
            verb = self._verbs.get(name) if isinstance(name, str) else None
            if verb is None:
                known = ", ".join(sorted([*self._verbs, "events"]))
                raise DaemonError(f"no such verb: {name!r}", hint=f"there are: {known}")
            return {"ok": True, **await verb(request)}
        except FwlbError as error:
            return {"ok": False, "error": error.as_json()}

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        subscription = self._feed.subscribe()
        gone = asyncio.ensure_future(reader.read(1))
        try:
            while not gone.done():
                event = asyncio.ensure_future(subscription.next())
                await asyncio.wait({gone, event}, return_when=asyncio.FIRST_COMPLETED)
                if not event.done():
                    event.cancel()
                    return
                await _answer(writer, event.result())
        finally:
            self._feed.unsubscribe(subscription)
            gone.cancel()  # also says that nobody asks for its error: a caller may reset


async def _answer(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    writer.write(json.dumps(answer, default=str).encode() + b"\n")
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        await writer.drain()


def _parse(line: bytes) -> dict[str, Any]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return request if isinstance(request, dict) else {}


def require_directory(path: Path) -> None:
    """Make the directory of the socket `path`. Raises DaemonError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_listen(path, error) from error
    if not os.access(path.parent, os.W_OK):
        raise _cannot_listen(path, OSError(errno.EROFS, "the directory cannot be written"))


def _cannot_listen(path: Path, error: OSError) -> DaemonError:
    return DaemonError(
        f"cannot listen on {path}: {error.strerror or error}",
        hint="check `paths.runtime` and who may write there",
    )


def _bind(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
        listener.listen(MAX_CLIENTS)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener
