"""Descriptions from a few lines, and transports as one reads them."""

from __future__ import annotations

from fwlb.helpers.sdp import Transport


def body(*lines: str, end: str = "\r\n") -> bytes:
    """A description with these lines after the usual first ones."""
    first = ["v=0", "o=- 1 1 IN IP4 10.1.0.2", "s=-", "t=0 0"]
    return "".join(line + end for line in [*first, *lines]).encode()


def shown(transport: Transport) -> str:
    """`udp 10.1.0.2:5004 rtp`, with the kind of a candidate and `?` for a fallback."""
    kind = "" if transport.kind.value == "default" else f" {transport.kind.value}"
    protocol, component = transport.protocol.name.lower(), transport.component.value
    return f"{protocol} {transport.endpoint} {component}{kind}{'?' * transport.fallback}"
