"""Clients that join a server at an address of the test's choice, whatever the server says of its addresses."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from trio_webrtc import Configuration, PeerConnection, SessionDescription, WebRtcServer, open_peer_connection
from trio_webrtc.core.contract import Address
from trio_webrtc.shell.host import HOST_NETWORK
from trio_webrtc.shell.network import Network

from .conftest import Joined


class ToldCandidate(NamedTuple):
    """What a description says of one candidate."""

    transport: str
    host: str
    port: int
    priority: int


def candidates_in(description: SessionDescription) -> list[ToldCandidate]:
    """The candidates in the order in which they stand there."""
    found = []
    for line in description.sdp.splitlines():
        if line.startswith("a=candidate:"):
            _, _, transport, priority, host, port, *_ = line.split()
            found.append(ToldCandidate(transport.lower(), host, int(port), int(priority)))
    return found


def aimed(description: SessionDescription, transport: str, at: Address) -> SessionDescription:
    """The description with one candidate only."""
    lines = [line for line in description.sdp.split("\r\n") if not line.startswith("a=candidate:")]
    kind = " tcptype passive" if transport == "tcp" else ""
    candidate = f"a=candidate:1 1 {transport} 2130706431 {at[0]} {at[1]} typ host{kind}"
    before = next(index for index, line in enumerate(lines) if line.startswith("a=ice-ufrag"))
    return SessionDescription(description.type, "\r\n".join([*lines[:before], candidate, *lines[before:]]))


def using(host: str) -> Configuration:
    """Have a client use one of this machine's addresses only."""
    return Configuration(interface_filter=lambda interface: interface.address == host)


async def answer_to(client: PeerConnection, peer: PeerConnection) -> SessionDescription:
    """Have the client offer, and the server's peer answer."""
    await client.set_local_description()
    await client.wait_gathering_complete()
    await peer.set_remote_description(client.local_description)
    await peer.set_local_description()
    await peer.wait_gathering_complete()
    return peer.local_description


@asynccontextmanager
async def join(
    server: WebRtcServer,
    transport: str,
    at: Address,
    *,
    configuration: Configuration | None = None,
    network: Network = HOST_NETWORK,
    ice_lite: bool | None = None,
) -> AsyncIterator[Joined]:
    """Join a server at an address, with one channel, both ends in one scope.

    That it gets there proves that the answers came from the address that was asked: any others are not taken (RFC 8445
    §7.2.5.2.1).
    """
    async with (
        open_peer_connection(configuration, network=network) as client,
        server.open_peer_connection(ice_lite=ice_lite) as peer,
    ):
        near = client.create_data_channel("chat")
        await client.set_remote_description(aimed(await answer_to(client, peer), transport, at))
        await near.wait_open()
        yield Joined(client, peer, near, await peer.incoming_data_channels.receive())


async def told_by(server: WebRtcServer, network: Network = HOST_NETWORK) -> list[ToldCandidate]:
    """The candidates that a server tells a peer of now."""
    async with open_peer_connection(network=network) as client, server.open_peer_connection() as peer:
        client.create_data_channel("chat")
        return candidates_in(await answer_to(client, peer))


async def say(joined: Joined, message: str = "hello") -> None:
    """Have a message go there, and another one back."""
    await joined.near.send(message)
    assert await joined.far.receive() == message
    await joined.far.send(f"{message} yourself")
    assert await joined.near.receive() == f"{message} yourself"
