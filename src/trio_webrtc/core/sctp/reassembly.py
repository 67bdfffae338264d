"""Fragments become messages, and ordered messages are delivered in their order (RFC 9260 §6.5, §6.6, §6.9).

The fragments of a message have consecutive TSNs, so neighbours are joined as they arrive, with no search, whatever the
order. TSNs are unwrapped here. Everything held counts `MESSAGE_OVERHEAD` beside its bytes.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from trio_webrtc.core.sctp.causes import AssociationError, protocol_violation
from trio_webrtc.core.sctp.chunks.data import BEGINS, ENDS, UNORDERED, DataChunk
from trio_webrtc.core.sctp.context import Context
from trio_webrtc.core.sctp.events import Message, MessageTooLarge
from trio_webrtc.core.sctp.settings import MESSAGE_OVERHEAD
from trio_webrtc.core.sctp.stream_ids import among
from trio_webrtc.core.serial import add16, distance16

_WHOLE: Final = BEGINS | ENDS


class Fragments:
    """Neighbouring fragments of one message."""

    __slots__ = ("first_tsn", "flags", "last_tsn", "parts", "ppid", "size", "stream_id", "stream_seq")

    def __init__(self, tsn: int, chunk: DataChunk) -> None:
        self.first_tsn = self.last_tsn = tsn
        self.flags = chunk.flags
        self.stream_id = chunk.stream_id
        self.stream_seq = chunk.stream_seq
        self.ppid = chunk.ppid
        self.parts: list[bytes] | None = [chunk.payload]
        """None once the message has turned out to be too large: its fragments are counted, and not kept."""
        self.size = len(chunk.payload)

    @property
    def cost(self) -> int:
        """What these fragments count against the window."""
        return 0 if self.parts is None else self.size + MESSAGE_OVERHEAD * len(self.parts)

    def belongs_with(self, other: "Fragments") -> bool:
        """Whether both say that they are of one message."""
        same_stream = self.stream_id == other.stream_id and (self.flags ^ other.flags) & UNORDERED == 0
        return same_stream and (self.flags & UNORDERED != 0 or self.stream_seq == other.stream_seq)

    def append(self, other: "Fragments") -> None:
        """Join the fragments that follow these."""
        if not self.belongs_with(other):
            raise AssociationError(protocol_violation("neighbouring fragments of different messages"))
        self.last_tsn = other.last_tsn
        self.flags |= other.flags & ENDS
        self.size += other.size
        if self.parts is None or other.parts is None:
            self.parts = None
        elif len(other.parts) <= len(self.parts):
            self.parts.extend(other.parts)
        else:
            other.parts[:0] = self.parts
            self.parts = other.parts


@dataclass(slots=True)
class ResetBarrier:
    """The peer has announced to start some streams afresh after a TSN that has not been reached yet."""

    after_tsn: int
    stream_ids: Sequence[int]


class Reassembly:
    """Holds what cannot be delivered yet, and keeps account of what has been delivered and not been released."""

    def __init__(self, context: Context) -> None:
        self.held = 0
        """The cost of what cannot be delivered yet."""
        self.delivered = 0
        """The cost of what has been delivered and not been released."""
        self._context = context
        self._by_first: dict[int, Fragments] = {}
        self._by_last: dict[int, Fragments] = {}
        self._next_seq: dict[int, int] = {}
        self._out_of_order: dict[int, dict[int, Message | None]] = {}
        """Per stream, whole messages by sequence number; None stands for one that was too large."""
        self._barriers: deque[ResetBarrier] = deque()
        self._behind_barriers: list[Fragments] = []

    def add(self, tsn: int, chunk: DataChunk) -> None:
        """Take a chunk that has not arrived before."""
        if chunk.flags & _WHOLE == _WHOLE and not self._barriers:
            size = len(chunk.payload)
            if size <= self._context.settings.max_message_size:
                message = Message(chunk.stream_id, chunk.ppid, chunk.payload, size + MESSAGE_OVERHEAD)
                if chunk.flags & UNORDERED:
                    self._deliver(message)
                else:
                    self._deliver_in_order(chunk.stream_id, chunk.stream_seq, message)
                return
        fragments = self._join_neighbours(Fragments(tsn, chunk))
        if fragments.flags & _WHOLE == _WHOLE:
            self._complete(fragments)
        else:
            self._hold(fragments)

    def skip_to(self, cumulative_tsn: int, skipped: Iterable[tuple[int, int]], *, skipped_from: int) -> None:
        """The peer has given up all up to this TSN, and ordered messages up to these numbers (RFC 3758 §3.6).

        Up to `skipped_from`, nothing was missing before.
        """
        for fragments in self._held_between(skipped_from, cumulative_tsn):
            # What began before and still goes on behind it is the beginning of a message that may yet complete.
            continues = fragments.flags & BEGINS and fragments.last_tsn > cumulative_tsn
            if fragments.first_tsn <= cumulative_tsn and not continues:
                self._take_out(fragments)
        for stream_id, stream_seq in skipped:
            if distance16(self._next_seq.get(stream_id, 0), stream_seq) >= 0:
                self._skip_in_order(stream_id, stream_seq)

    def add_barrier(self, barrier: ResetBarrier) -> None:
        """Keep back what comes after the barrier on its streams (RFC 6525 §5.2.2)."""
        self._barriers.append(barrier)

    def pass_barrier(self) -> None:
        """The streams of the first barrier start afresh, from sequence number 0; what was kept behind it follows."""
        stream_ids = self._barriers.popleft().stream_ids
        for stream_id in among(stream_ids, self._next_seq):
            self._next_seq.pop(stream_id, None)  # a request may name a stream twice
        for stream_id in among(stream_ids, self._out_of_order):
            for message in self._out_of_order.pop(stream_id, {}).values():
                self.held -= message.cost if message is not None else 0
        behind, self._behind_barriers = self._behind_barriers, []
        for fragments in behind:
            self.held -= fragments.cost
            self._complete(fragments)

    # -- fragments -----------------------------------------------------------------------------------------------

    def _join_neighbours(self, new: Fragments) -> Fragments:
        before = None if new.flags & BEGINS else self._by_last.get(new.first_tsn - 1)
        if before is not None and not before.flags & ENDS:
            self._take_out(before)
            before.append(new)
            new = before
        after = None if new.flags & ENDS else self._by_first.get(new.last_tsn + 1)
        if after is not None and not after.flags & BEGINS:
            self._take_out(after)
            new.append(after)
        if new.parts is not None and new.size > self._context.settings.max_message_size:
            new.parts = None
            self._context.events.append(MessageTooLarge(new.stream_id, new.size))
        return new

    def _hold(self, fragments: Fragments) -> None:
        self._by_first[fragments.first_tsn] = self._by_last[fragments.last_tsn] = fragments
        self.held += fragments.cost

    def _held_between(self, complete_up_to: int, last_tsn: int) -> list[Fragments]:
        """What ends where nothing is missing any more, and what begins up to `last_tsn`: among all, or TSN by TSN."""
        if last_tsn - complete_up_to >= len(self._by_first):
            return [*self._by_first.values()]
        found = [self._by_last.get(complete_up_to)]
        found += [self._by_first.get(tsn) for tsn in range(complete_up_to + 1, last_tsn + 1)]
        return [fragments for fragments in found if fragments is not None]

    def _take_out(self, fragments: Fragments) -> None:
        del self._by_first[fragments.first_tsn], self._by_last[fragments.last_tsn]
        self.held -= fragments.cost

    # -- whole messages ------------------------------------------------------------------------------------------

    def _complete(self, whole: Fragments) -> None:
        stream_id = whole.stream_id
        for barrier in self._barriers:
            if whole.first_tsn > barrier.after_tsn and stream_id in barrier.stream_ids:
                self._behind_barriers.append(whole)
                self.held += whole.cost
                return
        message = None
        if whole.parts is not None:
            message = Message(stream_id, whole.ppid, b"".join(whole.parts), whole.size + MESSAGE_OVERHEAD)
        if not whole.flags & UNORDERED:
            self._deliver_in_order(stream_id, whole.stream_seq, message)
        elif message is not None:
            self._deliver(message)

    def _deliver(self, message: Message) -> None:
        self._context.events.append(message)
        self.delivered += message.cost
        self._context.counters.messages_received += 1

    def _deliver_in_order(self, stream_id: int, stream_seq: int, message: Message | None) -> None:
        expected = self._next_seq.get(stream_id, 0)
        if stream_seq == expected:
            self._next_seq[stream_id] = add16(expected, 1)
            if message is not None:
                self._deliver(message)
            if stream_id in self._out_of_order:
                self._deliver_followers(stream_id)
            return
        waiting = self._out_of_order.setdefault(stream_id, {})
        if distance16(expected, stream_seq) < 0 or stream_seq in waiting:
            # A number used twice, by a new TSN: the peer has lost count, and this message has no place.
            self._context.counters.unexpected_chunks += 1
            return
        waiting[stream_seq] = message
        self.held += message.cost if message is not None else 0

    def _deliver_followers(self, stream_id: int) -> None:
        waiting, expected = self._out_of_order[stream_id], self._next_seq[stream_id]
        while expected in waiting:
            self._deliver_held(waiting.pop(expected))
            expected = add16(expected, 1)
        self._next_seq[stream_id] = expected
        if not waiting:
            del self._out_of_order[stream_id]

    def _skip_in_order(self, stream_id: int, stream_seq: int) -> None:
        """Deliver what is there up to `stream_seq`, do not wait for the rest, and go on behind it."""
        expected = self._next_seq.get(stream_id, 0)
        waiting = self._out_of_order.setdefault(stream_id, {})
        for number in sorted(waiting, key=lambda number: distance16(expected, number)):
            if distance16(number, stream_seq) >= 0:
                self._deliver_held(waiting.pop(number))
        self._next_seq[stream_id] = add16(stream_seq, 1)
        self._deliver_followers(stream_id)

    def _deliver_held(self, message: Message | None) -> None:
        if message is not None:
            self.held -= message.cost
            self._deliver(message)
