"""The client's side of signalling over a WebSocket: from a URL to a connection."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final, Self
from urllib.parse import urlsplit

import trio
from trio_websocket import ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import ProtocolError

from trio_webrtc.core.contract import Address
from trio_webrtc.errors import FailureReason, PeerError, UsageError
from trio_webrtc.shell.scope import scope
from trio_webrtc.signaling.messages import MAX_MESSAGE_SIZE
from trio_webrtc.signaling.transport import LastingStream
from trio_webrtc.signaling.websocket import SessionSettings, WebSocketSignaling, open_websocket_session

DEFAULT_PORTS: Final = {"ws": 80, "wss": 443}
"""RFC 6455 §3."""


class SignalingFailedError(PeerError):
    """No signalling came up: the server could not be reached, or refused.

    `status` is the HTTP status with which it refused the WebSocket, or None if it said none.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message, FailureReason.SIGNALING_FAILED)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketUrl:
    """What a WebSocket URL says (RFC 6455 §3)."""

    is_secure: bool
    host: str
    port: int
    authority: str
    resource: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take a URL apart.

        Raises:
            UsageError: it is none of a WebSocket.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"{url!r} is no URL: {error}") from None
        if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
            raise UsageError(f"the URL of a WebSocket is ws://host/... or wss://host/..., not {url!r}")
        if parts.fragment or parts.username is not None:
            raise UsageError("the URL of a WebSocket has neither a fragment nor a user's name; use headers")
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return cls(
            is_secure=parts.scheme == "wss",
            host=parts.hostname,
            port=DEFAULT_PORTS[parts.scheme] if port is None else port,
            authority=host if port in (None, DEFAULT_PORTS[parts.scheme]) else f"{host}:{port}",
            resource=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        )

    def check_context(self, ssl_context: ssl.SSLContext | None) -> None:
        """Raise UsageError if this context cannot be for this URL."""
        if ssl_context is not None and not self.is_secure:
            raise UsageError("an ssl_context is for wss://; a ws:// server speaks no TLS")


@scope
async def open_websocket_signaling(
    url: str,
    *,
    ssl_context: ssl.SSLContext | None = None,
    subprotocol: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    connect_timeout: float = 10.0,
    ping_interval: float = 20.0,
    ping_timeout: float = 20.0,
    close_timeout: float = 1.0,
    max_message_size: int = MAX_MESSAGE_SIZE,
) -> AsyncIterator[WebSocketSignaling]:
    """Own signalling by a WebSocket to a server (RFC 6455).

    Leaving the scope says goodbye with a close frame, and takes at most `close_timeout` seconds. If the server ends
    the connection, or it is lost, the body is not cancelled: `receive()` gives what had arrived, and then the end. An
    exception in the body comes out as itself.

    Args:
        url: where the server is, `ws://` or `wss://`.
        ssl_context: how to speak TLS with a `wss://` server; None for the system's trust.
        subprotocol: what is to be spoken over the WebSocket, if the server should know.
        headers: further lines for the request, such as ("Authorization", "Bearer ...").
        connect_timeout: seconds for name, TCP, TLS and the WebSocket's handshake together.
        ping_interval: seconds between pings.
        ping_timeout: seconds in which a ping has to be answered.
        close_timeout: seconds that the goodbye may take.
        max_message_size: characters in a message that is received.

    Raises:
        SignalingFailedError: the server cannot be reached, or refuses.
        UsageError: the URL is none of a WebSocket, or an ssl_context is given for `ws://`.
    """
    target = WebSocketUrl.parse(url)
    target.check_context(ssl_context)
    deadline = trio.current_time() + connect_timeout
    settings = SessionSettings(
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        max_message_size=max_message_size,
    )
    async with AsyncExitStack() as stack:
        try:
            with trio.fail_at(deadline):
                connected = await trio.open_tcp_stream(target.host, target.port)
            transport = LastingStream(connected)
            stream = _secured(transport, target, ssl_context)
            shake_hands = partial(
                _shake_hands,
                stream,
                target,
                subprotocol=subprotocol,
                headers=headers,
                max_message_size=max_message_size,
            )
            signaling = await stack.enter_async_context(
                open_websocket_session(
                    shake_hands,
                    stream,
                    transport,
                    remote_address=_remote_address(connected),
                    handshake_deadline=deadline,
                    settings=settings,
                )
            )
        except trio.TooSlowError:
            raise SignalingFailedError(f"{url} did not answer within {connect_timeout} s") from None
        except ConnectionRejected as error:
            raise SignalingFailedError(
                f"{url} refuses the WebSocket with HTTP status {error.status_code}", status=error.status_code
            ) from error
        except (OSError, trio.BrokenResourceError, ProtocolError) as error:
            raise SignalingFailedError(f"{url} cannot be reached: {_innermost(error)}") from error
        yield signaling


def _secured(
    transport: LastingStream, target: WebSocketUrl, ssl_context: ssl.SSLContext | None
) -> LastingStream | trio.SSLStream[LastingStream]:
    if not target.is_secure:
        return transport
    return trio.SSLStream(transport, ssl_context or ssl.create_default_context(), server_hostname=target.host)


async def _shake_hands(
    stream: LastingStream | trio.SSLStream[LastingStream],
    target: WebSocketUrl,
    nursery: trio.Nursery,
    *,
    subprotocol: str | None,
    headers: Sequence[tuple[str, str]],
    max_message_size: int,
) -> WebSocketConnection:
    if isinstance(stream, trio.SSLStream):
        await stream.do_handshake()
    return await wrap_client_stream(
        nursery,
        stream,  # type: ignore[arg-type]  # any stream will do, as its documentation says
        target.authority,
        target.resource,
        subprotocols=None if subprotocol is None else [subprotocol],
        extra_headers=[(name.encode(), value.encode()) for name, value in headers],
        message_queue_size=0,
        max_message_size=max_message_size,
    )


def _remote_address(connected: trio.SocketStream) -> Address:
    host, port = connected.socket.getpeername()[:2]
    return host, port


def _innermost(error: BaseException) -> BaseException:
    """What an error was caused by: Trio tells of an SSLError as the cause of a BrokenResourceError without a text."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
