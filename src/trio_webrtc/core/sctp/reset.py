"""Starting streams afresh, in both directions (RFC 6525). Closing a data channel means this (RFC 8831 §6.7)."""

from collections import deque
from dataclasses import dataclass, replace

from trio_webrtc.core.sctp.chunks.reconfig import (
    AddIncomingStreams,
    AddOutgoingStreams,
    IncomingResetRequest,
    OutgoingResetRequest,
    ReconfigChunk,
    ReconfigResponse,
    ResetResult,
    SsnTsnResetRequest,
)
from trio_webrtc.core.sctp.context import Context, Timer
from trio_webrtc.core.sctp.events import (
    IncomingStreamsReset,
    OutgoingResetRefused,
    OutgoingResetRequested,
    OutgoingStreamsReset,
)
from trio_webrtc.core.sctp.reassembly import ResetBarrier
from trio_webrtc.core.sctp.receiving import Receiver
from trio_webrtc.core.sctp.send_queue import SendQueue
from trio_webrtc.core.sctp.sending import Sender
from trio_webrtc.core.sctp.stream_ids import among
from trio_webrtc.core.serial import add32, distance32

MAX_STREAMS = 65_535

MAX_STREAMS_PER_REQUEST = 200
"""Streams reset by one request, so that it fits into any packet; the next request takes the next ones."""


MAX_ANNOUNCED_RESETS = 16
"""Requests of the peer's that may wait at once for data which it sent before: usrsctp takes "In progress" for an
answer, and goes on to its next request."""


@dataclass(slots=True)
class _Announced:
    """A request of the peer's that waits for data which it sent before."""

    request: OutgoingResetRequest
    barrier: ResetBarrier


