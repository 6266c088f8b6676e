"""Header lines: names, folding, order, places, lists; and what is no header line."""

from __future__ import annotations

import pytest

from fwlb.helpers.sip import Flaw, Message, Request, SipLimits, read_message
from fwlb.helpers.sip.headers import COMPACT_NAMES, Head, split_list
from fwlb.helpers.sip.refusals import MalformedError
from tests.corpus.sip.messages import make

OPTIONS = "OPTIONS sip:bob@example.net SIP/2.0"


def read(*lines: str) -> Request:
    message = read_message(make(OPTIONS, *lines))
    assert isinstance(message, Request), message
    return message


def flaw(*lines: str, limits: SipLimits | None = None) -> str:
    refused = read_message(make(OPTIONS, *lines), limits or SipLimits())
    assert isinstance(refused, Flaw)
    return refused.reason.value


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("Subject: lunch", b"subject", b"lunch"),
        ("SUBJECT:lunch", b"subject", b"lunch"),
        ("sUbJeCt \t : \t lunch \t", b"subject", b"lunch"),
        ("s: lunch", b"subject", b"lunch"),
        ("S: lunch", b"subject", b"lunch"),
        ("Subject:", b"subject", b""),
        ("Subject: a: b", b"subject", b"a: b"),
        ("Subject: one\r\n two\r\n\tthree", b"subject", b"one   two  \tthree"),
        ("Subject:\r\n lunch", b"subject", b"lunch"),
        ("Subject: lunch\r\n ", b"subject", b"lunch"),
        ("X-Un_usual!%*~: \xe9", b"x-un_usual!%*~", b"\xe9"),
        ('P-X: "\\\x01\\\x7f"', b"p-x", b'"\\\x01\\\x7f"'),  # only behind a backslash, in quotes
    ],
)
def test_a_line_has_a_name_and_a_value(line: str, name: bytes, value: bytes) -> None:
    head = read(line).head
    assert head.get(name) == value
    (field,) = head.fields(name)
    assert field.name == name
    message = read(line).data
    assert message[field.start : field.end].decode("latin-1") == line + "\r\n"
    assert head.text[field.value_start : field.value_end] == value


def test_every_compact_name_is_the_long_one() -> None:
    for compact, name in COMPACT_NAMES.items():
        line = f"{compact.decode()}: x".encode()
        places = Head(line, {name: [(2, 4)]}, 0).get(name)
        assert places == b"x"
    assert read("K: 100rel", "u: presence").head.get(b"allow-events") == b"presence"
    assert len(COMPACT_NAMES) == 20


def test_lines_keep_their_order() -> None:
    names = [field.name for field in read("P-B: 1", "P-A: 2", "p-b: 3").head.all_fields()]
    assert names == [b"via", b"from", b"to", b"call-id", b"cseq", b"p-b", b"p-a", b"p-b"]


def test_what_is_not_there() -> None:
    head = read().head
    assert head.get(b"subject") is None
    assert head.fields(b"subject") == []
    assert head.values(b"supported") == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("no colon", "bad-header-line"),
        (": no name", "bad-header-line"),
        ("two words: x", "bad-header-line"),
        ("(x): y", "bad-header-line"),
        ("Via", "bad-header-line"),
        ("Subject: a\nb: c", "bare-line-end"),
        ("a\nb: c", "bare-line-end"),
        ("Subject: a\rb: c", "bare-line-end"),
        ("Subject: a\rb\nc: d", "bare-line-end"),
        ('Subject: "a\\\rb"', "bare-line-end"),
        ("Subject: a\0b", "control-character"),
        ('Subject: "\x07"', "control-character"),
        ("Subject: \\\x07", "control-character"),
        ('Subject: "open \\\x07', "control-character"),
        ("Subject\r\n : a", "bad-header-line"),
        ("Sub\r\n ject: a", "bad-header-line"),
        ("Sub\x01ject: a", "bad-header-line"),
        ("Subject: a\\\r\n b", "bad-header-line"),
    ],
)
def test_what_is_no_header_line(line: str, reason: str) -> None:
    assert flaw(line) == reason


def test_a_fold_before_the_first_header_is_none() -> None:
    assert flaw_of(make(OPTIONS + "\r\n folded")) == "bad-header-line"


def test_the_head_has_to_end() -> None:
    whole = make(OPTIONS)
    assert flaw_of(whole[:-2]) == "incomplete-message"
    assert flaw_of(whole[:-4]) == "incomplete-message"
    assert flaw_of(whole.replace(b"\r\n", b"\n")) == "bare-line-end"
    assert flaw_of(whole.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n", 1)) == "bare-line-end"


def test_limits() -> None:
    size = len(make(OPTIONS, "P-A: 1", "P-B: 2"))
    assert flaw("P-A: 1", "P-B: 2", limits=SipLimits(max_head_bytes=size - 1)) == "head-too-long"
    assert flaw("P-A: 1", "P-B: 2", limits=SipLimits(max_headers=6)) == "too-many-headers"
    fits = SipLimits(max_head_bytes=size, max_headers=7)
    assert isinstance(read_message(make(OPTIONS, "P-A: 1", "P-B: 2"), fits), Message)
    endless = make(OPTIONS)[:-2] + b"X: y\r\n" * 20
    assert flaw_of(endless, SipLimits(max_head_bytes=200)) == "head-too-long"


def flaw_of(data: bytes, limits: SipLimits | None = None) -> str:
    refused = read_message(data, limits or SipLimits())
    assert isinstance(refused, Flaw)
    return refused.reason.value


@pytest.mark.parametrize(
    ("text", "values"),
    [
        (b"100rel", [b"100rel"]),
        (b" a , b,c ", [b"a", b"b", b"c"]),
        (b' "a,b" , <c,d>;e="f,\\"g" ', [b'"a,b"', b'<c,d>;e="f,\\"g"']),
        (b' "<" , ">" ', [b'"<"', b'">"']),
        (b"  ", []),
        (b"", []),
    ],
)
def test_values_are_split_outside_quotes_and_brackets(text: bytes, values: list[bytes]) -> None:
    assert [value.raw for value in split_list(text, 0, len(text))] == values


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"a,,b", "bad-list"),
        (b"a,", "bad-list"),
        (b",", "bad-list"),
        (b"<a, b", "bad-list"),
        (b"<a<b>>", "bad-list"),
        (b"a>", "bad-list"),
        (b'"a, b', "unbalanced-quotes"),
    ],
)
def test_lists_that_are_none(text: bytes, reason: str) -> None:
    with pytest.raises(MalformedError) as caught:
        split_list(text, 0, len(text))
    assert caught.value.flaw.reason.value == reason


def test_values_of_several_lines_have_places_in_the_message() -> None:
    message = read("Supported: timer,\r\n 100rel", "k: path")
    values = message.head.values(b"supported")
    assert not isinstance(values, Flaw)
    assert [value.raw for value in values] == [b"timer", b"100rel", b"path"]
    assert [message.data[value.start : value.end] for value in values] == [
        value.raw for value in values
    ]


def test_a_list_that_is_none_is_no_reason_to_refuse_the_message() -> None:
    found = read("Supported: timer,,100rel").head.values(b"supported")
    assert isinstance(found, Flaw)
    assert found.reason.value == "bad-list"
