"""What may stand in `fwlb.toml`. The configuration reference is generated from these models.

Every field carries its meaning as `description`; a unit is the end of its name (`_s` seconds,
`_bytes` bytes). Models are frozen and refuse unknown keys.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fwlb.config.services import GATEWAY, PortSpan, parse_span
from fwlb.config.values import (
    AbsolutePath,
    Action,
    Address,
    Address4,
    Address6,
    InterfaceName,
    Name,
    Network,
    Port,
    PortRange,
    ServiceText,
    Switch,
    SysctlName,
    SysctlValue,
)

__all__ = [
    "GATEWAY",
    "Action",
    "Allow",
    "Bindings",
    "Config",
    "FtpHelper",
    "Helper",
    "Helpers",
    "InterfaceName",
    "Model",
    "Name",
    "Nat",
    "Network",
    "Node",
    "Paths",
    "Policy",
    "Port",
    "PortRange",
    "PortSpan",
    "Publish",
    "Relay",
    "SysctlName",
    "SysctlValue",
    "Zone",
]

Seconds = Annotated[int, Field(strict=True, ge=5, le=3600)]
SessionLimit = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]


class Model(BaseModel):
    """Frozen, and every key must be known."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Node(Model):
    """This host."""

    name: Name
    """Name of this node, unique in the cluster."""
    roles: tuple[Literal["gateway"], ...] = ("gateway",)
    """What this host does. A gateway forwards, filters and translates."""


class Zone(Model):
    """Networks that are treated alike, behind one or more interfaces."""

    interfaces: tuple[InterfaceName, ...]
    """Exact names of the interfaces that lead to this zone."""
    networks: tuple[Network, ...] = ()
    """IPv4 and IPv6 networks of this zone. Packets that arrive from its interfaces with a source
    outside them are dropped. At most one zone has none: it is everything else (the Internet)."""
    interfaces_may_be_absent: Switch = False
    """Do not refuse to start when an interface does not exist yet (dial-up, hot-plug)."""


class Policy(Model):
    """What happens to packets that nothing else accepts."""

    forward: Action = "drop"
    """New flows through the gateway that no `[[allow]]`, published service or pinhole accepts.
    An interface that belongs to no zone forwards nothing in any case."""
    input: Action = "accept"
    """New flows to the gateway itself that no `[[allow]]` with `to = "gateway"` accepts."""


class Allow(Model):
    """One line of firewall policy between two zones, for new flows. Exact ports, no order: a
    service that is named wins over `any`."""

    from_zone: Name = Field(alias="from")
    """Zone where the flow starts."""
    to_zone: Name = Field(alias="to")
    """Zone where it goes, or `gateway` for this host itself."""
    services: tuple[ServiceText, ...] = ("any",)
    """`any`, `tcp/21`, `udp/5060`, `tcp/8000-8010`, or a protocol without ports: `icmp`,
    `icmpv6`, `gre`, `esp`, `ah`, `sctp`, `ipip`, `proto/47`."""
    action: Action = "accept"
    """What to do with such flows."""


class Nat(Model):
    """Source translation of flows from one zone to another. IPv4 and IPv6 are set apart."""

    from_zone: Name = Field(alias="from")
    """Zone whose addresses are hidden; it needs `networks`."""
    to_zone: Name = Field(alias="to")
    """Zone that sees the public address."""
    ipv4: Literal["none", "masquerade", "snat"] = "masquerade"
    """`masquerade`: the address of the interface; `snat`: `ipv4_address`; `none`: routed."""
    ipv4_address: Address4 | None = None
    """Public address for `snat`."""
    ipv4_ports: PortRange | None = None
    """TCP and UDP ports that the kernel may choose from for `snat`."""
    ipv6: Literal["none", "masquerade", "snat"] = "none"
    """The same for IPv6; `none` is the usual choice."""
    ipv6_address: Address6 | None = None
    """Public address for `snat`."""

    @property
    def ipv4_span(self) -> PortSpan | None:
        """`ipv4_ports` as a value."""
        return parse_span(self.ipv4_ports) if self.ipv4_ports else None


class Publish(Model):
    """A server inside, reachable under a public address of this gateway (destination NAT)."""

    protocol: Literal["tcp", "udp"] = "tcp"
    """Transport protocol of the service."""
    address: Address
    """Public address that clients dial."""
    port: Port
    """Public port that clients dial."""
    to_address: Address
    """Real address of the server, in the `networks` of a zone; of the same family as `address`."""
    to_port: Port | None = None
    """Real port of the server; the public port when absent."""


