"""WebRTC for Trio: data channels to browsers and other peers, which close in order however a program leaves them.

Start with `open_peer_connection()`; `examples/echo_server.py` is a whole program.
"""

from trio_webrtc.configuration import (
    Certificate,
    Configuration,
    DtlsSettings,
    IceServer,
    IceSettings,
    Interface,
    SctpSettings,
)
from trio_webrtc.data_channel import DataChannel
from trio_webrtc.descriptions import IceCandidate, SessionDescription
from trio_webrtc.errors import (
    CloseReason,
    ConnectionFailedError,
    FailureReason,
    InvalidDescriptionError,
    PeerError,
    UsageError,
    WebRtcError,
)
from trio_webrtc.peer_connection import PeerConnection, open_peer_connection

__all__ = [
    "Certificate",
    "CloseReason",
    "Configuration",
    "ConnectionFailedError",
    "DataChannel",
    "DtlsSettings",
    "FailureReason",
    "IceCandidate",
    "IceServer",
    "IceSettings",
    "Interface",
    "InvalidDescriptionError",
    "PeerConnection",
    "PeerError",
    "SctpSettings",
    "SessionDescription",
    "UsageError",
    "WebRtcError",
    "open_peer_connection",
]
