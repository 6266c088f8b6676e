"""Every value of a random TOML document is located on the line on which it was written."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from fwlb.config.locate import KeyPath, locate

KEYS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=5
) | st.sampled_from(["a", "b", "c", "1", "a.b", "#", "[a]", '"', "'", "\\", "\t"])
WORDS = st.text(st.sampled_from("ab#[]{},=\"'\\ \t."), max_size=8)


class Writer:
    """Writes a document value by value, in a style drawn for each, and notes the lines."""

    def __init__(self, draw: DrawFn) -> None:
        self.draw = draw
        self.text = ""
        self.lines: dict[KeyPath, int] = {}
        self.newline = draw(st.sampled_from(["\n", "\r\n"]))

    def choose(self, *options: str) -> str:
        return self.draw(st.sampled_from(options))

    def here(self, path: KeyPath) -> None:
        self.lines[path] = self.text.count("\n") + 1

    def add(self, text: str) -> None:
        self.text += text.replace("\n", self.newline)

    def gap(self) -> None:
        """Between the values of an array."""
        self.add(self.choose("", "", " ", "\n", "\n\n  ", " # c [ \" '''\n", "\t\n#]\n"))

    def key(self, key: str) -> str:
        bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
        literal = key.isprintable() and "'" not in key
        forms = [json.dumps(key, ensure_ascii=False).replace("\x7f", "\\u007F")]
        if all(ord(character) < 0x10000 for character in key):  # JSON writes others as two halves
            forms.append(json.dumps(key))
        return self.choose(*forms, *([key] if bare else []), *([f"'{key}'"] if literal else []))

    def value(self, path: KeyPath, depth: int) -> None:
        kinds = ["text", "long text", "long literal", "other", "other"]
        kind = self.choose(*kinds, *(["array", "table"] if depth < 3 else []))
        if kind == "text":
            word = self.draw(WORDS)
            literal = f"'{word}'" if "'" not in word else "''"
            self.add(self.choose(json.dumps(word), literal))
        elif kind == "long text":
            body = self.choose("", "x", "\n[a]\n", 'a""b\n', '\\"\\"\\"\n', "k = 1\\\n  2")
            self.add(f'"""{body}{self.choose("", chr(34), chr(34) * 2)}"""')
        elif kind == "long literal":
            body = self.choose("", "x", "\n[[a]]\nb = ", "a''b\n", "\\\n")
            self.add(f"'''{body}{self.choose('', chr(39), chr(39) * 2)}'''")
        elif kind == "other":
            numbers = ("1", "-2.5e+3", "true", "inf", "0x_ff".replace("_", ""), "1_000")
            self.add(
                self.choose(*numbers, "1979-05-27 07:32:00", "07:32:00.5", "1979-05-27T07:32:00Z")
            )
        elif kind == "array":
            self.array(path, depth)
        else:
            self.inline_table(path, depth)

    def array(self, path: KeyPath, depth: int) -> None:
        size = self.draw(st.integers(0, 3))
        self.add("[")
        self.gap()
        for index in range(size):
            self.here((*path, index))
            self.value((*path, index), depth + 1)
            self.gap()
            if index < size - 1 or self.draw(st.booleans()):
                self.add(",")
                self.gap()
        self.add("]")

    def inline_table(self, path: KeyPath, depth: int) -> None:
        keys = self.draw(st.lists(KEYS, max_size=3, unique=True))
        self.add("{")
        for number, key in enumerate(keys):
            self.add(", " if number else " ")
            self.pair((*path, key), self.key(key), depth)
        self.add(" }")

    def pair(self, path: KeyPath, key: str, depth: int) -> None:
        self.here(path)
        self.add(key + self.choose("=", " = ", "\t=  "))
        self.value(path, depth + 1)

    def pairs(self, path: KeyPath) -> None:
        """Keys of one table, some of them dotted."""
        for key in self.draw(st.lists(KEYS, max_size=3, unique=True)):
            self.add(self.choose("", "  ", "\n", "# comment = [\n"))
            if self.draw(st.booleans()):
                self.pair((*path, key), self.key(key), 0)
            else:
                dot = self.choose(".", " . ")
                self.here((*path, key))
                self.pair((*path, key, "d"), self.key(key) + dot + self.key("d"), 0)
            self.add(self.choose("\n", " # c\n", "\t\n\n"))


@st.composite
def documents(draw: DrawFn) -> tuple[str, dict[KeyPath, int]]:
    """A TOML text, and the line of each of its paths."""
    writer = Writer(draw)
    writer.pairs(())
    for number in range(draw(st.integers(0, 3))):
        outer, name = f"table{number}", draw(KEYS)  # tables of their own: none is declared twice
        blank = writer.choose("", " ")
        dotted = f"{blank}{outer}{blank}.{blank}{writer.key(name)}{blank}"
        if writer.choose("table", "array") == "table":
            for path in ((outer,), (outer, name)):
                writer.here(path)
            writer.add(f"[{dotted}]\n")
            writer.pairs((outer, name))
            continue
        writer.here((outer,))
        writer.here((outer, name))
        for index in range(draw(st.integers(1, 3))):
            writer.here((outer, name, index))
            writer.add(f"[[{dotted}]]\n")
            writer.pairs((outer, name, index))
    return writer.text, writer.lines


def paths_of(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    if path:
        yield path
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, below in items:
        yield from paths_of(below, (*path, key))


@given(documents())
def test_every_path_is_found_on_its_line(document: tuple[str, dict[KeyPath, int]]) -> None:
    text, lines = document
    data = tomllib.loads(text)
    assert set(paths_of(data)) == set(lines), "the writer has written what it noted"
    assert dict(locate(text)) == lines


@given(st.text(st.sampled_from("a='\"[]{}.,#\\ \n1"), max_size=30))
def test_whatever_the_parser_accepts_has_a_line_for_every_path(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    found = dict(locate(text))
    assert set(found) == set(paths_of(data))
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())
