"""One direction between two hosts of a virtual network: what happens to a datagram on its way."""

import enum
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

REORDERING_DELAY: Final = 0.05
"""The longest time that a reordered datagram is held back, so that later ones overtake it."""

DUPLICATE_DELAY: Final = 0.02
"""The longest time by which the second copy of a datagram comes after the first."""


class Fate(enum.Enum):
    """What became of a datagram."""

    CARRIED = "carried"
    """It arrives, once or twice."""
    LOST = "lost"
    """By chance."""
    CUT = "cut"
    """The link was cut."""
    TOO_LARGE = "too large"
    """Larger than the link's MTU; nobody is told."""
    OVERFLOWED = "overflowed"
    """The queue before the link's bottleneck was full."""
    NOBODY_THERE = "nobody there"
    """No host has the address, or no socket of that host the port."""
    FILTERED = "filtered"
    """It arrived, but a NAT let nobody in from there."""
    UNREAD = "unread"
    """It arrived, but the receiving socket had no room left."""


@dataclass(slots=True, kw_only=True, eq=False)
class Link:
    """The way from one host to another. All but `random` may be changed at any time.

    The n-th datagram of a link draws the n-th handful of random numbers, whatever the settings are and whatever
    happens on other links. So the seed fixes its fate.
    """

    random: random.Random
    latency: float = 0.01
    """Seconds that every datagram takes."""
    jitter: float = 0.0
    """Seconds that it may take longer; this alone does not change the order."""
    loss: float = 0.0
    """The probability that a datagram is lost."""
    duplication: float = 0.0
    """The probability that it comes twice."""
    reordering: float = 0.0
    """The probability that it is held back, and overtaken."""
    mtu: int = 1500
    """The largest IP packet; larger ones vanish."""
    bandwidth: float | None = None
    """Bytes per second at the bottleneck; None: no bottleneck."""
    queue: int = 64 * 1024
    """Bytes that may wait before the bottleneck."""
    cut: bool = False
    """Whether all datagrams are dropped. Those on their way still arrive."""
    counters: Counter[Fate] = field(default_factory=Counter)
    """How many datagrams met which fate."""

    _busy_until: float = 0.0
    _last_arrival: float = 0.0

    def carry(self, packet_size: int, now: float, *, cut: bool = False) -> tuple[Fate, list[float]]:
        """Decide the fate of the next datagram; say when it arrives, once for each copy.

        `cut` cuts the link for this datagram alone.
        """
        lost, duplicated, reordered, jitter, delay = (self.random.random() for _ in range(5))
        fate = Fate.CUT if cut else self._fate(packet_size, lost, now)
        self.counters[fate] += 1
        if fate is not Fate.CARRIED:
            return fate, []
        if self.bandwidth is not None:
            self._busy_until = max(now, self._busy_until) + packet_size / self.bandwidth
            now = self._busy_until
        arrival = now + self.latency + self.jitter * jitter
        if reordered < self.reordering:
            arrival += REORDERING_DELAY * delay
        else:
            arrival = self._last_arrival = max(arrival, self._last_arrival)
        if duplicated < self.duplication:
            return fate, [arrival, arrival + DUPLICATE_DELAY * delay]
        return fate, [arrival]

    def _fate(self, packet_size: int, lost: float, now: float) -> Fate:
        if self.cut:
            return Fate.CUT
        if packet_size > self.mtu:
            return Fate.TOO_LARGE
        if lost < self.loss:
            return Fate.LOST
        if self.bandwidth is not None and (self._busy_until - now) * self.bandwidth + packet_size > self.queue:
            return Fate.OVERFLOWED
        return Fate.CARRIED
