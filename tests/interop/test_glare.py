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
from .echo_server_process import EXAMPLES

RUNS = int(os.environ.get("TRIO_WEBRTC_RUNS", "20"))
CHROMIUM_CONNECTIONS = RUNS * 5 // 2
"""Half of them with either side polite; five hundred where there is time for it."""

FIREFOX_CONNECTIONS = max(6, RUNS // 4)

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


async def collide(browser: Browser, profile: Path, nursery: trio.Nursery, *, runs: int, restarts: int) -> Any:
    """Start the page and two signalling servers, one for either role; give what the page reports."""
    reported, reports = trio.open_memory_channel[Any](1)
    urls = {}
    for page_role, polite in (("polite", False), ("impolite", True)):
        server = await nursery.start(serve_websocket_signaling, partial(serve_peer, polite=polite), "127.0.0.1", 0)
        urls[page_role] = f"ws://127.0.0.1:{server.addresses[0][1]}"

    async def take_report(request: Request) -> Response:
        await reported.send(await request.json())
        return Response()

    routes = [
        Route("/", lambda request: FileResponse(Path(__file__).parent / "glare.html")),
        Route("/negotiation.js", lambda request: FileResponse(EXAMPLES / "negotiation.js")),
        Route("/task", lambda request: JSONResponse({**urls, "runs": runs, "restarts": restarts})),
        Route("/report", take_report, methods=["POST"]),
    ]
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.loglevel = "WARNING"
    pages = await nursery.start(serve, Starlette(routes=routes), config)
    with trio.fail_after(STARTING_TIME + runs * TIME_PER_CONNECTION):
        async with open_browser(browser, profile, pages[0]):
            report = await reports.receive()
    nursery.cancel_scope.cancel()
    return report


def assert_collided(report: Any, runs: int, *, collisions: int) -> None:
    assert not report["trouble"], "\n".join(report["trouble"])
    for role in ("polite", "impolite"):
        print(f"the page was {role}: {sum(report[role])} collisions in {len(report[role])} connections")
        assert len(report[role]) == runs // 2
        assert sum(report[role]) >= collisions * runs // 2


async def test_chromium_and_we_offer_at_once(require, tmp_path, nursery, caplog):
    program = require(shutil.which("chromium") or shutil.which("google-chrome"), "Chromium is not installed")
    browser = chromium(program, shows_addresses=True)
    report = await collide(browser, tmp_path, nursery, runs=CHROMIUM_CONNECTIONS, restarts=1)
    assert_collided(report, CHROMIUM_CONNECTIONS, collisions=1)
    assert not [record for record in caplog.records if record.name.startswith("trio_webrtc")]


async def test_firefox_and_we_offer_at_once(require, tmp_path, nursery, caplog):
    program = require(shutil.which("firefox-esr") or shutil.which("firefox"), "Firefox is not installed")
    report = await collide(firefox(program), tmp_path, nursery, runs=FIREFOX_CONNECTIONS, restarts=0)
    assert_collided(report, FIREFOX_CONNECTIONS, collisions=1)
    assert not [record for record in caplog.records if record.name.startswith("trio_webrtc")]
