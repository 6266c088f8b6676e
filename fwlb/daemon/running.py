"""What other verbs do with a daemon that may run: refuse a second one, reload it, stop it."""

from __future__ import annotations

import time

from fwlb.config.models import Config
from fwlb.daemon import instance
from fwlb.daemon.control import SOCKET_NAME, call
from fwlb.errors import DaemonError, NotRunningError

POLL_S = 0.1
MARGIN_S = 15.0
"""What a stopping daemon may take beyond `relay.drain_timeout_s`."""

RELOAD_TIMEOUT_S = 60.0


def refuse_second_daemon(config: Config) -> None:
    """Raises AlreadyRunningError when a daemon runs in this network namespace, or one of another
    namespace has the control socket of `config`. Nothing is held: `main.run` asks again."""
    instance.Instance().close()
    try:
        call(config.paths.runtime / SOCKET_NAME, "status")
    except NotRunningError:
        return
    raise instance.already_answers(config.paths.runtime / SOCKET_NAME)


def reload_running(config: Config) -> bool:
    """Tell a running daemon to use the configuration that was applied; False when none runs.
    Raises what the daemon answers."""
    try:
        call(config.paths.runtime / SOCKET_NAME, "reload", RELOAD_TIMEOUT_S, config="applied")
    except NotRunningError:
        return False
    return True


def stop_running(config: Config) -> list[str]:
    """Stop a running daemon and wait until it is gone; says what was stopped.

    Raises DaemonError when it does not stop in `relay.drain_timeout_s` and a little more.
    """
    path = config.paths.runtime / SOCKET_NAME
    try:
        pid = call(path, "stop")["pid"]
    except NotRunningError:
        return []
    deadline_s = time.monotonic() + config.relay.drain_timeout_s + MARGIN_S
    while path.exists() or instance.is_held():
        if time.monotonic() > deadline_s:
            raise DaemonError(
                f"the daemon (pid {pid}) does not stop",
                hint=f"look at its log, then: kill -9 {pid}",
            )
        time.sleep(POLL_S)
    return [f"daemon (pid {pid})"]
