"""Which public port stands for which inside endpoint.

Channels that announce the same inside endpoint under the same public address share one port: a
server with few data ports announces the same one again while an earlier transfer still runs,
and the kernel can translate an inside endpoint in only one way.
"""

from __future__ import annotations

from dataclasses import dataclass

from fwlb.config.services import PortSpan
from fwlb.model import Bucket, Endpoint, IPAddress, Protocol
from fwlb.nat.ports import Entropy, PortPool, PortUsage, blocks_of

MAX_ADDRESSES = 64
"""Public addresses that have ports at one time. A gateway has few; its interface's own address
may change while it runs."""


@dataclass(slots=True)
class _Lease:
    public: Endpoint
    users: int


class PublicPorts:
    """Leases of the public ports of one bucket. An address gets its blocks at its first use."""

    def __init__(
        self,
        span: PortSpan,
        bucket: Bucket,
        *,
        entropy: Entropy,
        max_addresses: int = MAX_ADDRESSES,
    ) -> None:
        self.bucket = bucket
        self._span = span
        self._max_addresses = max_addresses
        self._pool = PortPool(entropy=entropy)
        self._leases: dict[tuple[Protocol, Endpoint, IPAddress], _Lease] = {}

    def lease(
        self, protocol: Protocol, inside: Endpoint, address: IPAddress, now: float
    ) -> Endpoint | None:
        """A public endpoint on `address` for `inside`, the same port where it is free; None when
        there is none. Each call is ended by one `give_back`."""
        key = (protocol, inside, address)
        lease = self._leases.get(key)
        if lease is None:
            if not self._has_ports(address, now):
                return None
            port = self._pool.take(
                protocol, address, bucket=self.bucket, prefer=inside.port, now=now
            )
            if port is None:
                return None
            lease = self._leases[key] = _Lease(Endpoint(address, port), 0)
        lease.users += 1
        return lease.public

    def give_back(self, protocol: Protocol, inside: Endpoint, public: Endpoint, now: float) -> None:
        """End one use of the lease; the port is free after the last one. Raises ValueError when
        there is no such lease."""
        key = (protocol, inside, public.address)
        lease = self._leases.get(key)
        if lease is None or lease.public != public:
            raise ValueError(f"{public} is not leased to {inside}")
        lease.users -= 1
        if not lease.users:
            del self._leases[key]
            self._pool.give_back(protocol, public.address, public.port, now)

    def reconfigure(self, span: PortSpan, bucket: Bucket, now: float) -> None:
        """New leases come from `span`; running ones stay as they are."""
        self._span, self.bucket = span, bucket
        self._own(self._pool.addresses, now)

    def usage(self) -> list[PortUsage]:
        return self._pool.usage()

    def _has_ports(self, address: IPAddress, now: float) -> bool:
        if self._pool.owns(self.bucket, address):
            return True
        known = self._pool.addresses
        if len(known) >= self._max_addresses:
            known = frozenset(other for other in known if not self._pool.idle(other, now))
        if len(known) >= self._max_addresses:
            return False
        self._own(known | {address}, now)
        return True

    def _own(self, addresses: frozenset[IPAddress], now: float) -> None:
        blocks = (
            block for address in addresses for block in blocks_of(self.bucket, address, self._span)
        )
        self._pool.replace(blocks, now)
