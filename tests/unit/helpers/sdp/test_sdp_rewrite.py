"""What is written when endpoints change, and what never is."""

from __future__ import annotations

from collections.abc import Callable
from difflib import ndiff
from ipaddress import ip_address
from pathlib import Path

import pytest

from fwlb.helpers.sdp import Flaw, Kind, SdpFlaw, SessionDescription, Transport, parse, rewrite
from fwlb.model import Endpoint, IPAddress

CORPUS = Path(__file__).parents[3] / "corpus" / "sdp"
C4 = "c=IN IP4 10.1.0.2"
AUDIO = "m=audio 5004 RTP/AVP 0"
VIDEO = "m=video 5006 RTP/AVP 96"
ORIGIN = "o=- 1 1 IN IP4 203.0.113.1"
NEW_C = "c=IN IP4 203.0.113.1"
PUBLIC = ip_address("203.0.113.1")
Mapping = Callable[[Transport], Endpoint | None]


def to(**changes: str) -> Mapping:
    """A mapping by port: `p5004="203.0.113.1 20000"`; others stay."""

    def mapping(transport: Transport) -> Endpoint | None:
        new = changes.get(f"p{transport.port}")
        if new is None:
            return None
        address, port = new.split()
        return Endpoint(ip_address(address), int(port))

    return mapping


def public(transport: Transport) -> Endpoint | None:
    """The usual: all of inside 10/8 to one public address, its ports 20000 higher."""
    if str(transport.address).startswith("10."):
        return Endpoint(PUBLIC, transport.port + 20000)
    return None


def address_of(address: IPAddress) -> IPAddress | None:
    return PUBLIC if str(address).startswith("10.") else None


@pytest.fixture
def changed(read) -> Callable[..., list[str]]:
    """The lines that a rewritten description has and the original has not, in their order."""

    def changed(*lines: str, by: Mapping = public, addresses=None) -> list[str]:
        description = read(*lines)
        data = rewrite(description, by, addresses)
        assert isinstance(data, bytes), data
        before, after = (text.decode().split("\r\n") for text in (description.data, data))
        return [line[2:] for line in ndiff(before, after) if line.startswith("+")]

    return changed


