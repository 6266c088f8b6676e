"""Lines of an FTP control connection, with the Telnet commands in them set aside.

A line ends with LF; the CRs before it belong to the end (RFC 959 section 5.3.1 wants CRLF,
a bare LF is tolerated). Telnet commands (RFC 854) may stand anywhere: the text is what is left
without them, the raw bytes stay as they came, and a change in the text finds its place in them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# IAC IAC is the byte 255; IAC and a byte below 240 is a file name in a one-byte character set
# whose author did not know Telnet. The last branch is a command that is not complete yet.
_TELNET = re.compile(
    rb"\xff(?:(?P<literal>\xff)|[\xfb-\xfe].|[\xf0-\xfa]|[\xfb-\xfe]?\Z)",
    re.DOTALL,
)


def without_telnet(raw: bytes) -> bytes:
    """`raw` without Telnet commands, also without one that is cut off at the end."""
    if b"\xff" not in raw:
        return raw
    return _TELNET.sub(lambda found: found["literal"] or b"", raw)


def printable(data: bytes) -> str:
    """`data` as ASCII text for a log, with everything else escaped."""
    return data.decode("latin-1").encode("unicode_escape").decode("ascii")


def _origins(raw: bytes) -> tuple[int, ...]:
    """For each byte of `without_telnet(raw)`: where it stands in `raw`."""
    origins: list[int] = []
    position = 0
    for found in _TELNET.finditer(raw):
        origins.extend(range(position, found.start()))
        if found["literal"]:
            origins.append(found.start())
        position = found.end()
    origins.extend(range(position, len(raw)))
    return tuple(origins)


@dataclass(frozen=True, slots=True)
class Line:
    """One line, or several that belong together, with their ends.

    `ended` is False where a Telnet option swallows the last LF (IAC DO 10): a receiver that
    knows Telnet and one that does not disagree about what follows.
    """

    raw: bytes
    text: bytes
    ended: bool

    @classmethod
    def of(cls, raw: bytes) -> Line:
        plain = without_telnet(raw)
        return cls(raw, plain.removesuffix(b"\n").rstrip(b"\r"), plain.endswith(b"\n"))

    def splice(self, start: int, end: int, new: bytes) -> bytes:
        """The raw bytes with `new` in place of `text[start:end]`, which is not empty."""
        if b"\xff" in self.raw:
            origins = _origins(self.raw)
            start, end = origins[start], origins[end - 1] + 1
        return self.raw[:start] + new + self.raw[end:]


class LineBuffer:
    """What one side sent and nobody has taken yet."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._searched_bytes = 0

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        self._data += data

    def next_line(self) -> bytes | None:
        """Take the first line with its LF; None while it is not complete."""
        end = self._data.find(b"\n", self._searched_bytes) + 1
        if not end:
            self._searched_bytes = len(self._data)
            return None
        return self._take(end)

    def peek(self) -> bytes:
        """The incomplete line that `next_line` would not take."""
        return bytes(self._data)

    def take_all(self) -> bytes:
        return self._take(len(self._data))

    def _take(self, end: int) -> bytes:
        taken = bytes(self._data[:end])
        del self._data[:end]
        self._searched_bytes = 0
        return taken
