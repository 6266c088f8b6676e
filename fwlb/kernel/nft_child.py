"""The process in which libnftables runs: `python -m fwlb.kernel.nft_child`, started by `nft.py`.

One JSON request on standard input, one JSON answer on standard output, then it ends. libnftables
may abort the process on an assertion, or never return; here that hurts nobody.

A request names its `verb`: `run`, `snapshot`, `scratch` or `compare` (a snapshot and a scratch in
one). Scratch work happens in a network namespace without a name, which ends with the process.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import resource
import signal
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from fwlb.errors import (
    FwlbError,
    KernelError,
    MissingFeatureError,
    PrivilegeError,
    RulesetError,
    Where,
)
from fwlb.kernel.batch import commit
from fwlb.kernel.links import create_links, interface_names
from fwlb.kernel.netlink import NLM_F_CREATE, NetlinkSocket, error_of
from fwlb.kernel.nfnetlink import NEWSETELEM
from fwlb.kernel.sets import (
    SetInfo,
    add_raw_elements,
    digest,
    dump_elements,
    raw_elements,
    read_sets,
)

Answer = dict[str, Any]

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_MUST_BE_ROOT = "Operation not permitted"
_PLACE = re.compile(
    r"^(?P<file>[^:\n]*):(?P<line>\d+):\d+-\d+: Error: (?P<message>.*)$", re.MULTILINE
)
_TABLE = re.compile(r"^table (?P<family>\S+) (?P<name>\S+) \{$", re.MULTILINE)


class Nft:
    """libnftables in the network namespace where the process is at this moment."""

    def __init__(self) -> None:
        try:
            import nftables

            self._nft = nftables.Nftables()
        except ImportError as error:
            raise MissingFeatureError(
                "the Python module nftables is not installed",
                hint="apt install python3-nftables, or pip install pip-nftables",
            ) from error
        except OSError as error:
            raise MissingFeatureError(
                f"libnftables cannot be loaded: {error}",
                hint="apt install libnftables1 (Debian, Ubuntu), or dnf install nftables",
            ) from error
        self._nft.set_stateless_output(True)

    def run(self, text: str) -> None:
        """Carry out `text` as one transaction. Raises RulesetError at the line of `text`."""
        # from a buffer libnftables does not tell lines, from a file it does: a file in memory
        descriptor = os.memfd_create("rules")
        try:
            with os.fdopen(os.dup(descriptor), "w", encoding="utf-8") as file:
                file.write(text)
            place = f"/proc/self/fd/{descriptor}"
            status, _, error = self._nft.cmd(f'include "{place}"\n')
        finally:
            os.close(descriptor)
        if status:
            raise refusal(error, place)

    def check(self, text: str) -> None:
        """Ask whether `run` would work, and change nothing."""
        if hasattr(self._nft, "set_dry_run"):
            self._nft.set_dry_run(True)
        else:  # the module of nftables before 1.0.8 lacks it, the library has it
            library = ctypes.CDLL("libnftables.so.1")
            library.nft_ctx_set_dry_run.argtypes = [ctypes.c_void_p, ctypes.c_bool]
            library.nft_ctx_set_dry_run(self._nft._Nftables__ctx, True)  # noqa: SLF001
        self.run(text)

    def ruleset(self) -> str:
        """The whole ruleset without elements of named sets and without counters.

        `list ruleset` and not `list table`: beside a daemon that writes elements the latter
        starts over at each of its commits (nft 1.0.6), the former does not.
        """
        self._nft.set_terse_output(True)
        return self._listing("list ruleset")

    def set_listing(self, info: SetInfo) -> str:
        """A set with its elements. Only where nobody writes: see `ruleset`."""
        self._nft.set_terse_output(False)
        kind = "map" if info.is_map else "set"
        return self._listing(f"list {kind} {info.family} {info.table} {info.name}")

    def _listing(self, command: str) -> str:
        status, output, error = self._nft.cmd(command)
        if status:
            raise refusal(error)
        return str(output)


def refusal(said: str, place: str = "") -> FwlbError:
    """The error for what libnftables said; `where.line` is the line of the text at `place`."""
    if _MUST_BE_ROOT in said:
        return PrivilegeError("nft: operation not permitted", hint="run as root")
    found = list(_PLACE.finditer(said))
    if not found:
        lines = said.strip().splitlines() or ["nft gave no reason"]
        return RulesetError(lines[0].removeprefix("Error: "))
    first = found[0]
    message, line = first["message"], int(first["line"])
    if first["file"] != place:  # a file that the text includes: name both places
        message = f"{first['file']}:{line}: {message}" if line else message
        included = re.search(rf"from {re.escape(place)}:(\d+):", said)
        line = int(included[1]) if included else 0
    if len(found) > 1:
        message += f" (and {len(found) - 1} more)"
    return RulesetError(message, where=Where(line=line or None))


# --- snapshots -----------------------------------------------------------------------------------


def snapshot(table: str, family: str) -> tuple[Answer | None, list[SetInfo]]:
    """One table of this network namespace, and those of its sets that nft alone can show."""
    listing = Nft().ruleset()
    tables = [(match["family"], match["name"]) for match in _TABLE.finditer(listing)]
    if (family, table) not in tables:
        return None, []
    answer: Answer = {
        "listing": _extract(listing, family, table),
        "elements": {},
        "opaque": {},
        "opaque_text": {},
        "tables": tables,
    }
    opaque = []
    with NetlinkSocket() as netlink:
        for name, info in read_sets(table, family, netlink=netlink).items():
            if not info.is_static:
                continue
            if info.is_opaque:
                found = raw_elements(info, netlink=netlink)
                answer["opaque"][name] = digest(found)
                if found:
                    opaque.append(info)
            else:
                elements = dump_elements(info, netlink=netlink)
                answer["elements"][name] = [element.text() for element in elements]
    return answer, opaque


def _extract(listing: str, family: str, table: str) -> str:
    """One table out of a listing; nft begins and ends each at the start of a line."""
    start = listing.index(f"table {family} {table} {{\n")
    end = listing.index("\n}", start) + 3
    return listing[start:end]


def live(table: str, family: str) -> Answer | None:
    """Snapshot of the namespace that the process was started in. May leave it (`unshare`)."""
    answer, opaque = snapshot(table, family)
    if answer is not None and opaque:
        with NetlinkSocket() as netlink:
            copies = [(info, raw_elements(info, netlink=netlink)) for info in opaque]
        unshare(interface_names(), answer["listing"])
        Nft().run(answer["listing"])
        _put(copies)
        answer["opaque_text"] = {info.name: element_command(info) for info in opaque}
    return answer


def _put(copies: Iterable[tuple[SetInfo, list[bytes]]]) -> None:
    """Put raw elements into sets of this namespace, where nft can list them undisturbed."""
    with NetlinkSocket() as netlink:
        for info, elements in copies:
            messages = [(NEWSETELEM, NLM_F_CREATE, b) for b in add_raw_elements(info, elements)]
            for _, answer in commit(netlink, messages, f"{info}: copy"):
                raise error_of(answer, f"{info}: copy")


def scratch(text: str, devices: Sequence[str], table: str, family: str) -> Answer:
    """Load `text` into a new network namespace and take a snapshot of `table` there."""
    unshare(devices, text)
    Nft().run(text)
    answer, opaque = snapshot(table, family)
    if answer is None:
        raise RulesetError(f"the rules make no table {family} {table}")
    answer["opaque_text"] = {info.name: element_command(info) for info in opaque}
    return answer


def unshare(devices: Iterable[str], text: str) -> None:
    """Go into a new network namespace that has those of `devices` that `text` names."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) != 0:
        reason = os.strerror(ctypes.get_errno())
        raise PrivilegeError(
            f"cannot make a scratch network namespace: {reason}",
            hint="run as root (CAP_SYS_ADMIN); a container needs `--privileged`",
        )
    create_links([name for name in dict.fromkeys(devices) if name != "lo" and name in text])


