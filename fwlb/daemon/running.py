"""What other verbs do with a daemon that may run: refuse a second one, reload it, stop it."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

from fwlb.config.models import Config
from fwlb.daemon import instance, transparent
from fwlb.daemon.control import SOCKET_NAME, call
from fwlb.daemon.control_server import require_directory
from fwlb.errors import AlreadyRunningError, DaemonError, NotRunningError

POLL_S = 0.1
MARGIN_S = 15.0
"""What a stopping daemon may take beyond `relay.drain_timeout_s`."""

RELOAD_TIMEOUT_S = 60.0


def require_startable(config: Config) -> None:
    """Raises what would keep a daemon with `config` from starting: AlreadyRunningError, also when
    one of another namespace has the control socket; PortInUseError; DaemonError.

    For before the ruleset is applied. Nothing is held: `main.run` asks again.
    """
    instance.Instance().close()
    path = config.paths.runtime / SOCKET_NAME
    with contextlib.suppress(NotRunningError):
        call(path, "status")
        raise instance.already_answers(path)
    for family in (socket.AF_INET, socket.AF_INET6):
        listener = transparent.listen(family, config.relay.port)
        if listener is not None:
            listener.close()
    require_directory(path)


def reload_running(config: Config) -> bool:
    """Tell a running daemon to use the configuration that was applied; False when none runs.
    Raises what the daemon answers, and DaemonError when it cannot be asked."""
    path = config.paths.runtime / SOCKET_NAME
    try:
        call(path, "reload", RELOAD_TIMEOUT_S, config="applied")
    except NotRunningError as error:
        _require_none(path, error)
        return False
    return True


def stop_running(config: Config) -> list[str]:
    """Stop a running daemon and wait until it is gone; says what was stopped or left by one that
    was killed.

    Raises DaemonError when it cannot be asked, or does not stop in `relay.drain_timeout_s` and a
    little more.
    """
    path = config.paths.runtime / SOCKET_NAME
    try:
        pid = call(path, "stop")["pid"]
    except NotRunningError as error:
        _require_none(path, error)
        return _remove_left(path)
    deadline_s = time.monotonic() + config.relay.drain_timeout_s + MARGIN_S
    while path.exists() or instance.is_held():
        if time.monotonic() > deadline_s:
            raise DaemonError(
                f"the daemon (pid {pid}) does not stop",
                hint=f"look at its log, then: kill -9 {pid}",
            )
        time.sleep(POLL_S)
    return [f"daemon (pid {pid})"]


def _require_none(path: Path, error: NotRunningError) -> None:
    """Nobody answers on `path`: then no daemon may run here either."""
    try:
        instance.Instance().close()
    except AlreadyRunningError as running:
        raise DaemonError(
            f"{running.message}, but does not answer on {path}",
            hint="its socket was removed, or `paths.runtime` was changed since it started: "
            "stop it with SIGTERM (systemctl stop fwlb)",
        ) from error
    except DaemonError:
        return  # the name is taken by a stranger, who is no reason to leave things as they are


def _remove_left(path: Path) -> list[str]:
    """Remove the socket of a daemon that was killed."""
    try:
        path.unlink()
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [f"socket {path}"]
