"""Errors of TOML and of pydantic in plain words, with a hint that can be typed in."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from fwlb.config import words
from fwlb.config.locate import KeyPath
from fwlb.config.mistake import WrongValueError, enumeration, short, similar

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Finding:
    """One mistake in a configuration, before file and line are known. It is none if a place in
    `needs` cannot be relied on."""

    path: KeyPath
    message: str
    hint: str | None = None
    needs: tuple[KeyPath, ...] = ()


def key_text(path: KeyPath) -> str:
    """A key path as it would be written: `allow[2].services[0]`."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            shown = short(key)
            bare = _BARE_KEY.fullmatch(shown)
            text += ("." if text else "") + (
                shown if bare else json.dumps(shown, ensure_ascii=False)
            )
    return text


def findings(error: ValidationError) -> Iterable[Finding]:
    """Everything that pydantic found wrong, in words; what only follows from it is left out."""
    details = error.errors(include_url=False)
    wrong_keys = {detail["loc"][:-1] for detail in details if _is_about_key(detail)}
    meant = {
        (*detail["loc"][:-1], _guess(detail["loc"]))
        for detail in details
        if detail["type"] == "extra_forbidden"
    }
    for detail in details:
        path = detail["loc"]
        follows = path in wrong_keys or (detail["type"] == "missing" and path in meant)
        if not follows:
            path = path[:-1] if _is_about_key(detail) else path
            yield _TRANSLATIONS.get(detail["type"], _wrong_type)(path, detail)


def _is_about_key(detail: ErrorDetails) -> bool:
    """Whether the name of a table is wrong (a zone): pydantic then adds a mark to the path."""
    given = detail["input"]
    return isinstance(given, str) and detail["loc"][-2:] == (given, "[key]")


def _wrong_value(path: KeyPath, detail: ErrorDetails) -> Finding:
    error = detail["ctx"]["error"]
    if isinstance(error, WrongValueError):
        return Finding(path, error.message, error.hint)
    return Finding(path, str(error))


def _unknown_key(path: KeyPath, detail: ErrorDetails) -> Finding:
    del detail
    guess = _guess(path)
    hint = f"did you mean `{guess}`?" if guess else f"keys here: {enumeration(_known_keys(path))}"
    return Finding(path, f"unknown key `{short(str(path[-1]))}`", hint)


def _known_keys(path: KeyPath) -> Collection[str]:
    table = words.place(path[:-1])
    return words.fields(table.annotation) if table else ()


def _guess(path: KeyPath) -> str | None:
    """The known key that the unknown one at `path` was meant to be."""
    return similar(str(path[-1]), _known_keys(path))


def _missing(path: KeyPath, detail: ErrorDetails) -> Finding:
    del detail
    name, at = str(path[-1]), words.place(path)
    if at and words.is_table(at):
        required = [key for key, info in words.fields(at.annotation).items() if info.is_required()]
        return Finding(
            path, f"the table `[{name}]` is missing", f"add it; it needs {enumeration(required)}"
        )
    if at and get_origin(at.annotation) is dict:
        hint = f"add at least one, like `[{name}.inside]`"
        return Finding(path, f"the tables `[{name}.NAME]` are missing", hint)
    one = words.expected(at).one if at else "a value"
    return Finding(path, f"the key `{name}` is missing", f"add `{name} = `, {one}")


def _out_of_range(path: KeyPath, detail: ErrorDetails) -> Finding:
    at = words.place(path)
    hint = f"write {words.expected(at).one}" if at else None
    return Finding(path, f"{_toml(detail['input'])} is out of range", hint)


def _wrong_word(path: KeyPath, detail: ErrorDetails) -> Finding:
    at, given = words.place(path), detail["input"]
    allowed = at.annotation.__args__ if at else ()
    if not isinstance(given, str):
        return _wrong_type(path, detail)
    guess = similar(given, allowed)
    hint = f'did you mean "{guess}"?' if guess else f"possible: {enumeration(allowed)}"
    return Finding(path, f'"{short(given)}" is not possible here', hint)


def _wrong_type(path: KeyPath, detail: ErrorDetails) -> Finding:
    at, given = words.place(path), detail["input"]
    one = words.expected(at).one if at else "something else"
    return Finding(path, f"expected {one}, got {value_text(given)}", _type_hint(at, path, given))


