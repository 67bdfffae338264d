"""Says when the pump of a path is to act: when a timer is due, and soon after somebody has asked for it.

"Soon" is when everybody else has had a turn of the event loop, and is put off while each turn brings another command:
messages sent one after the other share packets and system calls, which is most of what they cost.
"""

import math
from typing import Final

import trio

MAX_LOOKS_PER_FLUSH: Final = 16
"""How often a flush is put off because every time there is something more to send with it."""

MAX_PATIENCE_PER_FLUSH: Final = 0.001
"""Seconds, after which it is put off no more: where the event loop is busy, its turns are long."""

MAX_EARLINESS: Final = 1.0
"""Seconds by which it may ring before a timer that was moved: a timer that is moved all the time is cheap so."""


class Alarm:
    """Wakes one task."""

    def __init__(self) -> None:
        self._rings_soon = False
        self._is_put_off = False
        self._gathers_until = -math.inf
        self._bed = trio.lowlevel.ParkingLot()
        self._nap = trio.CancelScope()

    def ring_soon(self) -> None:
        """Ring when everybody else has had this turn of the event loop."""
        self._rings_soon = True
        self._bed.unpark_all()

    def ring_at(self, due: float) -> None:
        """Ring at another time than `wait` was told, or a little earlier."""
        deadline = self._nap.deadline
        # Moving a deadline costs twenty times what this comparison does; waking up for nothing costs ten times that.
        if due < deadline or due > deadline + MAX_EARLINESS:
            self._nap.deadline = due

    def gather(self) -> None:
        """What one command has to say was sent: have those that follow soon wait for one another."""
        self._gathers_until = trio.current_time() + MAX_PATIENCE_PER_FLUSH

    def holds_back(self) -> bool:
        """Whether the command that has just come waits for others to go with it, until it rings."""
        self._is_put_off = True
        if not self._rings_soon and trio.current_time() < self._gathers_until:
            self.ring_soon()
        return self._rings_soon

    def let_pass(self) -> None:
        """Have the next command wait for no others, as it may be an answer; but if it is to ring soon, for that.

        Acknowledgements come all the time, and would tear a stream of messages apart.
        """
        self._gathers_until = -math.inf

    async def wait(self, due: float) -> None:
        """Sleep until it rings: at `due`, if nobody says otherwise."""
        if not self._rings_soon:
            with trio.CancelScope(deadline=due) as self._nap:
                await self._bed.park()
        if self._rings_soon:
            await self._snooze()
        self._rings_soon = False
        self.let_pass()

    async def _snooze(self) -> None:
        """Wait as long as each turn of the event loop brings another command, but not for many of them."""
        end = trio.current_time() + MAX_PATIENCE_PER_FLUSH
        for _ in range(MAX_LOOKS_PER_FLUSH):
            self._is_put_off = False
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()  # a turn has no order; of two, everybody has had one
            if not self._is_put_off or trio.current_time() >= end:
                break
