"""Messages over unreliable datagrams: SCTP as WebRTC uses it (RFC 9260, RFC 3758, RFC 6525, RFC 8831).

One `Association` per peer, no global state. The room for sending and the room for receiving are its parts; setting up
and tearing down are transitions between its states.
"""

from trio_webrtc.core.sctp.association import Association
from trio_webrtc.core.sctp.counters import Counters
from trio_webrtc.core.sctp.events import (
    Aborted,
    Established,
    Failed,
    IncomingStreamsReset,
    Message,
    MessageTooLarge,
    OutgoingResetRefused,
    OutgoingResetRequested,
    OutgoingStreamsReset,
    Restarted,
    SctpEvent,
    ShutDown,
)
from trio_webrtc.core.sctp.settings import SctpSettings
from trio_webrtc.core.sctp.stream_ids import among

__all__ = [
    "Aborted",
    "Association",
    "Counters",
    "Established",
    "Failed",
    "IncomingStreamsReset",
    "Message",
    "MessageTooLarge",
    "OutgoingResetRefused",
    "OutgoingResetRequested",
    "OutgoingStreamsReset",
    "Restarted",
    "SctpEvent",
    "SctpSettings",
    "ShutDown",
    "among",
]
