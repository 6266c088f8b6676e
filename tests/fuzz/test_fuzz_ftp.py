"""Mutated recordings of real FTP sessions.

The invariant: whatever bytes come, from whichever side and however split, the helper returns
each side's bytes exactly once and in order, holds no more than three lines, never raises, opens
only a high port of the party that announced it, and never expects more than two channels; after
it gave up reading it opens nothing.
"""

from __future__ import annotations

import json
import random
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from fwlb.helpers.contract import ChannelEnded, ChannelExpected, ChannelOffered, Forward, WentOpaque
from fwlb.helpers.ftp import FtpHelper, FtpLimits
from fwlb.model import Side

CORPUS = Path(__file__).parents[1] / "corpus" / "ftp"
LIMITS = FtpLimits(max_line_bytes=512, max_pending_commands=16, denied_ports=frozenset({8080}))
MUTATIONS = 300_000
PARTS = 12
Chunks = list[tuple[Side, bytes]]
TOKENS = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\xff", b"\xff\xf4", b"\xff\xf2", b"\xff\xfd\n"),
    *(b"-", b",", b"|", b"(", b"0", b"999999"),
    *(b"PORT 192,0,2,1,19,137\r\n", b"PORT 10,0,0,1,19,137\r\n", b"EPRT |2|2001:db8::1|5001|\r\n"),
    *(b"PASV\r\n", b"EPSV\r\n", b"EPSV ALL\r\n", b"ABOR\r\n", b"AUTH TLS\r\n", b"REIN\r\n"),
    *(b"QUIT\r\n", b"220 x\r\n", b"227 (192,0,2,2,156,64)\r\n", b"227-x\r\n"),
    *(b"229 (|||40000|)\r\n", b"150 x\r\n", b"226 x\r\n", b"234 x\r\n", b"421 x\r\n"),
    *(b"200 x\r\n", b"426 x\r\n"),
]


def seeds() -> list[tuple[Any, Chunks]]:
    """Recordings, without those that are mostly TLS."""
    return [
        (transcript, [(Side(side), text.encode("latin-1")) for side, text in transcript["chunks"]])
        for file in sorted(CORPUS.glob("*.json"))
        for transcript in json.loads(file.read_text())
        if "TLS" not in transcript["name"]
    ]


def mutate(rng: random.Random, chunks: Chunks) -> Chunks:
    """A piece of the recording, mostly from its start, with a few things done to it."""
    start = rng.choice([0, 0, 0, rng.randrange(len(chunks))])
    mutated = chunks[start : start + rng.randint(4, 40)]
    for _ in range(rng.randint(1, 6)):
        at = rng.randrange(len(mutated))
        side, data = mutated[at]
        cut = rng.randint(0, len(data))
        match rng.randrange(8):
            case 0:
                mutated[at] = (side, data[:cut] + rng.choice(TOKENS) + data[cut:])
            case 1:
                mutated[at] = (side, data[:cut] + data[cut + rng.randint(1, 8) :])
            case 2:
                mutated[at] = (side, data[:cut] + rng.randbytes(rng.randint(1, 4)) + data[cut:])
            case 3:
                mutated[at : at + 1] = [(side, data[:cut]), (side, data[cut:])]
            case 4:
                mutated[at] = (side.other, data)
            case 5:
                mutated.insert(at, mutated[rng.randrange(len(mutated))])
            case 6:
                mutated[at] = (side, data[:cut] * rng.randint(1, 30))
            case 7:
                mutated.insert(at, (rng.choice(list(Side)), rng.choice(TOKENS)))
    return mutated


def check(transcript: Any, chunks: Chunks) -> int:
    """Feed the chunks and check the invariant; how many channels were offered."""
    addresses = {
        Side(side): frozenset(map(ip_address, transcript[f"{side}_addresses"]))
        for side in ("client", "server")
    }
    helper = FtpHelper(
        client_addresses=addresses[Side.CLIENT],
        server_addresses=addresses[Side.SERVER],
        limits=LIMITS,
    )
    returned: dict[Side, list[bytes]] = {side: [] for side in Side}
    expected: set[int] = set()
    offered = 0
    opaque = False
    for side, data in chunks:
        for event in helper.receive(side, data, 0.0):
            assert not opaque or isinstance(event, Forward)
            match event:
                case ChannelExpected():
                    expected.add(event.channel)
                    continue
                case ChannelEnded():
                    expected.discard(event.channel)
                    continue
                case ChannelOffered():
                    offered += 1
                    assert event.endpoint.address in addresses[event.sender]
                    assert event.endpoint.port >= 1024
                    assert event.endpoint.port not in LIMITS.denied_ports
                    assert event.rewritten(event.endpoint) == event.message
                case WentOpaque():
                    opaque = True
            returned[event.sender].append(event.message)
        assert len(expected) <= 2
        assert helper.buffered_bytes <= 3 * LIMITS.max_line_bytes
    assert not (opaque and expected)
    for event in helper.eof(Side.CLIENT, 0.0):
        if isinstance(event, Forward):
            returned[event.sender].append(event.message)
    for side in Side:
        assert b"".join(returned[side]) == b"".join(data for who, data in chunks if who is side)
    return offered


@pytest.mark.fuzz
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_sessions_keep_the_contract(part: int) -> None:
    rng = random.Random(part)  # noqa: S311 - repeatable, not secret
    recordings = seeds()
    offered = 0
    for number in range(MUTATIONS // PARTS):
        transcript, chunks = rng.choice(recordings)
        mutated = mutate(rng, chunks)
        try:
            offered += check(transcript, mutated)
        except Exception as error:
            error.add_note(f"part {part}, number {number}: {mutated}")
            raise
    assert offered > MUTATIONS // PARTS // 20  # the mutations do not kill every session
