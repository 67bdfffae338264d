"""Rooms in which browsers and Trio programs find each other, and then chat without the server.

    python examples/chat_server.py [--host HOST] [--port PORT] [--signalling-port PORT]

Whoever enters a room holds a WebSocket to its door, `/rooms/ROOM?name=NAME`, by which the server tells who is in it.
Every two members then open a WebSocket each to the signalling port, `/ROOM/OWN-ID/OTHER-ID`; the server joins the two,
and passes on what the members have to say to connect to each other. What they chat about it never sees.
"""

import argparse
import secrets
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from trio_webrtc.signaling import (
    ReceptionLimits,
    Signaling,
    SignalingRequest,
    WebSocketSignaling,
    open_memory_signaling,
    serve_websocket_signaling,
)

HERE = Path(__file__).parent
MAX_ROOMS = 100
MAX_MEMBERS = 16
MAX_INTRODUCTIONS = 4000
"""WebSockets at the signalling port."""

MAX_NAME = 40
"""Characters in the name of a member or a room."""


class UnwelcomeError(Exception):
    """There is no place for another member or another room, or the name is not welcome; the text says it politely."""


@dataclass
class Room:
    """Who is in a room, and what has been said to who has not come yet."""

    members: dict[str, str] = field(default_factory=dict)
    """Their names, by their ids. An id is hard to guess, and told to members only."""
    changed: trio.Event = field(default_factory=trio.Event)
    waiting: dict[tuple[str, str], Signaling] = field(default_factory=dict)
    """By the ids of who is waited for and who waits: the end of a channel that leads to the latter."""

    def tell_change(self) -> None:
        """Wake whoever tells who is here."""
        self.changed.set()
        self.changed = trio.Event()


class Rooms:
    """All rooms that somebody is in."""

    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    @contextmanager
    def enter(self, room_name: str, name: str) -> Iterator[tuple[str, Room]]:
        """Be a member of a room; gives the member's id, and the room. Raises UnwelcomeError."""
        if not 0 < len(name) <= MAX_NAME or len(room_name) > MAX_NAME:
            raise UnwelcomeError(f"A name has at least one character and at most {MAX_NAME}.")
        room = self._rooms.get(room_name, Room())
        if len(room.members) >= MAX_MEMBERS or (room_name not in self._rooms and len(self._rooms) >= MAX_ROOMS):
            raise UnwelcomeError("There is no place for another member.")
        self._rooms[room_name] = room
        member = secrets.token_urlsafe(12)
        room.members[member] = name
        room.tell_change()
        try:
            yield member, room
        finally:
            del room.members[member]
            room.tell_change()
            if not room.members:
                del self._rooms[room_name]

    def find_pair(self, path: str | None) -> tuple[Room, str, str] | None:
        """The room, the member and the other member that a path of the signalling port names, if there are such."""
        match (path or "").split("/"):
            case ["", room_name, own, other] if own != other:
                room = self._rooms.get(unquote(room_name))
                if room is not None and own in room.members and other in room.members:
                    return room, own, other
        return None

    @contextmanager
    def meet(self, room: Room, own: str, other: str) -> Iterator[Signaling]:
        """One end of a channel, whose other end is the other member's; it keeps what is said until that one comes."""
        if (end := room.waiting.pop((own, other), None)) is not None:
            yield end
            return
        end, others_end = open_memory_signaling()
        room.waiting[other, own] = others_end
        try:
            yield end
        finally:
            if room.waiting.get((other, own)) is others_end:
                del room.waiting[other, own]


async def stand_at_the_door(socket: WebSocket, rooms: Rooms, signalling_port: int) -> None:
    """Let somebody into a room, and tell who is in it whenever that changes, until the WebSocket ends."""
    name, room_name = socket.query_params.get("name", ""), socket.path_params["room"]
    await socket.accept()
    try:
        with rooms.enter(room_name, name) as (member, room):
            print(f"{name} enters {room_name}")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(tell_members, socket, member, room, signalling_port)
                while (await socket.receive())["type"] != "websocket.disconnect":
                    pass  # what a member says at the door is not listened to
                nursery.cancel_scope.cancel()
            print(f"{name} leaves {room_name}")
    except UnwelcomeError as error:
        await socket.close(1008, str(error))  # RFC 6455 §7.4.1: policy violation