def test_a_call(changed) -> None:
    assert changed(C4, AUDIO, "a=rtpmap:0 PCMU/8000", VIDEO) == [
        ORIGIN,
        NEW_C,
        "m=audio 25004 RTP/AVP 0",
        "m=video 25006 RTP/AVP 96",
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # where the address stands
        ([AUDIO, C4], ["m=audio 25004 RTP/AVP 0", NEW_C]),
        (["c=in ip4 10.1.0.2 ", AUDIO], ["c=in ip4 203.0.113.1 ", "m=audio 25004 RTP/AVP 0"]),
        # the session's line counts for nobody here, and follows as an address
        ([C4, AUDIO, "c=IN IP4 10.1.0.2"], [NEW_C, "m=audio 25004 RTP/AVP 0", NEW_C]),
        ([C4, "m=audio 5004/2 RTP/AVP 0"], [NEW_C, "m=audio 25004/2 RTP/AVP 0"]),
        ([C4, "m=image 4900 udptl t38"], [NEW_C, "m=image 24900 udptl t38"]),
        (
            [C4, "m=image 4900 TCP t38", "a=setup:passive"],
            [NEW_C, "m=image 24900 TCP t38"],
        ),
        # RTCP
        ([C4, AUDIO, "a=rtcp:7001"], [NEW_C, "m=audio 25004 RTP/AVP 0", "a=rtcp:27001"]),
        (
            [C4, AUDIO, "a=rtcp:7001 IN IP4 10.1.0.3"],
            [NEW_C, "m=audio 25004 RTP/AVP 0", "a=rtcp:27001 IN IP4 203.0.113.1"],
        ),
        (
            [C4, AUDIO, "a=rtcp-mux", "a=rtcp:5004 IN IP4 10.1.0.2"],
            [NEW_C, "m=audio 25004 RTP/AVP 0", "a=rtcp:25004 IN IP4 203.0.113.1"],
        ),
        # a refused section shares the line of the other
        ([C4, "m=audio 0 RTP/AVP 0", VIDEO], [NEW_C, "m=video 25006 RTP/AVP 96"]),
        # ICE
        (
            [
                C4,
                AUDIO,
                "a=candidate:1 1 UDP 1 10.1.0.2 5004 typ host generation 0",
                "a=candidate:2 2 UDP 1 10.1.0.2 5005 typ host",
                "a=candidate:3 1 UDP 1 198.51.100.9 6000 typ srflx raddr 10.1.0.2 rport 5004 x",
                "a=candidate:4 1 UDP 1 198.51.100.9 6001 typ relay raddr 198.51.100.9 rport 6000",
                "a=candidate:5 1 TCP 1 10.1.0.2 9 typ host tcptype active",
                "a=candidate:6 1 UDP 1 a.local 5004 typ host",
                "a=remote-candidates:1 10.2.0.1 7000 2 192.0.2.9 7001",
            ],
            [
                NEW_C,
                "m=audio 25004 RTP/AVP 0",
                "a=candidate:1 1 UDP 1 203.0.113.1 25004 typ host generation 0",
                "a=candidate:2 2 UDP 1 203.0.113.1 25005 typ host",
                "a=candidate:3 1 UDP 1 198.51.100.9 6000 typ srflx raddr 203.0.113.1 rport 25004 x",
                "a=candidate:5 1 TCP 1 203.0.113.1 9 typ host tcptype active",
                "a=remote-candidates:1 203.0.113.1 27000 2 192.0.2.9 7001",
            ],
        ),
        # a related address of another port follows as an address
        (
            [C4, AUDIO, "a=candidate:3 1 UDP 1 1.2.3.4 6000 typ srflx raddr 10.1.0.2 rport 9"],
            [
                NEW_C,
                "m=audio 25004 RTP/AVP 0",
                "a=candidate:3 1 UDP 1 1.2.3.4 6000 typ srflx raddr 203.0.113.1 rport 9",
            ],
        ),
        # and so does one of another protocol, though its port is one of ours
        (
            [
                C4,
                AUDIO,
                "a=candidate:3 1 TCP 1 1.2.3.4 6 typ srflx raddr 10.1.0.2 rport 5004 tcptype so",
            ],
            [
                NEW_C,
                "m=audio 25004 RTP/AVP 0",
                "a=candidate:3 1 TCP 1 1.2.3.4 6 typ srflx raddr 203.0.113.1 rport 5004 tcptype so",
            ],
        ),
        # sources of a stream, as far as they are ours
        (
            ["a=source-filter: incl IN IP4 * 10.1.0.2 192.0.2.7", C4, AUDIO],
            [
                "a=source-filter: incl IN IP4 * 203.0.113.1 192.0.2.7",
                NEW_C,
                "m=audio 25004 RTP/AVP 0",
            ],
        ),
    ],
)
def test_all_places_of_an_endpoint(changed, lines: list[str], expected: list[str]) -> None:
    assert changed(*lines) == [ORIGIN, *expected]


def test_the_origin_follows_only_its_own_address(changed) -> None:
    assert changed("c=IN IP4 10.1.0.3", AUDIO) == [NEW_C, "m=audio 25004 RTP/AVP 0"]
    assert changed("c=IN IP4 10.1.0.3", AUDIO, addresses=address_of)[0] == ORIGIN


def test_an_address_that_became_two_is_followed_by_nothing(changed) -> None:
    by = to(p5004="203.0.113.1 20000", p5006="203.0.113.2 20000")
    found = changed(C4, AUDIO, "a=rtcp-mux-only", VIDEO, "a=rtcp-mux-only", by=by)
    assert found == [
        NEW_C,
        "m=audio 20000 RTP/AVP 0",
        "m=video 20000 RTP/AVP 96",
        "c=IN IP4 203.0.113.2",
    ]


