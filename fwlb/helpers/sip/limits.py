"""How much of a message is read at all."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SipLimits:
    """Limits of one message. They bound the time and the memory that any input can cost.

    `max_head_bytes` counts from the start line to the empty line. `max_headers` counts lines
    (a folded one once), `max_values` the Vias and addresses in one message, which may share a line.
    `max_parts` counts the parts of a multipart body, those of nested ones included.
    """

    max_head_bytes: int = 16_384
    max_headers: int = 256
    max_values: int = 256
    max_body_bytes: int = 65_535
    max_parts: int = 16


DEFAULT_LIMITS = SipLimits()
