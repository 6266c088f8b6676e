"""The control socket: what is asked, what is answered, and what is refused."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import socket
import stat
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fwlb.daemon import control, control_server, log
from fwlb.daemon.control import call, error_from_json, events
from fwlb.daemon.control_server import ControlServer
from fwlb.daemon.feed import EventFeed
from fwlb.errors import (
    AlreadyRunningError,
    ConfigError,
    DaemonError,
    FwlbError,
    KernelError,
    NotRunningError,
    PortInUseError,
    Problem,
    RulesetError,
    Where,
)

Scenario = Callable[[Path, EventFeed], Awaitable[None]]


async def status(_request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"node": "gw1", "uptime_s": 3.5}


async def echo(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"request": dict(request)}


async def fail(_request: Mapping[str, Any]) -> Mapping[str, Any]:
    raise PortInUseError("port 2121 is taken", hint="choose another")


async def crash(_request: Mapping[str, Any]) -> Mapping[str, Any]:
    raise RuntimeError("a mistake in the daemon")


VERBS = {"status": status, "echo": echo, "fail": fail, "crash": crash}


@contextlib.asynccontextmanager
async def serving(path: Path) -> AsyncIterator[EventFeed]:
    feed = EventFeed(asyncio.get_running_loop())
    server = ControlServer(path, VERBS, feed)
    await server.open()
    try:
        yield feed
    finally:
        await server.close()


def with_server(path: Path, scenario: Scenario) -> None:
    async def run() -> None:
        async with serving(path) as feed:
            await scenario(path, feed)

    asyncio.run(run())


async def ask(path: Path, verb: str, **arguments: Any) -> dict[str, Any]:
    return await asyncio.to_thread(call, path, verb, 5.0, **arguments)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


def test_an_answer_comes_back_without_ok(path: Path) -> None:
    async def scenario(path: Path, _feed: EventFeed) -> None:
        assert await ask(path, "status") == {"node": "gw1", "uptime_s": 3.5}
        answer = await ask(path, "echo", config="applied")
        assert answer == {"request": {"verb": "echo", "config": "applied"}}

    with_server(path, scenario)


def test_only_the_owner_may_ask(path: Path) -> None:
    async def scenario(path: Path, _feed: EventFeed) -> None:
        mode = await asyncio.to_thread(lambda: path.stat().st_mode)
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600

    with_server(path, scenario)
    assert not path.exists()


def test_the_daemons_error_is_raised_with_its_class_and_hint(path: Path) -> None:
    async def scenario(path: Path, _feed: EventFeed) -> None:
        with pytest.raises(PortInUseError, match="2121") as caught:
            await ask(path, "fail")
        assert caught.value.hint == "choose another"

    with_server(path, scenario)


def test_an_unknown_verb_is_told_what_there_is(path: Path) -> None:
    async def scenario(path: Path, _feed: EventFeed) -> None:
        with pytest.raises(DaemonError, match="no such verb: 'dance'") as caught:
            await ask(path, "dance")
        assert "events" in str(caught.value.hint)
        assert "status" in str(caught.value.hint)

    with_server(path, scenario)


def test_a_mistake_in_a_verb_costs_one_connection_and_not_the_daemon(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(path: Path, _feed: EventFeed) -> None:
        with pytest.raises(DaemonError, match="hung up"):
            await ask(path, "crash")
        assert (await ask(path, "status"))["node"] == "gw1"

    with_server(path, scenario)
    assert any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize(
    "request_line",
    [
        b"not json\n",
        b"[1, 2]\n",
        b'{"verb": 5}\n',
        b'{"verb": null}\n',
        b"\xff\n",
        b"[" * 60_000 + b"\n",
    ],
    ids=["text", "list", "number", "null", "no-utf-8", "deep"],
)
def test_nonsense_is_answered_with_an_error(path: Path, request_line: bytes) -> None:
    async def scenario(path: Path, _feed: EventFeed) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(request_line)
        answer = json.loads(await reader.readline())
        assert answer["ok"] is False
        assert answer["error"]["error"] == "daemon"
        writer.write(b'{"verb": "status"}\n')
        assert json.loads(await reader.readline())["ok"] is True
        writer.close()
        await writer.wait_closed()

    with_server(path, scenario)


def test_a_request_without_end_is_cut_off(path: Path) -> None:
    async def scenario(path: Path, _feed: EventFeed) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"x" * (3 * control.MAX_REQUEST_BYTES))
        answer = json.loads(await reader.readline())
        assert "longer than" in answer["error"]["message"]
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    with_server(path, scenario)


def test_a_silent_client_is_hung_up_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_server, "REQUEST_TIMEOUT_S", 0.05)

    async def scenario(path: Path, _feed: EventFeed) -> None:
        reader, writer = await asyncio.open_unix_connection(str(path))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await writer.wait_closed()

    with_server(path, scenario)


def test_more_clients_than_allowed_are_hung_up_on(path: Path) -> None:
    async def scenario(path: Path, _feed: EventFeed) -> None:
        clients = []
        for _ in range(control_server.MAX_CLIENTS):
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b'{"verb": "status"}\n')
            await reader.readline()
            clients.append(writer)
        reader, one_more = await asyncio.open_unix_connection(str(path))
        assert await asyncio.wait_for(reader.read(), 5) == b""
        for writer in [*clients, one_more]:
            writer.close()
            await writer.wait_closed()
        for _ in range(100):
            with contextlib.suppress(DaemonError):
                assert (await ask(path, "status"))["node"] == "gw1"
                return
        pytest.fail("the places of clients that left are not given to others")

    with_server(path, scenario)


def test_events_are_streamed_until_the_caller_leaves(path: Path) -> None:
    async def scenario(path: Path, feed: EventFeed) -> None:
        logging.getLogger("fwlb").addHandler(feed)
        logging.getLogger("fwlb").setLevel(logging.INFO)
        stream = await asyncio.to_thread(events, path, 5.0)
        first = asyncio.ensure_future(asyncio.to_thread(next, stream))
        while not first.done():
            log.emit("pinhole-opened", session="a1-1", fields={"flow": "tcp 10.1.0.2"})
            await asyncio.sleep(0.01)
        event = first.result()
        assert (event["event"], event["session"]) == ("pinhole-opened", "a1-1")
        stream.close()
        logging.getLogger("fwlb").removeHandler(feed)
        for _ in range(500):
            if not feed._subscriptions:
                return
            await asyncio.sleep(0.01)
        pytest.fail("the subscription outlives its subscriber")

    with_server(path, scenario)


def test_a_caller_that_leaves_with_events_unread_is_no_mishap(path: Path) -> None:
    async def scenario(path: Path, feed: EventFeed) -> None:
        stray: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, what: stray.append(what))
        logging.getLogger("fwlb").addHandler(feed)
        logging.getLogger("fwlb").setLevel(logging.INFO)
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
            caller.send(b'{"verb": "events"}\n')
            answer = await asyncio.to_thread(caller.recv, 100)
            assert json.loads(answer) == {"ok": True}
            for _ in range(10):
                log.emit("reloaded")
            await asyncio.sleep(0.05)
        for _ in range(500):
            log.emit("reloaded")
            if not feed._subscriptions:
                break
            await asyncio.sleep(0.01)
        logging.getLogger("fwlb").removeHandler(feed)
        gc.collect()
        await asyncio.sleep(0)
        assert not feed._subscriptions
        assert stray == []

    with_server(path, scenario)


def test_nobody_there(path: Path) -> None:
    with pytest.raises(NotRunningError) as caught:
        call(path, "status")
    assert "fwlb up" in str(caught.value)


def test_a_daemon_that_hangs_is_not_waited_for(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen()
        with pytest.raises(DaemonError, match="does not answer in time"):
            call(path, "status", 0.05)


def test_something_else_that_listens_there_is_told_apart(path: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 welcome\n")
        with contextlib.closing(writer), contextlib.suppress(ConnectionError):
            await reader.read()  # the asker hangs up when it has seen enough

    async def run() -> None:
        await asyncio.to_thread(path.parent.mkdir)
        async with await asyncio.start_unix_server(greet, path):
            with pytest.raises(DaemonError, match="no fwlb daemon"):
                await ask(path, "status")

    asyncio.run(run())


def test_a_stale_socket_is_replaced(path: Path) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))

    async def scenario(path: Path, _feed: EventFeed) -> None:
        assert (await ask(path, "status"))["node"] == "gw1"

    with_server(path, scenario)


def test_a_socket_on_which_somebody_answers_is_not_taken(path: Path) -> None:
    async def run() -> None:
        async with serving(path) as feed:
            second = ControlServer(path, VERBS, feed)
            with pytest.raises(AlreadyRunningError, match=r"control\.sock"):
                await second.open()
            await second.close()
            assert (await ask(path, "status"))["node"] == "gw1"

    asyncio.run(run())


@pytest.mark.parametrize("place", ["file/control.sock", "x" * 120])
def test_a_place_where_no_socket_can_be(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("a file is no directory, and 120 characters are too many")

    async def run() -> None:
        server = ControlServer(tmp_path / place, VERBS, EventFeed(asyncio.get_running_loop()))
        with pytest.raises(DaemonError, match="cannot listen"):
            await server.open()

    asyncio.run(run())


@pytest.mark.parametrize(
    "error",
    [
        DaemonError("it broke", hint="mend it"),
        NotRunningError("nobody there"),
        RulesetError("syntax error", where=Where("rules.d/input/10.nft", 3)),
        KernelError("no such table", errno=2),
        ConfigError([Problem(Where("fwlb.toml", 3, "zones"), "no zones", "write one")]),
        FwlbError("something"),
    ],
)
def test_errors_survive_the_journey(error: FwlbError) -> None:
    copy = error_from_json(json.loads(json.dumps(error.as_json())))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.exit_status == error.exit_status


def test_an_error_that_this_version_does_not_know_is_a_daemon_error() -> None:
    copy = error_from_json({"error": "from-the-future", "message": "hello"})
    assert type(copy) is DaemonError
    assert copy.message == "hello"
