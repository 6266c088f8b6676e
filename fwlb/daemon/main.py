"""The daemon: everything put together, from start to stop.

::

    start    one per network namespace, run-time sets emptied, listeners, sign of life, control
    SIGHUP   reload: the ruleset in a thread, then the engine, then the listeners
    SIGTERM  stop: no sign of life, no new connections, running ones may finish; twice: at once
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import secrets
import signal
import time
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import fwlb
from fwlb.config.models import Config
from fwlb.daemon import log
from fwlb.daemon.actuator import Actuator
from fwlb.daemon.control import SOCKET_NAME
from fwlb.daemon.control_server import ControlServer
from fwlb.daemon.feed import EventFeed
from fwlb.daemon.health import Health
from fwlb.daemon.instance import Instance
from fwlb.daemon.liveness import Liveness
from fwlb.daemon.notify import Notifier
from fwlb.daemon.outcomes import Outcomes
from fwlb.daemon.relay import STOP_S, Relay
from fwlb.daemon.running import reload_running, require_startable, stop_running
from fwlb.engine import Engine
from fwlb.errors import DaemonError, ElementMissingError, FwlbError, PortInUseError
from fwlb.helpers import registry
from fwlb.kernel.elements import ElementWriter
from fwlb.kernel.privilege import require_root
from fwlb.kernel.routes import egress_address

__all__ = ["reload_running", "require_startable", "run", "stop_running"]

Reload = Callable[[], Config]

RUNTIME_SETS = (
    "pinhole4",
    "pinhole6",
    "pinhole_snat4",
    "pinhole_snat6",
    "binding_in4",
    "binding_in6",
    "binding_out4",
    "binding_out6",
)
"""Emptied at start: whose elements they hold is not known. Flows that run do not need them."""

KERNEL_TIMEOUT_S = 0.5
"""The event loop waits for the kernel's answer: not for as long as `liveness_timeout_s` can be."""

SPARE_DESCRIPTORS = 256
"""Beside two for each session: listeners, control, netlink, pipes of sessions that went opaque."""

BEAT_S = 1.0
"""How often the daemon looks after itself and the engine after what lapsed."""


def run(
    config: Config,
    *,
    reload: Reload,
    file: Path | None = None,
    log_format: log.LogFormat = "auto",
) -> int:
    """Run the daemon until it is told to stop; returns the exit status.

    The ruleset of `config` is applied already. `reload` loads the configuration again, applies its
    ruleset and returns it; it runs in a thread, and what it raises leaves all as it was.
    `file` is where `config` came from, for the status.
    Raises PrivilegeError, AlreadyRunningError, PortInUseError, KernelError when it cannot start.
    """
    require_root()
    instance = Instance()
    writer = log.configure(log_format)
    try:
        asyncio.run(_run(config, reload, file, instance))
    finally:
        log.unconfigure(writer)
        instance.close()
    return 0


async def _run(config: Config, reload: Reload, file: Path | None, instance: Instance) -> None:
    feed = EventFeed(asyncio.get_running_loop())
    logging.getLogger().addHandler(feed)
    notifier = Notifier.from_environment(os.environ, os.getpid())
    try:
        with instance.answering():
            await Daemon(config, reload, file, feed, notifier).run()
    finally:
        logging.getLogger().removeHandler(feed)
        notifier.close()


def _writer() -> ElementWriter:
    return ElementWriter(timeout_s=KERNEL_TIMEOUT_S)


def _empty_runtime_sets() -> None:
    try:
        with _writer() as writer:
            for name in RUNTIME_SETS:
                writer.flush(name)
    except ElementMissingError as error:
        raise ElementMissingError(
            f"the ruleset is not complete: {error.message}",
            errno=error.errno,
            hint="apply it: fwlb up",
        ) from error


