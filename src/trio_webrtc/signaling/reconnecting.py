"""Signalling that comes back: one WebSocket after the other, behind one channel.

A server that restarts, or a network that changes, ends a WebSocket; the peer connection that it negotiated lives on.
This channel outlives the WebSocket, connects again, and tells when it did, so that who negotiates can offer again.
"""

import math
import random
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias, final

import trio

from trio_webrtc.core.contract import Address
from trio_webrtc.errors import UsageError
from trio_webrtc.shell.scope import scope
from trio_webrtc.shell.unwrapping import UnwrappingNursery
from trio_webrtc.signaling.channel import MAX_UNREAD_MESSAGES, Signaling
from trio_webrtc.signaling.client import SignalingFailedError, open_signaling_to
from trio_webrtc.signaling.close_codes import (
    ABNORMAL_CLOSURE,
    BAD_GATEWAY,
    GOING_AWAY,
    INTERNAL_ERROR,
    NORMAL_CLOSURE,
    SERVICE_RESTART,
    TRY_AGAIN_LATER,
    check_goodbye,
)
from trio_webrtc.signaling.messages import MAX_MESSAGE_SIZE, SignalingMessage, check_message
from trio_webrtc.signaling.target import WebSocketTarget
from trio_webrtc.signaling.websocket import SessionSettings
from trio_webrtc.subscriptions import Latest

STABLE_AFTER: Final = 10.0
"""Seconds that a connection has to last for the delays to begin anew: a server may accept and fail at once."""

COME_BACK_CODES: Final = frozenset(
    (GOING_AWAY, ABNORMAL_CLOSURE, INTERNAL_ERROR, SERVICE_RESTART, TRY_AGAIN_LATER, BAD_GATEWAY)
)
"""After these a server is connected to again. All other codes are its decision to end, or its complaint, which would be
the same the next time."""

PASSING_STATUSES: Final = frozenset({408, 425, 429})
"""RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4: of the refusals that blame the client, those that time alone cures."""

Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[Signaling, bool | None]]
"""Makes a scope of one connection, which raises SignalingFailedError if there is none to be had."""


@dataclass(frozen=True, slots=True)
class Connecting:
    """The server is being tried."""

    attempt: int
    """Counted from 1, since the last connection that lasted."""


@dataclass(frozen=True, slots=True)
class Connected:
    """Messages travel."""

    connection: int
    """How many connections there have been, this one included."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An attempt failed or a connection was lost; the next attempt is due after the delay."""

    attempt: int
    """The attempt that failed, or after which the connection was lost."""
    delay: float
    """Seconds."""
    reason: str
    """What went wrong, for people to read."""


ReconnectingState: TypeAlias = Connecting | Connected | Waiting


@scope
async def open_reconnecting_signaling(
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
    first_delay: float = 0.5,
    max_delay: float = 30.0,
    rng: random.Random | None = None,
) -> AsyncIterator["ReconnectingSignaling"]:
    """Own signalling by WebSockets to a server, which is connected to again whenever it is lost.

    The scope is entered at once; the server is connected to meanwhile. All but the last three arguments are those of
    `open_websocket_signaling()`, and what else is said there holds for each connection.

    Args:
        url: where the server is, `ws://` or `wss://`.
        ssl_context: how to speak TLS with a `wss://` server; None for the system's trust.
        subprotocol: what is to be spoken over the WebSocket, if the server should know.
        headers: further lines for each request.
        connect_timeout: seconds for name, TCP, TLS and the WebSocket's handshake together.
        ping_interval: seconds between pings.
        ping_timeout: seconds in which a ping has to be answered.
        close_timeout: seconds that the goodbye may take.
        max_message_size: characters in a message that is received, at most MAX_MESSAGE_SIZE.
        first_delay: seconds before the first attempt after a failure; each further one waits twice as long.
        max_delay: the most seconds between two attempts.
        rng: shortens each delay to between a half and the whole, so that the clients of a server that restarts do
            not come back all at once.

    Raises:
        UsageError: as with `open_websocket_signaling()`; or a delay is not positive.
    """
    target = WebSocketTarget.parse(url, ssl_context=ssl_context, subprotocol=subprotocol, headers=headers)
    settings = SessionSettings(
        ping_interval=ping_interval,
        ping_timeout=ping_timeout,
        close_timeout=close_timeout,
        max_message_size=max_message_size,
    )
    connect = partial(open_signaling_to, target, settings, connect_timeout=connect_timeout)
    async with keep_signaling_open(connect, first_delay=first_delay, max_delay=max_delay, rng=rng) as signaling:
        yield signaling


