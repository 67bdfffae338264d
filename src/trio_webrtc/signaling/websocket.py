"""A WebSocket as signalling: the client's and the server's side of one connection (RFC 6455).

trio-websocket speaks the protocol. What it does not do by itself is done by how it is used:

- It forgets unread messages when sending fails, so it stands on a LastingStream, where sending never fails.
- It forgets them when a message is too large, so its own queue is none at all: what it has read is here at once.
- A cancelled `send_message()` leaves half a frame behind, so only one task of ours calls it, which is cancelled when
  nothing matters any more.
- It keeps the TCP connection that the peer has ended, so it is freed here as soon as that is known.
- Its reader fails at times, and does not notice the end of a handshake: see `Reader`.
"""

import math
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn, final

import trio
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection

from trio_webrtc.core.contract import Address
from trio_webrtc.errors import FailureReason, PeerError, UsageError
from trio_webrtc.shell.scope import scope
from trio_webrtc.shell.unwrapping import UnwrappingNursery, is_only_cancelled
from trio_webrtc.signaling.channel import MAX_UNREAD_MESSAGES, Signaling
from trio_webrtc.signaling.close_codes import (
    ABNORMAL_CLOSURE,
    GOING_AWAY,
    INTERNAL_ERROR,
    NORMAL_CLOSURE,
    POLICY_VIOLATION,
    UNSUPPORTED_DATA,
    check_goodbye,
)
from trio_webrtc.signaling.messages import (
    MAX_MESSAGE_SIZE,
    InvalidMessageError,
    SignalingMessage,
    bye_because_of,
    decode_message,
    encode_message,
)
from trio_webrtc.signaling.reader import Reader, ShakeHands
from trio_webrtc.signaling.transport import LastingStream

MAX_UNREAD_BYTES: Final = 1024 * 1024
"""What may have arrived and not been received, beside MAX_UNREAD_MESSAGES, before reading stops."""

MAX_UNSENT_MESSAGES: Final = 64
"""Messages accepted and not yet given to the network; `send()` waits while there are so many."""

_protected = trio.lowlevel.enable_ki_protection


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """How one connection is kept and ended.

    Raises:
        UsageError: a duration or the size is not positive, or the size more than MAX_MESSAGE_SIZE.
    """

    ping_interval: float = 20.0
    """Seconds between pings."""
    ping_timeout: float = 20.0
    """Seconds in which a ping has to be answered; a peer that answers none is lost."""
    close_timeout: float = 1.0
    """Seconds that the goodbye may take: sending what was accepted, and the closing handshake."""
    max_message_size: int = MAX_MESSAGE_SIZE
    """Characters in a message that is received, at most MAX_MESSAGE_SIZE."""

    def __post_init__(self) -> None:
        for name in ("ping_interval", "ping_timeout", "close_timeout", "max_message_size"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}={getattr(self, name)!r}: it has to be more than 0")
        if self.max_message_size > MAX_MESSAGE_SIZE:
            raise UsageError(
                f"max_message_size={self.max_message_size}: no message has more than {MAX_MESSAGE_SIZE} bytes"
            )


@dataclass(frozen=True, slots=True)
class _End:
    """Why a connection has ended: what was said, and whether it was given up on this side because of an error."""

    code: int
    reason: str
    error: PeerError | None = None


