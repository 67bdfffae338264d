"""A lite ICE agent (RFC 8445 §2.5): one that everybody can reach, and that therefore only answers.

It never checks. The peer, which is a full agent and controls, finds out which way works, and says so with
USE-CANDIDATE; data goes back the way by which that came. What consent is to a full agent (RFC 7675), the peer's own
checks are here: where they stay out, the peer is gone.
"""

import enum
import random
from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar, Final

from trio_webrtc.core.contract import Address, Received, TimerTable, Via, earliest
from trio_webrtc.core.ice.answering import Accepted
from trio_webrtc.core.ice.base import Base, BaseKind
from trio_webrtc.core.ice.candidate import Candidate, host_candidate, remote_reflexive_candidate
from trio_webrtc.core.ice.credentials import Credentials
from trio_webrtc.core.ice.endpoint import Endpoint
from trio_webrtc.core.ice.events import AgentState, ConsentLost, PairSelected, RoleSwitched
from trio_webrtc.core.ice.pair import CandidatePair, PairState
from trio_webrtc.core.ice.role import ALWAYS_LOSES, Role
from trio_webrtc.core.ice.settings import IceSettings
from trio_webrtc.core.stun.message import Message

MAX_NOMINATIONS: Final = 64
"""Choices of the peer's that are remembered, so that an old check which is sent again makes none."""


class _Timer(enum.Enum):
    SILENCE = enum.auto()
    """The peer has not checked for a while."""
    EXPIRY = enum.auto()
    """It has not for so long that it is gone; or it has not chosen a pair."""


@dataclass(slots=True, eq=False)
class _Generation:
    """What a restart replaces (RFC 8445 §9)."""

    local: Credentials
    remote: Credentials | None = None
    remote_candidates: list[Candidate] = field(default_factory=list)
    remote_is_lite: bool = False
    remote_ended: bool = False


@dataclass(slots=True, eq=False)
class _Visit:
    """What is known of one way by which the peer has come."""

    pair: CandidatePair
    credentials: Credentials
    """Those of ours that the peer has named there last."""
    last_check: float


