"""What can be read of a configuration that has mistakes, so that every check can still run."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import ValidationError

from fwlb.config.locate import KeyPath
from fwlb.config.models import (
    Allow,
    Bindings,
    Config,
    Helpers,
    Model,
    Nat,
    Node,
    Paths,
    Publish,
    Relay,
    Zone,
)

M = TypeVar("M", bound=Model)


@dataclass(slots=True)
class Draft:
    """A configuration in its parts. None stands for a part that could not be read at all;
    `doubtful` are the places that could not be read and hold their default meanwhile."""

    node: Node | None
    zones: Mapping[str, Zone | None]
    allow: tuple[Allow | None, ...]
    nat: tuple[Nat | None, ...]
    publish: tuple[Publish | None, ...]
    bindings: Bindings | None
    helpers: Helpers | None
    relay: Relay | None
    paths: Paths | None
    doubtful: set[KeyPath] = field(default_factory=set)

    def is_doubtful(self, path: KeyPath) -> bool:
        """Whether what stands at `path`, above or below it, could not be read."""
        return any(
            path[: len(doubt)] == doubt[: len(path)]  # one begins with the other
            for doubt in self.doubtful
        )


def complete(config: Config) -> Draft:
    """The draft of a configuration without mistakes in single values."""
    return Draft(
        config.node,
        config.zones,
        config.allow,
        config.nat,
        config.publish,
        config.bindings,
        config.helpers,
        config.relay,
        config.paths,
    )


def salvage(data: Mapping[str, Any]) -> Draft:
    """The draft of what `tomllib` read, where some of it does not fit the models."""
    return _Salvage(data).draft()


class _Salvage:
    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = data
        self._doubtful: set[KeyPath] = set()

    def draft(self) -> Draft:
        return Draft(
            self._table(Node, "node"),
            self._zones(),
            self._entries(Allow, "allow"),
            self._entries(Nat, "nat"),
            self._entries(Publish, "publish"),
            self._table(Bindings, "bindings"),
            self._table(Helpers, "helpers"),
            self._table(Relay, "relay"),
            self._table(Paths, "paths"),
            self._doubtful,
        )

    def _table(self, model: type[M], name: str) -> M | None:
        return self._part(model, self._data.get(name, {}), (name,))

    def _zones(self) -> Mapping[str, Zone | None]:
        tables = self._data.get("zones")
        if not isinstance(tables, dict):
            self._doubtful.add(("zones",))
            return {}
        return {name: self._part(Zone, raw, ("zones", name)) for name, raw in tables.items()}

    def _entries(self, model: type[M], name: str) -> tuple[M | None, ...]:
        entries = self._data.get(name, [])
        if not isinstance(entries, list):
            self._doubtful.add((name,))
            return ()
        return tuple(self._part(model, raw, (name, index)) for index, raw in enumerate(entries))

    def _part(self, model: type[M], raw: Any, path: KeyPath) -> M | None:
        """One table as a model, if need be without the keys that are wrong in it."""
        try:
            return model.model_validate(raw)
        except ValidationError as error:
            raw = deepcopy(raw)
            for detail in error.errors(include_url=False):
                key = _remove(raw, detail["loc"])
                if detail["type"] != "extra_forbidden":
                    self._doubtful.add((*path, *key))
        try:
            return model.model_validate(raw)
        except ValidationError:
            self._doubtful.add(path)
            return None


def _remove(raw: Any, location: KeyPath) -> KeyPath:
    """Remove the innermost key of a table on the way to `location`; returns its path."""
    path: KeyPath = ()
    while isinstance(raw, dict):
        path = location[: len(path) + 1]
        key = path[-1]
        if len(path) == len(location) or not isinstance(raw.get(key), dict):
            raw.pop(key, None)
            break
        raw = raw[key]
    return path
