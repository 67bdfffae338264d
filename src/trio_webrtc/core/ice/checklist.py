"""The checklist: which pairs there are, and which is to be checked next (RFC 8445 §6.1.2 and §6.1.4).

With one component and one data stream there is one checklist. Pairs join it whenever one of their candidates becomes
known (RFC 8838). What a check is, and when it is sent, is not known here.
"""

from trio_webrtc.core.contract import Address, Via
from trio_webrtc.core.ice.base import BaseKind
from trio_webrtc.core.ice.pair import UNFINISHED, CandidatePair, PairState

_ACTIVE = frozenset({PairState.WAITING, PairState.IN_PROGRESS})


class Checklist:
    """Pairs in order of priority, the triggered checks, and the priority up to which nothing matters any more."""

    def __init__(self, *, max_pairs: int) -> None:
        self.pairs: list[CandidatePair] = []
        self._max_pairs = max_pairs
        self._by_path: dict[tuple[Via, Address], CandidatePair] = {}
        self._triggered: dict[CandidatePair, float] = {}
        self._selected: CandidatePair | None = None
        self._floor: int | None = None
        self._concluded = False

    def at(self, via: Via, address: Address) -> CandidatePair | None:
        """The pair of this path."""
        return self._by_path.get((via, address))

    def add(self, pair: CandidatePair, *, proven: bool = False) -> bool:
        """Take up a pair, and say whether there was room (RFC 8445 §6.1.2.5: the lowest priorities have to go).

        A `proven` pair, from which the peer has already checked, takes the room of any that has not succeeded, and if
        all have, that of the oldest: a peer that moves again and again leaves many behind.
        """
        if len(self.pairs) >= self._max_pairs and not self._make_room(pair, proven):
            return False
        # RFC 8445 §6.1.2.6 and RFC 8838 §12: of those likely to share their fate one goes ahead.
        ahead = any(other.foundation == pair.foundation and other.state in _ACTIVE for other in self.pairs)
        pair.state = PairState.FROZEN if ahead else PairState.WAITING
        self.pairs.append(pair)
        self._by_path[pair.via, pair.remote_address] = pair
        self._sort()
        return True

    def attach(self, pair: CandidatePair, connection: Via) -> bool:
        """A TCP connection is open for `pair`; say whether it is still here."""
        if self._by_path.get((pair.via, pair.remote_address)) is not pair:
            return False
        del self._by_path[pair.via, pair.remote_address]
        pair.connection = connection
        self._by_path[connection, pair.remote_address] = pair
        return True

    def detach(self, pair: CandidatePair, *, may_reconnect: bool) -> bool:
        """The way of `pair` is gone; say whether the pair stays, since another TCP connection may be opened for it."""
        self.remove(pair)
        is_in_place = (pair.base.via, pair.remote_address) in self._by_path
        if pair.base.kind is not BaseKind.TCP_ACTIVE or not may_reconnect or is_in_place:
            return False
        pair.connection = None
        pair.nominated = pair.nominated_by_peer = False
        self.pairs.append(pair)
        self._by_path[pair.via, pair.remote_address] = pair
        self._sort()
        return True

    def remove(self, pair: CandidatePair) -> None:
        """Forget a pair."""
        self.pairs.remove(pair)
        del self._by_path[pair.via, pair.remote_address]
        self._triggered.pop(pair, None)

    def prioritize(self, *, controlling: bool) -> None:
        """Put the pairs in order anew after a change of roles or of candidates."""
        for pair in self.pairs:
            pair.prioritize(controlling=controlling)
        self._sort()

    def trigger(self, pair: CandidatePair, not_before: float) -> None:
        """Have `pair` checked ahead of the others (RFC 8445 §6.1.4.1), at `not_before` or later."""
        if pair.state is not PairState.SUCCEEDED and pair.state is not PairState.IN_PROGRESS:
            pair.state = PairState.WAITING
        self._triggered.setdefault(pair, not_before)

    def untrigger(self, pair: CandidatePair) -> None:
        """There is no more need for the check that was asked for."""
        self._triggered.pop(pair, None)

    def pop_triggered(self, now: float) -> CandidatePair | None:
        """The next pair whose triggered check is due."""
        for pair, not_before in self._triggered.items():
            if not_before <= now:
                del self._triggered[pair]
                return pair
        return None

    def next_triggered(self) -> float | None:
        """When the next triggered check is due."""
        return min(self._triggered.values(), default=None)

    def next_ordinary(self, *, may_connect: bool = True) -> CandidatePair | None:
        """The pair to check next if nothing was triggered (RFC 8445 §6.1.4.2)."""
        if self._concluded:
            return None
        frozen = None
        for pair in self.pairs:
            if self._floor is not None and pair.priority <= self._floor:
                break
            if pair.needs_connection and not may_connect:
                continue
            if pair.state is PairState.WAITING and pair not in self._triggered:
                return pair
            if pair.state is PairState.FROZEN and frozen is None:
                ahead = any(p.state in _ACTIVE and p.foundation == pair.foundation for p in self.pairs)
                frozen = None if ahead else pair
        return frozen

    def unfreeze(self, like: CandidatePair) -> None:
        """A check succeeded: pairs with its foundation may go on (RFC 8445 §7.2.5.3.3)."""
        for pair in self.pairs:
            if pair.state is PairState.FROZEN and pair.foundation == like.foundation:
                pair.state = PairState.WAITING

    def conclude(self, selected: CandidatePair, *, for_good: bool) -> list[CandidatePair]:
        """A pair is selected: stop checking those below it, or all (RFC 8445 §8.1.2); return those being checked."""
        self._selected, self._floor, self._concluded = selected, selected.priority, for_good
        stopped = [pair for pair in self.pairs if pair is not selected and not self.is_wanted(pair)]
        in_progress = [pair for pair in stopped if pair.state is PairState.IN_PROGRESS]
        for pair in stopped:
            self._triggered.pop(pair, None)
        for pair in in_progress:
            pair.state = PairState.WAITING
        return in_progress

    def reopen(self) -> None:
        """The selected pair is lost: everything that may still work is checked again."""
        self._selected = None
        self.look_elsewhere()
        for pair in self.pairs:
            if pair.state is not PairState.IN_PROGRESS:
                pair.nominated = pair.nominated_by_peer = False

    def look_elsewhere(self) -> None:
        """The selected pair may be lost: everything else is checked again, until `conclude` says otherwise."""
        self._floor, self._concluded = None, False
        for pair in self.pairs:
            if pair is not self._selected and pair.state is not PairState.IN_PROGRESS:
                pair.state = PairState.WAITING

    def is_wanted(self, pair: CandidatePair) -> bool:
        """Whether it would still matter if a check of `pair` succeeded."""
        return not self._concluded and (self._floor is None or pair.priority > self._floor)

    def has_unfinished(self) -> bool:
        """Whether some pair may still come to success."""
        return any(pair.state in UNFINISHED and self.is_wanted(pair) for pair in self.pairs) or bool(self._triggered)

    def best_succeeded(self) -> CandidatePair | None:
        """The succeeded pair of the highest priority."""
        return next((pair for pair in self.pairs if pair.state is PairState.SUCCEEDED), None)

    def best_possible(self) -> CandidatePair | None:
        """The pair of the highest priority that has not failed."""
        return next((pair for pair in self.pairs if pair.state is not PairState.FAILED), None)

    def _make_room(self, pair: CandidatePair, proven: bool) -> bool:
        for other in reversed(self.pairs):
            idle = other.state in (PairState.FROZEN, PairState.WAITING, PairState.FAILED)
            if idle and (proven or other.state is PairState.FAILED or other.priority < pair.priority):
                self.remove(other)
                return True
        left_behind = (p for p in self._by_path.values() if p.state is PairState.SUCCEEDED and p is not self._selected)
        if proven and (oldest := next(left_behind, None)) is not None:
            self.remove(oldest)
            return True
        return False

    def _sort(self) -> None:
        self.pairs.sort(key=lambda pair: pair.priority, reverse=True)
