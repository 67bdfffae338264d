"""Signalling: how two peers swap descriptions and candidates before they have a connection.

A `Signaling` is a `trio.abc.Channel[SessionDescription | IceCandidate | Bye]`; in memory, over a WebSocket, or over
one WebSocket after the other. `docs/signalling-websocket.md` tells what travels.
"""

from trio_webrtc.descriptions import IceCandidate, SessionDescription
from trio_webrtc.shell.accepting import ReceptionLimits
from trio_webrtc.signaling.channel import Signaling
from trio_webrtc.signaling.client import SignalingFailedError, open_websocket_signaling
from trio_webrtc.signaling.memory import open_memory_signaling
from trio_webrtc.signaling.messages import (
    MAX_MESSAGE_SIZE,
    Bye,
    InvalidMessageError,
    SignalingMessage,
    decode_message,
    encode_message,
)
from trio_webrtc.signaling.negotiation import Negotiation, negotiate
from trio_webrtc.signaling.reconnecting import (
    Connected,
    Connecting,
    ReconnectingSignaling,
    ReconnectingState,
    Waiting,
    keep_signaling_open,
    open_reconnecting_signaling,
)
from trio_webrtc.signaling.request import SignalingRequest
from trio_webrtc.signaling.server import SignalingServer, SignalingServerStats, serve_websocket_signaling
from trio_webrtc.signaling.websocket import WebSocketSignaling

__all__ = [
    "MAX_MESSAGE_SIZE",
    "Bye",
    "Connected",
    "Connecting",
    "IceCandidate",
    "InvalidMessageError",
    "Negotiation",
    "ReceptionLimits",
    "ReconnectingSignaling",
    "ReconnectingState",
    "SessionDescription",
    "Signaling",
    "SignalingFailedError",
    "SignalingMessage",
    "SignalingRequest",
    "SignalingServer",
    "SignalingServerStats",
    "Waiting",
    "WebSocketSignaling",
    "decode_message",
    "encode_message",
    "keep_signaling_open",
    "negotiate",
    "open_memory_signaling",
    "open_reconnecting_signaling",
    "open_websocket_signaling",
    "serve_websocket_signaling",
]
