"""A message with some of its bytes replaced."""

from __future__ import annotations

from fwlb.helpers.sip.edits import Edit, apply_edits
from fwlb.helpers.sip.message import Message


class Rewriter:
    """Collects edits of one message and makes the new one.

    Everything outside the edits stays byte for byte, but for the number in Content-Length, which
    follows the body. Without Content-Length (possible in datagrams) none is added.
    """

    def __init__(self, message: Message) -> None:
        self._message = message
        self._edits: list[Edit] = []

    def add(self, *edits: Edit | None) -> None:
        """Take edits with places in `message.data`; None (there is nothing to do) is skipped.

        Those of what was read from the message fit as they are: `via.at(...)`,
        `contact.uri.at(...)`, `part.with_content(...)`.
        """
        self._edits += [edit for edit in edits if edit is not None]

    def replace_body(self, body: bytes) -> None:
        """Put `body` in place of the whole body."""
        self.add(Edit(self._message.head.body_start, len(self._message.data), body))

    def build(self) -> bytes:
        """The new message; `message.data` itself when nothing changes.

        Raises ValueError for edits that overlap, or that reach from the head into the body.
        """
        edits = [edit for edit in self._edits if not self._changes_nothing(edit)]
        if not edits:
            return self._message.data
        length = self._length_edit(edits)
        return apply_edits(self._message.data, [*edits, *([length] if length else [])])

    def _changes_nothing(self, edit: Edit) -> bool:
        return self._message.data[edit.start : edit.end] == edit.new

    def _length_edit(self, edits: list[Edit]) -> Edit | None:
        """What the edits of the body do to Content-Length."""
        head = self._message.head
        growth_bytes = 0
        for edit in edits:
            if edit.start >= head.body_start:
                growth_bytes += len(edit.new) - (edit.end - edit.start)
            elif edit.end > head.body_start:
                raise ValueError(f"edit {edit.start}..{edit.end} is in the head and in the body")
        fields = head.fields(b"content-length")
        if not fields or not growth_bytes:
            return None
        length = len(self._message.body) + growth_bytes
        return Edit(fields[0].value_start, fields[0].value_end, b"%d" % length)
