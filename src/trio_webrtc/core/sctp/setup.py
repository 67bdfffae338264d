"""Setting up an association: four messages, from either side or from both at once (RFC 9260 §5).

Transitions take the state and return the next one.
"""

import struct
from typing import Final

from trio_webrtc.core.sctp import events
from trio_webrtc.core.sctp.causes import (
    CauseCode,
    describe,
    invalid_mandatory_parameter,
    missing_mandatory_parameter,
    stale_cookie,
    unrecognized_parameters,
    unresolvable_address,
)
from trio_webrtc.core.sctp.chunks.abort import AbortChunk
from trio_webrtc.core.sctp.chunks.cookie import CookieAckChunk, CookieEchoChunk
from trio_webrtc.core.sctp.chunks.error import ErrorChunk
from trio_webrtc.core.sctp.chunks.forward_tsn import ForwardTsnChunk
from trio_webrtc.core.sctp.chunks.init import InitAckChunk, InitChunk
from trio_webrtc.core.sctp.chunks.reconfig import ReconfigChunk
from trio_webrtc.core.sctp.chunks.shutdown import ShutdownAckChunk
from trio_webrtc.core.sctp.context import Context, Timer
from trio_webrtc.core.sctp.cookie import CookieJar, StateCookie
from trio_webrtc.core.sctp.link import Link, Terms
from trio_webrtc.core.sctp.parameters import Parameter, ParameterType, join_parameters, recognize
from trio_webrtc.core.sctp.send_queue import SendQueue
from trio_webrtc.core.sctp.states import (
    Closed,
    CookieEchoed,
    CookieWait,
    Ended,
    Established,
    Linked,
    ShutdownAckSent,
    State,
)

EXTENSIONS: Final = bytes([ReconfigChunk.TYPE, ForwardTsnChunk.TYPE])
"""The chunk types beyond RFC 9260 that we understand (RFC 5061 §4.2.7)."""

KNOWN_PARAMETERS: Final = frozenset(
    {
        ParameterType.IPV4_ADDRESS,
        ParameterType.IPV6_ADDRESS,
        ParameterType.STATE_COOKIE,
        ParameterType.UNRECOGNIZED_PARAMETER,
        ParameterType.COOKIE_PRESERVATIVE,
        ParameterType.SUPPORTED_ADDRESS_TYPES,
        ParameterType.SUPPORTED_EXTENSIONS,
        ParameterType.FORWARD_TSN_SUPPORTED,
    }
)
"""Known, which is not to say used: addresses mean nothing inside DTLS (RFC 8261)."""

MAX_REPORTED_BYTES: Final = 512
"""Unrecognized parameters are reported as far as they fit into this."""


