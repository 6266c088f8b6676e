"""Rulesets through libnftables, which runs in a child process of its own for each call.

libnftables may abort the process on an assertion or never return ; here that
becomes NftCrashError. Nothing in this process ever loads it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fwlb
from fwlb import errors
from fwlb.errors import FwlbError, KernelError, NftCrashError, Where
from fwlb.kernel.privilege import require_root

TABLE, FAMILY = "fwlb", "inet"
TIMEOUT_S = 30.0
_SHOWN_LINES = 3


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One table as nft and the kernel show it, without what changes while it runs."""

    listing: str
    """The table as nft prints it, without counters and without elements of named sets."""
    elements: dict[str, tuple[str, ...]]
    """Of each static set and map: its elements in nft syntax, in the order of their keys."""
    opaque: dict[str, str]
    """Static sets of types that only nft can show: set name -> digest of the elements."""
    opaque_text: dict[str, str]
    """Of each opaque set that is not empty: the nft command that fills it."""
    tables: list[tuple[str, str]]
    """Family and name of each table of the namespace, this one included."""

    def as_json(self) -> dict[str, Any]:
        return {
            "listing": self.listing,
            "elements": {name: list(texts) for name, texts in self.elements.items()},
            "opaque": self.opaque,
            "opaque_text": self.opaque_text,
            "tables": [list(table) for table in self.tables],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Snapshot:
        return cls(
            listing=value["listing"],
            elements={name: tuple(texts) for name, texts in value["elements"].items()},
            opaque=value["opaque"],
            opaque_text=value["opaque_text"],
            tables=[(family, name) for family, name in value["tables"]],
        )


def run(text: str, *, check_only: bool = False, timeout_s: float = TIMEOUT_S) -> None:
    """Carry out nft commands in this network namespace, as one transaction: all or nothing.

    `check_only` asks nft and the kernel and changes nothing. Raises RulesetError whose
    `where.line` is the line of `text` that is refused; PrivilegeError, MissingFeatureError;
    NftCrashError, after which only a snapshot tells whether the transaction was made.
    """
    _ask({"verb": "run", "text": text, "check_only": check_only}, timeout_s)


def snapshot(
    table: str = TABLE, family: str = FAMILY, *, timeout_s: float = TIMEOUT_S
) -> Snapshot | None:
    """The table as it is in this network namespace, None when there is none. Safe while others
    write elements."""
    answer = _ask({"verb": "snapshot", "table": table, "family": family}, timeout_s)
    return _snapshot(answer["live"])


def scratch(
    text: str,
    *,
    devices: Sequence[str] = (),
    table: str = TABLE,
    family: str = FAMILY,
    timeout_s: float = TIMEOUT_S,
) -> Snapshot:
    """The table that `text` makes, loaded into a network namespace of its own that has interfaces
    called `devices` and is gone afterwards. `tables` are all tables that `text` makes.

    Raises what `run` raises, and RulesetError when `text` does not make the table.
    """
    request = {"verb": "scratch", "text": text, "devices": list(devices)}
    answer = _ask({**request, "table": table, "family": family}, timeout_s)
    return Snapshot.from_json(answer["scratch"])


def compare(
    text: str,
    devices: Sequence[str],
    *,
    table: str = TABLE,
    family: str = FAMILY,
    timeout_s: float = TIMEOUT_S,
) -> tuple[Snapshot | None, Snapshot]:
    """`snapshot()` and `scratch(text)` in one go: what is there, and what `text` means.

    In the scratch namespace every interface of this namespace that `text` names exists too.
    """
    request = {"verb": "compare", "text": text, "devices": list(devices)}
    answer = _ask({**request, "table": table, "family": family}, timeout_s)
    return _snapshot(answer["live"]), Snapshot.from_json(answer["scratch"])


def _snapshot(value: dict[str, Any] | None) -> Snapshot | None:
    return None if value is None else Snapshot.from_json(value)


def _ask(request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
    """Start the child, give it the request, and read its answer."""
    require_root()
    command = [sys.executable, "-P", "-s", "-m", "fwlb.kernel.nft_child"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(),
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
    ) as child:
        try:
            output, said = child.communicate(json.dumps(request), timeout=timeout_s)
        except subprocess.TimeoutExpired as error:
            child.kill()
            child.communicate()
            raise NftCrashError(
                f"libnftables did not finish within {timeout_s:g} s and was ended"
                + _about(request),
                hint="a program that changes nftables without pause makes it start over and over",
            ) from error
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        raise _crash(child.returncode, said, request)
    answer: dict[str, Any] = json.loads(output)
    if "error" in answer:
        raise _error(answer["error"])
    return answer


def _environment() -> dict[str, str]:
    """The child finds the same modules as this process, and nothing else of its surroundings."""
    root = str(Path(fwlb.__file__).resolve().parent.parent)
    places = [root, *(str(Path(place).resolve()) for place in sys.path)]
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(places)), "LC_ALL": "C.UTF-8"}


def _crash(status: int, said: str, request: dict[str, Any]) -> NftCrashError:
    last = said.strip().splitlines()[-_SHOWN_LINES:]
    how = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"failed ({status})"
    return NftCrashError(
        "\n    ".join([f"libnftables {how}{_about(request)}", *last]),
        hint="a newer nftables may not have this fault; or write the rule in another way",
    )


def _about(request: dict[str, Any]) -> str:
    lines = [line for line in request.get("text", "").splitlines() if line.strip()]
    if not lines:
        return f" ({request['verb']})"
    more = " ..." if len(lines) > _SHOWN_LINES else ""
    return f" on: {' / '.join(line.strip() for line in lines[:_SHOWN_LINES])}{more}"


def _error(value: dict[str, Any]) -> FwlbError:
    """The error that the child raised, raised again here."""
    kind: type[FwlbError] = getattr(errors, value["class"])
    if issubclass(kind, KernelError):
        return kind(value["message"], errno=value["errno"], hint=value["hint"])
    return kind(value["message"], where=Where(line=value["line"]), hint=value["hint"])
