"""What every core has in common: its verbs, its packets, its timers.

In go `receive_datagrams(batch, now)`, `handle_timeout(now)` and the commands of the protocol; out come
`poll_transmits(now)`, `poll_event()` and `next_timeout()`, which changes nothing. After any input, drain the outputs.
`now` is seconds on any monotonic clock. A core never raises for what the network sent.
"""

import math
from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeAlias, TypeVar

Address: TypeAlias = tuple[str, int]
"""An IP address in its canonical text form, with a scope id if it needs one ("fe80::1%eth0"), and a port."""

Via: TypeAlias = Hashable
"""One way out of this host: a UDP socket (with a local address, on a wildcard), a TCP connection, a TURN allocation."""


class Received(NamedTuple):
    """What came in: one datagram, or a run of datagrams of one size (the last may be shorter) back to back."""

    via: Via
    from_: Address
    data: bytes
    segment_size: int | None = None
    """The size of each datagram of a run; None for a single datagram."""


class Transmit(NamedTuple):
    """What is to go out: one datagram, or a run of datagrams of one size (the last may be shorter) back to back."""

    via: Via
    to: Address
    data: bytes
    segment_size: int | None = None
    """The size of each datagram of a run; None for a single datagram."""


MAX_RUN_SEGMENTS = 64
MAX_RUN_BYTES = 65_000
"""Runs of this size are safe with UDP_SEGMENT on every kernel that has it."""


class MalformedPacketError(Exception):
    """Raised by decoders, and by nothing else; counted by the core that called them, and never let out of it."""


def split_run(data: bytes, segment_size: int | None) -> list[bytes]:
    """Cut a run into its datagrams."""
    if segment_size is None or len(data) <= segment_size:
        return [data]
    return [data[start : start + segment_size] for start in range(0, len(data), segment_size)]


_Timer = TypeVar("_Timer", bound=Hashable)


class TimerTable(Generic[_Timer]):
    """The timers of one core: each is off, or due at one moment."""

    def __init__(self) -> None:
        self._due: dict[_Timer, float] = {}
        self._earliest: float = math.inf

    def __contains__(self, timer: _Timer) -> bool:
        return timer in self._due

    def set(self, timer: _Timer, when: float) -> None:
        """Have `timer` fire at `when`, whatever it was set to before."""
        before = self._due.get(timer, math.inf)
        self._due[timer] = when
        if when <= self._earliest:
            self._earliest = when
        elif before == self._earliest:
            self._earliest = min(self._due.values())

    def set_if_off(self, timer: _Timer, when: float) -> None:
        """Have `timer` fire at `when`, unless it is already set."""
        if timer not in self._due:
            self.set(timer, when)

    def cancel(self, timer: _Timer) -> None:
        """Turn `timer` off; harmless if it is."""
        if self._due.pop(timer, None) == self._earliest:
            self._earliest = min(self._due.values(), default=math.inf)

    def clear(self) -> None:
        """Turn every timer off."""
        self._due.clear()
        self._earliest = math.inf

    def due(self, timer: _Timer) -> float | None:
        """When `timer` fires, or None if it is off."""
        return self._due.get(timer)

    def earliest(self) -> float | None:
        """When the next timer fires, or None if all are off."""
        return None if self._earliest == math.inf else self._earliest

    def pop_expired(self, now: float) -> list[_Timer]:
        """Turn off the timers that are due, and return them in the order in which they were due."""
        if self._earliest > now:
            return []
        expired = sorted((when, index, timer) for index, (timer, when) in enumerate(self._due.items()) if when <= now)
        for _, _, timer in expired:
            del self._due[timer]
        self._earliest = min(self._due.values(), default=math.inf)
        return [timer for _, _, timer in expired]


def earliest(*moments: float | None) -> float | None:
    """The first of some moments, None among them meaning never."""
    first: float | None = None
    for moment in moments:  # ten times for every packet: a generator for min() would take three times as long
        if moment is not None and (first is None or moment < first):
            first = moment
    return first
