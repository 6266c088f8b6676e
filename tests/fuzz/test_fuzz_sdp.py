"""Mutated descriptions as phones, browsers, fax gateways and cameras send them.

The invariant: any bytes are a description or a flaw with a line number, in bounded time; what is
read announces only unicast addresses and real ports, no more than the limits allow; the identity
changes no byte; any other mapping gives bytes that are read as exactly what was asked for, or a
flaw; and what an offer and an answer open was announced by one of them.
"""

from __future__ import annotations

import random
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from fwlb.helpers.sdp import (
    Flaw,
    SdpFlaw,
    SdpLimits,
    SessionDescription,
    Transport,
    pair,
    parse,
    rewrite,
)
from fwlb.model import Endpoint

CORPUS = Path(__file__).parents[1] / "corpus" / "sdp"
LIMITS = SdpLimits(max_bytes=8192, max_lines=200, max_sections=12, max_ports=4, max_candidates=30)
MUTATIONS = 600_000
PARTS = 12
FRESH = [ip_address(text) for text in ("203.0.113.1", "203.0.113.2", "2001:db8:9::1")]
CANNOT_BE_WRITTEN = {SdpFlaw.PORTS_APART, SdpFlaw.HALF_MAPPED, SdpFlaw.MSRP_PATH}
TOKENS = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"/", b":", b"=", b"0", b"9", b"65535", b"65536"),
    *(b"4294967296", b"-1", b"0.0.0.0", b"::", b"232.1.1.1/127", b"010.1.0.2", b"fe80::1%eth0"),
    *(b"m=audio 5004 RTP/AVP 0\r\n", b"m=image 4900/2 udptl t38\r\n", b"m=x 9 TCP/MSRP *\r\n"),
    *(b"c=IN IP4 10.1.0.2\r\n", b"c=IN IP6 2001:db8::2\r\n", b"c=IN IP4 a.example\r\n", b"v=0\r\n"),
    *(b"a=rtcp:5005\r\n", b"a=rtcp:7 IN IP4 10.1.0.3\r\n", b"a=RTCP-MUX\r\n", b"a=inactive\r\n"),
    *(b"a=candidate:1 1 UDP 1 10.1.0.2 5004 typ host\r\n", b"a=bundle-only\r\n", b"i=x\r\n"),
    *(b"a=remote-candidates:1 192.0.2.1 7000\r\n", b"a=group:BUNDLE 0 1\r\n", b"a=mid:0\r\n"),
    *(b"a=setup:passive\r\n", b"a=path:msrp://x\r\n", b"a=source-filter: incl IN IP4 * ::\r\n"),
]


def seeds() -> list[bytes]:
    return [path.read_bytes() for path in sorted(CORPUS.glob("*.sdp"))]


def mutate(rng: random.Random, data: bytes, other: bytes) -> bytes:
    """A few things done to a description; mostly to the values in its lines."""
    for _ in range(rng.randint(1, 5)):
        at = rng.randint(0, len(data))
        lines = data.splitlines(keepends=True) or [b""]
        line = rng.randrange(len(lines))
        match rng.randrange(8):
            case 0:
                data = data[:at] + rng.choice(TOKENS) + data[at:]
            case 1:
                data = data[:at] + data[at + rng.randint(1, 8) :]
            case 2:
                data = data[:at] + rng.randbytes(rng.randint(1, 4)) + data[at:]
            case 3:
                lines.insert(line, rng.choice(other.splitlines(keepends=True)))
                data = b"".join(lines)
            case 4:
                del lines[line]
                data = b"".join(lines)
            case 5:
                lines[line] *= rng.randint(2, 20)
                data = b"".join(lines)
            case 6:
                lines.insert(line, rng.choice(TOKENS))
                data = b"".join(lines)
            case 7:
                lines.insert(rng.randrange(len(lines)), lines.pop(line))
                data = b"".join(lines)
    return data


class Scatter:
    """Sends every transport to an endpoint of its own."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.new: dict[tuple[object, ...], Endpoint] = {}

    def __call__(self, transport: Transport) -> Endpoint:
        address = self._rng.choice(FRESH)
        new = Endpoint(address, 30000 + 3 * len(self.new))
        self.new[transport.key] = new
        return new


def check(rng: random.Random, data: bytes, answer: bytes) -> int:
    """Check the invariant; how many transports were announced."""
    began = time.process_time()
    found, answered = parse(data, LIMITS), parse(answer, LIMITS)
    assert time.process_time() - began < 0.5
    if isinstance(found, Flaw):
        assert found.reason.value
        assert 1 <= found.line <= data.count(b"\n") + 1
        return 0
    transports = found.transports()
    most = LIMITS.max_sections * LIMITS.max_ports * 2 + LIMITS.max_candidates
    assert len(transports) <= most
    for each in transports:
        assert each.port > 0
        assert not each.address.is_multicast
        assert not each.address.is_unspecified
    assert rewrite(found, lambda each: each.endpoint, lambda each: each) is data
    scatter = Scatter(rng)
    moved = rewrite(found, scatter)
    if isinstance(moved, Flaw):
        assert moved.reason in CANNOT_BE_WRITTEN
    else:
        check_moved(moved, transports, scatter)
    if isinstance(answered, SessionDescription):
        pairs = pair(found, answered)
        if not isinstance(pairs, Flaw):
            opened = {opening.to for each in pairs for opening in each.openings}
            assert opened <= {*transports, *answered.transports()}
    return len(transports)


def check_moved(moved: bytes, transports: tuple[Transport, ...], scatter: Scatter) -> None:
    # what was added may be more lines and bytes than the original was allowed
    again = parse(moved, SdpLimits(max_bytes=70000, max_lines=7000))
    assert isinstance(again, SessionDescription), (moved, again)
    assert [each.endpoint for each in again.transports()] == [
        scatter.new[each.key] for each in transports
    ]


@pytest.mark.fuzz
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_descriptions_keep_the_promises(part: int) -> None:
    rng = random.Random(part)  # noqa: S311 - repeatable, not secret
    originals = seeds()
    announced = 0
    for number in range(MUTATIONS // PARTS):
        data, answer = rng.choice(originals), rng.choice(originals)
        mutated = mutate(rng, data, answer)
        try:
            announced += check(rng, mutated, mutate(rng, rng.choice([data, answer]), data))
        except Exception as error:
            error.add_note(f"part {part}, number {number}: {mutated!r}")
            raise
    assert announced > MUTATIONS // PARTS // 2  # the mutations do not kill every description
