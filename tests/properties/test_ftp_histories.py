"""Random legal sessions, compared with a model that knows what was meant.

A session is drawn as commands with the replies that the server gives to each. The model decides
channel by channel from the meaning; the helper sees only bytes, in the rhythm of a client that
waits for every reply, and of one that sends several commands ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from hypothesis import given
from hypothesis import strategies as st

from fwlb.helpers.contract import ChannelEnded, ChannelExpected, ChannelOffered, Event
from fwlb.helpers.ftp import FtpHelper, FtpLimits
from fwlb.model import Side


@dataclass(frozen=True)
class Step:
    """One command, its replies, and what they mean for channels."""

    meaning: str
    command: str
    replies: tuple[str, ...]


PLAIN = [
    Step("nothing", "NOOP", ("200 ok",)),
    Step("nothing", "TYPE I", ("200 ok",)),
    Step("nothing", "CWD x", ("550 no",)),
    Step("nothing", "REST 5", ("350 ok",)),
    Step("nothing", "MLST x", ("250-listing", " type=file; 227 (1,2,3,4,5,6)", "250 end")),
    Step("nothing", "STAT", ("211-state", "227 (198,51,100,2,156,64)", "211 end")),
    Step("nothing", "EPSV ALL", ("500 what",)),
    Step("nothing", "PASV", ("425 no",)),
    Step("nothing", "EPSV 2", ("522 no",)),
    Step("nothing", "AUTH TLS", ("504 no",)),
]
CHANNELS = [
    Step("passive", "PASV", ("227 Passive (198,51,100,2,156,64).",)),
    Step("passive", "PASV", ("227-Passive", "227 =198,51,100,2,156,65")),
    Step("passive", "EPSV", ("229 Extended (|||40000|)",)),
    Step("active", "PORT 192,0,2,1,19,137", ("200 ok",)),
    Step("active", "EPRT |1|192.0.2.1|5002|", ("200-well", "200 ok")),
    Step("denied", "PORT 192,0,2,1,19,138", ("500 no",)),
    Step("denied", "EPRT |1|192.0.2.1|5003|", ("425-", "425 no")),
    Step("void", "PORT 10,0,0,1,19,137", ("200 ok",)),
    Step("nothing", "PORT 10,0,0,1,19,137", ("501 no",)),
    Step("void", "PASV", ("227 (10,0,0,1,156,64)",)),
    Step("void", "EPSV", ("229 (|||22|)",)),
]
TRANSFERS = [
    Step("over", "RETR x", ("150 begins", "226 done")),
    Step("over", "STOR x", ("125 begins", "250-some", "250 done")),
    Step("over", "LIST", ("150-a", "150 b", "426 broken")),
    Step("over", "MLSD", ("226 done",)),
    Step("over", "NLST", ("425 no connection",)),
    Step("over", "SITE THUMB x", ("150 begins", "226 done")),
    Step("nothing", "APPE x", ("550 no",)),
    Step("over", "ABOR", ("225 nothing to abort",)),
    Step("over", "REIN", ("120 wait", "220 ready")),
]
histories = st.lists(st.sampled_from(PLAIN + CHANNELS + CHANNELS + TRANSFERS + TRANSFERS))


class Model:
    """Which channel is expected, from the meaning of what was said."""

    def __init__(self) -> None:
        self.current: int | None = None
        self.offered = 0

    def step(self, meaning: str) -> None:
        if meaning in ("passive", "active", "denied"):
            self.offered += 1
        if meaning in ("passive", "active"):
            self.current = self.offered
        elif meaning in ("over", "void"):
            self.current = None


class Session:
    """A helper behind a login, and the channels that it says are expected."""

    def __init__(self) -> None:
        self.helper = FtpHelper(
            client_addresses=frozenset({ip_address("192.0.2.1")}),
            server_addresses=frozenset({ip_address("198.51.100.2")}),
            limits=FtpLimits(),
        )
        self.expected: set[int] = set()
        self.offered = 0
        self.send(Side.SERVER, "220 ready")
        self.send(Side.CLIENT, "USER a")
        self.send(Side.SERVER, "230 welcome")

    def send(self, side: Side, *lines: str) -> None:
        data = "".join(f"{line}\r\n" for line in lines).encode()
        for event in self.helper.receive(side, data, 0.0):
            self.note(event)

    def note(self, event: Event) -> None:
        match event:
            case ChannelOffered():
                self.offered += 1
            case ChannelExpected():
                self.expected.add(event.channel)
            case ChannelEnded():
                self.expected.discard(event.channel)

    def agrees_with(self, model: Model) -> bool:
        current = set() if model.current is None else {model.current}
        return self.offered == model.offered and self.expected == current


@given(histories)
def test_a_client_that_waits_for_every_reply(history: list[Step]) -> None:
    session, model = Session(), Model()
    for step in history:
        session.send(Side.CLIENT, step.command)
        session.send(Side.SERVER, *step.replies)
        model.step(step.meaning)
        assert session.agrees_with(model), step


def numbered_as_sent(batch: list[Step]) -> list[Step]:
    """Offers of clients are numbered when they are sent, those of servers when they are answered:
    only batches with one kind of them have the same numbers in any rhythm."""
    offers = [step for step in batch if step.meaning in ("passive", "active", "denied")]
    return batch if len(offers) <= 1 else [s for s in batch if s not in offers[1:]]


@given(st.lists(st.lists(st.sampled_from(PLAIN + CHANNELS + TRANSFERS), max_size=6)))
def test_a_client_that_sends_commands_ahead(batches: list[list[Step]]) -> None:
    session, model = Session(), Model()
    for batch in map(numbered_as_sent, batches):
        session.send(Side.CLIENT, *(step.command for step in batch))
        for step in batch:
            session.send(Side.SERVER, *step.replies)
            model.step(step.meaning)
        assert session.agrees_with(model), batch


@given(histories)
def test_nothing_is_remembered_of_what_is_over(history: list[Step]) -> None:
    session = Session()
    for step in history:
        session.send(Side.CLIENT, step.command)
        session.send(Side.SERVER, *step.replies)
    assert len(session.helper._pending) == 0
    assert session.helper.buffered_bytes == 0
