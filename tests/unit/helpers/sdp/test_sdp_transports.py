"""What every form of media section announces."""

from __future__ import annotations

from pathlib import Path

import pytest

from fwlb.helpers.sdp import Direction, Flaw, SdpFlaw, Setup, parse

CORPUS = Path(__file__).parents[3] / "corpus" / "sdp"
C4 = "c=IN IP4 10.1.0.2"
C6 = "c=IN IP6 2001:db8::2"
AUDIO = "m=audio 5004 RTP/AVP 0"
RTP, RTCP = "udp 10.1.0.2:5004 rtp", "udp 10.1.0.2:5005 rtcp"
ICE = "a=ice-ufrag:abcd"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([C4, AUDIO], [RTP, RTCP]),
        ([AUDIO, C4], [RTP, RTCP]),
        (["c=IN IP4 10.1.0.9", AUDIO, C4], [RTP, RTCP]),  # the section's own counts
        ([C6, AUDIO], ["udp [2001:db8::2]:5004 rtp", "udp [2001:db8::2]:5005 rtcp"]),
        (["c=in ip4 10.1.0.2", AUDIO], [RTP, RTCP]),
        (["c=IN  IP4  10.1.0.2 ", "m=audio  5004  RTP/AVP  0 "], [RTP, RTCP]),
        # RTCP elsewhere
        ([C4, AUDIO, "a=rtcp:7000"], [RTP, "udp 10.1.0.2:7000 rtcp"]),
        ([C4, AUDIO, "a=rtcp:7000 IN IP4 10.1.0.3"], [RTP, "udp 10.1.0.3:7000 rtcp"]),
        ([C4, AUDIO, "a=rtcp:7000 IN IP6 2001:db8::3"], [RTP, "udp [2001:db8::3]:7000 rtcp"]),
        ([C4, AUDIO, "a=RTCP:7000"], [RTP, "udp 10.1.0.2:7000 rtcp"]),
        ([C4, AUDIO, "a=rtcp:7000 IN IP4 rtcp.example.org"], [RTP]),
        ([C4, AUDIO, "a=rtcp:7000 IN IP4 0.0.0.0"], [RTP]),
        ([C4, AUDIO, "a=rtcp:7000 ATM NSAP 47"], [RTP]),
        ([C4, AUDIO, "a=rtcp:0"], [RTP]),
        ([C4, AUDIO, "a=rtcp:9"], [RTP]),
        ([C4, AUDIO, "a=rtcp-fb:* nack"], [RTP, RTCP]),
        ([C4, AUDIO, "a=rtcp-xr:voip-metrics"], [RTP, RTCP]),
        ([C4, "m=audio 65535 RTP/AVP 0"], ["udp 10.1.0.2:65535 rtp"]),
        # RTCP on the same port, if the other party agrees
        ([C4, AUDIO, "a=rtcp-mux"], [RTP, RTCP + "?"]),
        ([C4, AUDIO, "a=rtcp-mux", "a=rtcp:5004"], [RTP]),
        ([C4, AUDIO, "a=rtcp-mux", "a=rtcp-mux-only"], [RTP]),
        # several ports
        (
            [C4, "m=audio 5004/2 RTP/AVP 0"],
            [RTP, RTCP, "udp 10.1.0.2:5006 rtp", "udp 10.1.0.2:5007 rtcp"],
        ),
        ([C4, "m=audio 5004/1 RTP/AVP 0"], [RTP, RTCP]),
        (
            [C4, "m=application 5004/3 udp x"],
            [f"udp 10.1.0.2:{port} data" for port in (5004, 5005, 5006)],
        ),
        # nothing to receive on
        ([AUDIO], []),
        ([C4, "m=audio 0 RTP/AVP 0"], []),
        ([C4, "m=audio 0 RTP/AVP 0", "a=rtcp:5005 IN IP4 10.1.0.2"], []),
        ([C4, "m=audio 9 RTP/AVP 0"], []),
        (["c=IN IP4 0.0.0.0", AUDIO], []),
        (["c=IN IP6 ::", AUDIO], []),
        (["c=IN IP4 phone.example.org", AUDIO], []),
        (["c=IN IP4 232.1.1.1", AUDIO], []),
        (["c=IN IP4 232.1.1.1/127/3", AUDIO], []),
        (["c=IN IP6 ff3e::1/3", AUDIO], []),
        (["c=IN IP4 10.1.0.2/127", AUDIO], []),  # a TTL belongs to multicast
        (["c=ATM NSAP 47.0091.8100.0000", AUDIO], []),
        ([C4, "m=audio 5004 AAL2/ITU 0"], []),
        ([C4, "m=audio 5004 DCCP/RTP/AVP 0"], []),
    ],
)
def test_rtp(announced, lines: list[str], expected: list[str]) -> None:
    assert announced(*lines) == expected


