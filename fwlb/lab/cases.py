"""The transfers that the demonstration runs, and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.table import Table

from fwlb.lab.transfers import Family, Mode, Transfer

_REASON_CHARS = 48


@dataclass(frozen=True, slots=True)
class Case:
    """One transfer of the demonstration."""

    family: Family
    mode: Mode
    upload: bool = False

    @property
    def name(self) -> str:
        return f"IPv{self.family} {self.mode.upper()} {'upload' if self.upload else 'download'}"


CASES = (
    Case(4, "pasv"),
    Case(4, "epsv"),
    Case(4, "port"),
    Case(4, "eprt"),
    Case(6, "epsv"),
    Case(6, "eprt"),
    Case(4, "pasv", upload=True),
    Case(4, "port", upload=True),
)
"""Every way to announce a data connection, both families and both directions."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a case, without and with fwlb's helper."""

    case: Case
    without: Transfer
    with_fwlb: Transfer

    @property
    def blocked(self) -> bool:
        """Without the helper the control connection worked and the transfer did not: a client
        that cannot even log in proves nothing."""
        wanted = self.case.mode.upper()
        asked = any(command.upper().startswith(wanted) for command in self.without.commands)
        return asked and not self.without.ok

    @property
    def as_expected(self) -> bool:
        return self.blocked and self.with_fwlb.ok


def outcome(transfer: Transfer) -> str:
    """One line about a transfer: `4,194,304 bytes in 0.05 s`, or why it failed."""
    if transfer.ok:
        return f"{transfer.moved_bytes:,} bytes in {transfer.elapsed_s:.2f} s"
    return f"failed after {transfer.elapsed_s:.2f} s: {_first_line(transfer.message)}"


def summary(results: Sequence[Result]) -> Table:
    """The table at the end."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("transfer", no_wrap=True)
    table.add_column("without fwlb", no_wrap=True)
    table.add_column("with fwlb", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    for result in results:
        done = result.with_fwlb
        table.add_row(
            result.case.name,
            _without(result),
            "[green]works[/]" if done.ok else "[red]FAILS[/]",
            f"{done.moved_bytes:,}",
            f"{done.elapsed_s:.2f}",
        )
    return table


def as_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The results for programs."""
    return [
        {
            "name": result.case.name,
            "mode": result.case.mode,
            "family": result.case.family,
            "direction": "upload" if result.case.upload else "download",
            "as_expected": result.as_expected,
            "without_fwlb": asdict(result.without),
            "with_fwlb": asdict(result.with_fwlb),
        }
        for result in results
    ]


def _without(result: Result) -> str:
    if result.blocked:
        return "fails"
    return "[red]WORKS[/]" if result.without.ok else "[red]no login[/]"


def _first_line(message: str) -> str:
    line = message.strip().partition("\n")[0]
    return line if len(line) <= _REASON_CHARS else f"{line[: _REASON_CHARS - 3]}..."
