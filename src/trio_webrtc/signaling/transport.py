"""The TCP connection under a WebSocket, which gives out all that has arrived before it tells of its end.

A reset makes sending fail at once, while bytes that came before it still wait to be read. What stands above, TLS and
trio-websocket alike, takes a failure to send for the end of everything, and forgets what is unread. So sending never
fails here: what cannot be sent any more is dropped, and the end is told to who reads, when there is no more to read.
"""

from collections.abc import Callable
from typing import final

import trio


@final
class LastingStream(trio.abc.Stream):
    """A stream over another one, below TLS where there is TLS; in all else like it.

    `ended` is set when the end was read, or when it was closed on this side.
    """

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.ended = trio.Event()
        self.loss: trio.BrokenResourceError | None = None
        """Why nothing can be sent any more; None while it can."""
        self.on_arrival: Callable[[], None] | None = None
        """Is called whenever bytes have arrived, whether or not they make a whole message."""
        self._stream = stream

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send, or drop what cannot be sent: `loss` tells. Cancelled, some of it may have been sent."""
        if self.loss is not None:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError as error:
            self.loss = error

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room, or it is lost. Cancelling changes nothing."""
        try:
            await self._stream.wait_send_all_might_not_block()
        except trio.BrokenResourceError as error:
            self.loss = error

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What has arrived; b"" at the end, in whichever way it came. If cancelled, nothing is lost."""
        try:
            data = await self._stream.receive_some(max_bytes)
        except trio.BrokenResourceError as error:
            self.loss = error
            data = b""
        if not data:
            self.ended.set()
        elif self.on_arrival is not None:
            self.on_arrival()
        return data

    async def aclose(self) -> None:
        """Close it. Harmless when it is closed already."""
        self.ended.set()
        await self._stream.aclose()
