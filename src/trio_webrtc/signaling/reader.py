"""trio-websocket's reader, kept from everything else: from what goes wrong around it, and the other way round.

An exception in it would end the nursery in which it runs, and all that runs there; so it has one of its own. Nor does
it tell who waits for the end of the handshake that the connection has ended first.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn, TypeAlias

import h11
import trio
import wsproto.utilities
from trio_websocket import WebSocketConnection

from trio_webrtc.shell.reporting import excerpt
from trio_webrtc.shell.unwrapping import UnwrappingNursery
from trio_webrtc.signaling.transport import LastingStream

ShakeHands: TypeAlias = Callable[[trio.Nursery], Awaitable[WebSocketConnection]]
"""Does the opening handshake, and has trio-websocket's reader run in the nursery, which is given nothing else."""

_logger: Final = logging.getLogger(__name__)


class Reader:
    """The task in which one connection's reader runs, and the handshake by which it gets a connection."""

    def __init__(self, shake_hands: ShakeHands, transport: LastingStream, *, handshake_deadline: float) -> None:
        self.cancel_scope = trio.CancelScope(shield=True)
        """What ends it, and nothing else does: a goodbye needs it, also from who is cancelled."""
        self.done = trio.Event()
        """Set when there is nothing left to read, or nobody to read it."""
        self._shake_hands = shake_hands
        self._transport = transport
        self._handshake_deadline = handshake_deadline
        self._connection: WebSocketConnection | None = None
        self._nursery: trio.Nursery
        self._is_ready = trio.Event()
        self._settled = trio.Event()

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Have a nursery for the reader, given to `connect()`, until there is nothing left to read.

        Raises:
            trio.BrokenResourceError: the other side does not speak the protocol. What else goes wrong in the handshake
                is raised as it is; what does later, is logged.
        """
        try:
            with self.cancel_scope:
                async with UnwrappingNursery() as nursery:
                    self._nursery = nursery
                    self._is_ready.set()
                    await self._settled.wait()
        except Exception as error:
            if self._connection is None:
                _raise_handshake_error(error)
            level = logging.WARNING if self._connection.closed is None else logging.DEBUG
            _logger.log(level, "The reader of a WebSocket connection ended with %s", excerpt(repr(error)))
        finally:
            self.done.set()

    async def connect(self) -> WebSocketConnection:
        """Do the opening handshake; to be called in the body of the nursery in which `run()` has been started.

        If cancelled when the handshake is done already, gives the connection all the same: it is owed a goodbye.

        Raises:
            trio.TooSlowError: the handshake was not done by its deadline.
            trio.BrokenResourceError: the other side ended the connection during the handshake, or does not speak the
                protocol.
        """
        try:
            with trio.fail_at(self._handshake_deadline):
                await self._is_ready.wait()
                async with UnwrappingNursery() as watch:
                    watch.start_soon(_cancel_at_end, self._transport, watch.cancel_scope)
                    self._connection = await self._shake_hands(self._nursery)
                    watch.cancel_scope.shield = True
                    watch.cancel_scope.cancel()
            if self._connection is None:
                raise trio.BrokenResourceError("the connection ended during the WebSocket handshake")
        except BaseException as error:
            self.cancel_scope.cancel()
            if isinstance(error, Exception):
                _raise_handshake_error(error)
            raise
        self._settled.set()
        return self._connection


def _raise_handshake_error(error: Exception) -> NoReturn:
    if isinstance(error, h11.ProtocolError | wsproto.utilities.ProtocolError):
        # Also where the other side broke it: a client's reader goes on to refuse, which only a server can.
        raise trio.BrokenResourceError("the other side does not speak WebSocket as it has to") from error
    raise error


@trio.lowlevel.enable_ki_protection
async def _cancel_at_end(transport: LastingStream, cancel_scope: trio.CancelScope) -> None:
    await transport.ended.wait()
    cancel_scope.cancel()
