"""SDP: session descriptions (RFC 8866) and what they mean for a firewall and a NAT.

`flaws` says why something is not read, `values` knows how addresses and ports are written, `lines`
what the lines of a section say, `model` is a description and the transports that it announces,
`parse` reads it, `rewrite` puts other endpoints into it, `answer` tells what an offer and its
answer agree on (RFC 3264).

Nothing here decides whether an endpoint *may* be opened: that is policy, and the caller's.
"""

from fwlb.helpers.sdp.answer import MediaPair, MediaState, Opening, Party, pair
from fwlb.helpers.sdp.flaws import Flaw, SdpFlaw, SdpLimits
from fwlb.helpers.sdp.lines import Direction, Kind, Setup
from fwlb.helpers.sdp.model import Media, SessionDescription, Transport
from fwlb.helpers.sdp.parse import parse
from fwlb.helpers.sdp.rewrite import rewrite
from fwlb.helpers.sdp.values import Component

__all__ = [
    "Component",
    "Direction",
    "Flaw",
    "Kind",
    "Media",
    "MediaPair",
    "MediaState",
    "Opening",
    "Party",
    "SdpFlaw",
    "SdpLimits",
    "SessionDescription",
    "Setup",
    "Transport",
    "pair",
    "parse",
    "rewrite",
]
