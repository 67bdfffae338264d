"""aiortc behind the line protocol of `README.md` in this folder."""

import asyncio
import base64
import json
import sys

from aiortc import RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from http_signalling import exchange

MAX_LINE = 1 << 24


def tell(event: str, **members: object) -> None:
    print(json.dumps({"event": event, **members}), flush=True)


class Peer:
    """One RTCPeerConnection, told what to do line by line."""

    def __init__(self) -> None:
        self.connection = RTCPeerConnection()
        self.channels: dict[str, RTCDataChannel] = {}
        self.connection.on("datachannel", self.watch)
        self.connection.on("connectionstatechange", lambda: tell("state", state=self.connection.connectionState))

    def watch(self, channel: RTCDataChannel) -> None:
        self.channels[channel.label] = channel
        channel.on("open", lambda: tell("open", label=channel.label, protocol=channel.protocol))
        channel.on("close", lambda: tell("closed", label=channel.label))
        channel.on("message", lambda message: self.on_message(channel.label, message))
        if channel.readyState == "open":  # opened by the other side
            tell("open", label=channel.label, protocol=channel.protocol)

    def on_message(self, label: str, message: str | bytes) -> None:
        if isinstance(message, str):
            tell("message", label=label, text=message)
        else:
            tell("message", label=label, binary=base64.b64encode(message).decode())

    async def describe(self, description: RTCSessionDescription) -> dict[str, str]:
        await self.connection.setLocalDescription(description)  # aiortc gathers before it returns
        description = self.connection.localDescription
        return {"type": description.type, "sdp": description.sdp}

    async def open(self, label: str, protocol: str = "", ordered: bool = True, **reliability: int) -> None:
        self.watch(self.connection.createDataChannel(label, protocol=protocol, ordered=ordered, **reliability))

    async def offer(self) -> None:
        tell("description", **await self.describe(await self.connection.createOffer()))

    async def answer(self, type: str, sdp: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, type))
        tell("description", **await self.describe(await self.connection.createAnswer()))

    async def accept(self, type: str, sdp: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(sdp, type))

    async def post(self, url: str) -> None:
        offer = await self.describe(await self.connection.createOffer())
        await self.accept(**await asyncio.to_thread(exchange, url, **offer))

    async def send(self, label: str, text: str | None = None, binary: str | None = None) -> None:
        self.channels[label].send(base64.b64decode(binary) if binary is not None else text)

    async def close_channel(self, label: str) -> None:
        self.channels[label].close()

    async def close(self) -> None:
        await self.connection.close()


async def main() -> None:
    lines = asyncio.StreamReader(limit=MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    peer = Peer()
    async for line in lines:
        command = json.loads(line)
        await getattr(peer, command.pop("do"))(**command)
    await peer.close()


asyncio.run(main())
