"""One peer: ICE, DTLS, SCTP and data channels composed into one synchronous core.

A datagram on its way in: `PeerCore.receive_datagrams` has it told apart (`arrivals`), gives checks to the ICE agent and
records to the stage that the connection is in (`stages`), and lets each layer follow the one below it, up to the events
(`events`). A connection at its end: `goodbyes` has what each layer says, innermost first.
"""

from trio_webrtc.core.peer.connection_state import ConnectionState
from trio_webrtc.core.peer.events import ConnectionStateChanged, Ended, PeerEvent
from trio_webrtc.core.peer.peer_core import PeerCore
from trio_webrtc.core.peer.settings import Direction, PeerSettings
from trio_webrtc.core.peer.stages import MAX_EARLY_DTLS, Negotiating, Secured, Securing
from trio_webrtc.core.peer.traffic import Traffic

__all__ = [
    "MAX_EARLY_DTLS",
    "ConnectionState",
    "ConnectionStateChanged",
    "Direction",
    "Ended",
    "Negotiating",
    "PeerCore",
    "PeerEvent",
    "PeerSettings",
    "Secured",
    "Securing",
    "Traffic",
]
