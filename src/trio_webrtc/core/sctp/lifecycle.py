"""Which state an association is in: the one place where one state replaces another, and where it ends.

Setting up (`Setup`) and tearing down (`Teardown`) say what the next state is. From COOKIE-ECHOED on, a state has a
`Link`: the room for sending, the room for receiving, and the one that resets streams.
"""

from trio_webrtc.core.sctp import events
from trio_webrtc.core.sctp.causes import describe, user_initiated_abort
from trio_webrtc.core.sctp.chunks.abort import AbortChunk
from trio_webrtc.core.sctp.context import Context, Timer
from trio_webrtc.core.sctp.events import SctpEvent
from trio_webrtc.core.sctp.heartbeats import Heartbeats
from trio_webrtc.core.sctp.link import Link
from trio_webrtc.core.sctp.parameters import Parameter
from trio_webrtc.core.sctp.send_queue import SendQueue
from trio_webrtc.core.sctp.setup import Setup
from trio_webrtc.core.sctp.states import Closed, Ended, Established, Linked, ShutdownAckSent, State
from trio_webrtc.core.sctp.teardown import Teardown


class Lifecycle:
    """Owns the state, and the count of timeouts that may end it."""

    def __init__(self, context: Context, queue: SendQueue) -> None:
        self.setup = Setup(context, queue)
        self.teardown = Teardown(context)
        self.heartbeats = Heartbeats(context)
        self.state: State = Closed()
        self.link: Link | None = None
        """The link of the present state, if that has one: looked up once per packet."""
        self.accepts_data = False
        self.sends_data = False
        self._context = context
        self._queue = queue
        self._errors = 0
        """Timeouts in a row (RFC 9260 §8.1)."""

    @property
    def is_ended(self) -> bool:
        """Whether the association is over."""
        return isinstance(self.state, Ended)

    def connect(self, now: float) -> None:
        """Begin the handshake."""
        self.enter(self.setup.connect(self.state, now), now)

    def shut_down(self, now: float) -> None:
        """Begin the graceful end."""
        self.enter(self.teardown.shut_down(self.state), now)
        self.advance(now)

    def on_t1(self, now: float) -> None:
        """The handshake has no answer yet."""
        self.enter(self.setup.on_t1(self.state, now), now)

    def on_t2(self, now: float) -> None:
        """The graceful end has no answer yet."""
        self.teardown.on_t2(self.state, now)
        self.count_timeout("the peer did not answer SHUTDOWN", now)

    def on_t5(self, now: float) -> None:
        """The graceful end has taken too long, though the peer may have been heard of now and then (RFC 9260 §9.2)."""
        reason = "the peer did not finish the shutdown"
        self._finish(user_initiated_abort(reason), events.Failed(reason), now)

    def enter(self, state: State, now: float) -> None:
        """Make this the state, if it is not already."""
        if state is self.state:
            return
        self.state = state
        self._errors = 0
        if isinstance(state, Linked):
            self.link, self.accepts_data, self.sends_data = state.link, state.accepts_data, state.sends_data
        else:
            self.link, self.accepts_data, self.sends_data = None, False, False
        if isinstance(state, Ended):
            self._context.timers.clear()
            self._queue.end()
        elif isinstance(state, Established):
            self.heartbeats.start(now)
        elif isinstance(state, ShutdownAckSent):
            # The peer may have forgotten us after a SHUTDOWN COMPLETE that was lost: of all there is to say, only
            # another SHUTDOWN ACK gets the same answer again, and no ABORT (RFC 9260 §8.4).
            self._context.timers.cancel(Timer.HEARTBEAT)
            self._context.timers.cancel(Timer.RECONFIG)

    def advance(self, now: float) -> None:
        """Do what has become possible."""
        if self.link is not None:
            self.link.resetter.perform_announced()
            self.link.resetter.send_due_request(now)
            self.enter(self.teardown.advance(self.state, now), now)

    def peer_has_answered(self) -> None:
        """The peer is alive: timeouts are counted from 0 again."""
        self._errors = 0

    def count_timeout(self, reason: str, now: float) -> None:
        """RFC 9260 §8.1: too many timeouts in a row, and the peer is taken to be gone."""
        self._errors += 1
        if self._errors > self._context.settings.max_retransmits and not self.is_ended:
            self._finish(user_initiated_abort(reason), events.Failed(reason), now)

    def abort(self, cause: Parameter, reason: str, now: float) -> None:
        """End at once, by our own will or the peer's fault. Harmless when it is over already."""
        if not self.is_ended:
            self._finish(cause, events.Aborted(by_peer=False, reason=reason), now)

    def aborted_by_peer(self, chunk: AbortChunk, now: float) -> None:
        """The peer has ended it at once, or has forgotten it."""
        event: SctpEvent = events.Aborted(by_peer=True, reason=describe(chunk.causes))
        if isinstance(self.state, ShutdownAckSent):
            # Neither side had anything left to say. The peer has finished, and takes a late SHUTDOWN of ours, from when
            # both began to end it, for one out of the blue (RFC 9260 §8.4).
            event = events.ShutDown()
        self._finish(None, event, now)

    def _finish(self, cause: Parameter | None, event: SctpEvent, now: float) -> None:
        """Say so to the peer, if there is a cause and the peer knows us."""
        outbox = self._context.outbox
        outbox.clear()
        if cause is not None and self.link is not None:
            outbox.send_alone(self.link.terms.peer_tag, AbortChunk((cause,)))
        self._context.events.append(event)
        self.enter(Ended(), now)
