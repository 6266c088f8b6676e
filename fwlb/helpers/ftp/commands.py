"""One command line of the client, and the one line of a server that matters most: its code."""

from __future__ import annotations

import re
from dataclasses import dataclass

from fwlb.helpers.ftp.lines import Line, printable

_VERB = re.compile(rb"[\x21-\x7e]+")
_REPLY = re.compile(rb"([1-5][0-9]{2})(?P<after>[ -]|\Z)")
# White space, and what is left of a Telnet "Synch" before ABOR (RFC 959 section 4.1.3) when its
# urgent byte went another way.
_BEFORE_VERB = b" \t\xff\xf4\xf2"

FIRST_VERBS = frozenset(
    b"ABOR ACCT ADAT ALLO APPE AUTH CCC CDUP CLNT CONF CSID CWD DELE ENC EPRT EPSV FEAT HELP HOST "
    b"LANG LIST LPRT LPSV MDTM MFMT MIC MKD MLSD MLST MODE NLST NOOP OPTS PASS PASV PBSZ PORT PROT "
    b"PWD QUIT REIN REST RETR RMD RNFR RNTO SITE SIZE SMNT STAT STOR STOU STRU SYST TYPE USER "
    b"XCUP XCWD XMKD XPWD XRMD".split()
)
"""Verbs that a session may start with: the registry of RFC 5797 and what clients use to present
themselves. GET, POST, EHLO and the like are none. Later any verb may come."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command taken apart: `argument` without the spaces around it, `start` is where it
    starts in the line's text, `verb` is in capitals."""

    line: Line
    verb: bytes
    argument: bytes
    start: int

    @classmethod
    def of(cls, line: Line) -> CommandLine | None:
        """None for what is no command: nothing but spaces, a CR inside, no readable verb."""
        text = line.text
        body = text.lstrip(_BEFORE_VERB)
        verb = _VERB.match(body)
        if verb is None or not line.ended or b"\r" in text:
            return None
        rest = body[verb.end() :]
        if rest and rest[:1] not in b" \t":
            return None
        argument = rest.lstrip(b" \t")
        start = len(text) - len(argument)
        return cls(line, verb[0].upper(), argument.rstrip(b" \t"), start)

    def __str__(self) -> str:
        return printable((self.verb + b" " + self.argument)[:80])


def may_begin(start: bytes) -> bool:
    """Whether a client's first line, of which `start` has come, can be a command."""
    words = re.split(rb"[ \t\r\n]", start.lstrip(_BEFORE_VERB).upper(), maxsplit=1)
    if len(words) == 2:
        return words[0] in FIRST_VERBS
    return any(verb.startswith(words[0]) for verb in FIRST_VERBS)


def may_greet(start: bytes) -> bool:
    """Whether a server's first line, of which `start` has come, can be a greeting: 120, 220, or
    a refusal (RFC 959 section 5.4 knows 421, servers send 500 and 530 too)."""
    code, after = start[:3], start[3:4]
    refusal = code[:1] in (b"4", b"5") and code.isdigit()
    expected = b"120".startswith(code) or b"220".startswith(code)
    return (refusal or expected) and after in (b"", b" ", b"-", b"\r", b"\n")


class ReplyLines:
    """Tells which reply a line belongs to (RFC 959 section 4.2).

    A reply of several lines begins with `NNN-` and lasts to a line with the same code and a
    space; whatever stands between is text, also when it looks like another reply.
    """

    def __init__(self) -> None:
        self._open_code: int | None = None

    @property
    def inside(self) -> bool:
        """Whether a reply of several lines has begun and not ended."""
        return self._open_code is not None

    def read(self, line: Line) -> tuple[int, bool] | None:
        """The code of the reply and whether this is its last line; None for what is no reply."""
        found = _REPLY.match(line.text)
        if not line.ended or (found is None and self._open_code is None):
            return None
        if found is None:
            return (self._open_code or 0), False
        code, more = int(found[1]), found["after"] == b"-"
        if self._open_code is None:
            self._open_code = code if more else None
            return code, not more
        if code != self._open_code or more:
            return self._open_code, False
        self._open_code = None
        return code, True
