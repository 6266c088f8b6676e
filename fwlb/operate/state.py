"""Files below `paths.state`: what `up` changed and what it has to put back.

* `undo.json`: written *before* each change: what was there before fwlb, for `down`
* `applied.json`: the configuration that is in force
* `pending.json`: a change that waits for `fwlb confirm`, with what was before it
* `lock`: one verb at a time changes the kernel

Every file is replaced atomically and is on the disk before the next step is taken.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from fwlb.errors import HostError, Where

VERSION = 1


class State:
    """The state directory. Made on first use; only root can read it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Wait for, then hold, the right to change the kernel."""
        descriptor = self._lock()
        try:
            yield
        finally:
            os.close(descriptor)

    def _lock(self) -> int:
        while True:
            descriptor = self._open_lock()
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if self._is_lock(descriptor):
                return descriptor
            os.close(descriptor)  # who held it removed the file: others lock another one by now

    def _is_lock(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), (self.directory / "lock").stat())
        except FileNotFoundError:
            return False

    def _open_lock(self) -> int:
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from error

    def read(self, name: str) -> dict[str, Any] | None:
        """Contents of a state file, None when it is absent. A damaged one is an error."""
        path = self.directory / f"{name}.json"
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self._unusable(error, path) from error
        if not isinstance(value, dict) or value.pop("version", None) != VERSION:
            raise self._unusable(ValueError("not written by this version of fwlb"), path)
        return value

    def write(self, name: str, value: dict[str, Any]) -> None:
        path = self.directory / f"{name}.json"
        temporary = path.with_suffix(".new")
        try:
            with temporary.open("w", encoding="utf-8") as file:
                json.dump({"version": VERSION, **value}, file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise self._unusable(error, path) from error

    def remove(self, name: str) -> None:
        (self.directory / f"{name}.json").unlink(missing_ok=True)

    def remove_all(self) -> None:
        """Remove our files, and the directory when nothing else is in it."""
        for name in ("undo", "applied", "pending"):
            self.remove(name)
        for name in ("watchdog.log", "lock"):
            (self.directory / name).unlink(missing_ok=True)
        try:
            self.directory.rmdir()
        except OSError:
            return  # the operator keeps something there, or it never was

    def _unusable(self, error: Exception, path: Path | None = None) -> HostError:
        return HostError(
            f"cannot use the state: {error}",
            where=Where(str(path or self.directory)),
            hint="set [paths] state to a directory that root can write, or remove the damaged file",
        )
