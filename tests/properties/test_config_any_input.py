"""Whatever stands in the file: a configuration or a list of problems, never another exception."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fwlb.config import example
from fwlb.config.load import parse
from fwlb.config.models import Config
from fwlb.config.words import fields
from fwlb.errors import ConfigError, Problem

WORDS = st.sampled_from(
    [
        "inside",
        "gateway",
        "10.1.0.0/16",
        "tcp/21",
        "snat",
        "21",
        "1-2",
        "/x",
        "any",
        "",
        "::1",
        "{}",
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-1, 70000) | st.floats() | WORDS
KEYS = st.sampled_from(
    ["from", "to", "services", "name", "interfaces", "networks", "port", "ports", "address",
     "to_address", "ipv4", "ipv4_address", "ftp", "enabled", "[key]", "x y", "net.a", ""]
)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=4),
    max_leaves=12,
)
FILES = st.dictionaries(st.sampled_from(list(fields(Config))) | KEYS, TREES, max_size=5)


def toml(value: Any) -> str:
    """The value as an inline TOML value; TOML has no null."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return '"null"' if value is None else json.dumps(value)


def accept(text: str) -> None:
    """Read the text; if it has problems, each must say something about a line of it."""
    problems = problems_of(text)
    for problem in problems or []:
        assert problem.message
        assert "\n" not in problem.message
        assert len(problem.message) < 300
        assert problem.where.line is None or 1 <= problem.where.line <= text.count("\n") + 1
    assert problems is None or problems


def problems_of(text: str) -> list[Problem] | None:
    try:
        parse(text, "fwlb.toml")
    except ConfigError as error:
        return error.problems
    return None


@given(FILES)
def test_any_tree_of_values(tree: dict[str, Any]) -> None:
    accept("\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in tree.items()))


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    accept(text)


@given(st.data())
def test_the_example_with_any_part_cut_out_or_doubled(data: st.DataObject) -> None:
    text = example.text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 200)))
    accept(text[:start] + data.draw(st.sampled_from(["", text[start:end] * 2])) + text[end:])
