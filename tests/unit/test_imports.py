"""Who may import whom. The layers, from the top:

    cli > lab | daemon > operate > engine | kernel | ruleset > nat > helpers | scale > config
        > model > errors

A module imports only what stands to its right; `|` are siblings that never import each other.
Clocks, sockets, randomness, other processes and netlink stay in kernel, daemon, cli and lab;
everywhere else time and entropy are arguments, so that tests need neither.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "fwlb"

LAYERS = (
    ("__main__",),
    ("cli",),
    ("lab", "daemon"),
    ("operate",),
    ("engine", "kernel", "ruleset"),
    ("nat",),
    ("helpers", "scale"),
    ("config",),
    ("model",),
    ("errors",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

IMPURE = {
    "time",
    "socket",
    "random",
    "secrets",
    "subprocess",
    "asyncio",
    "pyroute2",
    "nftables",
}
MAY_BE_IMPURE = {"kernel", "daemon", "cli", "lab", "__main__"}


def imports(source: str, module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    """Line and full name of everything that `module` imports, wherever it does so."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                here = module.split(".")
                keep = len(here) - node.level + is_package
                origin = ".".join([*here[:keep], *filter(None, [node.module])])
            yield from ((node.lineno, f"{origin}.{alias.name}") for alias in node.names)


def violations(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What is wrong with the imports of one module, as sentences."""
    parts = module.split(".")
    if len(parts) == 1:
        layer = None  # the package itself: below everything
    else:
        layer = parts[1]
        if layer not in RANK:
            return [f"{module}: {layer} has no place in the order of layers"]
    wrong = []
    for line, name in imports(source, module, is_package=is_package):
        top, _, rest = name.partition(".")
        if top in IMPURE and layer not in MAY_BE_IMPURE:
            wrong.append(f"{module}:{line} imports {top}: only {sorted(MAY_BE_IMPURE)} may")
        other = rest.partition(".")[0]
        if top != "fwlb" or not other or other.startswith("__version"):
            continue
        if other not in RANK:
            wrong.append(f"{module}:{line} imports fwlb.{other}, which has no place in the order")
        elif layer is None or (other != layer and RANK[other] <= RANK[layer]):
            wrong.append(f"{module}:{line} imports fwlb.{other}, which does not stand to its right")
    return wrong


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = ["fwlb", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", modules(), ids=name_of)
def test_imports_only_to_the_right(path: Path) -> None:
    is_package = path.name == "__init__.py"
    assert violations(path.read_text(), name_of(path), is_package=is_package) == []


def test_all_layers_are_looked_at() -> None:
    """The test above would pass for an empty folder."""
    seen = {name_of(path).split(".")[1] for path in modules() if path.parent != PACKAGE}
    assert {"cli", "config", "daemon", "engine", "helpers", "kernel", "nat", "ruleset"} <= seen


@pytest.mark.parametrize(
    ("module", "source", "complaint"),
    [
        ("fwlb.nat.ports", "import random", "fwlb.nat.ports:1 imports random"),
        ("fwlb.nat.ports", "from time import monotonic", "imports time"),
        ("fwlb.config.load", "import asyncio.events", "imports asyncio"),
        ("fwlb.operate.plan", "import subprocess", "imports subprocess"),
        ("fwlb.nat.ports", "\nfrom fwlb.engine import Engine", "fwlb.nat.ports:2 imports"),
        ("fwlb.nat.ports", "import fwlb.kernel.routes", "imports fwlb.kernel"),
        ("fwlb.nat.ports", "from fwlb import engine", "imports fwlb.engine"),
        ("fwlb.nat.ports", "from ..engine import core", "imports fwlb.engine"),
        ("fwlb.engine.core", "from fwlb.kernel import netlink", "imports fwlb.kernel"),
        ("fwlb.daemon.main", "from fwlb.lab import Lab", "imports fwlb.lab"),
        ("fwlb.helpers.ftp", "from fwlb.scale import rows", "imports fwlb.scale"),
        ("fwlb.errors", "from fwlb.model import Flow", "imports fwlb.model"),
        ("fwlb.config.load", "def f():\n    from fwlb.nat import ports", "load:2 imports"),
        ("fwlb.config.load", "if TYPE_CHECKING:\n    import fwlb.engine", "load:2 imports"),
        ("fwlb.utils", "", "utils has no place in the order of layers"),
        ("fwlb.cli.app", "from fwlb.utils import x", "fwlb.utils, which has no place"),
        ("fwlb", "from fwlb.model import Flow", "imports fwlb.model"),
    ],
)
def test_the_checker_sees(module: str, source: str, complaint: str) -> None:
    (found,) = violations(source, module)
    assert complaint in found


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("fwlb.kernel.netlink", "import socket, time"),
        ("fwlb.cli.app", "from fwlb.lab import Lab\nfrom fwlb import __version__"),
        ("fwlb.engine.core", "from fwlb.engine.session import RunningSession"),
        ("fwlb.engine.core", "from .session import RunningSession"),
        ("fwlb.engine.core", "from fwlb.nat.ports import PortPool\nimport fwlb.errors"),
        ("fwlb.nat.ports", "from ipaddress import ip_address\nimport timeit"),
        ("fwlb.__main__", "from fwlb.cli import main"),
    ],
)
def test_the_checker_allows(module: str, source: str) -> None:
    assert violations(source, module) == []


def test_relative_imports_of_a_package_start_in_it() -> None:
    source = "from .core import Engine\nfrom ..kernel import netlink"
    (found,) = violations(source, "fwlb.engine", is_package=True)
    assert "fwlb.engine:2 imports fwlb.kernel" in found
