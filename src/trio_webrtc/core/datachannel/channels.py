"""All data channels of one peer: opening, carrying messages, closing (RFC 8831 §6, RFC 8832 §6).

Messages stay here until the application takes them, and count against the association's receive window for so long:
a slow reader slows the sender, and nothing grows. The window is one for all channels of the association.
"""

import enum
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Final, assert_never

from trio_webrtc.core.contract import MalformedPacketError, TimerTable
from trio_webrtc.core.datachannel.channel import Channel, ChannelParameters, ChannelState
from trio_webrtc.core.datachannel.establishment import ACK_MESSAGE, MessageType, OpenMessage, PayloadProtocol
from trio_webrtc.core.sctp import (
    Aborted,
    Association,
    Established,
    Failed,
    IncomingStreamsReset,
    Message,
    MessageTooLarge,
    OutgoingResetRefused,
    OutgoingResetRequested,
    OutgoingStreamsReset,
    Restarted,
    ShutDown,
    among,
)
from trio_webrtc.errors import UsageError

MAX_STREAM_ID: Final = 65_534
"""RFC 8832 §6: stream 65535 is not to be used."""

MAX_REFUSALS: Final = 4096
"""Channels of the peer's that are being refused at a time, or a batch more; then it can open no others until it has
confirmed some."""

MAX_EARLY_BYTES: Final = 65_536
"""What may wait for the application to create the negotiated channel that it belongs to."""

WINDOW_PATIENCE: Final = 5.0
"""Seconds that unread messages may hold the receive window shut before the application is told."""


