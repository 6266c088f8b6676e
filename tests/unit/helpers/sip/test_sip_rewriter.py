"""Edits change what they should, Content-Length follows, the rest stays byte for byte."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fwlb.helpers.sip import Edit, Message, Rewriter, read_message
from fwlb.helpers.sip.edits import apply_edits
from fwlb.model import Endpoint
from tests.corpus.sip.messages import load_all, make

PUBLIC = Endpoint(ip_address("203.0.113.1"), 40000)


def read(data: bytes) -> Message:
    message = read_message(data)
    assert isinstance(message, Message), message
    return message


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([], b"abcdef"),
        ([Edit(1, 3, b"X")], b"aXdef"),
        ([Edit(3, 4, b"2"), Edit(0, 1, b"1")], b"1bc2ef"),
        ([Edit(2, 2, b"1"), Edit(2, 2, b"2"), Edit(2, 3, b"C")], b"ab12Cdef"),
        ([Edit(1, 2, b""), Edit(2, 3, b"")], b"adef"),
        ([Edit(0, 0, b"<"), Edit(6, 6, b">")], b"<abcdef>"),
    ],
)
def test_edits(edits: list[Edit], expected: bytes) -> None:
    assert apply_edits(b"abcdef", edits) == expected


@pytest.mark.parametrize(
    "edits",
    [
        [Edit(1, 3, b""), Edit(2, 4, b"")],
        [Edit(1, 3, b""), Edit(2, 2, b"x")],
        [Edit(0, 7, b"")],
        [Edit(-1, 0, b"")],
        [Edit(3, 2, b"")],
    ],
)
def test_edits_that_are_the_callers_mistake(edits: list[Edit]) -> None:
    with pytest.raises(ValueError, match="overlaps another or lies outside"):
        apply_edits(b"abcdef", edits)


def test_nothing_to_change_is_the_message_itself() -> None:
    message = read(load_all("samples")["invite"])
    rewriter = Rewriter(message)
    rewriter.add(None, message.vias[0].with_host(message.vias[0].host_port))
    rewriter.replace_body(message.body)
    assert rewriter.build() is message.data


def test_an_invite_through_nat() -> None:
    data = load_all("samples")["invite"]
    message = read(data)
    rewriter = Rewriter(message)
    rewriter.add(message.vias[0].at(PUBLIC), message.contacts[0].uri.at(PUBLIC))
    rewriter.replace_body(message.body.replace(b"10.1.0.2", b"203.0.113.1"))
    changed = rewriter.build()
    assert changed == (
        data.replace(b"UDP 10.1.0.2:5060", b"UDP 203.0.113.1:40000")
        .replace(b"alice@10.1.0.2:5060", b"alice@203.0.113.1:40000")
        .replace(b"IP4 10.1.0.2", b"IP4 203.0.113.1")
        .replace(b"Content-Length: 128", b"Content-Length: 134")
    )
    assert read(changed).content_length == len(read(changed).body)


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("Content-Length: 3", "Content-Length: 5"),
        ("l  :\r\n\t0003  ", "l  :\r\n\t5  "),
        ("X: y", "X: y"),
    ],
)
def test_content_length_follows_the_body(line: str, changed: str) -> None:
    rewriter = Rewriter(read(make("INFO sip:h SIP/2.0", "c: a/b", line, body=b"abc")))
    rewriter.replace_body(b"abcde")
    assert rewriter.build() == make("INFO sip:h SIP/2.0", "c: a/b", changed, body=b"abcde")


def test_a_body_of_the_same_size_leaves_content_length_as_written() -> None:
    data = make("INFO sip:h SIP/2.0", "c: a/b", "l: 0003", body=b"abc")
    rewriter = Rewriter(read(data))
    rewriter.replace_body(b"xyz")
    assert rewriter.build() == data.replace(b"abc", b"xyz")


def test_several_edits_in_the_body() -> None:
    data = make("INFO sip:h SIP/2.0", "c: a/b", "l: 6", body=b"abcdef")
    message = read(data)
    start = message.head.body_start
    rewriter = Rewriter(message)
    rewriter.add(Edit(start, start + 1, b"AAA"), Edit(start + 5, start + 6, b""))
    assert rewriter.build() == make("INFO sip:h SIP/2.0", "c: a/b", "l: 7", body=b"AAAbcde")


def test_a_folded_header_is_changed_where_it_stands() -> None:
    data = make("INFO sip:h SIP/2.0", "Contact:\r\n <sip:a@10.0.0.1>\r\n\t;q=1", "Z: 1")
    message = read(data)
    rewriter = Rewriter(message)
    rewriter.add(message.contacts[0].uri.at(PUBLIC), message.contacts[0].with_parameter(b"x", b"1"))
    assert rewriter.build() == data.replace(
        b"<sip:a@10.0.0.1>\r\n\t;q=1", b"<sip:a@203.0.113.1:40000>\r\n\t;q=1;x=1"
    )


def test_an_edit_does_not_cross_from_head_to_body() -> None:
    message = read(make("INFO sip:h SIP/2.0", "c: a/b", "l: 3", body=b"abc"))
    rewriter = Rewriter(message)
    rewriter.add(Edit(message.head.body_start - 2, message.head.body_start + 1, b""))
    with pytest.raises(ValueError, match="is in the head and in the body"):
        rewriter.build()
