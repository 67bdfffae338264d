"""Sends what a core has to say, and keeps what finds no room.

A flush never waits. What a way has no room for stays first in line, so that nothing is reordered, and data wait behind
it in the core. Checks do not: they are how the peers find another way. At the end of a path the same is done with
patience, so that the goodbyes leave.
"""

import itertools
from typing import Final, Protocol, cast

import trio

from trio_webrtc.core.contract import Address, Transmit, Via
from trio_webrtc.shell.network import SOCKET_LOST, TOO_LARGE
from trio_webrtc.shell.waiting_line import Sender

MAX_RUNS_PER_FLUSH: Final = 16
"""Runs that one flush sends before it lets others go first."""


class SendingCore(Protocol):
    """What sending needs of a core: what it has to say, and how it learns what became of that."""

    def poll_transmits(self, now: float) -> Transmit | None:
        """Take the next datagram or run that is to go out."""

    def poll_checks(self, now: float) -> Transmit | None:
        """Take the next datagram that looks for ways or keeps them, which does not wait behind others."""

    def uses(self, via: Via) -> bool:
        """Whether data goes by this way."""

    def report_send_error(self, via: Via, to: Address, error: str, now: float) -> None:
        """Learn that a datagram was lost, and why."""

    def lower_mtu(self, via: Via, to: Address, now: float) -> None:
        """Learn that a datagram was larger than this way takes. Comes after `report_send_error`."""

    def retire(self, via: Via, now: float) -> None:
        """Learn that nothing will come or go by this way any more."""


class Way(Protocol):
    """What sending needs of a `via`: UdpVia is one."""

    def send(self, run: Transmit) -> int:
        """Send a run; say how many bytes of it were taken. OSError: the rest of it is lost."""

    def queue_for_room(self, sender: Sender) -> None:
        """Have `sender.use_room()` called when there is room and it is its turn."""

    def leave_queue(self, sender: Sender) -> None:
        """Undo `queue_for_room`; harmless if there is nothing to undo."""

    async def wait_for_room(self) -> None:
        """Wait until there is room to send. Raises ClosedResourceError when there never will be."""


class Sending:
    """One core's datagrams on their way out.

    Args:
        core: Whose datagrams.
        sender: Whom a way tells of room; it then calls `retry`.
    """

    def __init__(self, core: SendingCore, sender: Sender) -> None:
        self.losses = 0
        """How many runs were lost to errors. The core knows of them, and may have something to tell about it."""
        self._core = core
        self._sender = sender
        self._refused: Transmit | None = None

    def flush(self, now: float) -> int:
        """Send what the core has to say, a bounded part of it; say how many runs were sent. Never waits.

        If they are `MAX_RUNS_PER_FLUSH`, there may be more.
        """
        sent = 0
        if self._refused is not None:
            self._look_for_other_ways(self._refused, now)
        while sent < MAX_RUNS_PER_FLUSH and (self._refused is None or not self._core.uses(self._refused.via)):
            run = self._core.poll_transmits(now)
            if run is None:
                break
            if self._refused is not None:
                self.give_up(self._refused.via)  # it was a check, which holds up nothing that has another way
            sent += self._send_or_queue(run, now)
        return sent

    def retry(self, now: float) -> None:
        """Send what was refused: there is room."""
        run, self._refused = self._refused, None
        if run is not None:
            self._send_or_queue(run, now)

    def give_up(self, via: Via) -> bool:
        """What waits for room there will not leave any more; say whether there was something.

        What stands behind it has another way, or none.
        """
        if self._refused is None or self._refused.via is not via:
            return False
        cast("Way", via).leave_queue(self._sender)
        self._refused = None
        return True

    async def send_all(self) -> None:
        """Send what was refused and all that the core has to say, waiting for room on the way in use.

        Cancelling it loses what is left.
        """
        for count in itertools.count(1):
            now = trio.current_time()
            run, self._refused = self._refused or self._core.poll_transmits(now), None
            if run is None:
                break
            if not self._send(run, now) and not await self._has_room_at_last(run.via):
                self._refused = None  # it will not leave by this way any more
            if count % MAX_RUNS_PER_FLUSH == 0:
                await trio.lowlevel.checkpoint()

    def end(self) -> None:
        """Wait for nothing any more, and let go of the sender: it keeps this, and this would keep it."""
        if self._refused is not None:
            self.give_up(self._refused.via)
        del self._sender

    def _send_or_queue(self, run: Transmit, now: float) -> bool:
        """Send a run; or stand in line for room, and say that it was not sent."""
        if self._send(run, now):
            return True
        cast("Way", run.via).queue_for_room(self._sender)
        return False

    def _send(self, run: Transmit, now: float) -> bool:
        """Send a run, or lose it to an error. What is refused is not sent, and stays first in line."""
        try:
            taken = cast("Way", run.via).send(run)
        except OSError as error:
            self._lose(run, error, now)
            return True
        if taken == len(run.data):
            return True
        self._refused = run._replace(data=run.data[taken:]) if taken else run
        return False

    def _lose(self, run: Transmit, error: OSError, now: float) -> None:
        """Tell the core that a datagram was lost; it decides what that means for the pair of addresses."""
        self.losses += 1
        if error.errno in SOCKET_LOST:
            self._core.retire(run.via, now)
            return
        self._core.report_send_error(run.via, run.to, error.strerror or str(error), now)
        if error.errno in TOO_LARGE:
            self._core.lower_mtu(run.via, run.to, now)

    def _look_for_other_ways(self, refused: Transmit, now: float) -> None:
        """Let ICE go on where data waits for room: that may never come, and the peer be on another way by now.

        A check that finds no room is lost, as on any way; it will be repeated.
        """
        while (check := self._core.poll_checks(now)) is not None:
            try:
                cast("Way", check.via).send(check)
            except OSError as error:
                self._lose(check, error, now)
        if not self._core.uses(refused.via):
            self.give_up(refused.via)

    async def _has_room_at_last(self, via: Via) -> bool:
        """Wait for room, unless nothing that matters leaves by this way, or it is lost."""
        if not self._core.uses(via):
            return False
        try:
            await cast("Way", via).wait_for_room()
        except trio.ClosedResourceError:
            return False
        return True
