"""Signaling: the channel by which two peers swap descriptions and candidates, whatever carries it."""

from abc import abstractmethod
from typing import Final

import trio

from trio_webrtc.core.contract import Address
from trio_webrtc.signaling.close_codes import NORMAL_CLOSURE
from trio_webrtc.signaling.messages import SignalingMessage
from trio_webrtc.subscriptions import Replay

MAX_UNREAD_MESSAGES: Final = 64
"""How many may have arrived and not been received; while there are so many, the other side has to wait."""


class Signaling(trio.abc.Channel[SignalingMessage]):
    """Messages to and from the other side, in order, each whole.

    It is an asynchronous iterator over what arrives until the other side, or the way to it, has ended; whatever
    arrived before the end is received before the end is told. It is an asynchronous context manager, which closes it.
    """

    @abstractmethod
    async def aclose(self, code: int = NORMAL_CLOSURE, reason: str = "") -> None:
        """Close it, telling the other side a close code (RFC 6455 §7.4) and a reason. Harmless when it is closed.

        Raises UsageError if the code is none, from 1000 to 4999, or the reason no Unicode text. A WebSocket has room
        for 123 bytes of reason, and says 1000 for 1005 and 1006, which are never sent.
        """

    @property
    @abstractmethod
    def close_code(self) -> int | None:
        """Why it ended (RFC 6455 §7.4.1), 1006 if without a goodbye; None while it has not ended."""

    @property
    @abstractmethod
    def close_reason(self) -> str | None:
        """What was said with the close code, possibly ""; None for as long as `close_code` is."""

    @property
    @abstractmethod
    def remote_address(self) -> Address | None:
        """The address of the other side; None where there is none, as in memory or between two connections."""

    def reconnections(self) -> trio.abc.ReceiveChannel[int]:
        """How often the way to the other side has been made anew: each time it is, the new count.

        Messages may have been lost each time: whoever negotiates has to offer again. A slow reader gets the latest
        count; the channel ends with the signalling. Signalling that never comes back ends it at once.
        """
        never: Replay[int] = Replay()
        never.end()
        return never.subscribe()
