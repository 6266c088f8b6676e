"""What is read as a description, and what is refused for which reason."""

from __future__ import annotations

import pytest

from fwlb.helpers.sdp import Flaw, SdpFlaw, SdpLimits, parse

C4 = "c=IN IP4 10.1.0.2"
AUDIO = "m=audio 5004 RTP/AVP 0"
CANDIDATE = "a=candidate:1 1 UDP 1 10.1.0.2 8998 typ host"


@pytest.mark.parametrize(
    "data",
    [
        b"v=0\r\n",
        b"v=0\n",
        b"v=0\r\nm=audio 5004 RTP/AVP 0\r\n",  # o=, s= and t= are missing in cameras
        b"v=0\nc=IN IP4 10.1.0.2\nm=audio 5004 RTP/AVP 0\n",  # LF (RFC 8866 section 5)
        b"v=0\r\nc=IN IP4 10.1.0.2\nm=audio 5004 RTP/AVP 0\n",  # both
        b"v=0\r\nm=audio 5004 RTP/AVP 0",  # the last line has no end
        b"v=0\r\nm=audio 5004 RTP/AVP 0\r\n\r\n\n",  # empty lines behind
        b"v=0\r\nm=audio 5004 RTP/AVP 0\r\nc=IN IP4 10.1.0.2\r\ni=late\r\nb=AS:1\r\n",
        b"v=0\r\na=x-own\r\na=\xc3\xa4\xff\r\nz=\r\n",
        b"v=0\r\ns=caf\xc3\xa9\r\n",
    ],
)
def test_read(data: bytes) -> None:
    description = parse(data)
    assert not isinstance(description, Flaw), description
    assert description.data is data


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", SdpFlaw.NOT_SDP),
        (b"v=1\r\n", SdpFlaw.NOT_SDP),
        (b"v=0", SdpFlaw.NOT_SDP),
        (b"\r\nv=0\r\n", SdpFlaw.NOT_SDP),
        (b" v=0\r\n", SdpFlaw.NOT_SDP),
        (b"o=- 1 1 IN IP4 10.1.0.2\r\nv=0\r\n", SdpFlaw.NOT_SDP),
        (b"POST / HTTP/1.1\r\n", SdpFlaw.NOT_SDP),
        (b"v=0\r\nhello\r\n", SdpFlaw.GARBLED),
        (b"v=0\r\n\r\ns=-\r\n", SdpFlaw.GARBLED),
        (b"v=0\r\nM=audio 5004 RTP/AVP 0\r\n", SdpFlaw.GARBLED),
        (b"v=0\r\nc =IN IP4 10.1.0.2\r\n", SdpFlaw.GARBLED),
        (b"v=0\r\n c=IN IP4 10.1.0.2\r\n", SdpFlaw.GARBLED),  # SDP knows no folding
        (b"v=0\r\n=x\r\n", SdpFlaw.GARBLED),
        (b"v=0\r\ns=a\0b\r\n", SdpFlaw.GARBLED),
        (b"v=0\r\ns=a\ra=rtcp:7\r\n", SdpFlaw.GARBLED),
        (b"v=0\r\ns=a\r\r\n", SdpFlaw.GARBLED),
        (b"v=0\r\nm=audio 5004 RTP/AVP 0\r\nv=0\r\n", SdpFlaw.GARBLED),  # two descriptions
    ],
)
def test_not_read_at_all(data: bytes, expected: SdpFlaw) -> None:
    found = parse(data)
    assert isinstance(found, Flaw)
    assert found.reason is expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        # m=
        ([C4, "m=audio"], SdpFlaw.BAD_MEDIA),
        ([C4, "m=audio RTP/AVP 0"], SdpFlaw.BAD_MEDIA),
        ([C4, "m=audio x RTP/AVP 0"], SdpFlaw.BAD_MEDIA),
        ([C4, "m=audio -1 RTP/AVP 0"], SdpFlaw.BAD_MEDIA),
        ([C4, "m=audio 5004/ RTP/AVP 0"], SdpFlaw.BAD_MEDIA),
        ([C4, "m=audio 5004/0 RTP/AVP 0"], SdpFlaw.BAD_MEDIA),
        ([C4, "m=audio\t5004\tRTP/AVP\t0"], SdpFlaw.BAD_MEDIA),
        ([C4, "m=" + "a" * 256 + " 5004 RTP/AVP 0"], SdpFlaw.BAD_MEDIA),
        ([C4, "m=audio 5004 " + "R" * 256], SdpFlaw.BAD_MEDIA),
        ([C4, "m=audio 65536 RTP/AVP 0"], SdpFlaw.BAD_PORT),
        ([C4, "m=audio 70000 RTP/AVP 0"], SdpFlaw.BAD_PORT),
        ([C4, "m=audio 4294972300 RTP/AVP 0"], SdpFlaw.BAD_PORT),  # 5004 in 32 bits
        ([C4, "m=audio " + "9" * 5000 + " RTP/AVP 0"], SdpFlaw.BAD_PORT),
        ([C4, "m=audio 65534/2 RTP/AVP 0"], SdpFlaw.BAD_PORT),
        ([C4, "m=audio 5004/9 RTP/AVP 0"], SdpFlaw.TOO_MANY_TRANSPORTS),
        ([C4, "m=audio 5004/4294967298 RTP/AVP 0"], SdpFlaw.TOO_MANY_TRANSPORTS),
        # c=
        (["c=IN IP4", AUDIO], SdpFlaw.BAD_CONNECTION),
        (["c=", AUDIO], SdpFlaw.BAD_CONNECTION),
        (["c=IN IP4 10.1.0.2 10.1.0.3", AUDIO], SdpFlaw.BAD_CONNECTION),
        (["c=IN IP4 232.1.1.1/", AUDIO], SdpFlaw.BAD_CONNECTION),
        (["c=IN IP4 10.1.0.256", AUDIO], SdpFlaw.BAD_ADDRESS),
        (["c=IN IP4 10.1.2", AUDIO], SdpFlaw.BAD_ADDRESS),
        (["c=IN IP4 010.1.0.2", AUDIO], SdpFlaw.BAD_ADDRESS),  # octal to some
        (["c=IN IP4 0x0a010002", AUDIO], SdpFlaw.BAD_ADDRESS),
        (["c=IN IP4 10.1.0.2:5004", AUDIO], SdpFlaw.BAD_ADDRESS),
        (["c=IN IP4 2001:db8::2", AUDIO], SdpFlaw.BAD_ADDRESS),
        (["c=IN IP6 10.1.0.2", AUDIO], SdpFlaw.BAD_ADDRESS),
        (["c=IN IP6 [2001:db8::2]", AUDIO], SdpFlaw.BAD_ADDRESS),
        (["c=IN IP6 fe80::2%eth0", AUDIO], SdpFlaw.BAD_ADDRESS),
        (["c=IN IP6 2001:db8::2::3", AUDIO], SdpFlaw.BAD_ADDRESS),
        ([C4, "c=IN IP4 10.1.0.3", AUDIO], SdpFlaw.DUPLICATE),
        ([C4, C4, AUDIO], SdpFlaw.DUPLICATE),
        ([AUDIO, C4, "c=IN IP4 10.1.0.3"], SdpFlaw.DUPLICATE),
        ([AUDIO, "c=IN IP4 232.1.1.1/1", C4], SdpFlaw.DUPLICATE),
        (["c=IN IP4 232.1.1.1/1", "c=IN IP4 232.1.1.2/1", AUDIO], SdpFlaw.DUPLICATE),
        # o=
        (["o=- 2 2 IN IP4 10.1.0.2", C4, AUDIO], SdpFlaw.DUPLICATE),
        ([C4, AUDIO, "o=- 2 2 IN IP4 10.1.0.2"], SdpFlaw.MISPLACED),
        # attributes
        (["a=rtcp:5005", C4, AUDIO], SdpFlaw.MISPLACED),
        ([CANDIDATE, C4, AUDIO], SdpFlaw.MISPLACED),
        (["a=remote-candidates:1 10.1.0.2 5004", C4, AUDIO], SdpFlaw.MISPLACED),
        ([C4, AUDIO, "a=rtcp"], SdpFlaw.BAD_ATTRIBUTE),
        ([C4, AUDIO, "a=rtcp:x"], SdpFlaw.BAD_ATTRIBUTE),
        ([C4, AUDIO, "a=rtcp: 5005"], SdpFlaw.BAD_ATTRIBUTE),
        ([C4, AUDIO, "a=rtcp:5005 IN IP4"], SdpFlaw.BAD_ATTRIBUTE),
        ([C4, AUDIO, "a=rtcp:5005 10.1.0.2"], SdpFlaw.BAD_ATTRIBUTE),
        ([C4, AUDIO, "a=rtcp:70541"], SdpFlaw.BAD_PORT),
        ([C4, AUDIO, "a=rtcp:5005 IN IP4 10.1"], SdpFlaw.BAD_ADDRESS),
        ([C4, AUDIO, "a=rtcp:5005 IN IP6 10.1.0.2"], SdpFlaw.BAD_ADDRESS),
        ([C4, AUDIO, "a=rtcp:5005", "a=rtcp:5007"], SdpFlaw.DUPLICATE),
        ([C4, AUDIO, "a=rtcp:5005", "a=RTCP:5007"], SdpFlaw.DUPLICATE),
        ([C4, AUDIO, "a=rtcp:5005", "a=rtcp:5005"], SdpFlaw.DUPLICATE),
        ([C4, "m=audio 5004/2 RTP/AVP 0", "a=rtcp:6000"], SdpFlaw.BAD_ATTRIBUTE),
        ([C4, AUDIO, "a=candidate:1 1 UDP 1 10.1.0.2 8998"], SdpFlaw.BAD_ATTRIBUTE),
        ([C4, AUDIO, "a=candidate:1 1 UDP 1 10.1.0.2 typ host"], SdpFlaw.BAD_ATTRIBUTE),
        ([C4, AUDIO, CANDIDATE.replace(" 1 U", " 1000 U")], SdpFlaw.BAD_ATTRIBUTE),
        ([C4, AUDIO, CANDIDATE.replace("8998", "88998")], SdpFlaw.BAD_PORT),
        ([C4, AUDIO, CANDIDATE.replace("10.1.0.2", "10.1.2")], SdpFlaw.BAD_ADDRESS),
        ([C4, AUDIO, CANDIDATE + " raddr 10.1.0.3 rport 70000"], SdpFlaw.BAD_PORT),
        ([C4, AUDIO, "a=remote-candidates:1 10.1.0.2"], SdpFlaw.BAD_ATTRIBUTE),
        ([C4, AUDIO, "a=remote-candidates:1 10.1.0.2 70000"], SdpFlaw.BAD_PORT),
        ([C4, AUDIO, "a=remote-candidates:1 10.1.2 7000"], SdpFlaw.BAD_ADDRESS),
        ([C4, AUDIO, *["a=remote-candidates:1 10.1.0.2 5004"] * 2], SdpFlaw.DUPLICATE),
        ([C4, AUDIO, "a=setup:sometimes"], SdpFlaw.BAD_ATTRIBUTE),
        ([C4, AUDIO, "a=setup:active", "a=setup:passive"], SdpFlaw.DUPLICATE),
        ([C4, AUDIO, "a=sendonly", "a=recvonly"], SdpFlaw.DUPLICATE),
        ([C4, AUDIO, "a=mid:1", "a=mid:2"], SdpFlaw.DUPLICATE),
        ([C4, "a=source-filter: incl IN IP4 *", AUDIO], SdpFlaw.BAD_ATTRIBUTE),
        (["a=group:BUNDLE 1", C4, AUDIO, "a=mid:1", AUDIO, "a=mid:1"], SdpFlaw.DUPLICATE),
        (["a=group:BUNDLE 1 1", C4, AUDIO, "a=mid:1"], SdpFlaw.DUPLICATE),
        (["a=group:BUNDLE 1", "a=group:BUNDLE 1", C4, AUDIO, "a=mid:1"], SdpFlaw.DUPLICATE),
    ],
)
def test_a_line_that_is_wrong(flaw, lines: list[str], expected: SdpFlaw) -> None:
    assert flaw(*lines).reason is expected


