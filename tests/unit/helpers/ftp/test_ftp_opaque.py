"""Streams that are not FTP, stop being FTP, or stop being readable."""

from __future__ import annotations

from typing import Any

import pytest

from fwlb.helpers.ftp import FtpLimits
from fwlb.helpers.ftp.commands import FIRST_VERBS, may_begin, may_greet
from fwlb.model import Side

PORT = "PORT 192,0,2,1,19,137"
PASV_REPLY = "227 Entering Passive Mode (198,51,100,2,156,64)."
CLIENT_HELLO = bytes.fromhex("16030102000100 01fc0303") + bytes(range(64))
HTTP = b"POST / HTTP/1.1\r\nHost: x\r\n\r\n" + PORT.encode() + b"\r\n"


@pytest.mark.parametrize(
    "greeting",
    [
        b"220 ready\r\n",
        b"220\r\n",
        b"220 bare\n",
        b"220-one\r\n two\r\n227 (198,51,100,2,156,64)\r\n220 three\r\n",
        b"120 wait\r\n220 ready\r\n",
        b"120-wait\r\n120 a minute\r\n220 ready\r\n",
        b"421 too many users\r\n",
        b"530 not you\r\n",
        b"500 OOPS\r\n",
    ],
)
def test_greetings(fresh: Any, greeting: bytes) -> None:
    assert fresh.server(greeting) == []
    assert fresh.client("USER a") == []
    assert fresh.server("230 welcome") == []
    assert fresh.ask("PASV", PASV_REPLY)[-1] == "expect 1"


@pytest.mark.parametrize(
    "greeting",
    [
        b"200 news server ready\r\n",
        b"227 (198,51,100,2,156,64)\r\n",
        b"221 bye\r\n",
        b"150 x\r\n",
        b"331 x\r\n",
        b"+OK POP3\r\n",
        b"* OK IMAP\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 400 Bad Request\r\n",
        b"2200 ready\r\n",
        b"220+ready\r\n",
        b"22\r\n",
        b" 220 ready\r\n",
        b"\r\n220 ready\r\n",
        CLIENT_HELLO,
        b"S",  # known at the first wrong byte, nothing is kept waiting
        b"4a",
    ],
)
def test_what_is_no_greeting(fresh: Any, greeting: bytes) -> None:
    assert fresh.server(greeting) == ["opaque: not-this-protocol"]
    assert fresh.helper.buffered_bytes == 0
    assert fresh.ask("PASV", PASV_REPLY) == []


@pytest.mark.parametrize(
    "first",
    [
        HTTP,
        b"GET / HTTP/1.0\r\n",
        b"PUT /x HTTP/1.1\r\n",
        b"HEAD / HTTP/1.1\r\n",
        b"OPTIONS rtsp://x RTSP/1.0\r\n",
        b"EHLO x\r\n",
        b"SSH-2.0-x\r\n",
        b"USERS x\r\n",
        b"\r\n",
        b"   \r\n",
        b"USER\x00\r\n",
        CLIENT_HELLO,
        b"\x16",
        b"GE",
    ],
)
@pytest.mark.parametrize("greeted", [True, False])
def test_what_no_ftp_client_starts_with(fresh: Any, greeted: bool, first: bytes) -> None:
    if greeted:
        fresh.server("220 ready")
    assert fresh.client(first) == ["opaque: not-this-protocol"]
    assert fresh.helper.buffered_bytes == 0
    assert fresh.client(PORT) == []
    assert fresh.server("220 ready", PASV_REPLY) == []


def test_the_partial_line_of_the_other_side_is_not_lost(fresh: Any) -> None:
    fresh.server(b"220-we")
    assert fresh.client(b"GET /") == ["opaque: not-this-protocol"]
    assert fresh.returned(Side.SERVER) == b"220-we"
    assert fresh.returned(Side.CLIENT) == b"GET /"


@pytest.mark.parametrize("verb", sorted(FIRST_VERBS))
def test_a_session_may_start_with_any_registered_verb(fresh: Any, verb: bytes) -> None:
    fresh.server("220 ready")
    assert "opaque: not-this-protocol" not in fresh.client(verb.lower() + b" x\r\n")
    assert may_begin(verb)
    assert not may_begin(verb + b"E")


def test_later_commands_may_be_anything_printable(session: Any) -> None:
    for command in ("XSHA256 x", "GET x", "site-specific 1", "!", "POST / HTTP/1.1"):
        assert session.ask(command, "500 what?") == []


def test_lftp_sends_commands_ahead_of_the_greeting(fresh: Any) -> None:
    assert fresh.client("FEAT", "USER a", "PASV") == []
    assert fresh.server("120 wait", "220 ready") == []
    assert fresh.server("211 none", "230 welcome", PASV_REPLY)[-1] == "expect 1"


@pytest.mark.parametrize("text", [b"", b"2", b"22", b"220", b"120-", b"5", b"53", b"530 "])
def test_the_start_of_a_greeting_may_become_one(text: bytes) -> None:
    assert may_greet(text)


