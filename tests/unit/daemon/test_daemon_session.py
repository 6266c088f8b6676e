"""A relayed session between two loopback sockets, with an engine that plays a script."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, cast

import pytest

from fwlb.config.models import Relay as RelaySettings
from fwlb.daemon import session as session_module
from fwlb.daemon import upstream
from fwlb.daemon.outcomes import Outcomes
from fwlb.daemon.session import Ending, RelayedSession, Surroundings
from fwlb.daemon.splice import Splicer
from fwlb.daemon.upstream import SourcePorts
from fwlb.engine import Admitted, Engine, Opening, Outcome, Rejected, Send
from fwlb.model import Change, ChangeKind, Element, Endpoint, Refusal, Session, Side

HELPER = "ftp"
CHANGE = Change(ChangeKind.ADD, Element("pinhole4", (6,), timeout_s=60.0))


class ScriptedEngine:
    """Passes bytes on as they are; `answers` replaces the outcome for certain bytes."""

    def __init__(self) -> None:
        self.answers: dict[bytes, Outcome | Exception] = {}
        self.rejected: Rejected | None = None
        self.openings: list[Opening] = []
        self.received: list[tuple[Side, bytes]] = []
        self.ended: list[Side] = []
        self.closed: list[str] = []
        self.counted: list[Refusal] = []
        self.refused: list[Refusal] = []

    def server_of(self, dialled: Endpoint) -> Endpoint:
        return dialled

    def open(self, opening: Opening, now: float) -> tuple[Admitted | Rejected, Outcome]:
        self.openings.append(opening)
        if self.rejected:
            return self.rejected, Outcome()
        session = Session(
            opening.session_id, HELPER, opening.client, opening.dialled, opening.dialled, now
        )
        return Admitted(session, opening.client.address), Outcome()

    def receive(self, _session_id: str, sender: Side, data: bytes, _now: float) -> Outcome:
        self.received.append((sender, data))
        answer = self.answers.get(data, Outcome(sends=(Send(sender.other, data),)))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def eof(self, _session_id: str, sender: Side, _now: float) -> Outcome:
        self.ended.append(sender)
        return Outcome()

    def close(self, _session_id: str, _now: float, why: str) -> Outcome:
        self.closed.append(why)
        return Outcome()

    def kernel_refused(
        self, _session_id: str, _outcome: Outcome, reason: Refusal, _now: float
    ) -> Outcome:
        self.refused.append(reason)
        return Outcome()

    def count(self, reason: Refusal) -> None:
        self.counted.append(reason)


class SlowActuator:
    """A kernel that answers when told to."""

    def __init__(self) -> None:
        self.answer: Refusal | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def commit(self, changes: tuple[Change, ...]) -> Refusal | None:
        if not changes:
            return None
        await self.open.wait()
        return self.answer


class Bench:
    """One session; `client` and `server` are the two ends that it connects."""

    def __init__(self, settings: RelaySettings) -> None:
        self.engine = ScriptedEngine()
        self.actuator = SlowActuator()
        self.loop = asyncio.get_running_loop()
        self.mishaps: list[Exception] = []
        self.connected = 0
        self.ports = SourcePorts(lambda _below: 0)
        self.splicer = Splicer()
        self.client, client_leg = pair()
        self.server, self.server_leg = pair()
        self.around = Surroundings(
            engine=cast("Engine", self.engine),
            outcomes=Outcomes(
                cast("Engine", self.engine), cast("Any", self.actuator), self.loop.time
            ),
            source_ports=self.ports,
            splicer=self.splicer,
            egress=lambda _destination: None,
            settings=settings,
            helpers={client_leg.getsockname()[1]: HELPER},
            connected=self._note_connected,
            mishap=lambda _session_id, error: self.mishaps.append(error),
        )
        self.client_leg = client_leg

    def start(self, **changes: Any) -> RelayedSession:
        around = replace(self.around, **changes)
        self.session = RelayedSession("t-1", self.client_leg, around)
        self.task = self.loop.create_task(self.session.run())
        return self.session

    async def say(self, peer: socket.socket, data: bytes) -> None:
        await self.loop.sock_sendall(peer, data)

    async def hear(self, peer: socket.socket, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = await self.loop.sock_recv(peer, count - len(data))
            if not piece:
                break
            data += piece
        return data

    def _note_connected(self) -> None:
        self.connected += 1

    def close(self) -> None:
        self.splicer.close()
        for each in (self.client, self.server, self.server_leg, self.client_leg):
            each.close()


def pair() -> tuple[socket.socket, socket.socket]:
    """A peer's socket and the relay's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    peer.setblocking(False)
    return peer, ours


