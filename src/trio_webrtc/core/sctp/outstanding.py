"""What has been sent and is not yet acknowledged for good (RFC 9260 §6.2.1, §7.2.4; RFC 3758 §3.5).

TSNs are unwrapped inside: plain integers that only grow. They are cut to 32 bits where they meet the wire.
"""

from collections import deque
from typing import Final, NamedTuple

from trio_webrtc.core.sctp.chunks.forward_tsn import ForwardTsnChunk
from trio_webrtc.core.sctp.chunks.sack import SackChunk
from trio_webrtc.core.sctp.counters import Counters
from trio_webrtc.core.sctp.send_queue import OutgoingMessage, SendQueue
from trio_webrtc.core.sctp.tsn_ranges import TsnRange, subtract
from trio_webrtc.core.serial import distance32

IN_FLIGHT: Final = 0
ACKED: Final = 1
"""In a gap block of the last SACK: has arrived, though the receiver may yet drop it again."""
LOST: Final = 2
"""Waits to be sent again; does not count as in flight."""
ABANDONED: Final = 3
"""Will never be sent again; the peer is told by FORWARD TSN."""

REORDERING: Final = 3
"""A chunk is taken for lost when one is acknowledged that left so many packets later.

Departs from RFC 9260 §7.2.4, which waits for three SACKs that report it missing: a receiver that reads in batches sends
one SACK where three were due. It also compares TSNs, and so leaves a chunk that is lost again to T3-rtx. QUIC counts
packets (RFC 9002 §6.1.1); for SACKs that each tell of one packet, both ways are the same.
"""

MAX_SKIPPED_STREAMS: Final = 100
"""Streams that one FORWARD TSN names, so that it fits into a packet; what is beyond goes into the next."""


class SentChunk:
    """A DATA chunk under way. `state` is one of the integers above, for it is tested once per packet."""

    __slots__ = ("message", "packet", "size", "state", "transmissions", "tsn", "wire")

    def __init__(self, tsn: int, packet: int, message: OutgoingMessage, size: int, wire: bytes, state: int) -> None:
        self.tsn = tsn
        self.packet = packet
        """The number of the packet in which it was last sent."""
        self.message = message
        self.size = size
        self.wire = wire
        self.state = state
        self.transmissions = 1


class Acknowledgement(NamedTuple):
    """What a SACK has brought."""

    acked: int
    """Bytes that were not acknowledged before."""
    advanced: bool
    """Whether the cumulative TSN has moved."""
    any_lost: bool
    """Whether chunks are taken for lost."""
    any_lost_again: bool
    """Whether there are some among them that had been sent again already."""


