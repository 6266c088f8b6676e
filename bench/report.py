"""Rows of figures, each with its baseline, ratio and target."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One figure. `target` is the least ratio to the baseline, or `limit` the most of the value."""

    what: str
    value: float
    unit: str
    baseline: float | None = None
    baseline_what: str = ""
    more_is_better: bool = True
    target: float | None = None
    limit: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times better than the baseline."""
        if self.baseline is None:
            return None
        return self.value / self.baseline if self.more_is_better else self.baseline / self.value

    @property
    def is_met(self) -> bool:
        if self.limit is not None and self.value > self.limit:
            return False
        return self.target is None or (self.ratio or 0.0) >= self.target

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "baseline": self.baseline,
            "baseline_what": self.baseline_what,
            "ratio": self.ratio,
            "target": self.target,
            "limit": self.limit,
            "met": self.is_met,
        }


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = [
        "| what | value | baseline | ratio | wanted | |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        base = f"{_number(row.baseline)} {row.unit} ({row.baseline_what})" if row.baseline else "-"
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else "-"
        wanted = (
            f">= {row.target:g}"
            if row.target is not None
            else f"<= {row.limit:g} {row.unit}"
            if row.limit is not None
            else "-"
        )
        met = "" if wanted == "-" else "met" if row.is_met else "MISSED"
        value = f"{_number(row.value)} {row.unit}"
        lines.append(f"| {row.what} | {value} | {base} | {ratio} | {wanted} | {met} |")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def median_s(function: Callable[[], object], rounds: int) -> float:
    """Median duration of a call, in seconds."""
    durations = []
    for _ in range(rounds):
        began = time.perf_counter()
        function()
        durations.append(time.perf_counter() - began)
    return statistics.median(durations)
