"""What may stand in `fwlb.toml`. The configuration reference is generated from these models.

Every field carries its meaning as `description`; a unit is the end of its name (`_s` seconds,
`_bytes` bytes). Models are frozen and refuse unknown keys.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

GATEWAY = "gateway"
"""The reserved zone name for this host itself, as the target of `[[allow]]`."""

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,30}$")]
InterfaceName = Annotated[str, StringConstraints(pattern=r"^[^\s/:\"*?\[\]\\]{1,15}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
PortRange = Annotated[str, StringConstraints(pattern=r"^\d{1,5}-\d{1,5}$")]
Network = IPv4Network | IPv6Network
Action = Literal["accept", "drop", "reject"]


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
    interfaces_may_be_absent: bool = False
    """Do not refuse to start when an interface does not exist yet (dial-up, hot-plug)."""


class Policy(Model):
    """What happens to packets that nothing else accepts."""

    forward: Action = "drop"
    """New flows through the gateway that no `[[allow]]`, published service or pinhole accepts."""
    input: Action = "accept"
    """New flows to the gateway itself that no `[[allow]]` with `to = "gateway"` accepts."""


class Allow(Model):
    """One line of firewall policy between two zones, for new flows. Exact ports, no order: a
    service that is named wins over `any`."""

    from_zone: Name = Field(alias="from")
    """Zone where the flow starts."""
    to_zone: Name = Field(alias="to")
    """Zone where it goes, or `gateway` for this host itself."""
    services: tuple[str, ...] = ("any",)
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
    ipv4_address: IPv4Address | None = None
    """Public address for `snat`."""
    ipv4_ports: PortRange | None = None
    """TCP and UDP ports that the kernel may choose from for `snat`, as `first-last`."""
    ipv6: Literal["none", "masquerade", "snat"] = "none"
    """The same for IPv6; `none` is the usual choice."""
    ipv6_address: IPv6Address | None = None
    """Public address for `snat`."""


class Publish(Model):
    """A server inside, reachable under a public address of this gateway (destination NAT)."""

    protocol: Literal["tcp", "udp"] = "tcp"
    """Transport protocol of the service."""
    address: IPv4Address | IPv6Address
    """Public address that clients dial."""
    port: Port
    """Public port that clients dial."""
    to_address: IPv4Address | IPv6Address
    """Real address of the server."""
    to_port: Port | None = None
    """Real port of the server; the public port when absent."""


class Bindings(Model):
    """Public ports that fwlb itself hands out for negotiated flows behind NAT."""

    ports: PortRange = "20480-28671"
    """Range as `first-last`; whole blocks of 256 ports in it are used. Nothing else on this
    host should listen there, and `ipv4_ports` of `[[nat]]` should not overlap it."""
    timeout_s: Annotated[int, Field(ge=5, le=3600)] = 60
    """How long a binding waits for the first packet of its flow."""


class Helper(Model):
    """What all helpers share."""

    enabled: bool = True
    """Look into this protocol."""
    ports: tuple[Port, ...]
    """TCP ports of the signalling."""
    refused: Literal["reject", "pass"] = "reject"
    """A request that is never opened (port below 1024, third party): answer it with the
    protocol's own error, or pass it on unchanged. Nothing is opened either way."""
    garbled: Literal["close", "pass"] = "pass"
    """A stream that is not this protocol: close it, or pass it on unread."""
    when_away: Literal["open", "closed"] = "open"
    """While the daemon is away: new control connections pass it by, or are refused."""
    pinhole_timeout_s: Annotated[int, Field(ge=5, le=3600)] = 60
    """How long a pinhole waits for the first packet of its flow."""
    denied_ports: tuple[Port, ...] = (3306, 3389, 5432, 5900, 5985, 6379, 8080, 8443, 27017)
    """Ports, beside those below 1024, that no pinhole is ever opened to."""


class FtpHelper(Helper):
    """FTP control connections (RFC 959, 1123, 2428, 4217)."""

    ports: tuple[Port, ...] = (21,)
    """TCP ports of FTP control connections."""
    max_line_bytes: Annotated[int, Field(ge=512, le=65536)] = 4096
    """Longest command or reply line; a longer one is no FTP."""
    max_pending_commands: Annotated[int, Field(ge=1, le=1024)] = 64
    """Commands that may wait for their reply (pipelining)."""


class Helpers(Model):
    """Which protocols fwlb looks into."""

    ftp: FtpHelper = FtpHelper()
    """FTP."""


class Relay(Model):
    """The transparent TCP proxy that carries TCP signalling."""

    port: Port = 2121
    """Port on the loopback addresses where the kernel hands connections over."""
    max_sessions: Annotated[int, Field(ge=1, le=1_000_000)] = 4096
    """Control connections at one time; more are refused."""
    max_sessions_per_source: Annotated[int, Field(ge=1, le=1_000_000)] = 256
    """Control connections of one client address at one time."""
    connect_timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    """How long the server may take to accept."""
    idle_timeout_s: Annotated[float, Field(ge=1, le=86400)] = 7200.0
    """A control connection in which nobody speaks for this long is closed. Transfers may take
    hours on a silent control connection."""
    drain_timeout_s: Annotated[float, Field(ge=0, le=86400)] = 30.0
    """How long a stopping daemon lets running control connections finish."""
    buffer_bytes: Annotated[int, Field(ge=4096, le=16 * 1024 * 1024)] = 65536
    """Bytes held per direction before the sender is slowed down."""
    liveness_timeout_s: Annotated[float, Field(ge=1, le=60)] = 3.0
    """After this long without a sign of life from the daemon, new connections pass it by."""
    route_table: Annotated[int, Field(ge=256, le=2**31 - 1)] = 7227
    """Number of the routing table that delivers relayed packets locally."""


class Paths(Model):
    """Where things are."""

    rules: Path = Path("/etc/fwlb/rules.d")
    """Your own rules: `input/*.nft`, `forward/*.nft`, `prerouting/*.nft`, `postrouting/*.nft`
    go into the chain of that name, `table/*.nft` (sets, maps, chains) into the table."""
    state: Path = Path("/var/lib/fwlb")
    """What must survive a restart."""
    runtime: Path = Path("/run/fwlb")
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
    paths: Paths = Paths()
    """Where things are."""
