"""Which reply answers which command: several lines, pipelining, transfers, ABOR and its quirks."""

from __future__ import annotations

from typing import Any

import pytest

from fwlb.helpers.ftp.state import EFFECTS, MOVES, UNBEGUN, UNGREETED, Happening, Kind, Phase

PORT = "PORT 192,0,2,1,19,137"
PASV_REPLY = "227 Entering Passive Mode (198,51,100,2,156,64)."
PASV_TOLD = ["offer 1 by server: 198.51.100.2:40000", "expect 1"]


def test_every_phase_that_is_read_can_end_and_none_comes_back() -> None:
    for phase in Phase:
        ends = MOVES.get((phase, Happening.READING_ENDED))
        assert ends is (None if phase is Phase.UNREAD else Phase.UNREAD)
        assert ((phase, Happening.FIRST_COMMAND) in MOVES) == (phase in UNBEGUN)
        assert ((phase, Happening.GREETING_ENDED) in MOVES) == (phase in UNGREETED)


def test_every_kind_of_command_has_an_effect() -> None:
    assert set(EFFECTS) == set(Kind)


def test_pipelined_commands_are_answered_in_order(session: Any) -> None:
    assert session.client("TYPE I", "PASV", "SIZE x", "RETR x", "NOOP") == []
    assert session.server("200 ok", PASV_REPLY) == PASV_TOLD
    assert session.server("213 5", "150 begins") == []
    assert session.server("226 done", "200 ok") == ["end 1: transfer over"]


def test_a_reply_of_several_lines_is_one_reply(session: Any) -> None:
    session.client("FEAT", "PASV")
    assert session.server("211-Features:", " EPSV", "227 (198,51,100,2,156,64)", "500 x") == []
    assert session.server("211-more", "211x", "211") == []
    assert session.server(PASV_REPLY) == PASV_TOLD


def test_lines_that_look_like_another_reply_belong_to_the_open_one(session: Any) -> None:
    session.client("STAT /", "PASV")
    assert session.server("213-listing of /", PASV_REPLY, "229 (|||40000|)", "213 end") == []
    assert session.server(PASV_REPLY) == PASV_TOLD


@pytest.mark.parametrize(
    "lines",
    [
        ["227-I am", "227 (198,51,100,2,156,64)"],
        ["227-(198,51,100,2,156,64)", "227 go"],
        ["227-well", " 198,51,100,2,156,64", "227-so", "226 what", "227 go"],
    ],
)
def test_a_227_of_several_lines_is_held_and_is_one_message(session: Any, lines: list[str]) -> None:
    session.client("PASV")
    assert session.server(*lines[:-1]) == []
    assert session.helper.buffered_bytes > 0
    assert session.server(lines[-1]) == PASV_TOLD
    assert session.offered().message == "".join(f"{line}\r\n" for line in lines).encode()
    changed = session.rewritten("203.0.113.7", 20480)
    assert changed == session.offered().message.replace(b"198,51,100,2,156,64", b"203,0,113,7,80,0")


def test_a_229_of_several_lines_is_held_too(session: Any) -> None:
    session.client("EPSV")
    assert session.server("229-(|||", "229 (|||40000|)") == PASV_TOLD


def test_stat_is_answered_in_the_middle_of_a_transfer(session: Any) -> None:
    session.ask("PASV", PASV_REPLY)
    session.ask("RETR x", "150 begins")
    assert session.ask("STAT", "211-status", " 50 %", "211 end") == []
    assert session.ask("NOOP", "200 ok") == []
    assert session.server("226 done") == ["end 1: transfer over"]


def test_stat_may_also_be_answered_after_the_transfer(session: Any) -> None:
    session.ask("PASV", PASV_REPLY)
    session.ask("RETR x", "150 begins")
    session.client("STAT")
    assert session.server("226 done") == ["end 1: transfer over"]
    assert session.server("211 idle") == []
    assert session.ask("EPSV", "229 (|||40001|)")[-1] == "expect 2"


