"""Control connections of real programs (tests/corpus/ftp), replayed in three ways.

The transcripts were recorded by tests/corpus/ftp/record.py: vsftpd, pyftpdlib, proftpd and
pure-ftpd with curl, lftp, tnftp, wget, ftplib and commands typed by hand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from ipaddress import ip_address
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from fwlb.helpers.contract import ChannelEnded, ChannelExpected, ChannelOffered, Event, WentOpaque
from fwlb.helpers.ftp import FtpHelper, FtpLimits
from fwlb.model import Side

CORPUS = Path(__file__).parents[3] / "corpus" / "ftp"
Chunks = list[tuple[Side, bytes]]
TRANSCRIPTS = {
    f"{file.stem}: {transcript['name']}": transcript
    for file in sorted(CORPUS.glob("*.json"))
    for transcript in json.loads(file.read_text())
}


@pytest.fixture(params=sorted(TRANSCRIPTS))
def transcript(request: pytest.FixtureRequest) -> Any:
    return TRANSCRIPTS[request.param]


def chunks_of(transcript: Any) -> Chunks:
    return [(Side(side), text.encode("latin-1")) for side, text in transcript["chunks"]]


def replay(transcript: Any, chunks: Chunks) -> list[Event]:
    helper = FtpHelper(
        client_addresses=frozenset(map(ip_address, transcript["client_addresses"])),
        server_addresses=frozenset(map(ip_address, transcript["server_addresses"])),
        limits=FtpLimits(),
    )
    events = [event for side, data in chunks for event in helper.receive(side, data, 0.0)]
    return events + helper.eof(Side.SERVER, 0.0)


def byte_by_byte(chunks: Chunks) -> Chunks:
    return [(side, data[i : i + 1]) for side, data in chunks for i in range(len(data))]


def glued(chunks: Chunks) -> Chunks:
    return [
        (side, b"".join(data for _, data in run))
        for side, run in groupby(chunks, key=lambda chunk: chunk[0])
    ]


def outline(events: list[Event]) -> tuple[list[Any], dict[Side, bytes]]:
    """What does not depend on how the stream was split: all events but those that only pass
    bytes, and all bytes. Of WentOpaque only the cause: how much it returns depends on the split."""
    told: list[Any] = []
    returned = dict.fromkeys(Side, b"")
    for event in events:
        match event:
            case ChannelExpected() | ChannelEnded():
                told.append(event)
                continue
            case WentOpaque():
                told.append((event.sender, event.why, event.refusal))
            case _ if hasattr(event, "substitute"):
                told.append(event)
        returned[event.sender] += event.message
    return told, returned


def clear_lines(chunks: Chunks) -> Iterator[tuple[Side, str]]:
    """Whole lines in the order of their ends, as long as they are clear text."""
    buffers = dict.fromkeys(Side, b"")
    for side, data in chunks:
        *lines, buffers[side] = (buffers[side] + data).split(b"\n")
        for line in lines:
            yield side, line.decode("latin-1")
            if side is Side.SERVER and line.startswith(b"234 "):
                return


def test_there_are_transcripts_of_all_programs() -> None:
    names = " ".join(TRANSCRIPTS)
    servers = ("vsftpd", "pyftpdlib", "proftpd", "pure-ftpd")
    clients = ("curl", "lftp", "tnftp", "wget", "ftplib", "telnet")
    assert all(program in names for program in (*servers, *clients))


def test_splitting_changes_nothing_and_no_byte_is_lost(transcript: Any) -> None:
    chunks = chunks_of(transcript)
    as_recorded = outline(replay(transcript, chunks))
    assert outline(replay(transcript, byte_by_byte(chunks))) == as_recorded
    assert outline(replay(transcript, glued(chunks))) == as_recorded
    for side in Side:
        assert as_recorded[1][side] == b"".join(data for who, data in chunks if who is side)


def test_every_endpoint_in_the_transcript_is_offered_and_ended(transcript: Any) -> None:
    """Counted in the text, without the helper: accepted or not, each offer is seen once."""
    lines = list(clear_lines(chunks_of(transcript)))
    announced = sum(
        bool(re.match(r"22[79] " if side is Side.SERVER else r"(PORT|EPRT) ", line))
        for side, line in lines
    )
    events = replay(transcript, chunks_of(transcript))
    # the hand-typed session says EPSV ALL and PASV then; pure-ftpd answers that
    refused = any("epsv all" in line for _, line in lines) and any(
        line.startswith("227 ") for _, line in lines
    )
    offered = [event.channel for event in events if isinstance(event, ChannelOffered)]
    assert offered == list(range(1, announced + 1 - refused))
    ended = [event.channel for event in events if isinstance(event, ChannelEnded)]
    assert sorted(ended) == offered


def test_no_transfer_begins_without_its_channel(transcript: Any) -> None:
    """Byte by byte: where a 125 or 150 ends, a channel is expected that has not ended."""
    transfers = 0
    live: set[int] = set()
    chunks = byte_by_byte(chunks_of(transcript))
    helper = FtpHelper(
        client_addresses=frozenset(map(ip_address, transcript["client_addresses"])),
        server_addresses=frozenset(map(ip_address, transcript["server_addresses"])),
        limits=FtpLimits(),
    )
    for side, data in chunks:
        for event in helper.receive(side, data, 0.0):
            match event:
                case ChannelExpected():
                    live.add(event.channel)
                case ChannelEnded():
                    live.discard(event.channel)
                case _ if event.sender is Side.SERVER and re.match(rb"1[25][05] ", event.message):
                    transfers += 1
                    assert live, event.message
    clear = [line for side, line in clear_lines(chunks_of(transcript)) if side is Side.SERVER]
    assert transfers == sum(bool(re.match(r"1[25][05] ", line)) for line in clear)


def story(name: str) -> list[str]:
    transcript = TRANSCRIPTS[name]
    told = []
    for event in replay(transcript, chunks_of(transcript)):
        match event:
            case ChannelOffered():
                told.append(f"offer {event.channel} by {event.sender.value}")
            case ChannelExpected():
                told.append(f"expect {event.channel}")
            case ChannelEnded():
                told.append(f"end {event.channel}: {event.why}")
            case WentOpaque():
                told.append(f"opaque: {event.why}")
    return told


@pytest.mark.parametrize("server", ["vsftpd", "pyftpdlib", "proftpd", "pure-ftpd"])
@pytest.mark.parametrize(
    ("client", "side"),
    [("curl EPSV", "server"), ("curl PASV", "server"), ("curl EPRT", "client"),
     ("curl PORT", "client"), ("curl list", "server"), ("wget passive", "server"),
     ("tnftp active", "client")],
)  # fmt: skip
def test_one_transfer_is_one_channel(server: str, client: str, side: str) -> None:
    told = story(f"{server}: {client} IPv4 1")
    assert told == [f"offer 1 by {side}", "expect 1", "end 1: transfer over"]


@pytest.mark.parametrize("server", ["vsftpd", "pyftpdlib", "proftpd"])
def test_an_upload_is_one_channel(server: str) -> None:
    told = story(f"{server}: curl upload IPv4 1")
    assert told == ["offer 1 by server", "expect 1", "end 1: transfer over"]


def test_an_upload_that_the_server_denies_leaves_the_channel_to_the_end_of_the_session() -> None:
    told = story("pure-ftpd: curl upload IPv4 1")
    assert told == ["offer 1 by server", "expect 1", "end 1: session reset or over"]


def test_tls_is_opaque_from_the_reply_on() -> None:
    assert story("vsftpd: curl AUTH TLS IPv4 1") == ["opaque: AUTH SSL"]
