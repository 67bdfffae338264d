"""What arrives: each packet is checked, and each chunk given to the room that owns what it is about."""

from typing import Final

from trio_webrtc.core.sctp.causes import unrecognized_chunk_type
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
from trio_webrtc.core.sctp.context import Context
from trio_webrtc.core.sctp.lifecycle import Lifecycle
from trio_webrtc.core.sctp.link import Link
from trio_webrtc.core.sctp.packet import RawChunk, encode_chunk, read_packet
from trio_webrtc.core.sctp.states import Closed, CookieEchoed, CookieWait, Ended

MAX_RETURNED_BYTES: Final = 256
"""What a peer may have us send back, in answer to a heartbeat or an unknown chunk, so that it fits into any packet."""


NEVER_BUNDLED: Final = frozenset({InitChunk.TYPE, InitAckChunk.TYPE, ShutdownCompleteChunk.TYPE})
"""Chunks that stand alone in their packet, which is dropped if they do not (RFC 9260 §6.10)."""

NEVER_REFUSED: Final = (
    InitChunk,
    CookieEchoChunk,
    CookieAckChunk,
    ErrorChunk,
    AbortChunk,
    ShutdownCompleteChunk,
)
"""What gets no ABORT when it comes out of the blue (RFC 9260 §8.4): it has rules of its own, or is an answer itself."""


