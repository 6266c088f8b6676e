"""What makes lines a message: start lines, mandatory and single headers, numbers, extents."""

from __future__ import annotations

import pytest

from fwlb.helpers.sip import Flaw, Message, Request, Response, SipFlaw, SipLimits, read_message
from fwlb.helpers.sip.headers import SINGLE_HEADERS
from tests.corpus.sip.messages import load_all, make

OPTIONS = "OPTIONS sip:bob@example.net SIP/2.0"


def reason(data: bytes, limits: SipLimits | None = None) -> SipFlaw | None:
    found = read_message(data, limits or SipLimits())
    return found.reason if isinstance(found, Flaw) else None


def request(data: bytes) -> Request:
    message = read_message(data)
    assert isinstance(message, Request), message
    return message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("OPTIONS sip:a@h SIP/2.0", None),
        ("OPTIONS sip:a@h sip/2.0", None),
        ("options sip:a@h SIP/2.0", None),
        ("OPTIONS tel:+1 SIP/2.0", None),
        ("GET / HTTP/1.1", SipFlaw.NOT_SIP),
        ("POST http://sip:5060 HTTP/1.1", SipFlaw.NOT_SIP),
        ("\x16\x03\x01\x02", SipFlaw.NOT_SIP),
        ("", SipFlaw.NOT_SIP),
        ("OPTIONS sip:a@h", SipFlaw.NOT_SIP),
        ("OPTIONS sip:a@h SIP/1.0", SipFlaw.BAD_VERSION),
        ("OPTIONS sip:a@h SIP/2.00", SipFlaw.BAD_VERSION),
        ("OPTIONS  sip:a@h SIP/2.0", SipFlaw.BAD_START_LINE),
        (" OPTIONS sip:a@h SIP/2.0", SipFlaw.BAD_START_LINE),
        ("OPTIONS sip:a@h SIP/2.0 ", SipFlaw.BAD_START_LINE),
        ("OPTIONS\tsip:a@h\tSIP/2.0", SipFlaw.BAD_START_LINE),
        ("OPT(IONS sip:a@h SIP/2.0", SipFlaw.BAD_START_LINE),
        ("sip:a@h SIP/2.0", SipFlaw.BAD_START_LINE),
        ("OPTIONS sip:a@h\x01 SIP/2.0", SipFlaw.CONTROL_CHARACTER),
        ("OPTIONS a@h SIP/2.0", SipFlaw.BAD_URI),
        ("OPTIONS sip:a@ SIP/2.0", SipFlaw.BAD_URI),
        ("OPTIONS <sip:a@h> SIP/2.0", SipFlaw.BAD_URI),
        ("OPTIONS sip:a@h?x=y SIP/2.0", SipFlaw.HEADERS_IN_REQUEST_URI),
        ("OPTIONS sip:a@h? SIP/2.0", SipFlaw.BAD_URI),
        ("OPTIONS sip:a@999.1.1.1 SIP/2.0", SipFlaw.BAD_HOST),
        ("OPTIONS sip:a@h SIP/2.0\nX: y", SipFlaw.BARE_LINE_END),
    ],
)
def test_request_lines(line: str, expected: SipFlaw | None) -> None:
    method = line.partition(" ")[0]
    data = make(line, changed={"cseq": f"CSeq: 1 {method}"})
    assert reason(data) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SIP/2.0 200 OK", None),
        ("SIP/2.0 100 ", None),
        ("SIP/2.0 699 \xe4\tb", None),
        ("SIP/2.0 200", SipFlaw.BAD_START_LINE),
        ("SIP/2.0  200 OK", SipFlaw.BAD_STATUS),
        ("SIP/2.0 099 OK", SipFlaw.BAD_STATUS),
        ("SIP/2.0 700 OK", SipFlaw.BAD_STATUS),
        ("SIP/2.0 20 OK", SipFlaw.BAD_STATUS),
        ("SIP/2.0 2000 OK", SipFlaw.BAD_STATUS),
        ("SIP/3.0 200 OK", SipFlaw.BAD_VERSION),
        ("SIP/2.0 200 O\x00K", SipFlaw.CONTROL_CHARACTER),
    ],
)
def test_status_lines(line: str, expected: SipFlaw | None) -> None:
    assert reason(make(line)) == expected


def test_a_request() -> None:
    message = request(load_all("samples")["invite"])
    assert message.method == b"INVITE"
    assert message.uri.raw == b"sip:bob@biloxi.example.com;transport=udp"
    assert message.call_id == b"3848276298220188511@10.1.0.2"
    assert (message.cseq, message.cseq_method) == (21834, b"INVITE")
    assert (message.from_tag, message.to_tag) == (b"9fxced76sl", None)
    assert message.sender.display == b'"Alice, \\"A\\""'
    assert [route.uri.host_port for route in message.addresses[b"route"]] == [
        b"ss1.atlanta.example.com",
        b"[2001:db8::5]:5062",
    ]
    assert [who.uri.scheme for who in message.addresses[b"p-asserted-identity"]] == [b"sip", b"tel"]
    assert message.content_length == len(message.body) == 128
    assert message.content_type is not None
    assert message.content_type.essence == b"application/sdp"
    assert message.expires_s is None
    assert message.max_forwards == 70


