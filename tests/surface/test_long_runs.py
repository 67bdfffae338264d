"""Connections that live long, in virtual time: idle ones do not grow, busy ones lose nothing, numbers wrap round."""

import gc
import os
import random
import sys
from collections import deque
from dataclasses import dataclass, field

import pytest
import trio

from trio_webrtc import Configuration, DataChannel, IceSettings, PeerConnection, SctpSettings

from .conftest import MakeWorld, World

HOUR, WEEK = 3600.0, 7 * 24 * 3600.0

SLOWLY = Configuration(
    ice=IceSettings(consent_interval=300, consent_retry=30, consent_silence=300, consent_lifetime=1800),
    sctp=SctpSettings(heartbeat_interval=1800),
)
"""Everything happens 60 times more seldom, so that a week takes two seconds."""

IDLE_RUNS = [pytest.param(WEEK, SLOWLY, id="a-week-slowly"), pytest.param(2 * HOUR, None, id="two-hours")]
if "TRIO_WEBRTC_LONG_RUNS" in os.environ:
    IDLE_RUNS.append(pytest.param(WEEK, None, id="a-week"))

SEEDS = range(int(os.environ.get("TRIO_WEBRTC_LONG_RUNS", "1")))
"""An hour of data takes six seconds, a week of silence two minutes."""


def memory() -> int:
    """How many blocks of memory are in use."""
    gc.collect()
    return sys.getallocatedblocks()


@pytest.mark.parametrize(("duration", "configuration"), IDLE_RUNS)
async def test_an_idle_connection_stays_up_and_does_not_grow(
    make_world: MakeWorld, autojump_clock, duration, configuration
):
    world = make_world(loss=0.02)
    world.network.log = deque(maxlen=0)
    async with world.meet(configuration, configuration) as (caller, callee, near, far):
        await trio.sleep(duration / 100)
        before, sent = memory(), sum(world.network.counters.values())
        await trio.sleep(duration)
        assert memory() - before < 500
        assert sum(world.network.counters.values()) > sent + 1000
        assert caller.connection_state == callee.connection_state == "connected"
        await near.send("still there?")
        assert await far.receive() == "still there?"
        await far.send("yes")
        assert await near.receive() == "yes"


@dataclass
class Conversation:
    """Data channels that come and go in both directions, and what was said on each of them."""

    random: random.Random
    sent: dict[str, list[bytes]] = field(default_factory=dict)
    received: dict[str, list[bytes]] = field(default_factory=dict)

    async def listen(self, peer: PeerConnection) -> None:
        """Hear everything on the channels that the other side opens."""
        async with trio.open_nursery() as nursery:
            async for channel in peer.incoming_data_channels:
                nursery.start_soon(self._hear, channel)

    async def _hear(self, channel: DataChannel) -> None:
        heard = self.received[channel.label] = []
        async for message in channel:
            heard.append(message)

    async def speak(self, peer: PeerConnection, name: str, until: float) -> None:
        """Open one channel after the other, say something on it, and close it."""
        life = 0
        while trio.current_time() < until:
            label = f"{name} {life}"
            said = self.sent[label] = []
            async with peer.create_data_channel(label) as channel:
                for _ in range(self.random.randint(0, 12)):
                    message = self.random.randbytes(self.random.choice([1, 20, 300, 300, 300, 1200, 9000]))
                    await channel.send(message)
                    said.append(message)
                    await trio.sleep(self.random.uniform(0, 3))
            life += 1


async def disturb(world: World, rng: random.Random) -> None:
    """Change the network every few seconds, in each direction by itself."""
    while True:
        for link in (world.network.link(world.left, world.right), world.network.link(world.right, world.left)):
            link.loss = rng.choice([0, 0, 0.01, 0.05, 0.2])
            link.latency = rng.choice([0.001, 0.02, 0.1, 0.4])
            link.jitter = rng.choice([0, 0, 0.01, 0.1])
            link.reordering = rng.choice([0, 0, 0.05])
            link.duplication = rng.choice([0, 0.02])
            link.cut = rng.random() < 0.03
        await trio.sleep(rng.uniform(1, 9))


@pytest.mark.parametrize("seed", SEEDS)
async def test_an_hour_of_channels_that_come_and_go_on_a_changing_network_loses_nothing(
    make_world: MakeWorld, autojump_clock, seed
):
    world, rng = make_world(seed), random.Random(seed)
    world.network.log = deque(maxlen=0)
    talk = Conversation(rng)
    wrapping = Configuration(sctp=SctpSettings(initial_tsn=2**32 - 2000))
    async with world.meet(wrapping, wrapping) as (caller, callee, _, _), trio.open_nursery() as nursery:
        for peer in (caller, callee):
            nursery.start_soon(talk.listen, peer)
        nursery.start_soon(disturb, world, rng)
        end = trio.current_time() + HOUR
        async with trio.open_nursery() as speakers:
            for name, peer in (("caller", caller), ("caller as well", caller), ("callee", callee)):
                speakers.start_soon(talk.speak, peer, name, end)
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
        assert caller.connection_state == callee.connection_state == "connected"
    assert len(talk.sent) > 500
    assert talk.received == talk.sent
