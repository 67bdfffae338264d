"""Browsers load the echo server's page, which connects, echoes, measures, closes, and reports what it found."""

import shutil
from typing import Any
from urllib.parse import quote

import pytest
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .browsers import Browser, chromium, firefox, open_browser
from .echo_server_process import open_echo_server

PATIENCE = 60.0
"""Seconds for a browser to start with a fresh profile on a busy machine, and to run the page."""


async def serve_reports(*, task_status: trio.TaskStatus[tuple[str, trio.MemoryReceiveChannel[Any]]]) -> None:
    """Take what pages post, until cancelled."""
    reported, reports = trio.open_memory_channel[Any](1)

    async def take(request: Request) -> Response:
        await reported.send(await request.json())
        return Response(headers={"Access-Control-Allow-Origin": "*"})

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.loglevel = "WARNING"
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(serve, Starlette(routes=[Route("/", take, methods=["POST"])]), config)
        task_status.started((urls[0], reports))


async def run_page(browser: Browser, profile, nursery, *, signalling: str = "websocket") -> dict[str, Any]:
    """Start the example and the browser on its page; give what the page reports."""
    report_url, reports = await nursery.start(serve_reports)
    with trio.fail_after(PATIENCE):
        async with open_echo_server() as server:
            page = f"{server.url}/?auto=1&signalling={signalling}&report={quote(report_url, safe='')}"
            async with open_browser(browser, profile, page):
                report = await reports.receive()
                await server.wait_printed("peer 1: gone")
            code, printed = await server.interrupt()
    assert report["ok"], f"{report}\n{printed}"
    assert code == 0, printed
    assert "Traceback" not in printed
    return report


def assert_complete(report: dict[str, Any]) -> None:
    assert report["steps"].keys() == {"offered", "answered", "reached", "secured", "open"}
    assert len(report["texts"]) == 7
    assert report["binaryBytes"] == 65_536
    assert report["roundTrip"]["count"] == 100
    assert report["throughput"]["bytes"] > 0
    assert report["closed"]


@pytest.fixture
def chromium_program(require) -> str:
    return require(shutil.which("chromium") or shutil.which("google-chrome"), "Chromium is not installed")


@pytest.fixture
def firefox_program(require) -> str:
    return require(shutil.which("firefox-esr") or shutil.which("firefox"), "Firefox is not installed")


@pytest.mark.parametrize("signalling", ["websocket", "post"])
async def test_chromium_runs_the_whole_page(chromium_program, tmp_path, nursery, signalling):
    browser = chromium(chromium_program, shows_addresses=True)
    report = await run_page(browser, tmp_path, nursery, signalling=signalling)
    assert_complete(report)
    assert not any(".local" in line for line in report["localCandidates"])


async def test_chromium_that_hides_its_addresses_is_reached_by_its_own_checks(chromium_program, tmp_path, nursery):
    report = await run_page(chromium(chromium_program, shows_addresses=False), tmp_path, nursery)
    assert_complete(report)
    assert all(".local" in line for line in report["localCandidates"])


@pytest.mark.parametrize("signalling", ["websocket", "post"])
async def test_firefox_runs_the_whole_page(firefox_program, tmp_path, nursery, signalling):
    assert_complete(await run_page(firefox(firefox_program), tmp_path, nursery, signalling=signalling))
