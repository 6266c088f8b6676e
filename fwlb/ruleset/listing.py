"""Reads what `nft -s -t list` prints of one table, without understanding the rules.

nft prints one object after the other, each `KIND NAME {`, its lines, `}`, indented by tabs. That is
all the structure a comparison needs: a line is compared as text, because both texts come from
the same nft.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from fwlb.errors import RulesetError


class Name(NamedTuple):
    """What an object is and how it is called: `chain forward`."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


@dataclass(frozen=True, slots=True)
class Block:
    """One object of a table: its lines without indentation, as nft printed them."""

    name: Name
    lines: tuple[str, ...]

    @property
    def head(self) -> str:
        """For a base chain its hook, priority and device, without the policy; else empty."""
        if self.name.kind != "chain" or not self.lines or not self.lines[0].startswith("type "):
            return ""
        return self.lines[0].split("; policy")[0]

    @property
    def is_run_time(self) -> bool:
        """A set or map whose elements time out: only the daemon writes it."""
        return "timeout" in self._flags

    @property
    def is_interval(self) -> bool:
        """A set or map of ranges."""
        return "interval" in self._flags

    @property
    def _flags(self) -> list[str]:
        flags = next((line for line in self.lines if line.startswith("flags ")), "")
        return flags.removeprefix("flags ").split(",")

    def as_nft(self) -> str:
        body = "".join(f"\t\t{line}\n" for line in self.lines)
        return f"\t{self.name} {{\n{body}\t}}\n"


@dataclass(frozen=True, slots=True)
class Table:
    """A table as listed: `inet fwlb`, its comment, its objects in the order of the listing."""

    name: str
    comment: str | None = None
    blocks: dict[Name, Block] = field(default_factory=dict)


def parse(listing: str) -> Table:
    """Read the listing of exactly one table. Raises `RulesetError` for any other text."""
    lines = [line.strip() for line in listing.splitlines() if line.strip()]
    if not lines or not lines[0].startswith("table ") or lines[-1] != "}":
        raise RulesetError("nft printed no table", hint="report this with the output of `nft -V`")
    table = Table(lines[0].removeprefix("table ").removesuffix("{").strip())
    comment = None
    position = 1
    while position < len(lines) - 1:
        line = lines[position]
        if not line.endswith("{"):  # a property of the table itself
            comment = (
                line.removeprefix("comment ").strip('"') if line.startswith("comment ") else comment
            )
            position += 1
            continue
        block, position = _block(lines, position)
        table.blocks[block.name] = block
    return Table(table.name, comment, table.blocks)


def _block(lines: list[str], start: int) -> tuple[Block, int]:
    kind, _, name = lines[start].removesuffix("{").strip().rpartition(" ")
    depth = 1
    end = start + 1
    while depth:
        if end >= len(lines) - 1:
            raise RulesetError(f"nft's listing of {kind} {name} has no end")
        if lines[end] == "}":
            depth -= 1
        elif lines[end].endswith("{"):
            depth += 1
        end += 1
    return Block(Name(kind, name), tuple(lines[start + 1 : end - 1])), end
