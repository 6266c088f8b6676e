"""Any description: rewriting changes what it was asked to change, and can be undone."""

from __future__ import annotations

import time
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fwlb.helpers.sdp import (
    Flaw,
    Kind,
    SdpFlaw,
    SdpLimits,
    SessionDescription,
    Transport,
    pair,
    parse,
    rewrite,
)
from fwlb.model import Endpoint, IPAddress

INSIDE = ["10.1.0.2", "10.1.0.3", "2001:db8:1::2", "192.0.2.99"]
NOT_ONE = ["0.0.0.0", "::", "232.1.1.1/127", "ff3e::1/2", "phone.example.org", "2001:db8:1::9/3"]
PROTOCOLS = ["RTP/AVP", "RTP/SAVPF", "UDP/TLS/RTP/SAVPF", "udptl", "TCP", "TCP/RTP/AVP", "UDP/BFCP"]
ports = st.sampled_from([0, 9]) | st.integers(1024, 20000)
hosts = st.sampled_from([*INSIDE * 3, *NOT_ONE])
literals = st.sampled_from(INSIDE)


def family(host: str) -> str:
    return "IP6" if ":" in host else "IP4"


connections = hosts.map(lambda host: f"c=IN {family(host)} {host}")
rtcps = st.builds(
    lambda port, host: f"a=rtcp:{port}" + (f" IN {family(host)} {host}" if host else ""),
    ports,
    st.none() | literals,
)
related = st.builds(lambda host, port: f" raddr {host} rport {port}", literals, ports)
candidates = st.builds(
    "a=candidate:f {} {} 99 {} {} typ {}{} x y".format,
    st.sampled_from([1, 1, 2, 3]),
    st.sampled_from(["UDP", "udp", "TCP"]),
    literals | st.just("a.local"),
    ports,
    st.sampled_from(["host", "srflx", "relay"]),
    st.just("") | related,
)
tcp_candidates = st.builds(
    "a=candidate:f 1 TCP 99 {} {} typ host tcptype {}".format,
    literals,
    ports,
    st.sampled_from(["active", "passive", "so"]),
)
remotes = st.builds("a=remote-candidates:1 {} {}".format, literals, ports)
untouched = st.sampled_from(
    [
        "a=rtpmap:0 PCMU/8000",
        "a=crypto:1 x inline:10.1.0.2",
        "a=x-10.1.0.2",
        "a=rtcp-mux",
        "b=AS:64",
    ]
)


@st.composite
def sections(draw: st.DrawFn, number: int) -> list[str]:
    protocol, several = draw(st.sampled_from(PROTOCOLS)), draw(st.sampled_from(["", "", "", "/2"]))
    lines = [f"m=audio {draw(ports)}{several} {protocol} 0"]
    lines += draw(st.sampled_from([[], ["i=title"]]))
    lines += draw(st.lists(connections, max_size=1))
    rest = [*draw(st.lists(untouched, max_size=3)), f"a=mid:{number}"]
    if not several:
        rest += draw(st.lists(rtcps, max_size=1))
    rest += draw(st.lists(candidates | tcp_candidates, max_size=4))
    rest += draw(st.lists(remotes, max_size=1))
    rest += draw(st.sampled_from([[], [], ["a=setup:passive"], ["a=setup:active"]]))
    rest += draw(st.sampled_from([[], ["a=sendonly"], ["a=inactive"], ["a=ice-ufrag:x"]]))
    return lines + draw(st.permutations(rest))


@st.composite
def descriptions(draw: st.DrawFn) -> SessionDescription:
    lines = ["v=0", f"o=- 1 1 IN {family(origin := draw(literals))} {origin}", "s=10.1.0.2"]
    lines += draw(st.lists(connections, max_size=1))
    lines += draw(st.sampled_from([[], ["a=group:BUNDLE 0 1"], ["a=setup:actpass"]]))
    lines += draw(st.sampled_from([[], ["a=source-filter: incl IN IP4 * 10.1.0.2 10.1.0.3"]]))
    for number in range(draw(st.integers(0, 4))):
        lines += draw(sections(number))
    end = draw(st.sampled_from(["\r\n", "\n"]))
    text = end.join(lines) + draw(st.sampled_from([end, end, "", end + end]))
    found = parse(text.encode())
    assert not isinstance(found, Flaw), found
    return found