@pytest.mark.parametrize(
    ("media", "expected"),
    [
        ("audio 5004 RTP/AVPF 0", [RTP, RTCP]),
        ("audio 5004 RTP/SAVP 0", [RTP, RTCP]),
        ("audio 5004 RTP/SAVPF 0", [RTP, RTCP]),
        ("audio 5004 rtp/avp 0", [RTP, RTCP]),
        ("audio 5004 UDP/TLS/RTP/SAVP 0", [RTP, RTCP]),
        ("video 5004 UDP/TLS/RTP/SAVPF 96", [RTP, RTCP]),
        ("text 5004 RTP/AVP 98", [RTP, RTCP]),
        ("image 5004 udptl t38", ["udp 10.1.0.2:5004 udptl"]),
        ("image 5004 UDPTL t38", ["udp 10.1.0.2:5004 udptl"]),
        ("image 5004 UDP/TLS/UDPTL t38", ["udp 10.1.0.2:5004 udptl"]),
        ("image 5004 tcp t38", ["tcp 10.1.0.2:5004 tcp"]),
        ("image 5004 TCPTL t38", ["tcp 10.1.0.2:5004 tcp"]),
        ("application 5004 UDP/BFCP *", ["udp 10.1.0.2:5004 data"]),
        ("application 5004 TCP/TLS/BFCP *", ["tcp 10.1.0.2:5004 tcp"]),
        ("application 5004 UDP/DTLS/SCTP webrtc-datachannel", ["udp 10.1.0.2:5004 data"]),
        ("application 5004 DTLS/SCTP 5000", ["udp 10.1.0.2:5004 data"]),
        ("message 5004 TCP/MSRP *", ["tcp 10.1.0.2:5004 tcp"]),
        ("message 5004 TCP/TLS/MSRP *", ["tcp 10.1.0.2:5004 tcp"]),
        ("audio 5004 TCP/RTP/AVP 0", ["tcp 10.1.0.2:5004 rtp", "tcp 10.1.0.2:5005 rtcp"]),
        ("application 5004 udp", ["udp 10.1.0.2:5004 data"]),  # no format
    ],
)
def test_transport_protocols(announced, media: str, expected: list[str]) -> None:
    assert announced(C4, f"m={media}") == expected


@pytest.mark.parametrize(
    ("setup", "role", "receives"),
    [
        ([], None, True),
        (["a=setup:passive"], Setup.PASSIVE, True),
        (["a=setup:actpass"], Setup.ACTPASS, True),
        (["a=setup:ACTIVE"], Setup.ACTIVE, False),
        (["a=setup:holdconn"], Setup.HOLDCONN, False),
    ],
)
def test_tcp_receives_unless_it_connects_itself(
    read, setup: list[str], role: Setup | None, receives: bool
) -> None:
    """RFC 4145 section 4.1; without a role only offer and answer together tell."""
    (media,) = read(C4, "m=image 5004 TCP t38", *setup).media
    assert media.setup is role
    assert [transport.setup for transport in media.transports()] == [role] * receives


def test_a_setup_for_all_sections_is_overridden_by_one(read) -> None:
    first, second = read(
        C4, "a=setup:active", "m=image 1024 TCP t38", "m=image 1025 TCP t38", "a=setup:passive"
    ).media
    assert (first.transports(), second.transports()[0].port) == ((), 1025)


def test_the_role_of_dtls_is_not_that_of_a_connection(announced) -> None:
    assert announced(C4, "m=audio 5004 UDP/TLS/RTP/SAVP 0", "a=setup:active") == [RTP, RTCP]


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        ("1 1 UDP 1 10.1.0.2 8998 typ host", ["udp 10.1.0.2:8998 rtp host"]),
        ("1 1 udp 1 10.1.0.2 8998 TYP HOST", ["udp 10.1.0.2:8998 rtp host"]),
        ("1 2 UDP 1 10.1.0.2 8999 typ host", ["udp 10.1.0.2:8999 rtcp host"]),
        ("1 3 UDP 1 10.1.0.2 8999 typ host", ["udp 10.1.0.2:8999 data host"]),
        (
            "a/+9 1 UDP 1 192.0.2.3 45 typ srflx raddr 10.1.0.2 rport 8998 generation 0",
            ["udp 192.0.2.3:45 rtp srflx"],
        ),
        ("1 1 UDP 1 192.0.2.3 45 typ prflx raddr ::", ["udp 192.0.2.3:45 rtp prflx"]),
        ("1 1 UDP 1 2001:db8::7 45 typ relay", ["udp [2001:db8::7]:45 rtp relay"]),
        ("1 1 TCP 1 10.1.0.2 8998 typ host tcptype passive", ["tcp 10.1.0.2:8998 rtp host"]),
        ("1 1 TCP 1 10.1.0.2 8998 typ host tcptype so x y", ["tcp 10.1.0.2:8998 rtp host"]),
        ("1 1 TCP 1 10.1.0.2 9 typ host tcptype active", []),
        ("1 1 TCP 1 10.1.0.2 8998 typ host tcptype active", []),
        ("1 1 TCP 1 10.1.0.2 8998 typ host", []),
        ("1 1 ssltcp 1 10.1.0.2 443 typ host", []),
        ("1 1 UDP 1 10.1.0.2 8998 typ wormhole", []),
        ("1 1 UDP 1 0c1f.local 8998 typ host", []),
        ("1 1 UDP 1 0.0.0.0 8998 typ host", []),
        ("1 1 UDP 1 10.1.0.2 9 typ host", []),
        ("1 1 UDP 1 224.0.0.1 8998 typ host", []),
    ],
)
def test_ice_candidates(announced, candidate: str, expected: list[str]) -> None:
    """RFC 8839 section 5.1 and RFC 6544 section 4.5."""
    lines = ["c=IN IP4 0.0.0.0", "m=audio 9 RTP/AVP 0", ICE, f"a=candidate:{candidate}"]
    assert announced(*lines) == expected


