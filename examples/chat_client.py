"""Chats in a room of `chat_server.py`: what you type goes to everybody there, browsers and programs alike.

    python examples/chat_client.py [--room ROOM] [--name NAME] [http://127.0.0.1:8090]

Every two members have a connection of their own, and negotiate it at the same time: of the two, the one whose id comes
first is polite. The server is needed to find the others, and not to talk with them.
"""

import argparse
import getpass
import json
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlsplit

import trio
from trio_websocket import ConnectionClosed, open_websocket_url

from trio_webrtc import ConnectionFailedError, DataChannel, open_peer_connection
from trio_webrtc.signaling import SignalingFailedError, negotiate, open_websocket_signaling

CONNECT_TIMEOUT = 30.0
"""Seconds that it may take to connect to another member."""

FAREWELL_TIMEOUT = 2.0
"""Seconds in which what was said last has to arrive."""


class Chat:
    """What one member of a room does."""

    def __init__(self, url: str, room: str) -> None:
        self._host = urlsplit(url).hostname or "localhost"
        self._door = f"ws://{urlsplit(url).netloc}/rooms/{quote(room, safe='')}"
        self._room = room
        self._channels: dict[DataChannel, str] = {}

    async def take_part(self, name: str, lines: AsyncIterator[str]) -> None:
        """Be in the room until there are no more lines to say."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._meet_everybody, name)
            async for line in lines:
                for channel in list(self._channels):
                    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                        await channel.send(line)
            with trio.move_on_after(FAREWELL_TIMEOUT):
                for channel in list(self._channels):
                    with suppress(trio.BrokenResourceError):
                        await channel.drain()
            nursery.cancel_scope.cancel()

    async def _meet_everybody(self, name: str) -> None:
        """Connect to each member that comes, for as long as the server is there; those who are connected stay so."""
        known: set[str] = set()
        async with trio.open_nursery() as nursery:
            try:
                async with open_websocket_url(f"{self._door}?name={quote(name)}") as door:
                    while True:
                        news = json.loads(await door.get_message())
                        for member in news["members"].keys() - known - {news["you"]}:
                            known.add(member)
                            nursery.start_soon(self._meet, news, member)
            except ConnectionClosed as closed:
                print(closed.reason.reason if closed.reason and closed.reason.reason else "The server is gone.")

    async def _meet(self, news: dict[str, Any], other: str) -> None:
        """Talk with one other member, until one of the two has enough."""
        own, name = news["you"], news["members"][other]
        url = f"ws://{self._host}:{news['signalling']}/{quote(self._room, safe='')}/{own}/{other}"
        try:
            async with (
                open_websocket_signaling(url) as signaling,
                open_peer_connection() as peer,
                negotiate(peer, signaling, polite=own < other),
                peer.create_data_channel("chat", negotiated=True, id=0) as channel,
            ):
                with trio.fail_after(CONNECT_TIMEOUT):
                    await peer.wait_connected()
                print(f"{name} is here.")
                await self._listen(name, channel)
            print(f"{name} has left.")
        except (ConnectionFailedError, SignalingFailedError, trio.TooSlowError, trio.BrokenResourceError) as error:
            print(f"{name} cannot be reached: {error}")

    async def _listen(self, name: str, channel: DataChannel) -> None:
        self._channels[channel] = name
        try:
            async for message in channel:
                print(f"{name}: {message!s}")
        finally:
            del self._channels[channel]


async def typed_lines() -> AsyncIterator[str]:
    """What is typed, line by line."""
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        yield line.rstrip("\n")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Chat in a room, over WebRTC data channels.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8090", help="the server (default: %(default)s)")
    parser.add_argument("--room", default="lobby", help="the room (default: %(default)s)")
    parser.add_argument("--name", default=getpass.getuser(), help="what to be called (default: %(default)s)")
    arguments = parser.parse_args()
    with suppress(KeyboardInterrupt):
        trio.run(Chat(arguments.url, arguments.room).take_part, arguments.name, typed_lines())


if __name__ == "__main__":
    main()
