"""What a virtual network writes down."""

from typing import NamedTuple, TypeAlias

from trio_webrtc.core.contract import Address
from trio_webrtc.testing.link import Fate


class DatagramSent(NamedTuple):
    """A datagram has left a socket."""

    time: float
    from_: Address
    to: Address
    data: bytes
    fate: Fate


class StreamSent(NamedTuple):
    """A TCP socket has taken bytes to send."""

    time: float
    from_: Address
    to: Address
    data: bytes


class StreamEnded(NamedTuple):
    """A TCP socket has said that nothing more comes (FIN); its peer hears that after all that was sent before."""

    time: float
    from_: Address
    to: Address


class StreamReset(NamedTuple):
    """A TCP socket has given its connection up (RST)."""

    time: float
    from_: Address
    to: Address


class SocketClosed(NamedTuple):
    """A socket has been closed."""

    time: float
    address: Address


LogEntry: TypeAlias = DatagramSent | StreamSent | StreamEnded | StreamReset | SocketClosed
