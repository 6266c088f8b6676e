"""The commented configuration that `fwlb init` writes."""

from __future__ import annotations

from pathlib import Path


def text() -> str:
    """The whole file. It has no mistakes, and each line `#key = value` in it shows a default."""
    return Path(__file__).with_name("example.toml").read_text(encoding="utf-8")