@scope
async def open_websocket_session(
    shake_hands: ShakeHands,
    stream: trio.abc.Stream,
    transport: LastingStream,
    *,
    remote_address: Address | None,
    handshake_deadline: float = math.inf,
    settings: SessionSettings | None = None,
    flooded: trio.Event | None = None,
) -> AsyncIterator["WebSocketSignaling"]:
    """Own one connection from its opening handshake to its end.

    However the scope is left, the other side is told with a close frame, shielded from cancellation for at most
    `settings.close_timeout` seconds: 1000 on the clean way, 1001 if cancelled, 1011 if the body of a server's scope
    raised. The end of the connection does not cancel the body.

    Args:
        shake_hands: does the opening handshake over `stream`.
        stream: what the WebSocket is carried by: TLS, or the transport itself. From here on it is owned.
        transport: the lowest stream.
        remote_address: what `WebSocketSignaling.remote_address` is to say.
        handshake_deadline: when to give the handshake up, on Trio's clock.
        settings: None for the defaults.
        flooded: is set when the other side sends more frames than it may that bring next to nothing.

    Raises:
        trio.TooSlowError: the handshake was not done in time.
        trio.BrokenResourceError: the other side ended the connection during the handshake.
    """
    settings = settings or SessionSettings()
    flooded = trio.Event() if flooded is None else flooded
    try:
        async with UnwrappingNursery() as nursery:
            reader = Reader(shake_hands, transport, handshake_deadline=handshake_deadline)
            nursery.start_soon(reader.run)
            connection = await reader.connect()
            signaling = WebSocketSignaling(connection, stream, transport, remote_address, settings, reader.done)
            nursery.start_soon(signaling._run, flooded)
            code = NORMAL_CLOSURE
            try:
                yield signaling
            except BaseException as error:
                code = INTERNAL_ERROR if connection.is_server and not is_only_cancelled(error) else GOING_AWAY
                raise
            finally:
                await signaling.aclose(code)  # noqa: ASYNC102 - it shields itself
                reader.cancel_scope.cancel()
    finally:
        await trio.aclose_forcefully(transport)  # noqa: ASYNC102 - which does not wait


