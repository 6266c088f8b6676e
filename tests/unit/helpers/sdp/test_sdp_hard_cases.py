"""Descriptions that firewall helpers are known to fail at: each with the endpoints it announces and
with what a NAT makes of it. Stream numbers are RTP and RTCP ports of every section."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

import pytest

from fwlb.helpers.sdp import (
    Flaw,
    SdpFlaw,
    SessionDescription,
    Transport,
    parse,
    rewrite,
)
from fwlb.model import Endpoint, IPAddress
from tests.unit.helpers.sdp.describe import body

INSIDE, PUBLIC = "10.1.0.2", ip_address("203.0.113.1")
C4 = f"c=IN IP4 {INSIDE}"
AUDIO = "m=audio 10000 RTP/AVP 8"


def move(transport: Transport) -> Endpoint | None:
    """Everything inside to the public address, ten thousand ports higher."""
    if str(transport.address).startswith("10.1."):
        return Endpoint(PUBLIC, transport.port + 10000)
    return None


def moved_address(address: IPAddress) -> IPAddress | None:
    return PUBLIC if str(address).startswith("10.1.") else None


def ports(description: SessionDescription) -> list[int]:
    return [transport.port for transport in description.transports()]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([C4, AUDIO], [10000, 10001], id="baseline"),
        pytest.param(
            [C4, AUDIO, "m=video 10002 RTP/AVP 96"],
            [10000, 10001, 10002, 10003],
            id="two sections, session c=",
        ),
        pytest.param(
            [AUDIO, C4, "m=video 10002 RTP/AVP 96", C4],
            [10000, 10001, 10002, 10003],
            id="two sections, media c=",
        ),
        pytest.param(
            [C4, *(f"m=audio {port} RTP/AVP 8" for port in range(10000, 10010, 2))],
            list(range(10000, 10010)),
            id="five audio sections",
        ),
        pytest.param(
            [C4, AUDIO, "m=application 10002 UDP/BFCP *"],
            [10000, 10001, 10002],
            id="application",
        ),
        pytest.param(
            [C4, AUDIO, "m=text 10002 RTP/AVP 98"], [10000, 10001, 10002, 10003], id="text"
        ),
        pytest.param([C4, "m=image 10000 udptl t38"], [10000], id="fax"),
        pytest.param([C4, "m=message 10000 TCP/MSRP *", "a=msrp-cema"], [10000], id="chat"),
        pytest.param([C4, AUDIO, "a=rtcp:10077"], [10000, 10077], id="a=rtcp"),
        pytest.param(
            [C4, AUDIO, f"a=rtcp:10077 IN IP4 {INSIDE}"], [10000, 10077], id="a=rtcp, address"
        ),
        pytest.param([C4, AUDIO, "a=rtcp-mux"], [10000, 10001], id="a=rtcp-mux"),
        pytest.param(["c=in ip4 10.1.0.2", AUDIO], [10000, 10001], id="small letters"),
        pytest.param(["c=IN IP4 10.1.0.3", AUDIO], [10000, 10001], id="another inside host"),
        pytest.param(["c=IN IP4 10.1.7.7", AUDIO], [10000, 10001], id="o= differs from c="),
        pytest.param([C4, "m=audio 0 RTP/AVP 8"], [], id="port 0"),
        pytest.param(
            [C4, "m=audio 0 RTP/AVP 8", "m=video 10002 RTP/AVP 96"],
            [10002, 10003],
            id="port 0 and video",
        ),
        pytest.param([C4, "m=message 9 TCP/MSRP *", "a=setup:active"], [], id="port 9"),
        pytest.param([C4, "m=audio 10001 RTP/AVP 8"], [10001, 10002], id="odd port"),
        pytest.param(
            [C4, "m=audio 10000/2 RTP/AVP 8"], [10000, 10001, 10002, 10003], id="two ports"
        ),
        pytest.param(["c=IN IP4 0.0.0.0", AUDIO], [], id="hold, 0.0.0.0"),
        pytest.param([C4, AUDIO, "a=sendonly"], [10000, 10001], id="hold, sendonly"),
        pytest.param(
            [C4, AUDIO, f"a=candidate:1 1 UDP 2130706431 {INSIDE} 10000 typ host"],
            [10000, 10001, 10000],
            id="ICE",
        ),
        pytest.param([C4, "m=audio 10000 RTP/SAVP 8"], [10000, 10001], id="SRTP"),
        pytest.param([C4, "m=audio 10000 UDP/TLS/RTP/SAVPF 8"], [10000, 10001], id="DTLS-SRTP"),
    ],
)
@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_all_endpoints_are_found_and_moved(
    read: Callable[..., SessionDescription], lines: list[str], expected: list[int], end: str
) -> None:
    data = body(*lines, end=end)
    description = read(data)
    assert ports(description) == expected
    moved = rewrite(description, move, moved_address)
    assert isinstance(moved, bytes)
    assert b"10.1." not in moved  # nothing of the inside leaks
    assert ports(read(moved)) == [port + 10000 for port in expected]
    assert all(each.address == PUBLIC for each in read(moved).transports())


@pytest.mark.parametrize("address", ["203.0.113.66", "198.51.100.4"])
def test_media_of_a_third_party_are_found_and_left(read, address: str) -> None:
    """Whether they may be opened is policy; the c= line of somebody else is not ours to change."""
    description = read(f"c=IN IP4 {address}", AUDIO)
    assert [str(each.address) for each in description.transports()] == [address, address]
    moved = rewrite(description, move, moved_address)
    assert isinstance(moved, bytes)
    assert f"c=IN IP4 {address}".encode() in moved
    assert b"10.1." not in moved


def test_ipv6_media_in_an_ipv4_call_are_read(read) -> None:
    description = read("c=IN IP6 2001:db8:1::2", AUDIO)
    assert [str(each.endpoint) for each in description.transports()] == [
        "[2001:db8:1::2]:10000",
        "[2001:db8:1::2]:10001",
    ]


def test_a_host_name_opens_nothing_and_is_no_mistake(read) -> None:
    description = read("c=IN IP4 phone.example.org", AUDIO)
    assert description.transports() == ()
    assert description.media[0].refused is SdpFlaw.HOST_NAME
    assert rewrite(description, move) is description.data


def test_a_port_that_is_none_is_refused() -> None:
    found = parse(body(C4, "m=audio 70000 RTP/AVP 8"))
    assert isinstance(found, Flaw)
    assert found.reason is SdpFlaw.BAD_PORT


def test_two_phones_with_the_same_port_get_two(read) -> None:
    """Bindings are per address and port, so the second call is as good as the first."""
    bindings = {"10.1.0.2": 20000, "10.1.0.3": 20002}

    def bound(transport: Transport) -> Endpoint:
        return Endpoint(PUBLIC, transport.port - 6000 + bindings[str(transport.address)])

    for inside, port in bindings.items():
        moved = rewrite(read(f"c=IN IP4 {inside}", "m=audio 6000 RTP/AVP 8"), bound)
        assert isinstance(moved, bytes)
        assert ports(read(moved)) == [port, port + 1]


def test_candidates_and_default_stay_the_same_transport(read) -> None:
    """Otherwise the peer says ice-mismatch and ICE is off (RFC 8839 section 4.2.5)."""
    candidate = f"a=candidate:1 1 UDP 2130706431 {INSIDE} 10000 typ host"
    moved = rewrite(read(C4, AUDIO, "a=ice-ufrag:x", candidate), move)
    assert isinstance(moved, bytes)
    default, _, found = read(moved).transports()
    assert default.key == found.key


def test_no_active_section_at_all(read) -> None:
    assert read(C4).transports() == ()
    assert read().media == ()
    assert read(C4, "m=audio 0 RTP/AVP 8").transports() == ()
