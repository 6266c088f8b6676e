"""Reads a session description: the grammar of RFC 8866 as far as addresses and ports go.

How it decides where the RFC leaves room or programs differ:

* The description starts with `v=0`, and every line is a small letter, `=` and a value. A CR without
  LF, NUL and a second `v=` are garbled. Lines end with LF or CRLF; the last may lack its end, and
  empty lines may follow it.
* The order of lines inside a section is not checked, and o=, s= and t= may be missing: cameras
  send both, and no reader finds another address because of it. An o= line is not used for media;
  where it cannot be read it is left as it is.
* What may stand once and stands twice is a flaw: a second c= (but for the multicast layers of a
  media section), o=, a=rtcp, a=remote-candidates; so is another a=setup, direction, a=mid and the
  like, but not the same once more.
* Attribute names are read in capitals, too: a reader that does so must find nothing else than we.
* a=rtcp and ICE candidates belong to media sections (RFC 3605 section 2.1, RFC 8839 section 5.1);
  before the first m= line they are misplaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fwlb.helpers.sdp.flaws import Flaw, FlawError, SdpFlaw, SdpLimits
from fwlb.helpers.sdp.lines import (
    Direction,
    Lines,
    Setup,
    candidate_of,
    connection_of,
    line_at,
    lines_of,
    remote_candidates_of,
    rtcp_of,
)
from fwlb.helpers.sdp.model import Media, SessionDescription
from fwlb.helpers.sdp.values import (
    CANDIDATE,
    CONNECTION,
    MEDIA,
    REMOTE_CANDIDATES,
    RTCP,
    SOURCE_FILTER,
)

# By their first letter, which the regex engine looks at before it tries a branch.
_NAMES = (
    rb"[rR](?i:tcp(?:-mux(?:-only)?)?|ecvonly|emote-candidates)"
    rb"|[cC](?i:andidate|onnection|ontrol)|[iI](?i:ce-ufrag|ce-mismatch|nactive)"
    rb"|[sS](?i:endrecv|endonly|etup|ource-filter)|[gG](?i:roup)|[mM](?i:id|srp-cema)"
    rb"|[bB](?i:undle-only)|[pP](?i:ath)"
)
# Lines that matter, after the first one, and (by the last branch) lines that are none.
_LINES = re.compile(rb"\n(?:([mcov])=|a=(" + _NAMES + rb")(?![^:\r\n ]):?|(?![a-z]=))")
_LONE_CR = re.compile(rb"\r(?!\n)")

_DIRECTIONS = {direction.value.encode(): direction for direction in Direction}
_SETUPS = {setup.value.encode(): setup for setup in Setup}
_DEFAULT_LIMITS = SdpLimits()


def parse(data: bytes, limits: SdpLimits = _DEFAULT_LIMITS) -> SessionDescription | Flaw:
    """Read a whole description (a body of type application/sdp). Never raises."""
    try:
        return _Reader(data, limits).read()
    except FlawError as flawed:
        return flawed.flaw(data)


class _Reader:
    """Reads one description from its first line to its last."""

    def __init__(self, data: bytes, limits: SdpLimits) -> None:
        self._data = data
        self._limits = limits
        self._session = self._lines = Lines((0,), None)
        self._sections: list[tuple[re.Match[bytes], Lines]] = []
        self._origin: int | None = None
        self._filters: list[re.Match[bytes]] = []
        self._groups: list[int] = []
        self._candidates_left = limits.max_candidates

    def read(self) -> SessionDescription:
        data = self._data
        self._check_whole(data)
        for found in _LINES.finditer(data, 0, len(data.rstrip(b"\r\n"))):
            letter, name = found.groups()
            if letter is not None:
                _LETTERS[letter](self, found.end())
            elif name is not None:
                handle = _ATTRIBUTES.get(name)
                if handle is None:
                    name = name.lower()
                    handle = _ATTRIBUTES[name]
                handle(self, name, found.end())
            else:
                raise FlawError(SdpFlaw.GARBLED, "no letter, = and value", found.end())
        session, tagged = self._session, self._tagged() if self._groups else {}
        media = [
            Media(index, lines, session, found, tagged.get(index))
            for index, (found, lines) in enumerate(self._sections)
        ]
        return SessionDescription(data, session, self._origin, tuple(self._filters), tuple(media))

    def _tagged(self) -> dict[int, int]:
        """Index of every section of a BUNDLE group -> index of the tagged section of that group,
        which is the first that has a port (RFC 9143 section 7). Tags of nobody are left aside."""
        indices: dict[bytes, int] = {}
        for index, (_, lines) in enumerate(self._sections):
            offset = lines.attributes.get(b"mid")
            if offset is not None and indices.setdefault(self._value(offset), index) != index:
                raise FlawError(SdpFlaw.DUPLICATE, "a second section with the same a=mid", offset)
        tagged: dict[int, int] = {}
        for group in self._groups:
            semantics, *tags = self._value(group).split() or [b""]
            if semantics.upper() != b"BUNDLE":
                continue
            members = [indices[tag] for tag in tags if tag in indices]
            if len({*members, *tagged}) < len(members) + len(tagged):
                raise FlawError(SdpFlaw.DUPLICATE, "a section twice in BUNDLE groups", group)
            with_port = [index for index in members if self._sections[index][1].port]
            tagged.update((index, (with_port or members)[0]) for index in members)
        return tagged

    def _value(self, offset: int) -> bytes:
        return line_at(self._data, offset)

    def _check_whole(self, data: bytes) -> None:
        if not data.startswith((b"v=0\r\n", b"v=0\n")):
            raise FlawError(SdpFlaw.NOT_SDP, "it does not start with v=0", 0)
        if len(data) > self._limits.max_bytes:
            raise FlawError(SdpFlaw.TOO_LONG, f"{len(data)} bytes", 0)
        most = self._limits.max_lines
        # a line has three bytes or more
        if len(data) > 3 * most and data.count(b"\n") > most:
            raise FlawError(SdpFlaw.TOO_MANY_LINES, f"more than {most} lines", 0)
        if b"\0" in data:
            raise FlawError(SdpFlaw.GARBLED, "a NUL", data.index(0))
        lone = _LONE_CR.search(data)
        if lone is not None:
            raise FlawError(SdpFlaw.GARBLED, "a CR without LF", lone.start())

    def media(self, offset: int) -> None:
        found = MEDIA.match(self._data, offset)
        if found is None:
            raise FlawError(SdpFlaw.BAD_MEDIA, "m= wants kind, port, protocol and formats", offset)
        if len(self._sections) >= self._limits.max_sections:
            detail = f"more than {self._limits.max_sections} m= lines"
            raise FlawError(SdpFlaw.TOO_MANY_SECTIONS, detail, offset)
        self._lines = lines_of(found, self._limits.max_ports)
        self._sections.append((found, self._lines))

    def connection(self, offset: int) -> None:
        found = CONNECTION.match(self._data, offset)
        if found is None:
            detail = "c= wants network type, address type and address"
            raise FlawError(SdpFlaw.BAD_CONNECTION, detail, offset)
        lines, connection = self._lines, connection_of(found)
        if lines.connection is None:
            lines.connection = connection
            return
        layers = lines.connection.refused is connection.refused is SdpFlaw.MULTICAST
        if not layers or lines is self._session:
            raise FlawError(SdpFlaw.DUPLICATE, "a second c= line", offset)

    def origin(self, offset: int) -> None:
        if self._lines is not self._session:
            raise FlawError(SdpFlaw.MISPLACED, "o= in a media section", offset)
        if self._origin is not None:
            raise FlawError(SdpFlaw.DUPLICATE, "a second o= line", offset)
        self._origin = offset

    def version(self, offset: int) -> None:
        raise FlawError(SdpFlaw.GARBLED, "a second v= line", offset)

    def plain(self, name: bytes, offset: int) -> None:
        """An attribute of which only the value matters, or that it is there."""
        former = self._lines.attributes.setdefault(name, offset)
        if former != offset and self._value(former) != self._value(offset):
            raise _twice(name, offset)

    def direction(self, name: bytes, offset: int) -> None:
        lines, direction = self._lines, _DIRECTIONS[name]
        if lines.direction is not None and lines.direction is not direction:
            raise _twice(name, offset)
        lines.direction = direction

    def setup(self, name: bytes, offset: int) -> None:
        setup = _SETUPS.get(self._value(offset).lower())
        if setup is None:
            raise FlawError(SdpFlaw.BAD_ATTRIBUTE, "a=setup with an unknown role", offset)
        if self._lines.setup is not None and self._lines.setup is not setup:
            raise _twice(name, offset)
        self._lines.setup = setup

    def rtcp(self, name: bytes, offset: int) -> None:
        lines, found = self._lines, self._match(RTCP, name, offset)
        if lines.rtcp is not None:  # only one would be rewritten
            raise _twice(name, offset)
        if len(lines.numbers) > 1:  # what would it say about the second RTP port?
            detail = "a=rtcp in a section with several ports"
            raise FlawError(SdpFlaw.BAD_ATTRIBUTE, detail, offset)
        lines.rtcp = rtcp_of(found)

    def candidate(self, name: bytes, offset: int) -> None:
        self._count_candidates(1, offset)
        self._lines.candidates.append(candidate_of(self._match(CANDIDATE, name, offset)))

    def remote_candidates(self, name: bytes, offset: int) -> None:
        lines = self._lines
        if lines.remote_candidates:
            raise _twice(name, offset)
        found = self._match(REMOTE_CANDIDATES, name, offset)
        lines.remote_candidates = remote_candidates_of(found, lines.profile)
        self._count_candidates(len(lines.remote_candidates), offset)

    def _count_candidates(self, number: int, offset: int) -> None:
        self._candidates_left -= number
        if self._candidates_left < 0:
            detail = f"more than {self._limits.max_candidates} candidates"
            raise FlawError(SdpFlaw.TOO_MANY_TRANSPORTS, detail, offset)

    def group(self, _name: bytes, offset: int) -> None:
        if self._lines is self._session:
            self._groups.append(offset)

    def source_filter(self, _name: bytes, offset: int) -> None:
        found = SOURCE_FILTER.match(self._data, offset)
        if found is None:
            raise FlawError(SdpFlaw.BAD_ATTRIBUTE, "a=source-filter that nobody can read", offset)
        self._filters.append(found)

    def _match(self, grammar: re.Pattern[bytes], name: bytes, offset: int) -> re.Match[bytes]:
        """The value of an attribute that only media sections may have."""
        if self._lines is self._session:
            detail = f"a={name.decode()} before the first m= line"
            raise FlawError(SdpFlaw.MISPLACED, detail, offset)
        found = grammar.match(self._data, offset)
        if found is None:
            raise FlawError(
                SdpFlaw.BAD_ATTRIBUTE, f"a={name.decode()} that nobody can read", offset
            )
        return found


def _twice(name: bytes, offset: int) -> FlawError:
    detail = f"a={name.decode()}, of which another line spoke already"
    return FlawError(SdpFlaw.DUPLICATE, detail, offset)


_LETTERS: dict[bytes, Callable[[_Reader, int], None]] = {
    b"m": _Reader.media,
    b"c": _Reader.connection,
    b"o": _Reader.origin,
    b"v": _Reader.version,
}

_ATTRIBUTES: dict[bytes, Callable[[_Reader, bytes, int], None]] = {
    **dict.fromkeys(_DIRECTIONS, _Reader.direction),
    **dict.fromkeys(
        b"rtcp-mux rtcp-mux-only mid bundle-only connection control ice-ufrag ice-mismatch "
        b"msrp-cema path".split(),
        _Reader.plain,
    ),
    b"setup": _Reader.setup,
    b"rtcp": _Reader.rtcp,
    b"candidate": _Reader.candidate,
    b"remote-candidates": _Reader.remote_candidates,
    b"group": _Reader.group,
    b"source-filter": _Reader.source_filter,
}