class TestAuth:
    """RFC 4217 and RFC 2228: after AUTH is accepted nobody can read along."""

    @pytest.mark.parametrize(
        ("command", "reply", "why"),
        [
            ("AUTH TLS", "234 go ahead", "AUTH TLS"),
            ("auth tls ", "234 go ahead", "AUTH TLS"),
            ("AUTH TLS-C", "234 go ahead", "AUTH TLS-C"),
            ("AUTH SSL", "334 go ahead", "AUTH SSL"),
            ("AUTH GSSAPI", "334 token please", "AUTH GSSAPI"),
            ("AUTH TLS", "200 fine", "AUTH TLS"),
            ("AUTH", "234 go ahead", "AUTH "),
            ("AUTH \x1b[2J", "234 go ahead", r"AUTH \x1b[2J"),
        ],
    )
    def test_accepted(self, session: Any, command: str, reply: str, why: str) -> None:
        assert session.ask(command, reply) == [f"opaque: {why}"]
        assert session.client(CLIENT_HELLO) == []
        assert session.server(CLIENT_HELLO) == []
        assert session.ask("CCC", "200 clear again") == []
        assert session.ask("PASV", PASV_REPLY) == []

    @pytest.mark.parametrize("reply", ["500 what?", "504 no", "431 not now", "534 no"])
    def test_refused(self, session: Any, reply: str) -> None:
        assert session.ask("AUTH TLS", reply) == []
        assert session.ask("PASV", PASV_REPLY)[-1] == "expect 1"

    def test_the_whole_reply_is_passed_first_and_nothing_after_it_is_lost(
        self, session: Any
    ) -> None:
        session.client("AUTH TLS", b"\x16\x03")
        assert session.server("234-go", "234 ahead", b"\x16\x03\x03") == ["opaque: AUTH TLS"]
        assert session.returned(Side.CLIENT).endswith(b"AUTH TLS\r\n\x16\x03")
        assert session.events[-1].message == b"\x16\x03\x03"
        assert session.helper.buffered_bytes == 0

    def test_open_channels_end(self, session: Any) -> None:
        session.ask("PASV", PASV_REPLY)
        session.client("AUTH TLS", PORT)
        assert session.server("234 go") == [
            "end 1: control connection is not read any more",
            "end 2: control connection is not read any more",
            "opaque: AUTH TLS",
        ]


@pytest.mark.parametrize(
    "line",
    [
        b"NO\x00OP\r\n",
        b"\x00",
        b"RETR a\rPORT 192,0,2,1,19,137\r\n",
        b"\r\n",
        b" \r\n",
        b"\x80\x81\r\n",
        b"NOOP\x80\r\n",
        b"NOOP\xff\xfd\n",  # IAC DO LF
    ],
)
def test_garbled_commands(session: Any, line: bytes) -> None:
    assert session.client(line) == ["opaque: garbled"]
    assert session.returned(Side.CLIENT).endswith(line)
    assert session.ask("PASV", PASV_REPLY) == []


@pytest.mark.parametrize(
    "line",
    [
        b"hello\r\n",
        b"\r\n",
        b"20 x\r\n",
        b"2000 x\r\n",
        b"020 x\r\n",
        b"600 x\r\n",
        b"631 x\r\n",
        b"200+x\r\n",
        b"200 \x00\r\n",
        b"200 \xff\xfd\n",
        b" 200 x\r\n",
    ],
)
def test_garbled_replies(session: Any, line: bytes) -> None:
    assert session.server(line) == ["opaque: garbled"]
    assert session.returned(Side.SERVER).endswith(line)
    assert session.ask("PASV", PASV_REPLY) == []


def test_what_was_sent_after_the_garbled_line_is_passed_unread(session: Any) -> None:
    assert session.client("NOOP", b"\x00\r\n", PORT) == ["opaque: garbled"]
    assert session.events[-1].message == b"\x00\r\n" + PORT.encode() + b"\r\n"


class TestLimits:
    """Longer or more than the limits: no FTP."""

    LIMITS = FtpLimits(max_line_bytes=64, max_pending_commands=3)

    @pytest.fixture
    def small(self, with_limits: Any) -> Any:
        dialogue = with_limits(self.LIMITS)
        dialogue.server("220 ready")
        return dialogue

    @pytest.mark.parametrize("piece_bytes", [1, 7, 1000])
    def test_line_length(self, small: Any, piece_bytes: int) -> None:
        fits = b"RETR " + b"x" * 57 + b"\r\n"
        for start in range(0, len(fits), piece_bytes):
            assert small.client(fits[start : start + piece_bytes]) == []
        too_long = b"RETR " + b"x" * 58 + b"\r\n"
        told = []
        for start in range(0, len(too_long), piece_bytes):
            told += small.client(too_long[start : start + piece_bytes])
        assert told == ["opaque: line-too-long"]

    def test_a_nul_behind_the_limit_comes_too_late(self, small: Any) -> None:
        """Whichever of the two mistakes comes first in the stream, however it is split."""
        assert small.client(b"RETR " + b"x" * 60 + b"\x00\r\n") == ["opaque: line-too-long"]

    def test_a_line_without_end(self, small: Any) -> None:
        assert small.server(b"200 " + b"x" * 60) == []
        assert small.server(b"x") == ["opaque: line-too-long"]

    def test_a_227_of_many_lines(self, small: Any) -> None:
        small.client("PASV")
        small.server("227-" + "x" * 40)
        assert small.server("227 (198,51,100,2,156,64)") == ["opaque: line-too-long"]
        assert small.returned(Side.SERVER).endswith(b"(198,51,100,2,156,64)\r\n")

    def test_pending_commands(self, small: Any) -> None:
        assert small.client("NOOP", "NOOP", "NOOP") == []
        assert small.server("200 ok") == []
        assert small.client("NOOP") == []
        assert small.client(PORT) == ["opaque: too-many-pending-commands"]
        assert small.returned(Side.CLIENT).endswith(PORT.encode() + b"\r\n")
