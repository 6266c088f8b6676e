"""When a channel is offered, expected and over."""

from __future__ import annotations

from typing import Any

import pytest

from fwlb.model import Side

PORT = "PORT 192,0,2,1,19,137"
PORT_OFFER = "offer 1 by client: 192.0.2.1:5001"
PASV_REPLY = "227 Entering Passive Mode (198,51,100,2,156,64)."
PASV_OFFER = "offer 1 by server: 198.51.100.2:40000"


def test_passive(session: Any) -> None:
    assert session.ask("PASV", PASV_REPLY) == [PASV_OFFER, "expect 1"]
    assert session.ask("RETR x", "150 here it comes") == []
    assert session.server("226 done") == ["end 1: transfer over"]
    assert session.ask("PASV", PASV_REPLY)[0].startswith("offer 2 by server")


def test_extended_passive_has_the_lowest_address_of_the_server(session: Any) -> None:
    assert session.ask("EPSV", "229 ok (|||40000|)") == [PASV_OFFER, "expect 1"]
    assert session.rewritten("203.0.113.7", 20480) == b"229 ok (|||20480|)\r\n"


@pytest.mark.parametrize(
    ("command", "offer"),
    [
        ("EPSV 1", "offer 1 by server: 198.51.100.2:40000"),
        ("EPSV 2", "offer 1 by server: [2001:db8:1::2]:40000"),
        ("epsv  2 ", "offer 1 by server: [2001:db8:1::2]:40000"),
        ("EPSV 7", "offer 1 by server: 198.51.100.2:40000"),
    ],
)
def test_epsv_may_ask_for_a_family(session: Any, command: str, offer: str) -> None:
    assert session.ask(command, "229 ok (|||40000|)") == [offer, "expect 1"]


def test_a_published_server_may_name_either_of_its_addresses(session: Any) -> None:
    told = session.ask("PASV", "227 ok (203,0,113,7,156,64)")
    assert told == ["offer 1 by server: 203.0.113.7:40000", "expect 1"]


@pytest.mark.parametrize(
    ("command", "endpoint"),
    [
        (PORT, "192.0.2.1:5001"),
        ("port 192,0,2,1,19,137", "192.0.2.1:5001"),
        ("PORT    192,0,2,1,19,137   ", "192.0.2.1:5001"),
        ("  PORT\t192,0,2,1,19,137", "192.0.2.1:5001"),
        ("EPRT |1|192.0.2.1|5001|", "192.0.2.1:5001"),
        ("eprt !2!2001:db8::1!5001!", "[2001:db8::1]:5001"),
    ],
)
def test_active(session: Any, command: str, endpoint: str) -> None:
    assert session.client(command) == [f"offer 1 by client: {endpoint}", "expect 1"]
    assert session.server("200 ok") == []
    assert session.ask("STOR x", "150 go on", "226 done") == ["end 1: transfer over"]


def test_active_is_rewritten_in_place(session: Any) -> None:
    session.client(b"\xff\xf1port  192,0,2,1,19,137 \n")
    assert session.rewritten("203.0.113.9", 20480) == b"\xff\xf1port  203,0,113,9,80,0 \n"
    assert session.offered().substitute == b"PORT\r\n"
    session.server("500 no")
    session.client("EPRT |2|2001:db8::1|5001|")
    assert session.rewritten("2001:db8::5", 9) == b"EPRT |2|2001:db8::5|9|\r\n"
    assert session.offered().substitute == b"EPRT\r\n"


def test_before_the_login_the_server_has_to_accept_first(fresh: Any) -> None:
    fresh.server("220 ready")
    assert fresh.client(PORT) == [PORT_OFFER]
    assert fresh.server("200 ok") == ["expect 1"]


@pytest.mark.parametrize("reply", ["331 password please", "200 hm", "530 not you"])
def test_a_reply_that_is_no_login_does_not_count_as_one(fresh: Any, reply: str) -> None:
    fresh.server("220 ready")
    fresh.ask("USER a", reply)
    assert fresh.client(PORT) == [PORT_OFFER]


def test_of_several_waiting_offers_only_the_first_is_expected_at_once(session: Any) -> None:
    assert session.client(PORT, PORT) == [
        PORT_OFFER,
        "expect 1",
        "offer 2 by client: 192.0.2.1:5001",
    ]
    assert session.server("200 ok", "200 ok") == ["end 1: replaced", "expect 2"]


def test_pyftpdlib_begins_the_transfer_before_it_answers_port(session: Any) -> None:
    assert session.client(PORT, "RETR x") == [PORT_OFFER, "expect 1"]
    assert session.server("150 coming", "200 connected") == []
    assert session.server("226 done") == ["end 1: transfer over"]


def test_a_transfer_that_began_before_the_answer_to_port_may_fail(session: Any) -> None:
    session.client(PORT, "RETR x")
    assert session.server("150 coming", "200 connected") == []
    assert session.server("451 disk") == ["end 1: transfer over"]


@pytest.mark.parametrize("reply", ["500 no", "425 no", "530 log in", "522 (1,2)", "350 what?"])
def test_an_offer_that_the_server_refuses_is_over(session: Any, reply: str) -> None:
    assert session.ask(PORT, reply) == [PORT_OFFER, "expect 1", "end 1: refused by server"]


def test_a_refused_offer_leaves_the_former_channel(session: Any) -> None:
    session.ask("PASV", PASV_REPLY)
    assert session.ask(PORT, "500 no")[-1] == "end 2: refused by server"
    assert session.ask("RETR x", "226 done") == ["end 1: transfer over"]


@pytest.mark.parametrize("reply", ["500 no", "421 bye", "425 no", "200 what?"])
def test_pasv_without_227_leaves_nothing_open(session: Any, reply: str) -> None:
    assert session.ask("PASV", reply) == []