_TRANSLATIONS: Mapping[str, Callable[[KeyPath, ErrorDetails], Finding]] = {
    "value_error": _wrong_value,
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "literal_error": _wrong_word,
    **dict.fromkeys(
        ("greater_than", "greater_than_equal", "less_than", "less_than_equal"), _out_of_range
    ),
}
"""By pydantic's error type. All others say that the TOML type is wrong."""


def value_text(value: Any) -> str:
    """A TOML value as somebody would name it: `the text "lan0"`, `a list`."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {_toml(value)}"
        case str():
            return f'the text "{short(value)}"'
        case list():
            return "a list"
        case dict():
            return "a table"
        case _:
            return f"the date or time {value}"


def _type_hint(at: words.Place | None, path: KeyPath, given: Any) -> str | None:
    if at is None:
        return None
    name, origin = key_text(path), get_origin(at.annotation)
    wants_tables = origin is tuple and words.is_table(words.Place(at.annotation.__args__[0]))
    if wants_tables:
        return f"write `[[{name}]]` with two brackets for each entry"
    if words.is_table(at) or origin is dict:
        table = re.sub(r"\[\d+\]", "", name)
        return f"write it as a table: `[{table}]`" if table == name else f"write `[[{table}]]`"
    if origin is tuple and isinstance(given, str | int | float):
        return f"write a list: `[{_toml(given)}]`"
    if at.annotation is str and isinstance(given, int | float):
        return f'write "{_toml(given)}" in quotes'
    return _unquoted(at, given)


def _unquoted(at: words.Place, given: Any) -> str | None:
    """The hint for a number or boolean that was written as text."""
    number = isinstance(given, str) and re.fullmatch(r"-?[0-9]{1,10}", given)
    boolean = given in ("true", "false")
    if (at.annotation in (int, float) and number) or (at.annotation is bool and boolean):
        return f"write {given} without quotes"
    if at.annotation is int and isinstance(given, float):
        return "write it without a decimal point"
    return None


def _toml(value: str | float) -> str:
    """A simple value as it is written in the file."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and value.bit_length() > 64:
        return "..."  # Python refuses to write out very long numbers
    return f'"{short(value)}"' if isinstance(value, str) else str(value)


_TOML_HINTS = (
    ("Invalid statement", "a line is `key = value`, `[table]` or `# comment`"),
    ("Unterminated string", "close the quotes"),
    ("Expected \"'", "close the quotes"),
    ("Unclosed inline table", "close the table with `}` on the same line"),
    ("Unescaped '\\' in a string", "write `\\\\` for a backslash, or use single quotes"),
    ("Invalid value", 'text stands in quotes: `key = "value"`'),
    ("Expected '=' after a key", "write `key = value`"),
    ("Cannot declare", "this table stands in the file already; put its keys together"),
    ("Cannot overwrite a value", "this key stands in its table already; keep one"),
    ("Illegal character '\\n'", "a text ends on the line where it starts: close the quotes"),
    ("Unclosed array", "close the list with `]`"),
    ("Expected newline or end of document", "one `key = value` a line"),
)


def syntax_finding(error: ValueError, text: str) -> tuple[int, str, str | None]:
    """Line, message and hint for what `tomllib` refuses in `text`."""
    said = re.fullmatch(
        r"(.*) \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)", str(error), re.DOTALL
    )
    if said is None:  # not from the parser itself: Python converts no number of that length
        number = re.search(r"[0-9_]{4300,}", text)
        line = text.count("\n", 0, number.start()) + 1 if number else 1
        return line, "this number is too long", "use at most 18 digits"
    problem, line_text, column = said.groups()
    hint = next((hint for start, hint in _TOML_HINTS if problem.startswith(start)), None)
    message = "not valid TOML: " + re.sub(r"\('.*'\,?\)", _table_name, problem)
    if line_text is None:
        return text.rstrip("\n").count("\n") + 1, f"{message}, at the end of the file", hint
    return int(line_text), f"{message}, column {column}", hint


def _table_name(match: re.Match[str]) -> str:
    """`tomllib` names a table as a tuple."""
    return f"[{key_text(ast.literal_eval(match.group()))}]"
