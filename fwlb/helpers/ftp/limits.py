"""What an FTP session may ask for, and which endpoints are never opened."""

from __future__ import annotations

from dataclasses import dataclass

from fwlb.model import Endpoint, IPAddress, Refusal


@dataclass(frozen=True, slots=True)
class FtpLimits:
    """Limits of one control connection.

    `max_line_bytes` bounds a line with its end, and a whole 227 or 229 reply.
    `min_port` and `denied_ports` hold for endpoints of both sides.
    """

    max_line_bytes: int = 4096
    max_pending_commands: int = 64
    min_port: int = 1024
    denied_ports: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Flaw:
    """Why something is not opened or not read on; `detail` is for the log."""

    reason: Refusal
    detail: str


def vet(endpoint: Endpoint, own: frozenset[IPAddress], limits: FtpLimits) -> Flaw | None:
    """What forbids `endpoint` to a party that is known under the addresses `own`; None: nothing.

    FTP can move data between two servers (RFC 959 section 5.2); that is the bounce attack of
    RFC 2577, so the address has to be the party's own. 0.0.0.0 has no meaning in RFC 959:
    what some clients make of it ("the server itself") is not opened either.
    """
    return _vet_address(endpoint.address, own) or vet_port(endpoint.port, limits)


def vet_port(port: int, limits: FtpLimits) -> Flaw | None:
    if port < limits.min_port:
        return Flaw(Refusal.LOW_PORT, f"port {port} is below {limits.min_port}")
    if port in limits.denied_ports:
        return Flaw(Refusal.DENIED_PORT, f"port {port} is on the list of denied ports")
    return None


def _vet_address(address: IPAddress, own: frozenset[IPAddress]) -> Flaw | None:
    if address.version not in {mine.version for mine in own}:
        return Flaw(
            Refusal.WRONG_FAMILY, f"{address} is IPv{address.version}, the connection is not"
        )
    if address.is_multicast or address.is_unspecified:
        return Flaw(Refusal.BAD_ADDRESS, f"{address} is nobody's address")
    if address in own:
        return None
    if address.is_loopback or address.is_link_local or int(address) == 0xFFFFFFFF:
        return Flaw(Refusal.BAD_ADDRESS, f"{address} is not the sender's address")
    return Flaw(Refusal.THIRD_PARTY_ADDRESS, f"{address} is not the sender's address")
