"""Who owns which lab: one file for each, so that labs whose owner was killed can be found.

The namespaces of a lab are called `fwlb-ID-HOST`. /run/fwlb-lab/ID.json names the owner's process
and the lab's directory; it is there before the first namespace is and until the last one is gone.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from fwlb.lab import namespaces

RECORDS = Path("/run/fwlb-lab")


@dataclass(frozen=True, slots=True)
class LabRecord:
    """A lab and its owner. `started` is the owner's start time in clock ticks since boot (field
    22 of /proc/PID/stat): it tells the owner from a later process with the same number."""

    id: str
    pid: int
    started: int
    directory: Path

    @classmethod
    def make(cls, directory: Path) -> LabRecord:
        """A record, with a new id, of a lab that this process is about to build."""
        pid = os.getpid()
        record = cls(secrets.token_hex(4), pid, _started(pid) or 0, directory)
        RECORDS.mkdir(mode=0o755, exist_ok=True)
        content = {"pid": pid, "started": record.started, "directory": str(directory)}
        record.file.write_text(json.dumps(content))
        return record

    @property
    def file(self) -> Path:
        return RECORDS / f"{self.id}.json"

    @property
    def owner_lives(self) -> bool:
        return _started(self.pid) == self.started

    def namespace(self, host: str) -> str:
        """Name of the namespace of `host`."""
        return f"fwlb-{self.id}-{host}"

    def namespaces(self) -> list[str]:
        """Its namespaces that exist now."""
        return [name for name in namespaces.names() if name.startswith(f"fwlb-{self.id}-")]

    def tear_down(self) -> set[int]:
        """End the lab's processes, remove its namespaces and files. Can be repeated; returns the
        processes that could not be ended."""
        names = self.namespaces()
        survivors = namespaces.end_processes(names)
        for name in names:
            namespaces.remove(name)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.file.unlink(missing_ok=True)
        return survivors


def leftovers() -> list[LabRecord]:
    """Labs whose owner is dead."""
    return [record for record in records() if not record.owner_lives]


def clean() -> list[LabRecord]:
    """Remove labs whose owner is dead; returns them. Labs in use are not touched."""
    found = leftovers()
    for record in found:
        record.tear_down()
    return found


def records() -> list[LabRecord]:
    """Every lab of this machine, sorted by id."""
    if not RECORDS.is_dir():
        return []
    found = []
    for file in sorted(RECORDS.glob("*.json")):
        try:
            content = json.loads(file.read_text())
            directory = Path(content["directory"])
            record = LabRecord(file.stem, content["pid"], content["started"], directory)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            continue  # torn down, or being written, at this moment
        found.append(record)
    return found


def _started(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # the second field is the program's name in brackets, and may hold anything
    return int(stat.rpartition(")")[2].split()[19])
