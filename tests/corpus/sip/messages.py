"""Reads the messages of this folder.

They are text, so that they can be read and compared: a line end stands for CRLF, a backslash at
the end of a line joins it to the next, and everything else that is not printable ASCII is written
`\\xNN` (`\\\\` for a backslash, `\\n` for an LF alone).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent


def load(file: Path) -> bytes:
    text = file.read_text("ascii").replace("\\\n", "").replace("\n", "\r\n")
    return text.encode("ascii").decode("unicode_escape").encode("latin-1")


def load_all(folder: str) -> dict[str, bytes]:
    """The messages in `torture` or `samples`, by name."""
    return {file.stem: load(file) for file in sorted((HERE / folder).glob("*.sip"))}


def make(
    first: str,
    *lines: str,
    body: str | bytes = b"",
    changed: Mapping[str, str | None] | None = None,
) -> bytes:
    """A message of a start line and header lines, with the lines around them that it must have.

    `changed` replaces one of those (`via`, `from`, `to`, `call-id`, `cseq`) by another whole
    line, or leaves it out. In a text body every LF stands for CRLF.
    """
    octets = body if isinstance(body, bytes) else body.replace("\n", "\r\n").encode()
    method = first.partition(" ")[0]
    mandatory: dict[str, str | None] = {
        "via": "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa",
        "from": "From: <sip:alice@example.com>;tag=1",
        "to": "To: <sip:bob@example.net>",
        "call-id": "Call-ID: a84b4c76e66710@192.0.2.1",
        "cseq": f"CSeq: 1 {'INVITE' if method == 'SIP/2.0' else method}",
    }
    mandatory.update(changed or {})
    if octets and not any(line.lower().startswith(("content-type", "c:")) for line in lines):
        lines = (*lines, "Content-Type: application/sdp")
    head = [first, *(line for line in mandatory.values() if line is not None), *lines]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + octets
