"""Browsers and we both offer at once, again and again: perfect negotiation on both sides, in both roles."""

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from trio_webrtc import open_peer_connection
from trio_webrtc.signaling import Signaling, negotiate, serve_websocket_signaling

from .browsers import Browser, chromium, firefox, open_browser
from .example_process import EXAMPLES

RUNS = int(os.environ.get("TRIO_WEBRTC_RUNS", "20"))
CHROMIUM_CONNECTIONS = RUNS * 5 // 2
"""Half of them with either side polite; five hundred where there is time for it."""

FIREFOX_CONNECTIONS = max(6, RUNS // 4)

MOST_PER_PAGE = 250
"""Chromium makes no more than five hundred for one page."""

STARTING_TIME = 60.0
TIME_PER_CONNECTION = 2.0


async def serve_peer(signaling: Signaling, *, polite: bool) -> None:
    """Negotiate with a page from the moment on that it has its WebSocket, and echo."""
    async with (
        open_peer_connection() as peer,
        negotiate(peer, signaling, polite=polite),
        peer.create_data_channel("glare", negotiated=True, id=0) as channel,
    ):
        async for message in channel:
            if message == "restart":
                peer.restart_ice()
            else:
                await channel.send(message)


async def serve_page(
    runs: int, restarts: int, *, task_status: trio.TaskStatus[tuple[str, trio.MemoryReceiveChannel[Any]]]
) -> None:
    """Serve the page, and signalling for it in either role; hand out what the page reports."""
    reported, reports = trio.open_memory_channel[Any](1)

    async def take_report(request: Request) -> Response:
        await reported.send(await request.json())
        return Response()

    async with trio.open_nursery() as nursery:
        task: dict[str, int | str] = {"runs": runs, "restarts": restarts}
        for page_role, polite in (("polite", False), ("impolite", True)):
            server = await nursery.start(serve_websocket_signaling, partial(serve_peer, polite=polite), "127.0.0.1", 0)
            task[page_role] = f"ws://127.0.0.1:{server.addresses[0][1]}"
        routes = [
            Route("/", lambda request: FileResponse(Path(__file__).parent / "glare.html")),
            Route("/negotiation.js", lambda request: FileResponse(EXAMPLES / "negotiation.js")),
            Route("/task", lambda request: JSONResponse(task)),
            Route("/report", take_report, methods=["POST"]),
        ]
        config = Config()
        config.bind = ["127.0.0.1:0"]
        config.loglevel = "WARNING"
        urls = await nursery.start(serve, Starlette(routes=routes), config)
        task_status.started((urls[0], reports))


async def collide(browser: Browser, profile: Path, *, runs: int, restarts: int) -> None:
    """Connect so often, with the page in either role by turns, and see that all goes well and offers do cross."""
    profile.mkdir()
    async with trio.open_nursery() as nursery:
        url, reports = await nursery.start(serve_page, runs, restarts)
        with trio.fail_after(STARTING_TIME + runs * TIME_PER_CONNECTION):
            async with open_browser(browser, profile, url):
                report = await reports.receive()
        nursery.cancel_scope.cancel()
    assert not report["trouble"], "\n".join(report["trouble"])
    for role in ("polite", "impolite"):
        print(f"the page was {role}: {sum(report[role])} collisions in {len(report[role])} connections")
        assert len(report[role]) == runs // 2
        assert sum(report[role]) > runs // 4, "not many offers have crossed"


async def test_chromium_and_we_offer_at_once(require, tmp_path, caplog):
    program = require(shutil.which("chromium") or shutil.which("google-chrome"), "Chromium is not installed")
    for first in range(0, CHROMIUM_CONNECTIONS, MOST_PER_PAGE):
        runs = min(MOST_PER_PAGE, CHROMIUM_CONNECTIONS - first)
        await collide(chromium(program, shows_addresses=True), tmp_path / str(first), runs=runs, restarts=1)
    assert not [record for record in caplog.records if record.name.startswith("trio_webrtc")]


async def test_firefox_and_we_offer_at_once(require, tmp_path, caplog):
    program = require(shutil.which("firefox-esr") or shutil.which("firefox"), "Firefox is not installed")
    await collide(firefox(program), tmp_path / "profile", runs=FIREFOX_CONNECTIONS, restarts=0)
    assert not [record for record in caplog.records if record.name.startswith("trio_webrtc")]
