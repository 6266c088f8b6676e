"""The words of fwlb as frozen values. No behaviour beyond checks and text; see DESIGN "Words".

Addresses are `ipaddress` objects, ports are integers in host order, times are seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum
from ipaddress import IPv4Address, IPv6Address

IPAddress = IPv4Address | IPv6Address


class Protocol(IntEnum):
    """Transport protocols by their IANA number."""

    TCP = 6
    UDP = 17


class Side(Enum):
    """The two ends of a control connection: who opened it, and who was dialled."""

    CLIENT = "client"
    SERVER = "server"

    @property
    def other(self) -> Side:
        return Side.SERVER if self is Side.CLIENT else Side.CLIENT


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One transport address."""

    address: IPAddress
    port: int

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is not in 0..65535")

    def __str__(self) -> str:
        if self.address.version == 6:
            return f"[{self.address}]:{self.port}"
        return f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow before its first packet: who may send to where. The source port is not known yet."""

    protocol: Protocol
    source: IPAddress
    destination: Endpoint

    def __str__(self) -> str:
        return f"{self.protocol.name.lower()} {self.source} -> {self.destination}"


@dataclass(frozen=True, slots=True)
class Bucket:
    """An ordered pair of replicas: the owner, and the standby that takes over. Named by number."""

    number: int
    owner: str
    standby: str | None = None


@dataclass(frozen=True, slots=True)
class Pinhole:
    """A timed permission for one negotiated flow, as the forward hook sees it: source before
    source NAT, destination after destination NAT.

    `source_nat` is set where the connecting side must appear under a particular public address.
    """

    flow: Flow
    timeout_s: float
    source_nat: IPAddress | None = None


@dataclass(frozen=True, slots=True)
class Binding:
    """inside address+port <-> public address+port, out of a port block of `bucket`."""

    protocol: Protocol
    inside: Endpoint
    public: Endpoint
    bucket: Bucket
    timeout_s: float


FieldValue = int | str | bytes | IPv4Address | IPv6Address
"""One field of a set key: a number, an interface name, raw bytes (MAC) or an address."""


@dataclass(frozen=True, slots=True)
class Element:
    """One element of a named set or map of table `inet fwlb`, in values, not bytes.

    `kernel` packs it by the type that the set declares. `data` is None for sets.
    `timeout_s` is None for elements that stay.
    """

    set_name: str
    key: tuple[FieldValue, ...]
    data: tuple[FieldValue, ...] | None = None
    timeout_s: float | None = None


class ChangeKind(Enum):
    """What to do with an element."""

    ADD = "add"  # an error when the key is there with other data
    RENEW = "renew"  # add, or start its time-out again
    DELETE = "delete"  # no error when it is already gone


@dataclass(frozen=True, slots=True)
class Change:
    """One wish about one element; a batch of them is one kernel transaction."""

    kind: ChangeKind
    element: Element


class Refusal(Enum):
    """Why a helper or the engine opened nothing. The value is the counter's name, everywhere."""

    NOT_THIS_PROTOCOL = "not-this-protocol"
    GARBLED = "garbled"
    LINE_TOO_LONG = "line-too-long"
    TOO_MANY_PENDING = "too-many-pending-commands"
    THIRD_PARTY_ADDRESS = "third-party-address"
    BAD_ADDRESS = "bad-address"
    LOW_PORT = "port-below-1024"
    DENIED_PORT = "denied-port"
    BAD_NUMBER = "bad-number"
    WRONG_FAMILY = "wrong-address-family"
    UNSOLICITED_REPLY = "unsolicited-reply"
    NOT_ALLOWED_AFTER_EPSV_ALL = "not-allowed-after-epsv-all"
    SESSION_LIMIT = "session-limit"
    SOURCE_LIMIT = "source-limit"
    CHANNEL_LIMIT = "channel-limit"
    NO_FREE_PORT = "no-free-port"
    FLOW_TAKEN = "flow-taken"
    SET_FULL = "set-full"
    KERNEL = "kernel-error"
    POLICY = "forward-policy"
    UPSTREAM_UNREACHABLE = "upstream-unreachable"
    UPSTREAM_TIMEOUT = "upstream-timeout"
    IDLE_TIMEOUT = "idle-timeout"


@dataclass(frozen=True, slots=True)
class Session:
    """One application activity and who takes part in it.

    `client` is the real address of who opened the control connection; `dialled` is what it
    connected to; `server` is where that really is (they differ for a published server).
    """

    id: str
    helper: str
    client: Endpoint
    dialled: Endpoint
    server: Endpoint
    opened_at: float


class ReplicaState(Enum):
    """Life of a replica, in its usual order."""

    FILLING = "filling"
    ACTIVE = "active"
    DRAINING = "draining"
    INACTIVE = "inactive"


@dataclass(frozen=True, slots=True)
class Replica:
    """A gateway (or server) that sessions are spread over."""

    name: str
    state: ReplicaState = ReplicaState.ACTIVE


MARK_RELAY_IN = 0x01000000
"""Packet mark: deliver to the relay. fwlb uses the highest byte of both marks, steering others."""
MARK_RELAY_OUT = 0x02000000
"""Packet mark: sent by the relay's server leg (SO_MARK)."""
MARK_RELAYED = 0x01000000
"""Conntrack mark: this connection is a leg of the relay."""
MARK_PINHOLE = 0x02000000
"""Conntrack mark: this flow came through a pinhole."""
