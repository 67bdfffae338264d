"""Two hosts on a virtual network, two peers on them, and ways to make them meet."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from trio_webrtc import Configuration, DataChannel, PeerConnection, open_peer_connection
from trio_webrtc.testing import VirtualHost, VirtualNetwork

RUNS = int(os.environ.get("TRIO_WEBRTC_RUNS", "20"))
"""How often a case is run whose outcome hangs on chance: one green run proves nothing."""


async def negotiate(offerer: PeerConnection, answerer: PeerConnection) -> None:
    """One exchange of offer and answer with all candidates in them."""
    await offerer.set_local_description()
    await offerer.wait_gathering_complete()
    await answerer.set_remote_description(offerer.local_description)
    await answerer.set_local_description()
    await answerer.wait_gathering_complete()
    await offerer.set_remote_description(answerer.local_description)


@dataclass
class World:
    """A network with a host on either side."""

    network: VirtualNetwork
    left: VirtualHost
    right: VirtualHost

    @asynccontextmanager
    async def meet(
        self, left: Configuration | None = None, right: Configuration | None = None
    ) -> AsyncIterator[tuple[PeerConnection, PeerConnection, DataChannel, DataChannel]]:
        """Two connected peers with one open channel; the left one has offered."""
        async with (
            open_peer_connection(left, network=self.left) as caller,
            open_peer_connection(right, network=self.right) as callee,
        ):
            near = caller.create_data_channel("chat")
            await negotiate(caller, callee)
            await near.wait_open()
            far = await callee.incoming_data_channels.receive()
            yield caller, callee, near, far


MakeWorld = Callable[..., World]


@pytest.fixture
def make_world(request: pytest.FixtureRequest) -> MakeWorld:
    """Makes worlds from a seed and the conditions of their links; the seed is printed if the test fails."""

    def make(seed: int = 1, *, latency: float = 0.02, **conditions: float) -> World:
        print(f"seed {seed}")
        network = VirtualNetwork(seed=seed, latency=latency, **conditions)
        return World(network, network.add_host("10.0.0.1", "fd00::1"), network.add_host("10.0.0.2", "fd00::2"))

    return make


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    """A network that delays by 20 ms and does no harm."""
    return make_world()