@final
class WebSocketSignaling(Signaling):
    """Signalling over one WebSocket; made by `open_websocket_signaling()` and `serve_websocket_signaling()`.

    A ping is sent every `ping_interval` seconds, and a peer that neither answers nor sends anything for `ping_timeout`
    seconds is lost: one that is gone, and one that does not read. What nobody receives here stops the sender in the
    end; while it does, the peer's silence is not held against it.
    """

    def __init__(
        self,
        connection: WebSocketConnection,
        stream: trio.abc.Stream,
        transport: LastingStream,
        remote_address: Address | None,
        settings: SessionSettings,
        reader_done: trio.Event,
    ) -> None:
        self._connection = connection
        self._stream = stream
        self._transport = transport
        self._remote_address = remote_address
        self._settings = settings
        self._reader_done = reader_done
        self._inbox: deque[tuple[SignalingMessage, int]] = deque()
        self._unread_bytes = 0
        self._outbox: deque[str] = deque()
        self._arrivals = trio.lowlevel.ParkingLot()
        self._inbox_room = trio.lowlevel.ParkingLot()
        self._outbox_news = trio.lowlevel.ParkingLot()
        self._patience = trio.CancelScope()
        self._closed_here = False
        self._verdict: _End | None = None
        self._end: _End | None = None
        self._is_ending = False
        self._freed = trio.Event()
        transport.on_arrival = self._be_patient

    def __repr__(self) -> str:
        state = "open" if self._end is None else f"ended {self._end.code}"
        return f"<WebSocketSignaling {self._remote_address} {state}>"

    @property
    def close_code(self) -> int | None:
        """Why it ended (RFC 6455 §7.4.1), 1006 if without a goodbye; None while it has not ended."""
        return None if self._end is None else self._end.code

    @property
    def close_reason(self) -> str | None:
        """What was said with the close code, possibly ""; None while it has not ended."""
        return None if self._end is None else self._end.reason

    @property
    def remote_address(self) -> Address | None:
        """The address of the other side, as it was when the connection was made."""
        return self._remote_address

    @property
    def subprotocol(self) -> str | None:
        """What the two sides agreed to speak (RFC 6455 §1.9); None if nothing was said about it."""
        return self._connection.subprotocol

    @property
    def path(self) -> str | None:
        """What the client asked for: path and query, such as "/rooms/7?name=Ada"."""
        return self._connection.path

    # -- sending -------------------------------------------------------------------------------------------------

    async def send(self, value: SignalingMessage) -> None:
        """Send one message, waiting while too many are unsent. Any number of tasks may do so.

        If cancelled, nothing was sent. Raises UsageError if it is no message or too large, trio.ClosedResourceError if
        this side was closed, and trio.BrokenResourceError if the other side, or the way to it, has ended.
        """
        await trio.lowlevel.checkpoint()
        text = encode_message(value)
        while not self._accept(text):
            await self._outbox_news.park()

    @_protected
    def _accept(self, text: str) -> bool:
        if self._closed_here:
            raise trio.ClosedResourceError
        if self._is_lost:
            self._raise_why_lost()
        if len(self._outbox) >= MAX_UNSENT_MESSAGES:
            return False
        self._outbox.append(text)
        self._outbox_news.unpark_all()
        return True

    # -- receiving -----------------------------------------------------------------------------------------------

    async def receive(self) -> SignalingMessage:
        """Wait for the next message.

        If cancelled, none is lost. When all that arrived has been received: raises trio.EndOfChannel if the other side
        has ended, in whichever way, and trio.BrokenResourceError if it was given up, because it sent something that is
        no message (caused by InvalidMessageError) or answered no ping. Raises trio.ClosedResourceError if this side
        was closed.
        """
        await trio.lowlevel.checkpoint()
        while (message := self._take()) is None:
            await self._arrivals.park()
        return message

    @_protected
    def _take(self) -> SignalingMessage | None:
        if self._closed_here:
            raise trio.ClosedResourceError
        if self._inbox:
            message, size = self._inbox.popleft()
            self._unread_bytes -= size
            if not self._inbox_is_full:
                self._inbox_room.unpark_all()
            return message
        if self._end is None:
            return None
        if self._end.error is None:
            raise trio.EndOfChannel
        self._raise_why_lost()

    def _raise_why_lost(self) -> NoReturn:
        end = self._end or self._verdict or _end_of(self._connection.closed)
        reason = f": {end.reason}" if end.reason else ""
        raise trio.BrokenResourceError(f"the signalling has ended with {end.code}{reason}") from end.error

    @property
    def _is_lost(self) -> bool:
        """Whether nothing can be sent any more; `receive()` may have yet to tell."""
        return self._is_ending or self._connection.closed is not None or self._transport.loss is not None

    @property
    def _inbox_is_full(self) -> bool:
        return len(self._inbox) >= MAX_UNREAD_MESSAGES or self._unread_bytes >= MAX_UNREAD_BYTES

    # -- ending --------------------------------------------------------------------------------------------------

    @_protected
    async def aclose(self, code: int = NORMAL_CLOSURE, reason: str = "") -> None:
        """Close it: what was accepted is sent, then the other side is told the code and the reason.

        Takes at most `close_timeout` seconds, shielded from cancellation. Whoever closes it again waits for that.
        Raises UsageError if the code is none, from 1000 to 4999, or the reason no Unicode text.
        """
        check_goodbye(code, reason)
        self._closed_here = True
        if self._end is None:
            self._end = _End(code, reason)
        self._inbox.clear()
        self._unread_bytes = 0
        self._wake_all()
        await self._say_goodbye(code, reason)

    async def _say_goodbye(self, code: int, reason: str) -> None:
        """Send what waits, do the closing handshake, and free the connection; all in `close_timeout` seconds."""
        if self._is_ending:
            with trio.CancelScope(shield=True):
                await self._freed.wait()
            return
        self._is_ending = True
        try:
            with trio.move_on_after(self._settings.close_timeout, shield=True):
                while self._outbox and not self._reader_done.is_set():
                    await self._outbox_news.park()
                await self._connection.aclose(code, reason)
                # RFC 6455 §7.1.1: the server is to end the TCP connection first. And where the peer was not waited
                # for, its unread bytes would make a reset of our end, which can overtake our close frame.
                await self._reader_done.wait()
                await self._discard_the_rest()
                await self._stream.aclose()
        finally:
            with trio.CancelScope(shield=True):  # or a cancelled caller would leave the others waiting for ever
                await trio.aclose_forcefully(self._stream)
            self._freed.set()
            self._wake_all()

    async def _discard_the_rest(self) -> None:
        with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
            while await self._stream.receive_some(65_536):
                pass

    def _wake_all(self) -> None:
        for lot in (self._arrivals, self._inbox_room, self._outbox_news):
            lot.unpark_all()

    # -- the connection's own tasks ------------------------------------------------------------------------------

    @_protected
    async def _run(self, flooded: trio.Event) -> None:
        """Carry messages until the end."""
        # The goodbye needs these tasks, also when the scope is cancelled; they end with it.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send_all)
                nursery.start_soon(self._keep_alive)
                nursery.start_soon(self._reject_flood, flooded)
                await self._receive_all()
                nursery.cancel_scope.cancel()

    async def _receive_all(self) -> None:
        while True:
            try:
                text = _text(await self._connection.get_message())
                message = decode_message(text)
            except ConnectionClosed as closed:
                await self._end_with(self._verdict or _end_of(closed.reason))
                return
            except InvalidMessageError as error:
                bye = bye_because_of(error)
                self._outbox.append(encode_message(bye))
                self._outbox_news.unpark_all()
                await self._end_with(_End(error.close_code, bye.reason, error))
                return
            if not self._closed_here:
                size = len(text.encode())
                self._inbox.append((message, size))
                self._unread_bytes += size
                self._arrivals.unpark()
                await self._wait_for_inbox_room()

    async def _wait_for_inbox_room(self) -> None:
        while self._inbox_is_full:
            self._patience.deadline = math.inf
            await self._inbox_room.park()
        self._be_patient()

    def _be_patient(self) -> None:
        """Whoever sends is there, and what it sends before its answer to a ping may take long to come and be read."""
        if not self._inbox_is_full:  # or nobody reads what it sends, and it has for ever
            self._patience.deadline = trio.current_time() + self._settings.ping_timeout

    async def _end_with(self, end: _End) -> None:
        if self._end is None:
            self._end = end
        self._wake_all()
        await self._say_goodbye(end.code, end.reason)

    @_protected
    async def _send_all(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                while not self._outbox:
                    await self._outbox_news.park()
                await self._connection.send_message(self._outbox[0])
                self._outbox.popleft()
                self._outbox_news.unpark_all()
        self._outbox.clear()
        self._wake_all()

    @_protected
    async def _keep_alive(self) -> None:
        with suppress(ConnectionClosed):
            while True:
                await trio.sleep(self._settings.ping_interval)
                held_up = self._inbox_is_full
                deadline = math.inf if held_up else trio.current_time() + self._settings.ping_timeout
                self._patience = trio.CancelScope(deadline=deadline)
                with self._patience:
                    await self._connection.ping()
                if self._patience.cancelled_caught:
                    self._give_up(f"the other side answered no ping for {self._settings.ping_timeout} s")
                    await trio.aclose_forcefully(self._stream)

    @_protected
    async def _reject_flood(self, flooded: trio.Event) -> None:
        await flooded.wait()
        reason = "too many frames that bring next to nothing"
        await self._end_with(_End(POLICY_VIOLATION, reason, PeerError(reason, FailureReason.PROTOCOL_VIOLATION)))

    def _give_up(self, why: str) -> None:
        self._verdict = _End(ABNORMAL_CLOSURE, why, PeerError(why, FailureReason.SIGNALING_FAILED))


def _text(message: str | bytes) -> str:
    if isinstance(message, bytes):
        raise InvalidMessageError("a message is text, not binary", close_code=UNSUPPORTED_DATA)
    return message


def _end_of(reason: CloseReason | None) -> _End:
    if reason is None:
        return _End(ABNORMAL_CLOSURE, "")
    return _End(reason.code, reason.reason or "")
