"""Two cores and what is on its way between them: no sockets, no tasks, and no clock but a number.

A test decides the fate of every packet, one by one (`deliver`, `duplicate`, `lose`), or lets a seed decide (`run`).
The pair knows nothing of the protocol: an `End` tells it how to talk to a core.
"""

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from trio_webrtc.core.contract import earliest

Packet = TypeVar("Packet")

MAX_STEPS: Final = 100_000
"""Two cores that are still talking after so many steps will never stop."""

QUIET: Final = 25.0
"""A pair is settled when nothing is on its way and no timer is due for so many seconds. Heartbeats are rarer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End(Generic[Packet]):
    """One core, as a pair sees it."""

    receive: Callable[[Sequence[Packet], float], None]
    """Give it a batch of packets, and the time."""
    take_transmits: Callable[[float], Sequence[Packet]]
    """All the packets that it has to send at this time."""
    handle_timeout: Callable[[float], None]
    next_timeout: Callable[[], float | None]


@dataclass(frozen=True, slots=True, eq=False)
class InFlight(Generic[Packet]):
    """A packet on its way."""

    packet: Packet
    to: End[Packet]
    sent_at: float
    arrives_at: float


class Pair(Generic[Packet]):
    """A left and a right end. Call `drain` after touching a core; everything here does it by itself.

    Example:
        pair = Pair(left=End(...), right=End(...))
        client.send(b"hello", pair.now)
        pair.drain()
        pair.lose(0)
        pair.fire_next_timer()
        pair.settle()
    """

    def __init__(self, *, left: End[Packet], right: End[Packet], now: float = 0.0) -> None:
        self.left, self.right = left, right
        self.now = now
        self.in_flight: list[InFlight[Packet]] = []
        """Oldest first."""
        self._delay: Callable[[], float | None] = lambda: 0.0

    # -- one step at a time --------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Put what the cores have to send on its way."""
        for sender, receiver in ((self.left, self.right), (self.right, self.left)):
            for packet in sender.take_transmits(self.now):
                delay = self._delay()
                if delay is not None:
                    self.in_flight.append(InFlight(packet, receiver, self.now, self.now + delay))

    def deliver(self, index: int = 0) -> None:
        """Let a packet arrive, perhaps before others that were sent earlier."""
        self._arrive([self.in_flight.pop(index)])

    def duplicate(self, index: int = 0) -> None:
        """Let a packet arrive, and stay on its way, to arrive again."""
        self._arrive([self.in_flight[index]])

    def lose(self, index: int = 0) -> None:
        """Drop a packet."""
        del self.in_flight[index]

    def lose_all(self) -> None:
        """Drop everything that is on its way."""
        self.in_flight.clear()

    def fire_next_timer(self) -> bool:
        """Let time pass until the next timer is due, and fire it; return whether there was one."""
        due = self._next_timeout()
        if due == math.inf:
            return False
        self.now = max(self.now, due)
        self._fire()
        return True

    # -- many steps ----------------------------------------------------------------------------------------------

    def exchange(self) -> None:
        """Let all that is on its way arrive, and all that follows from it, while no time passes."""
        self.drain()
        for _ in range(MAX_STEPS):
            if not self.in_flight:
                return
            batch, self.in_flight = self.in_flight, []
            self._arrive(batch)
        raise AssertionError(f"the two ends are still talking after {MAX_STEPS} steps")

    def settle(self, quiet: float = QUIET) -> None:
        """The network heals: everything arrives from now on, until neither side has anything to say or to wait for."""
        for _ in range(MAX_STEPS):
            self.exchange()
            if self._next_timeout() > self.now + quiet:
                return
            self.fire_next_timer()
        raise AssertionError(f"the two ends have not settled after {MAX_STEPS} timers")

    def run(
        self,
        seconds: float,
        *,
        rng: random.Random,
        latency: float = 0.02,
        jitter: float = 0.0,
        loss: float = 0.0,
        until: Callable[[], bool] = lambda: False,
    ) -> bool:
        """Let time pass, or stop as soon as `until()` says so; return what it said last.

        Every packet takes `latency`, and up to `jitter` more, so that packets may overtake each other; a share of
        `loss` is lost. The same seed and the same cores give the same run.
        """
        self._delay = lambda: None if rng.random() < loss else latency + rng.random() * jitter
        end = self.now + seconds
        try:
            self.drain()
            while not (stopped := until()):
                timer = self._next_timeout()
                due = min(timer, min((item.arrives_at for item in self.in_flight), default=math.inf))
                if due > end:
                    self.now = end
                    break
                self.now = max(self.now, due)
                arrived = sorted(
                    (item for item in self.in_flight if item.arrives_at <= self.now), key=lambda item: item.arrives_at
                )
                self.in_flight = [item for item in self.in_flight if item.arrives_at > self.now]
                if arrived:
                    self._arrive(arrived)
                if timer <= self.now:
                    self._fire()
        finally:
            self._delay = lambda: 0.0
        return stopped

    # -- both ----------------------------------------------------------------------------------------------------

    def _arrive(self, items: Sequence[InFlight[Packet]]) -> None:
        for end in (self.left, self.right):
            batch = [item.packet for item in items if item.to is end]
            if batch:
                end.receive(batch, self.now)
        self.drain()

    def _fire(self) -> None:
        for end in (self.left, self.right):
            due = end.next_timeout()
            if due is not None and due <= self.now:
                end.handle_timeout(self.now)
        self.drain()

    def _next_timeout(self) -> float:
        due = earliest(self.left.next_timeout(), self.right.next_timeout())
        return math.inf if due is None else due
