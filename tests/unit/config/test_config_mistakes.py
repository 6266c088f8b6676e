"""Every mistake in mistakes.txt is told as written there; nothing in no_mistakes.txt is one."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from fwlb.config.load import parse
from fwlb.errors import ConfigError, Problem

HERE = Path(__file__).parent
INTRODUCTION, *ENTRIES = (HERE / "mistakes.txt").read_text().split("\n== ")
BASE = INTRODUCTION.split("\nBASE\n")[1].partition("\n#")[0]
NO_MISTAKES = (HERE / "no_mistakes.txt").read_text().split("\n==\n")[1:]


class Mistake(NamedTuple):
    """One entry of mistakes.txt."""

    key: str
    line: int
    message: str
    hint: str | None
    text: str


def read(entry: str) -> Mistake:
    entry = entry.partition("\n# ---")[0]
    key, message, hint, text = entry.split("\n", 3)
    if key.endswith(" (whole file)"):
        key = key.removesuffix(" (whole file)")
    else:
        text = BASE + text
    (line,) = (number for number, line in enumerate(text.splitlines(), 1) if "#!" in line)
    hint = hint.removeprefix("-- ")
    return Mistake(key, line, message.removeprefix("-- "), None if hint == "none" else hint, text)


MISTAKES = [read(entry) for entry in ENTRIES]
IDS = [f"{mistake.key}: {mistake.message}" for mistake in MISTAKES]


def problems_of(text: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        parse(text, "fwlb.toml")
    return caught.value.problems


def test_the_table_was_read() -> None:
    assert len(MISTAKES) > 120
    assert len(NO_MISTAKES) > 10
    assert parse(BASE, "fwlb.toml").zones.keys() == {"inside", "dmz", "outside"}


@pytest.mark.parametrize("mistake", MISTAKES, ids=IDS)
def test_one_mistake_is_told_once_with_its_place_and_what_would_be_right(mistake: Mistake) -> None:
    (problem,) = problems_of(mistake.text)
    assert problem.message == mistake.message
    assert problem.hint == mistake.hint
    assert problem.where.key == mistake.key
    assert problem.where.file == "fwlb.toml"
    assert problem.where.line == mistake.line


@pytest.mark.parametrize("mistake", MISTAKES, ids=IDS)
def test_no_message_speaks_of_the_library_behind(mistake: Mistake) -> None:
    said = "\n".join(map(str, problems_of(mistake.text))).lower()
    for word in (
        "pydantic",
        "https://",
        "input should",
        "value error",
        "nonetype",
        "tuple",
        "dict",
    ):
        assert word not in said


@pytest.mark.parametrize("text", NO_MISTAKES)
def test_what_looks_like_a_mistake_but_is_none(text: str) -> None:
    assert parse(BASE + text, "fwlb.toml").node.name == "gw1"


def test_all_mistakes_are_told_at_once_in_the_order_of_lines() -> None:
    problems = problems_of(
        """
        [node]
        name = "gw1"
        rolls = []
        [zones.inside]
        interfaces = ["lan0"]
        networks = ["10.1.0.0/16", "10.1.2.0/24", "fd01::/64"]
        [zones.outside]
        interfaces = ["lan0"]
        [[allow]]
        from = "insid"
        to = "outside"
        services = ["tcp/x"]
        action = "maybe"
        [[nat]]
        from = "inside"
        to = "outside"
        ipv4_address = 7
        ipv6 = "snat"
        [relay]
        port = 21
        max_sessions = 0
        """
    )
    assert [(problem.where.line, problem.where.key) for problem in problems] == [
        (4, "node.rolls"),
        (7, "zones.inside.networks[1]"),
        (9, "zones.outside.interfaces[0]"),
        (11, "allow[0].from"),
        (13, "allow[0].services[0]"),
        (14, "allow[0].action"),
        (18, "nat[0].ipv4_address"),
        (19, "nat[0].ipv6"),
        (21, "relay.port"),
        (22, "relay.max_sessions"),
    ]


def test_what_rests_on_an_unreadable_value_is_not_guessed() -> None:
    """The networks of `inside` are unreadable, not absent; a missing zone may be the bad one."""
    problems = problems_of(
        """
        [node]
        name = "gw1"
        [zones.inside]
        interfaces = ["lan0"]
        networks = ["10.1.0.7/16"]
        [zones.outside]
        interfaces = ["wan0"]
        [[nat]]
        from = "inside"
        to = "outside"
        ipv4 = "masquerade"
        [[publish]]
        address = "203.0.113.1"
        port = 21
        to_address = "10.1.0.10"
        [helpers.ftp]
        enabled = "no"
        ports = []
        """
    )
    assert [problem.where.key for problem in problems] == [
        "zones.inside.networks[0]",
        "helpers.ftp.enabled",
    ]
    problems = problems_of('zones = "none"\nnode.name = "gw1"\n[[allow]]\nfrom="a"\nto="b"')
    assert [problem.where.key for problem in problems] == ["zones"]


def test_an_unknown_key_casts_no_doubt_on_the_entry_around_it() -> None:
    nat = '[[nat]]\nfrom = "inside"\nto = "outside"\n'
    problems = problems_of(BASE + nat + nat + "xyz = 1\n")
    assert [problem.where.key for problem in problems] == ["nat[1]", "nat[1].xyz"]


def test_every_service_that_overlaps_a_long_range_is_told() -> None:
    services = '["tcp/8000-8010", "tcp/8001", "tcp/8005", "tcp/8011"]'
    problems = problems_of(BASE + f'[[allow]]\nfrom = "inside"\nto = "dmz"\nservices = {services}')
    assert [problem.where.key for problem in problems] == [
        "allow[0].services[1]",
        "allow[0].services[2]",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "[relay]\nport = LONG_NUMBER",
        "[relay]\nidle_timeout_s = LONG_NUMBER",
        "[helpers.ftp]\nports = LONG_NUMBER",
        '[sysctl]\n"net.a" = LONG_NUMBER',
        '[policy]\nforward = "LONG_TEXT"',
        '[paths]\nstate = "LONG_TEXT"',
        "[LONG_TEXT]",
        '["a\\nb\\u0007"]',
        '[[allow]]\nfrom = "inside"\nto = "dmz"\nservices = ["a\\nb\\u0007"]',
        '[zones.x]\nnetworks = ["10.9.0.0/24"]\ninterfaces = ["a\\nb\\u0007"]',
    ],
)
def test_what_was_written_is_shown_short_printable_and_on_one_line(line: str) -> None:
    text = line.replace("LONG_NUMBER", f"0x{'f' * 5000}").replace("LONG_TEXT", "x" * 5000)
    (problem,) = problems_of(BASE + text)
    for shown in (problem.where.key or "", problem.message, problem.hint or ""):
        assert shown.isprintable()
        assert len(shown) < 200


def test_the_problems_print_one_below_the_other() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(BASE + "[relay]\nprot = 1\n[policy]\nxyz = 2", "/etc/fwlb/fwlb.toml")
    assert str(caught.value).splitlines() == [
        "/etc/fwlb/fwlb.toml:14: relay.prot: unknown key `prot`",
        "    did you mean `port`?",
        "/etc/fwlb/fwlb.toml:16: policy.xyz: unknown key `xyz`",
        "    keys here: `forward`, `input`",
        "2 mistakes in the configuration",
    ]
