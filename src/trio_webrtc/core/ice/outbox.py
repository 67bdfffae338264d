"""Datagrams that wait to be polled."""

from collections import deque

from trio_webrtc.core.contract import Address, Transmit, Via
from trio_webrtc.core.ice.counters import Counters


class Outbox:
    """A bounded queue; what does not fit is lost, as datagrams may be: only a socket that takes nothing fills it."""

    def __init__(self, *, limit: int, counters: Counters) -> None:
        self._queue: deque[Transmit] = deque()
        self._limit = limit
        self._counters = counters

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._queue

    def send(self, via: Via, to: Address, data: bytes) -> None:
        """Queue one datagram."""
        if len(self._queue) < self._limit:
            self._queue.append(Transmit(via, to, data))
        else:
            self._counters.transmits_dropped += 1

    def poll(self) -> Transmit | None:
        """Take the next datagram."""
        return self._queue.popleft() if self._queue else None

    def clear(self) -> None:
        """Forget all."""
        self._queue.clear()
