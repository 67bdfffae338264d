"""One generation: from a pair of credentials to a pair of addresses; what an ICE restart replaces (RFC 8445 §9).

It checks the pairs that `pairing` forms, checks back where the peer has checked, and comes to a choice: its own if we
control, else the peer's. What becomes of the choice, and whether the peer stays there, is not known here.
"""

import enum
from collections import deque
from collections.abc import Iterator

from trio_webrtc.core.contract import Address, Received, TimerTable, Via, earliest
from trio_webrtc.core.ice.answering import PeerCheck
from trio_webrtc.core.ice.base import Base, BaseKind
from trio_webrtc.core.ice.candidate import Candidate
from trio_webrtc.core.ice.checklist import Checklist
from trio_webrtc.core.ice.checks import Check, Checks, came_back
from trio_webrtc.core.ice.connecting import Connecting
from trio_webrtc.core.ice.credentials import Credentials
from trio_webrtc.core.ice.events import IceEvent
from trio_webrtc.core.ice.gathering import Gatherer
from trio_webrtc.core.ice.outbox import Outbox
from trio_webrtc.core.ice.pair import CandidatePair, PairState
from trio_webrtc.core.ice.pairing import Pairing
from trio_webrtc.core.ice.role import Role
from trio_webrtc.core.ice.settings import IceSettings
from trio_webrtc.core.stun.message import XOR_MAPPED_ADDRESS, Message, MessageClass, TransactionIds


class _Timer(enum.Enum):
    PACING = enum.auto()
    """The next check that nobody asked for may go."""
    TRIGGERED = enum.auto()
    NOMINATION = enum.auto()
    """The best pair so far is taken, though a better one may yet succeed."""
    PATIENCE = enum.auto()
    """Nothing can be done any more, and nothing has come from the peer for long enough."""
    CONNECTING = enum.auto()
    """What needs no TCP connection has had its time."""


