"""Signalling within one program: two ends in memory."""

from typing import Final, final

import trio

from trio_webrtc.core.contract import Address
from trio_webrtc.signaling.channel import Signaling
from trio_webrtc.signaling.messages import SignalingMessage, check_message

MAX_UNREAD_MESSAGES: Final = 64
"""Messages on their way in one direction; `send()` waits while there are so many."""

NORMAL_CLOSURE: Final = 1000
"""RFC 6455 §7.4.1."""


def open_memory_signaling() -> tuple[Signaling, Signaling]:
    """Two ends of one channel: what is sent into either comes out of the other.

    Once one end is closed, the other still receives what was sent before. The ends hold nothing but memory: to forget
    to close one costs nothing.
    """
    to_right, from_left = trio.open_memory_channel[SignalingMessage](MAX_UNREAD_MESSAGES)
    to_left, from_right = trio.open_memory_channel[SignalingMessage](MAX_UNREAD_MESSAGES)
    return MemorySignaling(to_right, from_right), MemorySignaling(to_left, from_left)


@final
class MemorySignaling(Signaling):
    """One of the two ends."""

    def __init__(
        self,
        outgoing: trio.MemorySendChannel[SignalingMessage],
        incoming: trio.MemoryReceiveChannel[SignalingMessage],
    ) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._has_ended = False

    @property
    def close_code(self) -> int | None:
        """1000 (RFC 6455 §7.4.1) once either end was closed and this one knows; None before."""
        return NORMAL_CLOSURE if self._has_ended else None

    @property
    def close_reason(self) -> str | None:
        """Nothing is ever said about it: "" after the end, None before."""
        return "" if self._has_ended else None

    @property
    def remote_address(self) -> Address | None:
        """None: memory has no addresses."""
        return None

    async def send(self, value: SignalingMessage) -> None:
        """Send one message, waiting while too many are unread.

        If cancelled, nothing was sent. Raises UsageError if it is no message, trio.ClosedResourceError if this end was
        closed, and trio.BrokenResourceError if the other was.
        """
        check_message(value)
        await self._outgoing.send(value)

    async def receive(self) -> SignalingMessage:
        """Wait for the next message.

        If cancelled, none is lost. Raises trio.EndOfChannel when the other end was closed and all that was sent
        before has been received, and trio.ClosedResourceError if this end was closed.
        """
        try:
            return await self._incoming.receive()
        except trio.EndOfChannel:
            self._has_ended = True
            raise

    async def aclose(self) -> None:
        """Close this end; the other receives what was sent, and then the end. Harmless when it is closed already."""
        self._has_ended = True
        self._outgoing.close()
        self._incoming.close()
        await trio.lowlevel.checkpoint()
