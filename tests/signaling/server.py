"""A WebSocket server by PyPI's `websockets`, which speaks the protocol here, over Trio's streams, which end at will."""

import array
import fcntl
import socket
import ssl
import struct
import termios
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import trio
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol


class Visitor:
    """One client, as its server meets it."""

    def __init__(self, socket_stream: trio.SocketStream, ssl_context: ssl.SSLContext | None) -> None:
        self.socket = socket_stream.socket
        self.stream = socket_stream
        if ssl_context is not None:
            self.stream = trio.SSLStream(socket_stream, ssl_context, server_side=True)
        self.protocol = ServerProtocol(select_subprotocol=lambda _, offered: offered[0] if offered else None)
        self._sending = trio.StrictFIFOLock()
        self.frames: list[Frame] = []
        self.request: Request | None = None
        self.has_ended = trio.Event()
        """Set when the end was sent; the client may have yet to notice."""

    async def read_request(self) -> Request:
        while self.request is None:
            if not await self.read():
                raise EOFError
        return self.request

    async def welcome(self) -> None:
        """Do the opening handshake."""
        self.protocol.send_response(self.protocol.accept(await self.read_request()))
        await self.flush()

    async def say(self, *texts: str) -> None:
        """Send messages, all in one piece."""
        self.write(*texts)
        await self.flush()

    def write(self, *texts: str) -> None:
        for text in texts:
            self.protocol.send_text(text.encode())

    async def flush(self) -> None:
        async with self._sending:
            if data := b"".join(self.protocol.data_to_send()):
                await self.stream.send_all(data)

    async def read(self) -> bool:
        """Take what has arrived; whether there was anything. Pings are answered."""
        try:
            data = await self.stream.receive_some()
        except trio.BrokenResourceError:
            return False
        if not data:
            return False
        self.protocol.receive_data(bytes(data))
        for event in self.protocol.events_received():
            if isinstance(event, Request):
                self.request = event
            else:
                self.frames.append(event)
        await self.flush()
        return True

    async def read_frame(self, opcode: Opcode) -> Frame:
        """Wait for a frame of this kind, leaving out all others."""
        while True:
            while self.frames:
                if (frame := self.frames.pop(0)).opcode is opcode:
                    return frame
            if not await self.read():
                raise EOFError

    async def hear(self) -> str:
        return (await self.read_frame(Opcode.TEXT)).data.decode()

    async def hear_close(self) -> tuple[int, str]:
        data = (await self.read_frame(Opcode.CLOSE)).data
        return struct.unpack("!H", data[:2])[0], data[2:].decode()

    # -- ways to end ---------------------------------------------------------------------------------------------

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """As RFC 6455 has it: close frames both ways, and then TCP."""
        self.protocol.send_close(code, reason)
        await self.flush()
        self.has_ended.set()
        with suppress(EOFError):
            await self.hear_close()
        await self.stream.aclose()

    async def close_and_leave(self, code: int = 1000, reason: str = "") -> None:
        """A close frame, and nothing is waited for."""
        self.protocol.send_close(code, reason)
        await self.flush()
        await self.stream.aclose()
        self.has_ended.set()

    async def end_tls(self) -> None:
        """TLS's close_notify, and then TCP's FIN."""
        await self.flush()
        await self.stream.aclose()
        self.has_ended.set()

    async def end_tcp(self) -> None:
        """Nothing but TCP's FIN, TLS or not."""
        await self.flush()
        self.socket.shutdown(socket.SHUT_WR)
        self.has_ended.set()
        await self.read_to_the_end()
        self.socket.close()

    async def reset(self) -> None:
        """A reset, after all that was sent has reached the client's kernel."""
        await self.deliver()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()
        self.has_ended.set()

    async def read_to_the_end(self) -> None:
        while self.protocol.close_rcvd is None and await self.read():
            pass

    async def deliver(self) -> None:
        """Wait until all that was sent has reached the client's kernel; what has not, dies with a reset."""
        await self.flush()
        unacknowledged = array.array("i", [1])
        while unacknowledged[0]:
            await trio.sleep(0.001)
            fcntl.ioctl(self.socket.fileno(), termios.TIOCOUTQ, unacknowledged)


Script = Callable[[Visitor], Awaitable[None]]


@asynccontextmanager
async def open_server(script: Script, ssl_context: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A server which plays the script with each client; gives its URL."""

    async def attend(socket_stream: trio.SocketStream) -> None:
        await script(Visitor(socket_stream, ssl_context))

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, attend, listeners)
        host, port = listeners[0].socket.getsockname()
        yield f"{'ws' if ssl_context is None else 'wss'}://{host}:{port}/"
        nursery.cancel_scope.cancel()
