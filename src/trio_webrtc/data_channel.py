"""DataChannel: a Trio channel of messages to one peer."""

from types import TracebackType
from typing import Final, Literal, NoReturn, Self, final

import trio

from trio_webrtc.core.datachannel import Channel, ChannelState
from trio_webrtc.core.peer import PeerCore
from trio_webrtc.errors import CloseReason, UsageError
from trio_webrtc.shell.path import Path

Priority = Literal["very-low", "low", "medium", "high"]
"""W3C's RTCPriorityType."""

PRIORITY_WEIGHTS: Final[dict[Priority, int]] = {"very-low": 128, "low": 256, "medium": 512, "high": 1024}
"""RFC 8831 §6.4."""

ReadyState = Literal["connecting", "open", "closing", "closed"]
"""W3C's RTCDataChannelState."""

MAX_UTF8_BYTES: Final = 4
"""The most bytes that one character takes."""

_protected = trio.lowlevel.enable_ki_protection


@final
class DataChannel(trio.abc.Channel[str | bytes]):
    """Messages to and from the peer: `str` travels as text, `bytes` as binary, and each arrives whole (RFC 8831).

    Made by `PeerConnection.create_data_channel()`, or received from `PeerConnection.incoming_data_channels`. It is an
    async context manager, which closes it, and an async iterator over what arrives until the peer closes it.

    An unread message takes up part of the receive window, which all channels of a connection share: a channel that
    nobody reads stops the others in the end.
    """

    def __init__(self, channel: Channel, core: PeerCore, path: Path, *, high_water_mark: int) -> None:
        self._channel = channel
        self._core = core
        self._path = path
        self._high_water_mark = high_water_mark
        self._closed_here = False
        self._arrivals = trio.lowlevel.ParkingLot()
        self._progress = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<DataChannel {self.label!r} id={self.id} {self.ready_state}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    # -- what was agreed -----------------------------------------------------------------------------------------

    @property
    def label(self) -> str:
        """The name given by whoever created the channel; any text, and not necessarily unique."""
        return self._channel.parameters.label

    @property
    def protocol(self) -> str:
        """The application's subprotocol, or ""."""
        return self._channel.parameters.protocol

    @property
    def id(self) -> int | None:
        """The SCTP stream, from 0 to 65534; None until the peer's description has decided whose ids are even."""
        return self._channel.id

    @property
    def ordered(self) -> bool:
        """Whether messages arrive in the order in which they were sent."""
        return self._channel.parameters.ordered

    @property
    def max_retransmits(self) -> int | None:
        """How often a lost message is sent again before it is given up; None: as often as it takes."""
        return self._channel.parameters.max_retransmits

    @property
    def max_packet_life_time(self) -> float | None:
        """Seconds after which a message that has not arrived is given up; None: never."""
        return self._channel.parameters.max_packet_life_time

    @property
    def negotiated(self) -> bool:
        """Whether the applications agreed on the channel by themselves."""
        return self._channel.parameters.negotiated

    @property
    def priority(self) -> Priority:
        """How it stands to the other channels, as told to the peer."""
        weight = self._channel.parameters.priority
        return min(PRIORITY_WEIGHTS, key=lambda name: (abs(PRIORITY_WEIGHTS[name] - weight), PRIORITY_WEIGHTS[name]))

    # -- how it is -----------------------------------------------------------------------------------------------

    @property
    def ready_state(self) -> ReadyState:
        """W3C's string for the channel's state."""
        return self._channel.state.value

    @property
    def buffered_amount(self) -> int:
        """Bytes accepted by `send()` and not yet handed to the network for the first time."""
        return self._core.channels.buffered_amount(self._channel)

    @property
    def max_message_size(self) -> int | None:
        """The largest message the peer takes, in bytes; None if it set no limit (RFC 8841 §6)."""
        return self._core.signalling.remote_max_message_size or None

    # -- sending -------------------------------------------------------------------------------------------------

    async def send(self, value: str | bytes) -> None:
        """Send one message, waiting until the channel is open and has room.

        If cancelled, nothing was sent. Raises UsageError if the message is larger than `max_message_size`,
        trio.ClosedResourceError if the channel was closed on this side, and trio.BrokenResourceError if the peer
        closed it or was lost.
        """
        await trio.lowlevel.checkpoint()
        while not self._accept(value):
            await self._progress.park()

    def send_nowait(self, value: str | bytes) -> None:
        """Send one message, or raise trio.WouldBlock if `send()` would have to wait; else like `send()`."""
        if not self._accept(value):
            raise trio.WouldBlock

    @_protected
    def _accept(self, value: str | bytes) -> bool:
        """Take a message if there is room for it now."""
        if not isinstance(value, str):
            value = _as_bytes(value)
        channel = self._channel
        match channel.state:
            case ChannelState.OPEN if self._core.channels.can_send(channel) and not self._closed_here:
                self._check_size(value)
                if self._core.channels.backlog(channel) >= self._high_water_mark:
                    return False
                self._core.channels.send(channel, value, trio.current_time())
                self._path.touched()
                return True
            case ChannelState.CONNECTING if not self._closed_here:
                return False
            case _:
                self._raise_why_closed()

    def _check_size(self, value: str | bytes) -> None:
        limit = self._core.signalling.remote_max_message_size
        if not limit or len(value) * MAX_UTF8_BYTES <= limit:
            return
        size = len(value.encode()) if isinstance(value, str) else len(value)
        if size > limit:
            raise UsageError(f"a message of {size} bytes is too large: the peer takes {limit}; send it in parts")

    async def drain(self) -> None:
        """Wait until all that was sent is acknowledged by the peer, or given up as the channel's reliability says.

        Cancelling changes nothing. Raises trio.BrokenResourceError if the channel ended before.
        """
        await trio.lowlevel.checkpoint()
        while self._channel.state is ChannelState.CONNECTING or self._core.channels.unacknowledged(self._channel):
            await self._progress.park()
        if self._channel.lost_data:
            self._raise_why_closed()

    # -- receiving -----------------------------------------------------------------------------------------------

    async def receive(self) -> str | bytes:
        """Wait for the next message.

        If cancelled, no message is lost. Raises trio.EndOfChannel when the peer has closed the channel or the
        connection and all that came before has been received, trio.BrokenResourceError if the peer was lost, and
        trio.ClosedResourceError if the channel was closed on this side.
        """
        await trio.lowlevel.checkpoint()
        while (message := self._take()) is None:
            await self._arrivals.park()
        return message

    def receive_nowait(self) -> str | bytes:
        """The next message, or trio.WouldBlock if `receive()` would have to wait; else like `receive()`."""
        if (message := self._take()) is None:
            raise trio.WouldBlock
        return message

    @_protected
    def _take(self) -> str | bytes | None:
        if self._closed_here or self._core.close_reason is CloseReason.LOCAL:
            raise trio.ClosedResourceError
        channel = self._channel
        if (message := self._core.channels.take(channel, trio.current_time())) is not None:
            if self._core.channels.has_news_for_peer:
                self._path.touched()
            return message
        if channel.is_wanted and not channel.incoming_ended and channel.state is not ChannelState.CLOSED:
            return None
        if channel.error is None:
            raise trio.EndOfChannel
        self._raise_why_closed()

    # -- waiting and ending --------------------------------------------------------------------------------------

    async def wait_open(self) -> None:
        """Wait until messages can be sent. Cancelling changes nothing; raises like `send()` if it never will be."""
        await trio.lowlevel.checkpoint()
        while self._channel.state is ChannelState.CONNECTING:
            await self._progress.park()
        if self._channel.state is not ChannelState.OPEN:
            self._raise_why_closed()

    async def wait_closed(self) -> None:
        """Wait until the channel is closed in both directions. Cancelling changes nothing."""
        await trio.lowlevel.checkpoint()
        while self._channel.state is not ChannelState.CLOSED:
            await self._progress.park()

    async def aclose(self) -> None:
        """Close the channel; the peer sees its end after all that was sent.

        Never waits for the network: from now on `send()` and `receive()` raise trio.ClosedResourceError, and the
        stream is reset as soon as what was sent is acknowledged (RFC 8831 §6.7). `wait_closed()` waits for that.
        Closing twice is harmless, and so is cancelling: the channel is closed all the same.
        """
        self._close()
        await trio.lowlevel.checkpoint()

    @_protected
    def _close(self) -> None:
        if not self._closed_here:
            self._closed_here = True
            self._core.channels.close(self._channel, trio.current_time())
            self._path.touched()
            self._arrivals.unpark_all()
            self._progress.unpark_all()

    # -- the connection's side -----------------------------------------------------------------------------------

    def wake(self) -> None:
        """Wake whoever waits for what has changed; called by the connection when the core has news."""
        channel = self._channel
        if channel.inbox:
            self._arrivals.unpark(count=len(channel.inbox))
        if channel.state is not ChannelState.OPEN:
            self._arrivals.unpark_all()
            self._progress.unpark_all()
        elif self._core.channels.backlog(channel) <= self._high_water_mark // 2:
            self._progress.unpark_all()

    def _raise_why_closed(self) -> NoReturn:
        if self._closed_here or self._core.close_reason is CloseReason.LOCAL:
            raise trio.ClosedResourceError
        explanation = self._channel.error or "the peer closed the data channel"
        raise trio.BrokenResourceError(explanation) from self._core.error


def _as_bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise TypeError(f"a message is str or bytes, not {type(value).__name__}")
