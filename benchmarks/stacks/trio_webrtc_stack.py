"""trio-webrtc behind the line protocol of `README.md` in this folder."""

import json
import platform
import sys
from importlib.metadata import version
from time import perf_counter

import trio

from trio_webrtc import DataChannel, PeerConnection, SessionDescription, open_peer_connection


def tell(event: str, **members: object) -> None:
    """Report an event."""
    print(json.dumps({"event": event, **members}), flush=True)


async def describe(peer: PeerConnection) -> SessionDescription:
    """Make the description that is due, with every candidate in it."""
    await peer.set_local_description()
    await peer.wait_gathering_complete()
    assert peer.local_description is not None
    return peer.local_description


async def answer(peer: PeerConnection) -> None:
    """Count what comes on the channel that the other side opens, and send texts back."""
    channel = await peer.incoming_data_channels.receive()
    messages = size = 0
    began = 0.0
    async for message in channel:
        if isinstance(message, bytes):
            if not messages:
                began = perf_counter()
            messages += 1
            size += len(message)
        elif message == "end":
            tell("received", messages=messages, bytes=size, seconds=perf_counter() - began)
            messages = size = 0
        else:
            await channel.send(message)


async def send(channel: DataChannel, seconds: float, size: int) -> None:
    """Send as fast as the channel takes it."""
    message, end = bytes(size), perf_counter() + seconds
    while perf_counter() < end:
        await channel.send(message)
    await channel.send("end")


async def ping(channel: DataChannel, count: int) -> None:
    """Measure round trips, one after the other."""
    round_trips = []
    for number in range(count):
        began = perf_counter()
        await channel.send(f"ping {number}")
        await channel.receive()
        round_trips.append(perf_counter() - began)
    tell("pinged", seconds=round_trips)


async def connect(*, task_status: trio.TaskStatus[None]) -> None:
    """Connect two peers of this process, and keep them until cancelled."""
    async with open_peer_connection() as left, open_peer_connection() as right:
        channel = left.create_data_channel("benchmark")
        await right.set_remote_description(await describe(left))
        await left.set_remote_description(await describe(right))
        await channel.wait_open()
        task_status.started()
        await trio.sleep_forever()


async def main() -> None:
    """Do as told, until standard input ends."""
    tell(
        "ready",
        name=f"trio-webrtc {version('trio-webrtc')}, {platform.python_implementation()} {platform.python_version()}",
    )
    async with trio.open_nursery() as nursery, open_peer_connection() as peer:
        channel: DataChannel
        async for line in trio.wrap_file(sys.stdin):
            match json.loads(line):
                case {"do": "offer"}:
                    channel = peer.create_data_channel("benchmark")
                    tell("description", sdp=(await describe(peer)).sdp)
                case {"do": "answer", "sdp": sdp}:
                    await peer.set_remote_description(SessionDescription("offer", sdp))
                    tell("description", sdp=(await describe(peer)).sdp)
                    nursery.start_soon(answer, peer)
                case {"do": "accept", "sdp": sdp}:
                    await peer.set_remote_description(SessionDescription("answer", sdp))
                    await channel.wait_open()
                    tell("open")
                case {"do": "send", "seconds": seconds, "size": size}:
                    await send(channel, seconds, size)
                case {"do": "ping", "count": count}:
                    await ping(channel, count)
                case {"do": "connect", "pairs": pairs}:
                    began = perf_counter()
                    async with trio.open_nursery() as starting:
                        for _ in range(pairs):
                            starting.start_soon(nursery.start, connect)
                    tell("connected", seconds=perf_counter() - began)
        nursery.cancel_scope.cancel()


trio.run(main)