@pytest.fixture
def scenario(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., None]:
    """Plays a scenario, and checks what holds at the end of every session."""

    def run(play: Callable[[Bench], Awaitable[None]], **settings: Any) -> None:
        async def whole() -> None:
            bench = Bench(RelaySettings(**settings))

            async def dial(*_arguments: Any, **_options: Any) -> socket.socket:
                return bench.server_leg

            monkeypatch.setattr(upstream, "connect", dial)
            try:
                async with asyncio.timeout(30):
                    await play(bench)
                    await bench.task
            finally:
                bench.close()
            assert bench.client_leg.fileno() < 0
            assert len(bench.ports) == 0
            assert bench.connected == 1

        asyncio.run(whole())

    return run


def reset(peer: socket.socket) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


async def is_reset(bench: Bench, peer: socket.socket) -> bool:
    try:
        await bench.loop.sock_recv(peer, 10)
    except ConnectionResetError:
        return True
    return False


def test_bytes_pass_through_the_engine_both_ways(scenario: Callable[..., None]) -> None:
    async def play(bench: Bench) -> None:
        bench.start()
        await bench.say(bench.server, b"220 hello\r\n")
        assert await bench.hear(bench.client, 11) == b"220 hello\r\n"
        await bench.say(bench.client, b"NOOP\r\n")
        assert await bench.hear(bench.server, 6) == b"NOOP\r\n"
        bench.client.close()
        assert await bench.hear(bench.server, 1) == b""
        bench.server.close()
        await bench.task
        assert bench.engine.received == [
            (Side.SERVER, b"220 hello\r\n"),
            (Side.CLIENT, b"NOOP\r\n"),
        ]
        assert bench.engine.ended == [Side.CLIENT, Side.SERVER]
        assert bench.engine.closed == ["both sides ended"]
        assert str(bench.engine.openings[0].client.address) == "127.0.0.1"

    scenario(play)


@pytest.mark.parametrize("first", ["client", "server"])
def test_half_a_connection_goes_on(scenario: Callable[..., None], first: str) -> None:
    async def play(bench: Bench) -> None:
        ending, staying = bench.client, bench.server
        if first == "server":
            ending, staying = staying, ending
        bench.start()
        await bench.say(ending, b"last words")
        ending.shutdown(socket.SHUT_WR)
        assert await bench.hear(staying, 100) == b"last words"
        await bench.say(staying, b"the answer")
        staying.shutdown(socket.SHUT_WR)
        assert await bench.hear(ending, 100) == b"the answer"

    scenario(play)


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_reset_goes_to_the_other_side_as_a_reset(
    scenario: Callable[..., None], first: str
) -> None:
    async def play(bench: Bench) -> None:
        breaking, other = bench.client, bench.server
        if first == "server":
            breaking, other = other, breaking
        bench.start()
        await bench.say(breaking, b"x")
        await bench.hear(other, 1)
        reset(breaking)
        assert await is_reset(bench, other)
        await bench.task
        assert bench.engine.closed == [f"{first}: connection reset by peer"]

    scenario(play)


