"""One SCTP association: dispatches what arrives to the rooms that own it, and collects what they have to say.

Setting up (`Setup`) and tearing down (`Teardown`) are transitions between states. From COOKIE-ECHOED on, a state has
a `Link`: the room for sending, the room for receiving, and the one that resets streams.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Final, assert_never

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.sctp import events
from trio_webrtc.core.sctp.causes import (
    AssociationError,
    describe,
    unrecognized_chunk_type,
    user_initiated_abort,
)
from trio_webrtc.core.sctp.chunks import BY_TYPE, Chunk
from trio_webrtc.core.sctp.chunks.abort import AbortChunk
from trio_webrtc.core.sctp.chunks.cookie import CookieAckChunk, CookieEchoChunk
from trio_webrtc.core.sctp.chunks.data import DATA, DataChunk
from trio_webrtc.core.sctp.chunks.error import ErrorChunk
from trio_webrtc.core.sctp.chunks.forward_tsn import ForwardTsnChunk
from trio_webrtc.core.sctp.chunks.heartbeat import HeartbeatAckChunk, HeartbeatChunk
from trio_webrtc.core.sctp.chunks.init import InitAckChunk, InitChunk
from trio_webrtc.core.sctp.chunks.reconfig import ReconfigChunk
from trio_webrtc.core.sctp.chunks.sack import SackChunk
from trio_webrtc.core.sctp.chunks.shutdown import ShutdownAckChunk, ShutdownChunk, ShutdownCompleteChunk
from trio_webrtc.core.sctp.context import Context, Outbox, Timer
from trio_webrtc.core.sctp.counters import Counters
from trio_webrtc.core.sctp.events import SctpEvent
from trio_webrtc.core.sctp.heartbeats import Heartbeats
from trio_webrtc.core.sctp.link import Link
from trio_webrtc.core.sctp.packet import RawChunk, encode_chunk, read_packet
from trio_webrtc.core.sctp.parameters import Parameter
from trio_webrtc.core.sctp.rto import RetransmissionTimeout
from trio_webrtc.core.sctp.send_queue import OutgoingMessage, SendQueue
from trio_webrtc.core.sctp.settings import SctpSettings
from trio_webrtc.core.sctp.setup import Setup
from trio_webrtc.core.sctp.states import Closed, CookieEchoed, CookieWait, Ended, Established, Linked, State
from trio_webrtc.core.sctp.teardown import Teardown
from trio_webrtc.errors import UsageError

MIN_PACKET_SIZE: Final = 512
"""What every way can carry with room to spare for DTLS, UDP and IP (RFC 9260 §7.3)."""

MAX_RETURNED_BYTES: Final = 256
"""What a peer may have us send back, in answer to a heartbeat or an unknown chunk, so that it fits into any packet."""


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
        self._setup = Setup(self._context, self._queue)
        self._teardown = Teardown(self._context)
        self._heartbeats = Heartbeats(self._context)
        self._state: State = Closed()
        self._link: Link | None = None
        """The link of the present state, if that has one: looked up once per packet."""
        self._errors = 0
        """Timeouts in a row (RFC 9260 §8.1)."""

    # -- commands ------------------------------------------------------------------------------------------------

    def connect(self, now: float) -> None:
        """Begin. Both sides may; either is enough."""
        self._enter(self._setup.connect(self._state, now), now)

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
        if self._link is not None and stream_id >= self._link.terms.outbound_streams:
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
        if self._link is not None:
            self._link.resetter.reset_streams(list(stream_ids))
            self._link.resetter.send_due_request(now)

    def release(self, cost: int, now: float) -> None:
        """Messages of this cost have been taken: the receive window has so much more room."""
        if self._link is not None:
            self._link.receiver.release(cost)

    def drop_unsent(self) -> None:
        """Forget every message of which nothing has been sent."""
        self._queue.discard_unsent()

    def shutdown(self, now: float) -> None:
        """End gracefully, once all that was accepted is acknowledged."""
        self._enter(self._teardown.advance(self._teardown.shut_down(self._state), now), now)

    def abort(self, reason: str, now: float) -> None:
        """End at once: drop everything, queue an ABORT if the peer knows us. Harmless when it is over already."""
        self._abort(user_initiated_abort(reason), reason, now)

    def reduce_packet_size(self) -> None:
        """Packets are too large for the way to the peer: make those to come smaller by a quarter.

        What has been sent keeps its size, for a TSN cannot be divided (RFC 9260 §6.9).
        """
        self._context.packet_size = max(self._context.packet_size * 3 // 4 & ~3, MIN_PACKET_SIZE)

    # -- in ------------------------------------------------------------------------------------------------------

    def receive_datagrams(self, batch: Sequence[bytes], now: float) -> None:
        """Take what has arrived. Never raises for its contents: a bad packet is counted and dropped."""
        counters = self._context.counters
        counters.packets_received += len(batch)
        for data in batch:
            try:
                self._receive_packet(data, now)
            except MalformedPacketError:
                counters.malformed_packets += 1
            except AssociationError as error:
                self._abort(error.cause, str(error), now)
        if self._link is not None:
            self._link.receiver.batch_ended(now)
        self._advance(now)

    def handle_timeout(self, now: float) -> None:
        """Fire every timer that is due. Harmless when called early or twice."""
        for timer in self._context.timers.pop_expired(now):
            link = self._link
            match timer:
                case Timer.T1_INIT | Timer.T1_COOKIE:
                    self._enter(self._setup.on_t1(self._state, now), now)
                case Timer.T2_SHUTDOWN:
                    self._teardown.on_t2(self._state, now)
                    self._count_error("the peer did not answer SHUTDOWN", now)
                case Timer.T3_RTX:
                    if link is not None:
                        link.sender.on_t3(now)
                        self._count_error("the peer acknowledges nothing any more", now)
                case Timer.SACK:
                    if link is not None:
                        link.receiver.hurry_sack()
                case Timer.HEARTBEAT:
                    if link is not None and self._heartbeats.on_timeout(not link.sender.outstanding, now):
                        self._count_error("the peer does not answer heartbeats", now)
                case Timer.RECONFIG:
                    if link is not None and link.resetter.on_timeout(now):
                        self._count_error("the peer does not answer a stream reset", now)
                case _:
                    assert_never(timer)
        self._advance(now)

    # -- out -----------------------------------------------------------------------------------------------------

    def poll_transmits(self, now: float, limit: int) -> list[bytes]:
        """Up to `limit` whole packets; none when there is nothing to say, or no room for it at the peer."""
        packets = self._fill(limit, now)
        if len(packets) < limit and self._link is not None:
            # Messages that were given up just now may have been all that a reset or the end was waiting for.
            self._advance(now)
            if self._context.outbox.chunks:
                packets += self._fill(limit - len(packets), now)
        self._context.counters.packets_sent += len(packets)
        return packets

    def _fill(self, limit: int, now: float) -> list[bytes]:
        waiting, link = self._context.outbox.packets, self._link
        packets = [waiting.popleft() for _ in range(min(limit, len(waiting)))]
        if link is not None and isinstance(self._state, Linked):
            receiver, sends_data = link.receiver, self._state.sends_data
            packets += receiver.take_sacks(limit - len(packets))
            if len(packets) < limit:
                if self._state.accepts_data:
                    if sends_data and link.sender.has_something_to_say():
                        receiver.hurry_sack()
                    if receiver.ready_sacks:
                        self._context.outbox.chunks.appendleft(receiver.ready_sacks.pop())
                packets += link.sender.fill(limit - len(packets), sends_data, now)
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
        return self._state

    @property
    def is_established(self) -> bool:
        """Whether the association is up, and not on its way down."""
        return isinstance(self._state, Established)

    @property
    def accepts_messages(self) -> bool:
        """Whether `send()` takes messages: neither side has begun to end the association."""
        return isinstance(self._state, Closed | CookieWait | CookieEchoed | Established)

    @property
    def is_ended(self) -> bool:
        """Whether the association is over."""
        return isinstance(self._state, Ended)

    @property
    def counters(self) -> Counters:
        """What has happened so often."""
        return self._context.counters

    @property
    def outbound_streams(self) -> int:
        """How many streams we may send on; 0 before that is agreed on."""
        return 0 if self._link is None else self._link.terms.outbound_streams

    @property
    def inbound_streams(self) -> int:
        """How many streams the peer may send on; 0 before that is agreed on."""
        return 0 if self._link is None else self._link.receiver.inbound_streams

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
        return 0 if self._link is None else self._link.sender.congestion.size

    @property
    def peer_rwnd(self) -> int:
        """How much the peer would take, by its last word."""
        return 0 if self._link is None else self._link.sender.peer_window

    @property
    def is_window_shut(self) -> bool:
        """Whether the peer has been told that there is no room for another full packet."""
        return self._link is not None and self._link.receiver.is_window_shut

    def buffered_amount(self, stream_id: int) -> int:
        """Bytes accepted on a stream and not yet sent for the first time."""
        stream = self._queue.streams.get(stream_id)
        return 0 if stream is None else stream.buffered

    def unacknowledged(self, stream_id: int) -> int:
        """Bytes accepted on a stream and neither acknowledged nor given up."""
        stream = self._queue.streams.get(stream_id)
        return 0 if stream is None else stream.unacknowledged

    @property
    def unacknowledged_total(self) -> int:
        """The same for all streams together."""
        return self._queue.unacknowledged_total

    # -- packets -------------------------------------------------------------------------------------------------

    def _receive_packet(self, data: bytes, now: float) -> None:
        source_port, destination_port, tag, chunks = read_packet(data)
        outbox = self._context.outbox
        if source_port != outbox.destination_port or destination_port != outbox.source_port:
            self._context.counters.stray_packets += 1
        elif self._link is not None and tag == self._link.terms.local_tag:
            self._take_chunks(self._link, chunks, now)
        else:
            self._take_with_other_tag(tag, chunks, now)

    def _take_chunks(self, link: Link, chunks: list[RawChunk], now: float) -> None:
        """The hot path: what carries our own tag."""
        has_data = False
        for type_, flags, body in chunks:
            if type_ == DATA:
                if isinstance(self._state, Linked) and self._state.accepts_data:
                    link.receiver.on_data(DataChunk.decode(flags, body))
                    has_data = True
            elif type_ == SackChunk.TYPE:
                if link.sender.on_sack(SackChunk.decode(flags, body), now):
                    self._errors = 0
            elif type_ not in BY_TYPE:
                if not self._skip_unknown(type_, flags, body):
                    break
            else:
                chunk = BY_TYPE[type_].decode(flags, body)
                has_data |= isinstance(chunk, ForwardTsnChunk)
                self._take_control(link, chunk, now)
                if self._link is not link:
                    break
        if has_data and self._link is link:
            link.receiver.packet_ended(now)
            self._teardown.on_data(self._state, now)

    def _take_control(self, link: Link, chunk: Chunk, now: float) -> None:
        match chunk:
            case ForwardTsnChunk():
                if link.terms.forward_tsn and isinstance(self._state, Linked) and self._state.accepts_data:
                    link.receiver.on_forward_tsn(chunk)
            case ReconfigChunk():
                if link.terms.reconfig:
                    link.resetter.on_reconfig(chunk, now)
                    self._errors = 0
            case HeartbeatAckChunk():
                if self._heartbeats.on_answer(chunk, now):
                    self._errors = 0
            case HeartbeatChunk():
                if len(chunk.info) <= MAX_RETURNED_BYTES:
                    self._context.outbox.send(HeartbeatAckChunk(chunk.info))
            case AbortChunk():
                self._aborted_by_peer(chunk, now)
            case ErrorChunk():
                self._enter(self._setup.on_error(self._state, chunk, now), now)
            case ShutdownChunk():
                self._enter(self._teardown.on_shutdown(self._state, chunk, now), now)
            case ShutdownAckChunk():
                self._enter(self._teardown.on_shutdown_ack(self._state), now)
            case ShutdownCompleteChunk():
                self._enter(self._teardown.on_shutdown_complete(self._state), now)
            case CookieEchoChunk():
                self._enter(self._setup.on_cookie_echo(self._state, link.terms.local_tag, chunk, now), now)
            case CookieAckChunk():
                self._enter(self._setup.on_cookie_ack(self._state, now), now)
            case _:
                # INIT under a tag, INIT ACK out of time (RFC 9260 §5.2.3, §8.5.1 A).
                self._context.counters.unexpected_chunks += 1

    def _take_with_other_tag(self, tag: int, chunks: list[RawChunk], now: float) -> None:
        """RFC 9260 §8.4, §8.5: what may come under another tag than the one that we gave the peer."""
        (type_, flags, body), *others = chunks
        chunk = BY_TYPE[type_].decode(flags, body) if type_ in BY_TYPE else None
        state, link = self._state, self._link
        match chunk:
            case InitAckChunk() if isinstance(state, CookieWait) and tag == state.init.initiate_tag:
                self._enter(self._setup.on_init_ack(state, chunk, now), now)
            case InitChunk() if type(chunk) is InitChunk and tag == 0 and not others and not self.is_ended:
                self._setup.on_init(state, chunk, now)
            case CookieEchoChunk() if not self.is_ended:
                self._enter(self._setup.on_cookie_echo(state, tag, chunk, now), now)
                if self._link is not None and self._link.terms.local_tag == tag:
                    self._take_chunks(self._link, others, now)
            case AbortChunk() if isinstance(state, CookieWait) and tag == state.init.initiate_tag:
                self._aborted_by_peer(chunk, now)
            case AbortChunk(reflected_tag=True) if link is not None and tag == link.terms.peer_tag:
                self._aborted_by_peer(chunk, now)
            case ShutdownCompleteChunk(reflected_tag=True) if link is not None and tag == link.terms.peer_tag:
                self._enter(self._teardown.on_shutdown_complete(state), now)
            case ShutdownAckChunk() if link is None:
                # RFC 9260 §8.4, 5: our SHUTDOWN COMPLETE was lost, or we never knew of that association.
                self._context.outbox.send_alone(tag, ShutdownCompleteChunk(reflected_tag=True))
            case _:
                # DTLS says who sent it, so an ABORT in answer would tell nobody anything (RFC 8261).
                self._context.counters.stray_packets += 1

    def _skip_unknown(self, type_: int, flags: int, body: bytes) -> bool:
        """RFC 9260 §3.2: the two highest bits of an unknown type say whether to report it, and whether to go on."""
        if type_ & 0x40:
            chunk = encode_chunk(type_, flags, body[:MAX_RETURNED_BYTES])
            self._context.outbox.send(ErrorChunk((unrecognized_chunk_type(chunk),)))
        return bool(type_ & 0x80)

    # -- transitions ---------------------------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Do what has become possible."""
        if self._link is not None:
            self._link.resetter.perform_announced()
            self._link.resetter.send_due_request(now)
            self._enter(self._teardown.advance(self._state, now), now)

    def _enter(self, state: State, now: float) -> None:
        if state is self._state:
            return
        self._state = state
        self._link = state.link if isinstance(state, Linked) else None
        self._errors = 0
        if isinstance(state, Ended):
            self._context.timers.clear()
            self._queue.end()
        elif isinstance(state, Established):
            self._heartbeats.start(now)

    def _count_error(self, reason: str, now: float) -> None:
        """RFC 9260 §8.1: too many timeouts in a row, and the peer is taken to be gone."""
        self._errors += 1
        if self._errors > self._context.settings.max_retransmits and not self.is_ended:
            self._finish(user_initiated_abort(reason), events.Failed(reason), now)

    def _aborted_by_peer(self, chunk: AbortChunk, now: float) -> None:
        self._finish(None, events.Aborted(by_peer=True, reason=describe(chunk.causes)), now)

    def _abort(self, cause: Parameter, reason: str, now: float) -> None:
        if not self.is_ended:
            self._finish(cause, events.Aborted(by_peer=False, reason=reason), now)

    def _finish(self, cause: Parameter | None, event: SctpEvent, now: float) -> None:
        """End at once, saying so to the peer if there is a cause and the peer knows us."""
        outbox = self._context.outbox
        outbox.clear()
        if cause is not None and self._link is not None:
            outbox.send_alone(self._link.terms.peer_tag, AbortChunk((cause,)))
        self._context.events.append(event)
        self._enter(Ended(), now)
