"""One relayed control connection: client leg, server leg, and the engine between them.

Bytes of both directions take turns: while an outcome's changes are on their way to the kernel,
later bytes of the same session wait, so what the engine saw first is also sent first.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fwlb.config.models import Relay as RelaySettings
from fwlb.daemon import log, upstream
from fwlb.daemon.leg import Leg, LegBroken, reset_on_close
from fwlb.daemon.outcomes import Outcomes
from fwlb.daemon.splice import Splicer
from fwlb.daemon.transparent import endpoint, traffic_class
from fwlb.daemon.upstream import SourcePorts
from fwlb.engine import Admitted, Engine, Opening, Outcome, Rejected
from fwlb.model import Endpoint, IPAddress, Refusal, Side

GOODBYE_S = 5.0
"""How long the last bytes of a session that we end may take to leave, and the peers to end too."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all sessions share. `settings` and `helpers` are those of the time of the accept."""

    engine: Engine
    outcomes: Outcomes
    source_ports: SourcePorts
    splicer: Splicer
    egress: Callable[[IPAddress], IPAddress | None]
    settings: RelaySettings
    helpers: Mapping[int, str]
    """Name of the helper by dialled port."""
    connected: Callable[[], None]
    """Called once a session, when it waits for its server no longer."""
    mishap: Callable[[str, Exception], None]
    """Called with the session's id for an error that nobody expected."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a session ends. `polite`: what is still unsent is sent first."""

    why: str
    reset: bool = False
    polite: bool = False


_BOTH_ENDED = Ending("both sides ended")
_FAILED = Ending("internal error", reset=True)


