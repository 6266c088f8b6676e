"""The engine against a small model of what the kernel should hold.

Hypothesis opens sessions of every kind (routed, hidden client, published server, hairpin), lets
helpers announce, agree on and end channels, several in one read, lets the kernel fail now and
then, and lets time go by. After every step the elements in the kernel are those of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from itertools import count
from typing import Any
from zlib import crc32

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fwlb.config.models import Config
from fwlb.engine import Admitted, Engine, Opening, Outcome
from fwlb.helpers.contract import ChannelEnded, ChannelExpected, ChannelOffered, Event, Forward
from fwlb.model import Change, ChangeKind, Element, Endpoint, IPAddress, Refusal, Side

TIMEOUT_S, GRACE_S = 60, 1
HOLD_S, MIN_HOLD_S = 120, 5
SPANS = ["20480-20735", "30720-30975"]
FIRST_PORTS = [20480, 30720]


@dataclass(frozen=True)
class Kind:
    """What a kind of session looks like, worked out by hand."""

    dialled: Endpoint
    egress: IPAddress
    real: dict[Side, IPAddress]
    seen: dict[Side, IPAddress]
    source_nat: dict[Side, IPAddress | None]


def dice(seed: int) -> Callable[[int], int]:
    """Numbers without a pattern, the same in every run."""
    throws = count(seed)
    return lambda sides: crc32(next(throws).to_bytes(8, "big")) % sides


def kind(
    client: str, dialled: str, egress: str, client_seen: str, server: str, *, hairpin: bool = False
) -> Kind:
    host, port = dialled.rsplit(",")
    called = ip_address(host)
    real = {Side.CLIENT: ip_address(client), Side.SERVER: ip_address(server)}
    return Kind(
        Endpoint(called, int(port)),
        ip_address(egress),
        real,
        {Side.CLIENT: ip_address(client_seen), Side.SERVER: called},
        {
            Side.CLIENT: ip_address(client_seen) if hairpin else None,
            Side.SERVER: called if called != real[Side.SERVER] else None,
        },
    )


KINDS = [
    kind("10.1.0.2", "198.51.100.7,21", "203.0.113.1", "203.0.113.1", "198.51.100.7"),
    kind("10.1.0.3", "198.51.100.7,21", "203.0.113.1", "203.0.113.1", "198.51.100.7"),
    kind("198.51.100.7", "203.0.113.1,21", "10.1.0.1", "198.51.100.7", "10.1.0.10"),
    kind("198.51.100.7", "203.0.113.2,2100", "10.1.0.1", "198.51.100.7", "10.1.0.10"),
    kind("10.1.0.2", "203.0.113.1,21", "10.1.0.1", "10.1.0.1", "10.1.0.10", hairpin=True),
    kind("fd01::2", "2001:db8::7,21", "fd02::1", "fd01::2", "2001:db8::7"),
]


def configuration(variant: int) -> Config:
    return Config.model_validate(
        {
            "node": {"name": "gw1"},
            "zones": {
                "inside": {"interfaces": ["lan0"], "networks": ["10.1.0.0/24", "fd01::/64"]},
                "outside": {"interfaces": ["wan0"]},
            },
            "allow": [{"from": "inside", "to": "outside", "services": ["tcp/21"]}],
            "nat": [{"from": "inside", "to": "outside"}],
            "publish": [
                {"address": "203.0.113.1", "port": 21, "to_address": "10.1.0.10"},
                {"address": "203.0.113.2", "port": 2100, "to_address": "10.1.0.10", "to_port": 21},
            ],
            "bindings": {"ports": SPANS[variant], "timeout_s": TIMEOUT_S},
            "helpers": {"ftp": {"refused": ["reject", "pass"][variant]}},
        }
    )


# --- a kernel ---------------------------------------------------------------------------------

Key = tuple[str, tuple[Any, ...]]


class Kernel:
    """Elements with time-outs; a batch is taken whole or not at all."""

    def __init__(self) -> None:
        self.elements: dict[Key, tuple[Element, float]] = {}

    def apply(self, changes: Sequence[Change], now: float) -> bool:
        after = {key: value for key, value in self.elements.items() if value[1] > now}
        for change in changes:
            element = change.element
            key = (element.set_name, element.key)
            if change.kind is ChangeKind.DELETE:
                after.pop(key, None)
                continue
            there = after.get(key)
            if there is not None and there[0].data != element.data:
                return False
            assert element.timeout_s is not None
            after[key] = (element, now + element.timeout_s)
        self.elements = after
        return True

    def now(self, now: float) -> dict[Key, Any]:
        return {key: e.data for key, (e, until) in self.elements.items() if until > now}


# --- the model --------------------------------------------------------------------------------

Holder = tuple[str, int, str]
Lease = tuple[Endpoint, IPAddress]


@dataclass
class Held:
    data: Any
    until: float
    holders: frozenset[Holder]


@dataclass
class Line:
    """A message; `needed`: it announces a channel that got elements in the same step."""

    sent: bytes
    instead: bytes
    needed: bool = False


@dataclass
class Channel:
    listener: Side
    inside: Endpoint
    public: Endpoint | None
    line: Line


@dataclass
class Model:
    """What should be in the kernel, and which public port stands for what."""

    held: dict[Key, Held] = field(default_factory=dict)
    over_at: dict[Holder, float] = field(default_factory=dict)
    channels: dict[tuple[str, int], Channel] = field(default_factory=dict)
    leases: dict[Lease, tuple[Endpoint, int]] = field(default_factory=dict)

    def copy(self) -> Model:
        return Model(
            {key: replace(held) for key, held in self.held.items()},
            dict(self.over_at),
            dict(self.channels),
            dict(self.leases),
        )

    def hold(self, holder: Holder, key: Key, data: Any, now: float) -> None:
        held = self.held.setdefault(key, Held(data, 0, frozenset()))
        held.until = now + TIMEOUT_S
        held.holders |= {holder}
        self.over_at[holder] = now + TIMEOUT_S + GRACE_S

    def release(self, holder: Holder) -> None:
        self.over_at.pop(holder, None)
        for key, held in list(self.held.items()):
            held.holders -= {holder}
            if not held.holders:
                del self.held[key]

    def lapse(self, now: float) -> None:
        for holder, at in sorted(self.over_at.items(), key=lambda item: item[1]):
            if at <= now:
                self.release(holder)

    def taken(self, key: Key, data: Any) -> bool:
        return key in self.held and self.held[key].data != data

    def now(self, now: float) -> dict[Key, Any]:
        return {key: held.data for key, held in self.held.items() if held.until > now}


# --- a helper that says what the test wants -----------------------------------------------------


class Puppet:
    def __init__(self) -> None:
        self.says: list[Event] = []

    def receive(self, _sender: Side, _data: bytes, _now: float) -> list[Event]:
        says, self.says = self.says, []
        return says

    def eof(self, _sender: Side, _now: float) -> list[Event]:
        return []

    buffered_bytes = 0


def told(number: int, port: int) -> Callable[[Endpoint], bytes]:
    return lambda e: f"told {number} {port} as {e.address} {e.port};".encode()


ACTIONS = st.lists(
    st.one_of(
        st.tuples(
            st.just("offer"),
            st.integers(1, 3),
            st.sampled_from([30000, 30001, 20500]),
        ),
        st.tuples(st.just("agree"), st.integers(1, 3), st.just(0)),
        st.tuples(st.just("end"), st.integers(1, 3), st.just(0)),
        st.tuples(st.just("say"), st.just(0), st.just(0)),
    ),
    min_size=1,
    max_size=4,
)


class EngineMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.variant = 0
        self.puppets: list[Puppet] = []
        self.engine = Engine(
            configuration(0),
            entropy=dice(11),
            make_helper=self.make_puppet,
        )
        self.kernel = Kernel()
        self.model = Model()
        self.sessions: dict[str, tuple[Kind, str, Puppet]] = {}
        self.given_back: dict[Endpoint, float] = {}
        self.opened = 0
        self.lingering: set[Key] = set()

    def make_puppet(self, *_: Any) -> Puppet:
        self.puppets.append(Puppet())
        return self.puppets[-1]

    # --- steps --------------------------------------------------------------------------------

    @initialize(which=st.lists(st.integers(0, len(KINDS) - 1), min_size=1, max_size=4))
    def some_sessions(self, which: list[int]) -> None:
        for number in which:
            self.open(number)

    @rule(which=st.integers(0, len(KINDS) - 1))
    def open(self, which: int) -> None:
        self.opened += 1
        session_id, chosen = f"s{self.opened}", KINDS[which]
        client = Endpoint(chosen.real[Side.CLIENT], 50000)
        opening = Opening(session_id, "ftp", client, chosen.dialled, chosen.egress)
        answer, outcome = self.engine.open(opening, self.now)
        assert isinstance(answer, Admitted)
        assert answer.session.server.address == chosen.real[Side.SERVER]
        assert outcome.changes == ()
        policy = ["reject", "pass"][self.variant]
        self.sessions[session_id] = (chosen, policy, self.puppets[-1])

    @rule(
        data=st.data(),
        sender=st.sampled_from(Side),
        actions=ACTIONS,
        failures=st.sampled_from([0, 0, 0, 0, 1, 2]),
    )
    def speak(
        self,
        data: st.DataObject,
        sender: Side,
        actions: list[tuple[str, int, int]],
        failures: int,
    ) -> None:
        session_id = self.one_of_them(data)
        chosen, _, puppet = self.sessions[session_id]
        puppet.says = [self.event(chosen, sender, action) for action in actions]
        outcome = self.engine.receive(session_id, sender, b"x", self.now)

        before = self.model.copy()
        lines = self.follow(session_id, sender, actions, outcome)
        assert [send.data for send in outcome.sends] == [line.sent for line in lines]
        assert all(send.to is sender.other for send in outcome.sends)
        if self.carry_out(session_id, outcome, failures):
            return
        expected = [line.instead if line.needed else line.sent for line in lines]
        assert [send.data for send in outcome.sends_if_refused] == expected
        self.undo(session_id, outcome, before)

    @rule(data=st.data(), failures=st.sampled_from([0, 0, 1, 2]))
    def close(self, data: st.DataObject, failures: int) -> None:
        self.close_session(self.one_of_them(data), failures)

    @rule(seconds=st.sampled_from([1, 4, 30, 60, 61, 200]))
    def wait(self, seconds: int) -> None:
        self.now += seconds
        self.model.lapse(self.now)
        outcome = self.engine.tick(self.now)
        assert outcome.sends == ()
        assert self.kernel.apply(outcome.changes, self.now)
        deadline = self.engine.next_deadline(self.now)
        assert deadline == min(self.model.over_at.values(), default=None)

    @rule(variant=st.integers(0, 1))
    def reconfigure(self, variant: int) -> None:
        self.variant = variant
        outcome = self.engine.reconfigure(configuration(variant), self.now)
        assert outcome.changes == ()

    # --- how the model follows ----------------------------------------------------------------

    def event(self, chosen: Kind, sender: Side, action: tuple[str, int, int]) -> Event:
        what, number, port = action
        if what == "agree":
            return ChannelExpected(number)
        if what == "end":
            return ChannelEnded(number, "over")
        if what == "say":
            return Forward(sender, b"said;")
        announced = Endpoint(chosen.real[sender], port)
        rewritten = told(number, port)
        return ChannelOffered(
            sender, number, announced, rewritten(announced), rewritten, b"refused;"
        )

    def follow(
        self,
        session_id: str,
        sender: Side,
        actions: list[tuple[str, int, int]],
        outcome: Outcome,
    ) -> list[Line]:
        """Do the same in the model, and say what should be sent."""
        sends = iter(outcome.sends)
        lines: list[Line] = []
        for what, number, port in actions:
            if what == "say":
                next(sends)
                lines.append(Line(b"said;", b"said;"))
            elif what == "offer":
                lines.append(self.offer(session_id, sender, number, port, next(sends).data))
            elif what == "agree":
                self.agree(session_id, number)
            else:
                self.end(session_id, number)
        return lines

    def offer(self, session_id: str, sender: Side, number: int, port: int, sent: bytes) -> Line:
        self.end(session_id, number)
        chosen, policy, _ = self.sessions[session_id]
        inside, seen = Endpoint(chosen.real[sender], port), chosen.seen[sender]
        rewritten = told(number, port)
        original = rewritten(inside)
        line = Line(original, b"refused;" if policy == "reject" else original)
        public = None
        if seen != inside.address:
            public = self.lease(inside, seen, sent)
            if public is None:
                line.sent = line.instead
                return line
            line.sent = rewritten(public)
        self.model.channels[session_id, number] = Channel(sender, inside, public, line)
        if public:
            self.bind(session_id, number)
        return line

    def lease(self, inside: Endpoint, seen: IPAddress, sent: bytes) -> Endpoint | None:
        """The public endpoint that the engine has announced, if that was right."""
        public, users = self.model.leases.get((inside, seen), (None, 0))
        if public is None:
            if f" as {seen} " not in sent.decode():
                assert not self.free_ports(seen, MIN_HOLD_S)
                return None
            public = Endpoint(seen, int(sent.decode().rstrip(";").split()[-1]))
            assert public not in {used for used, _ in self.model.leases.values()}
            rested = self.free_ports(seen, HOLD_S)
            assert public.port in (rested or self.free_ports(seen, MIN_HOLD_S))
            if inside.port in rested:
                assert public.port == inside.port
        self.model.leases[inside, seen] = (public, users + 1)
        return public

    def free_ports(self, address: IPAddress, hold_s: float) -> set[int]:
        first = FIRST_PORTS[self.variant]
        used = {public for public, _ in self.model.leases.values()}
        return {
            port
            for port in range(first, first + 256)
            if (here := Endpoint(address, port)) not in used
            and self.given_back.get(here, -1e9) + hold_s <= self.now
        }

    def bind(self, session_id: str, number: int) -> None:
        channel = self.model.channels[session_id, number]
        inside, public = channel.inside, channel.public
        assert public is not None
        channel.line.needed = True
        holder = (session_id, number, "binding")
        outside_key = (6, public.address, public.port)
        inside_key = (6, inside.address, inside.port)
        way_in: Key = ("binding_in4", outside_key)
        way_out: Key = ("binding_out4", inside_key)
        self.model.hold(holder, way_in, inside_key[1:], self.now)
        if not self.model.taken(way_out, outside_key[1:]):
            self.model.hold(holder, way_out, outside_key[1:], self.now)

    def agree(self, session_id: str, number: int) -> None:
        channel = self.model.channels.get((session_id, number))
        if channel is None:
            return
        chosen = self.sessions[session_id][0]
        connector = channel.listener.other
        source, nat = chosen.real[connector], chosen.source_nat[connector]
        family = source.version
        key = (6, source, channel.inside.address, channel.inside.port)
        translation: Key = (f"pinhole_snat{family}", key)
        if nat and self.model.taken(translation, (nat,)):
            channel.line.sent = channel.line.instead  # its announcement, if still here
            self.end(session_id, number)
            return
        left_s = self.model.over_at.get((session_id, number, "binding"), 0) - self.now
        if channel.public and left_s < TIMEOUT_S / 2:
            self.bind(session_id, number)
        holder = (session_id, number, "pinhole")
        self.model.hold(holder, (f"pinhole{family}", key), None, self.now)
        if nat:
            self.model.hold(holder, translation, (nat,), self.now)
        channel.line.needed = True

    def end(self, session_id: str, number: int) -> None:
        channel = self.model.channels.pop((session_id, number), None)
        if channel is None:
            return
        for part in ("pinhole", "binding"):
            self.model.release((session_id, number, part))
        if channel.public is not None:
            lease = (channel.inside, channel.public.address)
            public, users = self.model.leases[lease]
            if users > 1:
                self.model.leases[lease] = (public, users - 1)
            else:
                del self.model.leases[lease]
                self.given_back[public] = self.now

    def undo(self, session_id: str, outcome: Outcome, before: Model) -> None:
        """The kernel has none of the changes: the channels of this session that need one of them
        are over, and for others the time-outs run on as they did."""
        refused = {
            (change.element.set_name, change.element.key)
            for change in outcome.changes
            if change.kind is not ChangeKind.DELETE
        }
        holders = {h for key in refused for h in self.model.held[key].holders}
        for number in {number for s, number, _ in holders if s == session_id}:
            self.end(session_id, number)
        for key in refused & self.model.held.keys():
            self.model.held[key].until = before.held[key].until

    def carry_out(self, session_id: str, outcome: Outcome, failures: int) -> bool:
        """Whether the kernel took it. With two failures it does not take the repair either."""
        if not outcome.changes:
            return True
        if not failures and self.kernel.apply(outcome.changes, self.now):
            return True
        repair = self.engine.kernel_refused(session_id, outcome, Refusal.KERNEL, self.now)
        assert all(change.kind is ChangeKind.DELETE for change in repair.changes)
        if failures < 2:
            assert self.kernel.apply(repair.changes, self.now)
            if all(change.kind is ChangeKind.DELETE for change in outcome.changes):
                self.lingering |= {(c.element.set_name, c.element.key) for c in outcome.changes}
        else:
            last = self.engine.kernel_refused(session_id, repair, Refusal.KERNEL, self.now)
            assert last.changes == ()
            self.lingering |= {
                (c.element.set_name, c.element.key) for c in (*outcome.changes, *repair.changes)
            }
        return False

    def one_of_them(self, data: st.DataObject) -> str:
        if not self.sessions:
            self.open(0)
        return data.draw(st.sampled_from(sorted(self.sessions)))

    def close_session(self, session_id: str, failures: int) -> None:
        outcome = self.engine.close(session_id, self.now, "bye")
        assert outcome.sends == ()
        for s, number in list(self.model.channels):
            if s == session_id:
                self.end(session_id, number)
        del self.sessions[session_id]
        self.carry_out(session_id, outcome, failures)

    # --- what holds after every step ----------------------------------------------------------

    @invariant()
    def kernel_and_model_agree(self) -> None:
        kernel, model = self.kernel.now(self.now), self.model.now(self.now)
        assert model.items() <= kernel.items()
        assert kernel.keys() - model.keys() <= self.lingering

    @invariant()
    def the_book_and_the_model_agree(self) -> None:
        book = {(e.set_name, e.key): e.data for e in self.engine.elements()}
        assert book == {key: held.data for key, held in self.model.held.items()}

    @invariant()
    def counters_agree(self) -> None:
        snapshot = self.engine.snapshot(self.now)
        assert snapshot["sessions"]["now"] == len(self.sessions)
        for part in ("pinhole", "binding"):
            count = sum(holder[2] == part for holder in self.model.over_at)
            assert snapshot[f"{part}s"]["now"] == count
        in_use = sum(usage["in_use"] for usage in snapshot["ports"])
        assert in_use == len(self.model.leases)

    def teardown(self) -> None:
        for session_id in list(self.sessions):
            self.close_session(session_id, failures=0)
        assert self.engine.elements() == []
        assert self.engine.sessions(self.now) == []
        assert self.kernel.now(self.now).keys() <= self.lingering
        self.wait(HOLD_S + TIMEOUT_S)
        assert self.kernel.now(self.now) == {}
        self.every_port_is_free_again()

    def every_port_is_free_again(self) -> None:
        ports = set()
        for block in range(4):
            self.open(0)
            for number in range(64):
                actions = [("offer", number + 1, 40000 + 64 * block + number)]
                chosen, _, puppet = self.sessions[f"s{self.opened}"]
                puppet.says = [self.event(chosen, Side.CLIENT, (*actions[0],))]
                outcome = self.engine.receive(f"s{self.opened}", Side.CLIENT, b"x", self.now)
                ports.add(outcome.sends[0].data.split()[-1])
        assert len(ports) == 256


EngineMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestEngine = EngineMachine.TestCase