def element_command(info: SetInfo) -> str:
    """The `add element` command that fills a set, out of nft's own listing of it."""
    listing = Nft().set_listing(info)
    start = listing.find("elements = {")
    if start < 0:
        return ""
    # the last three braces end the elements, the set and the table
    elements = listing[start + len("elements = {") :].rsplit("}", 3)[0]
    return f"add element {info.family} {info.table} {info.name} {{{elements}}}\n"


# --- the process ---------------------------------------------------------------------------------


def answer_to(request: Answer) -> Answer:
    """Carry out one request."""
    verb, table, family = request["verb"], request.get("table", ""), request.get("family", "")
    if verb == "run":
        nft = Nft()
        (nft.check if request["check_only"] else nft.run)(request["text"])
        return {}
    answer: Answer = {}
    devices = request.get("devices", [])
    if verb in {"snapshot", "compare"}:
        here = interface_names()  # rules may name interfaces that are no part of a zone
        devices = [*devices, *here]
        answer["live"] = live(table, family)
    if verb in {"scratch", "compare"}:
        answer["scratch"] = scratch(request["text"], devices, table, family)
    return answer


def error_as_json(error: FwlbError) -> Answer:
    return {
        "class": type(error).__name__,
        "message": error.message,
        "line": error.where.line,
        "hint": error.hint,
        "errno": error.errno if isinstance(error, KernelError) else None,
    }


def main() -> None:
    """Answer one request. Whatever libnftables prints goes to standard error."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # an abort is expected: no core file
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # never outlive who asked
    answer_fd = os.dup(1)
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    try:
        answer = answer_to(request)
    except FwlbError as error:
        answer = {"error": error_as_json(error)}
    with open(answer_fd, "w", encoding="utf-8") as pipe:  # noqa: PTH123  # a descriptor, no path
        json.dump(answer, pipe)


if __name__ == "__main__":
    main()
