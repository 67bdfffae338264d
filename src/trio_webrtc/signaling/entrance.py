"""The way in for a client: from its TCP connection to a WebSocket, or to an answer which says why not."""

import contextlib
import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from trio_webrtc.shell.accepting import Guest, RefusedError
from trio_webrtc.signaling.metering import ClientStream
from trio_webrtc.signaling.reader import ShakeHands
from trio_webrtc.signaling.request import (
    Answer,
    SignalingRequest,
    UnansweredError,
    check_wants_websocket,
    encode_handshake,
    read_request,
)
from trio_webrtc.signaling.sockets import ClientConnection
from trio_webrtc.signaling.transport import LastingStream

ANSWER_TIMEOUT: Final = 1.0
"""Seconds in which a client has to take an answer; and if it got no WebSocket, to end the connection."""


@dataclass(frozen=True, slots=True)
class Health:
    """What a server says of itself to whoever asks at some path."""

    is_well: bool
    """Whether another client would find a place."""
    members: dict[str, object]

    def answer(self) -> Answer:
        """200 or 503, and what there is to tell as JSON."""
        text = json.dumps(self.members) + "\n"
        no_store = (("Cache-Control", "no-store"),)
        return Answer(200 if self.is_well else 503, text, no_store, content_type="application/json")


@dataclass(frozen=True, slots=True)
class Client:
    """A client that has asked for a WebSocket, and is to get it: the arguments of `open_websocket_session()`."""

    shake_hands: ShakeHands
    stream: ClientStream
    transport: LastingStream


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrance:
    """Lets clients in. What it sends them away with is an answer of HTTP, wherever they would understand one."""

    ssl_context: ssl.SSLContext | None
    subprotocol: str | None
    max_message_size: int
    health_path: str | None
    health: Callable[[], Health]
    refuse: Callable[[SignalingRequest], int | None] | None

    async def let_in(self, connection: ClientConnection, guest: Guest) -> Client | None:
        """Find out what a client wants, and admit it if that is a WebSocket; None if it has got what it wanted.

        Raises:
            RefusedError: it was sent away.
            trio.BrokenResourceError: the connection is lost.
        """
        transport = LastingStream(connection.stream)
        stream = await self._secure(transport)
        request = None
        try:
            request = await read_request(stream, guest.remote_address)
            if not self._asks_for_health(request):
                self._check(request)
                _admit(guest)
                return self._client(request, stream, transport)
            answer, refusal = self.health().answer(), None
        except UnansweredError as error:
            answer, refusal = error.answer, error
        await _answer(answer.encode(to=request), stream, connection)
        if refusal is not None:
            raise refusal
        return None

    async def _secure(self, transport: LastingStream) -> trio.abc.Stream:
        if self.ssl_context is None:
            return transport
        stream = trio.SSLStream(transport, self.ssl_context, server_side=True, https_compatible=True)
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError as error:
            raise RefusedError("TLS failed", str(error.__cause__ or error)) from error
        return stream

    def _asks_for_health(self, request: SignalingRequest) -> bool:
        path = request.target.partition("?")[0]
        return path == self.health_path and request.method in ("GET", "HEAD")

    def _check(self, request: SignalingRequest) -> None:
        check_wants_websocket(request)
        status = self.refuse(request) if self.refuse is not None else None
        if status is not None:
            raise UnansweredError(Answer(status), "refused by the application")

    def _client(self, request: SignalingRequest, stream: trio.abc.Stream, transport: LastingStream) -> Client:
        offered = request.tokens("sec-websocket-protocol")
        subprotocol = self.subprotocol if self.subprotocol in offered else None
        head = encode_handshake(request, subprotocol=subprotocol)
        client_stream = ClientStream(stream, head=head)
        return Client(partial(self._shake_hands, client_stream, subprotocol), client_stream, transport)

    async def _shake_hands(
        self, stream: ClientStream, subprotocol: str | None, nursery: trio.Nursery
    ) -> WebSocketConnection:
        with trio.move_on_after(ANSWER_TIMEOUT):
            request = await wrap_server_stream(
                nursery, stream, message_queue_size=0, max_message_size=self.max_message_size
            )
            try:
                return await request.accept(subprotocol=subprotocol)
            except ConnectionClosed as closed:
                raise trio.BrokenResourceError("it ended during the WebSocket handshake") from closed
        raise RefusedError("deadline", "it did not take the answer")


def _admit(guest: Guest) -> None:
    try:
        guest.admit()
    except RefusedError as error:
        raise UnansweredError(Answer(503, "There is no place for another client.\n"), error.reason) from error


async def _answer(answer: bytes, stream: trio.abc.Stream, connection: ClientConnection) -> None:
    """Send an answer, and see to it that the client can read it to its end."""
    with trio.move_on_after(ANSWER_TIMEOUT):
        await stream.send_all(answer)
        if isinstance(stream, trio.SSLStream):
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.unwrap()
        await connection.end()
