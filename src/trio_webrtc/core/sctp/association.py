"""One SCTP association: what its user holds. It passes on commands, packets and time, and collects what is to be said.

`Lifecycle` owns the state it is in, `Inbound` deals out what arrives, the rooms of a `Link` send, receive and reset.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Final, assert_never

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.sctp.causes import (
    AssociationError,
    user_initiated_abort,
)
from trio_webrtc.core.sctp.context import Context, Outbox, Timer
from trio_webrtc.core.sctp.counters import Counters
from trio_webrtc.core.sctp.events import SctpEvent
from trio_webrtc.core.sctp.inbound import Inbound
from trio_webrtc.core.sctp.lifecycle import Lifecycle
from trio_webrtc.core.sctp.rto import RetransmissionTimeout
from trio_webrtc.core.sctp.send_queue import OutgoingMessage, SendQueue
from trio_webrtc.core.sctp.settings import SctpSettings
from trio_webrtc.core.sctp.states import Closed, CookieEchoed, CookieWait, Established, State
from trio_webrtc.errors import UsageError

MIN_PACKET_SIZE: Final = 512
"""What every way can carry with room to spare for DTLS, UDP and IP (RFC 9260 §7.3)."""


class Association:
    """Carries messages on numbered streams between two peers, over packets that may be lost.

    Messages and what else there is to tell are one sequence: a stream that is reset may be used again in the same
    packet, and only their order says which messages belong to which of its lives.
    """

    def __init__(
        self,
        *,
        settings: SctpSettings,
        rng: random.Random,
        max_packet_size: int,
        local_port: int = 5000,
        remote_port: int = 5000,
        now: float,
    ) -> None:
        self._context = Context(
            settings=settings,
            rng=rng,
            outbox=Outbox(source_port=local_port, destination_port=remote_port),
            rto=RetransmissionTimeout(settings),
            packet_size=max_packet_size & ~3,
            began_at=now,
        )
        self._queue = SendQueue(self._context.counters)
        self._lifecycle = Lifecycle(self._context, self._queue)
        self._inbound = Inbound(self._context, self._lifecycle)

    # -- commands ------------------------------------------------------------------------------------------------

    def connect(self, now: float) -> None:
        """Begin. Both sides may; either is enough."""
        self._lifecycle.connect(now)

    def send(
        self,
        stream_id: int,
        ppid: int,
        data: bytes,
        *,
        unordered: bool = False,
        max_retransmits: int | None = None,
        lifetime: float | None = None,
        now: float,
    ) -> None:
        """Accept a message, of at least one byte. Before the association is up it waits; how much, the caller bounds.

        It is given up after `max_retransmits` retransmissions or `lifetime` seconds, if the peer knows how (RFC 3758).
        """
        if not data:
            raise UsageError("SCTP has no empty messages (RFC 8831 §6.6 tells what to send instead)")
        if not self.accepts_messages:
            raise UsageError("the association is being shut down, or has ended")
        if self._lifecycle.link is not None and stream_id >= self._lifecycle.link.terms.outbound_streams:
            raise UsageError(f"stream {stream_id} is one too many: the peer takes {self.outbound_streams} streams")
        stream = self._queue.stream(stream_id)
        if stream.is_resetting:
            raise UsageError(f"stream {stream_id} is being reset; it can be used again when that is confirmed")
        self._queue.add(
            OutgoingMessage(
                stream,
                ppid,
                data,
                unordered=unordered,
                max_transmissions=None if max_retransmits is None else max_retransmits + 1,
                expires_at=None if lifetime is None else now + lifetime,
            )
        )

    def reset_streams(self, stream_ids: Iterable[int], now: float) -> None:
        """End these streams of ours, once all that was sent on them is acknowledged, and start them afresh."""
        if self._lifecycle.link is not None:
            self._lifecycle.link.resetter.reset_streams(list(stream_ids))
            self._lifecycle.link.resetter.send_due_request(now)

    def release(self, cost: int, now: float) -> None:
        """Messages of this cost have been taken: the receive window has so much more room."""
        if self._lifecycle.link is not None:
            self._lifecycle.link.receiver.release(cost)

    def drop_unsent(self) -> None:
        """Forget every message of which nothing has been sent."""
        self._queue.discard_unsent()

    def shutdown(self, now: float) -> None:
        """End gracefully, once all that was accepted is acknowledged."""
        self._lifecycle.shut_down(now)

    def abort(self, reason: str, now: float) -> None:
        """End at once: drop everything, queue an ABORT if the peer knows us. Harmless when it is over already."""
        self._lifecycle.abort(user_initiated_abort(reason), reason, now)

    def reduce_packet_size(self) -> None:
        """Packets are too large for the way to the peer: make those to come smaller by a quarter.

        What has been sent keeps its size, for a TSN cannot be divided (RFC 9260 §6.9).
        """
        self._context.packet_size = max(self._context.packet_size * 3 // 4 & ~3, MIN_PACKET_SIZE)

    def probe(self, now: float, *, anew: bool) -> list[bytes]:
        """A packet that asks whether the peer hears it, with a question of its own (a HEARTBEAT, RFC 9260 §5.4).

        `is_probe_answered` tells whether the last question was; unless `anew`, it is asked again. No packet before the
        association is up.
        """
        link = self._lifecycle.link
        if link is None:
            return []
        probe = self._lifecycle.heartbeats.probe(now, anew=anew)
        return [self._context.outbox.writer(link.terms.peer_tag).write(probe.encode())]

    @property
    def is_probe_answered(self) -> bool:
        """Whether the peer has received the last probe: nobody else could have known what to answer."""
        return self._lifecycle.heartbeats.is_probe_answered

    # -- in ------------------------------------------------------------------------------------------------------

    def receive_datagrams(self, batch: Sequence[bytes], now: float) -> None:
        """Take what has arrived. Never raises for its contents: a bad packet is counted and dropped."""
        counters = self._context.counters
        counters.packets_received += len(batch)
        for data in batch:
            try:
                self._inbound.receive(data, now)
            except MalformedPacketError:
                counters.malformed_packets += 1
            except AssociationError as error:
                self._lifecycle.abort(error.cause, str(error), now)
        if self._lifecycle.link is not None:
            self._lifecycle.link.receiver.batch_ended(now)
        self._lifecycle.advance(now)

    def handle_timeout(self, now: float) -> None:
        """Fire every timer that is due. Harmless when called early or twice."""
        lifecycle = self._lifecycle
        for timer in self._context.timers.pop_expired(now):
            link = lifecycle.link
            match timer:
                case Timer.T1_INIT | Timer.T1_COOKIE:
                    lifecycle.on_t1(now)
                case Timer.T2_SHUTDOWN:
                    lifecycle.on_t2(now)
                case Timer.T5_SHUTDOWN_GUARD:
                    lifecycle.on_t5(now)
                case Timer.T3_RTX:
                    if link is not None:
                        link.sender.on_t3(now)
                        lifecycle.count_timeout("the peer acknowledges nothing any more", now)
                case Timer.SACK:
                    if link is not None:
                        link.receiver.hurry_sack()
                case Timer.HEARTBEAT:
                    if link is not None and lifecycle.heartbeats.on_timeout(not link.sender.outstanding, now):
                        lifecycle.count_timeout("the peer does not answer heartbeats", now)
                case Timer.RECONFIG:
                    # Where DATA is under way, T3-rtx counts: the same silence is not to count twice.
                    if link is not None and link.resetter.on_timeout(now) and not link.sender.outstanding:
                        lifecycle.count_timeout("the peer does not answer a stream reset", now)
                case _:
                    assert_never(timer)
        lifecycle.advance(now)

    # -- out -----------------------------------------------------------------------------------------------------

    def poll_transmits(self, now: float, limit: int) -> list[bytes]:
        """Up to `limit` whole packets; none when there is nothing to say, or no room for it at the peer."""
        if self._is_silent:
            return []
        packets = self._fill(limit, now)
        if len(packets) < limit and self._lifecycle.link is not None:
            # Messages that were given up just now may have been all that a reset or the end was waiting for.
            self._lifecycle.advance(now)
            if self._context.outbox.chunks:
                packets += self._fill(limit - len(packets), now)
        self._context.counters.packets_sent += len(packets)
        return packets

    @property
    def _is_silent(self) -> bool:
        """Whether there is nothing to say, and nothing will come of having said it: the usual case, after any input."""
        link, outbox = self._lifecycle.link, self._context.outbox
        return not (outbox.packets or outbox.chunks) and (
            link is None or (link.sender.is_idle and not link.receiver.ready_sacks)
        )

    def _fill(self, limit: int, now: float) -> list[bytes]:
        outbox, lifecycle = self._context.outbox, self._lifecycle
        packets = [outbox.packets.popleft() for _ in range(min(limit, len(outbox.packets)))]
        if lifecycle.link is not None:
            sender, receiver = lifecycle.link.sender, lifecycle.link.receiver
            packets += receiver.take_sacks(limit - len(packets))
            if len(packets) < limit:
                if lifecycle.sends_data and sender.has_something_to_say():
                    receiver.hurry_sack()
                if receiver.ready_sacks:
                    # Behind what waits already, for COOKIE ACK must come first (RFC 9260 §5.1 D).
                    outbox.chunks.append(receiver.ready_sacks.pop())
                packets += sender.fill(limit - len(packets), lifecycle.sends_data, now)
        return packets

    def poll_event(self) -> SctpEvent | None:
        """The next event, or None. A message counts against the window until its cost is released."""
        return self._context.events.popleft() if self._context.events else None

    def poll_progress(self) -> set[int]:
        """The streams whose buffered or unacknowledged amounts have changed since the last call."""
        return self._queue.take_progress()

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is next wanted."""
        return self._context.timers.earliest()

    # -- what is going on ----------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The state, with its data (RFC 9260 §4)."""
        return self._lifecycle.state

    @property
    def is_established(self) -> bool:
        """Whether the association is up, and not on its way down."""
        return isinstance(self._lifecycle.state, Established)

    @property
    def accepts_messages(self) -> bool:
        """Whether `send()` takes messages: neither side has begun to end the association."""
        return isinstance(self._lifecycle.state, Closed | CookieWait | CookieEchoed | Established)

    def is_resetting(self, stream_id: int) -> bool:
        """Whether our direction of a stream is being ended, by our own wish or the peer's: `send()` refuses it."""
        stream = self._queue.streams.get(stream_id)
        return stream is not None and stream.is_resetting

    @property
    def is_ended(self) -> bool:
        """Whether the association is over."""
        return self._lifecycle.is_ended

    @property
    def counters(self) -> Counters:
        """What has happened so often."""
        return self._context.counters

    @property
    def outbound_streams(self) -> int:
        """How many streams we may send on; 0 before that is agreed on."""
        return 0 if self._lifecycle.link is None else self._lifecycle.link.terms.outbound_streams

    @property
    def inbound_streams(self) -> int:
        """How many streams the peer may send on; 0 before that is agreed on."""
        return 0 if self._lifecycle.link is None else self._lifecycle.link.receiver.inbound_streams

    @property
    def has_seen_loss(self) -> bool:
        """Whether something had to be sent again, in either direction."""
        return self.counters.retransmitted_chunks > 0 or self.counters.duplicate_chunks > 0

    @property
    def srtt(self) -> float | None:
        """The smoothed round-trip time, or None before the first measurement."""
        return self._context.rto.srtt

    @property
    def cwnd(self) -> int:
        """The congestion window; 0 before there is one."""
        return 0 if self._lifecycle.link is None else self._lifecycle.link.sender.congestion.size

    @property
    def peer_rwnd(self) -> int:
        """How much the peer would take, by its last word."""
        return 0 if self._lifecycle.link is None else self._lifecycle.link.sender.peer_window

    @property
    def is_window_shut(self) -> bool:
        """Whether the peer has been told that there is no room for another full packet."""
        return self._lifecycle.link is not None and self._lifecycle.link.receiver.is_window_shut

    @property
    def has_ready_sack(self) -> bool:
        """Whether an acknowledgement, or a word on the receive window, waits to leave."""
        return self._lifecycle.link is not None and bool(self._lifecycle.link.receiver.ready_sacks)

    def buffered_amount(self, stream_id: int) -> int:
        """Bytes accepted on a stream and not yet sent for the first time."""
        stream = self._queue.streams.get(stream_id)
        return 0 if stream is None else stream.buffered

    def backlog(self, stream_id: int) -> int:
        """The same as what it costs to hold: each message counts more than its bytes."""
        stream = self._queue.streams.get(stream_id)
        return 0 if stream is None else stream.backlog

    def unacknowledged(self, stream_id: int) -> int:
        """Bytes accepted on a stream and neither acknowledged nor given up."""
        stream = self._queue.streams.get(stream_id)
        return 0 if stream is None else stream.unacknowledged

    @property
    def unacknowledged_total(self) -> int:
        """The same for all streams together."""
        return self._queue.unacknowledged_total
