"""Where in a TOML text each key and value stands: the standard parser says what, not where.

`locate` walks over a text that `tomllib` has accepted, so it need not judge, only find its way
(TOML 1.0, https://toml.io/en/v1.0.0; line breaks in inline tables as in 1.1 are no obstacle).
"""

from __future__ import annotations

import re
import tomllib
from bisect import bisect_left
from collections.abc import Iterator

KeyPath = tuple[str | int, ...]
"""Keys and list positions from the top of the file: `("zones", "inside", "networks", 1)`."""

_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]++|#[^\n]*)*+")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS = {
    '"""': re.compile(r'"""(?:[^"\\]|\\.|"(?!""))*+"{3,5}', re.DOTALL),
    "'''": re.compile(r"'''(?:[^']|'(?!''))*+'{3,5}"),
    '"': re.compile(r'"(?:[^"\\\n]|\\.)*+"'),
    "'": re.compile(r"'[^'\n]*'"),
}
_OTHER_VALUE = re.compile(r"[^,\]}#\n]+")  # number, boolean or date: ends where its place ends


class _Node:
    """One key or value: its line, and what is below it. A table array has `items` headers."""

    __slots__ = ("children", "items", "line")

    def __init__(self, line: int) -> None:
        self.line = line
        self.children: dict[str | int, _Node] = {}
        self.items = 0

    def child(self, key: str | int, line: int) -> _Node:
        """The child of that key, new with `line` where it was not named before."""
        if key not in self.children:
            self.children[key] = _Node(line)
        return self.children[key]

    def current(self) -> _Node:
        """The table that keys go into: of an array of tables, the last one."""
        return self.children[self.items - 1] if self.items else self


class Lines:
    """Line numbers (from 1) by key path."""

    def __init__(self, root: _Node) -> None:
        self._root = root

    def line(self, path: KeyPath) -> int:
        """The line on which the value at `path` starts, or its key where it is a table; for a
        path that the text does not have, that of the nearest table or list around it."""
        node = self._root
        for key in path:
            below = node.children.get(key)
            if below is None:
                break
            node = below
        return node.line

    def __iter__(self) -> Iterator[tuple[KeyPath, int]]:
        """Every path with its line, outer ones first."""
        stack: list[tuple[KeyPath, _Node]] = [((), self._root)]
        while stack:
            path, node = stack.pop()
            if path:
                yield path, node.line
            stack.extend(((*path, key), child) for key, child in reversed(node.children.items()))


def locate(text: str) -> Lines:
    """Find the line of every key and value of `text`, which must be valid TOML."""
    return Lines(_Walk(text).document())


class _Walk:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line_ends = [match.start() for match in re.finditer("\n", text)]

    def document(self) -> _Node:
        root = _Node(1)
        table = root
        self._skip(_GAP)
        while self._at < len(self._text):
            if self._next("["):
                table = self._header(root)
            else:
                self._pair(table)
            self._skip(_GAP)
        return root

    def _header(self, root: _Node) -> _Node:
        """`[a.b]` or `[[a.b]]`: the table that the following keys go into."""
        line = self._line()
        self._at += 1
        is_array = self._next("[")
        self._at += is_array
        *outer, last = self._key()
        self._at += 2 if is_array else 1
        node = root
        for key in outer:
            node = node.child(key, line).current()
        node = node.child(last, line)
        if is_array:
            node.items += 1
            return node.child(node.items - 1, line)
        node.line = line  # may have been implied by a header further up
        return node

    def _pair(self, table: _Node) -> None:
        """`a.b = value` in `table`."""
        line = self._line()
        *outer, last = self._key()
        self._at += 1  # the equals sign
        self._skip(_BLANK)
        for key in outer:
            table = table.child(key, line)
        self._value(table.child(last, line))

    def _key(self) -> list[str]:
        """A dotted key, and the blanks around it."""
        parts = []
        while True:
            self._skip(_BLANK)
            parts.append(self._key_part())
            self._skip(_BLANK)
            if not self._next("."):
                return parts
            self._at += 1

    def _key_part(self) -> str:
        quote = self._text[self._at]
        if quote not in "\"'":
            return self._take(_BARE_KEY)
        quoted = self._take(_STRINGS[quote])
        return str(tomllib.loads(f"key = {quoted}")["key"])

    def _value(self, node: _Node) -> None:
        if self._next("["):
            self._array(node)
        elif self._next("{"):
            self._inline_table(node)
        else:
            for quotes, pattern in _STRINGS.items():
                if self._text.startswith(quotes, self._at):
                    self._take(pattern)
                    return
            self._take(_OTHER_VALUE)

    def _array(self, node: _Node) -> None:
        self._at += 1
        self._skip(_GAP)
        index = 0
        while not self._next("]"):
            self._value(node.child(index, self._line()))
            index += 1
            self._comma()
        self._at += 1

    def _inline_table(self, node: _Node) -> None:
        self._at += 1
        self._skip(_GAP)
        while not self._next("}"):
            self._pair(node)
            self._comma()
        self._at += 1

    def _comma(self) -> None:
        self._skip(_GAP)
        self._at += self._next(",")
        self._skip(_GAP)

    def _next(self, character: str) -> bool:
        return self._text.startswith(character, self._at)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        if match:
            self._at = match.end()

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise ValueError(f"no TOML at line {self._line()}")
        self._at = match.end()
        return match.group()

    def _line(self) -> int:
        return bisect_left(self._line_ends, self._at) + 1
