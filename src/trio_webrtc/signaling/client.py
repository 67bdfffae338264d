"""The client's side of signalling over a WebSocket: from a URL to a connection."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from functools import partial

import trio
from trio_websocket import ConnectionRejected, WebSocketConnection, wrap_client_stream

from trio_webrtc.core.contract import Address
from trio_webrtc.errors import FailureReason, PeerError, UsageError
from trio_webrtc.shell.scope import scope
from trio_webrtc.signaling.messages import MAX_MESSAGE_SIZE
from trio_webrtc.signaling.target import WebSocketTarget
from trio_webrtc.signaling.transport import LastingStream
from trio_webrtc.signaling.websocket import SessionSettings, WebSocketSignaling, open_websocket_session


class SignalingFailedError(PeerError):
    """No signalling came up: the server could not be reached, or refused.

    `status` is the HTTP status with which it refused the WebSocket, or None if it said none.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message, FailureReason.SIGNALING_FAILED)
        self.status = status


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
        url: where the server is, `ws://` or `wss://`. It is not followed to another one.
        ssl_context: how to speak TLS with a `wss://` server; None for the system's trust.
        subprotocol: what is to be spoken over the WebSocket, if the server should know.
        headers: further lines for the request, such as ("Authorization", "Bearer ...").
        connect_timeout: seconds for name, TCP, TLS and the WebSocket's handshake together.
        ping_interval: seconds between pings.
        ping_timeout: seconds in which a ping has to be answered.
        close_timeout: seconds that the goodbye may take.
        max_message_size: characters in a message that is received, at most MAX_MESSAGE_SIZE.

    Raises:
        SignalingFailedError: the server cannot be reached, or refuses.
        UsageError: the URL is none of a WebSocket, an ssl_context is given for `ws://`, HTTP does not allow a header,
            a duration or size is not positive, or max_message_size is too large.
    """
    target = WebSocketTarget.parse(url, ssl_context=ssl_context, subprotocol=subprotocol, headers=headers)
    settings = SessionSettings(
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        max_message_size=max_message_size,
    )
    async with open_signaling_to(target, settings, connect_timeout=connect_timeout) as signaling:
        yield signaling


@scope
async def open_signaling_to(
    target: WebSocketTarget, settings: SessionSettings, *, connect_timeout: float
) -> AsyncIterator[WebSocketSignaling]:
    """Own signalling by a WebSocket to a server that is known to be one; `open_websocket_signaling()` otherwise.

    Raises:
        SignalingFailedError: the server cannot be reached, or refuses.
        UsageError: the timeout is not positive.
    """
    if connect_timeout <= 0:
        raise UsageError(f"connect_timeout={connect_timeout}: a connection takes some time")
    deadline = trio.current_time() + connect_timeout
    async with AsyncExitStack() as stack:
        try:
            with trio.fail_at(deadline):
                connected = await trio.open_tcp_stream(target.host, target.port)
            transport = LastingStream(connected)
            stream: LastingStream | trio.SSLStream[LastingStream] = transport
            if target.ssl_context is not None:
                stream = trio.SSLStream(transport, target.ssl_context, server_hostname=target.host)
            signaling = await stack.enter_async_context(
                open_websocket_session(
                    partial(_shake_hands, stream, target, settings.max_message_size),
                    stream,
                    transport,
                    remote_address=_remote_address(connected),
                    handshake_deadline=deadline,
                    settings=settings,
                )
            )
        except trio.TooSlowError:
            raise SignalingFailedError(f"{target.url} did not answer within {connect_timeout} s") from None
        except ConnectionRejected as error:
            raise SignalingFailedError(
                f"{target.url} refuses the WebSocket with HTTP status {error.status_code}", status=error.status_code
            ) from error
        except (OSError, trio.BrokenResourceError) as error:
            raise SignalingFailedError(f"{target.url} cannot be reached: {_explanation(error)}") from error
        yield signaling


async def _shake_hands(
    stream: LastingStream | trio.SSLStream[LastingStream],
    target: WebSocketTarget,
    max_message_size: int,
    nursery: trio.Nursery,
) -> WebSocketConnection:
    if isinstance(stream, trio.SSLStream):
        await stream.do_handshake()
    return await wrap_client_stream(
        nursery,
        stream,  # type: ignore[arg-type]  # any stream will do, as its documentation says
        target.authority,
        target.resource,
        subprotocols=None if target.subprotocol is None else [target.subprotocol],
        extra_headers=list(target.headers),
        message_queue_size=0,
        max_message_size=max_message_size,
    )


def _remote_address(connected: trio.SocketStream) -> Address | None:
    try:
        host, port = connected.socket.getpeername()[:2]
    except OSError:
        return None  # reset already, which the handshake will find out
    return host, port


def _explanation(error: BaseException) -> str:
    """What to say of an error: Trio raises a BrokenResourceError without a text because of an SSLError with one."""
    while not str(error) and error.__cause__ is not None:
        error = error.__cause__
    return str(error) or type(error).__name__
