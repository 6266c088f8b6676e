"""What README.md and docs/ say is so: verbs, options, make targets, links and configuration."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from pydantic import TypeAdapter

from fwlb.cli.app import app
from fwlb.config.load import parse
from fwlb.config.models import Config

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]

FENCED = re.compile(r"(?ms)^```(?P<language>\w*)\n(?P<text>.*?)^```$")
INLINE = re.compile(r"`(fwlb [^`\n]+)`")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"(?m)^#+ (?P<title>.+)$")

OPTIONS = {
    verb: {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    | {"-h", "--help"}
    for verb, command in typer.main.get_group(app).commands.items()
}
TARGETS = set(re.findall(r"(?m)^([a-z]+):", (ROOT / "Makefile").read_text()))


class Block(NamedTuple):
    """A fenced block and the number of its first line."""

    language: str
    text: str
    line: int


def blocks(page: str) -> Iterator[Block]:
    for found in FENCED.finditer(page):
        line = page.count("\n", 0, found.start()) + 2
        yield Block(found["language"], found["text"], line)


def commands(page: str) -> Iterator[str]:
    """Every command that a page shows: after a prompt in a block, or in the text."""
    for block in blocks(page):
        for line in block.text.splitlines():
            if line.startswith(("$ ", "# ")) and block.language in ("", "console", "sh"):
                yield from re.split(r"&&|[|;&]", line[2:])
    yield from INLINE.findall(FENCED.sub("", page))


def mistakes(command: str) -> list[str]:
    """What is wrong with one command, as far as it is for fwlb or make."""
    words = shlex.split(command, comments=True)
    if not words:
        return []
    if words[0] == "make":
        goals = [word for word in words[1:] if "=" not in word]
        return [f"no target {goal}" for goal in goals if goal not in TARGETS]
    if Path(words[0]).name != "fwlb" or words[1:] in ([], ["--version"], ["--help"]):
        return []
    verb, *rest = words[1:]
    if verb not in OPTIONS:
        return [f"no verb {verb}"]
    return [
        f"{verb} has no option {word}"
        for word in rest
        if word.startswith("-") and word != "-" and word.partition("=")[0] not in OPTIONS[verb]
    ]


def anchors(page: str) -> set[str]:
    """The anchors that GitHub and others make of the headings."""
    titles = HEADING.findall(FENCED.sub("", page))
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page: Path) -> None:
    wrong = [
        f"{command.strip()}: {mistake}"
        for command in commands(page.read_text())
        for mistake in mistakes(command)
    ]
    assert wrong == []


def test_every_verb_is_in_the_readme_or_the_pages() -> None:
    shown = [command for page in PAGES for command in commands(page.read_text())]
    words = {word for command in shown for word in command.split()[1:2]}
    assert words >= set(OPTIONS)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for target in LINK.findall(FENCED.sub("", page.read_text())):
        if re.match(r"[a-z]+:", target):
            continue  # the tests use no network
        file, _, anchor = target.partition("#")
        other = (page.parent / file) if file else page
        if not other.exists() or (anchor and anchor not in anchors(other.read_text())):
            wrong.append(target)
    assert wrong == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.exists():
            continue
        reached.add(page)
        links = LINK.findall(page.read_text())
        waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links]
    assert reached >= set(PAGES)


CONFIGURATIONS = [
    pytest.param(block.text, id=f"{name_of(page)}:{block.line}")
    for page in PAGES
    for block in blocks(page.read_text())
    if block.language == "toml"
]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_configurations_are_valid(text: str) -> None:
    """A whole one as `fwlb check` sees it, a part of one table by table."""
    tables = tomllib.loads(text)
    if {"node", "zones"} <= tables.keys():
        parse(text, "page")
        return
    for name, value in tables.items():
        assert name in Config.model_fields
        kind: Any = Config.model_fields[name].annotation
        TypeAdapter(kind).validate_python(value)


# --- the checker itself ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```console\n$ fwlb upp\n```", "no verb upp"),
        ("```console\n$ fwlb up --confirmed 60\n```", "up has no option --confirmed"),
        ("```\n# ls && /opt/bin/fwlb status -x | head\n```", "status has no option -x"),
        ("```console\n$ make tests PYTHON=python3\n```", "no target tests"),
        ("use `fwlb frob` for it", "no verb frob"),
    ],
)
def test_the_checker_sees(page: str, complaint: str) -> None:
    assert [mistake for each in commands(page) for mistake in mistakes(each)] == [complaint]


def test_the_checker_allows() -> None:
    page = """Run `fwlb init -` and `fwlb`:
```console
$ fwlb diff -c FILE --json | head   # what would change
$ fwlb up --confirm=60 && make test PYTHON=python3.13
fwlb nonsense in some output
```
"""
    assert list(map(str.strip, commands(page))) == [
        "fwlb diff -c FILE --json",
        "head   # what would change",
        "fwlb up --confirm=60",
        "make test PYTHON=python3.13",
        "fwlb init -",
    ]
    assert [mistake for each in commands(page) for mistake in mistakes(each)] == []


def test_anchors_are_those_of_github() -> None:
    assert anchors("# `fwlb diff`: what, then?\n## `[zones.NAME]`\n") == {
        "fwlb-diff-what-then",
        "zonesname",
    }