@scope
async def keep_signaling_open(
    connect: Connect,
    *,
    first_delay: float = 0.5,
    max_delay: float = 30.0,
    rng: random.Random | None = None,
) -> AsyncIterator["ReconnectingSignaling"]:
    """Own signalling by connections of any kind, made one after the other; `open_reconnecting_signaling()` otherwise.

    For URLs or headers that change from one connection to the next.

    Args:
        connect: makes a scope of one connection.
        first_delay: seconds before the first attempt after a failure; each further one waits twice as long.
        max_delay: the most seconds between two attempts.
        rng: shortens each delay to between a half and the whole.

    Raises:
        UsageError: a delay is no positive number of seconds.
    """
    if not 0 < first_delay <= max_delay:
        raise UsageError("first_delay is more than 0 seconds, and at most max_delay")
    signaling = ReconnectingSignaling(
        connect, first_delay=first_delay, max_delay=max_delay, rng=rng or random.SystemRandom()
    )
    async with UnwrappingNursery() as nursery:
        nursery.start_soon(signaling._run)
        code = GOING_AWAY
        try:
            yield signaling
            code = NORMAL_CLOSURE
        finally:
            await signaling.aclose(code)  # noqa: ASYNC102 - waits for what shields itself
            nursery.cancel_scope.cancel()


