"""Messages that wait to be sent, and the streams they wait on. The one place that decides whose turn it is."""

from collections import deque
from collections.abc import Collection

from trio_webrtc.core.sctp.counters import Counters
from trio_webrtc.core.sctp.settings import MESSAGE_OVERHEAD
from trio_webrtc.core.serial import add16


class OutgoingStream:
    """One direction of a stream, and what is known of its progress."""

    __slots__ = ("abandoned", "buffered", "id", "is_resetting", "messages", "next_seq", "unacknowledged")

    def __init__(self, stream_id: int) -> None:
        self.id = stream_id
        self.next_seq = 0
        self.messages: deque[OutgoingMessage] = deque()
        self.buffered = 0
        """Bytes accepted and not yet sent for the first time."""
        self.unacknowledged = 0
        """Bytes accepted and neither acknowledged nor abandoned."""
        self.abandoned = 0
        """Chunks that were given up, and for which the peer may still be waiting."""
        self.is_resetting = False

    @property
    def backlog(self) -> int:
        """What it costs to hold what is buffered: a million messages of a byte are more than a megabyte."""
        return self.buffered + MESSAGE_OVERHEAD * len(self.messages)


class OutgoingMessage:
    """A message on its way out: what the caller wants of it, and how far it has got."""

    __slots__ = (
        "data",
        "expires_at",
        "first_tsn",
        "last_tsn",
        "max_transmissions",
        "offset",
        "ppid",
        "stream",
        "stream_seq",
        "unordered",
    )

    def __init__(
        self,
        stream: OutgoingStream,
        ppid: int,
        data: bytes,
        *,
        unordered: bool,
        max_transmissions: int | None,
        expires_at: float | None,
    ) -> None:
        self.stream = stream
        self.ppid = ppid
        self.data = data
        self.unordered = unordered
        self.max_transmissions = max_transmissions
        self.expires_at = expires_at
        self.offset = 0
        """Bytes of it that have been sent at least once."""
        self.stream_seq = 0
        self.first_tsn = self.last_tsn = 0
        """The TSNs it occupies, once `offset` is not 0."""

    def is_spent(self, transmissions: int, now: float) -> bool:
        """Whether a fragment of it, sent so many times, is not to be sent again (RFC 3758 §3.5, RFC 7496 §3)."""
        return (self.max_transmissions is not None and transmissions >= self.max_transmissions) or (
            self.expires_at is not None and now >= self.expires_at
        )


class SendQueue:
    """Takes turns between streams, at the borders of messages: fragments may not be interleaved (RFC 9260 §6.9).

    Weighting streams by priority would go into `_next_message`, and nowhere else.
    How much may wait here is decided above, where a sender can be made to wait: see `OutgoingStream.backlog`.
    """

    def __init__(self, counters: Counters) -> None:
        self.streams: dict[int, OutgoingStream] = {}
        self.current: OutgoingMessage | None = None
        """The message whose fragments are being sent."""
        self.unacknowledged_total = 0
        self.progressed: set[int] = set()
        """Streams whose amounts have changed since somebody last looked."""
        self._counters = counters
        self._turns: deque[OutgoingStream] = deque()

    def __bool__(self) -> bool:
        return self.current is not None or bool(self._turns)

    def stream(self, stream_id: int) -> OutgoingStream:
        """The stream with that identifier."""
        stream = self.streams.get(stream_id)
        if stream is None:
            stream = self.streams[stream_id] = OutgoingStream(stream_id)
        return stream

    def add(self, message: OutgoingMessage) -> None:
        """Put a message behind those of its stream, and its stream behind the others, unless it waits already."""
        stream, size = message.stream, len(message.data)
        if not stream.messages:
            self._turns.append(stream)
        stream.messages.append(message)
        stream.buffered += size
        stream.unacknowledged += size
        self.unacknowledged_total += size

    def front(self, now: float) -> OutgoingMessage | None:
        """The message to send from now: the one begun, or else the next one whose turn and time it is."""
        current = self.current
        if current is None or (not current.offset and current.is_spent(0, now)):
            if current is not None:
                self._drop_expired(current)
            self.current = current = self._next_message(now)
        return current

    def fragment_sent(self, message: OutgoingMessage, size: int) -> None:
        """Account for the next `size` bytes of the current message; whoever calls this has sent them."""
        stream = message.stream
        if message.offset == 0 and not message.unordered:
            message.stream_seq = stream.next_seq
            stream.next_seq = add16(stream.next_seq, 1)
        message.offset += size
        stream.buffered -= size
        self.progressed.add(stream.id)
        if message.offset == len(message.data):
            self.current = None

    def settled(self, message: OutgoingMessage, size: int) -> None:
        """So many bytes of a message are acknowledged, or given up after having been sent."""
        stream = message.stream
        stream.unacknowledged -= size
        self.unacknowledged_total -= size
        self.progressed.add(stream.id)

    def discard_rest(self, message: OutgoingMessage) -> None:
        """Forget what has not been sent of a message."""
        rest = len(message.data) - message.offset
        message.offset = len(message.data)
        message.stream.buffered -= rest
        self.settled(message, rest)
        if self.current is message:
            self.current = None

    def discard_unsent(self) -> None:
        """Forget every message that has not been begun."""
        if self.current is not None and not self.current.offset:
            self.discard_rest(self.current)
        for stream in self._turns:
            for message in stream.messages:
                self.discard_rest(message)
            stream.messages.clear()
        self._turns.clear()

    def discard_beyond(self, stream_count: int) -> None:
        """Forget the messages of streams that the association turns out not to have."""
        for stream in [stream for stream in self._turns if stream.id >= stream_count]:
            for message in stream.messages:
                self.discard_rest(message)
            stream.messages.clear()
            self._turns.remove(stream)

    def end(self) -> None:
        """Nothing will be sent any more. The messages go; the amounts stay, and tell what was not acknowledged."""
        for stream in self.streams.values():
            stream.messages.clear()
        self._turns.clear()
        self.current = None

    def start_afresh(self) -> tuple[int, ...]:
        """The association has restarted: sequence numbers too. What had been sent is lost; return on which streams."""
        losses = [stream.id for stream in self.streams.values() if stream.unacknowledged > stream.buffered]
        if self.current is not None and self.current.offset:
            self.discard_rest(self.current)
        for stream in self.streams.values():
            stream.next_seq = stream.abandoned = 0
            stream.is_resetting = False
            lost = stream.unacknowledged - stream.buffered
            stream.unacknowledged -= lost
            self.unacknowledged_total -= lost
            self.progressed.add(stream.id)
        return tuple(losses)

    def take_progress(self) -> set[int]:
        """The streams whose amounts have changed since the last call."""
        progressed, self.progressed = self.progressed, set()
        return progressed

    def settled_streams(self, stream_ids: Collection[int]) -> list[int]:
        """Those of some streams on which nothing waits: the peer has everything, or does not wait for it either."""
        streams = [(id_, self.streams.get(id_)) for id_ in stream_ids]
        return [id_ for id_, stream in streams if stream is None or not (stream.unacknowledged or stream.abandoned)]

    def _next_message(self, now: float) -> OutgoingMessage | None:
        turns = self._turns
        while turns:
            stream = turns.popleft()
            message = stream.messages.popleft()
            if stream.messages:
                turns.append(stream)
            if not message.is_spent(0, now):
                return message
            self._drop_expired(message)
        return None

    def _drop_expired(self, message: OutgoingMessage) -> None:
        """RFC 3758 §3.5 A1: nothing was sent of it, so the peer need not hear of it."""
        self.discard_rest(message)
        self._counters.abandoned_messages += 1