class LiteAgent(Endpoint):
    """The end that is visited. It has the verbs and properties of `Agent`; what is not its business it leaves alone."""

    is_lite: ClassVar[bool] = True

    def __init__(
        self,
        *,
        credentials: Credentials | None = None,
        rng: random.Random,
        settings: IceSettings | None = None,
    ) -> None:
        role = Role(controlling=False, rng=rng, tie_breaker=ALWAYS_LOSES)
        super().__init__(role=role, rng=rng, settings=settings)
        self._current = _Generation(credentials or Credentials.generate(rng))
        self._former: _Generation | None = None
        """The one before a restart. Its credentials hold until the peer uses the new ones."""
        self._has_offered = False
        self._visits: dict[tuple[Via, Address], _Visit] = {}
        """In the order of the latest checks, the oldest first."""
        self._selected: _Visit | None = None
        self._peer_has_chosen = False
        """Whatever has become of the pair that it has chosen."""
        self._nominations: deque[bytes] = deque(maxlen=MAX_NOMINATIONS)
        """The ids of the checks that chose a pair. Repetitions choose nothing, whoever sends them from wherever."""
        self._has_failed = False
        self._is_silent = False
        self._last_check = 0.0
        self._silent_for: float | None = None
        self._retired: deque[Via] = deque(maxlen=self._settings.max_retired)
        self._timers: TimerTable[_Timer] = TimerTable()
        self._tell_credentials()

    # What is known

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
        """The way that data takes: the one that the peer has chosen last."""
        return self._selected.pair if self._selected is not None else None

    @property
    def remote_candidates(self) -> tuple[Candidate, ...]:
        """All that the peer named in this generation, and those that its checks came from."""
        seen = (visit.pair.remote for visit in self._visits.values())
        return tuple(dict.fromkeys((*self._current.remote_candidates, *seen)))

    def pairs_snapshot(self) -> tuple[CandidatePair, ...]:
        """The pairs that the peer has checked, the selected one first, then the latest ones."""
        others = (visit.pair for visit in reversed(self._visits.values()) if visit is not self._selected)
        return tuple(others) if self._selected is None else (self._selected.pair, *others)

    def is_validated(self, via: Via, address: Address) -> bool:
        """Whether an authenticated check came from there, so that other protocols may be heard. Hot."""
        return (via, address) in self._visits

    def describe_failure(self) -> str:
        """Why there is no way to the peer: one paragraph."""
        if self._silent_for is not None:
            return f"The peer has not checked any way to here for {self._silent_for:.0f} s."
        if self._current.remote_is_lite:
            return "Both sides are ICE-lite, so that neither looks for a way to the other."
        if self._visits:
            return f"The peer has checked {len(self._visits)} way(s) to here, and chosen none."
        return "The peer has not come: no authenticated check has arrived at this ICE-lite side."

    # Commands: our sockets

    def remove_local_base(self, via: Via, now: float) -> None:
        """A socket is gone, or a connection, and what came by it; the peer may come by another."""
        if self._is_closed:
            return
        now = self._read_clock(now)
        self._gatherer.remove_base(via)
        self._take_back(via)  # so that it stands there once, as the latest
        self._retired.append(via)
        for path in [path for path in self._visits if path[0] == via]:
            self._forget(path)
        self._settle(now)

    def add_connection(self, via: Via, base_via: Via, remote_address: Address, now: float) -> None:
        """A TCP connection was accepted by a passive base: a way of its own."""
        if self._is_closed or via in self._gatherer.bases:
            return
        base = self._gatherer.bases.of(base_via) or self._stand_in(base_via, BaseKind.TCP_PASSIVE)
        self._take_back(via)
        self._gatherer.bases.connect(via, base)

    def report_connection_failure(self, base_via: Via, remote_address: Address, error: str, now: float) -> None:
        """A lite agent wants no connections."""

    def forget_address(self, via: Via, address: Address, now: float) -> None:
        """Somebody else has proved to be there: it is not the peer's any more."""
        if self._is_closed or (via, address) not in self._visits:
            return
        now = self._read_clock(now)
        self._forget((via, address))
        self._settle(now)

    def add_stun_server(self, server: Address, now: float, *, url: str | None = None) -> None:
        """A lite agent has host candidates only (RFC 8445 §5.2), and asks nobody."""

    # Commands: what signalling brings

    def set_controlling(self, controlling: bool, now: float) -> None:
        """Learn who has offered. A lite agent controls only if its peer is lite, too (RFC 8445 §6.1.1)."""
        if self._is_closed:
            return
        self._has_offered = controlling
        self._settle(self._read_clock(now))

    def set_remote_credentials(self, credentials: Credentials, now: float, *, lite: bool = False) -> None:
        """Learn by what name the peer is known. Its checks are awaited from now on, if they have not come before.

        Other credentials than before in one generation mean that the peer has restarted, and then so do we.
        """
        if self._is_closed or credentials == self._current.remote:
            return
        if self._current.remote is not None:
            self.restart(now)
        now = self._read_clock(now)
        self._current.remote = credentials
        self._current.remote_is_lite = lite
        if self._selected is None:
            self._watch(now)
        self._settle(now)

    def add_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """Keep it for statistics: where the peer is shows in where its checks come from."""
        if self._is_closed:
            return
        known = self._agreed.remote_candidates
        if len(known) < self._settings.max_remote_candidates:
            known.append(candidate)
        else:
            self.counters.candidates_refused += 1

    def end_of_remote_candidates(self, now: float) -> None:
        """The peer has no more candidates, in the last generation that it has agreed to."""
        if self._is_closed:
            return
        self._agreed.remote_ended = True
        self._settle(self._read_clock(now))

    def restart(self, now: float, credentials: Credentials | None = None) -> None:
        """Begin a new generation (RFC 8445 §9): the way in use stays until the peer chooses another one."""
        if self._is_closed:
            return
        now = self._read_clock(now)
        if self._current.remote is not None:
            self._former = self._current
        self._current = _Generation(credentials or Credentials.generate(self._rng))
        self._has_failed = False
        self._silent_for = None
        self._peer_has_chosen = self._selected is not None
        self._gatherer.restart(now)
        self._settle(now)

    def resume(self, now: float) -> None:
        """Take back a restart that was only proposed, if the peer has not taken part in it yet."""
        if self._is_closed or self._former is None or self._current.remote is not None:
            return
        now = self._read_clock(now)
        self._current, self._former = self._former, None
        self._settle(now)

    def forget_remote(self, now: float) -> None:
        """The peer that was told of is not to be, or not under these credentials; our own half stays as it is."""
        if self._is_closed or self._current.remote is None:
            return
        now = self._read_clock(now)
        self._current = _Generation(self._current.local)
        self._settle(now)

    def report_send_error(self, via: Via, to: Address, error: str, now: float) -> None:
        """A datagram could not be sent there; it counts as lost, and its reason is remembered."""
        if (visit := self._visits.get((via, to))) is not None:
            visit.pair.last_error = error

    def close(self) -> None:
        """Be quiet from now on."""
        if self._is_closed:
            return
        self._outbox.clear()
        self._visits.clear()
        self._selected = None
        self._timers.clear()
        self._set_state(AgentState.CLOSED)

    def handle_timeout(self, now: float) -> None:
        """Notice that the peer stays out. Harmless when called early or twice."""
        if self._is_closed:
            return
        now = self._read_clock(now)
        self._gatherer.handle_timeout(now)
        for timer in self._timers.pop_expired(now):
            match timer:
                case _Timer.SILENCE:
                    self._is_silent = True
                case _Timer.EXPIRY:
                    self._give_up(now)
        self._settle(now)

    # Our sockets

    def _take_up(self, base: Base, now: float) -> None:
        if base.kind is not BaseKind.TCP_ACTIVE:  # RFC 6544 §4.4: a lite agent opens no connections
            self._take_back(base.via)
            self._gatherer.add_base(base, now)

    def _take_back(self, via: Via) -> None:
        """Something that was gone may be there again."""
        if via in self._retired:
            self._retired.remove(via)

    def _stand_in(self, via: Via, kind: BaseKind) -> Base:
        """A base that we were not told of: a socket on a wildcard, heard at another address than the known one."""
        known = next((known for known in self._gatherer.bases if known.kind is kind), None)
        address = _NOWHERE if known is None else known.address
        base = self._new_base(via, address, kind=kind, local_preference=0)
        base.candidates.append(
            host_candidate(
                *address,
                priority=base.priority_of("host"),
                foundation=f"host:{address[0]}",
                tcp_type=base.tcp_type,
            )
        )
        return base

    # The peer's checks

    def _listens_on(self, via: Via) -> bool:
        # A socket on a wildcard has a way for each address that it is heard at, and not all are known beforehand.
        return via not in self._retired

    def _take_answer(self, message: Message, received: Received, now: float) -> bool:
        return False  # nothing was asked

    def _welcome(self, answer: Accepted, now: float) -> None:
        if answer.addressed_to is self._current.local:
            self._former = None
        self._current.remote_is_lite = False  # or it would not check
        self._has_failed = False
        self._last_check = now
        visit = self._visit_of(answer, now)
        visit.pair.requests_received += 1
        visit.pair.responses_sent += 1
        nominates = answer.check.nominating and answer.transaction_id not in self._nominations
        if nominates:
            self._nominations.append(answer.transaction_id)
        if visit is not self._selected and (nominates or self._is_in_need(now)):
            self._select(visit)
        self._watch(now)

    def _is_in_need(self, now: float) -> bool:
        """Whether any way on which the peer is heard is better than what there is.

        The peer has chosen, but what it chose is gone, or it is silent there: its address has changed, and many do not
        choose again then, for they cannot know that it has.
        """
        if self._selected is None:
            return self._peer_has_chosen
        return now - self._selected.last_check >= self._settings.lite_silence

    def _visit_of(self, answer: Accepted, now: float) -> _Visit:
        """What is known of where this check came from; the peer's address may be new to us (RFC 8445 §7.3.1.3)."""
        received = answer.check.received
        path = received.via, received.from_
        visit = self._visits.pop(path, None)
        if visit is None:
            if len(self._visits) >= self._settings.max_validated:
                others = [old for old, known in self._visits.items() if known is not self._selected]
                for oldest in others[:1]:
                    del self._visits[oldest]
            visit = _Visit(self._new_pair(received, answer.check.priority), answer.addressed_to, now)
        visit.credentials, visit.last_check = answer.addressed_to, now
        self._visits[path] = visit
        return visit

    def _new_pair(self, received: Received, priority: int) -> CandidatePair:
        base = self._gatherer.bases.of(received.via) or self._stand_in(received.via, BaseKind.UDP)
        host, port = received.from_
        transport = "udp" if base.is_udp else "tcp"
        named = (
            candidate
            for candidate in self._current.remote_candidates
            if (candidate.host, candidate.port, candidate.transport.lower()) == (host, port, transport)
        )
        remote = next(named, None) or remote_reflexive_candidate(
            received.from_,
            priority=priority,
            foundation=f"prflx:{host}:{port}",
            tcp_type=None if base.is_udp else "active",
        )
        pair = CandidatePair(
            base=base,
            local=base.candidates[0],
            remote=remote,
            remote_address=received.from_,
            connection=None if received.via == base.via else received.via,
            state=PairState.SUCCEEDED,
        )
        pair.prioritize(controlling=self._role.controlling)
        return pair

    # What becomes of it

    def _select(self, visit: _Visit) -> None:
        before, self._selected = self._selected, visit
        self._peer_has_chosen = True
        self._silent_for = None
        visit.pair.nominated = True
        if visit.credentials is self._current.local:
            # RFC 8445 §9: what the generation before has found is of no use any more. But where the peer's data have
            # come from until now, there are more of them under way, and more will leave before our answer is there.
            self._visits = {
                path: v for path, v in self._visits.items() if v.credentials is self._current.local or v is before
            }
        self._events.append(PairSelected(visit.pair))

    def _watch(self, now: float) -> None:
        """The peer is there, or is to come: begin to count its silence."""
        self._is_silent = False
        if self._selected is None:
            self._timers.set(_Timer.EXPIRY, now + self._settings.trickle_patience)
        else:
            self._timers.set(_Timer.SILENCE, now + self._settings.lite_silence)
            self._timers.set(_Timer.EXPIRY, now + self._settings.consent_lifetime)

    def _forget(self, path: tuple[Via, Address]) -> None:
        """Nothing is to be expected from there any more. If it was the way in use, the next check shows another."""
        visit = self._visits.pop(path)
        if visit is self._selected:
            self._selected = None
            self._is_silent = False
            self._timers.cancel(_Timer.SILENCE)

    def _give_up(self, now: float) -> None:
        """Nothing more may be sent (RFC 7675 §5.1), until the peer shows itself again."""
        self._has_failed = True
        self._is_silent = False
        if self._selected is not None:
            self._silent_for = now - self._last_check
            self._selected = None
            self._events.append(ConsentLost(self._silent_for))

    def _settle(self, now: float) -> None:
        self._gatherer.settle(still_searching=False, now=now)
        self._tell_credentials()
        if self._role.controlling is not (self._has_offered and self._current.remote_is_lite):
            self._role.switch()
            self._events.append(RoleSwitched(self._role.controlling))
        self._set_state(self._present_state())

    def _present_state(self) -> AgentState:
        if self._selected is not None:
            if self._is_silent:
                return AgentState.DISCONNECTED
            all_told = self._current.remote_ended and self._gatherer.is_complete
            return AgentState.COMPLETED if all_told else AgentState.CONNECTED
        if self._has_failed:
            return AgentState.FAILED
        if self._peer_has_chosen:
            return AgentState.DISCONNECTED  # what it chose is gone; it may yet come by another way
        if self._current.remote is None and self.state is AgentState.NEW and not self._visits:
            return AgentState.NEW
        return AgentState.CHECKING

    @property
    def _credentials(self) -> tuple[Credentials, ...]:
        return (self._current.local,) if self._former is None else (self._current.local, self._former.local)

    @property
    def _agreed(self) -> _Generation:
        """The last generation that the peer has agreed to."""
        is_only_proposed = self._current.remote is None and self._former is not None
        return self._former if is_only_proposed and self._former is not None else self._current

    def _next_due(self) -> float | None:
        return earliest(self._timers.earliest(), self._gatherer.next_timeout())


_NOWHERE: Final[Address] = ("0.0.0.0", 0)
