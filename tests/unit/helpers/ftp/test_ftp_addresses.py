"""PORT, 227, EPRT and 229: what is read, what is refused, what is written instead."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fwlb.helpers.ftp.addresses import (
    Announced,
    Rewrite,
    parse_eprt,
    parse_epsv_reply,
    parse_pasv_reply,
    parse_port,
)
from fwlb.helpers.ftp.limits import Flaw, FtpLimits, vet
from fwlb.helpers.ftp.lines import Line
from fwlb.model import Endpoint, Refusal

NEW4 = Endpoint(ip_address("203.0.113.9"), 20480)
NEW6 = Endpoint(ip_address("2001:db8:9::f"), 20480)
DIALLED = ip_address("198.51.100.2")


def endpoint(address: str, port: int) -> Endpoint:
    return Endpoint(ip_address(address), port)


def read(found: Announced | Flaw) -> Endpoint | Refusal:
    return found.reason if isinstance(found, Flaw) else found.endpoint


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"192,0,2,1,19,137", endpoint("192.0.2.1", 5001)),
        (b"192,000,002,001,019,137", endpoint("192.0.2.1", 5001)),
        (b"0,0,0,0,0,0", endpoint("0.0.0.0", 0)),
        (b"255,255,255,255,255,255", endpoint("255.255.255.255", 65535)),
        (b"", Refusal.BAD_NUMBER),
        (b"192,0,2,1,19", Refusal.BAD_NUMBER),
        (b"192,0,2,1,19,137,1", Refusal.BAD_NUMBER),
        (b"256,0,2,1,19,137", Refusal.BAD_NUMBER),
        (b"192,0,2,1,999,64", Refusal.BAD_NUMBER),  # some read that modulo 256
        (b"192,0,2,1,0019,137", Refusal.BAD_NUMBER),
        (b"192,0,2,1,19,", Refusal.BAD_NUMBER),
        (b"192,0,2,1,,137", Refusal.BAD_NUMBER),
        (b"192, 0,2,1,19,137", Refusal.BAD_NUMBER),
        (b"192,0,2,1,19,137 x", Refusal.BAD_NUMBER),
        (b"192.0.2.1,19,137", Refusal.BAD_NUMBER),
        (b"-1,0,2,1,19,137", Refusal.BAD_NUMBER),
        (b"192,0,2,1,19,0x89", Refusal.BAD_NUMBER),
        (b"\xb1,0,2,1,19,137", Refusal.BAD_NUMBER),
        (b"9" * 4000, Refusal.BAD_NUMBER),
    ],
)
def test_port(argument: bytes, expected: Endpoint | Refusal) -> None:
    assert read(parse_port(argument)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"227 Entering Passive Mode (198,51,100,2,156,64).", endpoint("198.51.100.2", 40000)),
        (b"227 Entering Passive Mode (198,51,100,2,156,64)", endpoint("198.51.100.2", 40000)),
        (b"227 Entering Passive Mode. 198,51,100,2,156,64", endpoint("198.51.100.2", 40000)),
        (b"227 =198,51,100,2,156,64", endpoint("198.51.100.2", 40000)),
        (b"227 198,51,100,2,156,64", endpoint("198.51.100.2", 40000)),
        (b"227 2 of 3, go (198,51,100,2,156,64)", endpoint("198.51.100.2", 40000)),
        (b"227-I listen on\r\n 198,51,100,2,156,64\r\n227 ok", endpoint("198.51.100.2", 40000)),
        (b"227 Entering Passive Mode", Refusal.BAD_NUMBER),
        (b"227 (198,51,100,2,156)", Refusal.BAD_NUMBER),
        (b"227 (198,51,100,2,156,64,1)", Refusal.BAD_NUMBER),
        (b"227 (198,51,100,2,256,64)", Refusal.BAD_NUMBER),
        (b"227 (198,51,100,2,156,64) (198,51,100,2,156,65)", Refusal.BAD_NUMBER),
        (b"227 (198,51,100,2,156,64) (198,51,100,2,156,64)", Refusal.BAD_NUMBER),
        (b"227 (|||40000|)", Refusal.BAD_NUMBER),
    ],
)
def test_pasv_reply(text: bytes, expected: Endpoint | Refusal) -> None:
    assert read(parse_pasv_reply(text)) == expected


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        (b"|1|192.0.2.1|5001|", endpoint("192.0.2.1", 5001)),
        (b"|2|2001:db8::1|5001|", endpoint("2001:db8::1", 5001)),
        (b"|2|2001:0DB8:0:0:0:0:0:1|5001|", endpoint("2001:db8::1", 5001)),
        (b"|2|::ffff:192.0.2.1|5001|", endpoint("::ffff:192.0.2.1", 5001)),
        (b"!1!192.0.2.1!5001!", endpoint("192.0.2.1", 5001)),
        (b"~1~192.0.2.1~5001~", endpoint("192.0.2.1", 5001)),
        (b"x1x192.0.2.1x5001x", endpoint("192.0.2.1", 5001)),
        (b"|1|192.0.2.1|05001|", endpoint("192.0.2.1", 5001)),
        (b"", Refusal.BAD_NUMBER),
        (b"|1|192.0.2.1|5001", Refusal.BAD_NUMBER),
        (b"|1|192.0.2.1|5001||", Refusal.BAD_NUMBER),
        (b"1|192.0.2.1|5001|", Refusal.BAD_NUMBER),
        (b"\x801\x80192.0.2.1\x805001\x80", Refusal.BAD_NUMBER),
        (b"91919200294959", Refusal.BAD_NUMBER),  # a digit as delimiter
        (b":2:2001:db8::1:5001:", Refusal.BAD_NUMBER),  # the delimiter is in the address
        (b"|one|192.0.2.1|5001|", Refusal.BAD_NUMBER),
        (b"||192.0.2.1|5001|", Refusal.BAD_NUMBER),
        (b"|3|192.0.2.1|5001|", Refusal.WRONG_FAMILY),
        (b"|01|192.0.2.1|5001|", Refusal.WRONG_FAMILY),
        (b"|1|2001:db8::1|5001|", Refusal.BAD_ADDRESS),
        (b"|2|192.0.2.1|5001|", Refusal.BAD_ADDRESS),
        (b"|2|fe80::1%eth0|5001|", Refusal.BAD_ADDRESS),
        (b"|1|192.0.2.256|5001|", Refusal.BAD_ADDRESS),
        (b"|1|192.0.2|5001|", Refusal.BAD_ADDRESS),
        (b"|1||5001|", Refusal.BAD_ADDRESS),
        (b"|1|192.0.2.1|65536|", Refusal.BAD_NUMBER),
        (b"|1|192.0.2.1|000001|", Refusal.BAD_NUMBER),
        (b"|1|192.0.2.1||", Refusal.BAD_NUMBER),
        (b"|1|192.0.2.1|+5001|", Refusal.BAD_NUMBER),
        (b"|1|192.0.2.1|" + b"9" * 4000 + b"|", Refusal.BAD_NUMBER),
    ],
)
def test_eprt(argument: bytes, expected: Endpoint | Refusal) -> None:
    assert read(parse_eprt(argument)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"229 Entering Extended Passive Mode (|||40000|)", Endpoint(DIALLED, 40000)),
        (b"229 Entering Extended Passive Mode (|||40000|).", Endpoint(DIALLED, 40000)),
        (b"229 (!!!40000!)", Endpoint(DIALLED, 40000)),
        (b"229 (xxx40000x)", Endpoint(DIALLED, 40000)),
        (b"229-(see below)\r\n229 (|||40000|)", Endpoint(DIALLED, 40000)),
        (b"229 Entering Extended Passive Mode", Refusal.BAD_NUMBER),
        (b"229 |||40000|", Refusal.BAD_NUMBER),
        (b"229 (|||40000!)", Refusal.BAD_NUMBER),
        (b"229 (||40000|)", Refusal.BAD_NUMBER),
        (b"229 (111400001)", Refusal.BAD_NUMBER),
        (b"229 (|1|198.51.100.2|40000|)", Refusal.BAD_NUMBER),
        (b"229 (|||65536|)", Refusal.BAD_NUMBER),
        (b"229 (||||)", Refusal.BAD_NUMBER),
        (b"229 (|||40000|) (|||40001|)", Refusal.BAD_NUMBER),
    ],
)
def test_epsv_reply(text: bytes, expected: Endpoint | Refusal) -> None:
    assert read(parse_epsv_reply(text, DIALLED)) == expected


def rewrite(message: bytes, found: Announced | Flaw, new: Endpoint, offset: int = 0) -> bytes:
    assert isinstance(found, Announced)
    rewritten = Rewrite(Line.of(message), found, offset)
    assert rewritten(found.endpoint) == message
    return rewritten(new)


def test_rewriting_changes_the_endpoint_and_nothing_else() -> None:
    assert (
        rewrite(b"port  192,0,2,1,19,137 \n", parse_port(b"192,0,2,1,19,137"), NEW4, 6)
        == b"port  203,0,113,9,80,0 \n"
    )
    reply = b"227 =198,51,100,2,156,64 -- go\r\n"
    assert rewrite(reply, parse_pasv_reply(reply), NEW4) == b"227 =203,0,113,9,80,0 -- go\r\n"
    reply = b"229 Ok (|||40000|), go\r\n"
    assert rewrite(reply, parse_epsv_reply(reply, DIALLED), NEW4) == b"229 Ok (|||20480|), go\r\n"


@pytest.mark.parametrize(
    ("argument", "new", "expected"),
    [
        (b"!1!192.0.2.1!5001!", NEW4, b"!1!203.0.113.9!20480!"),
        (b"!1!192.0.2.1!5001!", NEW6, b"!2!2001:db8:9::f!20480!"),
        (b"|2|2001:db8::1|5001|", NEW4, b"|1|203.0.113.9|20480|"),
        (b".2.2001:db8::1.5001.", NEW4, b"|1|203.0.113.9|20480|"),
        (b"f1f192.0.2.1f5001f", NEW6, b"|2|2001:db8:9::f|20480|"),
    ],
)
def test_eprt_keeps_its_delimiter_unless_the_address_contains_it(
    argument: bytes, new: Endpoint, expected: bytes
) -> None:
    assert rewrite(argument, parse_eprt(argument), new) == expected


def test_ipv6_in_port_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="cannot carry the IPv6 endpoint"):
        rewrite(b"192,0,2,1,19,137", parse_port(b"192,0,2,1,19,137"), NEW6)


LIMITS = FtpLimits(denied_ports=frozenset({3389}))


@pytest.mark.parametrize(
    ("address", "port", "expected"),
    [
        ("192.0.2.1", 5001, None),
        ("192.0.2.1", 1024, None),
        ("192.0.2.1", 65535, None),
        ("192.0.2.1", 1023, Refusal.LOW_PORT),
        ("192.0.2.1", 22, Refusal.LOW_PORT),
        ("192.0.2.1", 0, Refusal.LOW_PORT),
        ("192.0.2.1", 3389, Refusal.DENIED_PORT),
        ("192.0.2.9", 5001, Refusal.THIRD_PARTY_ADDRESS),
        ("10.0.0.1", 5001, Refusal.THIRD_PARTY_ADDRESS),
        ("0.0.0.0", 5001, Refusal.BAD_ADDRESS),
        ("127.0.0.1", 5001, Refusal.BAD_ADDRESS),
        ("169.254.1.1", 5001, Refusal.BAD_ADDRESS),
        ("224.0.0.1", 5001, Refusal.BAD_ADDRESS),
        ("255.255.255.255", 5001, Refusal.BAD_ADDRESS),
        ("2001:db8::1", 5001, Refusal.WRONG_FAMILY),
    ],
)
def test_only_the_partys_own_address_and_high_ports_pass(
    address: str, port: int, expected: Refusal | None
) -> None:
    flaw = vet(endpoint(address, port), frozenset({ip_address("192.0.2.1")}), LIMITS)
    assert (flaw.reason if flaw else None) == expected


def test_loopback_passes_when_the_party_is_there() -> None:
    for address in ("127.0.0.1", "::1"):
        assert vet(endpoint(address, 5001), frozenset({ip_address(address)}), LIMITS) is None


@pytest.mark.parametrize("address", ["::", "ff02::1", "fe80::1", "::1"])
def test_ipv6_addresses_that_are_nobodys(address: str) -> None:
    flaw = vet(endpoint(address, 5001), frozenset({ip_address("2001:db8::1")}), LIMITS)
    assert flaw is not None
    assert flaw.reason is Refusal.BAD_ADDRESS


@pytest.mark.parametrize("address", ["0.0.0.0", "224.0.0.1"])
def test_an_address_that_is_nobodys_does_not_pass_even_as_own(address: str) -> None:
    flaw = vet(endpoint(address, 5001), frozenset({ip_address(address)}), LIMITS)
    assert flaw is not None
    assert flaw.reason is Refusal.BAD_ADDRESS
