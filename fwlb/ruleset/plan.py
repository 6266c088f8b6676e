"""What lies between the table in the kernel and the table that is wanted.

Both sides are what the same nft printed of the same kernel (`Content`), so equal text is equal
meaning. A plan is shown as a patch, as JSON, or as the one nft transaction that carries it out.

The transaction touches as little as the kernel allows:

* rules of a chain differ: this chain is flushed and filled again;
* elements of a static set differ: just these are deleted and added;
* an object goes away or must be made anew (another hook, another set type): the kernel refuses to
  delete what a rule uses, so all rules of our table leave and come back within the transaction.

Run-time elements (sets with `flags timeout`) are never read and survive, unless the declaration of
their set changes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from enum import Enum
from typing import Any

from fwlb.ruleset.listing import Block, Name, Table, parse

CONTEXT_LINES = 2
BATCH = 500
"""Elements in one `add element` command: keeps nft's lines readable in an error."""


@dataclass(frozen=True, slots=True)
class Content:
    """One table: the terse stateless listing, the elements of its static sets by set name, and
    digests of sets whose types cannot be shown one by one (`opaque`: name -> digest)."""

    listing: str
    elements: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    opaque: Mapping[str, str] = field(default_factory=dict)
    opaque_text: Mapping[str, str] = field(default_factory=dict)


class Op(Enum):
    """What happens to an object or a line."""

    ADD = "+"
    REMOVE = "-"
    KEEP = " "