class Daemon:
    """One run of the daemon, on the running event loop."""

    def __init__(
        self,
        config: Config,
        reload: Reload,
        file: Path | None,
        feed: EventFeed,
        notifier: Notifier,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._config = config
        self._reload = reload
        self._file = file
        self._notifier = notifier
        self._health = Health()
        self._started_at = self._loop.time()
        self._stopping = asyncio.Event()
        self._hurry = asyncio.Event()
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task[None]] = set()
        self._was_alive = False
        self._engine = Engine(config, entropy=secrets.randbelow)
        self._actuator = Actuator(_writer, timers=self._loop, report=self._kernel_error)
        self._outcomes = Outcomes(self._engine, self._actuator, self._loop.time)
        helpers = registry.ports(config.helpers)
        self._relay = Relay(
            self._engine,
            self._outcomes,
            settings=config.relay,
            helpers=helpers,
            egress=egress_address,
            report=self._trouble,
        )
        self._liveness = Liveness(self._actuator, helpers, config.relay.liveness_timeout_s)
        verbs = {
            "status": self._status,
            "sessions": self._sessions,
            "reload": self._reload_verb,
            "stop": self._stop_verb,
        }
        self._control = ControlServer(config.paths.runtime / SOCKET_NAME, verbs, feed)

    async def run(self) -> None:
        """From start to stop. Raises FwlbError when it cannot start."""
        self._loop.set_exception_handler(self._stray_error)
        self._raise_descriptor_limit()
        try:
            _empty_runtime_sets()
            self._relay.open()
            self._watch_signals()
            # whoever finds the control socket finds a relay that takes connections
            self._was_alive = await self._liveness.renew()
            await self._control.open()
            await self._serve()
        finally:
            self._relay.close()
            await self._control.close()
            self._actuator.close()

    async def _serve(self) -> None:
        background = [
            self._loop.create_task(self._forever(self._liveness.run)),
            self._loop.create_task(self._forever(self._beat)),
        ]
        try:
            self._notifier.ready()
            fields = {"version": fwlb.__version__, "node": self._config.node.name}
            log.emit("daemon-started", fields={**fields, "port": self._config.relay.port})
            await self._stopping.wait()
            await self._stop(background[0])
        finally:
            for task in background:
                task.cancel()
            await asyncio.wait(background)

    async def _stop(self, liveness: asyncio.Task[None]) -> None:
        drain_s = self._config.relay.drain_timeout_s
        self._notifier.stopping(drain_s + 2 * STOP_S)
        log.emit("daemon-stopping", fields={"sessions": self._relay.connections})
        liveness.cancel()
        await asyncio.wait([liveness])
        # first the sign of life, then the listeners: nobody is to meet a closed port
        await self._liveness.stop()
        self._relay.close()
        drained = await self._relay.drain(drain_s, self._hurry)
        fields = {"finished": drained.finished, "reset": drained.reset}
        log.emit("daemon-stopped", fields=fields)

    # --- reload ------------------------------------------------------------------------------

    async def _load_again(self, load: Reload) -> None:
        """Use what `load` returns. Raises FwlbError: the daemon goes on with what it had, and
        is passed by where its port has changed and is taken."""
        async with self._reloading:
            if self._stopping.is_set():
                raise DaemonError("the daemon stops and loads nothing any more")
            self._notifier.reloading(time.monotonic())
            try:
                config = await self._loop.run_in_executor(None, load)
                await self._use(config)
            except FwlbError as error:
                self._reload_failed(error)
                raise
            except Exception as error:
                log.emit("daemon-mishap", level=logging.ERROR, error=error)
                failure = DaemonError(f"{type(error).__name__}: {error}")
                self._reload_failed(failure)
                raise failure from error
            else:
                log.emit("reloaded")
            finally:
                self._notifier.ready()

    async def _use(self, config: Config) -> None:
        if config.paths.runtime != self._config.paths.runtime:
            fields = {"key": "paths.runtime", "detail": "takes effect at the next start"}
            log.emit("restart-needed", level=logging.WARNING, fields=fields)
        self._config = config
        self._actuator.reconnect()
        helpers = registry.ports(config.helpers)
        await self._outcomes.settle(self._engine.reconfigure(config, self._loop.time()))
        try:
            self._relay.reconfigure(config.relay, helpers)
        except PortInUseError:
            # the rules send connections there already, and nobody of ours takes them
            await self._liveness.change((), config.relay.liveness_timeout_s)
            raise
        await self._liveness.change(helpers, config.relay.liveness_timeout_s)

    def _applied(self) -> Config:
        from fwlb import operate  # the ruleset's side of the house is rarely needed

        config = operate.applied_config(self._config.paths.state)
        if config is None:
            raise DaemonError("no configuration is applied", hint="run `fwlb up`")
        return config

    def _reload_failed(self, error: FwlbError) -> None:
        log.emit("reload-failed", level=logging.ERROR, fields={"detail": str(error)})
        self._note_error(f"reload: {error}")

    # --- looking after things ----------------------------------------------------------------

    async def _beat(self) -> None:
        interval_s = BEAT_S
        if self._notifier.watchdog_s is not None:
            interval_s = min(BEAT_S, self._notifier.watchdog_s / 2)
        while True:
            due_s = self._loop.time() + interval_s
            await asyncio.sleep(interval_s)
            now = self._loop.time()
            self._health.note_beat(due_s, now)
            deadline = self._engine.next_deadline(now)
            if deadline is not None and deadline <= now:
                await self._outcomes.settle(self._engine.tick(now))
            self._notifier.watchdog()
            self._notifier.status(f"{self._relay.connections} control connections")
            self._watch_liveness()

    def _watch_liveness(self) -> None:
        alive = self._liveness.alive
        if alive != self._was_alive and not self._stopping.is_set():
            level = logging.INFO if alive else logging.ERROR
            log.emit("relay-alive" if alive else "relay-passed-by", level=level)
        self._was_alive = alive

    async def _forever(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001  it must go on, and somebody must know
                self._trouble(f"{type(error).__name__}: {error}")
                log.emit("daemon-mishap", level=logging.ERROR, error=error)
                await asyncio.sleep(BEAT_S)

    def _raise_descriptor_limit(self) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        wanted = 2 * self._config.relay.max_sessions + SPARE_DESCRIPTORS
        if hard < wanted:
            detail = f"{hard} descriptors are too few for relay.max_sessions: LimitNOFILE={wanted}"
            log.emit("few-descriptors", level=logging.WARNING, fields={"detail": detail})

    def _watch_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop_signal)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload_signal)

    def _stop_signal(self) -> None:
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def _reload_signal(self) -> None:
        task = self._loop.create_task(self._reload_quietly())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload_quietly(self) -> None:
        with contextlib.suppress(FwlbError):  # it is in the log and in the status
            await self._load_again(self._reload)

    # --- errors ------------------------------------------------------------------------------

    def _note_error(self, text: str) -> bool:
        at = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        return self._health.note_error(text, now_s=self._loop.time(), at=at)

    def _trouble(self, text: str) -> None:
        self._note_error(text)

    def _kernel_error(self, error: FwlbError) -> None:
        if self._note_error(str(error)):
            log.emit("kernel-error", level=logging.ERROR, fields={"detail": str(error)})

    def _stray_error(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self._trouble(str(context["message"]))
        fields = {"detail": context["message"]}
        error = context.get("exception")
        log.emit("daemon-mishap", level=logging.ERROR, fields=fields, error=error)

    # --- the verbs of the control socket -----------------------------------------------------

    async def _status(self, _request: Mapping[str, Any]) -> Mapping[str, Any]:
        now = self._loop.time()
        return {
            "node": self._config.node.name,
            "version": fwlb.__version__,
            "pid": os.getpid(),
            "uptime_s": round(now - self._started_at, 3),
            "config": str(self._file) if self._file else None,
            "stopping": self._stopping.is_set(),
            **self._engine.snapshot(now),
            "relay": {**self._relay.status(), "alive": self._liveness.alive},
            "commits": self._actuator.commits,
            "last_error": self._health.last_error,
            "loop_lag_ms": self._health.lag_ms,
        }

    async def _sessions(self, _request: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"sessions": self._engine.sessions(self._loop.time())}

    async def _reload_verb(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        applied = request.get("config") == "applied"
        await self._load_again(self._applied if applied else self._reload)
        return {"reloaded": True}

    async def _stop_verb(self, _request: Mapping[str, Any]) -> Mapping[str, Any]:
        self._stop_signal()
        return {"stopping": True, "pid": os.getpid(), "sessions": self._relay.connections}
