"""TCP connections and listeners of the kernel's, none of which ever blocks.

What fails for one connection after it was accepted is its own trouble, or none at all: its addresses are what
`accept()` told, not what a later question would (which fails when the peer has gone meanwhile).
"""

import errno
import logging
import socket
import struct
import sys
from typing import Final

import trio

from trio_webrtc.core.contract import Address
from trio_webrtc.shell.kernel_sockets import SockAddr, open_socket, sockaddr_of, text_address
from trio_webrtc.shell.network import DEFAULT_OPTIONS, NO_ROOM, NOT_NOW, PAUSE_FOR_MEMORY, SocketOptions, os_error
from trio_webrtc.shell.reporting import Reporter

_logger: Final = logging.getLogger(__name__)

READ_SIZE: Final = 64 * 1024
"""Bytes that one call reads at most."""

BACKLOG: Final = 1024
"""Connections that wait to be accepted, if the kernel's own limit allows so many."""

_CONNECTING: Final = frozenset((errno.EINPROGRESS, getattr(errno, "WSAEWOULDBLOCK", errno.EINPROGRESS)))
"""Errors of connect(2) which say that it goes on by itself."""

_NO_LINGER: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


class KernelTcpSocket:
    """An open TCP connection of the kernel's, which belongs to this object from its making. See `TcpSocket`."""

    def __init__(
        self, opened: socket.socket, local_address: Address, remote_address: Address, reporter: Reporter
    ) -> None:
        self.local_address = local_address
        self.remote_address = remote_address
        self._socket = opened
        self._reporter = reporter
        self._lacks_memory = False
        self._set_option("TCP_NODELAY", socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or what is sent is delayed

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Give the kernel some bytes; say how many it took. See `TcpSocket.send`."""
        try:
            return self._socket.send(data)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._lacks_memory = error.errno not in NOT_NOW
            return 0

    def receive(self, at_most: int = READ_SIZE) -> bytes | None:
        """Take what has arrived. See `TcpSocket.receive`."""
        try:
            return self._socket.recv(at_most)
        except OSError as error:
            if error.errno not in NOT_NOW:
                raise
            return None

    def end_sending(self) -> None:
        """Tell the peer that nothing more comes. Harmless twice, or when lost."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    async def wait_readable(self) -> None:
        """Wait until `receive` has something to tell. Cancelling it changes nothing."""
        _check_open(self._socket)
        await trio.lowlevel.wait_readable(self._socket)

    async def wait_writable(self) -> None:
        """Wait until there is room to send. Cancelling it changes nothing."""
        if self._lacks_memory:  # which is no matter of this socket's room: nothing tells when it is over
            self._lacks_memory = False
            await trio.sleep(PAUSE_FOR_MEMORY)
        _check_open(self._socket)
        await trio.lowlevel.wait_writable(self._socket)

    def close(self) -> None:
        """Free the socket, and wake who waits for it. What was sent still leaves, unless something was left unread."""
        _close(self._socket)

    def reset(self) -> None:
        """Free the socket without a goodbye."""
        if self._socket.fileno() != -1:
            self._set_option("SO_LINGER", socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)  # or it says goodbye
            _close(self._socket)

    def _set_option(self, name: str, level: int, option: int, value: int | bytes) -> None:
        try:
            self._socket.setsockopt(level, option, value)
        except OSError as error:  # if this means that the connection is lost, it will say so itself
            host, port = self.remote_address
            self._reporter.report(name, logging.INFO, f"cannot set {name} for {host} port {port}: {error}")


class KernelTcpListener:
    """A listening TCP socket of the kernel's. See `TcpListener`."""

    def __init__(self, address: Address, options: SocketOptions) -> None:
        self._socket = open_socket(address[0], socket.SOCK_STREAM, options)
        try:
            if sys.platform != "win32":  # where it would let others steal the port
                # A server that is started again need not wait until the connections of the last one are forgotten.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(sockaddr_of(address, self._socket.family))
            self._socket.listen(BACKLOG)
            self.local_address: Address = text_address(self._socket.getsockname())
        except BaseException:
            self._socket.close()
            raise
        self._reporter = Reporter(_logger, f"TCP at {self.local_address[0]} port {self.local_address[1]}")

    @trio.lowlevel.enable_ki_protection
    async def accept(self) -> KernelTcpSocket:
        """Wait for the next connection. See `TcpListener.accept`."""
        while True:
            _check_open(self._socket)
            await trio.lowlevel.wait_readable(self._socket)
            _check_open(self._socket)  # it may have been closed in the turn in which we were woken
            try:
                accepted, remote = self._socket.accept()
            except OSError as error:
                if error.errno not in NOT_NOW:
                    raise
                continue  # the connection has gone, or another process has it
            return self._welcome(accepted, remote)

    def _welcome(self, accepted: socket.socket, remote: SockAddr | None) -> KernelTcpSocket:
        try:
            accepted.setblocking(False)
            if not remote:  # BSD's way to say that the peer has gone
                raise os_error(errno.ECONNABORTED)
            return KernelTcpSocket(accepted, self._local_address_of(accepted), text_address(remote), self._reporter)
        except BaseException:
            accepted.close()
            raise

    def _local_address_of(self, accepted: socket.socket) -> Address:
        try:
            return text_address(accepted.getsockname())
        except OSError as error:
            text = f"a connection does not tell at which address it has come: {error}"
            self._reporter.report("getsockname", logging.INFO, text)
            return self.local_address

    def close(self) -> None:
        """Free the socket, and wake who waits for it. Connections that nobody has accepted are reset."""
        _close(self._socket)


@trio.lowlevel.enable_ki_protection
async def connect(local_host: str | None, remote: Address) -> KernelTcpSocket:
    """Open a TCP connection. See `Network.connect_tcp`."""
    opened = open_socket(remote[0], socket.SOCK_STREAM, DEFAULT_OPTIONS)
    try:
        if local_host is not None:
            opened.bind(sockaddr_of((local_host, 0), opened.family))
        try:
            opened.connect(sockaddr_of(remote, opened.family))
        except OSError as error:
            if error.errno not in _CONNECTING:
                raise
        await trio.lowlevel.wait_writable(opened)
        failure = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise os_error(failure)
        reporter = Reporter(_logger, "a connection of ours")
        return KernelTcpSocket(opened, text_address(opened.getsockname()), remote, reporter)
    except BaseException:
        opened.close()
        raise


def _check_open(checked: socket.socket) -> None:
    if checked.fileno() == -1:
        raise trio.ClosedResourceError("this socket was closed")


def _close(closing: socket.socket) -> None:
    if closing.fileno() != -1:
        trio.lowlevel.notify_closing(closing)
        closing.close()
