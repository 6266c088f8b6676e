"""What the tests with network namespaces share: the lab, and who may skip.

Without root, or without a program that is to be installed, a test is skipped and says why. Where
`CI` is set it fails instead: there nothing may be missing unnoticed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import NoReturn, Protocol

import pytest

from fwlb.errors import LabError, MissingFeatureError
from fwlb.lab import Lab, LabOptions
from fwlb.lab.packages import fetch
from fwlb.lab.programs import find_program


def skip_or_fail(reason: str) -> NoReturn:
    """Skip on somebody's own machine, fail in CI."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (CI is set: nothing may be missing here)", pytrace=False)
    pytest.skip(reason)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("netns") is not None and os.geteuid() != 0:
        skip_or_fail("needs root: network namespaces")


@pytest.fixture(scope="session")
def require_program() -> Callable[[str], str]:
    """`require_program("vsftpd")` is its path; without it the test is skipped (failed in CI)."""

    def require(name: str) -> str:
        try:
            return find_program(name)
        except MissingFeatureError as error:
            skip_or_fail(str(error))

    return require


@pytest.fixture(scope="session")
def require_packages() -> Callable[..., None]:
    """`require_packages("pure-ftpd")` unpacks them; skipped (failed in CI) where apt cannot."""

    def require(*packages: str) -> None:
        try:
            fetch(packages)
        except LabError as error:
            skip_or_fail(str(error))

    return require


class LabFactory(Protocol):
    """Builds a lab that lives until the end of the test module."""

    def __call__(self, options: LabOptions | None = None) -> Lab: ...


@pytest.fixture(scope="module")
def lab() -> Iterator[LabFactory]:
    """`lab()` or `lab(LabOptions(clients=1))` builds a lab for the rest of the module."""
    with ExitStack() as stack:

        def build(options: LabOptions | None = None) -> Lab:
            return stack.enter_context(Lab(options))

        yield build