@dataclass(frozen=True, slots=True)
class ChannelArrived:
    """The peer has opened a channel."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class ChannelsChanged:
    """There is something new on these channels: messages, room to send, an acknowledgement, another state."""

    channels: tuple[Channel, ...]


@dataclass(frozen=True, slots=True)
class ChannelRefused:
    """The peer asked for a channel that it cannot have."""

    id: int
    reason: str


@dataclass(frozen=True, slots=True)
class WindowHeldShut:
    """Unread messages of this channel, more than of any other, keep the peer from sending on all of them."""

    channel: Channel


@dataclass(frozen=True, slots=True)
class AssociationEstablished:
    """The association is up, and the channels that waited for it are open."""


@dataclass(frozen=True, slots=True)
class AssociationEnded:
    """There will be no more data: the association is gone; `error` says why, unless somebody said goodbye."""

    error: str | None


ChannelEvent = (
    AssociationEstablished | ChannelArrived | ChannelsChanged | ChannelRefused | WindowHeldShut | AssociationEnded
)


class _Timer(enum.Enum):
    WINDOW_SHUT = enum.auto()


class DataChannels:
    """The channels of one association. Before there is one, they wait for it."""

    def __init__(self, *, max_channels: int) -> None:
        self._max_channels = max_channels
        self._association: Association | None = None
        self._id_parity: int | None = None
        self._by_id: dict[int, Channel] = {}
        self._without_id: list[Channel] = []
        self._refused: set[int] = set()
        """Streams being reset because the peer's wish for a channel was refused: free when that is confirmed."""
        self._next_life: dict[int, list[Message | None]] = {}
        """What the peer sends on streams that it has started afresh while ours are still being reset: it may know
        before us that this is done, and use them again. None stands for another reset."""
        self._unread_at_end: dict[Channel, None] = {}
        """Channels that are closed, with messages that still wait to be taken, and take up the window for so long."""
        self._early: dict[int, list[Message]] = {}
        self._early_bytes = 0
        self._events: deque[ChannelEvent] = deque()
        self._changed: dict[Channel, None] = {}
        self._timers: TimerTable[_Timer] = TimerTable()
        self._window_warning_given = False
        self.opened = 0
        self.closed = 0

    # -- commands ------------------------------------------------------------------------------------------------

    def create(self, parameters: ChannelParameters, stream_id: int | None, now: float) -> Channel:
        """Make a channel; it opens as soon as the association is up.

        Raises UsageError if its id is taken, or if there are as many channels as there may be.
        """
        if len(self._by_id) + len(self._without_id) >= self._max_channels:
            raise UsageError(f"there are {self._max_channels} data channels (max_channels); close one before the next")
        if stream_id is not None and self._is_taken(stream_id):
            raise UsageError(f"data channel id {stream_id} is in use; choose another, or close that channel first")
        channel = Channel(parameters=parameters, id=stream_id, may_send_unordered=parameters.negotiated)
        self.opened += 1
        if stream_id is not None:
            self._by_id[stream_id] = channel
        elif self._id_parity is None:
            self._without_id.append(channel)
        else:
            self._give_id(channel)
        if self._association is not None and self._association.is_established:
            self._open(channel, now)
        return channel

    def choose_ids(self, *, is_dtls_client: bool) -> None:
        """Give ids: even ones if this side is the DTLS client, odd ones if it is the server (RFC 8832 §6).

        As long as there is no association the roles may change; then those who were given ids get others.
        """
        parity = 0 if is_dtls_client else 1
        if self._id_parity not in (None, parity):
            self._take_ids_back()
        self._id_parity = parity
        for channel in self._without_id:
            self._give_id(channel)
        self._without_id.clear()

    def attach(self, association: Association) -> None:
        """Use this association from now on."""
        self._association = association

    def can_send(self, channel: Channel) -> bool:
        """Whether messages are accepted on a channel: it is open, and the peer has not begun to shut down."""
        is_open = channel.state is ChannelState.OPEN
        return is_open and self._association is not None and self._association.accepts_messages

    def send(self, channel: Channel, data: str | bytes, now: float) -> None:
        """Send one message on a channel that can."""
        association, stream_id = self._transport_of(channel)
        if isinstance(data, str):
            payload, ppid, ppid_if_empty = data.encode(), PayloadProtocol.STRING, PayloadProtocol.EMPTY_STRING
        else:
            payload, ppid, ppid_if_empty = data, PayloadProtocol.BINARY, PayloadProtocol.EMPTY_BINARY
        parameters = channel.parameters
        channel.messages_sent += 1
        channel.bytes_sent += len(payload)
        if not payload:  # RFC 8831 §6.6: SCTP has no empty messages; one byte stands for nothing
            payload, ppid = b"\0", ppid_if_empty
        association.send(
            stream_id,
            ppid,
            payload,
            unordered=not parameters.ordered and channel.may_send_unordered,
            max_retransmits=parameters.max_retransmits,
            lifetime=parameters.max_packet_life_time,
            now=now,
        )

    def take(self, channel: Channel, now: float) -> str | bytes | None:
        """The next message of a channel, or None; taking it opens the receive window by its cost."""
        if not channel.inbox:
            return None
        message, cost = channel.inbox.popleft()
        self._release(cost, now)
        if not channel.inbox:
            self._unread_at_end.pop(channel, None)
        return message

    @property
    def has_news_for_peer(self) -> bool:
        """Whether the peer is to hear that there is room again: seldom, for one message makes little difference."""
        return self._association is not None and self._association.has_ready_sack

    def close(self, channel: Channel, now: float, *, error: str | None = None) -> None:
        """End a channel: refuse what comes in, send what was accepted, then reset the stream (RFC 8831 §6.7)."""
        channel.error = channel.error or error
        self._discard_inbox(channel, now)
        self._start_closing(channel, now)

    def refuse(self, channel: Channel, reason: str, now: float) -> None:
        """Turn down a channel that has arrived: nothing is left of it but that its stream is being reset."""
        assert channel.id is not None
        self._discard_inbox(channel, now)
        if channel.state is ChannelState.OPEN:
            del self._by_id[channel.id]
            self._finish(channel, reason)
            self._reset_refused(channel.id, now)

    def buffered_amount(self, channel: Channel) -> int:
        """Bytes accepted and not yet sent for the first time (W3C's bufferedAmount)."""
        if self._association is None or channel.id is None or channel.state is ChannelState.CLOSED:
            return 0
        return self._association.buffered_amount(channel.id)

    def backlog(self, channel: Channel) -> int:
        """What it costs to hold that: by this a sender is made to wait."""
        if self._association is None or channel.id is None or channel.state is ChannelState.CLOSED:
            return 0
        return self._association.backlog(channel.id)

    def unacknowledged(self, channel: Channel) -> int:
        """Bytes accepted and neither acknowledged nor given up."""
        if self._association is None or channel.id is None or channel.state is ChannelState.CLOSED:
            return 0
        return self._association.unacknowledged(channel.id)

    def end(self, error: str | None) -> None:
        """The association is gone, or never will be: every channel ends, though what arrived can still be read."""
        for channel in self:
            channel.lost_data |= self.unacknowledged(channel) > 0
            self._finish(channel, error)
        self._by_id.clear()
        self._without_id.clear()
        self._refused.clear()
        self._next_life.clear()
        self._early.clear()
        self._early_bytes = 0
        self._timers.clear()

    # -- in ------------------------------------------------------------------------------------------------------

    def process(self, now: float) -> None:
        """Take over what the association has to tell, in its order: messages belong before or behind an end."""
        association = self._association
        if association is None:
            return
        while (event := association.poll_event()) is not None:
            match event:
                case Message():
                    self._on_message(event, now)
                case Established():
                    self._events.append(AssociationEstablished())
                    for channel in [*self._by_id.values()]:
                        self._open(channel, now)
                case IncomingStreamsReset(stream_ids):
                    for used in (self._by_id, self._refused, self._early):
                        for stream_id in among(stream_ids, used):
                            self._on_incoming_reset(stream_id, now)
                case OutgoingStreamsReset(stream_ids) | OutgoingResetRefused(stream_ids):
                    for stream_id in stream_ids:
                        self._on_outgoing_reset(stream_id, now)
                case OutgoingResetRequested(stream_ids):
                    # A peer closes a channel by resetting its own direction (RFC 8831 §6.7), but may do this.
                    for channel in self._named(stream_ids):
                        self._start_closing(channel, now)
                case MessageTooLarge(stream_id, size):
                    if (channel_ := self._by_id.get(stream_id)) is not None:
                        self.close(channel_, now, error=f"the peer sent a message of {size} bytes, which is too large")
                case Restarted(streams_with_losses):
                    # RFC 9260 §5.2.4.1: the peer has forgotten every stream. So its channels end here, and what still
                    # waits to be sent on them must not turn up on streams that mean something else by now.
                    for channel in self._named(streams_with_losses):
                        channel.lost_data = True
                    self._drop_early(now)
                    self.end("the peer restarted its SCTP association")
                    association.drop_unsent()
                case ShutDown():
                    self._events.append(AssociationEnded(None))
                case Aborted(by_peer, reason):
                    self._events.append(
                        AssociationEnded(None if by_peer else f"the SCTP association was aborted: {reason}")
                    )
                case Failed(reason):
                    self._events.append(AssociationEnded(reason))
                case _:
                    assert_never(event)
        for stream_id in association.poll_progress():
            if (progressed := self._by_id.get(stream_id)) is not None:
                self._changed[progressed] = None
        self._watch_window(association, now)

    def handle_timeout(self, now: float) -> None:
        """Fire the timers that are due."""
        for timer in self._timers.pop_expired(now):
            match timer:
                case _Timer.WINDOW_SHUT:
                    self._warn_of_unread()

    # -- out -----------------------------------------------------------------------------------------------------

    def poll_event(self) -> ChannelEvent | None:
        """The next event, or None."""
        if self._events:
            return self._events.popleft()
        if self._changed:
            changed = ChannelsChanged(tuple(self._changed))
            self._changed.clear()
            return changed
        return None

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is next wanted."""
        return self._timers.earliest()

    def __iter__(self) -> Iterator[Channel]:
        return iter((*self._by_id.values(), *self._without_id))

    # -- opening -------------------------------------------------------------------------------------------------

    def _take_ids_back(self) -> None:
        for stream_id, channel in list(self._by_id.items()):
            if not channel.parameters.negotiated:
                del self._by_id[stream_id]
                channel.id = None
                self._without_id.append(channel)

    def _give_id(self, channel: Channel) -> None:
        assert self._id_parity is not None
        taken = self._by_id.keys() | self._refused
        free = (number for number in count(self._id_parity, 2) if number not in taken)
        channel.id = next(number for number in free if not self._is_resetting(number))
        self._by_id[channel.id] = channel

    def _open(self, channel: Channel, now: float) -> None:
        if channel.state is not ChannelState.CONNECTING:
            return
        _, stream_id = self._transport_of(channel)
        if not self._is_usable(stream_id):
            del self._by_id[stream_id]
            self._finish(channel, f"stream {stream_id} is beyond what the peer accepts")
            return
        channel.state = ChannelState.OPEN
        self._changed[channel] = None
        if not channel.parameters.negotiated:
            # RFC 8832 §6: data may follow the OPEN at once, without waiting for its ACK.
            self._establish(stream_id, _open_message(channel.parameters).encode(), now)
        self._replay_early(channel, now)

    def _establish(self, stream_id: int, payload: bytes, now: float) -> None:
        assert self._association is not None
        if self._association.accepts_messages:  # an OPEN may share its packet with the peer's ABORT
            self._association.send(stream_id, PayloadProtocol.ESTABLISHMENT, payload, now=now)

    def _on_establishment(self, message: Message, now: float) -> None:
        stream_id, channel = message.stream_id, self._by_id.get(message.stream_id)
        self._release(message.cost, now)
        if message.data[:1] == ACK_MESSAGE:
            if channel is not None:
                channel.may_send_unordered = True
            return
        if message.data[:1] != bytes([MessageType.OPEN]):
            return  # RFC 8832 §8.2.1 leaves room for other types; they are not for us
        if stream_id in self._refused or len(self._refused) >= MAX_REFUSALS:
            return  # an answer cannot be sent while our stream is being reset; the refusal is under way
        try:
            wish = OpenMessage.decode(message.data)
        except MalformedPacketError as error:
            return self._refuse(stream_id, str(error), now)
        if channel is not None:
            return self.close(channel, now, error="the peer opened the channel a second time")
        if stream_id % 2 == self._id_parity:
            return self._refuse(stream_id, "the id is one of this side's (RFC 8832 §6)", now)
        if len(self._by_id) >= self._max_channels:
            return self._refuse(stream_id, f"there are {self._max_channels} channels already", now)
        if not self._is_usable(stream_id):
            return self._refuse(stream_id, "the stream does not exist in the other direction", now)
        if self._is_resetting(stream_id):
            return self._refuse(stream_id, "the peer wants the other direction of its stream to end", now)
        parameters = ChannelParameters(
            label=wish.label,
            protocol=wish.protocol,
            ordered=wish.ordered,
            max_retransmits=wish.max_retransmits,
            max_packet_life_time=wish.max_packet_life_time,
            priority=wish.priority,
        )
        channel = Channel(parameters=parameters, id=stream_id, state=ChannelState.OPEN, may_send_unordered=True)
        self._by_id[stream_id] = channel
        self.opened += 1
        self._establish(stream_id, ACK_MESSAGE, now)
        self._events.append(ChannelArrived(channel))
        self._replay_early(channel, now)

    def _refuse(self, stream_id: int, reason: str, now: float) -> None:
        self._reset_refused(stream_id, now)
        self._events.append(ChannelRefused(stream_id, reason))

    def _reset_refused(self, stream_id: int, now: float) -> None:
        """RFC 8832 §6: what cannot be opened is closed, by a reset of its stream."""
        assert self._association is not None
        if self._is_usable(stream_id):
            self._refused.add(stream_id)
            self._association.reset_streams([stream_id], now)

    def _is_resetting(self, stream_id: int) -> bool:
        return self._association is not None and self._association.is_resetting(stream_id)

    def _is_usable(self, stream_id: int) -> bool:
        """Whether this side may send on a stream."""
        assert self._association is not None
        return stream_id <= MAX_STREAM_ID and stream_id < self._association.outbound_streams

    def _is_taken(self, stream_id: int) -> bool:
        return stream_id in self._by_id or stream_id in self._refused or self._is_resetting(stream_id)

    def _transport_of(self, channel: Channel) -> tuple[Association, int]:
        """The association and the stream of a channel that has both."""
        assert self._association is not None
        assert channel.id is not None
        return self._association, channel.id

    # -- carrying ------------------------------------------------------------------------------------------------

    def _on_message(self, message: Message, now: float) -> None:
        if self._next_life and message.stream_id in self._next_life:
            return self._next_life[message.stream_id].append(message)
        if message.ppid == PayloadProtocol.ESTABLISHMENT:
            return self._on_establishment(message, now)
        channel = self._by_id.get(message.stream_id)
        if channel is None and message.stream_id in self._refused:
            return self._release(message.cost, now)
        if channel is None or channel.state is ChannelState.CONNECTING:
            return self._keep_early(message, now)
        if not channel.is_wanted:
            return self._release(message.cost, now)
        size = len(message.data)
        match message.ppid:
            case PayloadProtocol.BINARY:
                value: str | bytes = message.data
            case PayloadProtocol.STRING:
                try:
                    value = message.data.decode()
                except UnicodeDecodeError:
                    self._release(message.cost, now)
                    return self.close(channel, now, error="the peer sent text that is not UTF-8")
            case PayloadProtocol.EMPTY_STRING:
                value, size = "", 0
            case PayloadProtocol.EMPTY_BINARY:
                value, size = b"", 0
            case _:
                return self._release(message.cost, now)  # RFC 8831 §6.6 knows no others
        channel.may_send_unordered = True
        channel.messages_received += 1
        channel.bytes_received += size
        channel.inbox.append((value, message.cost))
        self._changed[channel] = None

    def _keep_early(self, message: Message, now: float) -> None:
        """A message for a channel that the applications have agreed on, and ours has not created yet."""
        if self._early_bytes + message.cost > MAX_EARLY_BYTES:
            return self._release(message.cost, now)
        self._early_bytes += message.cost
        self._early.setdefault(message.stream_id, []).append(message)

    def _replay_early(self, channel: Channel, now: float) -> None:
        assert channel.id is not None
        for message in self._early.pop(channel.id, ()):
            self._early_bytes -= message.cost
            self._on_message(message, now)

    def _drop_early(self, now: float) -> None:
        """Every stream has ended before anybody here asked for its channel."""
        waiting: Iterable[Message | None] = chain(*self._early.values(), *self._next_life.values())
        for message in waiting:
            if message is not None:
                self._release(message.cost, now)
        self._early.clear()
        self._early_bytes = 0

    def _release(self, cost: int, now: float) -> None:
        assert self._association is not None
        self._association.release(cost, now)

    def _watch_window(self, association: Association, now: float) -> None:
        if association.is_window_shut and not self._window_warning_given:
            self._timers.set_if_off(_Timer.WINDOW_SHUT, now + WINDOW_PATIENCE)
        else:
            self._timers.cancel(_Timer.WINDOW_SHUT)

    def _warn_of_unread(self) -> None:
        """The window has been shut for long, unless the application has opened it since the last packet."""
        channels = [channel for channel in (*self._by_id.values(), *self._unread_at_end) if channel.inbox]
        if channels and self._association is not None and self._association.is_window_shut:
            self._window_warning_given = True
            self._events.append(WindowHeldShut(max(channels, key=_unread_cost)))

    # -- closing -------------------------------------------------------------------------------------------------

    def _start_closing(self, channel: Channel, now: float) -> None:
        match channel.state:
            case ChannelState.CONNECTING:
                # Nothing has been said about it yet, so nothing needs to be unsaid.
                if channel.id is not None:
                    self._by_id.pop(channel.id, None)
                elif channel in self._without_id:
                    self._without_id.remove(channel)
                self._finish(channel, channel.error)
            case ChannelState.OPEN:
                association, stream_id = self._transport_of(channel)
                channel.state = ChannelState.CLOSING
                self._changed[channel] = None
                association.reset_streams([stream_id], now)
            case ChannelState.CLOSING | ChannelState.CLOSED:
                pass
            case _:
                assert_never(channel.state)

    def _on_incoming_reset(self, stream_id: int, now: float) -> None:
        """The peer's direction has ended, and starts afresh."""
        if (next_life := self._next_life.get(stream_id)) is not None:
            if next_life and next_life[-1] is not None:
                next_life.append(None)
            return
        if (channel := self._by_id.get(stream_id)) is not None:
            channel.incoming_ended = True
            self._start_closing(channel, now)
            self._finish_if_both_ended(channel)
        for message in self._early.pop(stream_id, ()):
            self._early_bytes -= message.cost
            self._release(message.cost, now)
        if stream_id in self._by_id or stream_id in self._refused:
            self._next_life[stream_id] = []

    def _on_outgoing_reset(self, stream_id: int, now: float) -> None:
        """Our direction has ended, and starts afresh."""
        if (channel := self._by_id.get(stream_id)) is not None:
            channel.outgoing_ended = True
            self._finish_if_both_ended(channel)
        self._refused.discard(stream_id)
        for message in self._next_life.pop(stream_id, ()):
            if message is None:
                self._on_incoming_reset(stream_id, now)
            else:
                self._on_message(message, now)

    def _discard_inbox(self, channel: Channel, now: float) -> None:
        """Nobody will take what has arrived, nor what will."""
        channel.is_wanted = False
        while channel.inbox:
            self._release(channel.inbox.popleft()[1], now)
        self._unread_at_end.pop(channel, None)

    def _finish_if_both_ended(self, channel: Channel) -> None:
        """RFC 8831 §6.7: an id is free again when both directions are reset."""
        if channel.incoming_ended and channel.outgoing_ended and channel.id is not None:
            self._by_id.pop(channel.id, None)
            self._finish(channel, channel.error)

    def _finish(self, channel: Channel, error: str | None) -> None:
        if channel.state is not ChannelState.CLOSED:
            channel.state = ChannelState.CLOSED
            channel.error = channel.error or error
            self.closed += 1
            self._changed[channel] = None
            if channel.inbox:
                self._unread_at_end[channel] = None

    def _named(self, stream_ids: Sequence[int]) -> list[Channel]:
        return [self._by_id[stream_id] for stream_id in among(stream_ids, self._by_id)]


def _unread_cost(channel: Channel) -> int:
    return sum(cost for _, cost in channel.inbox)


def _open_message(parameters: ChannelParameters) -> OpenMessage:
    return OpenMessage(
        label=parameters.label,
        protocol=parameters.protocol,
        ordered=parameters.ordered,
        max_retransmits=parameters.max_retransmits,
        max_packet_life_time=parameters.max_packet_life_time,
        priority=parameters.priority,
    )
