"""A session with another stack: one connection, one channel, in either role of offer and answer."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from trio_webrtc import DataChannel, PeerConnection, SessionDescription, open_peer_connection

from .conftest import Peculiarity, Stack
from .peer_process import PATIENCE, PeerProcess, open_peer_process


def options(stack: Stack, **wanted: object) -> dict[str, object]:
    """What is wanted of a channel that this stack creates or tells of, as far as it knows options."""
    return {} if Peculiarity.HAS_NO_CHANNEL_OPTIONS in stack.peculiarities else wanted


def understood(stack: Stack, message: str | bytes) -> str | bytes:
    """What the other stack takes a message of ours for."""
    if not message and Peculiarity.SWAPS_KINDS_OF_EMPTY in stack.peculiarities:
        return b"" if isinstance(message, str) else ""
    return message


def only(description: SessionDescription, transports: Sequence[str]) -> SessionDescription:
    """A description without the candidates of other transports."""
    lines = description.sdp.splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("a=candidate:") or line.split()[2].lower() in transports]
    return SessionDescription(description.type, "".join(kept))


@asynccontextmanager
async def session(
    stack: Stack,
    we: str,
    open_connection: Callable[[], AbstractAsyncContextManager[PeerConnection]] = open_peer_connection,
    transports: Sequence[str] = ("udp", "tcp"),
) -> AsyncIterator[tuple[PeerConnection, DataChannel, PeerProcess]]:
    """Connect to the stack; the offerer creates the channel "talk", which is open on both sides.

    The stack learns of our candidates for `transports` only.
    """
    async with open_peer_process(stack.command, stack.environment) as peer, open_connection() as connection:
        with trio.fail_after(PATIENCE):
            if we == "offer":
                channel = connection.create_data_channel("talk", protocol="test")
                await connection.set_local_description()
                await connection.wait_gathering_complete()
                await peer.tell("answer", **only(connection.local_description, transports).as_dict())
                await connection.set_remote_description(await peer.description())
            else:
                await peer.tell("open", label="talk", **options(stack, protocol="test"))
                await peer.tell("offer")
                await connection.set_remote_description(await peer.description())
                await connection.set_local_description()
                await connection.wait_gathering_complete()
                await peer.tell("accept", **only(connection.local_description, transports).as_dict())
                channel = await connection.incoming_data_channels.receive()
            await connection.wait_connected()
            await channel.wait_open()
        await peer.event("open", label="talk", **options(stack, protocol="test"))
        assert channel.label == "talk"
        if we == "answer":
            assert channel.protocol == options(stack, protocol="test").get("protocol", "")
        with trio.fail_after(2 * PATIENCE):
            yield connection, channel, peer
