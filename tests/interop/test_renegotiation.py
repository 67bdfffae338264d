"""Sessions with browsers that negotiate a hundred times, in every way there is, while messages are echoed."""

import itertools
import json
import shutil
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from trio_webrtc import DataChannel, IceCandidate, PeerConnection, SessionDescription, open_peer_connection

from .browsers import Browser, chromium, firefox, open_browser

ROUNDS = 100
PATIENCE = 15.0
"""Seconds for anything that the browser is waited for; it has to start, too."""

PAGE = Path(__file__).parent / "renegotiation.html"


class Page:
    """The page in the browser: it gets commands, and reports events."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket = socket
        self.finished = trio.Event()
        self.states: list[str] = []
        self._handled = trio.Event()
        self._events: deque[dict] = deque()
        self._news = trio.lowlevel.ParkingLot()

    async def tell(self, command: str, **members: object) -> None:
        await self._socket.send_text(json.dumps({"command": command, **members}))

    async def event(self, kind: str) -> dict:
        with trio.fail_after(PATIENCE):
            while True:
                for event in self._events:
                    assert event["event"] != "error", event
                    if event["event"] == kind:
                        self._events.remove(event)
                        return event
                await self._news.park()

    async def describe_itself_to(self, peer: PeerConnection | None) -> None:
        """Give the peer the page's next description; None: it gets lost. Candidates that follow it wait for that."""
        description = SessionDescription.from_dict((await self.event("description"))["description"])
        if peer is not None:
            await peer.set_remote_description(description)
        self._handled.set()

    async def listen(self, peer: PeerConnection) -> None:
        """Take what the page reports; candidates go straight to the peer."""
        while True:
            event = json.loads(await self._socket.receive_text())
            if event["event"] == "candidate":
                candidate = event["candidate"]
                await peer.add_ice_candidate(IceCandidate.from_dict(candidate) if candidate else None)
            elif event["event"] == "state":
                self.states.append(event["state"])
            else:
                self._handled = trio.Event()
                self._events.append(event)
                self._news.unpark_all()
                if event["event"] == "description":
                    await self._handled.wait()


async def serve_page(*, task_status: trio.TaskStatus[tuple[str, trio.MemoryReceiveChannel[Page]]]) -> None:
    """Serve the page, and hand out each that connects, until cancelled."""
    arriving, pages = trio.open_memory_channel[Page](1)

    async def signalling(socket: WebSocket) -> None:
        await socket.accept()
        page = Page(socket)
        await arriving.send(page)
        await page.finished.wait()

    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.loglevel = "WARNING"
    routes = [Route("/", lambda request: FileResponse(PAGE)), WebSocketRoute("/signalling", signalling)]
    async with trio.open_nursery() as nursery:
        urls = await nursery.start(serve, Starlette(routes=routes), config)
        task_status.started((urls[0], pages))


class Session:
    """We on one side, the page on the other, and the ways in which the two may negotiate."""

    def __init__(self, peer: PeerConnection, page: Page) -> None:
        self.peer, self.page = peer, page

    async def our_offer(self) -> SessionDescription:
        await self.peer.set_local_description()
        await self.peer.wait_gathering_complete()
        return self.peer.local_description

    async def give_answer(self) -> None:
        await self.peer.set_local_description()
        await self.peer.wait_gathering_complete()
        await self.page.tell("takeAnswer", description=self.peer.local_description.as_dict())
        assert (await self.page.event("stable"))["state"] == "stable"

    async def page_offers(self, *, restart: bool = False) -> None:
        await self.page.tell("offer", restart=restart)
        await self.page.describe_itself_to(self.peer)
        await self.give_answer()

    async def page_restarts(self) -> None:
        await self.page_offers(restart=True)

    async def we_offer(self, *, provisional: bool = False) -> None:
        offer = await self.our_offer()
        await self.page.tell("takeOffer", description=offer.as_dict(), provisional=provisional)
        if provisional:
            await self.page.describe_itself_to(self.peer)
            assert self.peer.signaling_state == "have-remote-pranswer"
        await self.page.describe_itself_to(self.peer)

    async def we_restart(self) -> None:
        self.peer.restart_ice()
        await self.we_offer()

    async def the_page_answers_provisionally_first(self) -> None:
        await self.we_offer(provisional=True)

    async def we_answer_provisionally_first(self) -> None:
        await self.page.tell("offer", restart=False)
        await self.page.describe_itself_to(self.peer)
        answer = await self.peer.create_answer()
        await self.peer.set_local_description(SessionDescription("pranswer", answer.sdp))
        await self.page.tell("takeAnswer", description=self.peer.local_description.as_dict())
        assert (await self.page.event("stable"))["state"] == "have-remote-pranswer"
        await self.give_answer()

    async def offers_cross_and_we_give_way(self) -> None:
        self.peer.restart_ice()
        await self.our_offer()
        await self.page_offers()
        await self.we_offer()

    async def offers_cross_and_the_page_gives_way(self) -> None:
        await self.page.tell("offer", restart=True)
        await self.page.describe_itself_to(None)
        await self.we_offer()

    async def the_page_takes_its_offer_back(self) -> None:
        await self.page.tell("offer", restart=True)
        await self.page.describe_itself_to(self.peer)
        await self.peer.set_remote_description(SessionDescription("rollback"))
        await self.page.tell("rollback")
        await self.page.event("stable")

    async def we_take_our_offer_back(self) -> None:
        self.peer.restart_ice()
        await self.our_offer()
        await self.peer.set_local_description(SessionDescription("rollback"))
        await self.we_offer()

    async def the_page_adds_audio(self) -> None:
        await self.page.tell("addAudio")
        await self.page_offers()

    async def the_page_stops_audio(self) -> None:
        await self.page.tell("stopAudio")
        await self.page_offers()


