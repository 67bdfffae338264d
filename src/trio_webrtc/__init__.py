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
    ListenAddress,
    SctpSettings,
    SocketOptions,
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
from trio_webrtc.first_contact import FirstContact
from trio_webrtc.peer_connection import PeerConnection, open_peer_connection
from trio_webrtc.server import ServerAddress, ServerLimits, WebRtcServer, open_webrtc_server
from trio_webrtc.statistics import WebRtcServerStats

__all__ = [
    "Certificate",
    "CloseReason",
    "Configuration",
    "ConnectionFailedError",
    "DataChannel",
    "DtlsSettings",
    "FailureReason",
    "FirstContact",
    "IceCandidate",
    "IceServer",
    "IceSettings",
    "Interface",
    "InvalidDescriptionError",
    "ListenAddress",
    "PeerConnection",
    "PeerError",
    "SctpSettings",
    "ServerAddress",
    "ServerLimits",
    "SessionDescription",
    "SocketOptions",
    "UsageError",
    "WebRtcError",
    "WebRtcServer",
    "WebRtcServerStats",
    "open_peer_connection",
    "open_webrtc_server",
]