class Inbound:
    """Has no state of its own: what a chunk means depends on the state of the association alone."""

    def __init__(self, context: Context, lifecycle: Lifecycle) -> None:
        self._context = context
        self._lifecycle = lifecycle

    def receive(self, data: bytes, now: float) -> None:
        """Take a packet. Raises MalformedPacketError, and AssociationError where only ABORT is left."""
        source_port, destination_port, tag, chunks = read_packet(data)
        outbox, lifecycle = self._context.outbox, self._lifecycle
        if source_port != outbox.destination_port or destination_port != outbox.source_port:
            self._context.counters.stray_packets += 1
        elif lifecycle.link is not None and tag == lifecycle.link.terms.local_tag:
            self._take_chunks(lifecycle.link, chunks, now)
        else:
            self._take_with_other_tag(tag, chunks, now)

    def _take_chunks(self, link: Link, chunks: list[RawChunk], now: float) -> None:
        """The hot path: what carries our own tag."""
        lifecycle, has_data = self._lifecycle, False
        for type_, flags, body in chunks:
            if type_ == DATA:
                if lifecycle.accepts_data:
                    link.receiver.on_data(DataChunk.decode(flags, body))
                    has_data = True
            elif type_ == SackChunk.TYPE:
                if link.sender.on_sack(SackChunk.decode(flags, body), now):
                    lifecycle.peer_has_answered()
            elif type_ in NEVER_BUNDLED and len(chunks) > 1:
                self._context.counters.unexpected_chunks += 1
                break
            elif type_ not in BY_TYPE:
                if not self._skip_unknown(type_, flags, body):
                    break
            else:
                chunk = BY_TYPE[type_].decode(flags, body)
                has_data |= isinstance(chunk, ForwardTsnChunk)
                self._take_control(link, chunk, now)
                if lifecycle.link is not link:
                    break
        if has_data and lifecycle.link is link:
            link.receiver.packet_ended(now)
            lifecycle.teardown.on_data(lifecycle.state, now)

    def _take_control(self, link: Link, chunk: Chunk, now: float) -> None:
        lifecycle = self._lifecycle
        match chunk:
            case ForwardTsnChunk():
                if link.terms.forward_tsn and lifecycle.accepts_data:
                    link.receiver.on_forward_tsn(chunk)
            case ReconfigChunk():
                if link.terms.reconfig:
                    link.resetter.on_reconfig(chunk, now)
                    lifecycle.peer_has_answered()
            case HeartbeatAckChunk():
                if lifecycle.heartbeats.on_answer(chunk, now):
                    lifecycle.peer_has_answered()
            case HeartbeatChunk():
                if len(chunk.info) <= MAX_RETURNED_BYTES:
                    self._context.outbox.send(HeartbeatAckChunk(chunk.info))
            case AbortChunk():
                lifecycle.aborted_by_peer(chunk, now)
            case ErrorChunk():
                lifecycle.enter(lifecycle.setup.on_error(lifecycle.state, chunk, now), now)
            case ShutdownChunk():
                lifecycle.enter(lifecycle.teardown.on_shutdown(lifecycle.state, chunk, now), now)
            case ShutdownAckChunk():
                lifecycle.enter(lifecycle.teardown.on_shutdown_ack(lifecycle.state), now)
            case ShutdownCompleteChunk():
                lifecycle.enter(lifecycle.teardown.on_shutdown_complete(lifecycle.state), now)
            case CookieEchoChunk():
                lifecycle.enter(lifecycle.setup.on_cookie_echo(lifecycle.state, link.terms.local_tag, chunk, now), now)
            case CookieAckChunk():
                lifecycle.enter(lifecycle.setup.on_cookie_ack(lifecycle.state, now), now)
            case _:
                # INIT under a tag, INIT ACK out of time (RFC 9260 §5.2.3, §8.5.1 A).
                self._context.counters.unexpected_chunks += 1

    def _take_with_other_tag(self, tag: int, chunks: list[RawChunk], now: float) -> None:
        """RFC 9260 §8.4, §8.5: what comes under another tag than the one that we gave the peer, or out of the blue."""
        (type_, flags, body), *others = chunks
        if others and type_ in NEVER_BUNDLED:
            self._context.counters.unexpected_chunks += 1
            return
        chunk = BY_TYPE[type_].decode(flags, body) if type_ in BY_TYPE else None
        lifecycle = self._lifecycle
        state, link = lifecycle.state, lifecycle.link
        match chunk:
            case InitAckChunk() if isinstance(state, CookieWait) and tag == state.init.initiate_tag:
                lifecycle.enter(lifecycle.setup.on_init_ack(state, chunk, now), now)
            case InitChunk() if type(chunk) is InitChunk and tag == 0 and not lifecycle.is_ended:
                lifecycle.setup.on_init(state, chunk, now)
            case CookieEchoChunk() if not lifecycle.is_ended:
                lifecycle.enter(lifecycle.setup.on_cookie_echo(state, tag, chunk, now), now)
                if lifecycle.link is not None and lifecycle.link.terms.local_tag == tag:
                    self._take_chunks(lifecycle.link, others, now)
            case AbortChunk() if isinstance(state, CookieWait) and tag == state.init.initiate_tag:
                lifecycle.aborted_by_peer(chunk, now)
            case AbortChunk(reflected_tag=True) if link is not None and tag == link.terms.peer_tag:
                lifecycle.aborted_by_peer(chunk, now)
            case ShutdownCompleteChunk(reflected_tag=True) if link is not None and tag == link.terms.peer_tag:
                lifecycle.enter(lifecycle.teardown.on_shutdown_complete(state), now)
            case ShutdownAckChunk() if link is None or isinstance(state, CookieEchoed):
                # RFC 9260 §8.4, 5; §8.5.1 E: our SHUTDOWN COMPLETE was lost, or we never knew of that association.
                self._context.outbox.send_alone(tag, ShutdownCompleteChunk(reflected_tag=True))
            case _:
                self._context.counters.stray_packets += 1
                if isinstance(state, Closed | Ended) and not isinstance(chunk, NEVER_REFUSED):
                    # RFC 9260 §8.4, 8: the peer has not heard yet that there is no association (any more).
                    self._context.outbox.send_alone(tag, AbortChunk(reflected_tag=True))

    def _skip_unknown(self, type_: int, flags: int, body: bytes) -> bool:
        """RFC 9260 §3.2: the two highest bits of an unknown type say whether to report it, and whether to go on."""
        if type_ & 0x40:
            chunk = encode_chunk(type_, flags, body[:MAX_RETURNED_BYTES])
            self._context.outbox.send(ErrorChunk((unrecognized_chunk_type(chunk),)))
        return bool(type_ & 0x80)
