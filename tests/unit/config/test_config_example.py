"""What `fwlb init` writes, and the examples in docs/: no mistakes, and true to the models."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from fwlb.config import example
from fwlb.config.load import load, parse
from fwlb.config.models import (
    Allow,
    Bindings,
    Config,
    FtpHelper,
    Model,
    Nat,
    Node,
    Paths,
    Policy,
    Publish,
    Relay,
    Zone,
)
from fwlb.config.words import fields

TEXT = example.text()
EXAMPLES = sorted((Path(__file__).parents[3] / "docs" / "examples").glob("*.toml"))
MODELS: dict[str, type[Model]] = {
    "[node]": Node,
    "[zones.inside]": Zone,
    "[zones.outside]": Zone,
    "[policy]": Policy,
    "[[allow]]": Allow,
    "[[nat]]": Nat,
    "[[publish]]": Publish,
    "[bindings]": Bindings,
    "[helpers.ftp]": FtpHelper,
    "[relay]": Relay,
    "[paths]": Paths,
}


class Line(NamedTuple):
    """One key of the example: `mark` is empty, `#` for a default, `#   ` for an illustration."""

    mark: str
    table: str
    key: str
    value: str


def lines() -> list[Line]:
    found, table = [], ""
    for line in TEXT.splitlines():
        if header := re.fullmatch(r"(?:#   )?(\[.*\])", line):
            table = header[1]
        elif setting := re.fullmatch(r'(#(?:   )?|)([a-z0-9_]+|".*") = (.*)', line):
            found.append(Line(setting[1], table, setting[2], setting[3]))
    return found


DEFAULTS = [line for line in lines() if line.mark == "#"]


def test_the_example_has_no_mistakes() -> None:
    config = parse(TEXT, "fwlb.toml")
    assert set(config.zones) == {"inside", "outside"}
    assert "tcp/21" in config.allow[0].services
    assert config.helpers.ftp.enabled


def test_the_example_names_every_section_and_every_key() -> None:
    sections = {line.table.strip("[]").split(".")[0] for line in lines()}
    assert sections == set(fields(Config))
    for model in MODELS.values():
        named = {line.key for line in lines() if MODELS.get(line.table) is model}
        assert named == set(fields(model))


@pytest.mark.parametrize("line", DEFAULTS, ids=lambda line: f"{line.table}.{line.key}")
def test_a_commented_line_shows_the_default(line: Line) -> None:
    default: Any = fields(MODELS[line.table])[line.key].default
    written = tomllib.loads(f"{line.key} = {line.value}")[line.key]
    shown = tuple(written) if isinstance(written, list) else written
    assert shown == (str(default) if isinstance(default, Path) else default)
    assert type(shown) is (str if isinstance(default, Path) else type(default))


def test_with_every_default_uncommented_the_example_says_the_same() -> None:
    text = re.sub(r"(?m)^#([a-z0-9_]+ = )", r"\1", TEXT)
    assert text.count("\n#") == TEXT.count("\n#") - len(DEFAULTS)
    assert parse(text, "fwlb.toml") == parse(TEXT, "fwlb.toml")


def test_with_every_illustration_uncommented_the_example_has_no_mistakes() -> None:
    config = parse(re.sub(r"(?m)^#   (\[\[|[a-z0-9_]+ = )", r"\1", TEXT), "fwlb.toml")
    assert (len(config.allow), len(config.publish)) == (2, 1)
    assert (config.nat[0].ipv4, config.nat[0].ipv6) == ("snat", "snat")


def test_the_examples_of_the_documentation_are_there() -> None:
    names = {path.stem for path in EXAMPLES}
    assert names >= {"minimal", "routed-firewall", "published-ftp", "snat-ports", "nat66"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_of_the_documentation_has_no_mistakes(path: Path) -> None:
    assert load(path).node.name
