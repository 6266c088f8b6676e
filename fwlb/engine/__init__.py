"""The pure core: what happens to control connections, and what the kernel must know for it.

The daemon tells the engine what came in and carries out the `Outcome`: first all `changes` in one
kernel transaction, then the `sends` in order. When the kernel refuses the changes the daemon sends
`sends_if_refused` instead and says so with `kernel_refused`. The engine never waits, reads no
clock and remembers only what its limits allow.

::

    core      all sessions: limits, forward policy, ticks, status
    session   one control connection: events of its helper -> sends
    channels  what is negotiated in it: bindings, pinholes, public ports
    ledger    which elements the kernel should hold, and for whom
    exchange  the values that daemon and engine pass to each other
"""

from __future__ import annotations

from fwlb.engine.core import Engine, MakeHelper
from fwlb.engine.exchange import Admitted, LogEvent, Opening, Outcome, Rejected, Send

__all__ = [
    "Admitted",
    "Engine",
    "LogEvent",
    "MakeHelper",
    "Opening",
    "Outcome",
    "Rejected",
    "Send",
]
