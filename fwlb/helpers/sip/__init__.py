"""SIP messages, sans IO (RFC 3261): read whole or refused, changed in place. No dialogs, no NAT.

`framing` finds messages in datagrams and streams, `message` reads one, `rewriter` makes the
changed one. Below them: `startline` and `headers` (lines), `via`, `nameaddr`, `uri`, `hosts` and
`mediatype` (what stands in them), `multipart` (bodies), `grammar` and `edits` (what all share).
`refusals` says what can be wrong, `limits` how much is too much, `quick` finds the Call-ID alone.
"""

from fwlb.helpers.sip.edits import Edit
from fwlb.helpers.sip.framing import (
    PassKind,
    PassThrough,
    StreamItem,
    StreamReader,
    Unread,
    read_datagram,
)
from fwlb.helpers.sip.limits import SipLimits
from fwlb.helpers.sip.message import Message, Request, Response, read_message
from fwlb.helpers.sip.multipart import Part, read_parts
from fwlb.helpers.sip.nameaddr import NameAddr
from fwlb.helpers.sip.quick import quick_call_id
from fwlb.helpers.sip.refusals import Flaw, SipFlaw
from fwlb.helpers.sip.rewriter import Rewriter
from fwlb.helpers.sip.uri import Uri
from fwlb.helpers.sip.via import Via

__all__ = [
    "Edit",
    "Flaw",
    "Message",
    "NameAddr",
    "Part",
    "PassKind",
    "PassThrough",
    "Request",
    "Response",
    "Rewriter",
    "SipFlaw",
    "SipLimits",
    "StreamItem",
    "StreamReader",
    "Unread",
    "Uri",
    "Via",
    "quick_call_id",
    "read_datagram",
    "read_message",
    "read_parts",
]
