"""The room for sending: fills packets as far as the windows allow, and reacts to acknowledgements and silence.

RFC 9260 §6.1, §6.3, §7.2; RFC 3758 §3.5. The queue decides whose turn it is, `Outstanding` knows what is under way,
`CongestionWindow` how much may be.
"""

from typing import Final

from trio_webrtc.core.sctp.chunks.data import BEGINS, DATA_HEADER_SIZE, ENDS, IMMEDIATE, UNORDERED, encode_data
from trio_webrtc.core.sctp.chunks.sack import SackChunk
from trio_webrtc.core.sctp.congestion import CongestionWindow
from trio_webrtc.core.sctp.context import Context, Timer
from trio_webrtc.core.sctp.outstanding import ACKED, IN_FLIGHT, Outstanding, SentChunk
from trio_webrtc.core.sctp.packet import COMMON_HEADER_SIZE, PacketWriter
from trio_webrtc.core.sctp.send_queue import SendQueue
from trio_webrtc.core.sctp.settings import MESSAGE_OVERHEAD

MIN_FRAGMENT: Final = 64
"""What is left of a packet is filled with the beginning of a large message only if it holds so many bytes of it."""


class Sender:
    """Sends under one verification tag, from one initial TSN on."""

    def __init__(
        self,
        context: Context,
        queue: SendQueue,
        writer: PacketWriter,
        *,
        initial_tsn: int,
        peer_window: int,
        can_abandon: bool,
    ) -> None:
        self.outstanding = Outstanding(queue, initial_tsn, context.counters)
        self.outstanding.can_abandon = can_abandon
        self.congestion = CongestionWindow(context.settings, _payload_room(context.packet_size))
        self.peer_window = peer_window
        """a_rwnd of the last SACK; what is in flight comes off it."""
        self.wants_prompt_sack = False
        """Whether somebody waits for all to be acknowledged: the I bit asks the peer not to delay (RFC 9260 §3.3.1)."""
        self._context = context
        self._queue = queue
        self._writer = writer
        self._timed: SentChunk | None = None
        self._timed_at = 0.0
        """One chunk at a time is timed, to measure the round trip (RFC 9260 §6.3.1 C4)."""
        self._last_sent_at = 0.0
        self._fast_retransmit = False
        self._forwarded_tsn = self.outstanding.cumulative_tsn
        self._forward_again_at = 0.0

    @property
    def is_idle(self) -> bool:
        """Whether all that was accepted has arrived or was given up."""
        return not self._queue and not self.outstanding

    # -- out -----------------------------------------------------------------------------------------------------

    def has_something_to_say(self) -> bool:
        """Whether data could leave now: then a SACK may as well travel with it."""
        flight_size = self.outstanding.flight_size
        return bool(self._queue or self.outstanding.has_lost) and self.congestion.has_room(flight_size)

    def fill(self, limit: int, may_send_data: bool, now: float) -> list[bytes]:
        """Up to `limit` packets: control chunks first, then what was lost, then what is new (RFC 9260 §6.1 C, §6.10).

        Costs about 3 µs per full packet (benchmarks/sctp_association.py).
        """
        packets: list[bytes] = []
        outstanding, queue, write = self.outstanding, self._queue, self._writer.write
        whole_room, control = self._context.packet_size - COMMON_HEADER_SIZE, self._context.outbox.chunks
        if may_send_data:
            self._forward_abandoned(now)
        while len(packets) < limit:
            parts: list[bytes] = []
            room = whole_room
            outstanding.packet += 1
            while control and (len(control[0]) <= room or not parts):
                chunk = control.popleft()
                parts.append(chunk)
                room -= len(chunk)
            if may_send_data and not control:
                if outstanding.has_lost:
                    room = self._add_lost(parts, room, now)
                if queue:
                    self._add_new(parts, room, now)
            if not parts:
                break
            packets.append(write(b"".join(parts)))
        if packets and outstanding:
            self._last_sent_at = now
            self.congestion.sent(outstanding.flight_size)
            # RFC 9260 §6.3.2 R1.
            self._context.timers.set_if_off(Timer.T3_RTX, now + self._context.rto.value)
        return packets

    def _add_lost(self, parts: list[bytes], room: int, now: float) -> int:
        outstanding, congestion = self.outstanding, self.congestion
        # RFC 9260 §7.2.4, 3: the first packet of a fast retransmit does not ask for the window.
        unlimited, self._fast_retransmit = self._fast_retransmit, False
        while (chunk := outstanding.next_lost(now)) is not None:
            size = len(chunk.wire)
            if (size > room and parts) or not (unlimited or congestion.has_room(outstanding.flight_size)):
                break
            outstanding.sent_again(chunk)
            if self._timed is None:
                self._timed, self._timed_at = chunk, now
            parts.append(chunk.wire)
            room -= size
            self._context.counters.retransmitted_chunks += 1
        self._forward_abandoned(now)
        return room

    def _add_new(self, parts: list[bytes], room: int, now: float) -> None:
        queue, outstanding, congestion = self._queue, self.outstanding, self.congestion
        if not outstanding:
            self._wake(now)
        largest = _payload_room(self._context.packet_size)
        while room > DATA_HEADER_SIZE:
            message = queue.front(now)
            if message is None:
                return
            offset, payload_room = message.offset, room - DATA_HEADER_SIZE
            size = len(message.data) - offset
            if size <= payload_room:
                flags = ENDS
            elif parts and (payload_room < MIN_FRAGMENT or (not offset and size <= largest)):
                return  # it goes whole, or in a longer piece, into the next packet
            else:
                flags = 0
                size = payload_room & ~3
            flight_size = outstanding.flight_size
            if not congestion.has_room(flight_size):
                return
            # The peer counts what a message costs it beside its bytes, as we do; or it would have to refuse small ones.
            cost = size + flight_size + MESSAGE_OVERHEAD * outstanding.flight_chunks
            if flight_size and cost > self.peer_window:
                return  # RFC 9260 §6.1 A: with nothing in flight, one chunk may probe a shut window
            if offset and message.is_spent(0, now) and outstanding.can_abandon:
                outstanding.abandon(message)
                self._forward_abandoned(now)
                continue
            tsn = outstanding.next_tsn
            if not offset:
                flags |= BEGINS
                message.first_tsn = tsn
            message.last_tsn = tsn
            queue.fragment_sent(message, size)
            if message.unordered:
                flags |= UNORDERED
            if self.wants_prompt_sack and not queue:
                flags |= IMMEDIATE
            stream_seq, payload = message.stream_seq, message.data
            if flags & (BEGINS | ENDS) != BEGINS | ENDS:
                payload = payload[offset : offset + size]
            wire = encode_data(flags, tsn & 0xFFFFFFFF, message.stream.id, stream_seq, message.ppid, payload)
            chunk = outstanding.sent(message, size, wire)
            parts.append(wire)
            room -= len(wire)
            if flags & ENDS:
                self._context.counters.messages_sent += 1
            if self._timed is None:
                self._timed, self._timed_at = chunk, now

    def _wake(self, now: float) -> None:
        """Nothing was under way: what was learnt about the network may be old."""
        idle = now - self._last_sent_at
        if idle > self._context.rto.value:
            self.congestion.idle_for(int(idle / self._context.rto.value))

    # -- in ------------------------------------------------------------------------------------------------------

    def on_sack(self, sack: SackChunk, now: float) -> bool:
        """Take an acknowledgement; return whether it shows that the peer is alive and in agreement."""
        outstanding, congestion, context = self.outstanding, self.congestion, self._context
        result = outstanding.acknowledged(sack, now)
        if result is None:
            context.counters.unexpected_chunks += 1
            return False
        acked, advanced, any_lost, any_lost_again = result
        self.peer_window = sack.a_rwnd
        if acked:
            congestion.acknowledged(acked, advanced, outstanding.flight_size, outstanding.cumulative_tsn)
        if any_lost and congestion.lost(outstanding.next_tsn - 1, any_lost_again):
            context.counters.fast_retransmits += 1
            self._fast_retransmit = True
        if self._timed is not None and self._timed.state is not IN_FLIGHT:
            # RFC 9260 §6.3.1 C5, Karn's rule: what was sent twice measures nothing.
            if self._timed.state is ACKED:
                round_trip = now - self._timed_at
                if self._timed.transmissions == 1:
                    context.rto.measured(round_trip)
                else:
                    context.rto.confirmed(round_trip)
            self._timed = None
        if not outstanding:
            context.timers.cancel(Timer.T3_RTX)  # RFC 9260 §6.3.2 R2
        elif advanced or self._fast_retransmit:
            context.timers.set(Timer.T3_RTX, now + context.rto.value)  # R3; §7.2.4, 4
        self._forward_abandoned(now)
        # RFC 9260 §6.1 A: a peer that answers probes of its shut window is alive, though it takes nothing.
        return acked > 0 or advanced or sack.a_rwnd < congestion.packet_size

    def on_t3(self, now: float) -> None:
        """Nothing was acknowledged for an RTO: all is taken for lost (RFC 9260 §6.3.3)."""
        context = self._context
        context.counters.timeouts += 1
        self._timed = None
        context.rto.back_off()
        is_probe = self.peer_window < context.packet_size
        self.outstanding.lose_all(now)
        if not is_probe:  # a peer that has no room for a probe says nothing about the network
            self.congestion.timed_out(self.outstanding.flight_size)
        self._fast_retransmit = False
        self._forward_again_at = now
        if self.outstanding:
            context.timers.set(Timer.T3_RTX, now + context.rto.value)

    # -- giving up messages --------------------------------------------------------------------------------------

    def _forward_abandoned(self, now: float) -> None:
        """Have FORWARD TSN leave where there is news, and again once in a while until it is acknowledged.

        RFC 3758 §3.5 C3 asks for one per SACK; one per round trip and one per T3-rtx do as well.
        """
        if not self.outstanding.must_forward:
            return
        chunk = self.outstanding.forward_tsn()
        if chunk.new_cumulative_tsn != self._forwarded_tsn or now >= self._forward_again_at:
            self._forwarded_tsn = chunk.new_cumulative_tsn
            self._forward_again_at = now + self._context.rto.round_trip
            self._context.outbox.send(chunk)


def _payload_room(packet_size: int) -> int:
    """The user data that one full packet carries."""
    return packet_size - COMMON_HEADER_SIZE - DATA_HEADER_SIZE
