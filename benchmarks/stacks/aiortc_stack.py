"""aiortc behind the line protocol of `README.md` in this folder."""

import asyncio
import json
import platform
import sys
from importlib.metadata import version
from time import perf_counter

from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription

HIGH_WATER_MARK = 1_048_576
MAX_LINE = 1 << 24


def tell(event: str, **members: object) -> None:
    """Report an event."""
    print(json.dumps({"event": event, **members}), flush=True)


async def set_local(peer: RTCPeerConnection) -> RTCSessionDescription:
    """Make the description that is due; aiortc gathers before it returns."""
    await peer.setLocalDescription()
    return peer.localDescription


class Sink:
    """Counts what comes on a channel, and sends texts back."""

    def __init__(self, channel: RTCDataChannel) -> None:
        self.channel = channel
        self.messages = self.size = 0
        self.began = 0.0
        channel.on("message", self.on_message)

    def on_message(self, message: str | bytes) -> None:
        """Take one message."""
        if isinstance(message, bytes):
            if not self.messages:
                self.began = perf_counter()
            self.messages += 1
            self.size += len(message)
        elif message == "end":
            tell("received", messages=self.messages, bytes=self.size, seconds=perf_counter() - self.began)
            self.messages = self.size = 0
        else:
            self.channel.send(message)


async def send(channel: RTCDataChannel, seconds: float, size: int) -> None:
    """Send as fast as the channel takes it."""
    room = asyncio.Event()
    channel.bufferedAmountLowThreshold = HIGH_WATER_MARK // 2
    channel.on("bufferedamountlow", room.set)
    message, end = bytes(size), perf_counter() + seconds
    while perf_counter() < end:
        while channel.bufferedAmount >= HIGH_WATER_MARK:
            room.clear()
            await room.wait()
        channel.send(message)
        await asyncio.sleep(0)
    channel.remove_listener("bufferedamountlow", room.set)
    channel.send("end")


async def ping(channel: RTCDataChannel, count: int) -> None:
    """Measure round trips, one after the other."""
    echoes: asyncio.Queue[str] = asyncio.Queue()
    channel.on("message", echoes.put_nowait)
    round_trips = []
    for number in range(count):
        began = perf_counter()
        channel.send(f"ping {number}")
        await echoes.get()
        round_trips.append(perf_counter() - began)
    tell("pinged", seconds=round_trips)


async def connect(kept: list[RTCPeerConnection]) -> None:
    """Connect two peers of this process, and keep them."""
    left, right = RTCPeerConnection(), RTCPeerConnection()
    kept += [left, right]
    opened = asyncio.Event()
    left.createDataChannel("benchmark").on("open", opened.set)
    await right.setRemoteDescription(await set_local(left))
    await left.setRemoteDescription(await set_local(right))
    await opened.wait()


async def main() -> None:
    """Do as told, until standard input ends."""
    lines = asyncio.StreamReader(limit=MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    tell("ready", name=f"aiortc {version('aiortc')}, {platform.python_implementation()} {platform.python_version()}")
    peer = RTCPeerConnection()
    peer.on("datachannel", Sink)
    kept = [peer]
    async for line in lines:
        match json.loads(line):
            case {"do": "offer"}:
                channel = peer.createDataChannel("benchmark")
                channel.on("open", lambda: tell("open"))
                tell("description", sdp=(await set_local(peer)).sdp)
            case {"do": "answer", "sdp": sdp}:
                await peer.setRemoteDescription(RTCSessionDescription(sdp, "offer"))
                tell("description", sdp=(await set_local(peer)).sdp)
            case {"do": "accept", "sdp": sdp}:
                await peer.setRemoteDescription(RTCSessionDescription(sdp, "answer"))
            case {"do": "send", "seconds": seconds, "size": size}:
                await send(channel, seconds, size)
            case {"do": "ping", "count": count}:
                await ping(channel, count)
            case {"do": "connect", "pairs": pairs}:
                began = perf_counter()
                await asyncio.gather(*(connect(kept) for _ in range(pairs)))
                tell("connected", seconds=perf_counter() - began)
    for connection in kept:
        await connection.close()


asyncio.run(main())