@pytest.mark.parametrize(
    "lines",
    [
        [C4, AUDIO, "a=mid:1", "a=mid:1 ", "a=setup:active", "a=setup:ACTIVE"],
        [AUDIO, "c=IN IP4 232.1.1.1/1", "c=IN IP4 232.1.1.2/1"],  # layers
        [C4, AUDIO, "a=group:BUNDLE 1", "a=mid:1"],  # belongs before the first m= line
        [C4, AUDIO, CANDIDATE + " raddr what?"],  # nobody connects to it
    ],
)
def test_lines_that_look_wrong_and_harm_nobody(read, lines: list[str]) -> None:
    assert read(*lines)


def test_a_flaw_names_the_line(flaw) -> None:
    found = flaw(C4, AUDIO, "a=rtcp:70541")
    assert found.line == 7  # after v= o= s= t= c= m=
    assert str(found) == "line 7: a port that is not in 0..65535: 70541"
    assert str(Flaw(SdpFlaw.MISMATCH, "no line")) == "no line"


@pytest.mark.parametrize(
    ("value", "address"),
    [
        ("- 1 1 IN IP4 10.1.0.2", "10.1.0.2"),
        ("- 1 1 in ip6 2001:DB8::2 ", "2001:db8::2"),
        ("John Doe 1 1 IN IP4 10.1.0.2", "10.1.0.2"),
        ("jürgen 1 1 IN IP4 10.1.0.2", "10.1.0.2"),
        ("- 1 1 IN IP4 host.example.org", None),
        ("- 1 1 IN IP4 0.0.0.0", None),
        ("- 1 1 IN IP4 10.1", None),
        ("- 1 1 ATM NSAP 47", None),
        ("-", None),
        ("", None),
    ],
)
def test_the_address_of_an_origin(value: str, address: str | None) -> None:
    """It opens nothing: where it cannot be read it does no harm."""
    description = parse(f"v=0\r\no={value}\r\n".encode())
    assert not isinstance(description, Flaw), description
    origin = description.origin
    found = origin.unicast if origin else None
    assert (str(found) if found else None) == address


