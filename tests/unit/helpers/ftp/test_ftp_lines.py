"""Lines, Telnet commands in them, and changes that find their place in the raw bytes."""

from __future__ import annotations

import pytest

from fwlb.helpers.ftp.lines import Line, LineBuffer, printable, without_telnet

IAC, DONT, DO, WONT, WILL = b"\xff", b"\xfe", b"\xfd", b"\xfc", b"\xfb"
IP, DM, NOP = b"\xf4", b"\xf2", b"\xf1"


@pytest.mark.parametrize(
    ("raw", "plain"),
    [
        (b"NOOP\r\n", b"NOOP\r\n"),
        (IAC + IP + IAC + DM + b"ABOR\r\n", b"ABOR\r\n"),
        (b"PO" + IAC + NOP + b"RT\r\n", b"PORT\r\n"),
        (IAC + WILL + b"\x01" + IAC + WONT + b"\x01" + b"QUIT\r\n", b"QUIT\r\n"),
        (IAC + DO + b"\x06" + IAC + DONT + b"\x06" + b"QUIT\r\n", b"QUIT\r\n"),
        (b"RETR a" + IAC + IAC + b"b\r\n", b"RETR a\xffb\r\n"),
        (b"RETR a" + IAC + IAC + IAC + NOP + b"b\r\n", b"RETR a\xffb\r\n"),
        (b"RETR \xffoo\r\n", b"RETR \xffoo\r\n"),  # a Latin-1 file name, no Telnet
        (b"RETR x\xff\r\n", b"RETR x\xff\r\n"),
        (b"US" + IAC, b"US"),  # the command is still to come
        (b"US" + IAC + DO, b"US"),
    ],
)
def test_telnet_commands_are_set_aside(raw: bytes, plain: bytes) -> None:
    assert without_telnet(raw) == plain


@pytest.mark.parametrize(
    "raw", [b"NOOP\r\n", b"NOOP\n", b"NOOP\r\r\n", IAC + NOP + b"NOOP" + IAC + NOP + b"\r\n"]
)
def test_a_line_ends_with_lf_and_the_crs_before_it(raw: bytes) -> None:
    line = Line.of(raw)
    assert (line.text, line.ended, line.raw) == (b"NOOP", True, raw)


@pytest.mark.parametrize("option", [DO, DONT, WILL, WONT])
def test_an_option_that_swallows_the_end_of_a_line_is_noticed(option: bytes) -> None:
    assert not Line.of(b"NOOP" + IAC + option + b"\n").ended


@pytest.mark.parametrize(
    ("raw", "changed"),
    [
        (b"PORT 1,2\r\n", b"PORT 30,40\r\n"),
        (IAC + IP + b"PORT 1,2 \n", IAC + IP + b"PORT 30,40 \n"),
        (b"PO" + IAC + NOP + b"RT 1," + IAC + NOP + b"2\r\n", b"PO" + IAC + NOP + b"RT 30,40\r\n"),
        (b"PORT 1,2" + IAC + IAC + b"\r\n", b"PORT 30,40" + IAC + IAC + b"\r\n"),
        (b"PORT" + IAC + NOP + b" 1,2\r\n", b"PORT" + IAC + NOP + b" 30,40\r\n"),
    ],
)
def test_a_change_in_the_text_keeps_all_other_raw_bytes(raw: bytes, changed: bytes) -> None:
    line = Line.of(raw)
    start = line.text.index(b"1,2")
    assert line.splice(start, start + 3, b"30,40") == changed


def test_a_literal_255_before_the_change_counts_once() -> None:
    line = Line.of(b"227 " + IAC + IAC + b" 1,2\r\n")
    start = line.text.index(b"1,2")
    assert line.splice(start, start + 3, b"9") == b"227 " + IAC + IAC + b" 9\r\n"


def test_the_buffer_gives_lines_as_they_become_whole() -> None:
    buffer = LineBuffer()
    buffer.feed(b"NO")
    assert buffer.next_line() is None
    assert buffer.peek() == b"NO"
    buffer.feed(b"OP\r\nQUIT\r\nUS")
    assert [buffer.next_line(), buffer.next_line(), buffer.next_line()] == [
        b"NOOP\r\n",
        b"QUIT\r\n",
        None,
    ]
    assert len(buffer) == 2
    assert buffer.take_all() == b"US"
    assert len(buffer) == 0


def test_text_for_logs_cannot_carry_control_characters() -> None:
    assert printable(b"a\x1b[2J\n\xff\\") == r"a\x1b[2J\n\xff\\"
