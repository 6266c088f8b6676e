"""The parts of the demonstration that need no lab: cases, results, narration, configuration."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from fwlb.config.load import parse
from fwlb.config.lookup import ZoneTable
from fwlb.lab import demo
from fwlb.lab.cases import CASES, Case, Result, as_json, outcome, summary
from fwlb.lab.narration import EventFeed, Narrator, event_line
from fwlb.lab.transfers import Transfer
from fwlb.model import Protocol

WORKED = Transfer(True, 4096, 0.05, 0, ("USER anonymous", "PASV", "RETR x"), "226 done")
BLOCKED = Transfer(False, 0, 2.5, 28, ("USER anonymous", "PASV"), "curl: (28) timed out")
NO_LOGIN = Transfer(False, 0, 2.5, 28, (), "curl: (28) timed out")


def printed(results: list[Result], width: int = 80) -> str:
    sink = io.StringIO()
    Console(file=sink, width=width).print(summary(results))
    return sink.getvalue()


class TestCases:
    def test_they_cover_every_way(self) -> None:
        assert len(CASES) == len(set(CASES)) == 8
        assert {case.mode for case in CASES if case.family == 4} == {"pasv", "epsv", "port", "eprt"}
        assert {case.mode for case in CASES if case.family == 6} == {"epsv", "eprt"}
        assert {case.mode for case in CASES if case.upload} == {"pasv", "port"}

    @pytest.mark.parametrize(
        ("without", "with_fwlb", "expected"),
        [
            (BLOCKED, WORKED, True),
            (BLOCKED, BLOCKED, False),
            (WORKED, WORKED, False),
            (NO_LOGIN, WORKED, False),
        ],
    )
    def test_only_blocked_without_and_working_with_is_success(
        self, without: Transfer, with_fwlb: Transfer, expected: bool
    ) -> None:
        assert Result(Case(4, "pasv"), without, with_fwlb).as_expected is expected

    def test_a_client_that_used_another_command_was_not_blocked(self) -> None:
        assert not Result(Case(4, "port"), BLOCKED, WORKED).blocked

    def test_outcome(self) -> None:
        assert outcome(WORKED) == "4,096 bytes in 0.05 s"
        assert outcome(BLOCKED) == "failed after 2.50 s: curl: (28) timed out"
        long = Transfer(False, 0, 1.0, 1, (), "x" * 100 + "\nsecond line")
        assert outcome(long).endswith("x...")
        assert len(outcome(long)) < 80

    def test_summary_fits_80_columns_and_shouts_when_something_is_wrong(self) -> None:
        good = printed([Result(Case(4, "pasv", upload=True), BLOCKED, WORKED)])
        assert "IPv4 PASV upload" in good
        assert "fails" in good
        assert "works" in good
        assert "4,096" in good
        bad = printed(
            [
                Result(Case(4, "pasv"), WORKED, BLOCKED),
                Result(Case(4, "pasv"), NO_LOGIN, WORKED),
            ]
        )
        assert all(word in bad for word in ("WORKS", "FAILS", "no login"))
        assert max(map(len, (good + bad).splitlines())) <= 80

    def test_json_can_be_written(self) -> None:
        (answer,) = json.loads(json.dumps(as_json([Result(Case(6, "epsv"), BLOCKED, WORKED)])))
        assert answer["name"] == "IPv6 EPSV download"
        assert answer["with_fwlb"]["moved_bytes"] == 4096


class TestNarration:
    def test_text_is_printed_as_it_is(self) -> None:
        sink = io.StringIO()
        say = Narrator(Console(file=sink, width=20))
        say.step("[bold]not markup[/] and " + "long " * 10)
        say.detail("one\ntwo\n")
        lines = sink.getvalue().splitlines()
        assert lines[0].strip().startswith("0.00 s  [bold]not markup[/] and long")
        assert lines[1:] == [" " * 10 + "one", " " * 10 + "two"]

    def test_event_line(self) -> None:
        event = {"time": "t", "level": "info", "event": "pinhole-opened", "session": "s", "n": 1}
        assert event_line(event) == "pinhole-opened    n=1"
        assert event_line({"event": "session-opened"}) == "session-opened"


class TestEventFeed:
    @pytest.fixture
    def log(self, tmp_path: Path) -> Path:
        (tmp_path / "log").touch()
        return tmp_path / "log"

    @staticmethod
    def write(log: Path, *events: str, rest: str = "") -> None:
        with log.open("a") as file:
            for name in events:
                file.write(json.dumps({"event": name, "session": "s"}) + "\n")
            file.write(rest)

    def test_each_event_comes_once_and_other_lines_do_not(self, log: Path) -> None:
        feed = EventFeed(log)
        self.write(
            log, "session-opened", "session-closed", rest='applied\n{"event": "ready"}\n{x\n'
        )
        names = [event["event"] for event in feed.until("session-closed", 0.0)]
        assert names == ["session-opened", "session-closed"]
        assert feed.until("session-closed", 0.0) == []

    def test_half_a_line_waits_for_its_end(self, log: Path) -> None:
        feed = EventFeed(log)
        self.write(log, rest='{"event": "session-')
        assert feed.until("session-closed", 0.0) == []
        self.write(log, rest='closed", "session": "s"}\n')
        assert len(feed.until("session-closed", 0.0)) == 1

    def test_it_gives_what_came_in_time(self, log: Path) -> None:
        feed = EventFeed(log)
        self.write(log, "session-opened")
        assert len(feed.until("session-closed", 0.05)) == 1


class TestConfiguration:
    @pytest.mark.parametrize("helper", [True, False])
    def test_it_is_valid_and_allows_only_the_control_connection(self, helper: bool) -> None:
        config = parse(demo.configuration(Path("/somewhere"), helper=helper), "demo.toml")
        assert config.helpers.ftp.enabled is helper
        assert config.policy.forward == "drop"
        assert config.paths.runtime == Path("/somewhere/run")
        zones = ZoneTable(config)
        assert zones.action("inside", "outside", Protocol.TCP, 21) == "accept"
        assert zones.action("inside", "outside", Protocol.TCP, 40000) == "drop"
        assert zones.action("outside", "inside", Protocol.TCP, 40000) == "drop"
