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

from trio_webrtc.shell.unwrapping import UnwrappingNursery
from trio_webrtc.signaling.transport import LastingStream

ShakeHands: TypeAlias = Callable[[trio.Nursery], Awaitable[WebSocketConnection]]
"""Does the opening handshake, and has trio-websocket's reader run in the nursery, which is given nothing else."""

_logger: Final = logging.getLogger(__name__)


class Reader:
    """The task in which one connection's reader runs."""

    def __init__(self, shake_hands: ShakeHands, transport: LastingStream, *, handshake_deadline: float) -> None:
        self.cancel_scope = trio.CancelScope()
        """What ends it. Nothing else does after the handshake: the goodbye of who is cancelled needs it, too."""
        self.done = trio.Event()
        """Set when there is nothing left to read, or nobody to read it."""
        self._shake_hands = shake_hands
        self._transport = transport
        self._handshake_deadline = handshake_deadline
        self._connection: WebSocketConnection | None = None
        self._settled = trio.Event()

    async def run(self) -> None:
        """Do the opening handshake, then read to the end.

        Raises:
            trio.TooSlowError: the handshake was not done by its deadline.
            trio.BrokenResourceError: the other side ended the connection during the handshake, or does not speak the
                protocol. What else goes wrong in the handshake is raised as it is; what does later, is logged.
        """
        try:
            with self.cancel_scope:
                async with UnwrappingNursery() as nursery:
                    with trio.fail_at(self._handshake_deadline):
                        self._connection = await _shake_hands(self._shake_hands, nursery, self._transport)
                    self.cancel_scope.shield = True
                    self._settled.set()
        except Exception as error:
            if self._connection is None:
                _raise_handshake_error(error)
            level = logging.WARNING if self._connection.closed is None else logging.DEBUG
            _logger.log(level, "The reader of a WebSocket connection ended with %r", error)
        finally:
            self._settled.set()
            self.done.set()

    async def wait_connected(self) -> WebSocketConnection:
        """Wait for the end of the handshake; to be called in the body of the nursery in which `run()` has been started.

        If cancelled when the handshake is done already, gives the connection all the same: it is owed a goodbye.
        """
        with trio.CancelScope(shield=True):  # what cancels this, cancels the handshake
            await self._settled.wait()
        while self._connection is None:
            await trio.sleep_forever()  # until the nursery ends, with the reason
        return self._connection


def _raise_handshake_error(error: Exception) -> NoReturn:
    if isinstance(error, h11.ProtocolError | wsproto.utilities.ProtocolError):
        # Also where the other side broke it: a client's reader goes on to refuse, which only a server can.
        raise trio.BrokenResourceError("the other side does not speak WebSocket as it has to") from error
    raise error


async def _shake_hands(shake_hands: ShakeHands, nursery: trio.Nursery, transport: LastingStream) -> WebSocketConnection:
    """Do the handshake, or notice that the other side has ended: trio-websocket would wait on."""
    connection = None
    async with UnwrappingNursery() as watch:
        watch.start_soon(_cancel_at_end, transport, watch.cancel_scope)
        connection = await shake_hands(nursery)
        watch.cancel_scope.cancel()
    if connection is None:
        raise trio.BrokenResourceError("the connection ended during the WebSocket handshake")
    return connection


async def _cancel_at_end(transport: LastingStream, cancel_scope: trio.CancelScope) -> None:
    await transport.ended.wait()
    cancel_scope.cancel()
