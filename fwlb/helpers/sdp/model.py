"""A session description as it was read, and the transports that its sections announce.

All of it is immutable. Named tuples, because thousands are made in a second.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from fwlb.helpers.sdp.flaws import SdpFlaw
from fwlb.helpers.sdp.lines import (
    Candidate,
    Connection,
    Direction,
    Kind,
    Lines,
    Rtcp,
    Setup,
    line_at,
)
from fwlb.helpers.sdp.values import ORIGIN, Component, Profile, Reach, read_typed_host
from fwlb.model import Endpoint, IPAddress, Protocol

DISCARD = 9
"""A port that says "none yet" (RFC 8840 section 4.1.1) or "I connect" (RFC 4145 section 4.1)."""
_NO_PORT = (0, DISCARD)
# looked up thousands of times a second, and a name is faster than a member of an Enum
_UDP, _RTCP, _DEFAULT = Protocol.UDP, Component.RTCP, Kind.DEFAULT
_CONNECTS = (Setup.ACTIVE, Setup.HOLDCONN)


class Transport(NamedTuple):
    """Where a media section wants to receive.

    `fallback`: needed only while the other party has not agreed to a=rtcp-mux (RFC 5761) or
    BUNDLE (RFC 9143, formerly 8843). `setup` is the section's, for TCP.
    """

    protocol: Protocol
    address: IPAddress
    port: int
    component: Component
    section: int
    kind: Kind = Kind.DEFAULT
    fallback: bool = False
    setup: Setup | None = None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.address, self.port)

    @property
    def key(self) -> tuple[Protocol, IPAddress, int]:
        """What tells two transports apart on the wire."""
        return self[:3]


class Default(NamedTuple):
    """What m=, c= and a=rtcp of one section announce.

    `ports` are on the m= line; `after` those that nothing names, RTCP one above RTP (RFC 3550
    section 11); `rtcp` is what a=rtcp names.
    """

    ports: Sequence[Transport] = ()
    after: Sequence[Transport] = ()
    rtcp: Transport | None = None


_NOTHING = Default()


class Media(NamedTuple):
    """One media section: its own `lines` and what those of the `session` say for all sections.

    `section` is its place among the m= lines, from 0; `found` is that line. `bundle` is the place
    of the tagged section where this one is in a BUNDLE group (it may be this one itself).
    """

    section: int
    lines: Lines
    session: Lines
    found: re.Match[bytes]
    bundle: int | None

    @property
    def kind(self) -> bytes:
        """audio, video, image, application, text, message ..."""
        return self.found[1]

    @property
    def port(self) -> int:
        """0: refused (RFC 3264 section 6) or, in RTSP, not known yet."""
        return self.lines.port

    @property
    def proto(self) -> bytes:
        return self.found[4]

    @property
    def profile(self) -> Profile | None:
        """What `proto` means; None for neither TCP nor UDP."""
        return self.lines.profile

    @property
    def formats(self) -> bytes:
        """What follows the protocol on the m= line."""
        return line_at(self.found.string, self.found.end())

    @property
    def connection(self) -> Connection | None:
        """Its own c= line, or the session's."""
        return self.lines.connection or self.session.connection

    @property
    def direction(self) -> Direction:
        return self.lines.direction or self.session.direction or Direction.SENDRECV

    @property
    def setup(self) -> Setup | None:
        return self.lines.setup or self.session.setup

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        return tuple(self.lines.candidates)

    @property
    def remote_candidates(self) -> tuple[Candidate, ...]:
        return tuple(self.lines.remote_candidates)

    @property
    def mid(self) -> bytes | None:
        return self._value(b"mid")

    @property
    def control(self) -> bytes | None:
        """The track's URL in RTSP (RFC 7826 appendix D.1.1), as it is written."""
        return self._value(b"control")

    @property
    def rtcp_mux(self) -> bool:
        """Whether RTCP may come to the RTP port (RFC 5761 section 5.1.1)."""
        own = self.lines.attributes
        return b"rtcp-mux" in own or b"rtcp-mux-only" in own

    @property
    def bundle_only(self) -> bool:
        return b"bundle-only" in self.lines.attributes

    @property
    def bundled(self) -> bool:
        """Whether another section's transport shall be used for this one."""
        return self.bundle is not None and self.bundle != self.section

    @property
    def disabled(self) -> bool:
        """Port 0, and not because another section's transport is meant."""
        return self.lines.port == 0 and not (self.bundle_only and self.bundled)

    @property
    def ice(self) -> bool:
        return b"ice-ufrag" in self.lines.attributes or b"ice-ufrag" in self.session.attributes

    @property
    def ice_mismatch(self) -> bool:
        """The sender found that something on the way had changed the addresses."""
        return b"ice-mismatch" in self.lines.attributes

    @property
    def existing_connection(self) -> bool:
        """Whether the TCP connection that is there shall be kept (RFC 4145 section 5)."""
        offset = self.lines.attributes.get(b"connection")
        if offset is None:
            offset = self.session.attributes.get(b"connection")
        return offset is not None and line_at(self.found.string, offset).lower() == b"existing"

    @property
    def held(self) -> bool:
        """0.0.0.0 or :: in place of an address: the hold of RFC 2543, but nothing in ICE."""
        host = self.connection.host if self.connection else None
        return host is not None and host.reach is Reach.UNSPECIFIED and not self.ice

    @property
    def msrp_path_counts(self) -> bool:
        """Peers connect to the address in a=path and compare it (RFC 4975 section 6); m= and c=
        count only with RFC 6714."""
        path = self._value(b"path") or b""
        msrp = path.lower().startswith((b"msrp:", b"msrps:"))
        return msrp and b"msrp-cema" not in self.lines.attributes

    @property
    def refused(self) -> SdpFlaw | None:
        """Why the m= and c= lines open nothing, though the section wants media."""
        if self.port == 0:
            return None
        if self.profile is None:
            return SdpFlaw.UNKNOWN_PROTOCOL
        return SdpFlaw.NO_CONNECTION if self.connection is None else self.connection.refused

    def transports(self) -> tuple[Transport, ...]:
        """Where this section wants to receive: first those of m=, c= and a=rtcp, then ICE
        candidates. None for multicast, host names, held and refused sections, and for TCP where
        the section connects itself (a=setup:active, port 9)."""
        ports, after, rtcp = self.default()
        found = [*ports]
        if after:
            found = [each for both in zip(ports, after, strict=True) for each in both]
        elif rtcp is not None and (not ports or rtcp.key != ports[0].key):
            found.append(rtcp)
        for candidate in self.lines.candidates:
            transport = self.transport(candidate)
            if transport is not None:
                found.append(transport)
        return tuple(found)

    def default(self) -> Default:
        """What m=, c= and a=rtcp announce."""
        lines, profile = self.lines, self.lines.profile
        if profile is None or lines.port == 0:
            return _NOTHING
        protocol, component, rtp, _ = profile
        setup = None if protocol is _UDP else self.setup
        if setup is not None and setup in _CONNECTS:
            return _NOTHING
        connection = lines.connection or self.session.connection
        address = None if connection is None or lines.port == DISCARD else connection.unicast
        section, bundled = self.section, self.bundled
        ports: list[Transport] = []
        if address is not None:
            ports = [
                Transport(protocol, address, port, component, section, _DEFAULT, bundled, setup)
                for port in lines.numbers
            ]
        if not rtp:
            return Default(ports)
        if lines.rtcp is not None:
            return Default(ports, (), self._named(lines.rtcp, protocol, address, setup))
        if address is None or lines.port == 65535 or b"rtcp-mux-only" in lines.attributes:
            return Default(ports)
        fallback = bundled or self.rtcp_mux
        after = [
            Transport(protocol, address, port + 1, _RTCP, section, _DEFAULT, fallback, setup)
            for port in lines.numbers
        ]
        return Default(ports, after)

    def _named(
        self, rtcp: Rtcp, protocol: Protocol, address: IPAddress | None, setup: Setup | None
    ) -> Transport | None:
        """The transport of an a=rtcp line; `address` is that of RTP, meant where it names none."""
        if rtcp.own:
            address = rtcp.unicast
        if address is None or rtcp.port in _NO_PORT:
            return None
        shared = (self.section, _DEFAULT, self.bundled or self.rtcp_mux, setup)
        return Transport(protocol, address, rtcp.port, _RTCP, *shared)

    def transport(self, candidate: Candidate) -> Transport | None:
        """Where one of this section's candidates receives, if it does."""
        address = candidate.host.unicast
        if address is None or candidate.protocol is None or candidate.port in _NO_PORT:
            return None
        component, profile = Component.DATA, self.lines.profile
        if profile is not None and candidate.component == 1:
            component = profile.component
        elif profile is not None and profile.rtp and candidate.component == 2:
            component = Component.RTCP
        fallback = self.bundled or (component is Component.RTCP and self.rtcp_mux)
        shared = (component, self.section, candidate.kind, fallback)
        return Transport(candidate.protocol, address, candidate.port, *shared)

    def _value(self, name: bytes) -> bytes | None:
        offset = self.lines.attributes.get(name)
        return None if offset is None else line_at(self.found.string, offset)


class SessionDescription(NamedTuple):
    """A whole description: `data` are its bytes, `session` is what stands before the first m= line.

    `origin_offset` is where the value of o= starts, `filters` are all a=source-filter lines.
    """

    data: bytes
    session: Lines
    origin_offset: int | None
    filters: tuple[re.Match[bytes], ...]
    media: tuple[Media, ...]

    @property
    def origin(self) -> Connection | None:
        """The o= line, where it can be read. It says nothing about media."""
        if self.origin_offset is None:
            return None
        found = ORIGIN.match(self.data, self.origin_offset)
        host = None if found is None else read_typed_host(*found.groups())
        if found is None or host is None:
            return None
        return Connection(found, host, None, host.unicast)

    @property
    def control(self) -> bytes | None:
        """The URL of the whole presentation in RTSP."""
        offset = self.session.attributes.get(b"control")
        return None if offset is None else line_at(self.data, offset)

    def transports(self) -> tuple[Transport, ...]:
        """Those of all sections."""
        return tuple([transport for media in self.media for transport in media.transports()])
