"""What an offer and its answer agree on, and which pinholes follow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fwlb.helpers.sdp import (
    Flaw,
    MediaPair,
    MediaState,
    Party,
    SdpFlaw,
    pair,
    parse,
)
from tests.unit.helpers.sdp.describe import shown

CORPUS = Path(__file__).parents[3] / "corpus" / "sdp"
A, B = "c=IN IP4 10.1.0.2", "c=IN IP4 198.51.100.2"
AUDIO_A, AUDIO_B = "m=audio 5004 RTP/AVP 0", "m=audio 6004 RTP/AVP 0"
TO_A, TO_A_RTCP = "> udp 10.1.0.2:5004 rtp", "> udp 10.1.0.2:5005 rtcp"
TO_B, TO_B_RTCP = "< udp 198.51.100.2:6004 rtp", "< udp 198.51.100.2:6005 rtcp"
Agree = Callable[..., list[MediaPair]]


@pytest.fixture
def agree(read) -> Agree:
    """Pairs the lines of an offer with those of an answer."""

    def agree(offer: list[str], answer: list[str] | None) -> list[MediaPair]:
        pairs = pair(read(*offer), None if answer is None else read(*answer))
        assert not isinstance(pairs, Flaw), pairs
        return pairs

    return agree


def openings(pairs: list[MediaPair]) -> list[str]:
    """`>` to the offerer, `<` to the answerer."""
    return [
        f"{'>' if opening.sender is Party.ANSWERER else '<'} {shown(opening.to)}"
        for each in pairs
        for opening in each.openings
    ]


def ways(each: MediaPair) -> str:
    return "offerer " * each.offerer_sends + "answerer" * each.answerer_sends


def test_a_call(agree: Agree) -> None:
    pairs = agree([A, AUDIO_A], [B, AUDIO_B])
    (each,) = pairs
    assert (each.state, ways(each)) == (MediaState.ACCEPTED, "offerer answerer")
    assert openings(pairs) == [TO_A, TO_A_RTCP, TO_B, TO_B_RTCP]
    assert (each.rtcp_mux, each.ice, each.keeps_connection) == (False, False, False)
    assert (each.bundle, each.connects) == (None, None)


def test_parties_have_two_sides() -> None:
    assert Party.OFFERER.other is Party.ANSWERER
    assert Party.ANSWERER.other is Party.OFFERER


@pytest.mark.parametrize(
    ("offer", "answer", "state", "who_sends", "opened"),
    [
        # RFC 3264 section 6.1: directions
        ("sendrecv", "sendrecv", "accepted", "offerer answerer", "ARBR"),
        ("sendonly", "recvonly", "held", "offerer ", "RBR"),
        ("sendrecv", "recvonly", "accepted", "offerer ", "RBR"),
        ("recvonly", "sendonly", "held", "answerer", "ARR"),
        ("sendrecv", "sendonly", "held", "answerer", "ARR"),
        ("sendonly", "sendonly", "held", "", "RR"),  # who answers so is wrong
        ("inactive", "inactive", "held", "", "RR"),
        ("sendrecv", "inactive", "held", "", "RR"),
    ],
)
def test_directions(
    agree: Agree, offer: str, answer: str, state: str, who_sends: str, opened: str
) -> None:
    """RTP goes where it was agreed, RTCP always both ways."""
    pairs = agree([A, AUDIO_A, f"a={offer}"], [B, AUDIO_B, f"a={answer}"])
    (each,) = pairs
    assert (each.state.value, ways(each)) == (state, who_sends)
    all_of_them = [TO_A, TO_A_RTCP, TO_B, TO_B_RTCP]
    wanted = {"A": [TO_A], "B": [TO_B]}
    expected = [line for letter in opened for line in wanted.get(letter, [])]
    expected += [TO_A_RTCP, TO_B_RTCP]
    assert openings(pairs) == [line for line in all_of_them if line in expected]


def test_hold_by_address(agree: Agree) -> None:
    """RFC 2543: nothing can be sent to 0.0.0.0."""
    pairs = agree(["c=IN IP4 0.0.0.0", AUDIO_A], [B, AUDIO_B])
    assert (pairs[0].state, ways(pairs[0])) == (MediaState.HELD, "offerer ")
    assert openings(pairs) == [TO_B, TO_B_RTCP]


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ([A, AUDIO_A], [B, "m=audio 0 RTP/AVP 0"]),
        ([A, "m=audio 0 RTP/AVP 0"], [B, "m=audio 0 RTP/AVP 0"]),
        ([A, "m=audio 0 RTP/AVP 0"], [B, AUDIO_B]),  # nobody accepts what was not offered
    ],
)
def test_a_refused_section_opens_nothing(agree: Agree, offer: list[str], answer: list[str]) -> None:
    lines = ["a=rtcp-mux", "a=ice-ufrag:x"]
    pairs = agree([*offer, *lines], [*answer, *lines])
    (each,) = pairs
    assert (each.state, ways(each), openings(pairs)) == (MediaState.REFUSED, "", [])
    assert (each.rtcp_mux, each.ice) == (False, False)


def test_one_section_is_refused_and_another_accepted(agree: Agree) -> None:
    offer = [A, AUDIO_A, "m=video 5010 RTP/AVP 96"]
    answer = [B, AUDIO_B, "m=video 0 RTP/AVP 96"]
    pairs = agree(offer, answer)
    assert [each.state.value for each in pairs] == ["accepted", "refused"]
    assert openings(pairs) == [TO_A, TO_A_RTCP, TO_B, TO_B_RTCP]


@pytest.mark.parametrize(
    ("offer", "answer", "agreed"),
    [
        (["a=rtcp-mux"], ["a=rtcp-mux"], True),
        (["a=rtcp-mux"], [], False),
        ([], ["a=rtcp-mux"], False),
    ],
)
def test_rtcp_mux_takes_two(
    agree: Agree, offer: list[str], answer: list[str], agreed: bool
) -> None:
    """RFC 5761 section 5.1.1. With it RTP ports stay open on hold: RTCP comes there."""
    pairs = agree([A, AUDIO_A, "a=inactive", *offer], [B, AUDIO_B, "a=inactive", *answer])
    assert pairs[0].rtcp_mux is agreed
    found = [line.rstrip("?") for line in openings(pairs)]
    assert found == ([TO_A, TO_B] if agreed else [TO_A_RTCP, TO_B_RTCP])


CANDIDATE_A = "a=candidate:1 1 UDP 1 10.1.0.3 5104 typ host"
CANDIDATE_A2 = "a=candidate:1 2 UDP 1 10.1.0.3 5105 typ host"
CANDIDATE_B = "a=candidate:1 1 TCP 1 198.51.100.3 6104 typ host tcptype passive"
ICE = "a=ice-ufrag:x"


@pytest.mark.parametrize(
    ("answer", "agreed"),
    [([ICE, CANDIDATE_B], True), ([CANDIDATE_B], False), ([ICE, "a=ice-mismatch"], False)],
)
def test_candidates_count_when_both_do_ice(agree: Agree, answer: list[str], agreed: bool) -> None:
    pairs = agree(
        [A, AUDIO_A, "a=sendonly", ICE, CANDIDATE_A, CANDIDATE_A2],
        [B, AUDIO_B, "a=recvonly", *answer],
    )
    assert pairs[0].ice is agreed
    plain = [TO_A_RTCP, TO_B, TO_B_RTCP]
    with_ice = [
        TO_A,  # checks go both ways
        TO_A_RTCP,
        "> udp 10.1.0.3:5104 rtp host",
        "> udp 10.1.0.3:5105 rtcp host",
        TO_B,
        TO_B_RTCP,
        "< tcp 198.51.100.3:6104 rtp host",
    ]
    assert openings(pairs) == (with_ice if agreed else plain)


def test_dtls_speaks_both_ways_first(agree: Agree) -> None:
    offer = [A, AUDIO_A.replace("RTP/AVP", "UDP/TLS/RTP/SAVP"), "a=sendonly", "a=rtcp-mux-only"]
    answer = [B, AUDIO_B.replace("RTP/AVP", "UDP/TLS/RTP/SAVP"), "a=recvonly"]
    assert openings(agree(offer, answer))[0] == TO_A


BUNDLE = "a=group:BUNDLE a v"
MUX = "a=rtcp-mux"
OFFER = [
    BUNDLE, A, AUDIO_A, "a=mid:a", MUX, "m=video 5006 RTP/AVP 96", "a=mid:v", MUX,
]  # fmt: skip
ANSWER = [
    BUNDLE, B, AUDIO_B, "a=mid:a", MUX, "m=video 6004 RTP/AVP 96", "a=mid:v", MUX,
]  # fmt: skip


def test_a_bundle_is_one_transport(agree: Agree) -> None:
    """RFC 9143, formerly 8843."""
    pairs = agree(OFFER, ANSWER)
    assert [each.bundle for each in pairs] == [0, 0]
    assert [each.state.value for each in pairs] == ["accepted", "accepted"]
    assert openings(pairs) == [TO_A, TO_B]


def test_a_peer_without_bundle_gets_all_transports(agree: Agree) -> None:
    answer = [line.replace("m=video 6004", "m=video 6006") for line in ANSWER if line != BUNDLE]
    pairs = agree(OFFER, answer)
    assert [each.bundle for each in pairs] == [None, None]
    assert openings(pairs) == [
        TO_A,
        TO_B,
        "> udp 10.1.0.2:5006 rtp?",
        "< udp 198.51.100.2:6006 rtp",
    ]


def test_a_section_outside_the_answered_bundle_stands_alone(agree: Agree) -> None:
    answer = [line.replace("BUNDLE a v", "BUNDLE a") for line in ANSWER]
    pairs = agree(OFFER, [line.replace("m=video 6004", "m=video 6006") for line in answer])
    assert [each.bundle for each in pairs] == [0, None]
    assert openings(pairs)[2:] == ["> udp 10.1.0.2:5006 rtp?", "< udp 198.51.100.2:6006 rtp"]


def test_when_the_tagged_section_is_refused_the_next_stands_for_all(agree: Agree) -> None:
    answer = [
        "a=group:BUNDLE v", B, "m=audio 0 RTP/AVP 0", "a=mid:a", "m=video 6006 RTP/AVP 96",
        "a=mid:v", MUX,
    ]  # fmt: skip
    pairs = agree(OFFER, answer)
    assert [each.state.value for each in pairs] == ["refused", "accepted"]
    assert openings(pairs) == ["> udp 10.1.0.2:5006 rtp?", "< udp 198.51.100.2:6006 rtp"]


def test_each_party_has_its_own_tagged_section(agree: Agree) -> None:
    answer = [line.replace("BUNDLE a v", "BUNDLE v a") for line in ANSWER]
    pairs = agree(OFFER, [line.replace("m=video 6004", "m=video 6006") for line in answer])
    assert [each.bundle for each in pairs] == [1, 1]
    assert openings(pairs) == [TO_A, "< udp 198.51.100.2:6006 rtp"]


def test_an_answer_cannot_bundle_more_than_was_offered(agree: Agree) -> None:
    pairs = agree([line.replace("BUNDLE a v", "BUNDLE v") for line in OFFER], ANSWER)
    assert [each.bundle for each in pairs] == [None, 1]
    assert openings(pairs)[2:] == ["> udp 10.1.0.2:5006 rtp", "< udp 198.51.100.2:6004 rtp?"]


def test_a_bundle_only_section_lives_with_its_bundle_alone(agree: Agree) -> None:
    offer = [*OFFER[:5], "m=video 0 RTP/AVP 96", "a=mid:v", "a=bundle-only", MUX]
    assert [each.state.value for each in agree(offer, ANSWER)] == ["accepted", "accepted"]
    alone = [line for line in ANSWER if line != BUNDLE]
    assert [each.state.value for each in agree(offer, alone)] == ["accepted", "refused"]
    assert agree(offer, None)[1].state is MediaState.OFFERED


FAX_A, FAX_B = "m=image 4900 TCP t38", "m=image 4902 TCP t38"
FAX_TO_A, FAX_TO_B = "> tcp 10.1.0.2:4900 tcp", "< tcp 198.51.100.2:4902 tcp"


@pytest.mark.parametrize(
    ("offer", "answer", "connects", "opened"),
    [
        ("actpass", "active", Party.ANSWERER, [FAX_TO_A]),
        ("actpass", "passive", Party.OFFERER, [FAX_TO_B]),
        ("active", "passive", Party.OFFERER, [FAX_TO_B]),
        ("passive", "active", Party.ANSWERER, [FAX_TO_A]),
        (None, None, Party.OFFERER, [FAX_TO_B]),  # the defaults
        ("actpass", None, Party.OFFERER, [FAX_TO_B]),
        ("passive", "passive", None, []),
        ("active", "active", None, []),
        ("actpass", "actpass", None, []),
        ("holdconn", "holdconn", None, []),
        ("active", "holdconn", None, []),
    ],
)
def test_who_connects(
    agree: Agree, offer: str | None, answer: str | None, connects: Party | None, opened: list[str]
) -> None:
    """RFC 4145 section 4.1."""
    offer_lines = [A, FAX_A] + [f"a=setup:{offer}"] * (offer is not None)
    answer_lines = [B, FAX_B] + [f"a=setup:{answer}"] * (answer is not None)
    pairs = agree(offer_lines, answer_lines)
    assert (pairs[0].connects, openings(pairs)) == (connects, opened)


@pytest.mark.parametrize(
    ("offer", "answer", "keeps"),
    [("existing", "existing", True), ("existing", "new", False), ("new", "new", False)],
)
def test_a_connection_that_is_kept(agree: Agree, offer: str, answer: str, keeps: bool) -> None:
    """RFC 4145 section 5; what it needs stays open."""
    pairs = agree(
        [A, FAX_A, "a=setup:passive", f"a=connection:{offer}"],
        [B, FAX_B, "a=setup:active", f"a=connection:{answer}"],
    )
    assert (pairs[0].keeps_connection, openings(pairs)) == (keeps, [FAX_TO_A])


@pytest.mark.parametrize(
    ("offer", "state", "opened"),
    [
        ([A, AUDIO_A], "offered", [TO_A, TO_A_RTCP]),
        ([A, AUDIO_A, MUX], "offered", [TO_A, TO_A_RTCP + "?"]),
        ([A, AUDIO_A, CANDIDATE_A], "offered", [TO_A, TO_A_RTCP, "> udp 10.1.0.3:5104 rtp host"]),
        ([A, "m=audio 0 RTP/AVP 0", CANDIDATE_A], "refused", []),
        ([A, FAX_A], "offered", []),  # the offerer connects
        ([A, FAX_A, "a=setup:actpass"], "offered", [FAX_TO_A]),
        ([A, FAX_A, "a=setup:active"], "offered", []),
    ],
)
def test_the_offer_alone(agree: Agree, offer: list[str], state: str, opened: list[str]) -> None:
    pairs = agree(offer, None)
    assert (pairs[0].state.value, openings(pairs)) == (state, opened)
    assert pairs[0].answered is None
    assert not pairs[0].offerer_sends


def test_early_media_comes_where_the_offerer_listens(agree: Agree) -> None:
    assert ways(agree([A, AUDIO_A], None)[0]) == "answerer"
    assert ways(agree([A, AUDIO_A, "a=sendonly"], None)[0]) == ""
    assert agree([A, FAX_A, "a=setup:passive"], None)[0].connects is Party.ANSWERER
    assert agree([A, AUDIO_A, "a=setup:passive"], None)[0].connects is None


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ([AUDIO_A], []),
        ([AUDIO_A], [AUDIO_B, AUDIO_B]),
        ([AUDIO_A], ["m=video 6004 RTP/AVP 0"]),
        ([AUDIO_A], ["m=audio 6004 udptl t38"]),
        ([FAX_A], ["m=image 4902 udptl t38"]),
        (["m=audio 5004 SCTP x"], ["m=audio 5004 DCCP x"]),
        (["m=audio 5004 SCTP x"], [AUDIO_B]),
    ],
)
def test_an_answer_to_something_else_opens_nothing(
    read, offer: list[str], answer: list[str]
) -> None:
    flaw = pair(read(A, *offer), read(B, *answer))
    assert isinstance(flaw, Flaw)
    assert flaw.reason is SdpFlaw.MISMATCH


def test_security_may_differ(agree: Agree) -> None:
    """An offer of RTP/SAVP answered by RTP/AVP is for the parties to judge."""
    assert agree([A, AUDIO_A.replace("AVP", "SAVPF")], [B, "m=AUDIO 6004 RTP/AVP 0"])
    assert agree([A, "m=audio 5004 SCTP x"], [B, "m=audio 6004 sctp x"])


def test_a_browser_and_a_media_server() -> None:
    offer, answer = (
        parse((CORPUS / f"webrtc_{name}.sdp").read_bytes()) for name in ("offer", "answer")
    )
    assert not isinstance(offer, Flaw)
    assert not isinstance(answer, Flaw)
    pairs = pair(offer, answer)
    assert not isinstance(pairs, Flaw)
    assert [each.state.value for each in pairs] == ["accepted"] * 3
    assert all(each.ice for each in pairs[:2])
    assert openings(pairs) == [
        "> udp 10.1.0.2:50000 rtp",
        "> udp 10.1.0.2:50000 rtp host",
        "> udp [2001:db8:1::2]:50004 rtp host",
        "> udp 198.51.100.9:61000 rtp srflx",
        "> udp 203.0.113.200:49200 rtp relay",
        "> tcp 10.1.0.2:50010 rtp host",
        "< udp 198.51.100.20:40000 rtp",
        "< udp 198.51.100.20:40000 rtp host",
    ]
