"""Bodies of several parts: all found, one changed in place; or refused."""

from __future__ import annotations

import pytest

from fwlb.helpers.sip import (
    Flaw,
    Message,
    Part,
    Rewriter,
    SipFlaw,
    SipLimits,
    read_message,
    read_parts,
)
from tests.corpus.sip.messages import load_all, make

SDP_PART = "--b\nContent-Type: application/sdp\n\nv=0\n\n"


def message(body: str | bytes, content_type: str = "multipart/mixed;boundary=b") -> Message:
    found = read_message(make("INVITE sip:h SIP/2.0", f"Content-Type: {content_type}", body=body))
    assert isinstance(found, Message), found
    return found


def parts(body: str | bytes, content_type: str = "multipart/mixed;boundary=b") -> list[Part]:
    found = read_parts(message(body, content_type))
    assert not isinstance(found, Flaw), found
    return list(found)


def contents(found: list[Part]) -> list[tuple[str, bytes]]:
    return [(part.content_type.essence.decode(), part.content) for part in found]


def test_a_simple_body_is_one_part() -> None:
    (part,) = parts("v=0\n", "application/sdp")
    assert part.content == b"v=0\r\n"
    assert part.encoding == b"binary"
    assert part.length is None


def test_no_body_has_no_parts() -> None:
    assert parts("", "application/sdp") == []


def test_nested_once_with_preamble_epilogue_and_quoted_boundary() -> None:
    sample = read_message(load_all("samples")["multipart"])
    assert isinstance(sample, Message)
    found = read_parts(sample)
    assert not isinstance(found, Flaw)
    assert [part.content_type.essence for part in found] == [
        b"application/sdp",
        b"application/sdp",
        b"application/pidf+xml",
        b"text/plain",
    ]
    assert found[2].disposition == b"render;handling=optional"
    assert found[3].content == b"no headers"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (SDP_PART + "--b--", [("application/sdp", b"v=0\r\n")]),
        (SDP_PART + "--b--\n", [("application/sdp", b"v=0\r\n")]),
        (SDP_PART + "--b-- \t\nepilogue --b", [("application/sdp", b"v=0\r\n")]),
        ("x\n--b\n\nplain\n--b--", [("text/plain", b"plain")]),
        ("--b \t\n\n\n--b--", [("text/plain", b"")]),
        ("--b\nc: a/b\n\n-b --b\n x--b\n--b--", [("a/b", b"-b --b\r\n x--b")]),
        ("--b\nX: 1\n folded\nc:\n a/b\n\nx\n--b--", [("a/b", b"x")]),
    ],
)
def test_forms_of_delimiters(body: str, expected: list[tuple[str, bytes]]) -> None:
    assert contents(parts(body)) == expected


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("X-Y: z", True),
        ("Content-Transfer-Encoding: 8BIT", True),
        ("Content-Transfer-Encoding: base64", False),
        ("Content-Encoding: gzip", False),
        ("e: gzip\nContent-Transfer-Encoding: binary", False),
    ],
)
def test_what_is_encoded_does_not_stand_for_itself(line: str, plain: bool) -> None:
    (part,) = parts(f"--b\n{line}\n\nx\n--b--")
    assert part.is_plain is plain


