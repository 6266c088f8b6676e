"""What an offer and its answer agree on (RFC 3264), and which flows follow from it.

How it decides where there is room:

* Offer and answer must have the same number of sections of the same kinds over the same transport
  protocol (RFC 3264 section 6), else nothing follows from them.
* RTP comes to a party when the other one sends and it receives. RTCP comes always: it is sent on
  hold, too. Where RTCP shares the port, or ICE or DTLS has to talk both ways first, it stays open.
* RTCP has its own port unless both said a=rtcp-mux; a bundled section has none of its own, the
  tagged one stands for it. The offer's own order of tags counts for the offerer, the answer's for
  the answerer (RFC 9143 section 7.3).
* ICE candidates count when both sections do ICE and the answer does not complain of a mismatch.
* A TCP connection goes to the party that waits for it: RFC 4145 section 4.1, where the offer is
  active and the answer passive when they do not say.
* The offer alone lets the answerer send early media to all that the offerer listens on.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from fwlb.helpers.sdp.flaws import Flaw, SdpFlaw
from fwlb.helpers.sdp.lines import Kind, Setup
from fwlb.helpers.sdp.model import Media, SessionDescription, Transport
from fwlb.helpers.sdp.values import Component
from fwlb.model import Protocol


class Party(Enum):
    """The two sides of an offer/answer exchange. They may swap with the next one."""

    OFFERER = "offerer"
    ANSWERER = "answerer"

    @property
    def other(self) -> Party:
        return Party.ANSWERER if self is Party.OFFERER else Party.OFFERER


class MediaState(Enum):
    """What became of one section.

    HELD is accepted, but somebody said sendonly or inactive, or 0.0.0.0 for an address: on hold,
    or a stream in one direction, which looks the same (RFC 3264 section 8.4).
    """

    OFFERED = "offered"
    ACCEPTED = "accepted"
    HELD = "held"
    REFUSED = "refused"


class Opening(NamedTuple):
    """A pinhole to be: `sender` may send, or connect, to a transport of the other party."""

    sender: Party
    to: Transport


@dataclass(frozen=True, slots=True)
class MediaPair:
    """One section in offer and answer (None before the answer came).

    `offerer_sends`, `answerer_sends`: whether media flows that way. `rtcp_mux`, `ice`: both agreed.
    `bundle` is the place of the section whose transport the answerer uses for this one, when BUNDLE
    was agreed. `connects` is who opens a TCP connection; `keeps_connection`: both want the one that
    is there (RFC 4145 section 5). `openings` of a bundled section stand with the tagged one.
    """

    offered: Media
    answered: Media | None
    state: MediaState
    offerer_sends: bool
    answerer_sends: bool
    rtcp_mux: bool
    ice: bool
    bundle: int | None
    connects: Party | None
    keeps_connection: bool
    openings: tuple[Opening, ...]


def pair(offer: SessionDescription, answer: SessionDescription | None) -> list[MediaPair] | Flaw:
    """The sections of an offer with those of its answer, or before it, in their order."""
    if answer is None:
        return [_offered(media) for media in offer.media]
    if len(offer.media) != len(answer.media):
        detail = f"{len(offer.media)} m= lines were offered and {len(answer.media)} answered"
        return Flaw(SdpFlaw.MISMATCH, detail)
    bundles = _Bundles.of(offer, answer)
    pairs = []
    for offered, answered in zip(offer.media, answer.media, strict=True):
        if not _same_kind(offered, answered):
            what = [b" ".join((media.kind, media.proto)).decode() for media in (offered, answered)]
            detail = f"{what[0]} was offered and {what[1]} answered"
            return Flaw(SdpFlaw.MISMATCH, detail)
        pairs.append(_answered(offered, answered, bundles))
    return pairs


def _same_kind(offered: Media, answered: Media) -> bool:
    one, other = offered.profile, answered.profile
    if one is None or other is None:
        same_protocol = offered.proto.upper() == answered.proto.upper()
    else:
        same_protocol = one[:3] == other[:3]
    return same_protocol and offered.kind.lower() == answered.kind.lower()


class _Bundles(NamedTuple):
    """Section -> the tagged section whose transport is used for it, for each party."""

    offerer: dict[int, int]
    answerer: dict[int, int]

    @classmethod
    def of(cls, offer: SessionDescription, answer: SessionDescription) -> _Bundles:
        """The groups that both have, without the sections that only one put into them."""
        members: dict[tuple[int, int], list[int]] = {}
        for offered, answered in zip(offer.media, answer.media, strict=True):
            if offered.bundle is None or answered.bundle is None or answered.port == 0:
                continue
            members.setdefault((offered.bundle, answered.bundle), []).append(offered.section)
        bundles = cls({}, {})
        for (offerer, answerer), sections in members.items():
            for section in sections:
                bundles.offerer[section] = offerer if offerer in sections else sections[0]
                bundles.answerer[section] = answerer if answerer in sections else sections[0]
        return bundles


def _offered(media: Media) -> MediaPair:
    openings: list[Opening] = []
    listens = media.setup in (Setup.PASSIVE, Setup.ACTPASS)
    if not media.disabled:
        openings = [
            Opening(Party.ANSWERER, transport)
            for transport in media.transports()
            if _may_come(transport, connects=listens)
        ]
    return MediaPair(
        offered=media,
        answered=None,
        state=MediaState.REFUSED if media.disabled else MediaState.OFFERED,
        offerer_sends=False,
        answerer_sends=media.direction.receives and not media.disabled,
        rtcp_mux=False,
        ice=False,
        bundle=None,
        connects=Party.ANSWERER if listens and _is_tcp(media) else None,
        keeps_connection=False,
        openings=tuple(openings),
    )


def _answered(offered: Media, answered: Media, bundles: _Bundles) -> MediaPair:
    section = offered.section
    refused = answered.port == 0 or (offered.port == 0 and section not in bundles.offerer)
    bundled = not refused and section in bundles.answerer
    sends = {
        Party.OFFERER: not refused and offered.direction.sends and _takes(answered),
        Party.ANSWERER: not refused and answered.direction.sends and _takes(offered),
    }
    rtcp_mux = not refused and (bundled or (offered.rtcp_mux and answered.rtcp_mux))
    ice = not refused and offered.ice and answered.ice and not answered.ice_mismatch
    connects = None if refused else _connects(offered, answered)
    openings: list[Opening] = []
    for receiver, media, tagged in (
        (Party.OFFERER, offered, bundles.offerer),
        (Party.ANSWERER, answered, bundles.answerer),
    ):
        sender = receiver.other
        if not refused and (not bundled or tagged[section] == section):
            openings += [
                Opening(sender, transport)
                for transport in _needed(media, rtcp_mux=rtcp_mux, ice=ice, sends=sends[sender])
                if _may_come(transport, connects=connects is sender)
            ]
    return MediaPair(
        offered=offered,
        answered=answered,
        state=_state(offered, answered, refused=refused),
        offerer_sends=sends[Party.OFFERER],
        answerer_sends=sends[Party.ANSWERER],
        rtcp_mux=rtcp_mux,
        ice=ice,
        bundle=bundles.answerer[section] if bundled else None,
        connects=connects,
        keeps_connection=offered.existing_connection and answered.existing_connection,
        openings=tuple(openings),
    )


def _needed(media: Media, *, rtcp_mux: bool, ice: bool, sends: bool) -> Iterator[Transport]:
    """The transports of one party that the agreement needs; `sends` is whether the other sends."""
    secured = media.profile is not None and media.profile.secured
    both_ways = rtcp_mux or ice or secured
    for transport in media.transports():
        if transport.kind is not Kind.DEFAULT and not ice:
            continue
        if transport.component is Component.RTCP:
            if not rtcp_mux:
                yield transport
        elif sends or both_ways or transport.protocol is Protocol.TCP:
            yield transport


def _may_come(transport: Transport, *, connects: bool) -> bool:
    """Whether the other party sends to, or connects to, this transport of its own accord."""
    return connects or transport.protocol is Protocol.UDP or transport.kind is not Kind.DEFAULT


def _takes(media: Media) -> bool:
    return media.direction.receives and not media.held


def _state(offered: Media, answered: Media, *, refused: bool) -> MediaState:
    if refused:
        return MediaState.REFUSED
    for media in (offered, answered):
        if media.held or not media.direction.receives:
            return MediaState.HELD
    return MediaState.ACCEPTED


def _is_tcp(media: Media) -> bool:
    return media.profile is not None and media.profile.protocol is Protocol.TCP


def _connects(offered: Media, answered: Media) -> Party | None:
    """Who opens the TCP connection; None where nobody may, or there is none."""
    if not _is_tcp(offered):
        return None
    offer, answer = offered.setup or Setup.ACTIVE, answered.setup or Setup.PASSIVE
    if answer is Setup.ACTIVE and offer in (Setup.PASSIVE, Setup.ACTPASS):
        return Party.ANSWERER
    if answer is Setup.PASSIVE and offer in (Setup.ACTIVE, Setup.ACTPASS):
        return Party.OFFERER
    return None