class Bindings(Model):
    """Public ports that fwlb itself hands out for negotiated flows behind NAT."""

    ports: PortRange = "20480-28671"
    """Range from 1024 on; the whole blocks of 256 ports in it (from a multiple of 256) are used.
    Nothing else on this host should listen there; `ipv4_ports`, published ports and the port of
    the relay must lie outside."""
    timeout_s: Seconds = 60
    """How long a binding waits for the first packet of its flow."""

    @property
    def span(self) -> PortSpan:
        """`ports` as a value."""
        return parse_span(self.ports)


class Helper(Model):
    """What all helpers share."""

    enabled: Switch = True
    """Look into this protocol."""
    ports: tuple[Port, ...]
    """TCP ports of the signalling; each belongs to one helper."""
    refused: Literal["reject", "pass"] = "reject"
    """A request that is never opened (port below 1024, third party): answer it with the
    protocol's own error, or pass it on unchanged. Nothing is opened either way."""
    garbled: Literal["close", "pass"] = "pass"
    """A stream that is not this protocol: close it, or pass it on unread."""
    when_away: Literal["open", "closed"] = "open"
    """While the daemon is away: new control connections pass it by, or are refused."""
    pinhole_timeout_s: Seconds = 60
    """How long a pinhole waits for the first packet of its flow."""
    denied_ports: tuple[Port, ...] = (3306, 3389, 5432, 5900, 5985, 6379, 8080, 8443, 27017)
    """Ports, beside those below 1024, that no pinhole is ever opened to."""


class FtpHelper(Helper):
    """FTP control connections (RFC 959, 1123, 2428, 4217)."""

    ports: tuple[Port, ...] = (21,)
    """TCP ports of FTP control connections."""
    max_line_bytes: Annotated[int, Field(strict=True, ge=512, le=65536)] = 4096
    """Longest command or reply line; a longer one is no FTP."""
    max_pending_commands: Annotated[int, Field(strict=True, ge=1, le=1024)] = 64
    """Commands that may wait for their reply (pipelining)."""


class Helpers(Model):
    """Which protocols fwlb looks into."""

    ftp: FtpHelper = FtpHelper()
    """FTP."""


class Relay(Model):
    """The transparent TCP proxy that carries TCP signalling."""

    port: Port = 2121
    """Port on the loopback addresses where the kernel hands connections over."""
    max_sessions: SessionLimit = 4096
    """Control connections at one time; more are refused."""
    max_sessions_per_source: SessionLimit = 256
    """Control connections of one client address at one time."""
    connect_timeout_s: Annotated[float, Field(strict=True, gt=0, le=120)] = 10.0
    """How long the server may take to accept."""
    idle_timeout_s: Annotated[float, Field(strict=True, ge=1, le=86400)] = 7200.0
    """A control connection in which nobody speaks for this long is closed. Transfers may take
    hours on a silent control connection."""
    drain_timeout_s: Annotated[float, Field(strict=True, ge=0, le=86400)] = 30.0
    """How long a stopping daemon lets running control connections finish."""
    buffer_bytes: Annotated[int, Field(strict=True, ge=4096, le=16 * 1024 * 1024)] = 65536
    """Bytes held per direction before the sender is slowed down."""
    liveness_timeout_s: Annotated[float, Field(strict=True, ge=1, le=60)] = 3.0
    """After this long without a sign of life from the daemon, new connections pass it by."""
    route_table: Annotated[int, Field(strict=True, ge=256, le=2**31 - 1)] = 7227
    """Number of the routing table that delivers relayed packets locally."""


class Paths(Model):
    """Where things are."""

    rules: AbsolutePath = Path("/etc/fwlb/rules.d")
    """Your own rules: `input/*.nft`, `forward/*.nft`, `prerouting/*.nft`, `postrouting/*.nft`
    go into the chain of that name, `table/*.nft` (sets, maps, chains) into the table."""
    state: AbsolutePath = Path("/var/lib/fwlb")
    """What must survive a restart."""
    runtime: AbsolutePath = Path("/run/fwlb")
    """The control socket, and what may vanish at boot."""


class Config(Model):
    """The whole file."""

    node: Node
    """This host."""
    zones: dict[Name, Zone]
    """Zones by name."""
    policy: Policy = Policy()
    """What happens to packets that nothing else accepts."""
    allow: tuple[Allow, ...] = ()
    """Firewall policy between zones."""
    nat: tuple[Nat, ...] = ()
    """Source translation between zones."""
    publish: tuple[Publish, ...] = ()
    """Servers inside that are reachable under a public address."""
    bindings: Bindings = Bindings()
    """Public ports for negotiated flows."""
    helpers: Helpers = Helpers()
    """Which protocols fwlb looks into."""
    relay: Relay = Relay()
    """The proxy for TCP signalling."""
    sysctl: dict[SysctlName, SysctlValue] = {}
    """Kernel settings below `net.` that `fwlb up` makes and `fwlb down` puts back, such as
    `"net.ipv4.ip_forward" = 1`. fwlb touches no other."""
    paths: Paths = Paths()
    """Where things are."""
