"""How long `fwlb --help` takes, beside an empty Python."""

from __future__ import annotations

import subprocess
import sys

from bench.report import Row, median_s

ROUNDS = 15


def run() -> list[Row]:
    def command(*arguments: str) -> None:
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)

    empty = median_s(lambda: command("-c", "pass"), ROUNDS)
    help_s = median_s(lambda: command("-m", "fwlb", "--help"), ROUNDS)
    return [
        Row("fwlb --help", help_s, "s", empty, "python -c pass", more_is_better=False, limit=0.3)
    ]