@pytest.mark.parametrize(
    ("replies", "server"),
    [
        (["426 aborted", "226 abort successful"], "proftpd, pyftpdlib"),
        (["426 aborted", "225 no transfer"], "vsftpd"),
        (["226 complete", "226 abort successful"], "the transfer was faster"),
        (["226 complete", "225 nothing to abort"], "vsftpd, the transfer was faster"),
        (["226 complete", "500 what?"], "no ABOR at all"),
        (["225 aborted"], "pyftpdlib, when no byte had moved: one reply for both"),
        (["226 aborted"], "one reply for both"),
        (["426 aborted"], "one reply for both"),
        (["226 complete"], "pure-ftpd, the transfer was faster: none for ABOR"),
        (["226 complete", "426 aborted", "226 abort successful"], "three replies"),
        (["226 complete", "426 aborted"], "in the other order"),
        (["150-warning", "150 measured"], "pure-ftpd: no final reply for both"),
    ],
)
def test_abor_has_as_many_replies_as_there_are_servers(
    session: Any, replies: list[str], server: str
) -> None:
    """Whatever a server sends, the next transfers are understood."""
    session.ask("PASV", PASV_REPLY)
    session.ask("RETR x", "150 begins")
    session.client(b"\xff\xf4\xff\xf2ABOR\r\n")
    session.server(*replies)
    for port, command in ((40001, "RETR y"), (40002, "STOR z")):
        session.ask("TYPE I", "200 ok")
        session.ask("CWD missing", "550 no")
        number = port - 40000 + 1
        told = session.ask("EPSV", f"229 (|||{port}|)")
        assert told[-2:] == [
            f"offer {number} by server: 198.51.100.2:{port}",
            f"expect {number}",
        ], server
        assert session.ask(command, "150 begins") == []
        assert session.server("226 done") == [f"end {number}: transfer over"]


def test_abor_that_is_not_answered_at_all(session: Any) -> None:
    """pure-ftpd, when there is nothing to abort."""
    session.client("ABOR", "SIZE x", "PASV")
    assert session.server("550 no such file", PASV_REPLY) == PASV_TOLD
    assert len(session.helper._pending) == 0


def test_a_port_after_an_abor_that_is_not_answered(session: Any) -> None:
    session.client("ABOR", PORT, "RETR x")
    assert session.server("200 ok", "150 begins") == []
    assert session.server("226 done") == ["end 1: transfer over"]
    assert session.ask("PASV", PASV_REPLY)[0].startswith("offer 2")


def test_two_replies_to_abor_when_its_transfer_was_over_before(session: Any) -> None:
    session.client("ABOR", "NOOP", "PASV")
    assert session.server("426 aborted", "226 abort successful", "200 ok") == []
    assert session.server(PASV_REPLY) == PASV_TOLD


def test_any_number_of_aborts_without_a_final_reply(session: Any) -> None:
    """pure-ftpd again: what it never answers must not pile up."""
    for number in range(1, 200):
        assert session.ask("PASV", PASV_REPLY)[-1] == f"expect {number}"
        session.ask("RETR x", "150 begins")
        session.ask("ABOR", "150-warning", "150 measured")
        assert len(session.helper._pending) == 2


@pytest.mark.parametrize(
    "abort",
    [
        b"ABOR\r\n",
        b"\xff\xf4\xff\xf2ABOR\r\n",
        b"\xff\xf4\xf2ABOR\r\n",  # what is left where the urgent byte was cut out
        b"\xff\xf4\xffABOR\r\n",
        b"\xf2ABOR\r\n",
        b"\xff\xf4\xff\xf2abor \n",
    ],
)
def test_abor_in_all_its_clothes_ends_the_channel(session: Any, abort: bytes) -> None:
    session.ask("PASV", PASV_REPLY)
    session.client(abort)
    assert session.server("225 aborted") == ["end 1: aborted"]


def test_replies_that_nobody_asked_for_pass(session: Any) -> None:
    assert session.server("200 hello", "150 hm", "550 no", "226-", "226 done") == []
    assert session.ask("PASV", PASV_REPLY) == PASV_TOLD


def test_preliminary_replies_do_not_answer(session: Any) -> None:
    session.client("PASV")
    assert session.server("110 restart marker", "120 wait", "150 hm", PASV_REPLY) == PASV_TOLD


def test_a_session_of_many_commands_remembers_none_of_them(session: Any) -> None:
    for _ in range(1000):
        session.ask("PASV", PASV_REPLY)
        session.ask("RETR x", "150 begins", "226 done")
    assert len(session.helper._pending) == 0
    assert session.helper.buffered_bytes == 0


def test_an_offer_that_is_passed_by_is_not_forgotten(session: Any) -> None:
    """A server that answers PASV before PORT: the offer still has its reply to come."""
    session.client(PORT, "PASV")
    session.server(PASV_REPLY)
    assert session.server("500 no") == ["end 1: refused by server"]
