"""Signalling within one program: two ends in memory."""

from dataclasses import dataclass
from typing import final

import trio

from trio_webrtc.core.contract import Address
from trio_webrtc.signaling.channel import MAX_UNREAD_MESSAGES, Signaling
from trio_webrtc.signaling.close_codes import NORMAL_CLOSURE, check_goodbye
from trio_webrtc.signaling.messages import SignalingMessage, check_message


def open_memory_signaling() -> tuple[Signaling, Signaling]:
    """Two ends of one channel: what is sent into either comes out of the other.

    Once one end is closed, the other still receives what was sent before. The ends hold nothing but memory: to forget
    to close one costs nothing.
    """
    to_right, from_left = trio.open_memory_channel[SignalingMessage](MAX_UNREAD_MESSAGES)
    to_left, from_right = trio.open_memory_channel[SignalingMessage](MAX_UNREAD_MESSAGES)
    farewell = _Farewell()
    return MemorySignaling(to_right, from_right, farewell), MemorySignaling(to_left, from_left, farewell)


@dataclass(slots=True)
class _Farewell:
    """What was said by the end that was closed first; None while both are open."""

    code: int | None = None
    reason: str | None = None


@final
class MemorySignaling(Signaling):
    """One of the two ends."""

    def __init__(
        self,
        outgoing: trio.MemorySendChannel[SignalingMessage],
        incoming: trio.MemoryReceiveChannel[SignalingMessage],
        farewell: _Farewell,
    ) -> None:
        self._outgoing = outgoing
        self._incoming = incoming
        self._farewell = farewell

    @property
    def close_code(self) -> int | None:
        """The code with which one end was closed; None while both are open."""
        return self._farewell.code

    @property
    def close_reason(self) -> str | None:
        """What was said with the close code, possibly ""; None while both ends are open."""
        return self._farewell.reason

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
        return await self._incoming.receive()

    async def aclose(self, code: int = NORMAL_CLOSURE, reason: str = "") -> None:
        """Close this end; the other receives what was sent, and then the end. Harmless when it is closed already.

        Raises UsageError if the code is none, from 1000 to 4999, or the reason no Unicode text.
        """
        check_goodbye(code, reason)
        if self._farewell.code is None:
            self._farewell.code, self._farewell.reason = code, reason
        self._outgoing.close()
        self._incoming.close()
        await trio.lowlevel.checkpoint()
