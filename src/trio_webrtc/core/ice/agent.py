"""A full ICE agent (RFC 8445) for one component: finds a way to the peer and watches over it.

It composes what the other modules of this package own: `gathering` our candidates, `checklist` the pairs, `checks`
what was asked and not yet answered, `answering` the peer's checks, `consent` the pair in use. Candidates trickle in
both directions (RFC 8838), and every input may come in any order. It sends and receives STUN only; data takes the
`selected_pair`.
"""

import enum
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from trio_webrtc.core.contract import (
    Address,
    MalformedPacketError,
    Received,
    TimerTable,
    Transmit,
    Via,
    earliest,
)
from trio_webrtc.core.ice.addresses import destination, is_usable_remote, parse_ip
from trio_webrtc.core.ice.answering import PeerCheck, Refused, answer_request
from trio_webrtc.core.ice.base import Base
from trio_webrtc.core.ice.candidate import COMPONENT, Candidate, remote_reflexive_candidate
from trio_webrtc.core.ice.checklist import Checklist
from trio_webrtc.core.ice.checks import Check, Checks, came_back, encode_check
from trio_webrtc.core.ice.clock import FairClock
from trio_webrtc.core.ice.consent import Consent
from trio_webrtc.core.ice.credentials import Credentials
from trio_webrtc.core.ice.events import (
    AgentState,
    ConsentLost,
    IceEvent,
    PairSelected,
    RoleSwitched,
    StateChanged,
)
from trio_webrtc.core.ice.failure import describe
from trio_webrtc.core.ice.gathering import Gatherer, StunServer
from trio_webrtc.core.ice.generation import Generation
from trio_webrtc.core.ice.outbox import Outbox
from trio_webrtc.core.ice.pair import CandidatePair, PairState
from trio_webrtc.core.ice.role import Role
from trio_webrtc.core.ice.settings import IceSettings
from trio_webrtc.core.stun.message import XOR_MAPPED_ADDRESS, Message, MessageClass, Method


@dataclass(slots=True)
class Counters:
    """What came in and was not used."""

    malformed: int = 0
    """Not a STUN message, or its FINGERPRINT is wrong."""
    unexpected: int = 0
    """Well-formed, but neither asked for nor a question, or on a socket that is not ours any more."""
    refused: int = 0
    """Requests that were answered with an error."""
    candidates_ignored: int = 0
    """Candidates of the peer beyond the bound, or with no address to send to."""


class _Timer(enum.Enum):
    PACING = enum.auto()
    TRIGGERED = enum.auto()
    NOMINATION = enum.auto()
    PATIENCE = enum.auto()


@dataclass(slots=True, eq=False)
class _InUse:
    """The selected pair, the generation to which it belongs, and the leave to send on it."""

    pair: CandidatePair
    generation: Generation
    consent: Consent

    def is_as_good_as(self, pair: CandidatePair, generation: Generation) -> bool:
        """Whether there is no reason to use `pair` instead."""
        if self.pair is pair:
            return True
        better = self.pair.priority >= pair.priority and not self.consent.is_silent
        return self.generation is generation and better


