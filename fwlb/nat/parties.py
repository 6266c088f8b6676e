"""How the two ends of a session see each other through this gateway."""

from __future__ import annotations

from dataclasses import dataclass

from fwlb.config.lookup import Snat, ZoneTable
from fwlb.model import Endpoint, IPAddress, Side


@dataclass(frozen=True, slots=True)
class View:
    """One end of a session: its `real` address, and `seen`, by which the other end knows it."""

    real: IPAddress
    seen: IPAddress

    @property
    def translated(self) -> bool:
        return self.real != self.seen

    @property
    def addresses(self) -> frozenset[IPAddress]:
        """Every address that this end may rightly call its own."""
        return frozenset((self.real, self.seen))


@dataclass(frozen=True, slots=True)
class Parties:
    """Both ends. `hairpin`: they are in one zone and the client dialled a public address, so
    answers would pass this gateway by unless it shows its own address to the server.

    `source_nat_of_server` is the address that flows *from* the server to the client must have,
    None where the kernel's rules for the two zones give it anyway.
    """

    client: View
    server: View
    hairpin: bool
    source_nat_of_server: IPAddress | None

    def view(self, side: Side) -> View:
        return self.client if side is Side.CLIENT else self.server

    @property
    def relay_source(self) -> IPAddress:
        """The address that the relay connects to the server from. Other source NAT than that of
        a hairpin is done by the kernel behind the relay."""
        return self.client.seen if self.hairpin else self.client.real

    def source_nat(self, connector: Side) -> IPAddress | None:
        """The source address to give to a flow that `connector` starts to the other end; None
        where the rules for the two zones are right. A client's flows are translated by the same
        rules as its control connection, except in a hairpin."""
        if connector is Side.SERVER:
            return self.source_nat_of_server
        return self.client.seen if self.hairpin else None


def parties(
    client: IPAddress,
    dialled: Endpoint,
    server: Endpoint,
    egress: IPAddress | None,
    zones: ZoneTable,
) -> Parties | None:
    """Who sees whom how, by the configured translations.

    `egress` is this gateway's own address towards the server, the source of masquerading. The
    answer is None where it is needed and there is none: no route to the server.
    """
    zone = zones.zone_of(client)
    published = dialled.address != server.address
    hairpin = published and zone is not None and zone == zones.zone_of(server.address)
    translation = zones.translation(client, server.address)
    seen: IPAddress | None = client
    if isinstance(translation, Snat):
        seen = translation.address
    elif translation is not None or hairpin:
        seen = egress
    if seen is None:
        return None
    # without this the kernel would translate the server's flows by the rules of its zone, and the
    # client would be called from an address that it does not know
    outward = published or zones.translation(server.address, client) is not None
    return Parties(
        client=View(client, seen),
        server=View(server.address, dialled.address),
        hairpin=hairpin,
        source_nat_of_server=dialled.address if outward else None,
    )
