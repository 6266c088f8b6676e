"""How much a description may hold, and why one is not read, opened or rewritten."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class SdpFlaw(Enum):
    """What is wrong. The value is the counter's name, everywhere."""

    # the whole description is not read
    NOT_SDP = "sdp-not-sdp"  # it does not start with v=0
    GARBLED = "sdp-garbled"  # a line that is none, NUL, a CR of its own
    TOO_LONG = "sdp-too-long"
    TOO_MANY_LINES = "sdp-too-many-lines"
    TOO_MANY_SECTIONS = "sdp-too-many-media-sections"
    TOO_MANY_TRANSPORTS = "sdp-too-many-transports"
    BAD_MEDIA = "sdp-bad-media-line"
    BAD_CONNECTION = "sdp-bad-connection-line"
    BAD_ADDRESS = "sdp-bad-address"
    BAD_PORT = "sdp-bad-port"
    BAD_ATTRIBUTE = "sdp-bad-attribute"
    DUPLICATE = "sdp-duplicate-line"  # twice what may stand once: readers would disagree
    MISPLACED = "sdp-misplaced-line"
    # a media section opens nothing by its m= and c= lines; the others are not concerned
    MULTICAST = "sdp-multicast"
    HOST_NAME = "sdp-host-name"
    NO_CONNECTION = "sdp-no-connection-line"
    UNKNOWN_NETWORK = "sdp-unknown-network-type"
    UNKNOWN_PROTOCOL = "sdp-unknown-transport-protocol"
    # the new endpoints cannot be written
    PORTS_APART = "sdp-ports-not-adjacent"
    HALF_MAPPED = "sdp-half-mapped"
    MSRP_PATH = "sdp-msrp-path"
    # offer and answer do not belong together
    MISMATCH = "sdp-answer-does-not-match"


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why a description is refused. `detail` is for the log, `line` counts from 1 (0: none)."""

    reason: SdpFlaw
    detail: str
    line: int = 0

    def __str__(self) -> str:
        return f"line {self.line}: {self.detail}" if self.line else self.detail


@dataclass(frozen=True, slots=True)
class SdpLimits:
    """How much one description may hold.

    `max_ports` bounds the number behind the slash of an m= line, `max_candidates` the lines
    of ICE candidates of a whole description; together they bound the transports.
    """

    max_bytes: int = 16384
    max_lines: int = 512
    max_sections: int = 32
    max_ports: int = 8
    max_candidates: int = 128


class FlawError(Exception):
    """How a flaw leaves the functions of this package; none of them lets it out."""

    def __init__(self, reason: SdpFlaw, detail: str, offset: int) -> None:
        super().__init__(detail)
        self.reason = reason
        self.offset = offset

    def flaw(self, data: bytes) -> Flaw:
        """The same as a value, with the line of `data` that `offset` stands in."""
        return Flaw(self.reason, str(self), data.count(b"\n", 0, self.offset) + 1)
