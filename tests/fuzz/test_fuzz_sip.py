"""Mutated SIP messages, in datagrams and streams.

The invariant: whatever the bytes, a datagram is one message, one thing that passes by or one
refusal, and never raises; what is read is written byte for byte, gives every property that it has,
and can be changed at every Via and address, after which it is read again with the change and
restored exactly. A stream says the same however it is split and returns each byte once.
"""

from __future__ import annotations

import random
import re
from ipaddress import ip_address

import pytest

from fwlb.helpers.sip import (
    Flaw,
    Message,
    Request,
    Rewriter,
    SipFlaw,
    SipLimits,
    StreamReader,
    Unread,
    Uri,
    Via,
    quick_call_id,
    read_datagram,
    read_parts,
)
from fwlb.model import Endpoint
from tests.corpus.sip.messages import load_all

MUTATIONS = 480_000
PARTS = 12
LIMITS = SipLimits(max_head_bytes=6000, max_headers=60, max_values=60, max_body_bytes=1500)
PUBLIC = Endpoint(ip_address("2001:db8:ffff::1"), 40001)
LENGTH = re.compile(rb"(\r\n(?:content-length|l)[ \t]*:[ \t]*)[0-9]+", re.IGNORECASE)
TOKENS = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"\r\n ", b",", b";", b":", b"=", b'"', b"\\"),
    *(b"<", b">", b"@", b"%", b"%00", b"[", b"]", b"?", b"/", b"*", b"--", b"\xff", b"\xc3\xa9"),
    *(b"0", b"-1", b"65536", b"4294967296", b"99999999999999999999", b"::", b"127.1", b"[::1]"),
    *(b"Via: SIP/2.0/TCP [2001:db8::1]:5061;branch=z9hG4bKq\r\n", b"i: again\r\n", b"l: 4\r\n"),
    *(b"Contact: <sip:x@10.0.0.1>;expires=5, *\r\n", b"Content-Length: 0\r\n", b";rport", b";lr"),
    *(b'Subject: "\\\x01"\r\n', b"Route: <sip:h;lr>\r\n", b"\r\n\r\n", b"SIP/2.0", b"sip:"),
    *(b";received=192.0.2.1", b"--inner\r\n\r\n", b"--inner--\r\n", b";boundary=inner"),
]


def mutate(rng: random.Random, seeds: list[bytes]) -> bytes:
    data = rng.choice(seeds)
    for _ in range(rng.choice([1, 1, 1, 2, 2, 5])):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(7):
            case 0 | 1:
                data = data[:at] + rng.choice(TOKENS) + data[at:]
            case 2:
                data = data[:at] + data[at + rng.randint(1, 12) :]
            case 3:
                data = data[:at] + rng.randbytes(1) + data[at + 1 :]
            case 4:
                end = at + rng.randint(1, 40)
                data = data[:end] + data[at:end] * rng.randint(1, 5) + data[end:]
            case 5:
                lines = data.split(b"\r\n")
                lines.insert(rng.randrange(len(lines)), rng.choice(lines))
                data = b"\r\n".join(lines)
            case 6:
                other = rng.choice(seeds)
                data = data[:at] + other[rng.randrange(len(other)) :]
    return repaired(data) if rng.randrange(4) else data


def repaired(data: bytes) -> bytes:
    """With the right Content-Length, so that not every change of size ends in the same refusal."""
    head, end, body = data.partition(b"\r\n\r\n")
    return LENGTH.sub(rb"\g<1>%d" % len(body), head) + end + body


def places(message: Message) -> list[Uri | Via]:
    addresses = [message.sender, message.recipient]
    for more in message.addresses.values():
        addresses += more
    uris = [address.uri for address in addresses]
    if isinstance(message, Request):
        uris.append(message.uri)
    return [*message.vias, *(uri for uri in uris if uri.host)]


def check_message(message: Message) -> None:
    assert Rewriter(message).build() is message.data
    assert quick_call_id(message.data) == message.call_id
    before = places(message)
    there = Rewriter(message)
    there.add(*(place.at(PUBLIC) for place in before))
    there.add(message.vias[0].with_parameter(b"received", b"192.0.2.99"))
    changed = read_datagram(there.build())
    assert isinstance(changed, Message), changed
    assert changed.vias[0].parameters[b"received"] == b"192.0.2.99"
    assert changed.body == message.body
    back = Rewriter(changed)
    for old, new in zip(before, places(changed), strict=True):
        assert new.host_port == b"[2001:db8:ffff::1]:40001"
        # from the data: a Via may be folded inside of sent-by
        back.add(new.with_host(message.data[old.host_start : old.host_end]))
    old_received = message.vias[0].parameters.get(b"received")
    if old_received is None:
        back.add(changed.vias[0].without_parameter(b"received"))
        assert back.build() == message.data
    parts = read_parts(message, LIMITS)
    if not isinstance(parts, Flaw) and parts:
        body = Rewriter(message)
        body.add(*parts[-1].with_content(b"v=0\r\n"))
        again = read_datagram(body.build())
        assert isinstance(again, Message)
        assert isinstance(read_parts(again), tuple)


def check_stream(rng: random.Random, stream: bytes) -> None:
    stories = []
    for _ in range(2):
        reader = StreamReader(LIMITS)
        returned = b""
        messages: list[bytes] = []
        reasons: list[tuple[SipFlaw, bool]] = []
        position = 0
        while position < len(stream):
            size = rng.choice([1, 7, 100, len(stream)])
            for item in reader.feed(stream[position : position + size]):
                returned += item.data
                if isinstance(item, Message):
                    messages.append(item.data)
                if isinstance(item, Unread) and (item.flaw.reason, item.lost) not in reasons[-1:]:
                    reasons.append((item.flaw.reason, item.lost))
            position += size
            assert reader.buffered_bytes <= LIMITS.max_head_bytes + LIMITS.max_body_bytes
        assert returned + reader.finish() == stream
        stories.append((messages, reasons))
    assert stories[0] == stories[1]


@pytest.mark.fuzz
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_mutated_messages_keep_the_contract(part: int) -> None:
    rng = random.Random(part)  # noqa: S311 - repeatable, not secret
    seeds = [*load_all("samples").values(), *load_all("torture").values()]
    read = refused = 0
    for number in range(MUTATIONS // PARTS):
        data = mutate(rng, seeds)
        try:
            found = read_datagram(data, LIMITS)
            if isinstance(found, Message):
                read += 1
                check_message(found)
            refused += isinstance(found, Flaw)
            if number % 4 == 0:
                check_stream(rng, data + rng.choice(seeds))
        except Exception as error:
            error.add_note(f"part {part}, number {number}: {data!r}")
            raise
    assert min(read, refused) > MUTATIONS // PARTS // 10