def test_a_response() -> None:
    message = read_message(load_all("samples")["ok"])
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (200, b"OK")
    assert [via.transport for via in message.vias] == [b"UDP", b"TCP", b"UDP"]
    assert message.to_tag == b"314159"
    assert [route.uri.raw for route in message.addresses[b"record-route"]] == [
        b"sip:p2.example.net;lr",
        b"sip:p1.example.net;lr",
    ]
    assert message.max_forwards is None


def test_everything_that_was_sent_is_still_there() -> None:
    for name, data in load_all("samples").items():
        message = read_message(data)
        assert isinstance(message, Message), name
        assert message.data == data


@pytest.mark.parametrize("line", ["via", "from", "to", "call-id", "cseq"])
def test_mandatory_headers(line: str) -> None:
    assert reason(make(OPTIONS, changed={line: None})) is SipFlaw.MISSING_HEADER


def test_a_body_needs_a_type() -> None:
    assert reason(make(OPTIONS) + b"v=0") is SipFlaw.MISSING_HEADER
    assert reason(make(OPTIONS, "c: x/y") + b"v=0") is None


@pytest.mark.parametrize("name", sorted(SINGLE_HEADERS))
def test_single_headers_come_once_even_when_both_say_the_same(name: bytes) -> None:
    value = {
        b"date": "Sat, 13 Nov 2010 23:29:00 GMT",
        b"content-type": "a/b",
        b"refer-to": "<sip:a@h>",
        b"referred-by": "<sip:a@h>",
        b"reply-to": "<sip:a@h>",
    }.get(name, "0")
    mandatory = {
        b"from": "From: <sip:alice@example.com>;tag=1",
        b"to": "To: <sip:bob@example.net>",
        b"call-id": "i: a84b4c76e66710@192.0.2.1",
        b"cseq": "CSEQ: 1 OPTIONS",
    }
    line = mandatory.get(name) or f"{name.decode()}: {value}"
    once = make(OPTIONS, *([] if name in mandatory else [line]))
    twice = make(OPTIONS, *([line] if name in mandatory else [line, line.upper()]))
    assert reason(once) is None
    assert reason(twice) is SipFlaw.DUPLICATE_HEADER


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("CSeq: 0 OPTIONS", None),
        ("CSeq: 0000000000000000000000001 OPTIONS", None),
        ("CSeq: 2147483647\tOPTIONS ", None),
        ("CSeq: 2147483648 OPTIONS", SipFlaw.BAD_NUMBER),
        ("CSeq: 4294967297 OPTIONS", SipFlaw.BAD_NUMBER),
        ("CSeq: 1 INVITE", SipFlaw.CSEQ_MISMATCH),
        ("CSeq: 1 options", SipFlaw.CSEQ_MISMATCH),
        ("CSeq: 1OPTIONS", SipFlaw.BAD_CSEQ),
        ("CSeq: -1 OPTIONS", SipFlaw.BAD_CSEQ),
        ("CSeq: 1", SipFlaw.BAD_CSEQ),
        ("CSeq:", SipFlaw.BAD_CSEQ),
        ("CSeq: 1 OPTIONS x", SipFlaw.BAD_CSEQ),
    ],
)
def test_cseq(line: str, expected: SipFlaw | None) -> None:
    assert reason(make(OPTIONS, changed={"cseq": line})) == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Call-ID: a", b"a"),
        ("i: f81d4fae-7dec!%*_+`'~()<>:\\\"/[]?{}@x", b"f81d4fae-7dec!%*_+`'~()<>:\\\"/[]?{}@x"),
        ("Call-ID: a=b==", b"a=b=="),
        ("Call-ID:", SipFlaw.BAD_CALL_ID),
        ("Call-ID: a b", SipFlaw.BAD_CALL_ID),
        ("Call-ID: a,b", SipFlaw.BAD_CALL_ID),
        ("Call-ID: \xe4", SipFlaw.BAD_CALL_ID),
    ],
)
def test_call_id(line: str, expected: bytes | SipFlaw) -> None:
    message = read_message(make(OPTIONS, changed={"call-id": line}))
    assert expected == (message.reason if isinstance(message, Flaw) else message.call_id)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Max-Forwards: 255", None),
        ("Max-Forwards: 256", SipFlaw.BAD_NUMBER),
        ("Max-Forwards:", SipFlaw.BAD_NUMBER),
        ("Max-Forwards: 7x", SipFlaw.BAD_NUMBER),
        ("Expires: 4294967295", None),
        ("Expires: 4294967296", SipFlaw.BAD_NUMBER),
        ("Expires: 18446744073709551616000", SipFlaw.BAD_NUMBER),
        ("Expires: +5", SipFlaw.BAD_NUMBER),
        ("Date: Sat, 13 Nov 2010 23:29:00 GMT", None),
        ("Date: Sat, 13 Nov 2010 23:29:00 CET", SipFlaw.BAD_DATE),
        ("Date: yesterday", SipFlaw.BAD_DATE),
        ("Content-Type: text", SipFlaw.BAD_CONTENT_TYPE),
        ("Content-Type: text/plain;", SipFlaw.BAD_CONTENT_TYPE),
        ("Content-Type: text/plain;charset", SipFlaw.BAD_CONTENT_TYPE),
        ("Content-Type: a/b;x=1;X=1", SipFlaw.DUPLICATE_PARAMETER),
    ],
)
def test_numbers_and_dates(line: str, expected: SipFlaw | None) -> None:
    assert reason(make(OPTIONS, line)) == expected