def keys(description: SessionDescription) -> list[Endpoint]:
    return [transport.endpoint for transport in description.transports()]


class Moves:
    """Fresh addresses, one for each, and ports 20000 higher: what belongs together stays so."""

    def __init__(self) -> None:
        self.new: dict[IPAddress, IPAddress] = {}

    def address(self, old: IPAddress) -> IPAddress:
        fresh = IPv4Address("203.0.113.1") if old.version == 4 else IPv6Address("2001:db8:9::1")
        return self.new.setdefault(old, fresh + len(self.new))

    def __call__(self, transport: Transport) -> Endpoint:
        return Endpoint(self.address(transport.address), transport.port + 20000)

    def back(self, transport: Transport) -> Endpoint:
        return Endpoint(self.address_back(transport.address), transport.port - 20000)

    def address_back(self, new: IPAddress) -> IPAddress:
        return {new: old for old, new in self.new.items()}[new]


@settings(deadline=None)  # a shared machine may pause
@given(descriptions())
def test_the_identity_changes_no_byte(description: SessionDescription) -> None:
    assert rewrite(description, lambda each: each.endpoint) is description.data
    assert rewrite(description, lambda each: each.endpoint, lambda each: each) is description.data
    assert rewrite(description, lambda _: None) is description.data


@settings(deadline=None)  # a shared machine may pause
@given(descriptions(), st.booleans())
def test_the_reverse_mapping_restores_every_byte(
    description: SessionDescription, explicit: bool
) -> None:
    """Under the conditions that `rewrite` names: one-to-one, fresh, canonical, nothing added."""
    moves = Moves()
    there = rewrite(description, moves, moves.address if explicit else None)
    assert isinstance(there, bytes)
    again = parse(there)
    assert not isinstance(again, Flaw), again
    assert rewrite(again, moves.back, moves.address_back if explicit else None) == description.data


@settings(deadline=None)  # a shared machine may pause
@given(descriptions())
def test_all_transports_are_moved_and_nothing_else(description: SessionDescription) -> None:
    moves = Moves()
    there = rewrite(description, moves)
    assert isinstance(there, bytes)
    again = parse(there)
    assert not isinstance(again, Flaw)
    expected = [
        each._replace(address=moves(each).address, port=moves(each).port)
        for each in description.transports()
    ]
    assert list(again.transports()) == expected
    others = (b"c=", b"o=", b"m=", b"a=rtcp:", b"a=cand", b"a=remote", b"a=source")
    before, after = (
        [line for line in data.splitlines(keepends=True) if not line.startswith(others)]
        for data in (description.data, there)
    )
    assert before == after


class Scatter:
    """Unrelated new endpoints, of any family, for some transports."""

    def __init__(self, address: Callable[[], IPAddress], stays: Callable[[], bool]) -> None:
        self.new: dict[tuple[object, ...], Endpoint] = {}
        self._address, self._stays = address, stays

    def __call__(self, transport: Transport) -> Endpoint | None:
        """RTCP and RTP stay or go together: what is left away follows (see `rewrite`)."""
        new = Endpoint(self._address(), 30000 + 3 * len(self.new))
        leave = transport.kind is not Kind.DEFAULT and self._stays()
        self.new[transport.key] = transport.endpoint if leave else new
        return None if leave else new


FRESH = [ip_address(text) for text in ("203.0.113.1", "203.0.113.2", "2001:db8:9::1")]


@settings(deadline=None)  # a shared machine may pause
@given(descriptions(), st.data())
def test_any_mapping_is_written_as_asked(
    description: SessionDescription, data: st.DataObject
) -> None:
    """With lines added where they are needed; or nothing is written, for a reason that is true."""
    scatter = Scatter(lambda: data.draw(st.sampled_from(FRESH)), lambda: data.draw(st.booleans()))
    there = rewrite(description, scatter)
    several = any(len(media.default().ports) > 1 for media in description.media)
    if isinstance(there, Flaw):
        assert there.reason is SdpFlaw.PORTS_APART
        assert several
        return
    again = parse(there)
    assert not isinstance(again, Flaw), (there, again)
    assert keys(again) == [scatter.new[each.key] for each in description.transports()]
    assert rewrite(again, lambda each: each.endpoint) is there