def test_candidates_count_also_where_the_default_opens_nothing(announced) -> None:
    candidate = "a=candidate:1 1 UDP 1 10.1.0.2 8998 typ host"
    for first in (["m=audio 5004 SCTP x"], ["c=IN IP4 a.example", AUDIO], [AUDIO]):
        assert announced(*first, candidate)[0].startswith("udp 10.1.0.2:8998 ")


def test_remote_candidates_are_the_other_party_s(read) -> None:
    line = "a=remote-candidates:1 192.0.2.3 45664 2 192.0.2.3 45665"
    (media,) = read(C4, AUDIO, line).media
    assert len(media.transports()) == 2
    found = [media.transport(candidate) for candidate in media.remote_candidates]
    assert [(str(each.endpoint), each.component.value) for each in found if each] == [
        ("192.0.2.3:45664", "rtp"),
        ("192.0.2.3:45665", "rtcp"),
    ]


BUNDLED = [
    "a=group:BUNDLE a b",
    C4,
    AUDIO,
    "a=mid:a",
    "m=video 5006 RTP/AVP 96",
    "a=mid:b",
]


def test_the_tagged_section_of_a_bundle_is_the_one_to_receive(announced, read) -> None:
    """RFC 9143 section 7: others have transports only for a peer that knows no BUNDLE."""
    assert announced(*BUNDLED) == [
        RTP,
        RTCP,
        "udp 10.1.0.2:5006 rtp?",
        "udp 10.1.0.2:5007 rtcp?",
    ]
    assert [media.bundle for media in read(*BUNDLED).media] == [0, 0]


def test_named_rtcp_of_a_bundled_section_is_a_fallback_too(announced) -> None:
    assert announced(*BUNDLED, "a=rtcp:7000")[2:] == [
        "udp 10.1.0.2:5006 rtp?",
        "udp 10.1.0.2:7000 rtcp?",
    ]


def test_a_bundle_only_section_is_not_refused(read) -> None:
    lines = [*BUNDLED[:4], "m=video 0 RTP/AVP 96", "a=bundle-only"]
    _, grouped = read(*lines, "a=mid:b").media
    _, alone = read(*lines).media
    assert (grouped.disabled, grouped.transports()) == (False, ())
    assert alone.disabled


@pytest.mark.parametrize(
    ("group", "bundles"),
    [
        ("LS a b", [None, None]),
        ("bundle b a", [1, 1]),
        ("BUNDLE b", [None, 1]),
        ("BUNDLE a nobody", [0, None]),
        ("BUNDLE nobody", [None, None]),
        ("BUNDLE", [None, None]),
        ("", [None, None]),
    ],
)
def test_groups(read, group: str, bundles: list[int | None]) -> None:
    found = read(f"a=group:{group}", *BUNDLED[1:])
    assert [media.bundle for media in found.media] == bundles


def test_a_refused_section_is_never_the_tagged_one(read) -> None:
    lines = [line.replace("5004", "0") for line in BUNDLED]
    assert [media.bundle for media in read(*lines).media] == [1, 1]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([AUDIO], SdpFlaw.NO_CONNECTION),
        (["c=IN IP4 a.example.org", AUDIO], SdpFlaw.HOST_NAME),
        (["c=IN IP4 232.1.1.1/1", AUDIO], SdpFlaw.MULTICAST),
        (["c=ATM NSAP 47", AUDIO], SdpFlaw.UNKNOWN_NETWORK),
        (["c=IN IP7 47", AUDIO], SdpFlaw.UNKNOWN_NETWORK),
        ([C4, "m=audio 5004 SCTP x"], SdpFlaw.UNKNOWN_PROTOCOL),
        ([C4, AUDIO], None),
        (["m=audio 0 RTP/AVP 0"], None),
        (["c=IN IP4 0.0.0.0", AUDIO], None),  # hold is no mistake
    ],
)
def test_a_section_says_why_it_opens_nothing(
    read, lines: list[str], expected: SdpFlaw | None
) -> None:
    (media,) = read(*lines).media
    assert media.refused is expected