def test_content_type_parameters() -> None:
    line = 'Content-Type: Multipart/MIXED ; Boundary="a\\"b;c" ; x=----=_Part_1/2'
    media_type = request(make(OPTIONS, line)).content_type
    assert media_type is not None
    assert media_type.essence == b"multipart/mixed"
    assert media_type.parameters == {b"boundary": b'a"b;c', b"x": b"----=_Part_1/2"}


BODY = "v=0\nx=1\n"  # 10 bytes on the wire


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (None, None),
        ("10", None),
        ("0010", None),
        ("9", SipFlaw.BYTES_AFTER_BODY),
        ("0", SipFlaw.BYTES_AFTER_BODY),
        ("11", SipFlaw.LENGTH_BEYOND_DATAGRAM),
        ("65536", SipFlaw.BODY_TOO_LONG),
        ("4294967306", SipFlaw.BAD_NUMBER),  # 2**32 + 10
        ("18446744073709551626", SipFlaw.BAD_NUMBER),  # 2**64 + 10
        ("1" * 4000, SipFlaw.BAD_NUMBER),
        ("-1", SipFlaw.BAD_NUMBER),
        ("+10", SipFlaw.BAD_NUMBER),
        ("0x0a", SipFlaw.BAD_NUMBER),
        ("10, 10", SipFlaw.BAD_NUMBER),
        ("", SipFlaw.BAD_NUMBER),
        ("10\r\nl: 10", SipFlaw.DUPLICATE_HEADER),
    ],
)
def test_content_length_ends_the_body_where_the_datagram_ends(
    length: str | None, expected: SipFlaw | None
) -> None:
    lines = [] if length is None else [f"Content-Length: {length}"]
    assert reason(make(OPTIONS, *lines, body=BODY)) == expected


def test_a_second_message_behind_the_first_is_refused() -> None:
    first = make(OPTIONS, "Content-Length: 0")
    assert reason(first + make("BYE sip:a@h SIP/2.0")) is SipFlaw.BYTES_AFTER_BODY


def test_a_body_has_a_limit() -> None:
    limits = SipLimits(max_body_bytes=9)
    assert reason(make(OPTIONS, body=BODY), limits) is SipFlaw.BODY_TOO_LONG
    assert reason(make(OPTIONS, "l: 10", body=BODY), limits) is SipFlaw.BODY_TOO_LONG
    assert reason(make(OPTIONS, body=BODY), SipLimits(max_body_bytes=10)) is None


def test_the_number_of_vias_and_addresses_has_a_limit() -> None:
    limits = SipLimits(max_values=3)
    contacts = "Contact: <sip:a@h>, <sip:b@h>"
    assert reason(make(OPTIONS, contacts), limits) is None
    assert reason(make(OPTIONS, contacts, "Route: <sip:c@h>"), limits) is SipFlaw.TOO_MANY_VALUES
    via = "Via: " + ",".join(["SIP/2.0/UDP h"] * 4)
    assert reason(make(OPTIONS, changed={"via": via}), limits) is SipFlaw.TOO_MANY_VALUES


def test_more_than_one_sender_is_none() -> None:
    sender = "From: <sip:a@h>;tag=1, <sip:b@h>;tag=2"
    assert reason(make(OPTIONS, changed={"from": sender})) is SipFlaw.BAD_NAME_ADDR


def test_a_message_cannot_be_changed() -> None:
    message = request(make(OPTIONS))
    with pytest.raises(AttributeError):
        message.call_id = b"x"  # type: ignore[misc]


def test_a_flaw_says_what_it_is_about() -> None:
    found = read_message(make(OPTIONS, "X\x1b[2J: y"))
    assert found == Flaw(SipFlaw.BAD_HEADER_LINE, r"X\x1b[2J: y is no header line")
