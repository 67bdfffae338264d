"""TCP connections that are being opened for pairs: which, how many at once, and for how long (RFC 6544 §7.1)."""

from collections import deque

from trio_webrtc.core.contract import Address, TimerTable, Via
from trio_webrtc.core.ice.events import ConnectionWanted, IceEvent
from trio_webrtc.core.ice.pair import CandidatePair
from trio_webrtc.core.ice.settings import IceSettings


class Connecting:
    """The pairs of one generation whose connections were asked for."""

    def __init__(self, *, events: deque[IceEvent], settings: IceSettings) -> None:
        self._events = events
        self._settings = settings
        self._pairs: dict[tuple[Via, Address], CandidatePair] = {}
        self._timers: TimerTable[tuple[Via, Address]] = TimerTable()

    @property
    def has_room(self) -> bool:
        """Whether one more may be opened now."""
        return len(self._pairs) < self._settings.max_connecting

    def ask(self, pair: CandidatePair, now: float) -> None:
        """Have a connection opened."""
        key = pair.base.via, pair.remote_address
        self._pairs[key] = pair
        self._timers.set(key, now + self._settings.connection_timeout)
        self._events.append(ConnectionWanted(*key))

    def take(self, base_via: Via, remote_address: Address) -> CandidatePair | None:
        """The pair that waits for a connection to there, and does no more; None if there is none."""
        self._timers.cancel((base_via, remote_address))
        return self._pairs.pop((base_via, remote_address), None)

    def drop(self, pair: CandidatePair) -> None:
        """This pair waits no more; a connection that comes for it all the same is of no use."""
        if self._pairs.get((pair.base.via, pair.remote_address)) is pair:
            self.take(pair.base.via, pair.remote_address)

    def forget_base(self, via: Via) -> None:
        """No connection will be opened from there."""
        for key in [key for key in self._pairs if key[0] == via]:
            self.take(*key)

    def forget_all(self) -> None:
        """Nobody waits any more."""
        self._pairs.clear()
        self._timers.clear()

    def handle_timeout(self, now: float) -> list[CandidatePair]:
        """The pairs that have waited for too long, and do no more."""
        expired = [self.take(*key) for key in self._timers.pop_expired(now)]
        return [pair for pair in expired if pair is not None]

    def next_timeout(self) -> float | None:
        """When the next of them has waited for too long."""
        return self._timers.earliest()