class Agent:
    """The way to one peer. Commands and datagrams go in; datagrams and events come out."""

    def __init__(
        self,
        *,
        controlling: bool,
        credentials: Credentials | None = None,
        rng: random.Random,
        settings: IceSettings | None = None,
    ) -> None:
        self.counters = Counters()
        self.state = AgentState.NEW
        self._settings = settings = settings or IceSettings()
        self._rng = rng
        self._role = Role(controlling=controlling, rng=rng)
        self._outbox = Outbox(limit=settings.max_queued)
        self._events: deque[IceEvent] = deque()
        self._clock = FairClock()
        self._timers: TimerTable[_Timer] = TimerTable()
        self._gatherer = Gatherer(outbox=self._outbox, events=self._events, rng=rng, settings=settings)
        self._checks = Checks(outbox=self._outbox, rng=rng, retransmission=settings.check_retransmission)
        self._current = self._new_generation(credentials)
        self._in_use: _InUse | None = None
        self._validated: set[tuple[Via, Address]] = set()
        self._early_checks: dict[tuple[Via, Address], PeerCheck] = {}
        self._failed = False
        self._silent_for: float | None = None
        self._hopeful_since = 0.0
        """When there last was a reason to hope: new credentials, a new candidate, a check from the peer."""

    # What is known

    @property
    def controlling(self) -> bool:
        """Whether it is we who nominate."""
        return self._role.controlling

    @property
    def local_credentials(self) -> Credentials:
        """Those of this generation."""
        return self._current.local

    @property
    def remote_credentials(self) -> Credentials | None:
        """Those of the peer in this generation, once they are known."""
        return self._current.remote

    @property
    def selected_pair(self) -> CandidatePair | None:
        """The way that data takes; None before there is one, and after consent to use it is lost."""
        return self._in_use.pair if self._in_use is not None else None

    @property
    def local_candidates(self) -> tuple[Candidate, ...]:
        """All of this generation, those among them that are not told to the peer too (peer-reflexive)."""
        return tuple(self._gatherer.candidates())

    @property
    def remote_candidates(self) -> tuple[Candidate, ...]:
        """All that the peer named in this generation, used or not, and those that its checks came from."""
        found = [pair.remote for pair in self._current.checklist.pairs if pair.remote.type == "prflx"]
        return (*self._current.remote_candidates, *dict.fromkeys(found))

    def pairs_snapshot(self) -> tuple[CandidatePair, ...]:
        """The pairs of this generation, best first, and before them the selected one if it is of the last."""
        pairs = tuple(self._current.checklist.pairs)
        selected = self.selected_pair
        return pairs if selected is None or selected in pairs else (selected, *pairs)

    def is_validated(self, via: Via, address: Address) -> bool:
        """Whether an authenticated check or answer came from there, so that other protocols may be heard. Hot."""
        return (via, address) in self._validated

    def describe_failure(self) -> str:
        """The pairs tried with their states and last errors, and the last STUN error: one paragraph."""
        return describe(
            self.pairs_snapshot(),
            silent_for=self._silent_for,
            remote_known=self._current.remote is not None,
            remote_candidates=len(self._current.remote_candidates),
            stun_error=self._gatherer.last_error,
        )

    # Commands

    def add_local_base(
        self,
        via: Via,
        address: Address,
        now: float,
        *,
        local_preference: int = 65535,
        announced: Sequence[str] = (),
    ) -> None:
        """Offer a bound UDP socket to the peer, under its own address or under those that are announced for it."""
        if self._is_closed or via in self._gatherer.bases:
            return
        now = self._read_clock(now)
        base = Base(via=via, address=address, local_preference=local_preference, announced=tuple(announced))
        self._gatherer.add_base(base, now)
        for remote in self._current.remote_candidates:
            self._form_pair(base, remote)
        self._settle(now)

    def remove_local_base(self, via: Via, now: float) -> None:
        """A socket is gone, and all pairs with it; if one of them was in use, the others are tried again."""
        if self._is_closed or via not in self._gatherer.bases:
            return
        now = self._read_clock(now)
        self._gatherer.remove_base(via)
        for pair in self._current.checklist.pairs:
            if pair.via == via:
                self._checks.abandon(pair)
        self._current.checklist.remove_via(via)
        self._validated = {path for path in self._validated if path[0] != via}
        if self._in_use is not None and self._in_use.pair.via == via:
            self._in_use = None
            self._current.checklist.reopen()
            self._hopeful_since = now
        self._settle(now)

    def add_stun_server(self, server: Address, now: float, *, url: str | None = None) -> None:
        """Ask a STUN server, from every base of its family that there is or will be."""
        if self._is_closed:
            return
        now = self._read_clock(now)
        self._gatherer.add_server(StunServer(server, url), now)
        self._settle(now)

    def end_of_local_bases(self, now: float) -> None:
        """There will be no more: gathering is complete when the STUN servers have answered, or had their time."""
        if self._is_closed:
            return
        self._gatherer.end()
        self._settle(self._read_clock(now))

    def set_remote_credentials(self, credentials: Credentials, now: float, *, lite: bool = False) -> None:
        """Learn by what name and password the peer is known: checking begins.

        Other credentials than before in one generation mean that the peer has restarted, and then so do we.
        """
        if self._is_closed or credentials == self._current.remote:
            return
        if self._current.remote is not None:
            self.restart(now)
        now = self._read_clock(now)
        self._current.remote = credentials
        self._current.remote_is_lite = lite
        self._hopeful_since = now
        if lite and not self._role.controlling:
            # RFC 8445 §6.1.1: whoever meets a lite agent controls.
            self._role.switch()
            self._on_role_switched()
        early, self._early_checks = self._early_checks, {}
        for check in early.values():
            self._on_peer_check(check, now)
        self._settle(now)

    def add_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """Try to reach the peer there too. What cannot be used (TCP, names) is kept for statistics and left alone."""
        current = self._current
        if self._is_closed or len(current.remote_candidates) >= self._settings.max_remote_candidates:
            self.counters.candidates_ignored += 1
            return
        if any(_is_same(candidate, known) for known in current.remote_candidates):
            return
        now = self._read_clock(now)
        current.remote_candidates.append(candidate)
        self._hopeful_since = now
        for base in self._gatherer.bases.values():
            self._form_pair(base, candidate)
        self._settle(now)

    def end_of_remote_candidates(self, now: float) -> None:
        """The peer has no more candidates."""
        if self._is_closed:
            return
        self._current.remote_ended = True
        self._settle(self._read_clock(now))

    def restart(self, now: float, credentials: Credentials | None = None) -> None:
        """Begin a new generation (RFC 8445 §9); a pair in use stays so until the new one has a better."""
        if self._is_closed:
            return
        now = self._read_clock(now)
        self._checks.forget_all()
        self._timers.clear()
        self._early_checks.clear()
        self._failed = False
        self._silent_for = None
        self._current = self._new_generation(credentials)
        self._gatherer.restart(now)
        self._settle(now)

    def report_send_error(self, via: Via, to: Address, error: str, now: float) -> None:
        """A datagram could not be sent there; it counts as lost, and its reason is remembered."""
        pair = self._current.checklist.at(via, to)
        if pair is not None:
            pair.last_error = error
        else:
            self._gatherer.note_send_error(via, to, error)

    def close(self) -> None:
        """Be quiet from now on."""
        if self._is_closed:
            return
        self._outbox.clear()
        self._checks.forget_all()
        self._timers.clear()
        self._validated.clear()
        self._early_checks.clear()
        self._in_use = None
        self._set_state(AgentState.CLOSED)

    # In

    def receive_datagrams(self, batch: Sequence[Received], now: float) -> None:
        """Take STUN datagrams. Never raises for their contents."""
        if self._is_closed:
            return
        now = self._read_clock(now)
        for received in batch:
            self._receive(received, now)
        self._settle(now)

    def handle_timeout(self, now: float) -> None:
        """Fire every timer that is due. Harmless when called early or twice."""
        if self._is_closed:
            return
        now = self._read_clock(now)
        self._gatherer.handle_timeout(now)
        for check in self._checks.handle_timeout(now):
            self._on_no_answer(check)
        if self._in_use is not None:
            self._in_use.consent.handle_timeout(now)
            if self._in_use.consent.is_expired:
                self._on_consent_expired(self._in_use, now)
        for timer in self._timers.pop_expired(now):
            if timer is _Timer.NOMINATION:
                self._nominate_best(now)
        self._settle(now)

    # Out

    def poll_transmits(self, now: float) -> Transmit | None:
        """The next datagram to send."""
        return self._outbox.poll()

    def poll_event(self) -> IceEvent | None:
        """The next thing to tell."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is to be called."""
        return self._clock.outside(self._next_due())

    # Datagrams

    def _receive(self, received: Received, now: float) -> None:
        try:
            message = Message.decode(received.data)
        except MalformedPacketError:
            self.counters.malformed += 1
            return
        if message.method is not Method.BINDING or received.via not in self._gatherer.bases:
            self.counters.unexpected += 1
        elif message.message_class is MessageClass.REQUEST:
            self._on_request(message, received, now)
        elif message.message_class is MessageClass.INDICATION:
            pass  # a keepalive (RFC 8445 §11): to arrive was all it was for
        elif not self._on_answer(message, received, now):
            self.counters.unexpected += 1

    def _on_request(self, request: Message, received: Received, now: float) -> None:
        answer = answer_request(request, received, self._generations(), self._role)
        self._outbox.send(received.via, received.from_, answer.response)
        if isinstance(answer, Refused):
            self.counters.refused += 1
            return
        if answer.role_switched:
            self._on_role_switched()
        self._validate(received.via, received.from_)
        if answer.check.generation.remote is None:
            self._remember(answer.check)
        else:
            self._on_peer_check(answer.check, now)

    def _on_answer(self, message: Message, received: Received, now: float) -> bool:
        if self._gatherer.take_answer(message, received):
            return True
        if self._in_use is not None and self._in_use.consent.awaits(message.transaction_id):
            self._on_consent_answer(self._in_use, message, received, now)
            return True
        check = self._checks.take_answer(message)
        if check is None:
            return False
        if message.message_class is MessageClass.ERROR:
            self._on_check_refused(check, message, now)
        elif not came_back(check, received):
            host, port = received.from_
            self._fail(check.pair, f"answered from {host}:{port} instead")
        else:
            self._on_check_succeeded(check, message, now)
        return True

    # The peer's checks

    def _remember(self, check: PeerCheck) -> None:
        """Keep a check that came before the peer's credentials (RFC 8445 §7.3)."""
        path = check.received.via, check.received.from_
        before = self._early_checks.get(path)
        if before is not None:
            before.nominating |= check.nominating
        elif len(self._early_checks) < self._settings.max_early_checks:
            self._early_checks[path] = check

    def _on_peer_check(self, check: PeerCheck, now: float) -> None:
        """RFC 8445 §7.3.1.3 to §7.3.1.5: learn the sender's address, check back, note a nomination."""
        generation = check.generation
        via, from_ = check.received.via, check.received.from_
        pair = generation.checklist.at(via, from_)
        if pair is None and generation is self._current:
            pair = self._learn_peer_reflexive(check)
        if pair is None:
            return
        pair.requests_received += 1
        pair.responses_sent += 1
        if generation is not self._current or self._failed:
            return
        self._hopeful_since = now
        if check.nominating and not self._role.controlling:
            pair.nominated_by_peer = True
        if pair.state is PairState.SUCCEEDED:
            if pair.nominated_by_peer and not self._role.controlling:
                self._select_if_better(pair, now)
        elif generation.checklist.is_wanted(pair) or pair.nominated_by_peer:
            # A check of ours that left a moment ago may be answered yet; else our NAT, or the peer's, is open now.
            not_before = now if pair.last_check_at is None else pair.last_check_at + self._settings.pacing
            generation.checklist.trigger(pair, not_before)

    def _learn_peer_reflexive(self, check: PeerCheck) -> CandidatePair | None:
        base = self._gatherer.bases.get(check.received.via)
        if base is None:
            return None
        from_ = check.received.from_
        candidate = remote_reflexive_candidate(
            from_, priority=check.priority, foundation=f"prflx{len(self._current.checklist.pairs)}"
        )
        return self._add_pair(base, candidate, from_, proven=True)

    def _on_role_switched(self) -> None:
        self._current.checklist.prioritize(controlling=self._role.controlling)
        self._timers.cancel(_Timer.NOMINATION)
        self._events.append(RoleSwitched(self._role.controlling))

    # Our checks

    def _on_check_succeeded(self, check: Check, message: Message, now: float) -> None:
        pair = check.pair
        seen = message.get(XOR_MAPPED_ADDRESS)
        if seen is None:
            self._fail(pair, "answered without XOR-MAPPED-ADDRESS")
            return
        pair.measured(check.transaction.round_trip_time(now))
        pair.last_error = None
        pair.local = pair.base.candidate_at(seen) or self._gatherer.add_peer_reflexive(pair.base, seen)
        pair.state = PairState.SUCCEEDED
        checklist = self._current.checklist
        checklist.unfreeze(pair)
        if not check.nominating:
            checklist.untrigger(pair)
        self._checks.abandon(pair)
        self._validate(pair.via, pair.remote_address)
        if check.nominating:
            pair.nominated = True
            self._select_if_better(pair, now)
        elif pair.nominated_by_peer and not self._role.controlling:
            self._select_if_better(pair, now)

    def _on_check_refused(self, check: Check, message: Message, now: float) -> None:
        check.pair.responses_received += 1
        if message.error_code != 487:
            self._fail(check.pair, f"answered {message.error_text}")
            return
        # RFC 8445 §7.2.5.1: change the role in which the check was sent, unless that has happened since; ask again.
        if check.controlling == self._role.controlling:
            self._role.switch()
            self._role.draw_again()
            self._on_role_switched()
        if check.pair.state is PairState.IN_PROGRESS:
            check.pair.state = PairState.WAITING
        self._current.checklist.trigger(check.pair, now)

    def _on_no_answer(self, check: Check) -> None:
        self._fail(check.pair, check.pair.last_error or "no answer")

    def _fail(self, pair: CandidatePair, error: str) -> None:
        pair.last_error = error
        pair.state = PairState.FAILED
        self._checks.abandon(pair)

    def _start_check(self, pair: CandidatePair, now: float, *, nominating: bool = False) -> None:
        remote = self._current.remote
        if remote is None:
            return
        if pair.state is not PairState.SUCCEEDED:
            pair.state = PairState.IN_PROGRESS
        self._checks.start(
            pair, local=self._current.local, remote=remote, role=self._role, nominating=nominating, now=now
        )
        self._timers.set(_Timer.PACING, now + self._settings.pacing)

    def _run_checks(self, now: float) -> None:
        """Send what may be sent.

        Departs from RFC 8445 §14.2, which paces all checks: those that answer a check of the peer's are paced by the
        peer, and go at once. What nobody asked for is sent every Ta, the first at once.
        """
        checklist = self._current.checklist
        if self._current.remote is None or self._failed:
            return
        while (pair := checklist.pop_triggered(now)) is not None:
            if pair.state is not PairState.SUCCEEDED:
                self._start_check(pair, now)
        if (later := checklist.next_triggered()) is not None:
            self._timers.set(_Timer.TRIGGERED, later)
        if _Timer.PACING not in self._timers and (pair := checklist.next_ordinary()) is not None:
            self._start_check(pair, now)

    # Nomination

    def _nominate(self, now: float) -> None:
        """Choose a pair, if the choice is ours (RFC 8445 §8.1.1): the best at once, another after some patience."""
        best = self._current.checklist.best_succeeded()
        if not self._role.controlling or self._is_settled or best is None or self._checks.is_nominating():
            self._timers.cancel(_Timer.NOMINATION)
        elif best is self._current.checklist.best_possible():
            self._nominate_best(now)
        else:
            self._timers.set_if_off(_Timer.NOMINATION, now + self._settings.nomination_patience)

    def _nominate_best(self, now: float) -> None:
        best = self._current.checklist.best_succeeded()
        if best is not None and self._role.controlling and not self._is_settled and not self._failed:
            self._timers.cancel(_Timer.NOMINATION)
            self._start_check(best, now, nominating=True)

    def _select_if_better(self, pair: CandidatePair, now: float) -> None:
        """Use a nominated pair, if none is in use or this one is better (an aggressive peer nominates many)."""
        pair.nominated = True
        generation = self._current
        if self._in_use is not None and self._in_use.is_as_good_as(pair, generation):
            return
        consent = Consent(
            send=lambda id_: self._ask_consent(pair, generation, id_), rng=self._rng, settings=self._settings, now=now
        )
        self._in_use = _InUse(pair, generation, consent)
        for stopped in self._current.checklist.conclude(pair, finally_=self._role.controlling):
            self._checks.abandon(stopped)
        self._events.append(PairSelected(pair))

    @property
    def _is_settled(self) -> bool:
        return self._in_use is not None and self._in_use.generation is self._current

    # Consent

    def _ask_consent(self, pair: CandidatePair, generation: Generation, transaction_id: bytes) -> None:
        if generation.remote is None:
            return
        request = encode_check(
            pair,
            local=generation.local,
            remote=generation.remote,
            role=self._role,
            nominating=False,
            transaction_id=transaction_id,
        )
        pair.consent_requests_sent += 1
        self._outbox.send(pair.via, pair.remote_address, request)

    def _on_consent_answer(self, in_use: _InUse, message: Message, received: Received, now: float) -> None:
        remote = in_use.generation.remote
        if (
            remote is None
            or message.message_class is not MessageClass.RESPONSE
            or (received.via, received.from_) != (in_use.pair.via, in_use.pair.remote_address)
            or not message.is_signed_with(remote.key)
        ):
            return
        in_use.pair.measured(in_use.consent.take_answer(message.transaction_id, now))

    def _on_consent_expired(self, in_use: _InUse, now: float) -> None:
        self._silent_for = now - in_use.consent.last_answer
        self._events.append(ConsentLost(self._silent_for))
        self._in_use = None
        self._validated.discard((in_use.pair.via, in_use.pair.remote_address))
        if in_use.generation is self._current:
            self._give_up()

    # Pairs

    def _form_pair(self, base: Base, remote: Candidate) -> None:
        ip = parse_ip(remote.host)
        if ip is None or remote.transport.lower() != "udp" or remote.component != COMPONENT:
            return
        if not is_usable_remote(ip, remote.port):
            return
        address = destination(base.address, ip, remote.port)
        if address is not None:
            self._add_pair(base, remote, address, proven=False)

    def _add_pair(self, base: Base, remote: Candidate, address: Address, *, proven: bool) -> CandidatePair | None:
        checklist = self._current.checklist
        known = checklist.at(base.via, address)
        if known is not None:
            if known.remote.type == "prflx":
                # RFC 8838 §11.3... the peer now names what its checks have told already.
                known.remote = remote
                checklist.prioritize(controlling=self._role.controlling)
            return known
        pair = CandidatePair(base=base, local=base.candidates[0], remote=remote, remote_address=address)
        pair.prioritize(controlling=self._role.controlling)
        return pair if checklist.add(pair, proven=proven) else None

    def _validate(self, via: Via, address: Address) -> None:
        if len(self._validated) < self._settings.max_validated:
            self._validated.add((via, address))

    # Generations and states

    def _new_generation(self, credentials: Credentials | None) -> Generation:
        return Generation(
            local=credentials or Credentials.generate(self._rng),
            checklist=Checklist(max_pairs=self._settings.max_pairs),
        )

    def _generations(self) -> tuple[Generation, ...]:
        if self._in_use is None or self._in_use.generation is self._current:
            return (self._current,)
        return self._current, self._in_use.generation

    def _settle(self, now: float) -> None:
        """After any input: do what has become possible, and tell what has become of it."""
        self._nominate(now)
        self._run_checks(now)
        self._gatherer.settle()
        self._consider_failure(now)
        self._set_state(self._present_state())

    def _consider_failure(self, now: float) -> None:
        current = self._current
        if (
            self._in_use is not None
            or self._failed
            or current.remote is None
            or current.checklist.has_unfinished()
            or self._checks.is_nominating()
        ):
            self._timers.cancel(_Timer.PATIENCE)
            return
        ended = current.remote_ended and self._gatherer.is_complete
        deadline = self._hopeful_since + (self._settings.patience if ended else self._settings.trickle_patience)
        if now >= deadline:
            self._give_up()
        else:
            self._timers.set(_Timer.PATIENCE, deadline)

    def _give_up(self) -> None:
        self._failed = True
        self._checks.forget_all()
        self._timers.clear()

    def _present_state(self) -> AgentState:
        if self._failed:
            return AgentState.FAILED
        if self._in_use is None:
            return AgentState.NEW if self._current.remote is None else AgentState.CHECKING
        if self._in_use.consent.is_silent:
            return AgentState.DISCONNECTED
        if (
            self._is_settled
            and self._current.remote_ended
            and self._gatherer.is_complete
            and not self._current.checklist.has_unfinished()
        ):
            return AgentState.COMPLETED
        return AgentState.CONNECTED

    def _set_state(self, state: AgentState) -> None:
        if state is not self.state:
            self.state = state
            self._events.append(StateChanged(state))

    @property
    def _is_closed(self) -> bool:
        return self.state is AgentState.CLOSED

    # Time

    def _read_clock(self, now: float) -> float:
        return self._clock.read(now, self._next_due())

    def _next_due(self) -> float | None:
        if self._is_closed:
            return None
        return earliest(
            self._timers.earliest(),
            self._checks.next_timeout(),
            self._gatherer.next_timeout(),
            self._in_use.consent.next_timeout() if self._in_use is not None else None,
        )


def _is_same(candidate: Candidate, known: Candidate) -> bool:
    return (candidate.host, candidate.port, candidate.transport.lower(), candidate.component, candidate.tcptype) == (
        known.host,
        known.port,
        known.transport.lower(),
        known.component,
        known.tcptype,
    )
