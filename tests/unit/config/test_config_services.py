"""Services and port ranges: text -> values."""

from __future__ import annotations

import pytest

from fwlb.config.mistake import WrongValueError, similar
from fwlb.config.services import PortSpan, Service, parse_service, parse_span


@pytest.mark.parametrize(
    ("text", "service"),
    [
        ("any", Service(None)),
        ("tcp/21", Service(6, 21, 21)),
        ("udp/8000-8010", Service(17, 8000, 8010)),
        ("tcp/1-1024", Service(6, 1, 1024)),
        ("tcp/65535", Service(6, 65535, 65535)),
        ("icmp", Service(1)),
        ("icmpv6", Service(58)),
        ("gre", Service(47)),
        ("esp", Service(50)),
        ("ah", Service(51)),
        ("sctp", Service(132)),
        ("ipip", Service(4)),
        ("proto/89", Service(89)),
        ("proto/6", Service(6)),  # all of TCP
    ],
)
def test_every_form_of_a_service(text: str, service: Service) -> None:
    assert parse_service(text) == service
    assert str(service) == text


def test_a_known_protocol_number_has_a_name() -> None:
    assert parse_service("proto/47") == parse_service("gre")
    assert str(parse_service("proto/47")) == "gre"


@pytest.mark.parametrize(
    "text",
    ["", "/", "tcp", "tcp/", "tcp/021", "tcp/1-", "tcp/-1", "tcp/1-2-3", "tcp /21", "tcp/21 ",
     " any", "tcp/+1", "tcp/²", "tcp/0x15", "udp/5,6", "proto/0", "proto/", "proto/006",
     "sctp/36412", "any/1", "TCP/21", "tcp/21\n", "tcp/999999999999"],
)  # fmt: skip
def test_everything_else_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(WrongValueError) as caught:
        parse_service(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "protocol", "port", "covered"),
    [
        ("any", 6, 21, True),
        ("any", 47, None, True),
        ("tcp/21", 6, 21, True),
        ("tcp/21", 6, 22, False),
        ("tcp/21", 17, 21, False),
        ("tcp/21", 6, None, False),
        ("tcp/20-21", 6, 20, True),
        ("tcp/20-21", 6, 19, False),
        ("proto/6", 6, 21, True),
        ("gre", 47, None, True),
    ],
)
def test_what_a_service_covers(text: str, protocol: int, port: int | None, covered: bool) -> None:
    assert parse_service(text).covers(protocol, port) is covered


def test_a_span_has_both_its_ends() -> None:
    span = parse_span("20480-28671")
    assert (span.first, span.last, len(span), str(span)) == (20480, 28671, 8192, "20480-28671")
    assert 20480 in span
    assert 28671 in span
    assert 20479 not in span
    assert 28672 not in span


@pytest.mark.parametrize(
    ("span", "other", "overlap"),
    [
        ("10-20", "20-30", True),
        ("10-20", "21-30", False),
        ("10-20", "12-13", True),
        ("12-13", "10-20", True),
        ("20-30", "10-19", False),
    ],
)
def test_spans_overlap_when_they_share_a_port(span: str, other: str, overlap: bool) -> None:
    assert parse_span(span).overlaps(parse_span(other)) is overlap


@pytest.mark.parametrize(
    ("span", "blocks"),
    [
        ("20480-28671", range(20480, 28672, 256)),
        ("20480-20735", range(20480, 20481, 256)),
        ("20481-20991", range(20736, 20737, 256)),
        ("20481-20990", range(0)),
        ("20480-20734", range(0)),
        ("65280-65535", range(65280, 65281, 256)),
    ],
)
def test_only_whole_aligned_blocks_of_256_ports_count(span: str, blocks: range) -> None:
    assert list(parse_span(span).whole_blocks()) == list(blocks)


@pytest.mark.parametrize("text", ["", "5", "5-", "a-b", "10-5", "0-5", "5-65536", "05-6", "5 - 6"])
def test_a_bad_span_is_refused(text: str) -> None:
    with pytest.raises(WrongValueError):
        parse_span(text)


def test_a_span_cannot_be_built_upside_down() -> None:
    with pytest.raises(WrongValueError, match="ends before it starts"):
        PortSpan(2, 1)


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("insid", ("inside", "outside"), "inside"),
        ("masq", ("none", "masquerade"), "masquerade"),
        ("INSIDE", ("inside", "outside"), "inside"),
        ("in", ("inside", "internal"), None),  # begins two of them: no guess
        ("xyz", ("inside", "outside"), None),
    ],
)
def test_the_word_that_was_meant(word: str, known: tuple[str, ...], meant: str | None) -> None:
    assert similar(word, known) == meant
