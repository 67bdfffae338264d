"""A full ICE agent (RFC 8445) for one component: finds a way to the peer and watches over it.

It composes what the other modules of this package own: `gathering` our candidates, `generation` the search for a
pair, `answering` the peer's checks, `consent` the pair in use. Candidates trickle in both directions (RFC 8838), and
every input may come in any order. It sends and receives STUN only; data takes the `selected_pair`.
"""

import random
from collections.abc import Callable
from typing import ClassVar

from trio_webrtc.core.contract import Address, Received, Via, earliest
from trio_webrtc.core.ice.answering import Accepted
from trio_webrtc.core.ice.base import Base, BaseKind
from trio_webrtc.core.ice.candidate import Candidate
from trio_webrtc.core.ice.credentials import Credentials
from trio_webrtc.core.ice.endpoint import Endpoint
from trio_webrtc.core.ice.events import AgentState, ConnectionReleased, ConsentLost, PairSelected, RoleSwitched
from trio_webrtc.core.ice.failure import describe
from trio_webrtc.core.ice.gathering import StunServer
from trio_webrtc.core.ice.generation import Generation
from trio_webrtc.core.ice.pair import CandidatePair
from trio_webrtc.core.ice.role import Role
from trio_webrtc.core.ice.settings import IceSettings
from trio_webrtc.core.ice.usage import PairInUse
from trio_webrtc.core.stun.message import Message