def test_sections_without_transports_follow_by_address(changed) -> None:
    """Held, refused, active TCP and unknown ones: nothing opens, and nothing inside leaks."""
    lines = [
        "m=audio 0 RTP/AVP 0",
        C4,
        "m=message 9 TCP/MSRP *",
        "c=IN IP4 10.1.0.3",
        "m=audio 5004 AAL2/ITU 0",
        "c=IN IP4 10.1.0.4/127",
        "m=audio 9 RTP/AVP 0",
        "c=IN IP4 0.0.0.0",
        "a=rtcp:9 IN IP4 10.1.0.5",
    ]
    assert changed(*lines) == []
    assert changed(*lines, addresses=address_of) == [
        ORIGIN,
        NEW_C,
        NEW_C,
        "c=IN IP4 203.0.113.1/127",
        "a=rtcp:9 IN IP4 203.0.113.1",
    ]


@pytest.mark.parametrize(
    "line",
    [
        "c=IN IP4 0.0.0.0",
        "c=IN IP6 ::",
        "c=IN IP4 232.1.1.1/127/2",
        "c=IN IP4 phone.example.org",
        "c=ATM NSAP 47",
    ],
)
def test_what_is_nobody_s_address_stays(read, line: str) -> None:
    description: SessionDescription = read(
        line, AUDIO, "a=source-filter: excl IN IP4 232.1.1.1 host.example.org"
    )
    assert rewrite(description, lambda _: Endpoint(PUBLIC, 1), lambda _: None) is description.data
    assert description.data.count(b"10.1.0.2") == 1  # in o=
    rewritten = rewrite(description, lambda _: Endpoint(PUBLIC, 1), lambda _: PUBLIC)
    assert rewritten == description.data.replace(b"10.1.0.2", b"203.0.113.1")


# --- lines that have to be added


def test_rtcp_that_is_no_longer_one_above(changed) -> None:
    by = to(p5004="203.0.113.1 20000", p5005="203.0.113.1 20007", p5006="203.0.113.1 20010")
    found = changed(C4, AUDIO, "a=ptime:20", VIDEO, by=by)
    assert found == [
        ORIGIN,
        NEW_C,
        "m=audio 20000 RTP/AVP 0",
        "a=rtcp:20007",
        "m=video 20010 RTP/AVP 96",
    ]


def test_rtcp_at_another_address(changed) -> None:
    by = to(p5004="203.0.113.1 20000", p5005="203.0.113.2 20001")
    assert changed(AUDIO, C4, by=by) == [
        "m=audio 20000 RTP/AVP 0",
        NEW_C,
        "a=rtcp:20001 IN IP4 203.0.113.2",
    ]
    assert changed(AUDIO, C4, "a=rtcp:5005", by=by) == [
        "m=audio 20000 RTP/AVP 0",
        NEW_C,
        "a=rtcp:20001 IN IP4 203.0.113.2",
    ]


def test_rtcp_alone_moves(changed) -> None:
    assert changed(C4, AUDIO, by=to(p5005="10.1.0.2 6001")) == ["a=rtcp:6001"]


def test_rtcp_of_which_nothing_is_said_goes_one_above(changed) -> None:
    assert changed(AUDIO, C4, by=to(p5004="203.0.113.1 20000")) == [
        ORIGIN,
        "m=audio 20000 RTP/AVP 0",
        NEW_C,
    ]


def test_a_section_that_stays_keeps_the_shared_line(changed) -> None:
    by = to(p5004="203.0.113.1 25004", p5005="203.0.113.1 25005")
    assert changed(C4, AUDIO, "i=a title", "b=AS:64", VIDEO, by=by) == [
        ORIGIN,
        "m=audio 25004 RTP/AVP 0",
        NEW_C,
    ]


