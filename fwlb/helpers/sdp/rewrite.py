"""Puts other endpoints into a session description, and changes nothing else.

What is written where:

* a transport that gets another endpoint: the port of its m= line, a=rtcp, a=candidate and
  a=remote-candidates, with the address there or in the c= line that counts for it;
* a=rtcp is added where RTCP is no longer one port above RTP, c= where sections that shared the
  session's c= line no longer have the same address;
* addresses without a transport (o=, source-filter, related addresses of candidates, c= of sections
  that open nothing) follow `addresses`.

Applying the reverse mapping to the result gives the original bytes when

* the mapping is one-to-one, also in its addresses, and its new endpoints and addresses were not in
  the description before;
* addresses and ports were written as this module writes them (RFC 5952, no leading zeros), and no
  transport changed from IPv4 to IPv6 or back;
* nothing had to be added: ports that belong together stay together, and all sections that share a
  c= line get the same address.

Without the last three a reader finds the same endpoints, in other bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from operator import itemgetter

from fwlb.helpers.sdp.flaws import Flaw, FlawError, SdpFlaw
from fwlb.helpers.sdp.lines import Candidate, Rtcp
from fwlb.helpers.sdp.model import Default, Media, SessionDescription, Transport
from fwlb.helpers.sdp.values import read_host
from fwlb.model import Endpoint, IPAddress

Mapping = Callable[[Transport], Endpoint | None]
Addresses = Callable[[IPAddress], IPAddress | None]

Edit = tuple[int, int, bytes]
"""Start and end in the original data, and what stands there instead."""

_FIELD = re.compile(rb"[!-~]+")
_start = itemgetter(0)


def rewrite(
    description: SessionDescription, mapping: Mapping, addresses: Addresses | None = None
) -> bytes | Flaw:
    """The bytes of `description` with other endpoints.

    `mapping` is asked once for each transport on the wire (of several sections or candidates with
    the same protocol, address and port only the first is shown), also for those of
    a=remote-candidates, whose kind is REMOTE. None leaves it as it is written; for RTCP that is
    not written at all this means one port above RTP, wherever that goes.
    `addresses` gives another address for one without a transport, or None. By default it
    is what `mapping` made of that address, if that is one address.

    A Flaw says that the endpoints cannot be written: PORTS_APART (several ports on one m= line
    that are no longer adjacent), HALF_MAPPED (RTP moves and a=rtcp, which has no address of its
    own, does not), MSRP_PATH.
    """
    try:
        return _Rewriter(description, mapping, addresses).rewrite()
    except FlawError as flawed:
        return flawed.flaw(description.data)


class _Rewriter:
    """Collects the edits of one description."""

    def __init__(
        self, description: SessionDescription, mapping: Mapping, addresses: Addresses | None
    ) -> None:
        self._description = description
        self._data = description.data
        self._mapping = mapping
        self._line_end = b"\r\n" if description.data.startswith(b"v=0\r\n") else b"\n"
        self._first: list[Edit] = []  # lines that are added before others
        self._edits: list[Edit] = []
        self._added: list[Edit] = []
        self._asked: dict[int, list[tuple[Transport, Endpoint | None]]] = {}  # by port
        self._other_address = addresses or self._followed

    def rewrite(self) -> bytes:
        media = self._description.media
        homes = [self._section(each, each.default()) for each in media]
        for each in media:
            for candidate in each.lines.candidates:
                self._related(candidate)
        self._session_connection(homes)
        origin = self._description.origin
        if origin is not None:
            self._other(origin.unicast, origin.found, 3)
        for found in self._description.filters:
            for field in _FIELD.finditer(self._data, *found.span(3)):
                self._filtered(read_host(field[0]).unicast, field)
        return self._joined()

    def _new(self, transport: Transport) -> Endpoint | None:
        """What the mapping says, which is asked once."""
        protocol, address, port = transport[:3]
        asked = self._asked.get(port)
        if asked is None:
            asked = self._asked[port] = []
        else:
            for other, new in asked:
                if other.protocol is protocol and _same(other.address, address):
                    return new
        new = self._mapping(transport)
        asked.append((transport, new))
        return new

    def _section(self, media: Media, default: Default) -> IPAddress | None:
        """Rewrite one section but for what it shares with others. Returns the address that its
        ports have now, None where it has none."""
        home = self._ports(media, default)
        own = media.lines.connection
        if own is not None and own.host is not None:
            if home is None:
                self._other(own.host.unicast, own.found, 3)
            elif own.unicast is not None:
                self._address(own.found, 3, own.unicast, home)
        if media.lines.rtcp is not None:
            self._rtcp(media.lines.rtcp, default.rtcp, home)
        for candidate in (*media.lines.candidates, *media.lines.remote_candidates):
            self._candidate(media, candidate)
        return home

    def _ports(self, media: Media, default: Default) -> IPAddress | None:
        """Rewrite the ports of the m= line, and say where RTCP is when it is not above RTP."""
        if not default.ports:
            return None
        first = default.ports[0]
        home, port = self._where(first)
        if port != first.port:
            self._edit(media.found, 2, b"%d" % port)
        if (port != first.port or home != first.address) and media.msrp_path_counts:
            detail = "the peer would not use m= and c=, but a=path, which it also compares"
            raise FlawError(SdpFlaw.MSRP_PATH, detail, media.found.start())
        if len(default.ports) > 1:
            self._check_adjacent(media, default)
        elif default.after:
            rtcp = self._new(default.after[0])
            if rtcp is None:
                return home
            apart = not _same(rtcp.address, home)
            if apart or rtcp.port != port + 1:
                line = b"a=rtcp:%d" % rtcp.port
                if apart:
                    line += _typed(rtcp.address)
                self._add_line(self._end(media), line, self._added)
        return home

    def _check_adjacent(self, media: Media, default: Default) -> None:
        """Several ports on one m= line are one number and a count (RFC 8866 section 5.14)."""
        home, port = self._where(default.ports[0])
        offset = port - default.ports[0].port
        silent = [transport for transport in default.after if self._new(transport) is None]
        for transport in (*default.ports, *default.after):
            if transport not in silent and self._where(transport) != (
                home,
                transport.port + offset,
            ):
                detail = f"ports that belong to {home} {port} and are not adjacent to it"
                raise FlawError(SdpFlaw.PORTS_APART, detail, media.found.start())

    def _where(self, transport: Transport) -> tuple[IPAddress, int]:
        """Where a transport is now."""
        new = self._new(transport)
        return transport[1:3] if new is None else (new.address, new.port)

    def _rtcp(self, line: Rtcp, transport: Transport | None, home: IPAddress | None) -> None:
        """Rewrite an a=rtcp line; `home` is where RTP is now."""
        if transport is None:
            self._other(line.unicast, line.found, 4)
            return
        new = self._new(transport)
        if new is None:
            if not (line.own or transport.fallback or home == transport.address):
                detail = "a=rtcp means the address of c=, which changes without it"
                raise FlawError(SdpFlaw.HALF_MAPPED, detail, line.found.start())
            return
        if new.port != line.port:
            self._edit(line.found, 1, b"%d" % new.port)
        if line.own:
            self._address(line.found, 4, transport.address, new.address)
        elif new.address != home:
            end = line.found.end(1)
            self._edits.append((end, end, _typed(new.address)))

    def _candidate(self, media: Media, candidate: Candidate) -> None:
        """Rewrite the address and port of an ICE candidate."""
        found, group = candidate.found, candidate.address_group
        transport = media.transport(candidate)
        if transport is None:
            self._other(candidate.host.unicast, found, group, typed=False)
            return
        new = self._new(transport)
        if new is not None:
            self._address(found, group, transport.address, new.address, typed=False)
            if new.port != transport.port:
                self._edit(found, group + 1, b"%d" % new.port)

    def _related(self, candidate: Candidate) -> None:
        """Rewrite raddr and rport, which say what a candidate was made from."""
        address = candidate.related.unicast if candidate.related else None
        if address is None:
            return
        asked = [
            new
            for transport, new in self._asked.get(candidate.related_port or 0, ())
            if transport.protocol is candidate.protocol and _same(transport.address, address)
        ]
        if not asked:
            self._other(address, candidate.found, 6, typed=False)
            return
        new = asked[0]
        if new is None:
            return
        self._address(candidate.found, 6, address, new.address, typed=False)
        if new.port != candidate.related_port:
            self._edit(candidate.found, 7, b"%d" % new.port)

    def _session_connection(self, homes: list[IPAddress | None]) -> None:
        """Rewrite the session's c= line, and add one to sections whose address is another now."""
        connection = self._description.session.connection
        if connection is None or connection.host is None:
            return
        media = self._description.media
        sharing = [
            (each, home)
            for each, home in zip(media, homes, strict=True)
            if home is not None and each.lines.connection is None
        ]
        old = connection.unicast
        if old is None or not sharing:
            self._other(connection.host.unicast, connection.found, 3)
            return
        stays = any(_same(home, old) for _, home in sharing)
        shared = old if stays else sharing[0][1]
        self._address(connection.found, 3, old, shared)
        for each, home in sharing:
            if not _same(home, shared):
                self._add_line(self._after_title(each), b"c=" + _typed(home)[1:], self._first)

    def _other(
        self, address: IPAddress | None, found: re.Match[bytes], group: int, *, typed: bool = True
    ) -> None:
        """Rewrite an address that no transport has here."""
        new = None if address is None else self._other_address(address)
        if address is not None and new is not None:
            self._address(found, group, address, new, typed=typed)

    def _filtered(self, address: IPAddress | None, found: re.Match[bytes]) -> None:
        """Rewrite an address of a=source-filter. Several share one address type: it stays."""
        new = None if address is None else self._other_address(address)
        if address is not None and new is not None and type(new) is type(address):
            self._address(found, 0, address, new, typed=False)

    def _followed(self, address: IPAddress) -> IPAddress | None:
        """What the mapping made of `address`, where that is one address."""
        found = None
        for asked in self._asked.values():
            for transport, new in asked:
                if new is None or not _same(transport.address, address):
                    continue
                if found is not None and not _same(found, new.address):
                    return None
                found = new.address
        return found

    def _address(
        self,
        found: re.Match[bytes],
        group: int,
        old: IPAddress,
        new: IPAddress,
        *,
        typed: bool = True,
    ) -> None:
        """Write an address, and where it is `typed` the address type before it."""
        if _same(new, old):
            return
        if typed and type(new) is not type(old):
            self._edit(found, group - 1, b"IP%d" % new.version)
        self._edit(found, group, _text(new))

    def _edit(self, found: re.Match[bytes], group: int, new: bytes) -> None:
        self._edits.append((*found.span(group), new))

    def _end(self, media: Media) -> int:
        """Where the last line of a section ends."""
        following = self._description.media[media.section + 1 :]
        if following:
            return following[0].found.start() - len(b"m=")
        end = len(self._data.rstrip(b"\r\n"))
        return end + len(self._line_end) if self._data.startswith(self._line_end, end) else end

    def _after_title(self, media: Media) -> int:
        """Where c= belongs: after m= and i= (RFC 8866 section 9)."""
        position = self._next_line(media.found.end())
        while self._data.startswith(b"i=", position):
            position = self._next_line(position)
        return position

    def _next_line(self, position: int) -> int:
        return self._data.find(b"\n", position) + 1 or len(self._data)

    def _add_line(self, position: int, line: bytes, lines: list[Edit]) -> None:
        ended = self._data[position - 1 : position] == b"\n"
        text = line + self._line_end if ended else self._line_end + line
        lines.append((position, position, text))

    def _joined(self) -> bytes:
        """The original with all replacements. Where several lines are added in one place, c= comes
        before a=."""
        edits = [*self._first, *self._edits, *self._added]
        if not edits:
            return self._data
        edits.sort(key=_start)
        parts: list[bytes] = []
        position = 0
        for start, end, new in edits:
            parts += (self._data[position:start], new)
            position = end
        parts.append(self._data[position:])
        return b"".join(parts)


def _same(one: IPAddress, other: IPAddress) -> bool:
    """Equal; most are the same object, which is quicker to see."""
    return one is other or one == other


@lru_cache(maxsize=4096)
def _text(address: IPAddress) -> bytes:
    return str(address).encode()


def _typed(address: IPAddress) -> bytes:
    """As it follows a port, or without the space a c=."""
    return b" IN IP%d %s" % (address.version, _text(address))
