"""TCP connections of clients, as the reception looks after them."""

import contextlib
import os
from typing import final

import trio

from trio_webrtc.core.contract import Address


@final
class ClientConnection:
    """One accepted connection. Who it is from was told when it was accepted: getpeername(2) fails after a reset."""

    def __init__(self, socket: trio.socket.SocketType, remote_address: Address) -> None:
        self.stream = trio.SocketStream(socket)
        self.remote_address = remote_address

    async def end(self) -> None:
        """End the sending, and read on until the client has ended: closed with bytes unread, it would be reset."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self.stream.send_eof()
            while await self.stream.receive_some():
                pass

    def close(self) -> None:
        """Free it. Harmless when it is freed already."""
        with contextlib.suppress(OSError):
            self.stream.socket.close()


@final
class ListeningSocket:
    """A socket that clients connect to."""

    def __init__(self, socket: trio.socket.SocketType) -> None:
        self.local_address: Address = socket.getsockname()[:2]
        self._socket = socket

    async def accept(self) -> ClientConnection:
        """Wait for a client.

        Raises OSError as accept(2) fails, and ClosedResourceError once it is closed. If cancelled, nobody is lost.
        """
        socket, address = await self._socket.accept()
        return ClientConnection(socket, address[:2])

    def close(self) -> None:
        """Free it. Harmless when it is freed already."""
        with contextlib.suppress(OSError):
            self._socket.close()


async def open_listening_sockets(host: str | None, port: int) -> list[ListeningSocket]:
    """Listen at all addresses that a name stands for; None stands for all of this host's.

    Raises OSError, which names the address.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)
        raise OSError(error.errno, f"cannot listen at {host or 'any address'} port {port}: {reason}") from error
    return [ListeningSocket(listener.socket) for listener in listeners]
