"""Via: sent-by, `received`, `rport` and the other parameters, read and changed in place."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from fwlb.helpers.sip import SipFlaw, Via
from fwlb.helpers.sip.edits import apply_edits
from fwlb.helpers.sip.refusals import MalformedError
from fwlb.helpers.sip.via import read_via
from fwlb.model import Endpoint


def vias(text: bytes) -> list[Via]:
    found: list[Via] = []
    position = 0
    while position < len(text) or not found:
        via, position = read_via(text, position, len(text))
        found.append(via)
    return found


@pytest.mark.parametrize(
    ("text", "transport", "host", "port"),
    [
        (b"SIP/2.0/UDP 192.0.2.1", b"UDP", b"192.0.2.1", None),
        (b"sip / 2.0 / tcp  h.example : 5061 ; branch = x", b"TCP", b"h.example", 5061),
        (b"SIP/2.0/TLS-SCTP [2001:db8::1]:5062", b"TLS-SCTP", b"[2001:db8::1]", 5062),
        (b"SIP/2.0/WS df7jal23ls0d.invalid;alias", b"WS", b"df7jal23ls0d.invalid", None),
    ],
)
def test_sent_by(text: bytes, transport: bytes, host: bytes, port: int | None) -> None:
    (via,) = vias(text)
    assert (via.transport, via.host.text, via.port) == (transport, host, port)
    assert via.raw == text


def test_parameters() -> None:
    text = b"SIP/2.0/UDP h;Branch=z9hG4bK1;rport=4000;received=192.0.2.7;maddr=[ff02::1];ttl=3;x"
    (via,) = vias(text)
    assert via.branch == b"z9hG4bK1"
    assert via.rport == 4000
    assert via.wants_rport
    assert via.received is not None
    assert via.received.address == ip_address("192.0.2.7")
    assert via.maddr is not None
    assert via.maddr.address == ip_address("ff02::1")
    assert via.parameters[b"ttl"] == b"3"
    assert via.parameters[b"x"] == b""


def test_parameters_that_are_not_there() -> None:
    (via,) = vias(b"SIP/2.0/UDP h")
    assert (via.branch, via.rport, via.received, via.maddr) == (None, None, None, None)
    assert not via.wants_rport
    (asking,) = vias(b"SIP/2.0/UDP h;rport")
    assert asking.rport is None
    assert asking.wants_rport


def test_several_hops_in_one_line() -> None:
    assert [
        via.host.text for via in vias(b'SIP/2.0/UDP a;x="," , SIP/2.0/TCP b ,SIP/2.0/UDP c')
    ] == [
        b"a",
        b"b",
        b"c",
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", SipFlaw.BAD_VIA),
        (b"SIP/2.0/UDP", SipFlaw.BAD_VIA),
        (b"SIP/3.0/UDP h", SipFlaw.BAD_VIA),
        (b"HTTP/2.0/UDP h", SipFlaw.BAD_VIA),
        (b"SIP/2.0 h", SipFlaw.BAD_VIA),
        (b"SIP/2.0/UDP h h", SipFlaw.BAD_VIA),
        (b"SIP/2.0/UDP h:", SipFlaw.BAD_VIA),
        (b"SIP/2.0/UDP h;", SipFlaw.BAD_VIA),
        (b"SIP/2.0/UDP 2001:db8::1", SipFlaw.BAD_VIA),
        (b"SIP/2.0/UDP h,", SipFlaw.BAD_VIA),
        (b"SIP/2.0/UDP h,,SIP/2.0/UDP h", SipFlaw.BAD_VIA),
        (b"SIP/2.0/UDP h:70000", SipFlaw.BAD_PORT),
        (b"SIP/2.0/UDP 1.2.3.4.5", SipFlaw.BAD_HOST),
        (b"SIP/2.0/UDP h;rport=x", SipFlaw.BAD_PORT),
        (b"SIP/2.0/UDP h;rport=0", SipFlaw.BAD_PORT),
        (b"SIP/2.0/UDP h;received=[::1", SipFlaw.BAD_HOST),
        (b"SIP/2.0/UDP h;received=1.2.3.", SipFlaw.BAD_HOST),
        (b"SIP/2.0/UDP h;received", SipFlaw.BAD_HOST),
        (b'SIP/2.0/UDP h;received="1.2.3.4"', SipFlaw.BAD_HOST),
        (b"SIP/2.0/UDP h;maddr", SipFlaw.BAD_HOST),
        (b"SIP/2.0/UDP h;maddr=a!b", SipFlaw.BAD_HOST),
        (b"SIP/2.0/UDP h;branch", SipFlaw.EMPTY_BRANCH),
        (b"SIP/2.0/UDP h;branch=z9hG4bK", SipFlaw.EMPTY_BRANCH),
        (b"SIP/2.0/UDP h;branch=z9hg4bk", SipFlaw.EMPTY_BRANCH),
        (b"SIP/2.0/UDP h;branch=1;branch=2", SipFlaw.DUPLICATE_PARAMETER),
    ],
)
def test_what_is_no_via(text: bytes, reason: SipFlaw) -> None:
    with pytest.raises(MalformedError) as caught:
        vias(text)
    assert caught.value.flaw.reason is reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"SIP/2.0/UDP 10.0.0.1", b"SIP/2.0/UDP 192.0.2.9:4000"),
        (b"SIP/2.0/UDP 10.0.0.1 : 5060 ;x", b"SIP/2.0/UDP 192.0.2.9:4000 ;x"),
        (b"SIP/2.0/UDP [::1]:5;branch=1", b"SIP/2.0/UDP 192.0.2.9:4000;branch=1"),
    ],
)
def test_sent_by_is_replaced_and_restored(text: bytes, expected: bytes) -> None:
    (via,) = vias(text)
    changed = apply_edits(text, [via.at(Endpoint(ip_address("192.0.2.9"), 4000))])
    assert changed == expected
    (again,) = vias(changed)
    assert apply_edits(changed, [again.with_host(via.host_port)]) == text


def test_received_and_rport_are_added_as_rfc_3581_wants() -> None:
    text = b"SIP/2.0/UDP 10.0.0.1;rport;branch=z9hG4bK1 , SIP/2.0/UDP h"
    first, _ = vias(text)
    edits = [first.with_parameter(b"received", b"192.0.2.9"), first.with_parameter(b"rport", b"9")]
    assert apply_edits(text, edits) == (
        b"SIP/2.0/UDP 10.0.0.1;rport=9;branch=z9hG4bK1;received=192.0.2.9 , SIP/2.0/UDP h"
    )


def test_parameters_are_removed() -> None:
    text = b"SIP/2.0/UDP h;a ; received = 1.2.3.4 ;b"
    (via,) = vias(text)
    removal = via.without_parameter(b"received")
    assert removal
    assert apply_edits(text, [removal]) == b"SIP/2.0/UDP h;a ;b"
    assert via.without_parameter(b"rport") is None
