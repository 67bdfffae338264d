"""aiolibdatachannel behind the line protocol of `README.md` in this folder."""

import asyncio
import base64
import json
import sys

from aiolibdatachannel import (
    DataChannel,
    DataChannelEvent,
    DataChannelOptions,
    GatheringState,
    GatheringStateChangeEvent,
    PeerConnection,
    RTCConfiguration,
    StateChangeEvent,
)
from http_signalling import exchange

MAX_LINE = 1 << 24


def tell(event: str, **members: object) -> None:
    print(json.dumps({"event": event, **members}), flush=True)


class Peer:
    """One PeerConnection, told what to do line by line."""

    def __init__(self) -> None:
        self.connection = PeerConnection(RTCConfiguration(disable_auto_negotiation=True))
        self.channels: dict[str, DataChannel] = {}
        self.gathered = asyncio.Event()
        self.tasks = {asyncio.create_task(self.watch_connection())}

    async def watch_connection(self) -> None:
        async for event in self.connection.events():
            match event:
                case GatheringStateChangeEvent(GatheringState.COMPLETE):
                    self.gathered.set()
                case StateChangeEvent(state):
                    tell("state", state=state.name.lower())
                case DataChannelEvent(channel):
                    self.watch(channel)

    def watch(self, channel: DataChannel) -> None:
        self.channels[channel.label] = channel
        self.tasks.add(asyncio.create_task(self.watch_channel(channel, channel.label)))

    async def watch_channel(self, channel: DataChannel, label: str) -> None:
        await channel.wait_open()
        tell("open", label=label, protocol=channel.protocol)
        async for message in channel:
            if isinstance(message, str):
                tell("message", label=label, text=message)
            else:
                tell("message", label=label, binary=base64.b64encode(message).decode())
        tell("closed", label=label)

    async def open(
        self, label: str, protocol: str = "", ordered: bool = True, maxRetransmits: int | None = None
    ) -> None:
        options = DataChannelOptions(protocol=protocol, ordered=ordered, max_retransmits=maxRetransmits)
        self.watch(await self.connection.create_data_channel(label, options))

    async def describe(self, kind: str) -> dict[str, str]:
        await self.connection.set_local_description(kind)
        await self.gathered.wait()
        description = self.connection.local_description
        return {"type": description.type, "sdp": description.sdp}

    async def offer(self) -> None:
        tell("description", **await self.describe("offer"))

    async def answer(self, type: str, sdp: str) -> None:
        await self.connection.set_remote_description(sdp, type)
        tell("description", **await self.describe("answer"))

    async def accept(self, type: str, sdp: str) -> None:
        await self.connection.set_remote_description(sdp, type)

    async def post(self, url: str) -> None:
        offer = await self.describe("offer")
        await self.accept(**await asyncio.to_thread(exchange, url, **offer))

    async def send(self, label: str, text: str | None = None, binary: str | None = None) -> None:
        message = text if binary is None else base64.b64decode(binary)
        await self.channels[label].send(message, wait_for_drain=False)

    async def close_channel(self, label: str) -> None:
        self.channels[label].close()

    async def close(self) -> None:
        await self.connection.aclose()


async def main() -> None:
    lines = asyncio.StreamReader(limit=MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    peer = Peer()
    async for line in lines:
        command = json.loads(line)
        await getattr(peer, command.pop("do"))(**command)
    await peer.close()


asyncio.run(main())
