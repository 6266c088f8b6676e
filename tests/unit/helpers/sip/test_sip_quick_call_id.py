"""The Call-ID without reading the message."""

from __future__ import annotations

import pytest

from fwlb.helpers.sip import Message, quick_call_id, read_datagram
from tests.corpus.sip.messages import load_all, make

MESSAGES = load_all("samples") | load_all("torture")


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_it_is_the_one_of_the_message(name: str) -> None:
    message = read_datagram(MESSAGES[name])
    if isinstance(message, Message):
        assert quick_call_id(MESSAGES[name]) == message.call_id
        assert quick_call_id(b"\r\n\r\n" + MESSAGES[name]) == message.call_id


@pytest.mark.parametrize(
    "line",
    [
        "Call-ID: x@y",
        "CALL-ID:x@y",
        "call-id \t:\t x@y \t",
        "i: x@y",
        "I:x@y",
        "Call-ID:\r\n x@y",
        "Call-ID: x@y\r\n ",
        "i\t:\r\n \r\n\tx@y\r\n\t",
    ],
)
def test_every_spelling(line: str) -> None:
    data = make("OPTIONS sip:h SIP/2.0", changed={"call-id": line}, body="\r\nCall-ID: body\r\n")
    message = read_datagram(data)
    assert isinstance(message, Message)
    assert quick_call_id(data) == message.call_id == b"x@y"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"OPTIONS sip:h SIP/2.0\r\n\r\nCall-ID: body\r\n\r\n",
        b"OPTIONS sip:h SIP/2.0\r\nSubject: x\r\n Call-ID: folded\r\n\r\n",
        b"OPTIONS sip:h SIP/2.0\r\nX-Call-ID: x\r\n\r\n",
        b"OPTIONS sip:h SIP/2.0\r\nCall-ID: a b\r\n\r\n",
        b"OPTIONS sip:h SIP/2.0\r\nCall-ID: a\r\n b\r\n\r\n",
    ],
)
def test_what_has_none(data: bytes) -> None:
    assert quick_call_id(data) is None