class Outstanding:
    """The chunks between the peer's cumulative TSN and the next TSN to be given out."""

    def __init__(self, queue: SendQueue, initial_tsn: int, counters: Counters) -> None:
        self.next_tsn = initial_tsn
        self.cumulative_tsn = initial_tsn - 1
        """Everything up to here has arrived or counts as arrived."""
        self.flight_size = 0
        """Bytes of user data in flight."""
        self.flight_chunks = 0
        self.packet = 0
        """The number of the packet that is being filled. Whoever fills packets counts it up."""
        self.can_abandon = False
        """Whether the peer understands FORWARD TSN."""
        self._counters = counters
        self._queue = queue
        self._latest_packet = 0
        """The highest number of a packet of which something has been acknowledged."""
        self._chunks: dict[int, SentChunk] = {}
        self._gap_acked: list[TsnRange] = []
        self._lost: deque[SentChunk] = deque()

    def __bool__(self) -> bool:
        return bool(self._chunks)

    def sent(self, message: OutgoingMessage, size: int, wire: bytes) -> SentChunk:
        """The next TSN has been given to a fragment of `message`, which has just been sent."""
        tsn = self.next_tsn
        self.next_tsn = tsn + 1
        chunk = self._chunks[tsn] = SentChunk(tsn, self.packet, message, size, wire, IN_FLIGHT)
        self.flight_size += size
        self.flight_chunks += 1
        return chunk

    # -- acknowledgements ----------------------------------------------------------------------------------------

    def acknowledged(self, sack: SackChunk, now: float) -> Acknowledgement | None:
        """Take a SACK. None if it is out of date, or acknowledges what was never sent."""
        cumulative = self.cumulative_tsn + distance32(self.cumulative_tsn, sack.cumulative_tsn)
        if not self.cumulative_tsn <= cumulative < self.next_tsn:
            return None
        gap_acked: list[TsnRange] = []
        if sack.gap_blocks:
            end = cumulative
            for first, last in sack.gap_blocks:
                if not end < cumulative + first <= cumulative + last < self.next_tsn:
                    return None
                end = cumulative + last
                gap_acked.append((cumulative + first, end))
        advanced = cumulative > self.cumulative_tsn
        acked = self._settle_up_to(cumulative) if advanced else 0
        if not gap_acked and not self._gap_acked:
            return Acknowledgement(acked, advanced, False, False)
        acked += self._update_gaps(gap_acked)
        lost = self._missing(gap_acked) if acked else []
        again = any(chunk.transmissions > 1 for chunk in lost)
        self._lose(lost, now)
        return Acknowledgement(acked, advanced, bool(lost), again)

    def _settle_up_to(self, cumulative: int) -> int:
        """Take out what is acknowledged for good; return the bytes that are new."""
        chunks, queue, acked, latest = self._chunks, self._queue, 0, self._latest_packet
        for tsn in range(self.cumulative_tsn + 1, cumulative + 1):
            chunk = chunks.pop(tsn)
            state = chunk.state
            if state is ABANDONED:
                chunk.message.stream.abandoned -= 1
                continue
            if state is not ACKED:
                acked += chunk.size
                if chunk.packet > latest:
                    latest = chunk.packet
                if state is IN_FLIGHT:
                    self.flight_size -= chunk.size
                    self.flight_chunks -= 1
            chunk.state = ACKED
            queue.settled(chunk.message, chunk.size)
        self.cumulative_tsn, self._latest_packet = cumulative, latest
        return acked

    def _update_gaps(self, gap_acked: list[TsnRange]) -> int:
        """Follow the gap blocks; return the bytes that are new in them."""
        chunks, before, acked = self._chunks, self._gap_acked, 0
        for first, last in subtract(gap_acked, before):
            for tsn in range(first, last + 1):
                chunk = chunks[tsn]
                if chunk.state is IN_FLIGHT:
                    self.flight_size -= chunk.size
                    self.flight_chunks -= 1
                elif chunk.state is not LOST:
                    continue
                chunk.state = ACKED
                acked += chunk.size
                self._latest_packet = max(self._latest_packet, chunk.packet)
        for first, last in subtract(before, gap_acked):
            # RFC 9260 §6.2.1 D iii: the receiver has dropped what it had, as it may.
            for tsn in range(max(first, self.cumulative_tsn + 1), last + 1):
                chunk = chunks[tsn]
                if chunk.state is ACKED:
                    chunk.state = IN_FLIGHT
                    self.flight_size += chunk.size
                    self.flight_chunks += 1
        self._gap_acked = gap_acked
        return acked

    def _missing(self, gap_acked: list[TsnRange]) -> list[SentChunk]:
        """What is in the gaps, and has been overtaken by too many packets to be merely late."""
        # RFC 5827 §2: where fewer packets are under way than could tell, fewer are enough.
        overtaken = self._latest_packet - min(REORDERING, max(1, len(self._chunks) - 1))
        missing: list[SentChunk] = []
        start = self.cumulative_tsn + 1
        for first, last in gap_acked:
            for tsn in range(start, first):
                chunk = self._chunks[tsn]
                if chunk.state is IN_FLIGHT and chunk.packet <= overtaken:
                    missing.append(chunk)
            start = last + 1
        return missing

    # -- losses --------------------------------------------------------------------------------------------------

    def lose_all(self, now: float) -> None:
        """T3-rtx has expired: all that is in flight is taken for lost (RFC 9260 §6.3.3 E3)."""
        self._lose([chunk for chunk in self._chunks.values() if chunk.state is IN_FLIGHT], now)

    def _lose(self, chunks: list[SentChunk], now: float) -> None:
        if not chunks:
            return
        for chunk in chunks:
            if chunk.state is not IN_FLIGHT:
                continue  # abandoned a moment ago, with another fragment of its message
            self.flight_size -= chunk.size
            self.flight_chunks -= 1
            chunk.state = LOST
            if self.can_abandon and chunk.message.is_spent(chunk.transmissions, now):
                self.abandon(chunk.message)
        lost = [*self._lost, *chunks]
        self._lost = deque(sorted((chunk for chunk in lost if chunk.state is LOST), key=lambda chunk: chunk.tsn))

    def next_lost(self, now: float) -> SentChunk | None:
        """The chunk to be sent again first; stays where it is until `sent_again`."""
        while self._lost:
            chunk = self._lost[0]
            if chunk.state is LOST:
                message = chunk.message
                if not (self.can_abandon and message.expires_at is not None and now >= message.expires_at):
                    return chunk
                self.abandon(message)
            self._lost.popleft()
        return None

    def sent_again(self, chunk: SentChunk) -> None:
        """The chunk that `next_lost` gave has been sent once more."""
        self._lost.popleft()
        chunk.packet = self.packet
        chunk.state = IN_FLIGHT
        chunk.transmissions += 1
        self.flight_size += chunk.size
        self.flight_chunks += 1

    # -- partial reliability -------------------------------------------------------------------------------------

    def abandon(self, message: OutgoingMessage) -> None:
        """Give up a message of which something has been sent."""
        self._counters.abandoned_messages += 1
        if message.offset < len(message.data):
            # Its end will never be sent. A TSN of its own, never sent either, lets FORWARD TSN reach past all its
            # fragments, even if each of them has already arrived.
            message.last_tsn = self.next_tsn
            self._chunks[self.next_tsn] = SentChunk(self.next_tsn, 0, message, 0, b"", ABANDONED)
            self.next_tsn += 1
            self._queue.discard_rest(message)
        for tsn in range(max(message.first_tsn, self.cumulative_tsn + 1), message.last_tsn + 1):
            chunk = self._chunks[tsn]
            if chunk.state is IN_FLIGHT:
                self.flight_size -= chunk.size
                self.flight_chunks -= 1
            chunk.state = ABANDONED
            chunk.wire = b""
            message.stream.abandoned += 1
            self._queue.settled(message, chunk.size)

    def forward_tsn(self) -> ForwardTsnChunk:
        """What the peer need not wait for any longer (RFC 3758 §3.5 C2: up to the Advanced.Peer.Ack.Point)."""
        chunks = self._chunks
        skipped: dict[int, int] = {}
        tsn = self.cumulative_tsn
        while (chunk := chunks.get(tsn + 1)) is not None and chunk.state is ABANDONED:
            message = chunk.message
            if not message.unordered:
                if message.stream.id not in skipped and len(skipped) == MAX_SKIPPED_STREAMS:
                    break
                skipped[message.stream.id] = message.stream_seq
            tsn += 1
        return ForwardTsnChunk(tsn & 0xFFFFFFFF, tuple(skipped.items()))

    @property
    def has_lost(self) -> bool:
        """Whether something may wait to be sent again."""
        return bool(self._lost)

    @property
    def must_forward(self) -> bool:
        """Whether the first outstanding chunk is an abandoned one."""
        chunk = self._chunks.get(self.cumulative_tsn + 1)
        return chunk is not None and chunk.state is ABANDONED
