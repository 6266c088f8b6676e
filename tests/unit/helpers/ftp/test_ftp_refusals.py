"""What is never opened, with what is sent instead; and how `EPSV ALL` forbids the rest."""

from __future__ import annotations

from typing import Any

import pytest

from fwlb.helpers.ftp import FtpLimits
from fwlb.helpers.ftp.commands import ReplyLines
from fwlb.helpers.ftp.lines import Line

PASV_REPLY = "227 Entering Passive Mode (198,51,100,2,156,64)."


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("PORT 192,0,2,9,19,137", "third-party-address"),
        ("PORT 198,51,100,2,19,137", "third-party-address"),
        ("PORT 0,0,0,0,19,137", "bad-address"),
        ("PORT 127,0,0,1,19,137", "bad-address"),
        ("PORT 224,0,0,1,19,137", "bad-address"),
        ("PORT 192,0,2,1,0,22", "port-below-1024"),
        ("PORT 192,0,2,1,0,0", "port-below-1024"),
        ("PORT 192,0,2,1,13,61", "denied-port"),
        ("PORT 192,0,2,1,999,64", "bad-number"),
        ("PORT 1,2,3", "bad-number"),
        ("PORT", "bad-number"),
        ("PORT,192,0,2,1,19,137", None),  # that is another verb
        ("EPRT |1|192.0.2.9|5001|", "third-party-address"),
        ("EPRT |1|198.51.100.2|5001|", "third-party-address"),
        ("EPRT |2|2001:db8::2|5001|", "third-party-address"),
        ("EPRT |2|fe80::1|5001|", "bad-address"),
        ("EPRT |2|::|5001|", "bad-address"),
        ("EPRT |1|192.0.2.1|22|", "port-below-1024"),
        ("EPRT |1|192.0.2.1|3389|", "denied-port"),
        ("EPRT |3|192.0.2.1|5001|", "wrong-address-family"),
        ("EPRT |1|192.0.2.1|65536|", "bad-number"),
        ("EPRT", "bad-number"),
    ],
)
def test_offers_that_are_refused(with_limits: Any, command: str, reason: str | None) -> None:
    session = with_limits(FtpLimits(denied_ports=frozenset({3389})))
    session.server("220 ready")
    session.ask("USER a", "230 welcome")
    assert session.client(command) == ([f"refuse client: {reason}"] if reason else [])
    if reason:
        verb = command[:4].encode()
        assert session.refused().substitute == verb + b"\r\n"
        assert session.refused().message == command.encode() + b"\r\n"
    assert session.server("501 no") == []
    assert session.ask("PASV", PASV_REPLY)[-1] == "expect 1"


def test_a_family_that_the_party_does_not_have(fresh: Any) -> None:
    only_v4 = type(fresh.helper)(
        client_addresses=frozenset(a for a in fresh.helper._client_addresses if a.version == 4),
        server_addresses=frozenset(a for a in fresh.helper._server_addresses if a.version == 6),
        limits=FtpLimits(),
    )
    fresh.helper = only_v4
    fresh.server("220 ready")
    assert fresh.client("EPRT |2|2001:db8::1|5001|") == ["refuse client: wrong-address-family"]
    fresh.server("522 no")
    assert fresh.ask("PASV", PASV_REPLY) == ["refuse server: wrong-address-family"]
    assert fresh.ask("EPSV 1", "229 (|||40000|)") == [
        "offer 1 by server: [2001:db8:1::2]:40000",
        "expect 1",
    ]


