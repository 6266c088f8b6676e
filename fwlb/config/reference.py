"""The configuration reference, `docs/configuration.md`, from the models.

`python -m fwlb.config.reference > docs/configuration.md` writes it again.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import PurePath
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from fwlb.config.models import Config, Model
from fwlb.config.words import Place, expected, fields, is_table, plain

_TOP = """\
<!-- generated: python -m fwlb.config.reference > docs/configuration.md -->
# Configuration reference

One TOML file, `/etc/fwlb/fwlb.toml` unless `-c FILE` names another. `fwlb init` writes a commented
example, `fwlb check` reports every mistake with its line; complete examples are in
[`examples/`](examples/). Unknown keys are mistakes. The unit of a number is the end of its name:
`_s` seconds, `_bytes` bytes.

| value | how it is written |
|---|---|
| a name | begins with a small letter; small letters, digits, `-` and `_`, at most 31 |
| an interface name | exactly as `ip link` shows it, no pattern; an interface is in one zone only |
| a network | like `10.1.0.0/16` or `fd01::/64`, no host bits set; networks do not overlap |
| an address | like `203.0.113.1`; not loopback, link-local, multicast or unspecified |
| a port range | `first-last`, both included |
| a service | as listed at [`[[allow]]`](#allow); at most 1024 ports; named once for two zones |
| an absolute path | begins with `/` |

| section | meaning |
|---|---|
"""


def render() -> str:
    """The whole page as Markdown."""
    sections = list(_sections("", "", Config))[1:]
    contents = "".join(
        f"| [`{title}`](#{_anchor(title)}) | {about} |\n" for title, about, _ in sections
    )
    return _TOP + contents + "".join(f"\n## `{title}`\n\n{text}" for title, _, text in sections)


def _sections(title: str, about: str, model: type[Model]) -> Iterator[tuple[str, str, str]]:
    """Title, one line and text of the section of `model`, then of those below it."""
    keys = fields(model)
    rows = [_row(name, info) for name, info in keys.items() if not _below(name, info, title)]
    text = _paragraph(model.__doc__ or "") + "\n"
    if rows:
        text += "\n| key | value | default | meaning |\n|---|---|---|---|\n" + "".join(rows)
    yield title, about, text
    for name, info in keys.items():
        below = _below(name, info, title)
        if below:
            heading, inner = below
            meaning = _paragraph(info.description or "")
            if inner:
                yield from _sections(heading, meaning, inner)
            else:
                yield heading, meaning, _free_table(info)


def _below(name: str, info: FieldInfo, title: str) -> tuple[str, type[Model] | None] | None:
    """Heading and model of a key that is a section of its own; None for a plain value."""
    at = plain(Place(info.annotation, tuple(info.metadata)))
    path = f"{title.strip('[]')}.{name}".lstrip(".")
    if is_table(at):
        return f"[{path}]", at.annotation
    if get_origin(at.annotation) is dict:
        inner = plain(Place(get_args(at.annotation)[1]))
        return (f"[{path}.NAME]", inner.annotation) if is_table(inner) else (f"[{path}]", None)
    if get_origin(at.annotation) is tuple:
        inner = plain(Place(get_args(at.annotation)[0]))
        return (f"[[{path}]]", inner.annotation) if is_table(inner) else None
    return None


def _free_table(info: FieldInfo) -> str:
    """The section of a table whose keys are free."""
    key, value = get_args(plain(Place(info.annotation)).annotation)
    row = f"| {expected(Place(key)).one} | {expected(Place(value)).one} |\n"
    return f"{_paragraph(info.description or '')}\n\n| key | value |\n|---|---|\n{row}"


def _row(name: str, info: FieldInfo) -> str:
    words = expected(Place(info.annotation, tuple(info.metadata))).one
    meaning = _paragraph(info.description or "")
    return f"| `{name}` | {words} | {_default(info)} | {meaning} |\n"


def _default(info: FieldInfo) -> str:
    if info.default is PydanticUndefined:
        return "required"
    return "none" if info.default is None else f"`{toml(info.default)}`"


def toml(value: Any) -> str:
    """A default value as it is written in the file."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    return json.dumps(str(value) if isinstance(value, PurePath) else value, ensure_ascii=False)


def _paragraph(docstring: str) -> str:
    return " ".join(cleandoc(docstring).split()).replace("|", "\\|")


def _anchor(title: str) -> str:
    """The anchor that Markdown viewers make of a heading: letters and digits of it."""
    return "".join(each for each in title.lower() if each.isalnum() or each in "-_")


if __name__ == "__main__":
    sys.stdout.write(render())