LIMITS = SdpLimits(max_bytes=400, max_lines=20, max_sections=3, max_ports=2, max_candidates=2)
SMALL = "v=0\r\nc=IN IP4 10.1.0.2\r\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (SMALL + "s=" + "x" * (400 - len(SMALL) - 4) + "\r\n", None),
        (SMALL + "s=" + "x" * (400 - len(SMALL) - 3) + "\r\n", SdpFlaw.TOO_LONG),
        (SMALL + "a=x\r\n" * 18, None),
        (SMALL + "a=x\r\n" * 19, SdpFlaw.TOO_MANY_LINES),
        (SMALL + (AUDIO + "\r\n") * 3, None),
        (SMALL + (AUDIO + "\r\n") * 4, SdpFlaw.TOO_MANY_SECTIONS),
        (SMALL + "m=audio 5004/2 RTP/AVP 0\r\n", None),
        (SMALL + "m=audio 5004/3 RTP/AVP 0\r\n", SdpFlaw.TOO_MANY_TRANSPORTS),
        (SMALL + (AUDIO + "\r\n" + CANDIDATE + "\r\n") * 2, None),
        (SMALL + (AUDIO + "\r\n" + CANDIDATE + "\r\n") * 3, SdpFlaw.TOO_MANY_TRANSPORTS),
        (
            SMALL + AUDIO + "\r\na=remote-candidates:1 10.1.0.3 1024 2 10.1.0.3 1025\r\n",
            None,
        ),
        (
            SMALL + AUDIO + "\r\na=remote-candidates:" + " ".join(["1 10.1.0.3 1024"] * 3),
            SdpFlaw.TOO_MANY_TRANSPORTS,
        ),
    ],
)
def test_limits(text: str, reason: SdpFlaw | None) -> None:
    found = parse(text.encode(), LIMITS)
    assert (found.reason if isinstance(found, Flaw) else None) is reason


def test_counter_names_are_unique_and_say_whose_they_are() -> None:
    assert all(flaw.value.startswith("sdp-") for flaw in SdpFlaw)
    assert len({flaw.value for flaw in SdpFlaw}) == len(SdpFlaw)