def test_a_new_channel_replaces_the_former(session: Any) -> None:
    session.ask("PASV", PASV_REPLY)
    assert session.ask("EPSV", "229 ok (|||40001|)") == [
        "end 1: replaced",
        "offer 2 by server: 198.51.100.2:40001",
        "expect 2",
    ]
    assert session.ask(PORT, "200 ok")[-1] == "end 2: replaced"
    assert session.ask("PASV", PASV_REPLY)[0] == "end 3: replaced"
    assert session.ask("LPRT 4,4,192,0,2,1,2,19,137", "200 ok") == ["end 4: replaced"]


def test_a_refused_passive_reply_replaces_the_former_channel_as_well(session: Any) -> None:
    session.ask("PASV", PASV_REPLY)
    assert session.ask("PASV", "227 (198,51,100,2,0,22)") == [
        "end 1: replaced",
        "refuse server: port-below-1024",
    ]


def test_a_refused_port_that_the_server_took_replaces_the_former_channel(session: Any) -> None:
    session.ask("PASV", PASV_REPLY)
    assert session.client("PORT 192,0,2,1,0,22") == ["refuse client: port-below-1024"]
    assert session.server("200 I do not mind") == ["end 1: replaced"]


@pytest.mark.parametrize(
    "verb", ["RETR x", "STOR x", "STOU", "APPE x", "LIST", "NLST", "MLSD", "list -la"]
)
@pytest.mark.parametrize("final", ["226 done", "250 done", "426 broken", "451 disk", "552 full"])
def test_the_final_reply_to_a_transfer_ends_its_channel(
    session: Any, verb: str, final: str
) -> None:
    session.ask("PASV", PASV_REPLY)
    assert session.ask(verb, "150 begins") == []
    assert session.server(final) == ["end 1: transfer over"]


def test_an_unknown_verb_that_is_answered_150_is_a_transfer(session: Any) -> None:
    session.ask("PASV", PASV_REPLY)
    assert session.ask("THMB JPG 1 1 x", "150 begins", "226 done") == ["end 1: transfer over"]


def test_commands_without_a_transfer_leave_the_channel(session: Any) -> None:
    session.ask("PASV", PASV_REPLY)
    for command, *replies in (
        ("TYPE I", "200 ok"),
        ("REST 100", "350 ok"),
        ("SIZE x", "213 5"),
        ("MLST x", "250-listing", " type=file; x", "250 end"),
        ("RNFR x", "350 ok"),
        ("RNTO y", "250 ok"),
        ("SITE CHMOD 644 x", "200 ok"),
        ("XCRC x", "250 1234"),
        ("STAT", "211 ok"),
        ("CWD /", "250 ok"),
        ("DELE x", "550 no"),
    ):
        assert session.ask(command, *replies) == []
    assert session.ask("RETR x", "150 begins", "226 done") == ["end 1: transfer over"]


def test_a_transfer_that_never_began_leaves_the_channel(session: Any) -> None:
    session.ask("PASV", PASV_REPLY)
    assert session.ask("RETR missing", "550 no such file") == []
    assert session.ask("RETR tape", "110 restart marker", "120 in a minute", "551 no tape") == []
    assert session.ask("LIST", "150 begins", "226 done") == ["end 1: transfer over"]


@pytest.mark.parametrize("reply", ["425 cannot connect", "426 broken", "226 done", "250 done"])
def test_a_transfer_without_preliminary_reply_still_ends(session: Any, reply: str) -> None:
    session.ask("PASV", PASV_REPLY)
    assert session.ask("RETR x", reply) == ["end 1: transfer over"]


@pytest.mark.parametrize(
    ("command", "replies", "why"),
    [
        ("QUIT", ["221 bye"], "session reset or over"),
        ("REIN", ["120 wait", "220 ready"], "session reset or over"),
        ("ABOR", ["225 nothing to abort"], "aborted"),
        ("NOOP", ["421 idle for too long"], "server closes the session"),
    ],
)
def test_what_else_ends_a_channel(session: Any, command: str, replies: list[str], why: str) -> None:
    session.ask("PASV", PASV_REPLY)
    assert session.ask(command, *replies) == [f"end 1: {why}"]


def test_421_without_a_command_ends_offers_as_well(session: Any) -> None:
    session.ask("PASV", PASV_REPLY)
    assert session.server("421 shutting down") == ["end 1: server closes the session"]
    session.client(PORT, PORT)
    assert session.server("421 shutting down") == [
        "end 2: refused by server",
        "end 3: server closes the session",
    ]
    assert session.server("200 ok") == []  # the offer that it answers is over


@pytest.mark.parametrize("side", list(Side))
def test_eof_ends_everything_and_returns_what_is_buffered(session: Any, side: Side) -> None:
    session.ask("PASV", PASV_REPLY)
    session.client(PORT, b"NOO")
    session.server(b"20")
    assert session.eof(side) == [
        "end 1: control connection closed",
        "end 2: control connection closed",
    ]
    assert session.returned(Side.CLIENT).endswith(b"\r\nNOO")
    assert session.returned(Side.SERVER).endswith(b"\r\n20")
    assert session.helper.buffered_bytes == 0
    assert session.eof(side.other) == []
    assert session.server("200 ok") == []  # passed on, not read


@pytest.mark.parametrize("addresses", ["client_addresses", "server_addresses"])
def test_a_party_without_address_is_a_mistake_of_the_caller(
    with_limits: Any, addresses: str
) -> None:
    made = with_limits().helper
    own = {
        "client_addresses": made._client_addresses,
        "server_addresses": made._server_addresses,
    }
    with pytest.raises(ValueError, match="at least one each"):
        type(made)(**own | {addresses: frozenset()}, limits=made._limits)