FRAGMENTS = [
    b"v=0\r\n", b"m=audio 5004 RTP/AVP 0\r\n", b"m=image 4900/2 udptl t38\r\n", b"\r\n", b"\n",
    b"c=IN IP4 10.1.0.2\r\n", b"c=IN IP6 2001:db8::2/3\n", b"o=a b c IN IP4 10.1.0.2\r\n", b"\r",
    b"a=rtcp:5005\r\n", b"a=rtcp:5005 IN IP4 10.1.0.3\r\n", b"a=rtcp-mux\r\n", b"a=mid:1\r\n",
    b"a=candidate:1 1 UDP 1 10.1.0.2 5004 typ host raddr 10.1.0.3 rport 5005\r\n", b" ", b"/",
    b"a=remote-candidates:1 10.1.0.9 7000\r\n", b"a=group:BUNDLE 1 2\r\n", b"a=setup:active\r\n",
    b"a=source-filter: incl IN IP4 * 10.1.0.2\r\n", b"a=path:msrp://x\r\n", b"a=sendonly\r\n",
    b"m=message 7000 TCP/MSRP *\r\n", b"a=control:*\r\n", b"0", b"99999", b"\0", b"a=", b"m=",
]  # fmt: skip
noise = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=8), max_size=30).map(
    lambda parts: b"v=0\r\n" + b"".join(parts)
)
LIMITS = SdpLimits(max_bytes=2000, max_lines=40, max_sections=4, max_ports=3, max_candidates=5)


@settings(deadline=None)  # a shared machine may pause
@given(st.binary(max_size=200) | noise, noise)
def test_any_bytes_are_a_description_or_a_flaw(data: bytes, other: bytes) -> None:
    found = parse(data, LIMITS)
    answer = parse(other, LIMITS)
    if isinstance(found, Flaw):
        assert 1 <= found.line <= data.count(b"\n") + 1
        return
    assert found.data is data
    assert len(found.media) <= LIMITS.max_sections
    assert len(found.transports()) <= LIMITS.max_sections * LIMITS.max_ports * 2 + 5
    assert all(each.port > 0 for each in found.transports())
    assert all(not each.address.is_multicast for each in found.transports())
    assert all(not each.address.is_unspecified for each in found.transports())
    assert rewrite(found, lambda each: each.endpoint, lambda each: each) is data
    assert not isinstance(pair(found, None), Flaw)
    if not isinstance(answer, Flaw):
        pairs = pair(found, answer)
        if not isinstance(pairs, Flaw):
            wanted = {*found.transports(), *answer.transports()}
            assert {opening.to for each in pairs for opening in each.openings} <= wanted


HOSTILE = [
    b" ", b"\t", b"1", b"1 ", b"a", b"a ", b".", b"a.", b":", b"/", b"/1", b"\xff", b"1 1.1.1.1 1 ",
    b"IN IP4 ", b"1 a 1 ", b"(", b"=", b"x" * 255 + b" ", b"raddr ", b"0",
]  # fmt: skip
PREFIXES = [
    b"m=", b"m=audio ", b"m=audio 5004", b"m=audio 5004 RTP/AVP ", b"c=", b"c=IN IP4 ",
    b"c=IN IP6 ", b"o=", b"a=rtcp:", b"a=rtcp:1 IN IP4 ", b"a=candidate:",
    b"a=candidate:1 1 UDP 1 1.1.1.1 1 typ ",
    b"a=remote-candidates:", b"a=source-filter:", b"a=source-filter: incl IN IP4 * ", b"a=group:",
    b"a=group:BUNDLE ", b"a=setup:", b"a=mid:", b"a=control:", b"s=", b"a=", b"",
]  # fmt: skip


@pytest.mark.parametrize("prefix", PREFIXES)
def test_time_grows_no_faster_than_the_description(prefix: bytes) -> None:
    """A line of 60 kB of whatever repeats takes milliseconds, not seconds (no quadratic search)."""
    limits = SdpLimits(max_bytes=70000, max_lines=70000, max_sections=99999, max_candidates=99999)
    for part in HOSTILE:
        for line in (prefix + part * (60000 // len(part)), (prefix + part + b"\r\n") * 2500):
            section = b"m=audio 5004 RTP/AVP 0\r\n" if prefix.startswith(b"a=") else b""
            began = time.process_time()
            found = parse(b"v=0\r\n" + section + line[:60000] + b"\r\n", limits)
            if not isinstance(found, Flaw):
                rewrite(found, lambda each: each.endpoint, lambda each: each)
            assert time.process_time() - began < 1, (prefix, part)