def test_binary_parts_stay_whole() -> None:
    binary = b"\x00\xff\r\r\n--a\n-\r\n\r\n"
    body = b"--b\r\nContent-Type: application/octet-stream\r\n\r\n" + binary + b"\r\n--b--\r\n"
    assert contents(parts(body)) == [("application/octet-stream", binary)]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("", None),
        ("no delimiter", SipFlaw.BAD_MULTIPART),
        ("--b", SipFlaw.BAD_MULTIPART),
        ("--b\n", SipFlaw.BAD_MULTIPART),
        (SDP_PART, SipFlaw.BAD_MULTIPART),
        (SDP_PART + "--b", SipFlaw.BAD_MULTIPART),
        (SDP_PART + "--b\n", SipFlaw.BAD_MULTIPART),
        ("--b\n--b--", SipFlaw.BAD_MULTIPART),
        ("--b\nc: a/b\n--b--", SipFlaw.BAD_MULTIPART),
        ("--bx\n\nx\n--b--", SipFlaw.AMBIGUOUS_BOUNDARY),
        ("--b\n\nx\n--bx\ny\n--b--", SipFlaw.AMBIGUOUS_BOUNDARY),
        ("--b\n\nx\n--b--y", SipFlaw.AMBIGUOUS_BOUNDARY),
        (SDP_PART + "--b--\n--b\n\nx\n--b--", SipFlaw.AMBIGUOUS_BOUNDARY),
        ("--b\nno colon\n\nx\n--b--", SipFlaw.BAD_HEADER_LINE),
        ("--b\nc: a\n\nx\n--b--", SipFlaw.BAD_CONTENT_TYPE),
        ("--b\nc: a/b\nContent-Type: c/d\n\nx\n--b--", SipFlaw.DUPLICATE_HEADER),
        ("--b\nl: 2\n\nx\n--b--", SipFlaw.BAD_MULTIPART),
        ("--b\nl: x\n\nx\n--b--", SipFlaw.BAD_NUMBER),
        ("--b\nc: multipart/mixed\n\n--c\n\nx\n--c--\n--b--", SipFlaw.BAD_MULTIPART),
        (
            "--b\nc: multipart/mixed;boundary=c\nContent-Transfer-Encoding: base64\n\nx\n--b--",
            SipFlaw.BAD_MULTIPART,
        ),
    ],
)
def test_multiparts_that_are_refused(body: str, reason: SipFlaw | None) -> None:
    found = read_parts(message(body))
    assert (found.reason if isinstance(found, Flaw) else None) is reason


def test_a_delimiter_after_a_bare_lf_is_one_to_some() -> None:
    found = read_parts(message(b"--b\r\n\r\nx\n--b\r\n\r\ny\r\n--b--"))
    assert isinstance(found, Flaw)
    assert found.reason is SipFlaw.AMBIGUOUS_BOUNDARY


@pytest.mark.parametrize(
    "boundary", ["", ";boundary=" + "x" * 71, ';boundary="a "', ';boundary="<"']
)
def test_boundaries_that_are_none(boundary: str) -> None:
    found = read_parts(message("x", "multipart/mixed" + boundary))
    assert isinstance(found, Flaw)
    assert found.reason is SipFlaw.BAD_MULTIPART


def nested(depth: int) -> str:
    body = "x"
    for level in range(depth):
        kind = f"multipart/mixed;boundary={level - 1}" if level else "a/b"
        body = f"--{level}\nContent-Type: {kind}\n\n{body}\n--{level}--"
    return body


def test_nesting_has_a_limit() -> None:
    assert contents(parts(nested(2), "multipart/mixed;boundary=1")) == [("a/b", b"x")]
    found = read_parts(message(nested(3), "multipart/mixed;boundary=2"))
    assert isinstance(found, Flaw)
    assert found.reason is SipFlaw.BAD_MULTIPART


def test_the_number_of_parts_has_a_limit() -> None:
    whole = message("--b\n\nx\n" * 3 + "--b--")
    assert not isinstance(read_parts(whole, SipLimits(max_parts=3)), Flaw)
    found = read_parts(whole, SipLimits(max_parts=2))
    assert isinstance(found, Flaw)
    assert found.reason is SipFlaw.TOO_MANY_PARTS


@pytest.mark.parametrize("index", range(4))
def test_one_part_is_changed_and_the_others_stay(index: int) -> None:
    data = load_all("samples")["multipart"]
    sample = read_message(data)
    assert isinstance(sample, Message)
    before = read_parts(sample)
    assert not isinstance(before, Flaw)
    rewriter = Rewriter(sample)
    rewriter.add(*before[index].with_content(b"v=0\r\nlonger than it was: " + b"x" * 60))
    changed = read_message(rewriter.build())
    assert isinstance(changed, Message)
    assert changed.content_length == len(changed.body)
    after = read_parts(changed)
    assert not isinstance(after, Flaw)
    for position, (old, new) in enumerate(zip(before, after, strict=True)):
        assert (old.content == new.content) is (position != index)
    back = Rewriter(changed)
    back.add(*after[index].with_content(before[index].content))
    assert back.build() == data
