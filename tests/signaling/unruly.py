"""Signalling between two peers in one program that takes its time, or goes wrong in another way."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from trio_webrtc import IceCandidate
from trio_webrtc.signaling import Signaling, SignalingMessage, open_memory_signaling

HOLD_UP = 0.2
"""The most seconds that a message is held up on its way."""


class UnrulySignaling(Signaling):
    """Passes messages on, each after a time of its own: candidates overtake descriptions, and each other.

    Descriptions keep their order, as with any signalling.
    """

    def __init__(self, inner: Signaling, rng: random.Random, carriers: trio.Nursery) -> None:
        self.said: list[SignalingMessage] = []
        self._inner, self._rng, self._carriers = inner, rng, carriers
        self._latest_description = 0.0

    async def send(self, value: SignalingMessage) -> None:
        await trio.lowlevel.checkpoint()
        self.said.append(value)
        arrival = trio.current_time() + self._rng.uniform(0, HOLD_UP)
        if not isinstance(value, IceCandidate):
            arrival = self._latest_description = max(arrival, self._latest_description + 1e-3)
        self._carriers.start_soon(self._carry, value, arrival)

    async def _carry(self, value: SignalingMessage, arrival: float) -> None:
        await trio.sleep_until(arrival)
        try:
            await self._inner.send(value)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # lost with the signalling

    async def receive(self) -> SignalingMessage:
        return await self._inner.receive()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        await self._inner.aclose(code, reason)

    @property
    def close_code(self) -> int | None:
        return self._inner.close_code

    @property
    def close_reason(self) -> str | None:
        return self._inner.close_reason

    @property
    def remote_address(self) -> None:
        return None


@asynccontextmanager
async def open_unruly_signaling(rng: random.Random) -> AsyncIterator[tuple[UnrulySignaling, UnrulySignaling]]:
    """Two ends; what is under way when the scope is left is lost."""
    async with trio.open_nursery() as carriers:
        left, right = open_memory_signaling()
        yield UnrulySignaling(left, rng, carriers), UnrulySignaling(right, rng, carriers)
        carriers.cancel_scope.cancel()
