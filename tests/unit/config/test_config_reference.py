"""The configuration reference is generated, complete and not stale."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

from fwlb.config.models import Config, Model
from fwlb.config.reference import render, toml
from fwlb.config.words import Place, expected, fields, is_table, plain

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_in_docs_is_not_stale() -> None:
    assert PAGE.read_text() == render(), (
        "run: python -m fwlb.config.reference > docs/configuration.md"
    )


def test_the_page_is_what_the_module_prints() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "fwlb.config.reference"], capture_output=True, text=True, check=True
    )
    assert run.stdout == render()


def tables(title: str, model: type[Model]) -> Iterator[tuple[str, type[Model]]]:
    """Heading and model of every table of a configuration."""
    yield title, model
    for name, info in fields(model).items():
        path = f"{title.strip('[]')}.{name}".lstrip(".")
        at = plain(Place(info.annotation))
        inner = [plain(Place(each)) for each in getattr(at.annotation, "__args__", ())]
        if is_table(at):
            yield from tables(f"[{path}]", at.annotation)
        elif inner and is_table(inner[0]):
            yield from tables(f"[[{path}]]", inner[0].annotation)
        elif inner and is_table(inner[-1]):
            yield from tables(f"[{path}.NAME]", inner[-1].annotation)


@pytest.mark.parametrize(("title", "model"), list(tables("", Config))[1:])
def test_every_table_has_a_section_and_every_value_a_row(title: str, model: type[Model]) -> None:
    section = render().split(f"\n## `{title}`\n")[1].split("\n## ")[0]
    for name, info in fields(model).items():
        at = Place(info.annotation, tuple(info.metadata))
        assert info.description, f"{name} has no docstring"
        if not is_table(at):
            row = next(line for line in section.splitlines() if line.startswith(f"| `{name}` |"))
            assert expected(at).one in row
            assert " ".join(info.description.split()) in row


def test_every_section_has_an_anchor_that_the_contents_point_to() -> None:
    page = render()
    titles = re.findall(r"(?m)^## `(.*)`$", page)
    assert len(titles) == len(list(tables("", Config)))  # [sysctl] for the file as a whole
    for title in titles:
        assert f"| [`{title}`](#{re.sub(r'[^a-z0-9_-]', '', title.lower())}) |" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (2121, "2121"),
        (10.0, "10.0"),
        ("drop", '"drop"'),
        ((), "[]"),
        ((21, 2100), "[21, 2100]"),
        (("any",), '["any"]'),
        (PurePosixPath("/run/fwlb"), '"/run/fwlb"'),
    ],
)
def test_defaults_are_written_as_in_the_file(value: object, text: str) -> None:
    assert toml(value) == text


def test_tables_are_complete_markdown_rows() -> None:
    rows = [line for line in render().splitlines() if line.startswith("|")]
    assert len(rows) > 60
    assert all(row.endswith("|") for row in rows)
    assert {row.replace("\\|", "").count("|") for row in rows} == {3, 5}  # two or four columns