@final
class ReconnectingSignaling(Signaling):
    """Signalling that comes back; made by `open_reconnecting_signaling()`.

    It ends when it is closed on this side, when the server says that it is over (a close code that is not in
    COME_BACK_CODES), or when the server refuses for good (an HTTP status from 400 to 499 that time does not cure).

    What the server sent is received in order, over all connections. What was sent may be lost with a connection; that
    has happened is told by `reconnections()`.
    """

    def __init__(self, connect: Connect, *, first_delay: float, max_delay: float, rng: random.Random) -> None:
        self._connect = connect
        self._first_delay = first_delay
        self._max_delay = max_delay
        self._rng = rng
        self._current: Signaling | None = None
        self._remote_address: Address | None = None
        self._in_use_since = math.inf
        self._connections = 0
        self._outcome: tuple[int, str] | None = None
        self._refusal: SignalingFailedError | None = None
        self._closed_here = False
        self._arriving, self._arrived = trio.open_memory_channel[SignalingMessage](MAX_UNREAD_MESSAGES)
        self._states: Latest[ReconnectingState] = Latest(Connecting(1))
        self._reconnections = Latest(0)
        self._news = trio.lowlevel.ParkingLot()
        self._cancel_scope = trio.CancelScope()

    def __repr__(self) -> str:
        state = self._states.value if self._outcome is None else f"ended {self._outcome[0]}"
        return f"<ReconnectingSignaling {state}>"

    @property
    def close_code(self) -> int | None:
        """Why it ended for good; None while it has not."""
        return None if self._outcome is None else self._outcome[0]

    @property
    def close_reason(self) -> str | None:
        """What was said with the close code, possibly ""; None while it has not ended."""
        return None if self._outcome is None else self._outcome[1]

    @property
    def remote_address(self) -> Address | None:
        """The server's address in the latest connection; None before the first."""
        return self._remote_address

    def states(self) -> trio.abc.ReceiveChannel[ReconnectingState]:
        """The present state, then every later one; a slow reader gets the latest. Ends with the signalling."""
        return self._states.subscribe()

    def reconnections(self) -> trio.abc.ReceiveChannel[int]:
        """After each connection but the first, how many there have been besides it; a slow reader gets the latest."""
        return self._reconnections.subscribe(skip_present=True)

    async def send(self, value: SignalingMessage) -> None:
        """Send one message, waiting until there is a connection.

        If cancelled, nothing was sent. Raises UsageError if it is no message, trio.ClosedResourceError if this side
        was closed, and trio.BrokenResourceError if the server has ended it for good.
        """
        check_message(value)
        await trio.lowlevel.checkpoint()
        while True:
            if self._closed_here:
                raise trio.ClosedResourceError
            if self._outcome is not None:
                raise trio.BrokenResourceError(self._farewell()) from self._refusal
            if (current := self._current) is None:
                await self._news.park()
                continue
            try:
                return await current.send(value)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                if self._current is current:
                    self._current = None  # lost; what is unread of it is still being read

    async def receive(self) -> SignalingMessage:
        """Wait for the next message, over as many connections as it takes.

        If cancelled, none is lost. When all that arrived has been received: raises trio.EndOfChannel if the server has
        ended it for good, and trio.BrokenResourceError, caused by SignalingFailedError, if it refuses. Raises
        trio.ClosedResourceError if this side was closed.
        """
        try:
            return await self._arrived.receive()
        except trio.EndOfChannel:
            if self._refusal is not None:
                raise trio.BrokenResourceError(self._farewell()) from self._refusal
            raise

    @trio.lowlevel.enable_ki_protection
    async def aclose(self, code: int = NORMAL_CLOSURE, reason: str = "") -> None:
        """Close it, with the goodbye of the present connection. Harmless when it is closed already.

        Raises UsageError if the code is none, from 1000 to 4999, or the reason no Unicode text.
        """
        check_goodbye(code, reason)
        self._closed_here = True
        current = self._current
        self._arrived.close()
        self._finish(code, reason)
        if current is not None:
            await current.aclose(code, reason)
        self._cancel_scope.cancel()
        await trio.lowlevel.checkpoint()

    # -- the one task of its own ---------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def _run(self) -> None:
        """Connect again and again."""
        attempt = 0
        with self._cancel_scope:
            while True:
                attempt += 1
                self._states.set(Connecting(attempt))
                self._in_use_since = math.inf
                trouble = await self._connect_once()
                if self._is_over:
                    return
                if trio.current_time() - self._in_use_since >= STABLE_AFTER:
                    attempt = 1
                delay = self._delay(attempt)
                self._states.set(Waiting(attempt, delay, trouble))
                await trio.sleep(delay)

    async def _connect_once(self) -> str:
        """Use one connection for as long as it lasts; say what became of it."""
        try:
            async with self._connect() as connection:
                await self._use(connection)
                async for message in connection:
                    await self._arriving.send(message)
                code, reason = connection.close_code or ABNORMAL_CLOSURE, connection.close_reason or ""
        except SignalingFailedError as error:
            if error.status is not None and 400 <= error.status < 500 and error.status not in PASSING_STATUSES:
                self._refusal = error
                self._finish(ABNORMAL_CLOSURE, str(error))
            return str(error)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            return str(error)  # given up on this side: the server is silent, or talks nonsense
        finally:
            self._current = None
        if code not in COME_BACK_CODES:
            self._finish(code, reason)
        return f"the connection ended with {code}{': ' if reason else ''}{reason}"

    async def _use(self, connection: Signaling) -> None:
        self._in_use_since = trio.current_time()
        self._remote_address = connection.remote_address
        self._connections += 1
        self._states.set(Connected(self._connections))
        if self._connections > 1:
            self._reconnections.set(self._connections - 1)
            # Whoever follows these hears of it before anybody who waits to send goes on: what is still to be said then
            # can be told from what was said, perhaps in vain, by the last connection.
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()  # a turn has no order; of two, everybody has had one
        self._current = connection
        self._news.unpark_all()

    def _delay(self, attempt: int) -> float:
        doublings = min(attempt - 1, 32)  # more would not fit a float in the end
        return min(self._first_delay * float(2**doublings), self._max_delay) * self._rng.uniform(0.5, 1.0)

    def _finish(self, code: int, reason: str) -> None:
        """It is over for good; who waits is told, after what has arrived."""
        if self._outcome is None:
            self._outcome = code, reason
        self._arriving.close()
        self._states.end()
        self._reconnections.end()
        self._news.unpark_all()

    @property
    def _is_over(self) -> bool:
        return self._outcome is not None

    def _farewell(self) -> str:
        return f"the signalling has ended with {self.close_code}: {self.close_reason}"
