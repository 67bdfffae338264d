"""The graceful end: nothing is lost in either direction (RFC 9260 §9.2). Transitions return the next state."""

from trio_webrtc.core.sctp import events
from trio_webrtc.core.sctp.chunks.sack import SackChunk
from trio_webrtc.core.sctp.chunks.shutdown import ShutdownAckChunk, ShutdownChunk, ShutdownCompleteChunk
from trio_webrtc.core.sctp.context import Context, Timer
from trio_webrtc.core.sctp.states import (
    Closed,
    CookieEchoed,
    CookieWait,
    Ended,
    Established,
    ShutdownAckSent,
    ShutdownPending,
    ShutdownReceived,
    ShutdownSent,
    State,
)


class Teardown:
    """SHUTDOWN, SHUTDOWN ACK, SHUTDOWN COMPLETE, from either side or from both at once."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def shut_down(self, state: State) -> State:
        """The application wants to end, once all is acknowledged."""
        match state:
            case Established(link):
                link.sender.wants_prompt_sack = True
                return ShutdownPending(link)
            case Closed() | CookieWait() | CookieEchoed():
                self._context.outbox.clear()
                return self._end()  # nothing was ever said, so nothing is lost
            case _:
                return state

    def advance(self, state: State, now: float) -> State:
        """Take the next step as soon as all is acknowledged."""
        if isinstance(state, ShutdownPending) and state.link.sender.is_idle:
            state = ShutdownSent(state.link)
            self._speak(state, now)
            # RFC 9260 §9.2: a peer that goes on sending data would otherwise keep us here as long as it likes.
            self._context.timers.set(Timer.T5_SHUTDOWN_GUARD, now + 5 * self._context.settings.rto_max)
        elif isinstance(state, ShutdownReceived) and state.link.sender.is_idle:
            state = ShutdownAckSent(state.link)
            self._speak(state, now)
        return state

    def on_shutdown(self, state: State, shutdown: ShutdownChunk, now: float) -> State:
        """The peer has no more to send."""
        match state:
            case Established(link) | ShutdownPending(link) | ShutdownReceived(link):
                # §9.2: its cumulative TSN acknowledges like a SACK without gap blocks.
                link.sender.on_sack(SackChunk(shutdown.cumulative_tsn, link.sender.peer_window), now)
                link.sender.wants_prompt_sack = True
                return ShutdownReceived(link)
            case ShutdownSent(link):
                # §9.2: both have sent SHUTDOWN; each acknowledges the other's.
                answered = ShutdownAckSent(link)
                self._speak(answered, now)
                return answered
            case ShutdownAckSent():
                self._speak(state, now)
                return state
            case _:
                return state

    def on_shutdown_ack(self, state: State) -> State:
        """The peer is done too: the last word is ours."""
        match state:
            case ShutdownSent() | ShutdownAckSent():
                self._context.outbox.clear()
                self._context.outbox.send_alone(state.link.terms.peer_tag, ShutdownCompleteChunk())
                return self._end()
            case _:
                return state

    def on_shutdown_complete(self, state: State) -> State:
        """The last word was the peer's."""
        return self._end() if isinstance(state, ShutdownAckSent) else state

    def on_data(self, state: State, now: float) -> None:
        """Data after our SHUTDOWN: acknowledged at once, and SHUTDOWN said again (§9.2)."""
        if isinstance(state, ShutdownSent):
            state.link.receiver.hurry_sack()
            self._speak(state, now)

    def on_t2(self, state: State, now: float) -> None:
        """No answer: say it again. Who counts timeouts ends this."""
        self._context.rto.back_off()
        self._speak(state, now)

    def _speak(self, state: State, now: float) -> None:
        match state:
            case ShutdownSent(link):
                self._context.outbox.send(ShutdownChunk(link.receiver.cumulative_tsn & 0xFFFFFFFF))
            case ShutdownAckSent():
                self._context.outbox.send(ShutdownAckChunk())
            case _:
                return
        self._context.timers.set(Timer.T2_SHUTDOWN, now + self._context.rto.value)

    def _end(self) -> State:
        self._context.events.append(events.ShutDown())
        return Ended()