def test_while_the_kernel_is_asked_later_bytes_of_both_sides_wait(
    scenario: Callable[..., None],
) -> None:
    async def play(bench: Bench) -> None:
        bench.actuator.open.clear()
        bench.engine.answers[b"PORT"] = Outcome(
            changes=(CHANGE,), sends=(Send(Side.SERVER, b"PORT'"),)
        )
        bench.start()
        await bench.say(bench.client, b"PORT")
        await asyncio.sleep(0.02)
        await bench.say(bench.client, b"LIST")
        await bench.say(bench.server, b"226 ok")
        await asyncio.sleep(0.02)
        assert bench.engine.received == [(Side.CLIENT, b"PORT")]
        bench.actuator.open.set()
        assert await bench.hear(bench.server, 9) == b"PORT'LIST"
        assert await bench.hear(bench.client, 6) == b"226 ok"
        bench.session.finish(Ending("enough"))

    scenario(play)


def test_what_the_kernel_refuses_is_answered_with_the_substitute(
    scenario: Callable[..., None],
) -> None:
    async def play(bench: Bench) -> None:
        bench.actuator.answer = Refusal.SET_FULL
        bench.engine.answers[b"PORT"] = Outcome(
            changes=(CHANGE,),
            sends=(Send(Side.SERVER, b"PORT'"),),
            sends_if_refused=(Send(Side.SERVER, b"NOPE"), Send(Side.CLIENT, b"501")),
        )
        bench.start()
        await bench.say(bench.client, b"PORT")
        assert await bench.hear(bench.server, 4) == b"NOPE"
        assert await bench.hear(bench.client, 3) == b"501"
        assert bench.engine.refused == [Refusal.SET_FULL]
        bench.session.finish(Ending("enough"))

    scenario(play)


def test_an_opaque_session_is_not_looked_at_any_more(scenario: Callable[..., None]) -> None:
    async def play(bench: Bench) -> None:
        bench.engine.answers[b"AUTH"] = Outcome(
            sends=(Send(Side.CLIENT, b"partial"), Send(Side.SERVER, b"AUTH")), opaque=True
        )
        session = bench.start()
        await bench.say(bench.client, b"AUTH")
        assert await bench.hear(bench.server, 4) == b"AUTH"
        assert await bench.hear(bench.client, 7) == b"partial"
        assert session.opaque
        for _ in range(3):
            await bench.say(bench.client, b"secret")
            assert await bench.hear(bench.server, 6) == b"secret"
            await bench.say(bench.server, b"answer")
            assert await bench.hear(bench.client, 6) == b"answer"
        bench.client.shutdown(socket.SHUT_WR)
        assert await bench.hear(bench.server, 1) == b""
        await bench.say(bench.server, b"bye")
        bench.server.close()
        assert await bench.hear(bench.client, 100) == b"bye"
        await bench.task
        assert bench.engine.received == [(Side.CLIENT, b"AUTH")]
        assert bench.engine.ended == []

    scenario(play)


def test_closing_by_policy_delivers_what_was_said_before(
    scenario: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module, "GOODBYE_S", 0.3)

    async def play(bench: Bench) -> None:
        long_text = b"x" * 3_000_000
        bench.engine.answers[b"\0"] = Outcome(
            sends=(Send(Side.SERVER, b"QUIT"), Send(Side.CLIENT, long_text[:500_000])), close=True
        )
        bench.start()
        await bench.say(bench.client, b"\0")
        assert await bench.hear(bench.server, 100) == b"QUIT"
        assert len(await bench.hear(bench.client, 500_001)) == 500_000
        await bench.task
        assert bench.engine.closed == ["closed by policy"]

    scenario(play)


def test_a_rejected_connection_is_reset(scenario: Callable[..., None]) -> None:
    async def play(bench: Bench) -> None:
        bench.engine.rejected = Rejected(Refusal.SESSION_LIMIT, "4096 sessions are open")
        bench.start()
        assert await is_reset(bench, bench.client)
        assert bench.engine.closed == []  # it never was open

    scenario(play)


