"""Our server in the test's own process, a client of raw bytes for it, and one that PyPI's `websockets` speaks for."""

import contextlib
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import ClassVar

import pytest
import trio
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from trio_webrtc.core.contract import Address
from trio_webrtc.shell.accepting import ReceptionLimits
from trio_webrtc.signaling import (
    IceCandidate,
    SignalingServer,
    WebSocketSignaling,
    open_websocket_signaling,
    serve_websocket_signaling,
)

from .certificates import TlsContexts

PATIENCE = 30.0
"""Seconds in which what these tests wait for happens also on a machine that has much else to do."""

DEADLINE = 1.0
"""Seconds that clients have to get their WebSocket, where that is what is tested."""

CANDIDATE = IceCandidate("candidate:1 1 udp 2113937151 192.0.2.1 54400 typ host", "0", 0, "EsAw")


async def echo(signaling: WebSocketSignaling) -> None:
    async for message in signaling:
        await signaling.send(message)


@asynccontextmanager
async def running_server(handler=echo, tls: TlsContexts | None = None, **options) -> AsyncIterator[SignalingServer]:
    """A server on loopback; it is closed at the end."""
    options.setdefault("limits", ReceptionLimits(deadline=PATIENCE))
    ssl_context = tls.server if tls is not None else None
    serve = partial(serve_websocket_signaling, handler, "127.0.0.1", 0, ssl_context=ssl_context, **options)
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve)
        yield server
        await server.aclose()


def url(server: SignalingServer, tls: TlsContexts | None = None, path: str = "/") -> str:
    host, port = server.addresses[0]
    return f"{'ws' if tls is None else 'wss'}://{host}:{port}{path}"


async def assert_serves(server: SignalingServer, tls: TlsContexts | None = None) -> None:
    """A good client is served."""
    ssl_context = tls.client if tls is not None else None
    with trio.fail_after(PATIENCE):
        async with open_websocket_signaling(
            url(server, tls), ssl_context=ssl_context, connect_timeout=PATIENCE
        ) as signaling:
            await signaling.send(CANDIDATE)
            assert await signaling.receive() == CANDIDATE


async def wait_until_idle(server: SignalingServer) -> None:
    """Until the server has nobody left."""
    with trio.fail_after(PATIENCE):
        while server.get_stats().clients or server.get_stats().handshakes:
            await trio.sleep(0.005)


class RawClient:
    """Bytes to and from a server, by TLS or not."""

    opened: ClassVar[list["RawClient"]] = []
    """Those of the present test; `no_client_left_open` closes what a test that failed has left open."""

    def __init__(self, tcp: trio.SocketStream, stream: trio.abc.Stream) -> None:
        self.tcp = tcp
        self.stream = stream
        self.opened.append(self)

    @classmethod
    async def connect(cls, address: Address, ssl_context: ssl.SSLContext | None = None) -> "RawClient":
        tcp = await trio.open_tcp_stream(*address)
        stream = tcp
        if ssl_context is not None:
            stream = trio.SSLStream(tcp, ssl_context, server_hostname="127.0.0.1", https_compatible=True)
            try:
                await stream.do_handshake()
            except BaseException:
                tcp.socket.close()
                raise
        return cls(tcp, stream)

    async def say(self, data: bytes) -> None:
        """Send, if the server still wants to hear it."""
        with contextlib.suppress(trio.BrokenResourceError):
            await self.stream.send_all(data)

    async def hear_everything(self) -> bytes:
        """All that the server sends until it ends."""
        heard = b""
        with contextlib.suppress(trio.BrokenResourceError):
            while data := await self.stream.receive_some():
                heard += data
        return heard

    def reset(self) -> None:
        self.tcp.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.tcp.socket.close()

    def end(self) -> None:
        """FIN, without a word of TLS."""
        with contextlib.suppress(OSError):
            self.tcp.socket.shutdown(socket.SHUT_WR)


@pytest.fixture(autouse=True)
def no_client_left_open() -> Iterator[None]:
    """A test that fails must not have others fail for the sockets that it forgot."""
    yield
    for client in RawClient.opened:
        descriptor = client.tcp.socket.detach()
        if descriptor >= 0:
            os.close(descriptor)
    RawClient.opened.clear()


class ForeignClient(RawClient):
    """A WebSocket client by PyPI's `websockets`, over Trio's streams, which can be made to misbehave."""

    protocol: ClientProtocol

    @classmethod
    async def open(
        cls, address: Address, ssl_context: ssl.SSLContext | None = None, *, path: str = "/", **options
    ) -> "ForeignClient":
        client = await cls.connect(address, ssl_context)
        client.protocol = ClientProtocol(parse_uri(f"ws://{address[0]}:{address[1]}{path}"), **options)
        client.frames = []
        client.response = None
        client.protocol.send_request(client.protocol.connect())
        await client.flush()
        while client.response is None and await client.read():
            pass
        return client

    async def flush(self) -> None:
        if data := b"".join(self.protocol.data_to_send()):
            await self.say(data)

    async def read(self) -> bool:
        """Take what has arrived; whether there was anything."""
        try:
            data = await self.stream.receive_some()
        except trio.BrokenResourceError:
            return False
        if not data:
            return False
        self.protocol.receive_data(bytes(data))
        for event in self.protocol.events_received():
            if isinstance(event, Response):
                self.response = event
            else:
                self.frames.append(event)
        await self.flush()
        return True

    async def hear(self) -> Frame:
        """The next frame that is no ping."""
        while True:
            while self.frames:
                if (frame := self.frames.pop(0)).opcode not in (Opcode.PING, Opcode.PONG):
                    return frame
            if not await self.read():
                raise EOFError

    async def hear_close(self) -> tuple[int, str]:
        while (frame := await self.hear()).opcode is not Opcode.CLOSE:
            pass
        return struct.unpack("!H", frame.data[:2])[0], frame.data[2:].decode()

    async def send_text(self, *texts: str) -> None:
        for text in texts:
            self.protocol.send_text(text.encode())
        await self.flush()