@pytest.mark.parametrize(
    ("command", "reply", "reason"),
    [
        ("PASV", "227 (198,51,100,9,156,64)", "third-party-address"),
        ("PASV", "227 (192,0,2,1,156,64)", "third-party-address"),
        ("PASV", "227 (10,0,0,1,156,64)", "third-party-address"),
        ("PASV", "227 (0,0,0,0,156,64)", "bad-address"),
        ("PASV", "227 (127,0,0,1,156,64)", "bad-address"),
        ("PASV", "227 (239,1,1,1,156,64)", "bad-address"),
        ("PASV", "227 (198,51,100,2,0,22)", "port-below-1024"),
        ("PASV", "227 (198,51,100,2,13,61)", "denied-port"),
        ("PASV", "227 (198,51,100,2,256,0)", "bad-number"),
        ("PASV", "227 ok", "bad-number"),
        ("PASV", "229 (|||40000|)", "unsolicited-reply"),
        ("EPSV", "227 (198,51,100,2,156,64)", "unsolicited-reply"),
        ("EPSV", "229 (|||22|)", "port-below-1024"),
        ("EPSV", "229 (|||3389|)", "denied-port"),
        ("EPSV", "229 (|||x|)", "bad-number"),
        ("EPSV ALL", "229 (|||40000|)", "unsolicited-reply"),
        ("NOOP", "227 (198,51,100,2,156,64)", "unsolicited-reply"),
        ("NOOP", "229 (|||40000|)", "unsolicited-reply"),
        ("LPSV", "227 (198,51,100,2,156,64)", "unsolicited-reply"),
    ],
)
def test_passive_replies_that_are_refused(
    with_limits: Any, command: str, reply: str, reason: str
) -> None:
    session = with_limits(FtpLimits(denied_ports=frozenset({3389})))
    session.server("220 ready")
    assert session.ask(command, reply) == [f"refuse server: {reason}"]
    refused = session.refused()
    assert refused.message == reply.encode() + b"\r\n"
    assert len(session.helper._pending) == 0
    assert_is_one_final_error(refused.substitute)


def test_an_unsolicited_passive_reply_opens_nothing(session: Any) -> None:
    assert session.server(PASV_REPLY) == ["refuse server: unsolicited-reply"]
    assert session.ask("PASV", "500 no") == []
    assert session.server(PASV_REPLY) == ["refuse server: unsolicited-reply"]


def test_an_unsolicited_passive_reply_leaves_the_channel(session: Any) -> None:
    session.ask("PASV", PASV_REPLY)
    assert session.ask("NOOP", PASV_REPLY) == ["refuse server: unsolicited-reply"]
    assert session.ask("RETR x", "226 done") == ["end 1: transfer over"]


def test_a_refused_reply_of_several_lines_has_one_substitute(session: Any) -> None:
    session.client("PASV")
    assert session.server("227-well", "227 (10,0,0,1,156,64)") == [
        "refuse server: third-party-address"
    ]
    assert session.refused().message == b"227-well\r\n227 (10,0,0,1,156,64)\r\n"
    assert_is_one_final_error(session.refused().substitute)


def test_the_detail_says_what_was_asked_without_control_characters(session: Any) -> None:
    session.client(b"PORT \x1b[2J\r\n")
    assert session.refused().detail == r"PORT \x1b[2J: PORT wants h1,h2,h3,h4,p1,p2"
    session.client("PORT " + "1" * 3000)
    assert len(session.refused().detail) < 150


class TestEpsvAll:
    """RFC 2428 section 4: after `EPSV ALL` nothing but EPSV."""

    @pytest.mark.parametrize(
        ("command", "substitute"),
        [
            ("PORT 192,0,2,1,19,137", b"PORT\r\n"),
            ("EPRT |1|192.0.2.1|5001|", b"EPRT\r\n"),
            ("PASV", b"PORT\r\n"),
        ],
    )
    @pytest.mark.parametrize("epsv_all", ["EPSV ALL", "epsv  all "])
    def test_nothing_else_is_allowed(
        self, session: Any, epsv_all: str, command: str, substitute: bytes
    ) -> None:
        assert session.ask(epsv_all, "200 ok") == []
        assert session.client(command) == ["refuse client: not-allowed-after-epsv-all"]
        assert session.refused().substitute == substitute
        assert session.server("501 no") == []
        assert session.ask("EPSV", "229 (|||40000|)")[-1] == "expect 1"

    def test_a_server_that_answers_pasv_all_the_same(self, session: Any) -> None:
        session.ask("EPSV ALL", "200 ok")
        session.client("PASV")
        assert session.server(PASV_REPLY) == ["refuse server: not-allowed-after-epsv-all"]

    @pytest.mark.parametrize("reply", ["500 what?", "501 no", "522 no"])
    def test_it_counts_only_when_the_server_accepts(self, session: Any, reply: str) -> None:
        session.ask("EPSV ALL", reply)
        assert session.ask("PASV", PASV_REPLY)[-1] == "expect 1"


def assert_is_one_final_error(substitute: bytes) -> None:
    code, last = ReplyLines().read(Line.of(substitute)) or (0, False)
    assert last
    assert code // 100 in (4, 5)
    assert substitute.endswith(b"\r\n")
    assert substitute.count(b"\n") == 1