@dataclass(frozen=True, slots=True)
class LineChange:
    """One line of the patch."""

    op: Op
    text: str


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """An object that is added, removed, or (`KEEP`) changed inside. A gap in the patch is None."""

    name: Name
    op: Op
    lines: tuple[LineChange | None, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """Lines added and removed."""
        ops = [line.op for line in self.lines if line is not None]
        return ops.count(Op.ADD), ops.count(Op.REMOVE)

    def as_json(self) -> dict[str, Any]:
        what = {Op.ADD: "added", Op.REMOVE: "removed", Op.KEEP: "changed"}[self.op]
        lines = [{"op": line.op.value, "text": line.text} for line in self.lines if line]
        return {"kind": self.name.kind, "name": self.name.name, "change": what, "lines": lines}


class Plan:
    """How to get from `live` (None: no table) to `wanted` (None: no table)."""

    def __init__(self, live: Content | None, wanted: Content | None) -> None:
        self._live = live or Content("")
        self._wanted = wanted or Content("")
        self._old = parse(live.listing) if live else None
        self._new = parse(wanted.listing) if wanted else None
        self.changes: tuple[ObjectChange, ...] = tuple(self._compare())

    @property
    def is_empty(self) -> bool:
        return not self.changes and (self._old is None) == (self._new is None)

    @property
    def table(self) -> str:
        table = self._new or self._old
        return table.name if table else ""

    def patch(self) -> Iterator[LineChange | str]:
        """The plan as a patch: object headings as text, lines as `LineChange`."""
        for change in self.changes:
            mark = "" if change.op is Op.KEEP else f" {change.op.value}"
            yield f"@@ table {self.table}, {change.name} @@{mark}"
            for line in change.lines:
                yield line if line is not None else "  ..."

    def as_json(self) -> dict[str, Any]:
        return {
            "same": self.is_empty,
            "table": self.table,
            "changes": [change.as_json() for change in self.changes],
        }

    # --- comparing ---------------------------------------------------------------------------

    def _compare(self) -> Iterator[ObjectChange]:
        old = self._old.blocks if self._old else {}
        new = self._new.blocks if self._new else {}
        for name in [*new, *(name for name in old if name not in new)]:
            before, after = old.get(name), new.get(name)
            op = Op.ADD if before is None else Op.REMOVE if after is None else Op.KEEP
            lines = (
                *_line_changes(before.lines if before else (), after.lines if after else ()),
                *_element_line_changes(
                    _elements(self._live, before), _elements(self._wanted, after)
                ),
            )
            if op is not Op.KEEP or lines:
                yield ObjectChange(name, op, lines)

    # --- carrying out ------------------------------------------------------------------------

    def transaction(self) -> str:
        """nft commands that make `live` into `wanted`, atomically; empty for an empty plan."""
        if self.is_empty:
            return ""
        if self._new is None:
            return f"delete table {self.table}\n"
        if self._old is None:
            return self._create(self._new)
        if self._old.comment != self._new.comment:  # the kernel cannot change it
            return f"delete table {self.table}\n" + self._create(self._new)
        if any(_must_be_made_anew(b, self._new.blocks.get(n)) for n, b in self._old.blocks.items()):
            return self._replace_all(self._old, self._new)
        return self._replace_some(self._old, self._new)

    def _create(self, new: Table) -> str:
        return _table_text(new, new.blocks.values()) + self._fill(new.blocks.values())

    def _replace_some(self, old: Table, new: Table) -> str:
        changed = [
            new.blocks[change.name]
            for change in self.changes
            if change.op is Op.ADD or new.blocks[change.name] != old.blocks[change.name]
        ]
        flushes = [
            f"flush chain {self.table} {block.name.name}\n"
            for block in changed
            if block.name in old.blocks
        ]
        elements = [
            self._element_changes(new.blocks[change.name])
            for change in self.changes
            if change.name.kind in {"set", "map"}
        ]
        return "".join([*flushes, _table_text(new, changed) if changed else "", *elements])

    def _replace_all(self, old: Table, new: Table) -> str:
        commands = [f"flush table {self.table}\n"]
        gone = []
        for name, block in old.blocks.items():
            if name.kind in {"set", "map"} and not block.is_run_time:
                commands.append(f"flush {name.kind} {self.table} {name.name}\n")
            if _must_be_made_anew(block, new.blocks.get(name)):
                gone.append(name)
        gone.sort(key=lambda name: name.kind != "chain")  # chains may use sets, never the reverse
        commands += [f"delete {name.kind} {self.table} {name.name}\n" for name in gone]
        # what stays must not be declared again: nft (1.0.6) misreads some types of maps that exist
        written = [
            block
            for name, block in new.blocks.items()
            if name.kind == "chain" or name in gone or name not in old.blocks
        ]
        commands += [_table_text(new, written), self._fill(new.blocks.values())]
        return "".join(commands)

    def _fill(self, blocks: Iterable[Block]) -> str:
        """All static elements of the wanted table."""
        commands = []
        for block in blocks:
            name = block.name.name
            texts = self._wanted.elements.get(name, ())
            commands.append(_element_commands("add", self.table, name, texts))
            commands.append(self._wanted.opaque_text.get(name, ""))
        return "".join(commands)

    def _element_changes(self, block: Block) -> str:
        name = block.name.name
        if block.is_interval or name in self._wanted.opaque:
            # nft (1.0.6) refuses some deletions beside additions in a set of ranges
            return f"flush {block.name.kind} {self.table} {name}\n" + self._fill([block])
        before = dict.fromkeys(self._live.elements.get(name, ()))
        after = dict.fromkeys(self._wanted.elements.get(name, ()))
        gone = [_key(text) for text in before if text not in after]
        come = [text for text in after if text not in before]
        return _element_commands("delete", self.table, name, gone) + _element_commands(
            "add", self.table, name, come
        )


def _must_be_made_anew(old: Block, new: Block | None) -> bool:
    if new is None:
        return True
    if old.name.kind == "chain":
        return old.head != new.head
    return old.lines != new.lines


def _table_text(table: Table, blocks: Iterable[Block]) -> str:
    """Objects as `nft -f` takes them. Chains come first as empty shells, so that rules and verdicts
    may name a chain that stands further down."""
    blocks = list(blocks)
    shells = "".join(
        f"\tchain {b.name.name} {{ }}\n" for b in blocks if b.name.kind == "chain" and not b.head
    )
    comment = f'\tcomment "{table.comment}"\n' if table.comment else ""
    body = "".join(block.as_nft() for block in blocks)
    return f"table {table.name} {{\n{comment}{shells}}}\ntable {table.name} {{\n{body}}}\n"


def _element_commands(verb: str, table: str, name: str, texts: Iterable[str]) -> str:
    texts = list(texts)
    return "".join(
        f"{verb} element {table} {name} {{ {', '.join(texts[start : start + BATCH])} }}\n"
        for start in range(0, len(texts), BATCH)
    )


def _key(text: str) -> str:
    """The key of a map element: what stands before ` : `."""
    return text.split(" : ", 1)[0]


def _elements(content: Content | None, block: Block | None) -> tuple[str, ...]:
    """The elements of a static set or map, as text to compare and to show."""
    if content is None or block is None or block.is_run_time:
        return ()
    name = block.name.name
    if name in content.opaque:
        return (f"elements that fwlb cannot show one by one, digest {content.opaque[name]}",)
    return tuple(content.elements.get(name, ()))


def _element_line_changes(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[LineChange]:
    gone, come = set(before).difference(after), set(after).difference(before)
    yield from (LineChange(Op.REMOVE, f"element {text}") for text in before if text in gone)
    yield from (LineChange(Op.ADD, f"element {text}") for text in after if text in come)


def _line_changes(before: tuple[str, ...], after: tuple[str, ...]) -> Iterator[LineChange | None]:
    """A patch of rules, which have an order, with a little context."""
    if before == after:
        return
    end = 0
    groups = SequenceMatcher(None, before, after, autojunk=False).get_grouped_opcodes(CONTEXT_LINES)
    for group in groups:
        if group[0][1] > end:
            yield None
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                yield from (LineChange(Op.KEEP, text) for text in before[i1:i2])
                continue
            yield from (LineChange(Op.REMOVE, text) for text in before[i1:i2])
            yield from (LineChange(Op.ADD, text) for text in after[j1:j2])
        end = group[-1][2]
    if end < len(before):
        yield None
