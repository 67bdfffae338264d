"""The room for receiving: which TSNs have arrived, when to say so, and how much more may come.

RFC 9260 §6.2, §6.7; RFC 3758 §3.6. Reassembly turns what arrives into messages.
"""

from typing import Final

from trio_webrtc.core.sctp.causes import AssociationError, invalid_stream_identifier, no_user_data, out_of_resource
from trio_webrtc.core.sctp.chunks.data import IMMEDIATE, DataChunk
from trio_webrtc.core.sctp.chunks.error import ErrorChunk
from trio_webrtc.core.sctp.chunks.forward_tsn import ForwardTsnChunk
from trio_webrtc.core.sctp.chunks.sack import SackChunk
from trio_webrtc.core.sctp.context import Context, Timer
from trio_webrtc.core.sctp.packet import PacketWriter
from trio_webrtc.core.sctp.reassembly import Reassembly
from trio_webrtc.core.sctp.settings import MESSAGE_OVERHEAD
from trio_webrtc.core.sctp.tsn_ranges import TsnSet
from trio_webrtc.core.serial import distance32

MAX_TSNS_AHEAD: Final = 32_767
"""DATA farther beyond the cumulative TSN is refused: gap blocks could hardly name it, and stream sequence numbers of 16
bits would become ambiguous."""

MAX_GAP_BLOCKS: Final = 96
MAX_DUPLICATES: Final = 16
"""What one SACK tells, so that it fits into any packet."""

MAX_WAITING_SACKS: Final = 512
"""SACKs of one batch of packets that wait to be polled; beyond, the last one says it all."""


