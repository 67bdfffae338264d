"""libwebrtc, by its Python binding reactor-webrtc, behind the line protocol of `README.md` in this folder.

The binding creates ordered, reliable channels without a protocol only, and does not tell a channel's protocol. Its
callbacks come from threads of libwebrtc.
"""

import asyncio
import base64
import json
import sys
import threading

from http_signalling import exchange
from reactor_webrtc import (
    DataChannel,
    DataChannelState,
    IceCandidate,
    IceGatheringState,
    PeerConnectionFactory,
    PeerConnectionObserver,
    RtcConfiguration,
    SessionDescription,
)

MAX_LINE = 1 << 24
speaking = threading.Lock()


def tell(event: str, **members: object) -> None:
    with speaking:
        print(json.dumps({"event": event, **members}), flush=True)


class Peer:
    """One PeerConnection, told what to do line by line."""

    def __init__(self) -> None:
        self.channels: dict[str, DataChannel] = {}
        self.candidates: list[str] = []
        self.gathered = threading.Event()
        self.observer = PeerConnectionObserver()
        self.observer.on_connection_state_change = lambda state: tell("state", state=str(state))
        self.observer.on_data_channel = self.watch
        self.observer.on_ice_candidate = self.on_candidate
        self.observer.on_ice_gathering_change = self.on_gathering_state
        self.factory = PeerConnectionFactory()
        self.connection = self.factory.create_peer_connection(RtcConfiguration(), self.observer)

    def on_candidate(self, candidate: IceCandidate) -> None:
        self.candidates.append(f"a={candidate.candidate}\r\n")

    def on_gathering_state(self, state: IceGatheringState) -> None:
        if state == IceGatheringState.Complete:
            self.gathered.set()

    def watch(self, channel: DataChannel) -> None:
        label = channel.label()
        self.channels[label] = channel
        channel.on_message(lambda data, binary: self.on_message(label, data, binary))
        channel.on_close(lambda: tell("closed", label=label))
        if channel.state() == DataChannelState.Open:
            tell("open", label=label)
        else:
            channel.on_open(lambda: tell("open", label=label))

    def on_message(self, label: str, data: bytes, binary: bool) -> None:
        if binary:
            tell("message", label=label, binary=base64.b64encode(data).decode())
        else:
            tell("message", label=label, text=data.decode())

    async def open(self, label: str) -> None:
        self.watch(self.connection.create_data_channel(label))

    async def describe(self, description: SessionDescription) -> dict[str, str]:
        kind, sdp = description.kind, description.sdp
        await self.connection.set_local_description(description)
        await asyncio.to_thread(self.gathered.wait)
        # The binding does not show the local description with what was gathered; there is one section in it.
        return {"type": kind, "sdp": sdp + "".join(self.candidates)}

    async def offer(self) -> None:
        tell("description", **await self.describe(await self.connection.create_offer()))

    async def answer(self, type: str, sdp: str) -> None:
        await self.connection.set_remote_description(SessionDescription(type, sdp))
        tell("description", **await self.describe(await self.connection.create_answer()))

    async def accept(self, type: str, sdp: str) -> None:
        await self.connection.set_remote_description(SessionDescription(type, sdp))

    async def post(self, url: str) -> None:
        offer = await self.describe(await self.connection.create_offer())
        await self.accept(**await asyncio.to_thread(exchange, url, **offer))

    async def send(self, label: str, text: str | None = None, binary: str | None = None) -> None:
        if binary is None:
            self.channels[label].send(text.encode(), binary=False)
        else:
            self.channels[label].send(base64.b64decode(binary))

    async def close_channel(self, label: str) -> None:
        self.channels[label].close()

    async def close(self) -> None:
        # The binding has no other way to close a connection than to forget it.
        self.channels.clear()
        del self.connection


async def main() -> None:
    lines = asyncio.StreamReader(limit=MAX_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    peer = Peer()
    async for line in lines:
        command = json.loads(line)
        await getattr(peer, command.pop("do"))(**command)


asyncio.run(main())
