"""A clock that stands still while our own loop does not run.

ICE judges the peer by its silence. If this program was busy elsewhere, or its computer asleep, then the peer may have
spoken all the while, and nobody listened: that time must not count. It shows in timers that fire much too late.
"""

import math
from typing import Final

STARVATION: Final = 1.0
"""Seconds by which a timer may be late before the delay is ours."""

ROUNDING: Final = 1e-6
"""Seconds that may get lost between the outside and the inside."""


class FairClock:
    """Turns the moments of the outside into those of an agent, and back."""

    def __init__(self) -> None:
        self._lost = 0.0
        self._latest = -math.inf

    def read(self, now: float, due: float | None) -> float:
        """The agent's time at `now`, when its earliest timer was due at `due` (in the agent's time)."""
        fair = now - self._lost
        if due is not None and fair - due > STARVATION:
            fair = max(due, self._latest)
            self._lost = now - fair
        elif due is not None and due - ROUNDING < fair < due:
            fair = due  # what is due outside is due inside, too, or it would be asked for again and again
        self._latest = max(fair, self._latest)
        return fair

    def outside(self, moment: float | None) -> float | None:
        """When the agent's time will be `moment`."""
        return None if moment is None else moment + self._lost
