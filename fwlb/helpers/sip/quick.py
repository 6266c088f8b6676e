"""What is worth knowing of a message before it is read."""

from __future__ import annotations

import re

_CALL_ID = re.compile(
    rb"\r\n(?:[Cc][Aa][Ll][Ll]-[Ii][Dd]|[Ii])[ \t]*+:(?:[ \t]|\r\n[ \t])*+([!-+\--~]++)"
    rb"(?:[ \t]|\r\n[ \t])*+\r\n(?![ \t])"
)
_USUAL = b"\r\nCall-ID: "
_USUAL_VALUE = re.compile(rb"([!-+\--~]++)\r\n(?![ \t])")
_LINE_ENDS = re.compile(rb"(?:\r\n)*+")


def quick_call_id(data: bytes) -> bytes | None:
    """The Call-ID, without reading the message: to choose who reads it.

    For every message that `read_datagram` accepts this is its `call_id`. For all other bytes it
    is something or None, in time that grows with their length alone.
    """
    start = data.find(_USUAL)
    if start >= 0:
        found = _USUAL_VALUE.match(data, start + len(_USUAL))
        if found and data.find(b"\r\n\r\n", 0, start + 2) < 0:
            return found[1]
    before = _LINE_ENDS.match(data)
    begin = before.end() if before else 0
    head_end = data.find(b"\r\n\r\n", begin)
    found = _CALL_ID.search(data, begin, head_end + 4 if head_end >= 0 else len(data))
    return found[1] if found else None
