"""A server on a virtual network, hosts around it, and ways for peers to join it by UDP or TCP."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

import pytest
import trio

from trio_webrtc import (
    Configuration,
    DataChannel,
    ListenAddress,
    PeerConnection,
    SessionDescription,
    WebRtcServer,
    open_peer_connection,
    open_webrtc_server,
)
from trio_webrtc.testing import VirtualHost, VirtualNetwork

from ..surface.conftest import RUNS

__all__ = ["RUNS"]

PORT = 5000
LISTEN = (ListenAddress("udp", "10.0.0.1", PORT), ListenAddress("tcp", "10.0.0.1", PORT))


class Joined(NamedTuple):
    """Both ends of a connection, and of its one channel."""

    client: PeerConnection
    peer: PeerConnection
    near: DataChannel
    far: DataChannel


def only(transport: str, description: SessionDescription) -> SessionDescription:
    """A description that has lost the candidates of other transports."""
    lines = description.sdp.split("\r\n")
    kept = [line for line in lines if not line.startswith("a=candidate:") or f" {transport} " in line.lower()]
    assert any(line.startswith("a=candidate:") for line in kept), f"no candidate for {transport}:\n{description.sdp}"
    return SessionDescription(description.type, "\r\n".join(kept))


async def agree(client: PeerConnection, peer: PeerConnection, transport: str) -> None:
    """The client offers; the server's peer answers, and is reached by one transport only."""
    await client.set_local_description()
    await client.wait_gathering_complete()
    await peer.set_remote_description(client.local_description)
    await peer.set_local_description()
    await peer.wait_gathering_complete()
    await client.set_remote_description(only(transport, peer.local_description))


@asynccontextmanager
async def connect(
    server: WebRtcServer,
    host: VirtualHost,
    transport: str = "udp",
    *,
    configuration: Configuration | None = None,
    ice_lite: bool | None = None,
) -> AsyncIterator[Joined]:
    """Join a server with one channel, both ends in one scope."""
    async with (
        open_peer_connection(configuration, network=host) as client,
        server.open_peer_connection(configuration, ice_lite=ice_lite) as peer,
    ):
        near = client.create_data_channel("chat")
        await agree(client, peer, transport)
        await near.wait_open()
        far = await peer.incoming_data_channels.receive()
        yield Joined(client, peer, near, far)


@dataclass
class Site:
    """A network with one host for a server and any number for its peers."""

    network: VirtualNetwork
    host: VirtualHost
    guests: list[VirtualHost]

    def add_guest(self) -> VirtualHost:
        """Another host for peers."""
        guest = self.network.add_host(f"10.0.{1 + len(self.guests) // 250}.{1 + len(self.guests) % 250}")
        self.guests.append(guest)
        return guest

    def serve(self, *listen: ListenAddress, **arguments: object):
        """Open a server here."""
        return open_webrtc_server(*(listen or LISTEN), network=self.host, **arguments)


MakeSite = Callable[..., Site]


@pytest.fixture
def make_site() -> MakeSite:
    """Makes sites from a seed and the conditions of their links; the seed is printed if the test fails."""

    def make(seed: int = 1, *, latency: float = 0.02, **conditions: float) -> Site:
        print(f"seed {seed}")
        network = VirtualNetwork(seed=seed, latency=latency, **conditions)
        return Site(network, network.add_host("10.0.0.1", "fd00::1"), [])

    return make


@pytest.fixture
def site(make_site: MakeSite) -> Site:
    """A network that delays by 20 ms and does no harm."""
    return make_site()


async def echo(peer: PeerConnection) -> None:
    """Return whatever comes, on every channel, until the connection ends."""
    async with trio.open_nursery() as nursery:
        async for channel in peer.incoming_data_channels:
            nursery.start_soon(_echo_channel, channel)


async def _echo_channel(channel: DataChannel) -> None:
    async for message in channel:
        await channel.send(message)