def test_where_added_lines_stand() -> None:
    """c= after i= (RFC 8866 section 9), a=rtcp at the end of its section."""
    description = parse(
        b"v=0\r\nc=IN IP4 10.1.0.2\r\n"
        b"m=audio 5004 RTP/AVP 0\r\ni=title\r\nb=AS:64\r\n"
        b"m=video 5006 RTP/AVP 96\r\n"
        b"m=text 5008 RTP/AVP 98\r\n\r\n"
    )
    assert not isinstance(description, Flaw)
    by = to(
        p5004="203.0.113.1 20000",
        p5005="203.0.113.1 20003",
        p5006="203.0.113.2 20000",
        p5007="203.0.113.2 20003",
        p5009="10.1.0.2 6001",
    )
    assert rewrite(description, by) == (
        b"v=0\r\nc=IN IP4 10.1.0.2\r\n"
        b"m=audio 20000 RTP/AVP 0\r\ni=title\r\nc=IN IP4 203.0.113.1\r\nb=AS:64\r\na=rtcp:20003\r\n"
        b"m=video 20000 RTP/AVP 96\r\nc=IN IP4 203.0.113.2\r\na=rtcp:20003\r\n"
        b"m=text 5008 RTP/AVP 98\r\na=rtcp:6001\r\n\r\n"
    )


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
@pytest.mark.parametrize("last", [b"", b"END"])
def test_added_lines_end_like_the_others(end: bytes, last: bytes) -> None:
    lines = [b"v=0", b"c=IN IP4 10.1.0.2", b"m=a 1024 RTP/AVP 0", b"m=b 1026 RTP/AVP 0"]
    data = end.join(lines) + last.replace(b"END", end)
    description = parse(data)
    assert not isinstance(description, Flaw)
    by = to(p1026="203.0.113.1 20000", p1027="203.0.113.2 20001")
    lines[3:] = [
        b"m=b 20000 RTP/AVP 0",
        b"c=IN IP4 203.0.113.1",
        b"a=rtcp:20001 IN IP4 203.0.113.2",
    ]
    assert rewrite(description, by) == end.join(lines) + last.replace(b"END", end)


def test_from_one_address_family_to_the_other(changed) -> None:
    by = to(p5004="2001:db8::9 20000", p5005="2001:db8::9 20001")
    lines = [C4, "a=source-filter: incl IN IP4 * 10.1.0.2", AUDIO]
    assert changed(*lines, "a=rtcp:5005 IN IP4 10.1.0.2", by=by) == [
        "o=- 1 1 IN IP6 2001:db8::9",
        "c=IN IP6 2001:db8::9",
        "m=audio 20000 RTP/AVP 0",
        "a=rtcp:20001 IN IP6 2001:db8::9",
    ]


# --- what cannot be written


@pytest.mark.parametrize(
    "by",
    [
        to(p5004="203.0.113.1 20000"),
        to(p5004="203.0.113.1 20000", p5006="203.0.113.1 20004"),
        to(p5004="203.0.113.1 20000", p5006="203.0.113.2 20002"),
        to(p5004="203.0.113.1 20000", p5006="203.0.113.1 20002", p5005="203.0.113.1 20003"),
        to(p5005="203.0.113.1 20001"),
    ],
)
def test_several_ports_stay_together_or_nothing_is_written(read, by: Mapping) -> None:
    flaw = rewrite(read(C4, "m=audio 5004/2 RTP/AVP 0"), by)
    assert isinstance(flaw, Flaw)
    assert (flaw.reason, flaw.line) == (SdpFlaw.PORTS_APART, 6)


def test_several_ports_with_rtcp_unsaid(changed) -> None:
    by = to(p5004="203.0.113.1 20000", p5006="203.0.113.1 20002")
    assert changed(C4, "m=audio 5004/2 RTP/AVP 0", by=by)[-1] == "m=audio 20000/2 RTP/AVP 0"


def test_rtcp_that_would_move_without_being_asked_for(read, changed) -> None:
    """a=rtcp without an address means that of c=."""
    by = to(p5004="203.0.113.1 20000")
    flaw = rewrite(read(C4, AUDIO, "a=rtcp:7001"), by)
    assert isinstance(flaw, Flaw)
    assert flaw.reason is SdpFlaw.HALF_MAPPED
    assert changed(C4, AUDIO, "a=rtcp:7001", by=to(p5004="10.1.0.2 6000")) == [
        "m=audio 6000 RTP/AVP 0"
    ]
    # agreed to be unused: whatever it means, nobody sends there
    assert changed(C4, AUDIO, "a=rtcp:7001", "a=rtcp-mux", by=by)[1:] == [
        NEW_C,
        "m=audio 20000 RTP/AVP 0",
    ]
    # and with an address of its own it is whole
    assert changed(C4, AUDIO, "a=rtcp:7001 IN IP4 192.0.2.1", by=by)[1:] == [
        NEW_C,
        "m=audio 20000 RTP/AVP 0",
    ]


