"""A network namespace for one measurement: nothing in it but `lo`, gone afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

from fwlb.lab import namespaces

Result = TypeVar("Result")


def in_scratch_namespace(measure: Callable[[], Result]) -> Result:
    """What `measure()` returns inside. Threads and processes that it starts are inside too."""
    name = f"fwlb-bench-{os.getpid()}"
    namespaces.create(name)
    try:
        return namespaces.call_in(name, measure)
    finally:
        namespaces.remove(name)
