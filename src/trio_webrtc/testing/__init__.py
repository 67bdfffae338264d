"""A test kit for programs that use this package, and for the package itself; all of it runs in virtual time."""

from trio_webrtc.testing.link import Fate, Link
from trio_webrtc.testing.log import DatagramSent, LogEntry, SocketClosed, StreamEnded, StreamReset, StreamSent
from trio_webrtc.testing.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    Dependence,
    NatKind,
)
from trio_webrtc.testing.pair import End, InFlight, Pair
from trio_webrtc.testing.stun_server import serve_stun
from trio_webrtc.testing.virtual_network import VirtualHost, VirtualNat, VirtualNetwork

__all__ = [
    "ADDRESS_RESTRICTED",
    "FULL_CONE",
    "PORT_RESTRICTED",
    "SYMMETRIC",
    "DatagramSent",
    "Dependence",
    "End",
    "Fate",
    "InFlight",
    "Link",
    "LogEntry",
    "NatKind",
    "Pair",
    "SocketClosed",
    "StreamEnded",
    "StreamReset",
    "StreamSent",
    "VirtualHost",
    "VirtualNat",
    "VirtualNetwork",
    "serve_stun",
]
