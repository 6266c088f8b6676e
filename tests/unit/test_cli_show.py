"""Answers of the daemon as text."""

from pathlib import Path
from typing import Any

import pytest

from fwlb.cli.show import duration_text, patch_text, sessions_text, status_text
from fwlb.ruleset.plan import Content, Plan

STATUS: dict[str, Any] = {
    "node": "gw1",
    "version": "0.1.0",
    "pid": 7,
    "uptime_s": 93784.2,
    "config": "/etc/fwlb/fwlb.toml",
    "relay": {"port": 2121, "alive": True, "accepting": True, "connections": 2, "opaque": 1},
    "sessions": {"now": 2, "opened": 9},
    "pinholes": {"now": 1, "opened": 8},
    "bindings": {"now": 0, "opened": 3},
    "refusals": {"garbled": 0, "port-below-1024": 4},
    "last_error": None,
}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.9, "59s"), (60, "1m"), (3661, "1h 1m"), (93784, "1d 2h")],
)
def test_durations_have_the_two_largest_units(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_status_names_what_was_refused_and_nothing_else() -> None:
    text = status_text(STATUS)
    assert "up 1d 2h" in text
    assert "4 port-below-1024" in text
    assert "garbled" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


@pytest.mark.parametrize(
    ("relay", "gate"),
    [
        ({"alive": False, "accepting": True}, "passed by"),
        ({"alive": False, "accepting": False}, "stopping"),
    ],
)
def test_status_says_when_connections_pass_by(relay: dict[str, bool], gate: str) -> None:
    assert gate in status_text({**STATUS, "relay": {**STATUS["relay"], **relay}})


def test_status_shows_the_last_error() -> None:
    error = {"at": "2026-01-02T03:04:05Z", "text": "set pinhole4 is full"}
    assert "set pinhole4 is full" in status_text({**STATUS, "last_error": error})


def test_no_sessions() -> None:
    assert sessions_text({"sessions": []}) == "no sessions"


LISTING = "table inet fwlb {{\n\tchain c {{\n\t\t{rule}\n\t}}\n}}\n"


def test_a_patch_is_coloured_only_where_wanted() -> None:
    live, wanted = (Content(LISTING.format(rule=rule)) for rule in ("drop", "accept"))
    plan = Plan(live, wanted)
    assert patch_text(plan, Path("fwlb.toml"), colour=False).splitlines() == [
        "--- kernel",
        "+++ fwlb.toml",
        "@@ table inet fwlb, chain c @@",
        "- drop",
        "+ accept",
    ]
    assert patch_text(plan, Path("fwlb.toml"), colour=True).splitlines()[2:] == [
        "\x1b[36m@@ table inet fwlb, chain c @@\x1b[0m",
        "\x1b[31m- drop\x1b[0m",
        "\x1b[32m+ accept\x1b[0m",
    ]
    assert patch_text(Plan(live, live), Path("x"), colour=True) == "no difference"
