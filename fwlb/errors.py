"""Every error that fwlb raises on purpose.

::

    FwlbError                      code              exit
    ├── ConfigError                config               3   wrong or unreadable configuration
    ├── HostError                  host                 4   this machine lacks something
    │   ├── PrivilegeError         privilege            4   not root
    │   ├── MissingFeatureError    missing-feature      4   library, kernel feature or program
    │   └── InterfaceError         interface            4   a configured interface does not exist
    ├── RulesetError               ruleset              5   nft refused the ruleset
    │   ├── ForeignTableError      foreign-table        5   our name, but not our table
    │   ├── NftCrashError          nft-crash            5   libnftables died or hung
    │   └── VerifyError            verify               5   the kernel shows something else
    ├── KernelError                kernel               6   netlink said no (carries errno)
    │   ├── ElementExistsError     element-exists       6
    │   ├── ElementMissingError    element-missing      6   no such element, set or table
    │   ├── SetFullError           set-full             6
    │   └── NetlinkTimeoutError    netlink-timeout      6   no answer: wrong size or lost message
    ├── DaemonError                daemon               7
    │   ├── AlreadyRunningError    already-running      7
    │   ├── NotRunningError        not-running          7
    │   └── PortInUseError         port-in-use          7
    ├── ConfirmError               confirm              8   nothing to confirm, or too late
    └── LabError                   lab                  9   the lab or a program in it did not start

`fwlb diff` reports every one of them as exit status 2 ("trouble"), because 0 and 1 are its answers.
A packet that a helper refuses is no error: it is a counted `fwlb.model.Refusal`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Where:
    """The place an error is about: a file, a line in it (from 1) and a configuration key."""

    file: str | None = None
    line: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place += f":{self.line}"
        if self.key:
            place += f": {self.key}" if place else self.key
        return place


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a configuration: what is wrong, where, and what would be right."""

    where: Where
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if str(self.where) else self.message
        return f"{text}\n    {self.hint}" if self.hint else text

    def as_json(self) -> dict[str, Any]:
        return {
            "file": self.where.file,
            "line": self.where.line,
            "key": self.where.key,
            "message": self.message,
            "hint": self.hint,
        }


class FwlbError(Exception):
    """What went wrong, where, and what to do about it.

    `code` is stable and meant for scripts; `exit_status` is what the command line returns.
    """

    code: ClassVar[str] = "error"
    exit_status: ClassVar[int] = 2

    def __init__(
        self, message: str, *, where: Where | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where or Where()
        self.hint = hint

    def __str__(self) -> str:
        return str(Problem(self.where, self.message, self.hint))

    def as_json(self) -> dict[str, Any]:
        problem = Problem(self.where, self.message, self.hint).as_json()
        return {"error": self.code, "exit_status": self.exit_status, **problem}


class ConfigError(FwlbError):
    """The configuration is unreadable or wrong; `problems` lists every mistake found."""

    code = "config"
    exit_status = 3

    def __init__(self, problems: list[Problem]) -> None:
        count = len(problems)
        super().__init__(f"{count} mistake{'s' if count != 1 else ''} in the configuration")
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join([*map(str, self.problems), self.message])

    def as_json(self) -> dict[str, Any]:
        return {**super().as_json(), "problems": [problem.as_json() for problem in self.problems]}


class HostError(FwlbError):
    """This machine lacks something that fwlb needs."""

    code = "host"
    exit_status = 4


class PrivilegeError(HostError):
    """The verb needs root (CAP_NET_ADMIN, and CAP_SYS_ADMIN for the scratch namespace)."""

    code = "privilege"


class MissingFeatureError(HostError):
    """A library, kernel feature or program is not there."""

    code = "missing-feature"


class InterfaceError(HostError):
    """A configured network interface does not exist."""

    code = "interface"


class RulesetError(FwlbError):
    """nft refused the ruleset; `where` names the file and line the refusal is about."""

    code = "ruleset"
    exit_status = 5


class ForeignTableError(RulesetError):
    """A table of our name exists that fwlb did not make."""

    code = "foreign-table"


class NftCrashError(RulesetError):
    """libnftables aborted or hung. It runs in a child process, so nothing else was hurt."""

    code = "nft-crash"


class VerifyError(RulesetError):
    """After applying, the kernel's listing differs from what was asked for; it was undone."""

    code = "verify"


class KernelError(FwlbError):
    """Netlink answered with an error; `errno` is the kernel's (positive)."""

    code = "kernel"
    exit_status = 6

    def __init__(self, message: str, *, errno: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.errno = errno


class ElementExistsError(KernelError):
    """A map key is already there with other data (EEXIST)."""

    code = "element-exists"


class ElementMissingError(KernelError):
    """No such element, set or table (ENOENT)."""

    code = "element-missing"


class SetFullError(KernelError):
    """The set holds as many elements as its declared size (ENFILE)."""

    code = "set-full"


class NetlinkTimeoutError(KernelError):
    """The kernel did not answer in time."""

    code = "netlink-timeout"


class DaemonError(FwlbError):
    """The daemon cannot start, or cannot be reached."""

    code = "daemon"
    exit_status = 7


class AlreadyRunningError(DaemonError):
    """Another fwlb daemon runs in this network namespace."""

    code = "already-running"


class NotRunningError(DaemonError):
    """No fwlb daemon answers on the control socket."""

    code = "not-running"


class PortInUseError(DaemonError):
    """A port that the daemon has to listen on is taken."""

    code = "port-in-use"


class ConfirmError(FwlbError):
    """There is nothing to confirm, or the time was over and the change was rolled back."""

    code = "confirm"
    exit_status = 8


class LabError(FwlbError):
    """The lab, or a program in it, did not start or answer in time."""

    code = "lab"
    exit_status = 9
