"""The ruleset as nft source: `rules/*.nft`, the few variables, the operator's own files, elements.

`source(config)` reads files, and nothing else of the world. A refusal by nft names a line of the
whole text; `Source.where` turns it back into the file and line that the operator can edit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import fwlb
from fwlb import model
from fwlb.config.models import Config
from fwlb.errors import RulesetError, Where
from fwlb.ruleset.static import Elements, static_elements

TABLE = "inet fwlb"
MAX_FILE_BYTES = 1 << 20

_INCLUDE = re.compile(r"^\s*#include (?P<what>\w+)$")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the text and where it comes from (`number` from 1)."""

    text: str
    file: str
    number: int


@dataclass(frozen=True, slots=True)
class Source:
    """The whole ruleset as `nft -f` takes it."""

    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines) + "\n"

    @property
    def own_files(self) -> tuple[str, ...]:
        """The operator's files, in the order in which they are included."""
        return tuple(line.file for line in self.lines if line.number == 0)

    def where(self, number: int) -> Where:
        """The origin of line `number` (from 1) of `text`."""
        if not 1 <= number <= len(self.lines):
            return Where()
        line = self.lines[number - 1]
        return Where(line.file, line.number)


@cache
def rules_directory() -> Path:
    """Where `rules/` is: inside the installed package, or beside it in a checkout."""
    package = Path(fwlb.__file__).resolve().parent
    for place in (package / "rules", package.parent / "rules"):
        if place.is_dir():
            return place
    raise RulesetError(
        "the rules directory of fwlb is missing",
        where=Where(str(package / "rules")),
        hint="the installation is incomplete: install fwlb again",
    )


def source(config: Config) -> Source:
    """The ruleset that `config` asks for. Raises `RulesetError` for an unreadable file."""
    lines = [*_defines(config)]
    for path in sorted(rules_directory().glob("*.nft")):
        lines.extend(_file(path, config.paths.rules))
    lines.extend(_element_lines(static_elements(config)))
    return Source(tuple(lines))


def _defines(config: Config) -> Iterator[Line]:
    def chain_policy(action: str) -> str:
        return '"accept"' if action == "accept" else '"drop"'

    values = {
        "MARK_RELAY_IN": f"{model.MARK_RELAY_IN:#010x}",
        "MARK_RELAY_OUT": f"{model.MARK_RELAY_OUT:#010x}",
        "MARK_RELAYED": f"{model.MARK_RELAYED:#010x}",
        "MARK_PINHOLE": f"{model.MARK_PINHOLE:#010x}",
        "RELAY_PORT": str(config.relay.port),
        "FORWARD_POLICY": chain_policy(config.policy.forward),
        "INPUT_POLICY": chain_policy(config.policy.input),
    }
    for number, (name, value) in enumerate(values.items(), 1):
        yield Line(f"define {name} = {value}", "(configuration)", number)
    yield Line("", "(configuration)", len(values) + 1)


def _file(path: Path, own: Path) -> Iterator[Line]:
    for number, text in enumerate(_read(path).splitlines(), 1):
        include = _INCLUDE.match(text)
        if include:
            yield from _own_files(own, include["what"])
        else:
            yield Line(text, path.name, number)


def _own_files(directory: Path, what: str) -> Iterator[Line]:
    for path in sorted((directory / what).glob("*.nft")):
        yield Line(f"# {path}", str(path), 0)
        for number, text in enumerate(_read(path).splitlines(), 1):
            yield Line(text, str(path), number)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise RulesetError(
                f"the file is larger than {MAX_FILE_BYTES} bytes",
                where=Where(str(path)),
                hint="split it into several files of the same directory",
            )
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RulesetError(
            f"cannot read the rules: {error}",
            where=Where(str(path)),
            hint="mend the file or take it out of the directory",
        ) from error


def _element_lines(elements: Elements) -> Iterator[Line]:
    number = 0
    for name, texts in elements.items():
        number += 1
        yield Line(f"add element {TABLE} {name} {{", "(configuration)", number)
        for text in texts:
            number += 1
            yield Line(f"\t{text},", "(configuration)", number)
        number += 1
        yield Line("}", "(configuration)", number)
