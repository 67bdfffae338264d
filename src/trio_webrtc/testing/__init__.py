"""A test kit for programs that use this package, and for the package itself; all of it runs in virtual time."""

from trio_webrtc.testing.link import Fate, Link
from trio_webrtc.testing.pair import End, InFlight, Pair
from trio_webrtc.testing.virtual_network import DatagramSent, SocketClosed, VirtualHost, VirtualNetwork

__all__ = [
    "DatagramSent",
    "End",
    "Fate",
    "InFlight",
    "Link",
    "Pair",
    "SocketClosed",
    "VirtualHost",
    "VirtualNetwork",
]