async def tell_members(socket: WebSocket, member: str, room: Room, signalling_port: int) -> None:
    """Tell who is in the room, now and whenever that changes."""
    with suppress(WebSocketDisconnect):
        while True:
            changed = room.changed
            await socket.send_json({"you": member, "members": room.members, "signalling": signalling_port})
            await changed.wait()


async def introduce(signaling: WebSocketSignaling, rooms: Rooms) -> None:
    """Pass on what two members say to each other, until one of them ends it."""
    pair = rooms.find_pair(signaling.path)
    if pair is None:  # gone, since the server let the request pass
        return
    with rooms.meet(*pair) as end:
        async with end, trio.open_nursery() as nursery:
            nursery.start_soon(pass_on, end, signaling, nursery.cancel_scope)
            nursery.start_soon(pass_on, signaling, end, nursery.cancel_scope)


async def pass_on(source: Signaling, sink: Signaling, scope: trio.CancelScope) -> None:
    """Pass messages on until either side has ended; then cancel the scope."""
    with suppress(trio.BrokenResourceError):
        async for message in source:
            await sink.send(message)
    scope.cancel()


async def serve_rooms(
    host: str, port: int, signalling_port: int, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve rooms and the page, until cancelled. Tells the page's address when it listens."""
    rooms = Rooms()
    config = Config()
    config.bind = [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"]
    config.loglevel = "WARNING"

    async def introduce_member(signaling: WebSocketSignaling) -> None:
        await introduce(signaling, rooms)

    def refuse(request: SignalingRequest) -> int | None:
        return None if rooms.find_pair(request.target) is not None else 404

    async def door(socket: WebSocket) -> None:
        await stand_at_the_door(socket, rooms, signalling_port)

    def page(request: Request) -> FileResponse:
        return FileResponse(HERE / "chat.html")

    def script(request: Request) -> FileResponse:
        return FileResponse(HERE / request.url.path.removeprefix("/"))

    routes = [
        Route("/", page),
        Route("/chat.js", script),
        Route("/negotiation.js", script),
        WebSocketRoute("/rooms/{room}", door),
    ]
    async with trio.open_nursery() as nursery:
        limits = ReceptionLimits(max_connections=MAX_INTRODUCTIONS)
        server = await nursery.start(
            partial(serve_websocket_signaling, introduce_member, host, signalling_port, limits=limits, refuse=refuse)
        )
        signalling_port = server.addresses[0][1]
        pages = await nursery.start(serve, Starlette(routes=routes), config)
        task_status.started(pages[0])


async def run_until_interrupted(host: str, port: int, signalling_port: int) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            url = await nursery.start(serve_rooms, host, port, signalling_port)
            print(f"Open {url} in two browsers, or run chat_client.py. Ctrl-C ends the server, and no chat.")
            await anext(signals)
        nursery.cancel_scope.cancel()


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Rooms in which browsers and other WebRTC programs find each other.")
    parser.add_argument("--host", default="127.0.0.1", help="address to serve on (default: %(default)s)")
    parser.add_argument("--port", default=8090, type=int, help="port of the page, 0 for any (default: %(default)s)")
    parser.add_argument(
        "--signalling-port", default=8091, type=int, help="port of the signalling, 0 for any (default: %(default)s)"
    )
    arguments = parser.parse_args()
    complaint = None
    try:
        trio.run(run_until_interrupted, arguments.host, arguments.port, arguments.signalling_port)
    except* OSError as errors:  # most likely a port is taken
        reason: BaseException = errors
        while isinstance(reason, BaseExceptionGroup):
            reason = reason.exceptions[0]
        complaint = f"Cannot serve on {arguments.host}: {reason}"
    sys.exit(complaint)


if __name__ == "__main__":
    main()
