"""The lowest boundary of the package: what it needs of a host's network, and of UDP and TCP sockets.

The kernel's implementation is `HOST_NETWORK` (host.py, with udp.py, tcp_sockets.py and interfaces.py); the tests' is
`trio_webrtc.testing.VirtualNetwork`. Both pass the same contract tests.
"""

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import trio

from trio_webrtc.core.contract import Address
from trio_webrtc.errors import UsageError


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


MAX_BUFFER: Final = 2**31 - 1
"""The largest number that a socket option can have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketOptions:
    """What a socket is opened with, and what the connections that it accepts begin with.

    Raises UsageError for sizes that no socket can have.
    """

    receive_buffer: int | None = None
    """Bytes; None: 2 MiB for a UDP socket, and for TCP what the system finds right as it goes."""
    send_buffer: int | None = None
    """Bytes; None: as for `receive_buffer`."""
    ipv6_only: bool = True
    """Whether a socket bound to an IPv6 wildcard leaves IPv4 to others. If not, IPv4 peers appear and are addressed in
    IPv4 text form ("192.0.2.1", never "::ffff:192.0.2.1")."""
    reuse_port: bool = False
    """Whether other sockets that say so, too, may be bound to the same address; the system gives each its share."""

    def __post_init__(self) -> None:
        for name in ("receive_buffer", "send_buffer"):
            size = getattr(self, name)
            if size is not None and not (isinstance(size, int) and 0 < size <= MAX_BUFFER):
                raise UsageError(f"SocketOptions: {name}={size!r}: give a number of bytes from 1 to {MAX_BUFFER}")


DEFAULT_OPTIONS: Final = SocketOptions()


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


class TcpSocket(Protocol):
    """An open TCP connection, which never blocks. What it is given leaves at once (TCP_NODELAY)."""

    @property
    def local_address(self) -> Address:
        """This end. Known since the connection was made; reading it never raises."""

    @property
    def remote_address(self) -> Address:
        """The other end. Known since the connection was made; reading it never raises."""

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Give the system some bytes; say how many it took, which is 0 if there is no room now.

        `wait_writable` tells when to offer the rest. OSError means that the connection is lost.
        """

    def receive(self, at_most: int = ...) -> bytes | None:
        """Take what has arrived; None if there is nothing now; b"" if the peer has ended its sending.

        That is no more than `at_most` bytes, or some size that suits the socket. OSError means that the connection is
        lost.
        """

    def end_sending(self) -> None:
        """Tell the peer that nothing more comes (FIN); it may go on sending. Harmless twice, or when lost."""

    async def wait_readable(self) -> None:
        """Wait until `receive` has something to tell. Raises ClosedResourceError if the socket is closed meanwhile.

        One task at a time may do so. Cancelling it changes nothing.
        """

    async def wait_writable(self) -> None:
        """Wait until there is room to send, or nothing to wait for. Raises ClosedResourceError if closed meanwhile.

        One task at a time may do so. Cancelling it changes nothing.
        """

    def close(self) -> None:
        """Free the socket, and wake who waits for it. Harmless when it is closed already.

        What was taken by `send` still leaves, unless there is something that nobody has received: that resets the
        connection (RFC 1122 §4.2.2.13), and what had not yet left is lost.
        """

    def reset(self) -> None:
        """Free the socket without a goodbye (RST): what has not yet left is lost. Harmless when closed."""


class TcpListener(Protocol):
    """A listening TCP socket."""

    @property
    def local_address(self) -> Address:
        """The address that it is bound to, with the port that it was given."""

    async def accept(self) -> TcpSocket:
        """Wait for the next connection. Raises OSError as the system gives it, ClosedResourceError if closed.

        One task at a time may do so. Cancelled, it leaves the next connection to the next caller.
        """

    def close(self) -> None:
        """Free the socket, and wake who waits for it. Harmless when it is closed already."""


class Network(Protocol):
    """A host's way to all others."""

    def interfaces(self) -> Sequence[Interface]:
        """Every local address that a socket could be bound to, in the system's order."""

    def open_udp(self, address: Address, options: SocketOptions = DEFAULT_OPTIONS) -> UdpSocket:
        """Bind a UDP socket, with port 0 to one that is free. Raises OSError."""

    def listen_tcp(self, address: Address, options: SocketOptions = DEFAULT_OPTIONS) -> TcpListener:
        """Listen for TCP connections, with port 0 on one that is free. Raises OSError."""

    async def connect_tcp(self, local_host: str | None, remote: Address) -> TcpSocket:
        """Open a TCP connection, from one of this host's addresses if that matters. Raises OSError.

        Takes as long as the system's patience lasts. If cancelled, nothing is left behind.
        """

    def open_multicast(self, group: Address, interface: Interface) -> UdpSocket:
        """Join a multicast group on an interface, with a socket that hears and sends there and shares the port.

        Raises OSError.
        """

    async def resolve(self, host: str, port: int, *, limiter: trio.CapacityLimiter | None = None) -> Sequence[Address]:
        """Look up the addresses of a name, or of an address in text form. Raises OSError.

        Who asks for what others have chosen gives a limiter, whose threads this uses if it needs any; the name is ASCII
        then. If cancelled, nothing is left behind but the thread.
        """


def os_error(number: int) -> OSError:
    """What the system says by an error number."""
    return OSError(number, os.strerror(number))


def _numbers(*names: str) -> frozenset[int]:
    return frozenset(number for name in names if (number := getattr(errno, name, None)) is not None)


NOT_NOW: Final = _numbers("EAGAIN", "EWOULDBLOCK", "WSAEWOULDBLOCK")
"""Error numbers which say that a call would have to wait. Python's BlockingIOError has others, too, which do not end
by waiting: EALREADY, EINPROGRESS."""

NO_ROOM: Final = NOT_NOW | _numbers("ENOBUFS", "WSAENOBUFS")
"""Error numbers of a send which say: try again when there is room."""

PAUSE_FOR_MEMORY: Final = 0.01
"""Seconds until a send is tried again that failed for lack of memory (ENOBUFS): nothing tells when it is over."""

TOO_LARGE: Final = _numbers("EMSGSIZE", "WSAEMSGSIZE")
"""Error numbers of a send which say that a datagram is larger than what the way takes."""

SOCKET_LOST: Final = _numbers("EBADF", "ENODEV", "ENOTSOCK", "WSAENOTSOCK")
"""Error numbers which say that the socket itself is of no use any more. All others concern one datagram only."""
