"""Every message of RFC 4475 and RFC 5118 has a verdict: torture.toml says which and why."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from fwlb.helpers.sip import (
    Flaw,
    Message,
    Request,
    Response,
    Rewriter,
    StreamReader,
    Unread,
    read_datagram,
    read_parts,
)
from fwlb.model import Endpoint
from tests.corpus.sip.messages import load_all

MESSAGES = load_all("torture")
TABLE: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("torture.toml").read_text()
)
READ = sorted(name for name, row in TABLE.items() if "refused" not in row)
REFUSED = sorted(name for name, row in TABLE.items() if "refused" in row)
ELSEWHERE = Endpoint(ip_address("203.0.113.77"), 41000)


def text(value: bytes | None) -> str | None:
    return value.decode("latin-1") if value is not None else None


def parts_of(message: Message) -> list[str | None]:
    parts = read_parts(message)
    assert not isinstance(parts, Flaw)
    return [text(part.content_type.essence) for part in parts]


def request_uri(message: Message) -> Any:
    assert isinstance(message, Request)
    return message.uri


FACTS: dict[str, Callable[[Any], Any]] = {
    "method": lambda m: text(m.method),
    "status": lambda m: m.status,
    "reason": lambda m: text(m.reason),
    "cseq": lambda m: m.cseq,
    "max_forwards": lambda m: m.max_forwards,
    "vias": lambda m: len(m.vias),
    "via_hosts": lambda m: [text(via.host.text) for via in m.vias],
    "transports": lambda m: [text(via.transport) for via in m.vias],
    "branch": lambda m: text(m.vias[0].branch),
    "received": lambda m: str(m.vias[0].received.address),
    "from_tag": lambda m: text(m.from_tag),
    "to_tag": lambda m: text(m.to_tag),
    "from_display": lambda m: text(m.sender.display),
    "contacts": lambda m: len(m.contacts),
    "contact_parameters": lambda m: sorted(map(text, m.contacts[0].uri.parameters)),
    "contact_headers": lambda m: text(m.contacts[0].uri.headers),
    "routes": lambda m: len(m.addresses[b"route"]),
    "content_type": lambda m: text(m.content_type.essence),
    "scheme": lambda m: text(request_uri(m).scheme),
    "user": lambda m: text(request_uri(m).user),
    "host": lambda m: text(request_uri(m).host.text),
    "address": lambda m: str(request_uri(m).host.address),
    "port": lambda m: request_uri(m).port or 0,
    "parts": parts_of,
}


def test_every_message_has_a_row_and_the_other_way_round() -> None:
    assert MESSAGES.keys() == TABLE.keys()
    sections = [row["section"] for row in TABLE.values()]
    assert sum(section.startswith("4475") for section in sections) == 49
    assert sum(section.startswith("5118") for section in sections) == 12


@pytest.mark.parametrize("name", REFUSED)
def test_refused_for_the_named_reason(name: str) -> None:
    found = read_datagram(MESSAGES[name])
    assert isinstance(found, Flaw)
    assert found.reason.value == TABLE[name]["refused"]


@pytest.mark.parametrize("name", READ)
def test_read_and_written_byte_for_byte(name: str) -> None:
    message = read_datagram(MESSAGES[name])
    assert isinstance(message, Request | Response)
    assert Rewriter(message).build() == MESSAGES[name]
    facts = TABLE[name]["facts"]
    assert {fact: FACTS[fact](message) for fact in facts} == facts


@pytest.mark.parametrize("name", READ)
def test_changed_and_restored_byte_for_byte(name: str) -> None:
    """Every Via and every sip address is changed, and put back as it was written."""
    message = read_datagram(MESSAGES[name])
    assert isinstance(message, Request | Response)
    there = Rewriter(message)
    places = places_in(message)
    there.add(*(place.at(ELSEWHERE) for place in places))
    changed = read_datagram(there.build())
    assert isinstance(changed, Request | Response)
    back = Rewriter(changed)
    for place, original in zip(places_in(changed), places, strict=True):
        assert place.host_port == b"203.0.113.77:41000"
        back.add(place.with_host(original.host_port))
    assert back.build() == MESSAGES[name]


def places_in(message: Message) -> list[Any]:
    addresses = [message.sender, message.recipient]
    for more in message.addresses.values():
        addresses += more
    uris = [address.uri for address in addresses]
    if isinstance(message, Request):
        uris.append(message.uri)
    return [*message.vias, *(uri for uri in uris if uri.host)]


@pytest.mark.parametrize("name", sorted(TABLE))
def test_on_a_stream_it_is_the_same_or_stricter(name: str) -> None:
    """A stream needs Content-Length; what a datagram has too much is the next message there."""
    items = StreamReader().feed(MESSAGES[name])
    first = items[0] if items else None
    if name in ("inv2543", "ipv6-bad"):
        assert isinstance(first, Unread)
        assert first.lost
    elif name == "clerr":
        assert first is None  # more may come
    elif name == "dblreq":
        assert isinstance(first, Request)
        assert first.method == b"REGISTER"
    elif name in REFUSED:
        assert isinstance(first, Unread)
        assert first.flaw.reason.value == TABLE[name]["refused"]
    else:
        assert isinstance(first, Request | Response)
        assert first.data == MESSAGES[name]
