"""The page `visitor.html` in browsers' tabs, each told what to do, and what a server does for it."""

import json
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from trio_webrtc import SessionDescription

PAGE = Path(__file__).parent / "visitor.html"
STARTING_TIME = 60.0
"""Seconds that a browser may take to start, with a fresh profile on a busy machine."""
PATIENCE = 15.0
"""Seconds for anything else."""


class Visitor:
    """A tab that is open; from a reload on it is another one."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self._events: deque[dict] = deque()
        self._news = trio.lowlevel.ParkingLot()

    async def tell(self, command: str, **members: object) -> None:
        await self._socket.send_text(json.dumps({"command": command, **members}))

    async def event(self, kind: str, **expected: object) -> dict:
        """The first event not yet taken that is of this kind and has these members; others stay for later."""
        try:
            with trio.fail_after(PATIENCE):
                while True:
                    for event in self._events:
                        assert event["event"] != "error", event
                        if event["event"] == kind and expected.items() <= event.items():
                            self._events.remove(event)
                            return event
                    await self._news.park()
        except trio.TooSlowError:
            raise AssertionError(f"no {kind!r} with {expected} came, only {list(self._events)}") from None

    async def offer(self, *, restart: bool = False) -> SessionDescription:
        await self.tell("offer", restart=restart)
        return SessionDescription.from_dict((await self.event("description"))["description"])

    async def take_answer(self, answer: SessionDescription) -> None:
        await self.tell("takeAnswer", description=answer.as_dict())
        await self.event("stable")

    async def echo(self, sizes: Sequence[int]) -> None:
        """Have it send messages of these sizes, and see that they come back."""
        await self.tell("echo", sizes=list(sizes))
        await self.event("echoed")

    async def route(self) -> str:
        """By which transport it talks."""
        await self.tell("route")
        return (await self.event("route"))["transport"]

    async def listen(self) -> None:
        """Take what it tells, until it is closed or loaded anew."""
        try:
            while True:
                self._events.append(await self._socket.receive_json())
                self._news.unpark_all()
        except WebSocketDisconnect:
            pass


async def serve_page(*, task_status: trio.TaskStatus[tuple[str, trio.MemoryReceiveChannel[Visitor]]]) -> None:
    """Serve the page, and hand out each tab that loads it, until cancelled."""
    arriving, visitors = trio.open_memory_channel[Visitor](100)

    async def control(socket: WebSocket) -> None:
        await socket.accept()
        visitor = Visitor(socket)
        arriving.send_nowait(visitor)
        await visitor.listen()

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.loglevel = "WARNING"
    routes = [Route("/", lambda request: FileResponse(PAGE)), WebSocketRoute("/control", control)]
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(serve, Starlette(routes=routes), config)
        task_status.started((urls[0], visitors))
