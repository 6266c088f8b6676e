"""The types of the models in words: "a whole number from 5 to 3600", "a list of services".

Messages say with them what was expected, the reference what is allowed.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic.fields import FieldInfo

from fwlb.config.locate import KeyPath
from fwlb.config.mistake import enumeration
from fwlb.config.models import Config, Model
from fwlb.config.values import Words


class Place(NamedTuple):
    """What may stand at one place: a type, and what pydantic was told beside it."""

    annotation: Any
    metadata: tuple[Any, ...] = ()


ROOT = Place(Config)


def fields(model: type[Model]) -> dict[str, FieldInfo]:
    """The keys that a table may have, as they are written in the file."""
    return {info.alias or name: info for name, info in model.model_fields.items()}


def place(path: KeyPath) -> Place | None:
    """What may stand at `path`; None where the models know no such place."""
    here: Place | None = ROOT
    for key in path:
        here = _below(plain(here), key) if here else None
    return plain(here) if here else None


def plain(at: Place) -> Place:
    """The same without the wrapping of `Annotated` and `| None`."""
    annotation, metadata = at
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            metadata = (*_flat(more), *metadata)
        elif get_origin(annotation) in (Union, types.UnionType) and not _words(metadata):
            others = [each for each in get_args(annotation) if each is not types.NoneType]
            if len(others) > 1:
                return Place(annotation, metadata)
            annotation = others[0]
        else:
            return Place(annotation, metadata)


def expected(at: Place) -> Words:
    """The words for what may stand at a place."""
    annotation, metadata = plain(at)
    words = _words(metadata)
    if words:
        return words
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return Words(f"one of {enumeration(arguments)}", enumeration(arguments))
    if origin is tuple:
        many = expected(Place(arguments[0])).many
        return Words(f"a list of {many}", f"lists of {many}")
    if annotation in (int, float):
        kind, limits = "whole number" if annotation is int else "number", _limits(metadata)
        return Words(f"a {kind}{limits}", f"{kind}s{limits}")
    return Words("a table", "tables")


def is_table(at: Place) -> bool:
    """Whether a table with known keys may stand there."""
    annotation = plain(at).annotation
    return isinstance(annotation, type) and issubclass(annotation, Model)


def _below(at: Place, key: str | int) -> Place | None:
    origin, arguments = get_origin(at.annotation), get_args(at.annotation)
    if is_table(at):
        info = fields(at.annotation).get(str(key))
        return Place(info.annotation, tuple(info.metadata)) if info else None
    if origin is tuple and isinstance(key, int):
        return Place(arguments[0])
    if origin is dict:
        return Place(arguments[1])
    return None


def _flat(metadata: Iterable[Any]) -> Iterable[Any]:
    """Metadata as pydantic sees it: a `Field(...)` stands for what it says."""
    for each in metadata:
        if isinstance(each, FieldInfo):
            yield from each.metadata
        else:
            yield each


def _words(metadata: tuple[Any, ...]) -> Words | None:
    return next((each for each in metadata if isinstance(each, Words)), None)


def _limits(metadata: tuple[Any, ...]) -> str:
    text = ""
    for each in metadata:
        if isinstance(each, Ge):
            text += f" from {each.ge}"
        elif isinstance(each, Gt):
            text += f" above {each.gt}"
        elif isinstance(each, Le):
            text += f" to {each.le}" if " from " in text else f", at most {each.le}"
    return text