def test_who_dials_the_relay_itself_is_reset(scenario: Callable[..., None]) -> None:
    async def play(bench: Bench) -> None:
        bench.start(helpers={21: HELPER})
        assert await is_reset(bench, bench.client)
        assert bench.engine.openings == []

    scenario(play)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (TimeoutError(), Refusal.UPSTREAM_TIMEOUT),
        (ConnectionRefusedError(111, "Connection refused"), Refusal.UPSTREAM_UNREACHABLE),
        (OSError(113, "No route to host"), Refusal.UPSTREAM_UNREACHABLE),
    ],
)
def test_a_server_that_cannot_be_reached_resets_the_client(
    scenario: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: Refusal,
) -> None:
    async def play(bench: Bench) -> None:
        async def dial(*_arguments: Any, **_options: Any) -> socket.socket:
            raise error

        monkeypatch.setattr(upstream, "connect", dial)
        bench.start()
        assert await is_reset(bench, bench.client)
        await bench.task
        assert bench.engine.counted == [reason]
        assert len(bench.engine.closed) == 1

    scenario(play)


def test_a_session_can_be_ended_while_it_waits_for_its_server(
    scenario: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def play(bench: Bench) -> None:
        async def dial(*_arguments: Any, **_options: Any) -> socket.socket:
            await asyncio.sleep(100)
            return bench.server_leg

        monkeypatch.setattr(upstream, "connect", dial)
        session = bench.start()
        await asyncio.sleep(0.02)
        session.finish(Ending("the daemon stops", reset=True))
        assert await is_reset(bench, bench.client)
        await bench.task
        assert bench.engine.closed == ["the daemon stops"]

    scenario(play)


def test_silence_on_both_sides_ends_the_session(scenario: Callable[..., None]) -> None:
    async def play(bench: Bench) -> None:
        bench.start()
        for _ in range(3):  # somebody speaks: not idle
            await asyncio.sleep(0.4)
            await bench.say(bench.client, b"x")
            assert await bench.hear(bench.server, 1) == b"x"
        before = bench.loop.time()
        assert await bench.hear(bench.client, 1) == b""
        assert bench.loop.time() - before == pytest.approx(1.0, abs=0.3)
        await bench.task
        assert bench.engine.counted == [Refusal.IDLE_TIMEOUT]
        assert bench.engine.closed == ["idle-timeout"]

    scenario(play, idle_timeout_s=1.0)


def test_a_mistake_in_the_engine_costs_one_session(scenario: Callable[..., None]) -> None:
    async def play(bench: Bench) -> None:
        bench.engine.answers[b"crash"] = RuntimeError("a mistake")
        bench.start()
        await bench.say(bench.client, b"crash")
        assert await is_reset(bench, bench.client)
        assert await is_reset(bench, bench.server)
        await bench.task
        assert [str(error) for error in bench.mishaps] == ["a mistake"]
        assert bench.engine.closed == ["internal error"]

    scenario(play)


def test_a_receiver_that_stalls_stops_the_sender(scenario: Callable[..., None]) -> None:
    async def play(bench: Bench) -> None:
        bench.start()
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 100_000_000:
                async with asyncio.timeout(0.3):
                    await bench.say(bench.client, b"x" * 100_000)
                sent += 100_000
        assert sent < 50_000_000
        unsent = bench.session._legs[Side.SERVER].unsent_bytes
        assert unsent <= 2 * 65536
        bench.client.close()
        received = 0
        while piece := await bench.loop.sock_recv(bench.server, 1_000_000):
            received += len(piece)
        assert received >= sent
        bench.server.close()

    scenario(play)


def test_a_client_that_left_at_once_is_no_mishap(scenario: Callable[..., None]) -> None:
    async def play(bench: Bench) -> None:
        reset(bench.client)
        await asyncio.sleep(0.01)
        bench.start()
        await bench.task
        assert bench.mishaps == []

    scenario(play)


def test_descriptors_that_are_short_are_no_mishap(scenario: Callable[..., None]) -> None:
    async def play(bench: Bench) -> None:
        def short(_destination: object) -> None:
            raise OSError(24, "Too many open files")

        bench.start(egress=short)
        assert await is_reset(bench, bench.client)
        assert bench.mishaps == []

    scenario(play)


def test_the_scripted_engine_has_no_methods_of_its_own() -> None:
    """A method that the real engine lost must not live on here."""
    offered = {name for name in vars(ScriptedEngine) if not name.startswith("_")}
    assert offered <= set(dir(Engine))