class RelayedSession:
    """Runs from accept to close. `finish` ends it from outside."""

    def __init__(self, session_id: str, client: socket.socket, surroundings: Surroundings) -> None:
        self.id = session_id
        self.opaque = False
        """Whether its bytes move without being looked at."""
        self._client = client
        self._around = surroundings
        self._loop = asyncio.get_running_loop()
        self._legs: dict[Side, Leg] = {}
        self._over: asyncio.Future[Ending] = self._loop.create_future()
        self._turn = asyncio.Lock()
        self._ended: set[Side] = set()
        self._connecting = True
        self._spoke_at = self._loop.time()
        self._idle_check: asyncio.TimerHandle | None = None

    def finish(self, ending: Ending) -> None:
        """End the session; the first reason given stands."""
        if not self._over.done():
            self._over.set_result(ending)

    async def run(self) -> None:
        """Relay until the end. Never raises for what peers, kernel or engine do."""
        try:
            ending = await self._relay()
        except Exception as error:  # noqa: BLE001  one session's mishap must not be another's
            self._around.mishap(self.id, error)
            ending = _FAILED
        self._stop_connecting()
        self._close_legs(ending)

    async def _relay(self) -> Ending:
        try:
            client = endpoint(self._client.getpeername())
            dialled = endpoint(self._client.getsockname())
        except OSError:
            return Ending("client is gone", reset=True)
        helper = self._around.helpers.get(dialled.port)
        if helper is None:  # somebody dialled the relay's own port, or the port was just disabled
            return Ending("not a port of a helper", reset=True)
        with _held(self._around.source_ports, client, dialled):
            return await self._admit(client, dialled, helper)

    async def _admit(self, client: Endpoint, dialled: Endpoint, helper: str) -> Ending:
        engine, now = self._around.engine, self._loop.time
        try:
            egress = self._around.egress(engine.server_of(dialled).address)
        except OSError as error:  # no descriptors left
            return Ending(str(error), reset=True)
        opening = Opening(self.id, helper, client, dialled, egress)
        answer, outcome = engine.open(opening, now())
        if isinstance(answer, Rejected):
            await self._around.outcomes.settle(outcome)
            return Ending(answer.detail, reset=True)
        ending = _FAILED
        try:
            await self._around.outcomes.settle(outcome)
            ending = await self._with_server(answer)
        finally:
            outcome = engine.close(self.id, now(), ending.why)
            await self._around.outcomes.settle(outcome)
        return ending

    async def _with_server(self, admitted: Admitted) -> Ending:
        connection = await self._dial(admitted)
        self._stop_connecting()
        if isinstance(connection, Ending):
            return connection
        buffer_bytes = self._around.settings.buffer_bytes
        self._legs = {
            Side.CLIENT: Leg(Side.CLIENT, self._client, buffer_bytes=buffer_bytes),
            Side.SERVER: Leg(Side.SERVER, connection, buffer_bytes=buffer_bytes),
        }
        with _held(
            self._around.source_ports,
            endpoint(connection.getsockname()),
            admitted.session.server,
        ):
            return await self._pump_both()

    async def _dial(self, admitted: Admitted) -> socket.socket | Ending:
        """Connect to the server, unless the session is ended first."""
        dialling = self._loop.create_task(
            upstream.connect(
                admitted.source,
                admitted.session.server,
                self._around.source_ports,
                traffic_class=traffic_class(self._client),
                timeout_s=self._around.settings.connect_timeout_s,
            )
        )
        either: set[asyncio.Future[Any]] = {dialling, self._over}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not dialling.done():
            dialling.cancel()
            await asyncio.wait({dialling})
        try:
            return dialling.result()
        except asyncio.CancelledError:
            return self._over.result()
        except TimeoutError:
            return self._refuse(Refusal.UPSTREAM_TIMEOUT, "the server does not answer")
        except OSError as error:
            detail = os.strerror(error.errno).lower() if error.errno else str(error)
            return self._refuse(Refusal.UPSTREAM_UNREACHABLE, detail)

    def _refuse(self, reason: Refusal, detail: str) -> Ending:
        self._around.engine.count(reason)
        fields = {"reason": reason.value, "detail": detail}
        log.emit("refused", session=self.id, level=logging.WARNING, fields=fields)
        return Ending(detail, reset=True)

    async def _pump_both(self) -> Ending:
        self._check_idle()
        pumps = [self._loop.create_task(self._pump_safely(side)) for side in Side]
        try:
            ending = await self._over
        finally:
            if self._idle_check:
                self._idle_check.cancel()
            for pump in pumps:
                pump.cancel()
            await asyncio.wait(pumps)
        if ending.polite:
            await self._say_goodbye()
        return ending

    async def _pump_safely(self, side: Side) -> None:
        try:
            await self._pump(self._legs[side], self._legs[side.other])
        except LegBroken as broken:
            self.finish(Ending(str(broken), reset=True))
        except Exception as error:  # noqa: BLE001  as in `run`
            self._around.mishap(self.id, error)
            self.finish(_FAILED)
        else:
            self._ended.add(side)
            if len(self._ended) == len(Side):
                self.finish(_BOTH_ENDED)

    async def _pump(self, source: Leg, target: Leg) -> None:
        """Carry what `source` says to `target`, by way of the engine, until it says no more."""
        while not self.opaque:
            await target.room()
            data = await source.read()
            self._spoke()
            await self._pass_on(source, target, data)
            if not data:
                break
            await asyncio.sleep(0)  # a fast sender must not keep the others waiting
        else:
            await self._around.splicer.move(source, target, self._spoke)
        await target.flushed()
        target.end()

    async def _pass_on(self, source: Leg, target: Leg, data: bytes) -> None:
        """Pass `data` of `source` on; empty `data` is the end of its stream."""
        engine = self._around.engine
        async with self._turn:
            now = self._loop.time()
            if self.opaque:
                target.write(data)
            elif data:
                await self._carry_out(engine.receive(self.id, source.side, data, now))
            else:
                await self._carry_out(engine.eof(self.id, source.side, now))

    async def _carry_out(self, outcome: Outcome) -> None:
        for send in await self._around.outcomes.carry_out(self.id, outcome):
            self._legs[send.to].write(send.data)
        self.opaque = self.opaque or outcome.opaque
        if outcome.close:
            self.finish(Ending("closed by policy", polite=True))

    async def _say_goodbye(self) -> None:
        """Let what is unsent leave, and both sides end in good order, within a bounded time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S):
                await asyncio.gather(*(leg.part() for leg in self._legs.values()))

    def _spoke(self) -> None:
        self._spoke_at = self._loop.time()

    def _check_idle(self) -> None:
        left_s = self._spoke_at + self._around.settings.idle_timeout_s - self._loop.time()
        if left_s > 0:
            self._idle_check = self._loop.call_later(left_s, self._check_idle)
            return
        self._around.engine.count(Refusal.IDLE_TIMEOUT)
        unsent = any(leg.unsent_bytes for leg in self._legs.values())
        self.finish(Ending(Refusal.IDLE_TIMEOUT.value, reset=unsent))

    def _close_legs(self, ending: Ending) -> None:
        if not self._legs:  # the server was never reached: the client must not take it for an end
            reset_on_close(self._client)
            self._client.close()
        for leg in self._legs.values():
            if ending.reset:
                leg.reset()
            else:
                leg.close()

    def _stop_connecting(self) -> None:
        if self._connecting:
            self._connecting = False
            self._around.connected()


@contextlib.contextmanager
def _held(ports: SourcePorts, source: Endpoint, destination: Endpoint) -> Iterator[None]:
    ports.hold(source, destination)
    try:
        yield
    finally:
        ports.release(source, destination)
