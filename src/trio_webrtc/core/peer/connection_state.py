"""The state of a connection as a whole: what ICE and DTLS come to together."""

import enum
from typing import assert_never

from trio_webrtc.core.ice import AgentState


class ConnectionState(enum.Enum):
    """W3C's RTCPeerConnectionState."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


def overall_state(agent: AgentState, *, is_secured: bool) -> ConnectionState:
    """The state of a connection whose ICE agent is in this state, and whose DTLS handshake is complete or not. Hot."""
    match agent:
        case AgentState.CONNECTED | AgentState.COMPLETED:
            return ConnectionState.CONNECTED if is_secured else ConnectionState.CONNECTING
        case AgentState.NEW:
            return ConnectionState.NEW
        case AgentState.CHECKING:
            return ConnectionState.CONNECTING
        case AgentState.DISCONNECTED:
            return ConnectionState.DISCONNECTED
        case AgentState.FAILED:
            return ConnectionState.FAILED
        case AgentState.CLOSED:
            return ConnectionState.CLOSED
        case _:
            assert_never(agent)
