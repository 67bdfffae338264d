"""Browsers dial a server without signalling, as libp2p's webrtc-direct has it."""

import datetime
from pathlib import Path
from typing import Any

import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from trio_webrtc import Certificate, ListenAddress, WebRtcServer, open_webrtc_server

from ..server.conftest import echo
from ..server.webrtc_direct import meet
from .browsers import Browser, open_browser
from .network_namespace import ADDRESS
from .visitor import STARTING_TIME

PAGE = Path(__file__).parent / "webrtc_direct.html"


async def serve_task(
    task: dict[str, Any], *, task_status: trio.TaskStatus[tuple[str, trio.MemoryReceiveChannel[Any]]]
) -> None:
    """Serve the page and what it is to do, and take its report, until cancelled."""
    reported, reports = trio.open_memory_channel[Any](1)

    async def take_report(request: Request) -> Response:
        await reported.send(await request.json())
        return Response()

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.loglevel = "WARNING"
    routes = [
        Route("/", lambda request: FileResponse(PAGE)),
        Route("/task", lambda request: JSONResponse(task)),
        Route("/report", take_report, methods=["POST"]),
    ]
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(serve, Starlette(routes=routes), config)
        task_status.started((urls[0], reports))


async def greet(server: WebRtcServer, certificate: Certificate) -> None:
    """Meet the one who knocks, and echo."""
    async with meet(server, certificate, await server.unknown_ufrags.receive()) as peer:
        try:
            await echo(peer)
        except* trio.ClosedResourceError:
            pass  # the end, as an echo hears of it


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("version", [1, 2])
async def test_a_browser_that_knows_address_and_certificate_needs_no_signalling(
    browser: Browser, tmp_path: Path, version: int, transport: str
):
    certificate = Certificate.generate(now=datetime.datetime.now(datetime.UTC))
    async with (
        open_webrtc_server(ListenAddress(transport, ADDRESS)) as server,
        trio.open_nursery() as nursery,
    ):
        task = {
            "version": version,
            "transport": transport,
            "host": ADDRESS,
            "port": server.addresses[0].port,
            "fingerprint": str(certificate.fingerprints()[0]).split()[1],
        }
        url, reports = await nursery.start(serve_task, task)
        async with trio.open_nursery() as greeting, open_browser(browser, tmp_path, url):
            greeting.start_soon(greet, server, certificate)
            with trio.fail_after(STARTING_TIME):
                report = await reports.receive()
            assert report == {"ok": True}
            await server.aclose()
        nursery.cancel_scope.cancel()
