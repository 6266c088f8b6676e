"""The FTP helper: one control connection from the greeting to the last byte that can be read.

How it decides where the RFCs leave room or programs differ:

* The server's first line is a greeting, the client's first line is a command that FTP clients
  start with; all else is another protocol (a browser's POST, TLS, SSH), noticed at its first
  wrong byte. A client may send commands ahead of the greeting, as lftp does: the greeting still
  belongs to none of them.
* A 227 or 229 counts only as the final reply to a pending PASV or EPSV. A multi-line one is held
  until it is whole, and is one message: its endpoint may stand on any of its lines, but once.
  Such lines inside a reply with another code are text.
* A refused command still gets exactly one reply (the `substitute` is a command that every server
  rejects), a refused reply is replaced by one reply, so the order holds whatever the policy is.
* PORT and EPRT: the flow is expected at once when the server has let the client in (230) and no
  other offer waits, else when the server accepts it. pyftpdlib connects as soon as it reads PORT
  and answers only when that worked.
* A new channel replaces the former when the server accepts it. A channel ends with the final reply
  of the transfer that used it, with ABOR, REIN, QUIT and 421. A transfer that the server
  refuses before it began (550 without 150) leaves the channel: clients try another file on it.
* After AUTH is accepted the stream stays opaque; CCC (RFC 4217 section 6) cannot be seen and
  brings nothing back.
* An empty command line is garbled: servers disagree whether it gets a reply.
"""

from __future__ import annotations

from fwlb.helpers.contract import (
    ChannelEnded,
    ChannelExpected,
    ChannelOffered,
    Event,
    Forward,
    Refused,
    WentOpaque,
)
from fwlb.helpers.ftp.addresses import (
    Announced,
    Rewrite,
    parse_eprt,
    parse_epsv_reply,
    parse_pasv_reply,
    parse_port,
)
from fwlb.helpers.ftp.commands import CommandLine, ReplyLines, may_begin, may_greet
from fwlb.helpers.ftp.limits import Flaw, FtpLimits, vet, vet_port
from fwlb.helpers.ftp.lines import Line, LineBuffer, printable, without_telnet
from fwlb.helpers.ftp.state import (
    ENDINGS,
    KINDS,
    MOVES,
    PASSIVE_KINDS,
    UNBEGUN,
    UNGREETED,
    Command,
    Effect,
    Happening,
    Kind,
    Pending,
    Phase,
)
from fwlb.model import IPAddress, Refusal, Side

_NO_CHANNEL_REPLY = b"425 No data connection possible.\r\n"


