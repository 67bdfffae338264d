"""The lowest boundary of the package: what it needs of a host's network, and of a UDP socket.

The kernel's implementation is `HOST_NETWORK` (host.py, with udp.py and interfaces.py); the tests' is
`trio_webrtc.testing.VirtualNetwork`. Both pass the same contract tests.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from trio_webrtc.core.contract import Address


@dataclass(frozen=True, slots=True)
class Interface:
    """One address of this host, and the network interface that has it."""

    name: str
    """The interface's name, such as "eth0"."""
    address: str
    """The IP address in its canonical text form; a link-local one with its scope id ("fe80::1%eth0")."""


class Arrival(NamedTuple):
    """What a socket read: one datagram, or a run of datagrams of one size (the last may be shorter) back to back."""

    local_host: str | None
    """The local address it was sent to, on a socket bound to a wildcard; None on any other."""
    from_: Address
    data: bytes
    segment_size: int | None
    """The size of each datagram of a run; None for a single datagram."""


class UdpSocket(Protocol):
    """A bound UDP socket which never blocks."""

    @property
    def local_address(self) -> Address:
        """The address it is bound to, with the port that it was given."""

    def send(self, to: Address, data: bytes, segment_size: int | None, from_host: str | None) -> int:
        """Send one datagram or a run of them; say how many bytes of `data` were taken, always whole datagrams.

        Less than all means that there is no room for the rest now: it was not sent, and `wait_writable` tells when to
        try again. OSError means that the rest is lost, for the reason given. `from_host` chooses the source address on
        a socket that is bound to a wildcard; elsewhere it is None.
        """

    def receive(self) -> list[Arrival]:
        """Take what has arrived, as much of it as makes one batch; an empty list if there is nothing.

        OSError means that the socket is of no use any more.
        """

    async def wait_readable(self) -> None:
        """Wait until there is something to receive. Raises ClosedResourceError if the socket is closed meanwhile."""

    async def wait_writable(self) -> None:
        """Wait until there is room to send. Raises ClosedResourceError if the socket is closed meanwhile.

        One task at a time may do so.
        """

    def close(self) -> None:
        """Free the socket, and wake who waits for it. Harmless when it is closed already."""


class Network(Protocol):
    """A host's way to all others."""

    def interfaces(self) -> Sequence[Interface]:
        """Every local address that a socket could be bound to, in the system's order."""

    def open_udp(self, address: Address) -> UdpSocket:
        """Bind a UDP socket, with port 0 to one that is free. Raises OSError."""

    def open_multicast(self, group: Address, interface: Interface) -> UdpSocket:
        """Join a multicast group on an interface, with a socket that hears and sends there and shares the port.

        Raises OSError.
        """

    async def resolve(self, host: str, port: int) -> Sequence[Address]:
        """Look up the addresses of a name, or of an address in text form. Raises OSError.

        If cancelled, nothing is left behind.
        """


def _numbers(*names: str) -> frozenset[int]:
    return frozenset(number for name in names if (number := getattr(errno, name, None)) is not None)


NO_ROOM: Final = _numbers("EAGAIN", "EWOULDBLOCK", "ENOBUFS", "WSAEWOULDBLOCK", "WSAENOBUFS")
"""Error numbers of a send which say: try again when there is room."""

TOO_LARGE: Final = _numbers("EMSGSIZE", "WSAEMSGSIZE")
"""Error numbers of a send which say that a datagram is larger than what the way takes."""

SOCKET_LOST: Final = _numbers("EBADF", "ENODEV", "ENOTSOCK", "WSAENOTSOCK")
"""Error numbers which say that the socket itself is of no use any more. All others concern one datagram only."""
