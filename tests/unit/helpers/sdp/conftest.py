"""Reads descriptions that are right, and those that are not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fwlb.helpers.sdp import Flaw, SessionDescription, parse
from tests.unit.helpers.sdp.describe import body, shown

Read = Callable[..., SessionDescription]


@pytest.fixture
def read() -> Read:
    """Reads lines (or bytes), which must be in order."""

    def read(*lines: str | bytes) -> SessionDescription:
        data = lines[0] if lines and isinstance(lines[0], bytes) else body(*map(str, lines))
        found = parse(data)
        assert not isinstance(found, Flaw), found
        return found

    return read


@pytest.fixture
def announced(read: Read) -> Callable[..., list[str]]:
    """The transports of a description, in words."""
    return lambda *lines: [shown(each) for each in read(*lines).transports()]


@pytest.fixture
def flaw() -> Callable[..., Flaw]:
    """Reads what must not be in order."""

    def flaw(*lines: str | bytes) -> Flaw:
        data = lines[0] if lines and isinstance(lines[0], bytes) else body(*map(str, lines))
        found = parse(data)
        assert isinstance(found, Flaw), found
        return found

    return flaw
