"""constraints.txt pins every package that a development environment needs, and no other."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
DIRECT = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]
PINS = {
    canonicalize_name(name): version
    for name, version in (
        line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines()
    )
}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def applies(requirement: Requirement) -> bool:
    """Does this Linux need it, with one of the Pythons that we support?"""
    if requirement.marker is None:
        return True
    return any(
        requirement.marker.evaluate(
            {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
        )
        for python in PYTHONS
    )


def closure(lines: list[str]) -> Iterator[Requirement]:
    """What these requirements come to, as far as it is installed here."""
    waiting = [Requirement(line) for line in lines]
    seen = set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if not applies(requirement):
            continue
        yield requirement
        if name in seen:
            continue
        seen.add(name)
        try:
            waiting += [Requirement(line) for line in distribution(name).requires or ()]
        except PackageNotFoundError:
            marker = requirement.marker
            assert marker is not None, f"{name} is not installed"
            assert not marker.evaluate(), f"{name} is not installed"


REQUIREMENTS = list(closure(DIRECT))


def test_every_line_is_an_exact_pin() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)


def test_all_that_is_needed_is_pinned_and_nothing_else() -> None:
    assert set(PINS) == {canonicalize_name(requirement.name) for requirement in REQUIREMENTS}


def test_what_builds_the_wheel_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for line in project["build-system"]["requires"]:
        assert canonicalize_name(Requirement(line).name) in PINS


@pytest.mark.parametrize("requirement", REQUIREMENTS, ids=str)
def test_a_pin_is_what_its_users_ask_for(requirement: Requirement) -> None:
    assert PINS[canonicalize_name(requirement.name)] in requirement.specifier
