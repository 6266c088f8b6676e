"""The states of an FTP session: how far it is, and which reply answers which command.

Replies come in the order of the commands (RFC 959 section 5.4); `Command.fits` knows where servers
leave that order. What a reply means for the session is a row in one of the tables below.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import takewhile

from fwlb.helpers.ftp.limits import Flaw


class Phase(Enum):
    """How far the session is. The server greets and the client sends a first command: usually in
    this order, but some clients (lftp with `sync-mode off`) do not wait."""

    OPENED = auto()  # neither
    AHEAD = auto()  # the client's first command, no greeting yet
    GREETED = auto()  # the greeting, no command yet
    SPEAKING = auto()  # both
    UNREAD = auto()  # opaque or over: bytes pass, nothing is opened, never left again


UNGREETED = (Phase.OPENED, Phase.AHEAD)
"""The next reply is the greeting, and belongs to no command."""
UNBEGUN = (Phase.OPENED, Phase.GREETED)
"""The client's next line shows whether it speaks FTP at all."""


class Happening(Enum):
    """What moves a session from phase to phase."""

    GREETING_ENDED = auto()
    FIRST_COMMAND = auto()
    READING_ENDED = auto()


MOVES: dict[tuple[Phase, Happening], Phase] = {
    (Phase.OPENED, Happening.GREETING_ENDED): Phase.GREETED,
    (Phase.OPENED, Happening.FIRST_COMMAND): Phase.AHEAD,
    (Phase.GREETED, Happening.FIRST_COMMAND): Phase.SPEAKING,
    (Phase.AHEAD, Happening.GREETING_ENDED): Phase.SPEAKING,
    (Phase.OPENED, Happening.READING_ENDED): Phase.UNREAD,
    (Phase.AHEAD, Happening.READING_ENDED): Phase.UNREAD,
    (Phase.GREETED, Happening.READING_ENDED): Phase.UNREAD,
    (Phase.SPEAKING, Happening.READING_ENDED): Phase.UNREAD,
}
"""The legal moves; there is no other."""


class Kind(Enum):
    """What a command means for data channels."""

    OFFER = auto()  # PORT, EPRT: the client will listen
    PASSIVE = auto()  # PASV: the server is asked to listen, and answers 227
    EXTENDED_PASSIVE = auto()  # EPSV: the same, answered by 229
    ONLY_EXTENDED = auto()  # EPSV ALL: no other way to a channel from now on
    OTHER_CHANNEL = auto()  # LPRT, LPSV (RFC 1639): a channel that is never opened
    TRANSFER = auto()  # uses the channel
    ABORT = auto()  # ABOR
    ENDING = auto()  # REIN, QUIT
    SECURITY = auto()  # AUTH
    PLAIN = auto()  # everything else


KINDS: dict[bytes, Kind] = {
    b"PORT": Kind.OFFER,
    b"EPRT": Kind.OFFER,
    b"PASV": Kind.PASSIVE,
    b"EPSV": Kind.EXTENDED_PASSIVE,
    b"LPRT": Kind.OTHER_CHANNEL,
    b"LPSV": Kind.OTHER_CHANNEL,
    b"ABOR": Kind.ABORT,
    b"REIN": Kind.ENDING,
    b"QUIT": Kind.ENDING,
    b"AUTH": Kind.SECURITY,
    **dict.fromkeys(
        (b"RETR", b"STOR", b"STOU", b"APPE", b"LIST", b"NLST", b"MLSD"),
        Kind.TRANSFER,
    ),
}
"""Verbs that are not `Kind.PLAIN`. A plain command answered by 125 or 150 is a transfer, too."""


class Effect(Enum):
    """What a final reply does to the channels of the session."""

    NONE = auto()
    EXPECT = auto()  # the server accepted the client's offer
    WITHDRAW = auto()  # it did not
    FORBID = auto()  # EPSV ALL holds from now on
    END = auto()
    END_IF_USED = auto()  # a transfer failed: over if it had begun, else the client may try again
    HIDE = auto()  # what follows is encrypted


EFFECTS: dict[Kind, tuple[Effect, Effect]] = {
    # kind: (after a positive reply, after any other)
    Kind.OFFER: (Effect.EXPECT, Effect.WITHDRAW),
    Kind.PASSIVE: (Effect.NONE, Effect.NONE),  # 227 itself is handled where it is parsed
    Kind.EXTENDED_PASSIVE: (Effect.NONE, Effect.NONE),
    Kind.ONLY_EXTENDED: (Effect.FORBID, Effect.NONE),
    Kind.OTHER_CHANNEL: (Effect.END, Effect.NONE),
    Kind.TRANSFER: (Effect.END, Effect.END_IF_USED),
    Kind.ABORT: (Effect.END, Effect.NONE),
    Kind.ENDING: (Effect.END, Effect.NONE),
    Kind.SECURITY: (Effect.HIDE, Effect.NONE),
    Kind.PLAIN: (Effect.NONE, Effect.NONE),
}