class Receiver:
    """Receives under one verification tag, from the peer's initial TSN on."""

    def __init__(self, context: Context, writer: PacketWriter, *, peer_initial_tsn: int, inbound_streams: int) -> None:
        self.reassembly = Reassembly(context)
        self.cumulative_tsn = peer_initial_tsn - 1
        """Unwrapped: a plain integer that only grows."""
        self.inbound_streams = inbound_streams
        self.ready_sacks: list[bytes] = []
        """SACKs that are due, oldest first, encoded."""
        self._context = context
        self._writer = writer
        self._beyond_gap = TsnSet()
        self._duplicates: list[int] = []
        self._announced_window = context.settings.receive_buffer
        self._packets = 0
        self._unsacked_packets = 0
        self._sack_now = False
        self._eager_until = 0.0

    # -- the window ----------------------------------------------------------------------------------------------

    @property
    def window(self) -> int:
        """How much more may come: a_rwnd.

        None at all, rather than less than a full packet takes: that would be refused, and the peer, which takes only
        what it sends into a window of 0 for a probe, would count refusals as failures until it gave us up.
        """
        reassembly = self.reassembly
        room = self._context.settings.receive_buffer - reassembly.held - reassembly.delivered
        return room if room >= self._context.packet_size + MESSAGE_OVERHEAD else 0

    @property
    def is_window_shut(self) -> bool:
        """Whether the peer has been told, by our last SACK, that not even one full packet has room."""
        return self._announced_window == 0

    def release(self, cost: int) -> None:
        """The application has taken messages of this cost. Tell the peer when that makes a difference to it."""
        self.reassembly.delivered -= cost
        buffer, window = self._context.settings.receive_buffer, self.window
        if self._announced_window < buffer // 2 and window - self._announced_window >= buffer // 8:
            self._make_sack()

    # -- in ------------------------------------------------------------------------------------------------------

    def on_data(self, chunk: DataChunk) -> None:
        """Take a chunk of data. Raises AssociationError where only ABORT is left."""
        cumulative, payload = self.cumulative_tsn, chunk.payload
        tsn = cumulative + distance32(cumulative, chunk.tsn)
        if not payload:
            raise AssociationError(no_user_data(chunk.tsn))  # RFC 9260 §6.2
        if tsn <= cumulative or tsn in self._beyond_gap:
            self._context.counters.duplicate_chunks += 1
            self._sack_now = True
            if len(self._duplicates) < MAX_DUPLICATES:
                self._duplicates.append(chunk.tsn)
            return
        if not self._has_room(tsn, len(payload) + MESSAGE_OVERHEAD):
            self._context.counters.refused_chunks += 1
            self._sack_now = True
            return
        if tsn != cumulative + 1:
            # RFC 9260 §6.7: a gap is told at once when it opens.
            self._sack_now = self._sack_now or not self._beyond_gap
            self._beyond_gap.add(tsn)
        elif self._beyond_gap:
            self.cumulative_tsn = self._beyond_gap.take_prefix(tsn)
        else:
            self.cumulative_tsn = tsn
        if chunk.flags & IMMEDIATE:
            self._sack_now = True
        if chunk.stream_id >= self.inbound_streams:
            # RFC 9260 §6.5: acknowledge it, tell the peer, and throw it away.
            self._context.outbox.send(ErrorChunk((invalid_stream_identifier(chunk.stream_id),)))
            return
        self.reassembly.add(tsn, chunk)

    def _has_room(self, tsn: int, cost: int) -> bool:
        if tsn > self.cumulative_tsn + MAX_TSNS_AHEAD:
            return False
        buffer, reassembly = self._context.settings.receive_buffer, self.reassembly
        used = reassembly.held + reassembly.delivered
        if used + cost <= buffer:
            return True
        # What fills a gap lets things move, so it is let in when new data is not. It was sent within the window once;
        # only what it counts beside its bytes is too much. Twice the buffer is the end all the same.
        highest = self._beyond_gap.highest
        if highest is not None and tsn < highest and used + cost <= 2 * buffer:
            return True
        if not reassembly.delivered and tsn == self.cumulative_tsn + 1:
            # All the room is held by messages that cannot be delivered, and none of it will ever be free again.
            raise AssociationError(out_of_resource())
        return False

    def on_forward_tsn(self, chunk: ForwardTsnChunk) -> None:
        """The peer has given up some messages; do not wait for them (RFC 3758 §3.6)."""
        cumulative = self.cumulative_tsn + distance32(self.cumulative_tsn, chunk.new_cumulative_tsn)
        self._sack_now = True
        if cumulative > self.cumulative_tsn:
            skipped_from, self.cumulative_tsn = self.cumulative_tsn, self._beyond_gap.take_prefix(cumulative)
            self.reassembly.skip_to(cumulative, chunk.skipped, skipped_from=skipped_from)

    # -- when to acknowledge -------------------------------------------------------------------------------------

    def packet_ended(self, now: float) -> None:
        """A packet with DATA or FORWARD TSN has been taken whole.

        At first, and for a round trip after a gap, every second packet gets its SACK, for senders that count SACKs.
        """
        self._packets += 1
        self._unsacked_packets += 1
        if self._beyond_gap:
            self._eager_until = now + self._context.rto.round_trip
        if self._sack_now or (
            self._unsacked_packets >= 2
            and (self._packets <= self._context.settings.eager_sack_packets or now < self._eager_until)
        ):
            self._make_sack()

    def batch_ended(self, now: float) -> None:
        """All packets of a batch have been taken: one SACK for two or more of them, or soon for one."""
        is_first = self._packets == self._unsacked_packets
        # RFC 9260 §6.7: no SACK waits while there is a gap, for the sender counts them; nor does the very first (§5.1).
        if self._unsacked_packets >= 2 or (self._unsacked_packets and (self._beyond_gap or is_first)):
            self._make_sack()
        elif self._unsacked_packets:
            self._context.timers.set_if_off(Timer.SACK, now + self._context.settings.sack_delay)

    def hurry_sack(self) -> None:
        """Something is about to leave: acknowledge what has not been acknowledged yet along with it."""
        if self._unsacked_packets:
            self._make_sack()

    def _make_sack(self) -> None:
        base = self.cumulative_tsn
        blocks = tuple((first - base, last - base) for first, last in self._beyond_gap.first(MAX_GAP_BLOCKS))
        self._announced_window = self.window
        if len(self.ready_sacks) >= MAX_WAITING_SACKS:
            self.ready_sacks.pop()
        self.ready_sacks.append(
            SackChunk(base & 0xFFFFFFFF, self._announced_window, blocks, tuple(self._duplicates)).encode()
        )
        self._duplicates.clear()
        self._unsacked_packets = 0
        self._sack_now = False
        self._context.timers.cancel(Timer.SACK)

    # -- out -----------------------------------------------------------------------------------------------------

    def take_sacks(self, limit: int) -> list[bytes]:
        """Packets with all the SACKs that are due but the last, which is left to travel with other chunks."""
        sacks = self.ready_sacks
        if len(sacks) < 2:
            return []
        taken = sacks[: min(limit, len(sacks) - 1)]
        del sacks[: len(taken)]
        return [self._writer.write(sack) for sack in taken]
