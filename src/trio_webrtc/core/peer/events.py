"""What a peer core tells: what becomes of the connection, and what its layers have for the application."""

from dataclasses import dataclass

from trio_webrtc.core import datachannel, ice
from trio_webrtc.core.peer.connection_state import ConnectionState
from trio_webrtc.core.signalling import SignallingEvent
from trio_webrtc.errors import CloseReason, PeerError


@dataclass(frozen=True, slots=True)
class ConnectionStateChanged:
    """The connection as a whole is in another state."""

    state: ConnectionState


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is over."""

    reason: CloseReason
    error: PeerError | None


PeerEvent = (
    ConnectionStateChanged
    | SignallingEvent
    | ice.CredentialsInUse
    | ice.ConnectionWanted
    | ice.ConnectionReleased
    | datachannel.ChannelArrived
    | datachannel.ChannelRefused
    | datachannel.ChannelsChanged
    | datachannel.WindowHeldShut
    | Ended
)
