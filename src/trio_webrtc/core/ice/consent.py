"""Keeps asking the peer for leave to send, and notices when it stops answering (RFC 7675)."""

import enum
import random
from collections.abc import Callable
from typing import Final

from trio_webrtc.core.contract import TimerTable
from trio_webrtc.core.ice.settings import IceSettings
from trio_webrtc.core.stun.message import TransactionIds


class _Timer(enum.Enum):
    CHECK = enum.auto()
    SILENCE = enum.auto()
    EXPIRY = enum.auto()


MAX_OUTSTANDING: Final = 64
"""Unanswered checks that are remembered; more than a consent's lifetime has room for."""


class Consent:
    """Watches one pair in use; `is_silent` and `is_expired` say how it stands."""

    def __init__(
        self,
        *,
        ask: Callable[[bytes], None],
        repeats: bool,
        transaction_ids: TransactionIds,
        rng: random.Random,
        settings: IceSettings,
        now: float,
    ) -> None:
        self._ask_with = ask
        # What TCP carries is not lost, only late: asking again at once would tell nothing.
        self._retry = settings.consent_retry if repeats else settings.consent_interval
        self._ids = transaction_ids
        self._rng = rng
        self._settings = settings
        self._sent: dict[bytes, float] = {}
        self._last_answer = now
        self.is_silent = False
        self.is_expired = False
        self.silent_for = 0.0
        """How long there had been no answer when consent expired."""
        self._timers: TimerTable[_Timer] = TimerTable()
        self._rest(now)

    def awaits(self, transaction_id: bytes) -> bool:
        """Whether that is one of our checks that is not answered."""
        return transaction_id in self._sent

    def renew(self, transaction_id: bytes, now: float) -> float:
        """The peer has answered the check of that name; return how long that took."""
        round_trip_time = now - self._sent[transaction_id]
        self._sent.clear()
        self._last_answer = now
        self.is_silent = False
        self._rest(now)
        return round_trip_time

    def revoke(self, now: float) -> None:
        """Consent is over at once, by the peer's own word or by its silence."""
        self.silent_for = now - self._last_answer
        self.is_expired = True
        self._sent.clear()
        self._timers.clear()

    def handle_timeout(self, now: float) -> None:
        """Ask again, or lose hope."""
        for timer in self._timers.pop_expired(now):
            match timer:
                case _Timer.CHECK:
                    self._ask(now)
                case _Timer.SILENCE:
                    self.is_silent = True
                case _Timer.EXPIRY:
                    self.revoke(now)
                    return

    def next_timeout(self) -> float | None:
        """When to ask again, or to lose hope."""
        return self._timers.earliest()

    def _ask(self, now: float) -> None:
        transaction_id = self._ids.new()
        if len(self._sent) == MAX_OUTSTANDING:
            del self._sent[next(iter(self._sent))]
        self._sent[transaction_id] = now
        self._ask_with(transaction_id)
        # Departs from RFC 7675 §5.1, where a lost check is simply followed by the next one 4 to 6 s later: asking
        # sooner tells a lost datagram from a lost peer within seconds.
        self._timers.set(_Timer.CHECK, now + self._retry)
        self._timers.set_if_off(_Timer.SILENCE, now + self._settings.consent_silence)

    def _rest(self, now: float) -> None:
        # RFC 7675 §5.1: spread checks over 0.8 to 1.2 intervals, so that peers do not fall in step.
        self._timers.set(_Timer.CHECK, now + self._settings.consent_interval * self._rng.uniform(0.8, 1.2))
        self._timers.cancel(_Timer.SILENCE)
        self._timers.set(_Timer.EXPIRY, now + self._settings.consent_lifetime)
