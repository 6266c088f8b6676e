"""The transparent TCP proxy: listeners, and one `RelayedSession` for every connection."""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fwlb.config.models import Relay as RelaySettings
from fwlb.daemon import log
from fwlb.daemon.acceptor import Acceptor
from fwlb.daemon.outcomes import Outcomes
from fwlb.daemon.session import Ending, RelayedSession, Surroundings
from fwlb.daemon.splice import Splicer
from fwlb.daemon.upstream import SourcePorts
from fwlb.engine import Engine
from fwlb.model import IPAddress

MAX_CONNECTING = 1024
"""Connections that may wait for their server at one time. Beyond that new ones wait in the
kernel's queue: a burst is only slowed down, and dead servers cannot take all descriptors."""

STOP_S = 5.0
"""How long sessions that were told to end may take for it."""


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of the sessions that ran when the relay stopped."""

    finished: int
    reset: int


class Relay:
    """Accepts, relays, and stops in good order."""

    def __init__(
        self,
        engine: Engine,
        outcomes: Outcomes,
        *,
        settings: RelaySettings,
        helpers: Mapping[int, str],
        egress: Callable[[IPAddress], IPAddress | None],
        report: Callable[[str], None],
    ) -> None:
        self.mishaps = 0
        """Sessions that ended by an error nobody expected."""
        self._report = report
        self._acceptor = Acceptor(
            take=self._take, has_room=self._has_room, report=self._report_shortage
        )
        self._surroundings = Surroundings(
            engine=engine,
            outcomes=outcomes,
            source_ports=SourcePorts(secrets.randbelow),
            splicer=Splicer(),
            egress=egress,
            settings=settings,
            helpers=dict(helpers),
            connected=self._connected,
            mishap=self._mishap,
        )
        self._port = 0
        self._connecting = 0
        self._accepted = 0
        # ids of two runs of the daemon must not be mixed up in one log
        self._run = secrets.token_hex(3)
        self._sessions: dict[asyncio.Task[None], RelayedSession] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def connections(self) -> int:
        """Relayed connections now, those that still wait for their server included."""
        return len(self._sessions)

    def open(self) -> None:
        """Listen on the configured port. Raises PortInUseError; then the former port stays."""
        port = self._surroundings.settings.port
        if port != self._port or not self._acceptor.listening:
            if not self._acceptor.open(port):
                fields = {"detail": "the kernel has no IPv6"}
                log.emit("relay-ipv4-only", fields=fields)
            self._port = port

    def reconfigure(self, settings: RelaySettings, helpers: Mapping[int, str]) -> None:
        """Settings for the sessions to come. Raises PortInUseError after taking all the rest."""
        self._surroundings = replace(self._surroundings, settings=settings, helpers=dict(helpers))
        self.open()

    def status(self) -> dict[str, Any]:
        return {
            "port": self._port,
            "accepting": self._acceptor.accepting,
            "connections": self.connections,
            "connecting": self._connecting,
            "opaque": sum(session.opaque for session in self._sessions.values()),
            "accepted": self._accepted,
            "shortages": self._acceptor.shortages,
            "mishaps": self.mishaps,
        }

    def close(self) -> None:
        """Take no new connections; running ones go on."""
        self._acceptor.close()

    async def drain(self, timeout_s: float, hurry: asyncio.Event) -> Drained:
        """Let running sessions finish, until `timeout_s` are over or `hurry` is set; reset the
        rest."""
        before = self.connections
        loop = asyncio.get_running_loop()
        waits = {loop.create_task(self._idle.wait()), loop.create_task(hurry.wait())}
        await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        reset = self.connections
        for session in self._sessions.values():
            session.finish(Ending("the daemon stops", reset=True))
        if self._sessions:
            await asyncio.wait(self._sessions, timeout=STOP_S)
        self._surroundings.splicer.close()
        return Drained(finished=before - reset, reset=reset)

    def _has_room(self) -> bool:
        return self._connecting < MAX_CONNECTING

    def _take(self, connection: socket.socket) -> None:
        self._accepted += 1
        self._connecting += 1
        session_id = f"{self._run}-{self._accepted}"
        session = RelayedSession(session_id, connection, self._surroundings)
        task = asyncio.get_running_loop().create_task(session.run(), name=session_id)
        self._sessions[task] = session
        self._idle.clear()
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._sessions[task]
        if not self._sessions:
            self._idle.set()

    def _connected(self) -> None:
        self._connecting -= 1
        self._acceptor.resume()

    def _mishap(self, session_id: str, error: Exception) -> None:
        self.mishaps += 1
        self._report(f"session {session_id}: {type(error).__name__}: {error}")
        log.emit("session-mishap", session=session_id, level=logging.ERROR, error=error)

    def _report_shortage(self, error: OSError) -> None:
        if self._acceptor.shortages == 1:  # then ten times a second: the count is in the status
            fields = {"detail": str(error)}
            log.emit("accept-paused", level=logging.ERROR, fields=fields)
        self._report(f"cannot accept connections: {error.strerror}")
