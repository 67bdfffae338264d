"""negotiate(): both sides begin whenever they like, and are connected in the end, as long as they can signal."""

import random

import pytest
import trio

from trio_webrtc import IceCandidate, PeerConnection, open_peer_connection
from trio_webrtc.signaling import Signaling, SignalingMessage, negotiate, open_memory_signaling

from ..surface.conftest import RUNS, MakeWorld

PATIENCE = 60.0
"""Seconds of virtual time for a connection to come up."""

HOLD_UP = 0.2
"""The most seconds that a message is held up on its way."""


class Mischief(Signaling):
    """Signalling whose messages take their time; candidates overtake descriptions, and each other."""

    def __init__(self, inner: Signaling, rng: random.Random, nursery: trio.Nursery) -> None:
        self.sent: list[SignalingMessage] = []
        self._inner, self._rng, self._nursery = inner, rng, nursery
        self._descriptions_until = 0.0
        self.is_cut = False

    async def send(self, value: SignalingMessage) -> None:
        await trio.lowlevel.checkpoint()
        self.sent.append(value)
        arrival = trio.current_time() + self._rng.uniform(0, HOLD_UP)
        if not isinstance(value, IceCandidate):  # these keep their order, as with any signalling
            arrival = self._descriptions_until = max(arrival, self._descriptions_until + 1e-3)
        self._nursery.start_soon(self._carry, value, arrival)

    async def _carry(self, value: SignalingMessage, arrival: float) -> None:
        await trio.sleep_until(arrival)
        if not self.is_cut:
            await self._inner.send(value)

    async def receive(self) -> SignalingMessage:
        return await self._inner.receive()

    async def aclose(self) -> None:
        await self._inner.aclose()

    @property
    def close_code(self) -> int | None:
        return self._inner.close_code

    @property
    def close_reason(self) -> str | None:
        return self._inner.close_reason

    @property
    def remote_address(self) -> None:
        return None


async def greet(peer: PeerConnection, channel, words: str) -> None:
    """Say something on our own channel, and hear what the other side says on its own."""
    await channel.send(words)
    assert await (await peer.incoming_data_channels.receive()).receive() != words


@pytest.mark.parametrize("run", range(max(5, RUNS * 5 // 2)))
async def test_both_sides_start_at_once(make_world: MakeWorld, autojump_clock, run: int):
    """500 times in CI: glare, whoever is polite, with candidates that overtake what they belong to."""
    rng = random.Random(run)
    world = make_world(run, latency=rng.uniform(0.001, 0.1))
    left_end, right_end = open_memory_signaling()
    async with trio.open_nursery() as carriers:
        ends = Mischief(left_end, rng, carriers), Mischief(right_end, rng, carriers)
        async with (
            open_peer_connection(network=world.left) as left,
            open_peer_connection(network=world.right) as right,
        ):
            polite = rng.random() < 0.5
            near, far = left.create_data_channel("left"), right.create_data_channel("right")
            async with negotiate(left, ends[0], polite=polite), negotiate(right, ends[1], polite=not polite):
                with trio.fail_after(PATIENCE):
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(greet, left, near, "from the left")
                        nursery.start_soon(greet, right, far, "from the right")
        carriers.cancel_scope.cancel()