class FtpHelper:
    """A `StreamHelper` for one FTP control connection.

    `client_addresses` and `server_addresses` are all addresses under which that party is known:
    its own, and those that the other side sees. `buffered_bytes` stays within three times
    `limits.max_line_bytes`: a line of each side, and a 227 or 229 of several lines.

    The endpoint of a 229 has the lowest of `server_addresses`, of the family that EPSV asked for
    if there is one; the reply itself names none, so only its port means something.

    Raises ValueError when a party has no address.
    """

    def __init__(
        self,
        *,
        client_addresses: frozenset[IPAddress],
        server_addresses: frozenset[IPAddress],
        limits: FtpLimits,
    ) -> None:
        if not client_addresses or not server_addresses:
            raise ValueError("client_addresses and server_addresses need at least one each")
        self._client_addresses = client_addresses
        self._server_addresses = server_addresses
        self._limits = limits
        self._phase = Phase.OPENED
        self._buffers = {side: LineBuffer() for side in Side}
        self._reply_lines = ReplyLines()
        self._held_reply = b""
        self._pending = Pending(limits.max_pending_commands)
        self._only_extended = False
        self._logged_in = False
        self._channel: int | None = None
        self._channels_offered = 0
        self._events: list[Event] = []

    @property
    def buffered_bytes(self) -> int:
        """Bytes received and not yet returned."""
        return len(self._held_reply) + sum(map(len, self._buffers.values()))

    @property
    def _reading(self) -> bool:
        return self._phase is not Phase.UNREAD

    def receive(self, sender: Side, data: bytes, now: float) -> list[Event]:
        """Take what `sender` sent. Never raises for any bytes and any split of them."""
        del now  # FTP itself has no timers
        if not self._reading:
            return [Forward(sender, data)] if data else []
        self._events = []
        self._buffers[sender].feed(data)
        while self._read_line(sender):
            pass
        return self._events

    def eof(self, sender: Side, now: float) -> list[Event]:
        """`sender` will send no more: an FTP session is over when one side hangs up."""
        del now
        self._events = []
        if self._reading:
            self._stop_reading("control connection closed")
            for side in (sender, sender.other):
                self._forward(side, self._take_all(side))
        return self._events

    # Lines

    def _read_line(self, sender: Side) -> bool:
        """Handle the next line of `sender`; False when there is none, or no more is read."""
        raw = self._buffers[sender].next_line()
        flaw = self._line_flaw(sender, self._buffers[sender].peek() if raw is None else raw)
        if flaw:
            self._give_up(sender, raw or b"", flaw)
        elif raw is None:
            return False
        elif sender is Side.CLIENT:
            self._client_line(raw)
        else:
            self._server_line(raw)
        return self._reading

    def _line_flaw(self, sender: Side, seen: bytes) -> Flaw | None:
        """What is wrong with a line, or with the part of it that has come: known as early as
        possible, and the same wherever the stream is split."""
        limit_bytes = self._limits.max_line_bytes
        start = seen[:limit_bytes]
        greeting = sender is Side.SERVER and self._phase in UNGREETED
        if greeting and not self._reply_lines.inside and not may_greet(without_telnet(start)):
            return _not_ftp("the server's first line is no FTP greeting")
        beginning = sender is Side.CLIENT and self._phase in UNBEGUN
        if beginning and not may_begin(without_telnet(start)):
            return _not_ftp("the client's first line is no FTP command")
        if b"\0" in start:
            return Flaw(Refusal.GARBLED, "a line contains NUL")
        if len(seen) > limit_bytes:
            return self._too_long()
        return None

    # The client

    def _client_line(self, raw: bytes) -> None:
        command = CommandLine.of(Line.of(raw))
        if command is None:
            self._give_up(Side.CLIENT, raw, Flaw(Refusal.GARBLED, "a line is no FTP command"))
        elif self._pending.full:
            detail = f"more than {self._limits.max_pending_commands} commands wait for a reply"
            self._give_up(Side.CLIENT, raw, Flaw(Refusal.TOO_MANY_PENDING, detail))
        else:
            if self._phase in UNBEGUN:
                self._phase = MOVES[self._phase, Happening.FIRST_COMMAND]
            self._command(command)

    def _command(self, command: CommandLine) -> None:
        kind = KINDS.get(command.verb, Kind.PLAIN)
        if kind in (Kind.OFFER, Kind.PASSIVE) and self._only_extended:
            detail = "the client promised to use nothing but EPSV"
            self._refuse_command(command, kind, Flaw(Refusal.NOT_ALLOWED_AFTER_EPSV_ALL, detail))
        elif kind is Kind.OFFER:
            self._client_offer(command)
        else:
            self._pending.push(_waiting(command, kind))
            self._forward(Side.CLIENT, command.line.raw)

    def _client_offer(self, command: CommandLine) -> None:
        parse = parse_port if command.verb == b"PORT" else parse_eprt
        found = self._vetted(parse(command.argument), self._client_addresses)
        if isinstance(found, Flaw):
            self._refuse_command(command, Kind.OFFER, found)
            return
        rewrite = Rewrite(command.line, found, command.start)
        channel = self._offer(Side.CLIENT, rewrite, command.verb + b"\r\n")
        other_offers = any(waiting.channel is not None for waiting in self._pending)
        at_once = self._logged_in and not other_offers
        self._pending.push(Command(Kind.OFFER, channel=channel, expected=at_once))
        if at_once:
            self._events.append(ChannelExpected(channel))

    def _refuse_command(self, command: CommandLine, kind: Kind, flaw: Flaw) -> None:
        self._pending.push(Command(kind, flaw=flaw))
        # PORT and EPRT without an argument are wrong everywhere; a PASV has no argument to omit
        substitute = b"EPRT\r\n" if command.verb == b"EPRT" else b"PORT\r\n"
        self._refuse(Side.CLIENT, flaw, f"{command}: {flaw.detail}", command.line.raw, substitute)

    # The server

    def _server_line(self, raw: bytes) -> None:
        reading = self._reply_lines.read(Line.of(raw))
        if reading is None:
            self._give_up(Side.SERVER, raw, Flaw(Refusal.GARBLED, "a line is no FTP reply"))
            return
        code, last = reading
        if code in PASSIVE_KINDS:
            if len(self._held_reply) + len(raw) > self._limits.max_line_bytes:
                self._give_up(Side.SERVER, raw, self._too_long())
                return
            self._held_reply += raw
            if last:
                self._passive_reply(code)
            return
        self._forward(Side.SERVER, raw)
        if last and self._phase in UNGREETED:
            if code != 120:
                self._phase = MOVES[self._phase, Happening.GREETING_ENDED]
        elif last:
            self._reply(code, self._pending.answer(code))

    def _passive_reply(self, code: int) -> None:
        """A whole 227 or 229. It is a final reply like any other, and perhaps an offer."""
        line, self._held_reply = Line.of(self._held_reply), b""
        command = self._pending.answer(code)
        found = self._server_endpoint(code, command, line.text)
        if command and command.kind is PASSIVE_KINDS[code]:
            self._end_channel("replaced")  # the server gave up the former one in any case
        if isinstance(found, Flaw):
            self._refuse(Side.SERVER, found, f"{code}: {found.detail}", line.raw, _NO_CHANNEL_REPLY)
        else:
            self._channel = self._offer(Side.SERVER, Rewrite(line, found), _NO_CHANNEL_REPLY)
            self._events.append(ChannelExpected(self._channel))
        self._reply(code, command)

    def _server_endpoint(self, code: int, command: Command | None, text: bytes) -> Announced | Flaw:
        if command is None or command.kind is not PASSIVE_KINDS[code]:
            return Flaw(Refusal.UNSOLICITED_REPLY, "nothing that it could answer is pending")
        if command.flaw:
            return command.flaw
        if code == 227:
            return self._vetted(parse_pasv_reply(text), self._server_addresses)
        return self._vetted(parse_epsv_reply(text, self._server_address(command.family)), None)

    def _reply(self, code: int, command: Command | None) -> None:
        """Carry out what the whole reply `code` means, as the final reply to `command`."""
        if command:
            self._logged_in = self._logged_in or code == 230
            self._carry_out(command.effect(code), command)
        if code == 421:  # may come at any time: the server closes the session
            self._end_all_channels("server closes the session")

    def _carry_out(self, effect: Effect, command: Command) -> None:
        if effect is Effect.EXPECT:
            self._end_channel("replaced")
            self._channel = command.channel
            if self._channel is not None and not command.expected:
                self._events.append(ChannelExpected(self._channel))
        elif effect is Effect.WITHDRAW and command.channel is not None:
            self._events.append(ChannelEnded(command.channel, "refused by server"))
        elif effect is Effect.FORBID:
            self._only_extended = True
        elif effect is Effect.END:
            self._end_channel(ENDINGS[command.kind])
        elif effect is Effect.HIDE:
            self._go_opaque(Side.SERVER, b"", f"AUTH {command.mechanism}", None)

    # Channels

    def _offer(self, sender: Side, rewrite: Rewrite, substitute: bytes) -> int:
        self._channels_offered += 1
        channel = self._channels_offered
        endpoint, message = rewrite.announced.endpoint, rewrite.line.raw
        self._events.append(ChannelOffered(sender, channel, endpoint, message, rewrite, substitute))
        return channel

    def _end_channel(self, why: str) -> None:
        if self._channel is not None:
            self._events.append(ChannelEnded(self._channel, why))
            self._channel = None

    def _end_all_channels(self, why: str) -> None:
        """End the one in use and those that the server has not accepted yet."""
        self._end_channel(why)
        for command in self._pending:
            if command.channel is not None:
                self._events.append(ChannelEnded(command.channel, why))
                command.channel = None

    def _vetted(
        self, found: Announced | Flaw, own_addresses: frozenset[IPAddress] | None
    ) -> Announced | Flaw:
        """`found`, or why it is not opened. Without addresses only the port counts (229)."""
        if isinstance(found, Flaw):
            return found
        if own_addresses is None:
            return vet_port(found.endpoint.port, self._limits) or found
        return vet(found.endpoint, own_addresses, self._limits) or found

    def _server_address(self, family: int | None) -> IPAddress:
        """The address for the endpoint of a 229; see the docstring of the class."""
        fitting = [mine for mine in self._server_addresses if mine.version == family]
        candidates = fitting or self._server_addresses
        return min(candidates, key=lambda mine: (mine.version, int(mine)))

    # What is returned

    def _forward(self, sender: Side, message: bytes) -> None:
        if message:
            self._events.append(Forward(sender, message))

    def _refuse(
        self, sender: Side, flaw: Flaw, detail: str, message: bytes, substitute: bytes
    ) -> None:
        self._events.append(Refused(sender, flaw.reason, detail, message, substitute))

    def _too_long(self) -> Flaw:
        return Flaw(Refusal.LINE_TOO_LONG, f"longer than {self._limits.max_line_bytes} bytes")

    def _give_up(self, sender: Side, raw: bytes, flaw: Flaw) -> None:
        self._go_opaque(sender, raw, flaw.detail, flaw.reason)

    def _go_opaque(self, sender: Side, raw: bytes, why: str, refusal: Refusal | None) -> None:
        """Read no more. `raw` is a line already taken from the buffer of `sender`."""
        self._stop_reading("control connection is not read any more")
        self._forward(sender.other, self._take_all(sender.other))
        message = self._take_all(sender, raw)
        self._events.append(WentOpaque(sender, message, why, refusal))

    def _stop_reading(self, why: str) -> None:
        self._end_all_channels(why)
        self._phase = MOVES[self._phase, Happening.READING_ENDED]

    def _take_all(self, side: Side, raw: bytes = b"") -> bytes:
        """Everything of `side` that was not returned, in order; `raw` was taken last."""
        held = b""
        if side is Side.SERVER:
            held, self._held_reply = self._held_reply, b""
        return held + raw + self._buffers[side].take_all()


def _not_ftp(detail: str) -> Flaw:
    return Flaw(Refusal.NOT_THIS_PROTOCOL, detail)


def _waiting(command: CommandLine, kind: Kind) -> Command:
    """What is remembered of a command that is passed on."""
    argument = command.argument.upper()
    if kind is Kind.EXTENDED_PASSIVE and argument == b"ALL":
        return Command(Kind.ONLY_EXTENDED)
    if kind is Kind.EXTENDED_PASSIVE:
        return Command(kind, family={b"1": 4, b"2": 6}.get(argument))
    if kind is Kind.SECURITY:
        return Command(kind, mechanism=printable(argument[:20]))
    return Command(kind)