class Resetter:
    """One request of ours is under way at a time (RFC 6525 §5.1.1); the peer's are performed in their order."""

    def __init__(
        self,
        context: Context,
        queue: SendQueue,
        sender: Sender,
        receiver: Receiver,
        *,
        initial_tsn: int,
        peer_initial_tsn: int,
        supported: bool,
    ) -> None:
        self._context = context
        self._queue = queue
        self._sender = sender
        self._receiver = receiver
        self._supported = supported
        self._wanted: dict[int, None] = {}
        """Streams to be reset, in the order in which that was asked for."""
        # RFC 6525 §4.1: request numbers begin with the initial TSN of who makes the request.
        self._next_request_seq = initial_tsn
        self._request: OutgoingResetRequest | None = None
        self._timeouts = 0
        """How often the present request went without an answer."""
        self._ask_anew = False
        """Whether the peer has answered that it will reset them later."""
        self._next_peer_seq = peer_initial_tsn
        self._last_response: ReconfigResponse | None = None
        self._announced: deque[_Announced] = deque()
        self._told_to_wait: OutgoingResetRequest | None = None
        """The peer's last request, if it had to wait."""

    # -- our streams ---------------------------------------------------------------------------------------------

    def reset_streams(self, stream_ids: list[int]) -> None:
        """Reset these streams of ours once all that was sent on them is settled."""
        if not self._supported:
            self._context.events.append(OutgoingResetRefused(tuple(stream_ids)))
            return
        for stream_id in stream_ids:
            if not self._queue.stream(stream_id).is_resetting:
                self._queue.stream(stream_id).is_resetting = True
                self._wanted[stream_id] = None

    def send_due_request(self, now: float) -> None:
        """Send the next request, if there is one and none is under way. Cheap to call when there is not."""
        if not self._wanted or self._request is not None:
            return
        # RFC 6525 §5.1.2 A: what was sent on a stream comes before its reset.
        ready = self._queue.settled_streams(self._wanted)[:MAX_STREAMS_PER_REQUEST]
        if not ready:
            return
        for stream_id in ready:
            del self._wanted[stream_id]
        # Departs from RFC 6525 §5.1.2, which names the last TSN there is: the peer has all that was sent on these
        # streams, so it need not wait for what was sent on others. While usrsctp waits, it takes the unordered messages
        # that come for ordered ones, and aborts the association.
        last_tsn = self._sender.outstanding.cumulative_tsn & 0xFFFFFFFF
        response_seq = add32(self._next_peer_seq, -1)
        self._timeouts = 0
        self._request = OutgoingResetRequest(self._next_request_seq, response_seq, last_tsn, tuple(ready))
        self._send_request(now)

    def on_timeout(self, now: float) -> bool:
        """No answer yet, or not the last one: ask again. Return whether the peer owed us an answer."""
        if self._request is None:
            return False
        if self._ask_anew:
            # RFC 6525 §5.2.1 has a repeated request answered as it was before, that is "In progress" for ever. So,
            # like libwebrtc, ask under a new number.
            self._ask_anew = False
            self._next_request_seq = add32(self._next_request_seq, 1)
            self._request = replace(self._request, request_seq=self._next_request_seq)
            self._send_request(now)
            return False
        # Departs from RFC 6525 §5.1.1, which has requests and DATA share one timeout: on a way that loses much, either
        # would wait for what the other has lost.
        self._timeouts += 1
        self._send_request(now)
        return True

    def _send_request(self, now: float) -> None:
        if self._request is not None:
            self._context.outbox.send(ReconfigChunk((self._request,)))
            self._context.timers.set(Timer.RECONFIG, now + self._context.rto.after(self._timeouts))

    def _on_response(self, response: ReconfigResponse, now: float) -> None:
        request, context = self._request, self._context
        if request is None or response.response_seq != request.request_seq:
            return
        if response.result == ResetResult.IN_PROGRESS:
            # RFC 6525 §5.2.7: ask again after a while, unless another answer comes first.
            self._ask_anew = True
            context.timers.set(Timer.RECONFIG, now + context.rto.after(self._timeouts))
            return
        self._request = None
        self._ask_anew = False
        self._next_request_seq = add32(self._next_request_seq, 1)
        context.timers.cancel(Timer.RECONFIG)
        if response.result == ResetResult.ALREADY_IN_PROGRESS:
            self._wanted = dict.fromkeys([*request.stream_ids, *self._wanted])
            return
        streams = [self._queue.stream(stream_id) for stream_id in request.stream_ids]
        for stream in streams:
            stream.is_resetting = False
        if response.result in (ResetResult.NOTHING_TO_DO, ResetResult.PERFORMED):
            for stream in streams:
                del self._queue.streams[stream.id]  # a fresh one counts from 0
            context.events.append(OutgoingStreamsReset(request.stream_ids))
        else:
            context.events.append(OutgoingResetRefused(request.stream_ids))

    # -- the peer's streams --------------------------------------------------------------------------------------

    def on_reconfig(self, chunk: ReconfigChunk, now: float) -> None:
        """Take requests and answers."""
        for parameter in chunk.parameters:
            if isinstance(parameter, ReconfigResponse):
                self._on_response(parameter, now)
            elif parameter.request_seq == self._next_peer_seq:
                self._next_peer_seq = add32(self._next_peer_seq, 1)
                self._on_request(parameter)
            elif self._last_response is not None and parameter.request_seq == self._last_response.response_seq:
                # RFC 6525 §5.2.1: asked again, so our answer was lost, or was not the last word.
                self._context.outbox.send(ReconfigChunk((self._last_response,)))
            else:
                self._answer(parameter.request_seq, ResetResult.BAD_SEQUENCE_NUMBER)

    def _on_request(
        self,
        request: (
            OutgoingResetRequest | IncomingResetRequest | SsnTsnResetRequest | AddOutgoingStreams | AddIncomingStreams
        ),
    ) -> None:
        match request:
            case OutgoingResetRequest():
                self._on_outgoing_reset(request)
            case IncomingResetRequest():
                # RFC 6525 §5.2.3: they are reset as soon as all on them has arrived; the peer learns by our request.
                stream_ids = request.stream_ids or range(MAX_STREAMS)
                self._context.events.append(OutgoingResetRequested(stream_ids))
                self.reset_streams(among(stream_ids, self._queue.streams))  # the others are fresh, and not worth a note
                self._answer(request.request_seq, ResetResult.PERFORMED)
            case AddOutgoingStreams() if type(request) is AddOutgoingStreams:
                self._receiver.inbound_streams = min(self._receiver.inbound_streams + request.count, MAX_STREAMS)
                self._answer(request.request_seq, ResetResult.PERFORMED)
            case AddOutgoingStreams() | SsnTsnResetRequest():
                # Nothing of WebRTC needs these (RFC 8831 §6.2).
                self._answer(request.request_seq, ResetResult.DENIED)

    def _on_outgoing_reset(self, request: OutgoingResetRequest) -> None:
        told_to_wait, self._told_to_wait = self._told_to_wait, None
        if told_to_wait is not None and _is_repeat(request, told_to_wait):
            self._on_repeat(request)
        elif len(self._announced) == MAX_ANNOUNCED_RESETS:
            self._answer(request.request_seq, ResetResult.ALREADY_IN_PROGRESS)
        else:
            cumulative, reassembly = self._receiver.cumulative_tsn, self._receiver.reassembly
            last_tsn = cumulative + distance32(cumulative, request.last_assigned_tsn)
            barrier = ResetBarrier(last_tsn, request.stream_ids or range(self._receiver.inbound_streams))
            reassembly.add_barrier(barrier)
            self._announced.append(_Announced(request, barrier))
            self.perform_announced()
            if self._announced:
                # RFC 6525 §5.2.2: what was sent before the reset has to arrive first.
                self._told_to_wait = request
                self._answer(request.request_seq, ResetResult.IN_PROGRESS)

    def _on_repeat(self, request: OutgoingResetRequest) -> None:
        """Told to wait, the peer asks again under a new number. Once is enough: the streams may be in use again."""
        self._told_to_wait = request
        if self._announced:
            self._announced[-1].request = request
            self._answer(request.request_seq, ResetResult.IN_PROGRESS)
        else:
            self._answer(request.request_seq, ResetResult.PERFORMED)

    def perform_announced(self) -> None:
        """Perform the peer's resets for which all that it sent before has arrived. Cheap to call when there is none."""
        receiver, announced = self._receiver, self._announced
        while announced and receiver.cumulative_tsn >= announced[0].barrier.after_tsn:
            performed = announced.popleft()
            # Told between the messages of the old streams, which are delivered, and those of the new, kept back so far.
            self._context.events.append(IncomingStreamsReset(performed.barrier.stream_ids))
            receiver.reassembly.pass_barrier()
            self._answer(performed.request.request_seq, ResetResult.PERFORMED)

    def _answer(self, request_seq: int, result: ResetResult) -> None:
        response = ReconfigResponse(request_seq, result)
        if request_seq == add32(self._next_peer_seq, -1):
            self._last_response = response
        self._context.outbox.send(ReconfigChunk((response,)))


def _is_repeat(request: OutgoingResetRequest, earlier: OutgoingResetRequest) -> bool:
    """Whether a request asks for the very thing that an earlier one asked for."""
    return (request.last_assigned_tsn, request.stream_ids) == (earlier.last_assigned_tsn, earlier.stream_ids)
