"""Says when the pump of a path is to act: when a timer is due, and soon after somebody has asked for it.

"Soon" is when everybody else has had a turn of the event loop, and is put off while each turn brings another command:
messages sent one after the other share packets and system calls, which is most of what they cost.
"""

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
        self.rings_soon = False
        """Whether it has been asked to, and has not yet."""
        self._is_put_off = False
        self._bed = trio.lowlevel.ParkingLot()
        self._nap = trio.CancelScope()

    def ring_soon(self) -> None:
        """Ring when everybody else has had this turn of the event loop."""
        self.rings_soon = True
        self._bed.unpark_all()

    def ring_at(self, due: float) -> None:
        """Ring at another time than `wait` was told, or a little earlier."""
        deadline = self._nap.deadline
        # Moving a deadline costs twenty times what this comparison does; waking up for nothing costs ten times that.
        if due < deadline or due > deadline + MAX_EARLINESS:
            self._nap.deadline = due

    def put_off(self) -> None:
        """If it rings soon, have it do so a little later, but not for ever."""
        self._is_put_off = True

    async def wait(self, due: float) -> None:
        """Sleep until it rings: at `due`, if nobody says otherwise."""
        if not self.rings_soon:
            with trio.CancelScope(deadline=due) as self._nap:
                await self._bed.park()
        if self.rings_soon:
            await self._snooze()
        self.rings_soon = False

    async def _snooze(self) -> None:
        """Wait as long as each turn of the event loop brings another command, but not for many of them."""
        end = trio.current_time() + MAX_PATIENCE_PER_FLUSH
        for _ in range(MAX_LOOKS_PER_FLUSH):
            self._is_put_off = False
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()  # a turn has no order; of two, everybody has had one
            if not self._is_put_off or trio.current_time() >= end:
                break
