"""URIs, and the addresses in From, Contact, Route and their like."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import pytest

from fwlb.helpers.sip import Flaw, NameAddr, Request, Rewriter, SipFlaw, Uri, read_message
from fwlb.helpers.sip.edits import apply_edits
from fwlb.helpers.sip.grammar import unescape, unquote
from fwlb.helpers.sip.nameaddr import read_name_addr
from fwlb.helpers.sip.refusals import MalformedError
from fwlb.model import Endpoint
from tests.corpus.sip.messages import make


def one(text: bytes) -> NameAddr:
    address, end = read_name_addr(text, 0, len(text))
    assert end == len(text)
    return address


def uri(text: bytes) -> Uri:
    return one(b"<" + text + b">").uri


def refused(text: bytes) -> SipFlaw:
    with pytest.raises(MalformedError) as caught:
        one(text)
    return caught.value.flaw.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"sip:example.com", (b"sip", None, "example.com", None, {})),
        (b"SIPS:a@Example.COM:5061", (b"sips", b"a", "Example.COM", 5061, {})),
        (b"sip:a:secret@192.0.2.1;lr", (b"sip", b"a", "192.0.2.1", None, {b"lr": b""})),
        (b"sip:a:@h", (b"sip", b"a", "h", None, {})),
        (b"sip:[2001:db8::1]:5060", (b"sip", None, "[2001:db8::1]", 5060, {})),
        (b"sip:a@[::1];x=[::2]:9", (b"sip", b"a", "[::1]", None, {b"x": b"[::2]:9"})),
        (b"sip:*72#@h", (b"sip", b"*72#", "h", None, {})),
        (b"sip:a;b=c?d/e@h", (b"sip", b"a;b=c?d/e", "h", None, {})),
        (b"sip:%40%00@h", (b"sip", b"%40%00", "h", None, {})),
        (b"sip:h:5060;p", (b"sip", None, "h", 5060, {b"p": b""})),
        (b"sip:a_b.c-d.", (b"sip", None, "a_b.c-d.", None, {})),
        (b"sip:x;%6Caddr=1;MAddr=h", (b"sip", None, "x", None, {b"laddr": b"1", b"maddr": b"h"})),
        (b"tel:+1-201-555-0123", (b"tel", b"+1-201-555-0123", None, None, {})),
        (b"tel:7042;phone-context=x", (b"tel", b"7042", None, None, {b"phone-context": b"x"})),
        (b"urn:service:sos.fire", (b"urn", None, None, None, {})),
        (b"http://a.example/b?c=d#e", (b"http", None, None, None, {})),
    ],
)
def test_uris(text: bytes, expected: tuple[Any, ...]) -> None:
    found = uri(text)
    host = found.host.text.decode() if found.host else None
    assert (found.scheme, found.user, host, found.port, found.parameters) == expected
    assert found.raw == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"sip:", SipFlaw.BAD_NAME_ADDR),
        (b"sip:@h", SipFlaw.BAD_NAME_ADDR),
        (b"sip:a@", SipFlaw.BAD_NAME_ADDR),
        (b"sip:a@b@c", SipFlaw.BAD_NAME_ADDR),
        (b"sip:a%4@h", SipFlaw.BAD_NAME_ADDR),
        (b"sip:a%zz@h", SipFlaw.BAD_NAME_ADDR),
        (b"sip:a b@h", SipFlaw.BAD_NAME_ADDR),
        (b"sip:a<b@h", SipFlaw.BAD_NAME_ADDR),
        (b"sip:h;", SipFlaw.BAD_NAME_ADDR),
        (b"sip:h;;x", SipFlaw.BAD_NAME_ADDR),
        (b"sip:h;x=", SipFlaw.BAD_NAME_ADDR),
        (b"sip:h:", SipFlaw.BAD_NAME_ADDR),
        (b"sip:h:50a", SipFlaw.BAD_NAME_ADDR),
        (b"sip:h?x", SipFlaw.BAD_NAME_ADDR),
        (b"sip:2001:db8::1", SipFlaw.BAD_NAME_ADDR),
        (b"sip:[2001:db8::1", SipFlaw.BAD_NAME_ADDR),
        (b"sip:[fe80::1%25eth0]", SipFlaw.BAD_NAME_ADDR),
        (b"sip:-a", SipFlaw.BAD_NAME_ADDR),
        (b"example.com", SipFlaw.BAD_NAME_ADDR),
        (b"sip:h:0", SipFlaw.BAD_PORT),
        (b"sip:h:65536", SipFlaw.BAD_PORT),
        (b"sip:h:4294972356", SipFlaw.BAD_PORT),
        (b"sip:[1.2.3.4]", SipFlaw.BAD_HOST),
        (b"sip:[1:2:3]", SipFlaw.BAD_HOST),
        (b"sip:[:::1]", SipFlaw.BAD_HOST),
        (b"sip:300.1.1.1", SipFlaw.BAD_HOST),
        (b"sip:1.2.3", SipFlaw.BAD_HOST),
        (b"sip:127.1", SipFlaw.BAD_HOST),
        (b"sip:010.0.0.1", SipFlaw.BAD_HOST),
        (b"sip:0x7f.0.0.1", SipFlaw.BAD_HOST),
        (b"sip:2130706433", SipFlaw.BAD_HOST),
        (b"sip:a..b", SipFlaw.BAD_HOST),
        (b"sip:h;a=1;a=2", SipFlaw.DUPLICATE_PARAMETER),
        (b"sip:h;maddr=x;%6daddr=y", SipFlaw.DUPLICATE_PARAMETER),
        (b"tel:", SipFlaw.BAD_NAME_ADDR),
        (b"tel:hello", SipFlaw.BAD_URI),
        (b"tel:1;a=1;A=2", SipFlaw.DUPLICATE_PARAMETER),
    ],
)
def test_uris_that_are_none(text: bytes, reason: SipFlaw) -> None:
    assert refused(b"<" + text + b">") is reason


@pytest.mark.parametrize(
    ("text", "display", "bracketed", "parameters"),
    [
        (b"<sip:a@h>", b"", True, {}),
        (b"sip:a@h", b"", False, {}),
        (b"sip:a@h;tag=x", b"", False, {b"tag": b"x"}),
        (b"sip:a@h:5060 ; tag = x ; LR ", b"", False, {b"tag": b"x", b"lr": b""}),
        (b" Alice  B <sip:a@h> ;tag=x", b"Alice  B", True, {b"tag": b"x"}),
        (b'"a \\"<b>, \\\\" <sip:a@h>', b'"a \\"<b>, \\\\"', True, {}),
        (b'""<sip:a@h>', b'""', True, {}),
        (b"Andr\xc3\xa9 <sip:a@h>", b"Andr\xc3\xa9", True, {}),
        (b'<sip:a@h>;q=0.7;x="a;b,\\"<"', b"", True, {b"q": b"0.7", b"x": b'"a;b,\\"<"'}),
        (b"<sip:a@h;tag=1?tag=2>;tag=3", b"", True, {b"tag": b"3"}),
        (b"tel:+1;tag=x", b"", False, {b"tag": b"x"}),
    ],
)
def test_addresses(
    text: bytes, display: bytes, bracketed: bool, parameters: dict[bytes, bytes]
) -> None:
    found = one(text)
    assert (found.display, found.bracketed, found.parameters) == (display, bracketed, parameters)
    assert found.raw == text.strip()
    assert found.tag == parameters.get(b"tag")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"*",
        b"<sip:a@h",
        b"sip:a@h>",
        b"<sip:a@h>>",
        b"< sip:a@h>",
        b"<sip:a@h >",
        b"<sip:a@h>;",
        b"<sip:a@h>;=x",
        b"<sip:a@h>;x=",
        b"<sip:a@h>;x=a b",
        b"<sip:a@h> x",
        b"a@b <sip:a@h>",
        b"Bell, A <sip:a@h>",
        b"<sip:a@h>,",
        b"<sip:a@h>,,<sip:b@h>",
        b"sip:a,b@h",
        b"sip:a;b@h",
        b"sip:a@h?x=y",
        b"<sip:a@h><sip:b@h>",
    ],
)
def test_addresses_that_are_none(text: bytes) -> None:
    with pytest.raises(MalformedError) as caught:
        read_all(text)
    assert caught.value.flaw.reason is SipFlaw.BAD_NAME_ADDR


@pytest.mark.parametrize("text", [b'"a <sip:a@h>', b'a" <sip:a@h>', b'<sip:a@h>;x="a'])
def test_quotes_that_stay_open(text: bytes) -> None:
    assert refused(text) is SipFlaw.UNBALANCED_QUOTES


def test_a_parameter_comes_once() -> None:
    assert refused(b"<sip:a@h>;tag=1;TAG=2") is SipFlaw.DUPLICATE_PARAMETER


def test_parameters_are_not_endless() -> None:
    many = b"".join(b";p%d" % number for number in range(64))
    assert len(one(b"<sip:h" + many + b">" + many).parameters) == 64
    assert refused(b"<sip:h" + many + b";x>") is SipFlaw.TOO_MANY_PARAMETERS
    assert refused(b"<sip:h>" + many + b";x") is SipFlaw.TOO_MANY_PARAMETERS


def read_all(text: bytes) -> list[NameAddr]:
    found: list[NameAddr] = []
    position = 0
    while position < len(text) or not found:
        address, position = read_name_addr(text, position, len(text))
        found.append(address)
    return found


def test_several_addresses_in_one_line() -> None:
    found = read_all(b'"a,b" <sip:a@h;x>;q=1 , sip:c@h;q=0.5,<tel:7>')
    assert [address.raw for address in found] == [
        b'"a,b" <sip:a@h;x>;q=1',
        b"sip:c@h;q=0.5",
        b"<tel:7>",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"<sip:a@10.0.0.1:5060;x>;y", b"<sip:a@[2001:db8::7]:6000;x>;y"),
        (b"<sip:10.0.0.1>", b"<sip:[2001:db8::7]:6000>"),
        (b"sip:a@[::1];tag=x", b"sip:a@[2001:db8::7]:6000;tag=x"),
    ],
)
def test_host_and_port_are_replaced_in_place(text: bytes, expected: bytes) -> None:
    endpoint = Endpoint(ip_address("2001:db8::7"), 6000)
    assert apply_edits(text, [one(text).uri.at(endpoint)]) == expected


def test_a_uri_without_a_host_has_none_to_replace() -> None:
    phone = uri(b"tel:7")
    assert phone.host_port == b""
    with pytest.raises(ValueError, match="a tel URI has no host"):
        phone.with_host(b"h")


@pytest.mark.parametrize(
    ("text", "changed", "removed"),
    [
        (b"<sip:h>;Expires = 60;q=1", b"<sip:h>;Expires=5;q=1", b"<sip:h>;q=1"),
        (b"<sip:h>;expires", b"<sip:h>;expires=5", b"<sip:h>"),
        (b'<sip:h>;x=";expires=1"', b'<sip:h>;x=";expires=1";expires=5', None),
        (b"<sip:h;expires=1>", b"<sip:h;expires=1>;expires=5", None),
        (b"sip:h", b"sip:h;expires=5", None),
    ],
)
def test_header_parameters_change_in_place(
    text: bytes, changed: bytes, removed: bytes | None
) -> None:
    address = one(text)
    assert apply_edits(text, [address.with_parameter(b"expires", b"5")]) == changed
    edit = address.without_parameter(b"expires")
    assert (apply_edits(text, [edit]) if edit else None) == removed


@pytest.mark.parametrize(
    ("text", "changed", "removed"),
    [
        (b"<sip:h;MAddr=10.0.0.1;lr>", b"<sip:h;MAddr=h2;lr>", b"<sip:h;lr>"),
        (b"<sip:h:5?a=b>;maddr=x", b"<sip:h:5;maddr=h2?a=b>;maddr=x", None),
        (b"<sip:h;lr>", b"<sip:h;lr;maddr=h2>", None),
    ],
)
def test_uri_parameters_change_in_place(text: bytes, changed: bytes, removed: bytes | None) -> None:
    address = one(text).uri
    assert apply_edits(text, [address.with_parameter(b"maddr", b"h2")]) == changed
    edit = address.without_parameter(b"maddr")
    assert (apply_edits(text, [edit]) if edit else None) == removed


def test_escapes_and_quotes_come_off() -> None:
    assert unescape(b"a%40%4a%00%2") == b"a@J\0%2"
    assert unquote(b'"a \\"b\\\\"') == b'a "b\\'
    assert unquote(b"token") == b"token"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Contact: *, <sip:a@h>", SipFlaw.BAD_NAME_ADDR),
        ("Contact: *\r\nContact: <sip:a@h>", SipFlaw.BAD_NAME_ADDR),
        ("Contact:", SipFlaw.BAD_NAME_ADDR),
        ("Contact: <sip:a@h>;expires=4294967296", SipFlaw.BAD_NUMBER),
        ("Contact: <sip:a@h>;expires=x", SipFlaw.BAD_NUMBER),
        ("Contact: <sip:a@h>;expires", SipFlaw.BAD_NUMBER),
        ("Route: sip:a@h;lr", SipFlaw.BAD_NAME_ADDR),
        ("Record-Route: <sip:a@h>, sip:b@h", SipFlaw.BAD_NAME_ADDR),
        ("Path: sip:h", SipFlaw.BAD_NAME_ADDR),
        ("Service-Route: sip:h", SipFlaw.BAD_NAME_ADDR),
        ("Refer-To: <sip:a@h>, <sip:b@h>\r\nReferred-By: x", SipFlaw.BAD_NAME_ADDR),
        ("P-Asserted-Identity: <sip:a@1.2.3>", SipFlaw.BAD_HOST),
    ],
)
def test_headers_with_addresses_are_read_at_once(line: str, reason: SipFlaw) -> None:
    refusal = read_message(make("REGISTER sip:h SIP/2.0", line))
    assert isinstance(refusal, Flaw)
    assert refusal.reason is reason


def test_a_wildcard_contact_removes_all() -> None:
    message = read_message(make("REGISTER sip:h SIP/2.0", "Contact: *", "Expires: 0"))
    assert isinstance(message, Request)
    assert message.removes_all_contacts
    assert message.contacts == ()
    assert message.expires_s == 0


def test_several_contacts_are_changed_one_by_one() -> None:
    data = make(
        "REGISTER sip:h SIP/2.0", "m: <sip:a@10.0.0.1>;q=1 ,\r\n <sip:b@10.0.0.2:5062>", "Z: 1"
    )
    message = read_message(data)
    assert isinstance(message, Request)
    assert not message.removes_all_contacts
    rewriter = Rewriter(message)
    rewriter.add(message.contacts[1].uri.at(Endpoint(ip_address("192.0.2.9"), 40000)))
    assert rewriter.build() == data.replace(b"10.0.0.2:5062", b"192.0.2.9:40000")
