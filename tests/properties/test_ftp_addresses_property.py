"""What is written is read again, and a rewritten line differs in nothing but the endpoint."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from hypothesis import assume, given
from hypothesis import strategies as st

from fwlb.helpers.ftp.addresses import (
    Announced,
    Commas,
    Extended,
    PortOnly,
    Rewrite,
    parse_eprt,
    parse_epsv_reply,
    parse_pasv_reply,
    parse_port,
)
from fwlb.helpers.ftp.limits import Flaw
from fwlb.helpers.ftp.lines import Line
from fwlb.model import Endpoint

ports = st.integers(0, 65535)
endpoints4 = st.builds(Endpoint, st.ip_addresses(v=4), ports)
endpoints6 = st.builds(Endpoint, st.ip_addresses(v=6), ports)
endpoints = endpoints4 | endpoints6
delimiters = st.sampled_from([bytes([d]) for d in range(33, 127) if not chr(d).isdigit()])
# words that hold neither numbers nor parentheses, with Telnet commands among them
words = st.lists(
    st.sampled_from([b"Entering", b"Passive Mode.", b"=", b" ", b"\xff\xf1", b"\xff\xff", b"\t"])
).map(b"".join)


def read(found: Announced | Flaw) -> Announced:
    assert isinstance(found, Announced)
    return found


@given(endpoints4)
def test_port_reads_what_it_writes(endpoint: Endpoint) -> None:
    assert read(parse_port(Commas().build(endpoint))).endpoint == endpoint


@given(endpoints, delimiters)
def test_eprt_reads_what_it_writes(endpoint: Endpoint, delimiter: bytes) -> None:
    written = Extended(delimiter).build(endpoint)
    assert read(parse_eprt(written)).endpoint == endpoint
    fields = written.split(b"|")
    assert written.startswith(delimiter) or fields[1] in (b"1", b"2")


@given(endpoints4, endpoints4, words, words)
def test_a_rewritten_227(old: Endpoint, new: Endpoint, before: bytes, after: bytes) -> None:
    head, tail = b"227 " + before + b"(", b")" + after + b"\r\n"
    line = Line.of(head + Commas().build(old) + tail)
    rewrite = Rewrite(line, read(parse_pasv_reply(line.text)))
    assert rewrite(old) == line.raw
    assert rewrite(new) == head + Commas().build(new) + tail
    assert read(parse_pasv_reply(Line.of(rewrite(new)).text)).endpoint == new


@given(ports, ports, delimiters, endpoints, words, words)
def test_a_rewritten_229(
    old: int, new: int, delimiter: bytes, dialled: Endpoint, before: bytes, after: bytes
) -> None:
    head = b"229 " + before + b"(" + delimiter * 3
    tail = delimiter + b")" + after + b"\r\n"
    line = Line.of(head + b"%d" % old + tail)
    rewrite = Rewrite(line, read(parse_epsv_reply(line.text, dialled.address)))
    assert rewrite(Endpoint(dialled.address, new)) == head + b"%d" % new + tail
    assert PortOnly().build(Endpoint(dialled.address, new)) == b"%d" % new


@given(endpoints, endpoints, delimiters, words)
def test_a_rewritten_eprt(old: Endpoint, new: Endpoint, delimiter: bytes, telnet: bytes) -> None:
    assume(delimiter not in str(old.address).encode())
    argument = Extended(delimiter).build(old)
    line = Line.of(b"\xff\xf1EPRT " + argument + b" \r\n")
    rewrite = Rewrite(line, read(parse_eprt(argument)), line.text.index(argument))
    assert rewrite(old) == line.raw
    rewritten = rewrite(new).removeprefix(b"\xff\xf1EPRT ").removesuffix(b" \r\n")
    assert read(parse_eprt(rewritten)).endpoint == new


@given(st.binary(max_size=60) | st.text("0123456789,.|:()aFf%-+ \t", max_size=60).map(str.encode))
def test_any_bytes_are_an_endpoint_or_a_flaw(data: bytes) -> None:
    parsers = (parse_port, parse_eprt, parse_pasv_reply)
    for found in [*(parse(data) for parse in parsers), parse_epsv_reply(data, IPv6Address(1))]:
        if isinstance(found, Announced):
            assert 0 <= found.start < found.end <= len(data)
            assert isinstance(found.endpoint.address, IPv4Address | IPv6Address)
        else:
            assert found.detail
