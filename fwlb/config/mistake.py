"""What is wrong with one value of the configuration, in words for the person who wrote it.

A `WrongValueError` is raised where a value is read and knows nothing of files and lines; `load`
adds these and reports it as a `fwlb.errors.Problem`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

SHOWN_CHARACTERS = 60


class WrongValueError(ValueError):
    """`message` says what is wrong, `hint` what would be right."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def short(text: str) -> str:
    """What somebody wrote, for a message: bounded, printable and on one line."""
    shown = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."
    return "".join(each if each.isprintable() else "?" for each in shown)


def similar(word: str, known: Collection[str]) -> str | None:
    """The known word that somebody who wrote `word` most likely meant, or None."""
    begun = [each for each in known if len(word) > 1 and each.startswith(word.lower())]
    if len(begun) == 1:
        return begun[0]
    matches = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return matches[0] if matches else None


def enumeration(words: Iterable[str]) -> str:
    """`a`, `b` and so on, as they are written in a sentence."""
    return ", ".join(f"`{short(word)}`" for word in words)
