"""The engine with the real FTP helper: what client and server read, and what the kernel gets."""

from __future__ import annotations

import re

import pytest

from fwlb.model import Refusal, Side

CLIENT, SERVER, PUBLIC, INSIDE_SERVER = "10.1.0.2", "198.51.100.7", "203.0.113.1", "10.1.0.10"


def numbers(address: str, port: int) -> str:
    """`h1,h2,h3,h4,p1,p2` of RFC 959."""
    return f"{address.replace('.', ',')},{port >> 8},{port & 255}"


def told_endpoint(line: str) -> tuple[str, int]:
    """The endpoint in a PORT command or 227 reply."""
    *host, high, low = re.findall(r"\d+", line.partition(" ")[2])
    return ".".join(host), int(high) * 256 + int(low)


@pytest.fixture
def login(ftp_gateway):
    """`login(client, dialled)` opens a session and logs in."""

    def log_in(client: str, dialled: str):
        ftp_gateway.open(client, dialled, egress=PUBLIC)
        assert ftp_gateway.server("220 hello\r\n") == "220 hello\r\n"
        ftp_gateway.client("USER anonymous\r\n")
        ftp_gateway.server("331 password?\r\n")
        ftp_gateway.client("PASS x@\r\n")
        ftp_gateway.server("230 welcome\r\n")
        return ftp_gateway

    return log_in


def test_passive_to_a_server_outside(login) -> None:
    gateway = login(CLIENT, SERVER)
    gateway.client("PASV\r\n")
    reply = f"227 Entering Passive Mode ({numbers(SERVER, 40001)}).\r\n"
    assert gateway.server(reply) == reply
    assert gateway.in_kernel() == {f"pinhole4: 6 . {CLIENT} . {SERVER} . 40001": None}
    gateway.client("RETR file\r\n")
    gateway.server("150 here it comes\r\n226 done\r\n")
    assert gateway.in_kernel() == {}


def test_active_from_behind_nat(login) -> None:
    gateway = login(CLIENT, SERVER)
    address, port = told_endpoint(gateway.client(f"PORT {numbers(CLIENT, 40001)}\r\n"))
    assert address == PUBLIC
    gateway.server("200 PORT ok\r\n")
    assert gateway.in_kernel() == {
        f"binding_in4: 6 . {PUBLIC} . {port}": f"{CLIENT} . 40001",
        f"binding_out4: 6 . {CLIENT} . 40001": f"{PUBLIC} . {port}",
        f"pinhole4: 6 . {SERVER} . {CLIENT} . 40001": None,
    }


def test_a_server_that_refuses_port_takes_everything_away(login) -> None:
    gateway = login(CLIENT, SERVER)
    gateway.client(f"PORT {numbers(CLIENT, 40001)}\r\n")
    gateway.server("500 no active mode here\r\n")
    assert gateway.in_kernel() == {}


def test_passive_to_a_published_server(login) -> None:
    gateway = login(SERVER, PUBLIC)
    gateway.client("PASV\r\n")
    told = gateway.server(
        f"227 Entering Passive Mode ({numbers(INSIDE_SERVER, 40001)}).\r\n",
    )
    address, port = told_endpoint(told)
    assert address == PUBLIC
    assert gateway.in_kernel("binding_in") == {
        f"binding_in4: 6 . {PUBLIC} . {port}": f"{INSIDE_SERVER} . 40001"
    }


def test_a_published_server_that_knows_its_public_address(login) -> None:
    gateway = login(SERVER, PUBLIC)
    gateway.client("PASV\r\n")
    gateway.server(f"227 Entering Passive Mode ({numbers(PUBLIC, 40001)}).\r\n")
    assert list(gateway.in_kernel("binding_in").values()) == [f"{INSIDE_SERVER} . 40001"]


def test_extended_passive_to_a_published_server(login) -> None:
    gateway = login(SERVER, PUBLIC)
    gateway.client("EPSV\r\n")
    told = gateway.server("229 Entering Extended Passive Mode (|||40001|)\r\n")
    port = told.partition("(|||")[2].rstrip("|)\r\n")
    assert told == f"229 Entering Extended Passive Mode (|||{port}|)\r\n"
    assert gateway.in_kernel("binding_in") == {
        f"binding_in4: 6 . {PUBLIC} . {port}": f"{INSIDE_SERVER} . 40001"
    }
    assert list(gateway.in_kernel("pinhole4")) == [
        f"pinhole4: 6 . {SERVER} . {INSIDE_SERVER} . 40001"
    ]


def test_extended_active_over_ipv6(login) -> None:
    gateway = login("fd01::2", "2001:db8::7")
    line = "EPRT |2|fd01::2|40001|\r\n"
    assert gateway.client(line) == line
    gateway.server("200 EPRT ok\r\n")
    assert gateway.in_kernel() == {"pinhole6: 6 . 2001:db8::7 . fd01::2 . 40001": None}


def test_a_bounce_is_refused_and_the_replies_stay_in_order(login) -> None:
    gateway = login(CLIENT, SERVER)
    sent = gateway.client(f"PORT {numbers('192.0.2.99', 40001)}\r\n")
    assert sent.startswith("PORT")
    assert "192" not in sent
    gateway.server("501 what?\r\n")
    assert gateway.in_kernel() == {}
    assert gateway.refusals() == {"third-party-address": 1}
    gateway.client("PASV\r\n")
    gateway.server(f"227 Entering Passive Mode ({numbers(SERVER, 40001)}).\r\n")
    assert len(gateway.in_kernel()) == 1


def test_a_full_kernel_is_an_error_reply_for_the_client(login) -> None:
    gateway = login(SERVER, PUBLIC)
    gateway.client("PASV\r\n")
    gateway.broken = Refusal.SET_FULL
    told = gateway.server(f"227 Entering Passive Mode ({numbers(INSIDE_SERVER, 40001)}).\r\n")
    assert told.startswith("4")
    assert told.endswith("\r\n")
    assert gateway.in_kernel() == {}


def test_encryption_ends_the_reading(login) -> None:
    gateway = login(CLIENT, SERVER)
    gateway.client("AUTH TLS\r\n")
    outcome = gateway.engine.receive("s1", Side.SERVER, b"234 go\r\n", gateway.now)
    assert outcome.opaque
    assert b"".join(send.data for send in outcome.sends) == b"234 go\r\n"


def test_another_protocol_passes_unread(ftp_gateway) -> None:
    ftp_gateway.open()
    assert ftp_gateway.server("SSH-2.0-x\r\n") == "SSH-2.0-x\r\n"
    assert ftp_gateway.refusals() == {"not-this-protocol": 1}