class Generation:
    """Both sides' credentials, the pairs, and the checks under way."""

    def __init__(
        self,
        *,
        local: Credentials,
        role: Role,
        gatherer: Gatherer,
        outbox: Outbox,
        events: deque[IceEvent],
        transaction_ids: TransactionIds,
        settings: IceSettings,
    ) -> None:
        self.local = local
        self.remote: Credentials | None = None
        self.remote_ended = False
        """The peer has said that it has no more candidates (RFC 8838 §14)."""
        self.checklist = Checklist(max_pairs=settings.max_pairs)
        self.pairing = Pairing(
            self.checklist, gatherer.bases, role, max_remote_candidates=settings.max_remote_candidates
        )
        self.chosen: CandidatePair | None = None
        """The nominated pair, as long as it is there."""
        self.has_failed = False
        self._role = role
        self._gatherer = gatherer
        self._settings = settings
        self._checks = Checks(
            outbox=outbox, transaction_ids=transaction_ids, retransmission=settings.check_retransmission
        )
        self._connecting = Connecting(events=events, settings=settings)
        self._early: dict[tuple[Via, Address], PeerCheck] = {}
        self._hopeful_since = 0.0
        """When there last was a reason to hope: the credentials, a new candidate, a check from the peer."""
        self._choice_is_in_doubt = False
        self._timers: TimerTable[_Timer] = TimerTable()

    # What comes by signalling, and from our own sockets

    def set_remote(self, remote: Credentials, now: float) -> None:
        """Checking may begin; the peer's checks that came too early are followed now (RFC 8445 §7.3)."""
        self.remote = remote
        self._hopeful_since = now
        self._timers.set(_Timer.CONNECTING, now + self._settings.connection_delay)
        early, self._early = self._early, {}
        for check in early.values():
            self.on_peer_check(check, now)

    def remove_base(self, via: Via, now: float) -> None:
        """A socket is gone, or a connection; if the chosen pair went with it, all others have another chance."""
        self._connecting.forget_base(via)
        if self.chosen is not None and self.chosen.via == via:
            self._lose(self.chosen, now)
        self.detach(via, now)

    def detach(self, via: Via, now: float) -> None:
        """Nothing goes by this way any more. A pair that has lost only its connection stays, and may get another."""
        for pair in [pair for pair in self.checklist.pairs if pair.via == via]:
            self._checks.abandon(pair)
            if not self.checklist.detach(pair, may_reconnect=self._gatherer.bases.offers(pair.base)):
                continue
            pair.last_error = "the connection has ended"
            if pair.state is PairState.IN_PROGRESS or pair.state is PairState.FAILED:
                pair.state = PairState.FAILED
            else:
                pair.state = PairState.WAITING
                if self._is_wanted(pair):
                    since = now if pair.last_check_at is None else pair.last_check_at
                    self.checklist.trigger(pair, since + self._settings.connection_retry)

    def forget_address(self, via: Via, address: Address, now: float) -> None:
        """Somebody else is there now: the pair is gone, and if it was chosen, all others have another chance."""
        pair = self.checklist.at(via, address)
        if pair is None:
            return
        self._checks.abandon(pair)
        self.checklist.remove(pair)
        if pair is self.chosen:
            self._lose(pair, now)

    def take_connection(self, via: Via, base: Base, remote_address: Address, now: float) -> bool:
        """Have the pair that waits for this connection checked by it; say whether there is one."""
        pair = self._connecting.take(base.via, remote_address)
        if pair is None or not self.checklist.attach(pair, via):
            return False
        pair.state = PairState.WAITING
        self.checklist.trigger(pair, now)
        return True

    def report_connection_failure(self, base_via: Via, remote_address: Address, error: str) -> None:
        """There is no connection to be had."""
        if (pair := self._connecting.take(base_via, remote_address)) is not None:
            self._fail_pair(pair, error)

    def vias_needed(self) -> Iterator[Via]:
        """The ways that may yet be chosen, or are."""
        if self.has_failed:
            return
        for pair in self.checklist.pairs:
            if pair is self.chosen or self.checklist.is_wanted(pair):
                yield pair.via

    def add_remote_candidate(self, candidate: Candidate, now: float) -> bool:
        """Learn where the peer may be reached; say whether there was room for it."""
        if self.pairing.knows(candidate):
            return True
        if not self.pairing.add_remote(candidate):
            return False
        self._hopeful_since = now
        return True

    def on_role_switched(self) -> None:
        """RFC 8445 §7.3.1.1: pair priorities depend on the role, and so does whose choice it is."""
        self.checklist.prioritize(controlling=self._role.controlling)
        self._timers.cancel(_Timer.NOMINATION)

    def set_choice_in_doubt(self, in_doubt: bool) -> None:
        """While the peer is silent on the chosen pair, any other on which it is heard is better, and looked for."""
        if in_doubt is self._choice_is_in_doubt or self.chosen is None:
            return
        self._choice_is_in_doubt = in_doubt
        if in_doubt:
            self.checklist.look_elsewhere()
            if self.chosen.base.kind is BaseKind.TCP_ACTIVE:
                # A connection may be dead without a word, and then another one to the same place helps.
                self.pairing.form(self.chosen.base, self.chosen.remote)
        else:
            self._stop_looking(self.chosen)

    def give_up(self) -> None:
        """No more checks, no more hope."""
        self.has_failed = True
        self.chosen = None
        self.stop()

    def stop(self) -> None:
        """Do nothing any more of one's own accord."""
        self._checks.forget_all()
        self._connecting.forget_all()
        self._early.clear()
        self._timers.clear()

    # What comes from the network

    def on_peer_check(self, check: PeerCheck, now: float) -> None:
        """Learn the sender's address, check back, note a nomination (RFC 8445 §7.3.1.3 to §7.3.1.5)."""
        if self.remote is None:
            self._remember(check)
            return
        via, from_ = check.received.via, check.received.from_
        pair = self.checklist.at(via, from_) or self.pairing.learn(check)
        if pair is None:
            return
        pair.requests_received += 1
        pair.responses_sent += 1
        self._hopeful_since = now
        if check.nominating and not self._role.controlling:
            pair.nominated_by_peer = True
        if pair.state is PairState.SUCCEEDED:
            self._reconsider(pair, now)
        elif self._is_wanted(pair) and (pair.base.is_udp or not self._checks.is_under_way(pair)):
            # What has been sent by TCP arrives: to ask again would tell nothing new.
            self._trigger(pair, now)

    def take_answer(self, message: Message, received: Received, now: float) -> bool:
        """Whether that is a signed answer to a check of ours; if it is, draw the conclusions."""
        check = self._checks.take_answer(message)
        if check is None:
            return False
        pair = check.pair
        if message.message_class is MessageClass.ERROR and message.error_code == 487:
            self._on_role_conflict(check, now)
        elif message.message_class is MessageClass.ERROR:
            self._fail(check, f"answered {message.error_text}")
        elif not came_back(check, received):
            host, port = received.from_
            self._fail(check, f"answered from {host}:{port} instead")
        elif (seen := message.get(XOR_MAPPED_ADDRESS)) is None:
            self._fail(check, "answered without XOR-MAPPED-ADDRESS")
        else:
            pair.local = pair.base.candidate_at(seen) or self._gatherer.add_peer_reflexive(pair.base, seen)
            self._succeed(check, now)
        pair.responses_received += 1
        return True

    # Time

    def handle_timeout(self, now: float) -> None:
        """Repeat checks, give checks up, take what there is, or lose hope."""
        for check in self._checks.handle_timeout(now):
            self._fail(check, check.pair.last_error or "no answer")
        for pair in self._connecting.handle_timeout(now):
            self._fail_pair(pair, "no connection in time")
        for timer in self._timers.pop_expired(now):
            if timer is _Timer.NOMINATION:
                self._nominate_best(now)

    def next_timeout(self) -> float | None:
        """When the next of these is due."""
        return earliest(self._checks.next_timeout(), self._connecting.next_timeout(), self._timers.earliest())

    def settle(self, now: float) -> None:
        """After any input: send and nominate what may be sent and nominated, and see whether there is hope."""
        if self.remote is None or self.has_failed:
            return
        self._consider_nomination(now)
        self._run_checks(self.remote, now)
        self._consider_failure(now)

    def _is_wanted(self, pair: CandidatePair) -> bool:
        if self.checklist.is_wanted(pair) or self._choice_is_in_doubt:
            return True
        return pair.nominated_by_peer and not self._role.controlling

    def _remember(self, check: PeerCheck) -> None:
        path = check.received.via, check.received.from_
        before = self._early.get(path)
        if before is not None:
            before.nominating |= check.nominating
        elif len(self._early) < self._settings.max_early_checks:
            self._early[path] = check

    # Checks

    def _run_checks(self, remote: Credentials, now: float) -> None:
        """Send what may be sent.

        Departs from RFC 8445 §14.2, which paces all checks alike: one that answers a check of the peer's is paced by
        the peer, and goes at once, as does the one nomination. What nobody asked for goes every Ta, the first at once.
        """
        while (pair := self.checklist.pop_triggered(now)) is not None:
            if pair.state is not PairState.SUCCEEDED:
                self._start(pair, remote, now)
        if (later := self.checklist.next_triggered()) is not None:
            self._timers.set(_Timer.TRIGGERED, later)
        if _Timer.PACING in self._timers:
            return
        if (pair := self.checklist.next_ordinary(may_connect=self._may_connect())) is not None:
            self._start(pair, remote, now)

    def _start(self, pair: CandidatePair, remote: Credentials, now: float) -> None:
        """Check a pair, or with TCP have it connected first."""
        if not pair.needs_connection:
            self._start_check(pair, remote, now, nominating=False)
        elif self._may_connect():
            pair.state = PairState.IN_PROGRESS
            self._connecting.ask(pair, now)
            self._timers.set(_Timer.PACING, now + self._settings.pacing)

    def _may_connect(self) -> bool:
        """Whether a TCP connection may be opened: a peer that UDP reaches at once is spared them."""
        best = self.checklist.best_possible()
        if _Timer.CONNECTING in self._timers and best is not None and best.base.is_udp:
            return False
        return self._connecting.has_room

    def _trigger(self, pair: CandidatePair, now: float) -> None:
        """Check at once, since our NAT or the peer's is open now; but a check that left a moment ago is given its time.

        So no peer can make us check a pair more often than every Ta.
        """
        not_before = now if pair.last_check_at is None else pair.last_check_at + self._settings.pacing
        self.checklist.trigger(pair, not_before)

    def _start_check(self, pair: CandidatePair, remote: Credentials, now: float, *, nominating: bool) -> None:
        if pair.state is not PairState.SUCCEEDED:
            pair.state = PairState.IN_PROGRESS
        self._checks.start(pair, local=self.local, remote=remote, role=self._role, nominating=nominating, now=now)
        self._timers.set(_Timer.PACING, now + self._settings.pacing)

    def _succeed(self, check: Check, now: float) -> None:
        pair = check.pair
        pair.state = PairState.SUCCEEDED
        pair.last_error = None
        pair.measured(check.transaction.round_trip_time(now))
        self._checks.abandon(pair)
        self.checklist.untrigger(pair)
        self.checklist.unfreeze(pair)
        if check.nominating and self._role.controlling:
            self._choose(pair)
        else:
            self._reconsider(pair, now)

    def _fail(self, check: Check, error: str) -> None:
        pair = check.pair
        if pair.state is PairState.SUCCEEDED and not check.nominating:
            pair.last_error = error
            return  # an older check of the pair, abandoned since
        # Departs from RFC 8445 §7.2.5.3.4, where a nomination that fails fails all: the next best pair is tried.
        self._fail_pair(pair, error)

    def _fail_pair(self, pair: CandidatePair, error: str) -> None:
        pair.last_error = error
        pair.state = PairState.FAILED
        self._checks.abandon(pair)

    def _on_role_conflict(self, check: Check, now: float) -> None:
        """RFC 8445 §7.2.5.1: give up the role in which we asked, unless that has happened since, and ask again."""
        if check.controlling == self._role.controlling:
            self._role.switch()
            self._role.draw_again()
            self.on_role_switched()
        if check.pair.state is PairState.IN_PROGRESS:
            check.pair.state = PairState.WAITING
        self._trigger(check.pair, now)

    # Nomination

    def _consider_nomination(self, now: float) -> None:
        """If the choice is ours: take the best pair at once, another after some patience (RFC 8445 §8.1.1)."""
        best, better = self.checklist.best_succeeded(), self.checklist.best_possible()
        if not self._role.controlling or self.chosen is not None or best is None or self._checks.is_nominating():
            self._timers.cancel(_Timer.NOMINATION)
        elif better is None or better is best:
            self._nominate_best(now)
        else:
            patience = self._settings.nomination_patience
            if not better.base.is_udp:
                patience += best.round_trip_time or 0.0  # for the connection, which has to be opened first
            self._timers.set_if_off(_Timer.NOMINATION, now + patience)

    def _nominate_best(self, now: float) -> None:
        best = self.checklist.best_succeeded()
        if best is not None and self.chosen is None and self._role.controlling:
            self._nominate(best, now)

    def _nominate(self, pair: CandidatePair, now: float) -> None:
        if self.remote is not None:
            self._timers.cancel(_Timer.NOMINATION)
            self._start_check(pair, self.remote, now, nominating=True)

    def _reconsider(self, pair: CandidatePair, now: float) -> None:
        """A pair is seen to work: is it a better choice than the one there is?

        The peer's choice is taken; of several, as an aggressive peer makes them, the best (RFC 8445 §8.1.1). It is
        changed without a new choice only if the peer has gone silent there and is heard elsewhere, as after a change of
        its address. That departs from RFC 8445 §8.1.1, which wants a restart; the alternative here is to lose the
        connection to a peer that is in plain sight. Many do not nominate again when their address changes, for they
        cannot know that it has.
        """
        in_doubt = self._choice_is_in_doubt and self.chosen is not None and pair is not self.chosen
        if self._role.controlling:
            if in_doubt and not self._checks.is_nominating():
                self._nominate(pair, now)
        elif in_doubt or (pair.nominated_by_peer and (self.chosen is None or pair.priority > self.chosen.priority)):
            self._choose(pair)

    def _choose(self, pair: CandidatePair) -> None:
        """RFC 8445 §8.1.2: checks that cannot lead to a better choice are stopped."""
        pair.nominated = True
        self.chosen = pair
        self._choice_is_in_doubt = False
        self._stop_looking(pair)

    def _lose(self, chosen: CandidatePair, now: float) -> None:
        """The chosen pair is gone: take another that the peer has nominated, or give all others another chance."""
        self.chosen = None
        self._hopeful_since = now
        others = (pair for pair in self.checklist.pairs if pair is not chosen and pair.state is PairState.SUCCEEDED)
        nominated = next((pair for pair in others if pair.nominated_by_peer), None)
        if nominated is not None and not self._role.controlling:
            self._choose(nominated)
        else:
            self.checklist.reopen()

    def _stop_looking(self, chosen: CandidatePair) -> None:
        for stopped in self.checklist.conclude(chosen, for_good=self._role.controlling):
            self._checks.abandon(stopped)
            self._connecting.drop(stopped)

    # Failure

    def _consider_failure(self, now: float) -> None:
        if self.chosen is not None or self.checklist.has_unfinished() or self._checks.is_nominating():
            self._timers.cancel(_Timer.PATIENCE)
            return
        ended = self.remote_ended and self._gatherer.is_complete
        patience = self._settings.patience if ended else self._settings.trickle_patience
        if now < self._hopeful_since + patience:
            self._timers.set(_Timer.PATIENCE, self._hopeful_since + patience)
        else:
            self.give_up()