def test_one_section_that_opens_nothing_does_not_concern_the_others(announced) -> None:
    lines = ["c=IN IP4 10.1.0.2", AUDIO, "m=video 5010 RTP/AVP 96", "c=IN IP4 232.1.1.1/127"]
    assert announced(*lines) == [RTP, RTCP]


@pytest.mark.parametrize(
    ("session", "own", "expected"),
    [
        ([], [], Direction.SENDRECV),
        ([], ["a=sendonly"], Direction.SENDONLY),
        (["a=inactive"], [], Direction.INACTIVE),
        (["a=inactive"], ["a=recvonly"], Direction.RECVONLY),
        ([], ["a=SendRecv "], Direction.SENDRECV),
        ([], ["a=sendrecv", "a=sendrecv"], Direction.SENDRECV),
    ],
)
def test_direction(read, session: list[str], own: list[str], expected: Direction) -> None:
    (media,) = read(C4, *session, AUDIO, *own).media
    assert media.direction is expected


@pytest.mark.parametrize(
    ("lines", "held"),
    [
        ([C4, AUDIO], False),
        (["c=IN IP4 0.0.0.0", AUDIO], True),
        (["c=IN IP6 ::", AUDIO], True),
        (["c=IN IP4 0.0.0.0", AUDIO, ICE], False),  # trickle ICE says so before it has any
        ([AUDIO], False),
    ],
)
def test_hold_of_rfc_2543(read, lines: list[str], held: bool) -> None:
    assert read(*lines).media[0].held is held


def test_what_else_a_section_says(read) -> None:
    description = read(
        C4, "a=control:*", "m=video 5004/1 RTP/AVP 96  97", "a=control: rtsp://a/b=1 ", "a=mid:v",
        "a=connection:existing", "a=rtcp-mux", "a=ice-mismatch",
    )  # fmt: skip
    (media,) = description.media
    assert description.control == b"*"
    assert (media.kind, media.port, media.proto, media.formats) == (
        b"video",
        5004,
        b"RTP/AVP",
        b"96  97",
    )
    assert (media.control, media.mid) == (b"rtsp://a/b=1", b"v")
    assert media.existing_connection
    assert media.rtcp_mux
    assert media.ice_mismatch
    assert not media.ice


def test_what_a_section_does_not_say(read) -> None:
    description = read(C4, "a=connection:new", AUDIO)
    (media,) = description.media
    assert (media.control, media.mid, description.control) == (None, None, None)
    said = (media.existing_connection, media.rtcp_mux, media.ice_mismatch, media.bundle_only)
    assert (*said, media.bundled, media.disabled) == (False,) * 6


CORPUS_TRANSPORTS = {
    "announce_ffmpeg": "",
    "camera_describe_gst": "",
    "camera_describe_old": "",
    "conference_bfcp": "2334 2335 2336 2337 2338 2339 2340 2342 2343",
    "fax_t38": "4900",
    "fax_t38_tcp": "4902",
    "ice_second_offer": "45664 45665 8998 45664",
    "iptv_multicast": "",
    "msrp_chat_cema": "7394",
    "phone_audio": "16384 16385",
    "phone_hold_rfc2543": "",
    "phone_hold_sendonly": "5004 5005",
    "phone_srtp_ipv6": "11780 11781",
    "softphone_audio_video": "10000 10001 10002 10003",
    "trunk_rtcp_elsewhere": "10076 10077 10078 10079 10091 10077 10100 10105",
    "webrtc_answer": "40000 40001? 40000 40000? 40001? 40000?",
    "webrtc_offer": ("50000 50001? 50000 50001? 50004 61000 49200 50010 50002? 50003? 50002?"),
    "webrtc_trickle": "",
}


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.sdp")), ids=lambda path: path.stem)
def test_descriptions_as_programs_send_them(path: Path) -> None:
    description = parse(path.read_bytes())
    assert not isinstance(description, Flaw), description
    found = [f"{each.port}{'?' * each.fallback}" for each in description.transports()]
    assert found == CORPUS_TRANSPORTS[path.stem].split()


def test_all_of_the_corpus_is_looked_at() -> None:
    assert {path.stem for path in CORPUS.glob("*.sdp")} == set(CORPUS_TRANSPORTS)
