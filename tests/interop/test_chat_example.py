"""The chat example: browsers and programs meet in a room of its server, and talk without it."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
import trio
from trio_websocket import open_websocket_url

from chat_server import MAX_MEMBERS, Rooms, UnwelcomeError
from trio_webrtc.signaling import SignalingFailedError, open_websocket_signaling

from .browsers import Browser, chromium, firefox, open_browser
from .example_process import ExampleProcess, open_example, wait_for_url
from .test_browsers import serve_reports

PATIENCE = 60.0


@asynccontextmanager
async def open_chat_server() -> AsyncIterator[tuple[str, ExampleProcess]]:
    async with open_example("chat_server.py", "--port", "0", "--signalling-port", "0") as server:
        yield await wait_for_url(server), server


@pytest.fixture
def browser(require) -> Browser:
    program = require(shutil.which("chromium") or shutil.which("google-chrome"), "Chromium is not installed")
    return chromium(program, shows_addresses=True)


def page(url: str, name: str, *, others: int, report_url: str) -> str:
    return f"{url}/?{urlencode({'room': 'a room', 'name': name, 'auto': others, 'report': report_url})}"


def page_that_opens(*urls: str) -> str:
    """Chromium without a window takes one URL only."""
    return "data:text/html,<script>" + ";".join(f"open({quote(json.dumps(url))})" for url in urls) + "</script>"


async def test_two_tabs_of_a_browser_find_each_other_and_talk(browser, tmp_path, nursery):
    report_url, reports = await nursery.start(serve_reports)
    with trio.fail_after(PATIENCE):
        async with open_chat_server() as (url, server):
            tabs = [page(url, name, others=1, report_url=report_url) for name in ("Ada", "Bob")]
            async with open_browser(browser, tmp_path, page_that_opens(*tabs)):
                found = [await reports.receive(), await reports.receive()]
            await server.wait_printed("Ada leaves a room")
            await server.wait_printed("Bob leaves a room")
            code, printed = await server.interrupt()
    assert sorted((report["name"], report["heard"]) for report in found) == [
        ("Ada", [["Bob", "Hello from Bob"]]),
        ("Bob", [["Ada", "Hello from Ada"]]),
    ]
    assert code == 0
    assert "Traceback" not in printed


async def test_a_program_and_two_browsers_talk_with_each_other(browser, require, tmp_path: Path, nursery):
    other = firefox(require(shutil.which("firefox-esr") or shutil.which("firefox"), "Firefox is not installed"))
    report_url, reports = await nursery.start(serve_reports)
    async with AsyncExitStack() as stack:
        stack.enter_context(trio.fail_after(PATIENCE))
        url, server = await stack.enter_async_context(open_chat_server())
        eve = await stack.enter_async_context(open_example("chat_client.py", url, "--room", "a room", "--name", "Eve"))
        for one, name in ((browser, "Ada"), (other, "Bob")):
            profile = tmp_path / name
            profile.mkdir()
            tab = page(url, name, others=2, report_url=report_url)
            await stack.enter_async_context(open_browser(one, profile, tab))
        for name in ("Ada", "Bob"):
            await eve.wait_printed(f"{name}: Hello from {name}")
        await eve.type_line("Guten Tag")
        for _ in range(2):
            report = await reports.receive()
            name = {"Ada": "Bob", "Bob": "Ada"}[report["name"]]
            assert sorted(report["heard"]) == [[name, f"Hello from {name}"], ["Eve", "Guten Tag"]]
        code, _ = await eve.end_of_typing()
        assert code == 0
        await server.wait_printed("Eve leaves a room")


async def test_two_programs_go_on_talking_when_the_server_is_gone():
    async with (
        open_chat_server() as (url, server),
        open_example("chat_client.py", url, "--name", "Ada") as ada,
        open_example("chat_client.py", url, "--name", "Bob") as bob,
    ):
        with trio.fail_after(PATIENCE):
            await ada.wait_printed("Bob is here.")
            await bob.wait_printed("Ada is here.")
            code, printed = await server.interrupt()
            assert code == 0
            assert "Traceback" not in printed
            await ada.wait_printed("The server is gone.")
            await ada.type_line("Are you still there?")
            await bob.wait_printed("Ada: Are you still there?")
            await bob.type_line("Yes, but not for long.")
            code, printed = await bob.end_of_typing()
            assert code == 0
            assert "Traceback" not in printed
            assert "Bob: Yes, but not for long." in await ada.wait_printed("Bob has left.")


def test_a_room_has_no_more_members_than_it_has_places_for():
    rooms = Rooms()
    with ExitStack() as stack:
        for number in range(MAX_MEMBERS):
            stack.enter_context(rooms.enter("full", f"member {number}"))
        with pytest.raises(UnwelcomeError), rooms.enter("full", "Ada"):
            pass
        with pytest.raises(UnwelcomeError), rooms.enter("another", "A" * 100):
            pass
        with rooms.enter("another", "Ada"):
            pass
    with rooms.enter("full", "Ada") as (own, room):
        assert list(room.members) == [own]


async def test_nobody_is_introduced_to_who_is_not_in_the_room():
    with trio.fail_after(PATIENCE):
        async with (
            open_chat_server() as (url, _),
            open_websocket_url(f"{url.replace('http', 'ws')}/rooms/r?name=Ada") as door,
        ):
            news = json.loads(await door.get_message())
            signalling = f"ws://127.0.0.1:{news['signalling']}"
            for path in ("", f"/r/{news['you']}/{news['you']}", f"/r/{news['you']}/somebody", f"/q/{news['you']}/me"):
                with pytest.raises(SignalingFailedError, match="404"):
                    async with open_websocket_signaling(signalling + path):
                        pass