WAYS = [
    Session.page_offers,
    Session.we_offer,
    Session.page_restarts,
    Session.we_restart,
    Session.the_page_adds_audio,
    Session.offers_cross_and_we_give_way,
    Session.the_page_takes_its_offer_back,
    Session.the_page_stops_audio,
    Session.we_take_our_offer_back,
    Session.offers_cross_and_the_page_gives_way,
]
PROVISIONAL_WAYS = [Session.we_answer_provisionally_first, Session.the_page_answers_provisionally_first]
"""Firefox says that it has not implemented these."""


class Echo:
    """Sends numbers all the time, and sees that each comes back, in order."""

    def __init__(self, channel: DataChannel) -> None:
        self._channel = channel
        self.sent = self.returned = 0
        self._news = trio.lowlevel.ParkingLot()

    async def send(self) -> None:
        while True:
            await self._channel.send(str(self.sent))
            self.sent += 1
            await trio.sleep(0.005)

    async def receive(self) -> None:
        while True:
            assert await self._channel.receive() == str(self.returned)
            self.returned += 1
            self._news.unpark_all()

    async def wait_returned(self) -> None:
        """Wait until what has been sent so far is back."""
        goal = self.sent
        with trio.fail_after(PATIENCE):
            while self.returned < goal:
                await self._news.park()


async def wait_paired(peer: PeerConnection) -> None:
    """Wait until the latest ICE generation has its pair."""
    with trio.fail_after(PATIENCE):
        while peer.ice_connection_state != "completed":
            await trio.sleep(0.01)


async def run_session(
    browser: Browser,
    profile: Path,
    nursery: trio.Nursery,
    ways_to_go: Sequence[Callable[[Session], Awaitable[None]]],
    *,
    waits: bool,
) -> Counter[str]:
    """Negotiate in each way in turn; if it `waits`, then each time for ICE and the echo."""
    url, pages = await nursery.start(serve_page)
    ways: Counter[str] = Counter()
    async with open_browser(browser, profile, url):
        with trio.fail_after(4 * PATIENCE):
            page = await pages.receive()
        async with open_peer_connection() as peer:
            channel = peer.create_data_channel("echo", negotiated=True, id=0)
            async with trio.open_nursery() as session_tasks:
                session_tasks.start_soon(page.listen, peer)
                session, echo = Session(peer, page), Echo(channel)
                await session.page_offers()
                with trio.fail_after(PATIENCE):
                    await channel.wait_open()
                session_tasks.start_soon(echo.send)
                session_tasks.start_soon(echo.receive)
                for way in itertools.islice(itertools.cycle(ways_to_go), ROUNDS):
                    print(way.__name__)  # for whoever has to find out which one failed
                    await way(session)
                    ways[way.__name__] += 1
                    assert peer.signaling_state == "stable"
                    assert peer.connection_state == "connected"
                    if waits:
                        await wait_paired(peer)
                        await echo.wait_returned()
                await echo.wait_returned()
                assert set(page.states) <= {"connecting", "connected"}
                page.finished.set()
                session_tasks.cancel_scope.cancel()
    return ways


async def test_chromium_renegotiates_a_hundred_times_while_it_echoes(require, tmp_path, nursery):
    program = require(shutil.which("chromium") or shutil.which("google-chrome"), "Chromium is not installed")
    ways = await run_session(
        chromium(program, shows_addresses=True), tmp_path, nursery, WAYS + PROVISIONAL_WAYS, waits=False
    )
    assert ways.total() == ROUNDS


async def test_firefox_renegotiates_a_hundred_times_while_it_echoes(require, tmp_path, nursery):
    program = require(shutil.which("firefox-esr") or shutil.which("firefox"), "Firefox is not installed")
    # Told to restart ICE before it has found the pair of the last restart, Firefox sends no data ever after.
    ways = await run_session(firefox(program), tmp_path, nursery, WAYS, waits=True)
    assert ways.total() == ROUNDS