MSRP = [C4, "m=message 7394 TCP/MSRP *", "a=path:msrp://10.1.0.2:7394/2s93i93idj;tcp"]


def test_msrp_moves_only_where_the_peer_does_not_use_the_path(read, changed) -> None:
    flaw = rewrite(read(*MSRP), public)
    assert isinstance(flaw, Flaw)
    assert flaw.reason is SdpFlaw.MSRP_PATH
    assert rewrite(read(*MSRP), lambda _: None) == read(*MSRP).data
    assert changed(*MSRP, "a=msrp-cema") == [ORIGIN, NEW_C, "m=message 27394 TCP/MSRP *"]
    assert changed(C4, AUDIO, "a=path:x") == [ORIGIN, NEW_C, "m=audio 25004 RTP/AVP 0"]


# --- how the mapping is asked


def test_a_transport_is_asked_for_once(read) -> None:
    asked: list[str] = []

    def mapping(transport: Transport) -> Endpoint:
        asked.append(f"{transport.protocol.name} {transport.endpoint} {transport.kind.value}")
        return transport.endpoint

    description = read(
        C4, AUDIO, "a=candidate:1 1 UDP 1 10.1.0.2 5004 typ host",
        "a=candidate:2 1 TCP 1 10.1.0.2 5004 typ host tcptype passive",
        "a=remote-candidates:1 192.0.2.1 7000", AUDIO.replace("audio", "video"),
    )  # fmt: skip
    assert rewrite(description, mapping) is description.data
    assert asked == [
        "UDP 10.1.0.2:5004 default",
        "UDP 10.1.0.2:5005 default",
        "TCP 10.1.0.2:5004 host",
        "UDP 192.0.2.1:7000 remote",
    ]


def test_fallbacks_are_shown_as_such(read) -> None:
    shown: list[tuple[int, Kind, bool]] = []
    description = read(C4, AUDIO, "a=rtcp-mux")
    rewrite(description, lambda each: shown.append((each.port, each.kind, each.fallback)))
    assert shown == [(5004, Kind.DEFAULT, False), (5005, Kind.DEFAULT, True)]


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.sdp")), ids=lambda path: path.stem)
def test_descriptions_as_programs_send_them(path: Path) -> None:
    """Nothing changes without need; and what changes can be changed back."""
    data = path.read_bytes()
    description = parse(data)
    assert not isinstance(description, Flaw)
    assert rewrite(description, lambda each: each.endpoint, lambda each: each) is data
    assert rewrite(description, lambda _: None, lambda _: None) is data

    moves: dict[Endpoint, Endpoint] = {}
    addresses: dict[IPAddress, IPAddress] = {}

    def other(address: IPAddress) -> IPAddress:
        fresh = "192.0.2.1" if address.version == 4 else "2001:db8:9::"
        return addresses.setdefault(address, ip_address(fresh) + 100 + len(addresses))

    def move(transport: Transport) -> Endpoint:
        new = Endpoint(other(transport.address), transport.port ^ 0x1000)
        return moves.setdefault(transport.endpoint, new)

    moved = rewrite(description, move, other)
    assert isinstance(moved, bytes)
    again = parse(moved)
    assert not isinstance(again, Flaw)
    assert [each.endpoint for each in again.transports()] == [
        moves[each.endpoint] for each in description.transports()
    ]
    endpoints_back = {new: old for old, new in moves.items()}
    back = {new: old for old, new in addresses.items()}
    assert rewrite(again, lambda each: endpoints_back[each.endpoint], back.__getitem__) == data