class Agent(Endpoint):
    """The way to one peer. Commands and datagrams go in; datagrams and events come out."""

    is_lite: ClassVar[bool] = False

    def __init__(
        self,
        *,
        controlling: bool,
        credentials: Credentials | None = None,
        rng: random.Random,
        settings: IceSettings | None = None,
    ) -> None:
        super().__init__(role=Role(controlling=controlling, rng=rng), rng=rng, settings=settings)
        self._told_role = controlling
        self._current = self._new_generation(credentials)
        self._before: Generation | None = None
        """What goes on until the peer agrees to a restart, and after it if the restart is taken back."""
        self._in_use: PairInUse | None = None
        self._validated: dict[tuple[Via, Address], None] = {}
        """A set in order: the way that was proved longest ago stands first."""
        self._silent_for: float | None = None
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
        """The way that data takes; None before there is one, and after consent to use it is lost."""
        return self._in_use.pair if self._in_use is not None else None

    @property
    def remote_candidates(self) -> tuple[Candidate, ...]:
        """All that the peer named in this generation, used or not, and those that its checks came from."""
        in_pairs = (pair.remote for pair in self._current.checklist.pairs)
        return tuple(dict.fromkeys((*self._current.pairing.remote_candidates, *in_pairs)))

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
            remote_candidates=len(self._current.pairing.remote_candidates),
            stun_error=self._gatherer.last_error,
        )

    # Commands

    def set_controlling(self, controlling: bool, now: float) -> None:
        """Take the role that offer and answer give us, if it was not known before (RFC 8445 §6.1.1)."""
        if self._is_closed or controlling == self._role.controlling:
            return
        self._role.switch()
        self._told_role = controlling
        self._follow_role()
        self._settle(self._read_clock(now))

    def remove_local_base(self, via: Via, now: float) -> None:
        """A socket is gone, or a connection, and its pairs with it; if one was in use, the others are tried again."""
        if self._is_closed or via not in self._gatherer.bases:
            return
        now = self._read_clock(now)
        self._gatherer.remove_base(via)
        for generation in self._alive():
            generation.remove_base(via, now)
        self._forget_way(via)
        if self._in_use is not None and self._in_use.way[0] == via:
            self._in_use = None
        self._settle(now)

    def add_connection(self, via: Via, base_via: Via, remote_address: Address, now: float) -> None:
        """A TCP connection is open, accepted by a passive base or opened from an active one: a way of its own."""
        if self._is_closed or via in self._gatherer.bases:
            return
        base = self._gatherer.bases.of(base_via)
        if base is None:
            self._events.append(ConnectionReleased(via))
            return
        now = self._read_clock(now)
        self._gatherer.bases.connect(via, base)
        if base.kind is BaseKind.TCP_ACTIVE:
            any(generation.take_connection(via, base, remote_address, now) for generation in self._alive())
        self._settle(now)

    def report_connection_failure(self, base_via: Via, remote_address: Address, error: str, now: float) -> None:
        """A connection that was wanted could not be opened, for this reason."""
        if self._is_closed:
            return
        now = self._read_clock(now)
        for generation in self._alive():
            generation.report_connection_failure(base_via, remote_address, error)
        self._settle(now)

    def forget_address(self, via: Via, address: Address, now: float) -> None:
        """Somebody else has proved to be there: it is not the peer's any more, and what goes there must not be ours."""
        if self._is_closed or (via, address) not in self._validated:
            return
        now = self._read_clock(now)
        del self._validated[via, address]
        for generation in self._alive():
            generation.forget_address(via, address, now)
        if self._in_use is not None and self._in_use.way == (via, address):
            self._in_use = None
        self._settle(now)

    def add_stun_server(self, server: Address, now: float, *, url: str | None = None) -> None:
        """Ask a STUN server, from every base of its family that there is or will be."""
        if self._is_closed:
            return
        now = self._read_clock(now)
        self._gatherer.add_server(StunServer(server, url), now)
        self._settle(now)

    def set_remote_credentials(self, credentials: Credentials, now: float, *, lite: bool = False) -> None:
        """Learn by what name and password the peer is known: checking begins.

        Other credentials than before in one generation mean that the peer has restarted, and then so do we.
        """
        if self._is_closed or credentials == self._current.remote:
            return
        if self._current.remote is not None:
            self.restart(now)
        now = self._read_clock(now)
        if lite and not self._role.controlling:
            # RFC 8445 §6.1.1: whoever meets a lite agent controls.
            self._role.switch()
            self._follow_role()
        if self._before is not None:
            self._before.stop()
            self._before = None
        self._current.set_remote(credentials, now)
        self._settle(now)

    def add_remote_candidate(self, candidate: Candidate, now: float) -> None:
        """Try to reach the peer there too. What cannot be used (names) is kept for statistics and left alone."""
        if self._is_closed:
            return
        now = self._read_clock(now)
        # While a restart is proposed it may be of either generation. In the other one it does no harm.
        for generation in self._alive():
            if not generation.add_remote_candidate(candidate, now):
                self.counters.candidates_refused += 1
        self._settle(now)

    def end_of_remote_candidates(self, now: float) -> None:
        """The peer has no more candidates, in the last generation that it has agreed to."""
        if self._is_closed:
            return
        self._alive()[-1].remote_ended = True
        self._settle(self._read_clock(now))

    def restart(self, now: float, credentials: Credentials | None = None) -> None:
        """Begin a new generation (RFC 8445 §9); a pair in use stays so until the new one has chosen another.

        The generation before goes on until the new one has both sides' credentials: until then the restart is only
        proposed, and `resume()` takes it back.
        """
        if self._is_closed:
            return
        now = self._read_clock(now)
        self._silent_for = None
        if self._current.remote is None:
            self._current.stop()
        else:
            self._before = self._current
        self._current = self._new_generation(credentials)
        self._gatherer.restart(now)
        self._settle(now)

    def resume(self, now: float) -> None:
        """Take back a restart that was only proposed. What has been gathered since stays: the sockets are the same."""
        if self._is_closed or self._before is None:
            return
        now = self._read_clock(now)
        self._current.stop()
        self._current, self._before = self._before, None
        self._settle(now)

    def forget_remote(self, now: float) -> None:
        """The peer that was told of is not to be, or not under these credentials; our own half stays as it is."""
        if self._is_closed or self._current.remote is None:
            return
        now = self._read_clock(now)
        self._current.stop()
        self._current = self._new_generation(self._current.local)
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
        self._validated.clear()
        self._in_use = None
        self._set_state(AgentState.CLOSED)

    # In

    def handle_timeout(self, now: float) -> None:
        """Fire every timer that is due. Harmless when called early or twice."""
        if self._is_closed:
            return
        now = self._read_clock(now)
        self._gatherer.handle_timeout(now)
        for generation in self._alive():
            generation.handle_timeout(now)
        if self._in_use is not None:
            self._in_use.consent.handle_timeout(now)
        self._settle(now)

    # Bases and datagrams

    def _take_up(self, base: Base, now: float) -> None:
        self._gatherer.add_base(base, now)
        for generation in self._alive():
            generation.pairing.add_base(base)

    def _listens_on(self, via: Via) -> bool:
        return via in self._gatherer.bases

    @property
    def _credentials(self) -> tuple[Credentials, ...]:
        return tuple(generation.local for generation in self._generations())

    def _welcome(self, answer: Accepted, now: float) -> None:
        if answer.role_switched:
            self._follow_role()
        self._validate(answer.check.received)
        for generation in self._alive():
            if answer.addressed_to is generation.local and not generation.has_failed:
                generation.on_peer_check(answer.check, now)

    def _take_answer(self, message: Message, received: Received, now: float) -> bool:
        if self._gatherer.take_answer(message, received):
            return True
        if self._in_use is not None and self._in_use.take_answer(message, received, now):
            return True
        if any(generation.take_answer(message, received, now) for generation in self._alive()):
            self._validate(received)
            return True
        return False

    def _validate(self, received: Received) -> None:
        path = received.via, received.from_
        self._validated.pop(path, None)
        if len(self._validated) >= self._settings.max_validated:
            # A peer that has moved so often is not expected back where it was first; where data goes, it is.
            in_use = None if self._in_use is None else self._in_use.way
            del self._validated[next(old for old in self._validated if old != in_use)]
        self._validated[path] = None

    def _forget_way(self, via: Via) -> None:
        self._keep_validated(lambda path: path[0] != via)

    def _keep_validated(self, wanted: Callable[[tuple[Via, Address]], bool]) -> None:
        self._validated = dict.fromkeys(filter(wanted, self._validated))

    # What becomes of it

    def _settle(self, now: float) -> None:
        """After any input: do what has become possible, and tell what has become of it."""
        self._watch_consent()
        self._gatherer.settle(still_searching=self._in_use is None, now=now)
        for generation in self._alive():
            generation.settle(now)
        self._use_choice(now)
        self._release_connections(now)
        if self._told_role is not self._role.controlling:
            self._told_role = self._role.controlling
            self._events.append(RoleSwitched(self._told_role))
        self._tell_credentials()
        self._set_state(self._present_state())

    def _use_choice(self, now: float) -> None:
        """Send data where the latest generation has chosen that has, and keep asking for leave to."""
        generation = next((alive for alive in self._alive() if alive.chosen is not None), None)
        if generation is None or generation.chosen is None:
            return
        chosen, in_use = generation.chosen, self._in_use
        if in_use is not None and in_use.pair is chosen:
            return
        if in_use is not None and in_use.generation is not generation:
            self._keep_validated(lambda path: generation.checklist.at(*path) is not None)
        self._in_use = PairInUse(
            chosen,
            generation,
            role=self._role,
            outbox=self._outbox,
            transaction_ids=self._transaction_ids,
            rng=self._rng,
            settings=self._settings,
            now=now,
        )
        self._events.append(PairSelected(chosen))

    def _release_connections(self, now: float) -> None:
        """RFC 6544 §11.1: connections opened from here that no pair needs any more are to be closed."""
        opened = self._gatherer.bases.opened
        if not opened:
            return
        needed = {via for generation in self._alive() for via in generation.vias_needed()}
        if self._in_use is not None:
            needed.add(self._in_use.way[0])
        for via in opened:
            if via not in needed:
                self._gatherer.remove_base(via)
                for generation in self._alive():
                    generation.detach(via, now)
                self._forget_way(via)
                self._events.append(ConnectionReleased(via))

    def _watch_consent(self) -> None:
        in_use = self._in_use
        if in_use is None:
            return
        if in_use.consent.is_expired:
            self._silent_for = in_use.consent.silent_for
            self._events.append(ConsentLost(self._silent_for))
            self._in_use = None
            in_use.generation.give_up()
        elif in_use.generation in self._alive() and in_use.pair is in_use.generation.chosen:
            in_use.generation.set_choice_in_doubt(in_use.consent.is_silent)

    def _present_state(self) -> AgentState:
        if self._in_use is not None:
            return self._state_in_use(self._in_use)
        if self._current.has_failed:
            return AgentState.FAILED
        if self._current.remote is None and self.state is AgentState.NEW:
            return AgentState.NEW
        return AgentState.CHECKING

    def _state_in_use(self, in_use: PairInUse) -> AgentState:
        if in_use.consent.is_silent:
            return AgentState.DISCONNECTED
        current = self._current
        all_told = current.remote_ended and self._gatherer.is_complete
        if in_use.generation is current and all_told and not current.checklist.has_unfinished():
            return AgentState.COMPLETED
        return AgentState.CONNECTED

    def _alive(self) -> tuple[Generation, ...]:
        """The generations that look for pairs, the latest first."""
        return (self._current,) if self._before is None else (self._current, self._before)

    def _generations(self) -> list[Generation]:
        """Those alive, and the one whose pair is in use though another has been agreed on."""
        alive = self._alive()
        in_use = () if self._in_use is None or self._in_use.generation in alive else (self._in_use.generation,)
        return [*alive, *in_use]

    def _follow_role(self) -> None:
        for generation in self._alive():
            generation.on_role_switched()

    def _new_generation(self, credentials: Credentials | None) -> Generation:
        return Generation(
            local=credentials or Credentials.generate(self._rng),
            role=self._role,
            gatherer=self._gatherer,
            outbox=self._outbox,
            events=self._events,
            transaction_ids=self._transaction_ids,
            settings=self._settings,
        )

    # Time

    def _next_due(self) -> float | None:
        return earliest(
            *(generation.next_timeout() for generation in self._alive()),
            self._gatherer.next_timeout(),
            self._in_use.consent.next_timeout() if self._in_use is not None else None,
        )