PASSIVE_KINDS: dict[int, Kind] = {227: Kind.PASSIVE, 229: Kind.EXTENDED_PASSIVE}
"""Replies that name an endpoint, and the only commands that they answer."""

ENDINGS: dict[Kind, str] = {
    Kind.TRANSFER: "transfer over",
    Kind.ABORT: "aborted",
    Kind.ENDING: "session reset or over",
    Kind.OTHER_CHANNEL: "replaced",
}
"""Why a channel ended, by the command whose reply ended it."""


@dataclass(slots=True, eq=False)
class Command:
    """A command that waits for its final reply.

    `channel` is what a PORT or EPRT offered, `expected` whether its flow may come already;
    `flaw` says why it opens nothing; `family` is the one that EPSV asks for; `mechanism` is
    that of AUTH; `begun` is set by 125 and 150.
    """

    kind: Kind
    channel: int | None = None
    expected: bool = False
    flaw: Flaw | None = None
    family: int | None = None
    mechanism: str = ""
    begun: bool = False

    def fits(self, code: int) -> bool:
        """Whether `code` can be the final reply to this command.

        This is what keeps the order where replies are missing or early: STAT may be answered
        in the middle of a transfer (RFC 959 section 4.1.3) and some servers answer every
        command then; ABOR gets a reply of its own, or shares one with its transfer, or none.
        """
        if code in PASSIVE_KINDS:
            return self.kind is PASSIVE_KINDS[code]
        if self.kind is Kind.TRANSFER:
            return code in (225, 226, 250) or code // 100 in (4, 5)
        if self.kind is Kind.ABORT:
            return code in (225, 226, 421, 426, 500, 501, 502)
        return True

    def effect(self, code: int) -> Effect:
        """What the final reply `code` to this command does."""
        # RFC 2228 section 3 accepts AUTH with 234 or 334, some servers with another 2yz
        positive = code // 100 == 2 or (self.kind is Kind.SECURITY and code // 100 == 3)
        effect = EFFECTS[self.kind][0 if positive else 1]
        if effect is Effect.END_IF_USED:
            # 425, 426: the server tried to use the channel, with or without telling first
            return Effect.END if self.begun or code in (425, 426) else Effect.NONE
        return effect


_STATELESS = (Kind.PLAIN, Kind.TRANSFER, Kind.ABORT)


class Pending:
    """Commands without a final reply, oldest first; at most `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._commands: deque[Command] = deque()

    def __len__(self) -> int:
        return len(self._commands)

    def __iter__(self) -> Iterator[Command]:
        return iter(self._commands)

    @property
    def full(self) -> bool:
        return len(self._commands) >= self._limit

    def push(self, command: Command) -> None:
        self._commands.append(command)

    def answer(self, code: int) -> Command | None:
        """The command that the whole reply `code` brings to its end, now removed: the oldest
        that can get such a reply.

        None when no command waits, or when its final reply is still to come.
        """
        if code // 100 == 1:
            self._begin(code)
            return None
        if not self._commands:
            return None
        answered = next((own for own in self._commands if own.fits(code)), self._commands[0])
        if answered.kind is Kind.ABORT and code == 426:
            return None  # says that the transfer failed; the reply to ABOR itself follows
        passed_by = self._before(answered)
        if all(command.kind in _STATELESS and not command.begun for command in passed_by):
            self._drop(passed_by)  # they were answered together with another one, or never
        self._commands.remove(answered)
        return answered

    def _begin(self, code: int) -> None:
        """125 and 150 say that a transfer begins, whatever the verb that asked for it."""
        if code not in (125, 150) or not self._commands:
            return
        beginning = self._commands[0]
        if beginning.kind is Kind.PLAIN:
            beginning.kind = Kind.TRANSFER
        elif beginning.kind is not Kind.TRANSFER or beginning.begun:
            waiting = (own for own in self._commands if own.kind is Kind.TRANSFER and not own.begun)
            beginning = next(waiting, beginning)
        beginning.begun = beginning.kind is Kind.TRANSFER
        before = self._before(beginning)
        kinds = {command.kind for command in before}
        if Kind.ABORT in kinds <= {Kind.TRANSFER, Kind.ABORT}:
            self._drop(before)  # pure-ftpd ends an aborted transfer without any final reply

    def _before(self, command: Command) -> list[Command]:
        return list(takewhile(lambda own: own is not command, self._commands))

    def _drop(self, oldest: list[Command]) -> None:
        for _ in oldest:
            self._commands.popleft()