class Setup:
    """The handshake, as seen from either side."""

    def __init__(self, context: Context, queue: SendQueue) -> None:
        self._context = context
        self._queue = queue
        self._cookies = CookieJar(context.rng)

    # -- the side that begins ------------------------------------------------------------------------------------

    def connect(self, state: State, now: float) -> State:
        """Send INIT, unless something has begun already (RFC 9260 §5.1 A)."""
        if not isinstance(state, Closed):
            return state
        init = self._propose()
        self._send_init(init, now)
        return CookieWait(init, now)

    def on_init_ack(self, state: State, ack: InitAckChunk, now: float) -> State:
        """RFC 9260 §5.1 C: give the cookie back. In any other state than COOKIE-WAIT, ignored (§5.2.3)."""
        if not isinstance(state, CookieWait):
            self._context.counters.unexpected_chunks += 1
            return state
        cookie = ack.parameter(ParameterType.STATE_COOKIE)
        if (objection := _objection(ack)) is not None:
            return self._reject(state, ack, objection)
        if cookie is None:
            return self._reject(state, ack, missing_mandatory_parameter(ParameterType.STATE_COOKIE))
        link = Link.on(self._terms(state.init, ack), self._context, self._queue)
        echoed = CookieEchoed(link, state.init, CookieEchoChunk(cookie), state.retransmits)
        self._context.timers.cancel(Timer.T1_INIT)
        if not state.retransmits:
            self._context.rto.measured(now - state.sent_at)  # the first round trip there is
        _, to_report = recognize(ack.parameters, KNOWN_PARAMETERS)
        reported = _within_bounds(to_report)
        errors = [ErrorChunk((unrecognized_parameters(join_parameters(reported)),))] if reported else []
        self._send_cookie(echoed, now, *errors)
        return echoed

    def _reject(self, state: CookieWait, ack: InitAckChunk, objection: Parameter) -> State:
        """An INIT ACK of which nothing can be made ends the association (RFC 9260 §3.3.3, §5.1.2)."""
        self._context.outbox.clear()
        if ack.initiate_tag:
            self._context.outbox.send_alone(ack.initiate_tag, AbortChunk((objection,)))
        else:
            self._context.outbox.send_alone(state.init.initiate_tag, AbortChunk((objection,), reflected_tag=True))
        self._context.events.append(events.Aborted(by_peer=False, reason=describe((objection,))))
        return Ended()

    def on_cookie_ack(self, state: State, now: float) -> State:
        """RFC 9260 §5.1 E: up."""
        return self._establish(state.link, now) if isinstance(state, CookieEchoed) else state

    def on_error(self, state: State, error: ErrorChunk, now: float) -> State:
        """A stale cookie is worth a new beginning (RFC 9260 §5.2.6); other errors are for the peer's peace of mind."""
        is_stale = any(cause.type == CauseCode.STALE_COOKIE for cause in error.causes)
        if not is_stale or not isinstance(state, CookieEchoed):
            return state
        self._context.timers.cancel(Timer.T1_COOKIE)
        self._context.outbox.clear()
        tries = state.retransmits + 1
        if tries > self._context.settings.max_init_retransmits:
            self._context.events.append(events.Failed("every cookie was stale before it reached the peer"))
            return Ended()
        self._send_init(state.init, now)
        return CookieWait(state.init, now, tries)

    def on_t1(self, state: State, now: float) -> State:
        """No answer yet: send INIT or COOKIE ECHO again, or give up (RFC 9260 §5.1, §4 notes 2 and 3)."""
        if not isinstance(state, CookieWait | CookieEchoed):
            return state
        state.retransmits += 1
        if state.retransmits > self._context.settings.max_init_retransmits:
            self._context.events.append(events.Failed("the peer did not answer the SCTP handshake"))
            return Ended()
        self._context.rto.back_off()
        if isinstance(state, CookieWait):
            self._send_init(state.init, now)
        else:
            self._send_cookie(state, now)
        return state

    def _propose(self, streams_taken: int = 65_535) -> InitChunk:
        """What we want; where the peer has said how many streams it takes, no more of them (RFC 9260 §5.1.1)."""
        settings, rng = self._context.settings, self._context.rng
        initial_tsn = settings.initial_tsn
        return InitChunk(
            initiate_tag=rng.randint(1, 0xFFFFFFFF),
            a_rwnd=settings.receive_buffer,
            outbound_streams=min(settings.streams, streams_taken),
            inbound_streams=settings.streams,
            initial_tsn=rng.getrandbits(32) if initial_tsn is None else initial_tsn & 0xFFFFFFFF,
            parameters=(
                Parameter(ParameterType.FORWARD_TSN_SUPPORTED, b""),
                Parameter(ParameterType.SUPPORTED_EXTENSIONS, EXTENSIONS),
            ),
        )

    def _send_init(self, init: InitChunk, now: float) -> None:
        self._context.outbox.send_alone(0, init)  # RFC 9260 §8.5.1 A: the tag is 0, for the peer's is not known yet
        self._context.timers.set(Timer.T1_INIT, now + self._context.rto.value)

    def _send_cookie(self, state: CookieEchoed, now: float, *errors: ErrorChunk) -> None:
        # RFC 9260 §5.1 C: COOKIE ECHO comes first; no packet of its own may follow before it is answered.
        self._context.outbox.send_alone(state.link.terms.peer_tag, state.cookie, *errors)
        self._context.timers.set(Timer.T1_COOKIE, now + self._context.rto.value)

    # -- the side that answers -----------------------------------------------------------------------------------

    def on_init(self, state: State, init: InitChunk, now: float) -> None:
        """Answer INIT with a cookie, and change nothing (RFC 9260 §5.1 B, §5.2.1, §5.2.2)."""
        if (objection := _objection(init)) is not None:
            if init.initiate_tag:
                self._context.outbox.send_alone(init.initiate_tag, AbortChunk((objection,)))
            return
        local_tie_tag = peer_tie_tag = 0
        match state:
            case CookieWait(own):
                proposal = own  # §5.2.1: both sides have sent INIT; each answers with what it has proposed
            case CookieEchoed(link=link, init=own):
                proposal = own
                local_tie_tag, peer_tie_tag = link.terms.local_tag, link.terms.peer_tag
            case ShutdownAckSent():
                # §9.2: the peer believes the old association gone, and will believe it more.
                self._context.outbox.send(ShutdownAckChunk())
                return
            case Linked(link):
                proposal = self._propose(init.inbound_streams)  # §5.2.2: a peer that has restarted, perhaps
                local_tie_tag, peer_tie_tag = link.terms.local_tag, link.terms.peer_tag
            case _:
                proposal = self._propose(init.inbound_streams)
        cookie = StateCookie(self._terms(proposal, init), now - self._context.began_at, local_tie_tag, peer_tie_tag)
        _, to_report = recognize(init.parameters, KNOWN_PARAMETERS)
        ack = InitAckChunk(
            initiate_tag=proposal.initiate_tag,
            a_rwnd=proposal.a_rwnd,
            outbound_streams=proposal.outbound_streams,
            inbound_streams=proposal.inbound_streams,
            initial_tsn=proposal.initial_tsn,
            parameters=(
                Parameter(ParameterType.STATE_COOKIE, self._cookies.seal(cookie)),
                *proposal.parameters,
                *(
                    Parameter(ParameterType.UNRECOGNIZED_PARAMETER, parameter.encode())
                    for parameter in _within_bounds(to_report)
                ),
            ),
        )
        self._context.outbox.send_alone(init.initiate_tag, ack)

    def on_cookie_echo(self, state: State, tag: int, echo: CookieEchoChunk, now: float) -> State:
        """RFC 9260 §5.1 D and, where there is an association already, the table of §5.2.4."""
        cookie = self._cookies.open(echo.cookie)
        if cookie is None or cookie.terms.local_tag != tag:
            self._context.counters.stray_packets += 1
            return state
        terms = cookie.terms
        local_tag, peer_tag = _tags(state)
        is_ours = terms.local_tag == local_tag
        is_peers = terms.peer_tag == peer_tag
        age = now - self._context.began_at - cookie.made_at
        staleness = age - self._context.settings.cookie_lifetime
        if staleness > 0 and not (is_ours and is_peers):
            # §5.2.4, 3: only of the association that we are in, a cookie never grows stale.
            self._context.outbox.send_alone(terms.peer_tag, ErrorChunk((stale_cookie(staleness),)))
            return state
        if isinstance(state, Closed):
            return self._accept(terms, now)
        if is_ours and is_peers:
            # Action D: the cookie of this very association.
            state = self._establish(state.link, now) if isinstance(state, CookieEchoed) else state
            self._context.outbox.send(CookieAckChunk())
            return state
        if is_ours and isinstance(state, CookieWait | CookieEchoed):
            # Action B: both began at once, and the peer's COOKIE ECHO came first, or it has begun a second time.
            return self._accept(terms, now)
        if (cookie.local_tie_tag, cookie.peer_tie_tag) == (local_tag, peer_tag) and isinstance(state, Linked):
            return self._restart(state, terms, now)
        return state  # Action C, and what the table does not name: silently discarded

    def _restart(self, state: Linked, terms: Terms, now: float) -> State:
        """Action A: the peer has lost all memory of the association, and begins it again (RFC 9260 §5.2.4.1)."""
        if isinstance(state, ShutdownAckSent):
            self._context.outbox.send(ShutdownAckChunk())
            shutting_down = Parameter(CauseCode.COOKIE_RECEIVED_WHILE_SHUTTING_DOWN, b"")
            self._context.outbox.send(ErrorChunk((shutting_down,)))
            return state
        self._context.outbox.clear()
        self._context.timers.clear()
        self._context.events.append(events.Restarted(self._queue.start_afresh()))
        self._context.outbox.send(CookieAckChunk())
        link = Link.on(terms, self._context, self._queue)
        # What the application has not taken yet takes up room as before, and gives it back when it is released.
        link.receiver.reassembly.delivered = state.link.receiver.reassembly.delivered
        return Established(link)

    def _accept(self, terms: Terms, now: float) -> State:
        self._context.outbox.clear()  # an INIT or COOKIE ECHO of ours that is still waiting has no purpose any more
        self._context.outbox.send(CookieAckChunk())
        return self._establish(Link.on(terms, self._context, self._queue), now)

    def _establish(self, link: Link, now: float) -> State:
        timers, terms = self._context.timers, link.terms
        timers.cancel(Timer.T1_INIT)
        timers.cancel(Timer.T1_COOKIE)
        self._queue.discard_beyond(terms.outbound_streams)
        self._context.events.append(events.Established(terms.inbound_streams, terms.outbound_streams))
        return Established(link)

    def _terms(self, own: InitChunk, peers: InitChunk) -> Terms:
        known, _ = recognize(peers.parameters, KNOWN_PARAMETERS)
        values = dict(known)
        extensions = values.get(ParameterType.SUPPORTED_EXTENSIONS, b"")
        return Terms(
            local_tag=own.initiate_tag,
            peer_tag=peers.initiate_tag,
            local_initial_tsn=own.initial_tsn,
            peer_initial_tsn=peers.initial_tsn,
            peer_window=peers.a_rwnd,
            # RFC 9260 §5.1.1: each direction has what its sender wants, or what its receiver takes, if that is less.
            inbound_streams=min(own.inbound_streams, peers.outbound_streams),
            outbound_streams=min(own.outbound_streams, peers.inbound_streams),
            forward_tsn=ParameterType.FORWARD_TSN_SUPPORTED in values or ForwardTsnChunk.TYPE in extensions,
            reconfig=ReconfigChunk.TYPE in extensions,
        )


def _tags(state: State) -> tuple[int, int]:
    match state:
        case CookieWait(init):
            return init.initiate_tag, 0
        case Linked(link):
            return link.terms.local_tag, link.terms.peer_tag
        case _:
            return 0, 0


def _objection(init: InitChunk) -> Parameter | None:
    """Why INIT or INIT ACK will not do, if so."""
    if not (init.initiate_tag and init.outbound_streams and init.inbound_streams):
        return invalid_mandatory_parameter()  # RFC 9260 §3.3.2: neither the tag nor a number of streams may be 0
    name = init.parameter(ParameterType.HOST_NAME_ADDRESS)
    if name is not None:
        # §3.3.2.1.4: there must be no names any more, and they must be refused.
        return unresolvable_address(Parameter(ParameterType.HOST_NAME_ADDRESS, name[:MAX_REPORTED_BYTES]).encode())
    return None


def _within_bounds(parameters: tuple[Parameter, ...]) -> list[Parameter]:
    reported, size = [], 0
    for parameter in parameters:
        size += struct.calcsize("!HH") + len(parameter.value)
        if size > MAX_REPORTED_BYTES:
            break
        reported.append(parameter)
    return reported
