"""Browsers on a server's ports, half of them by UDP and half by TCP, and how they hear of its end."""

import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import trio

from trio_webrtc import (
    CloseReason,
    Configuration,
    DataChannel,
    IceCandidate,
    IceSettings,
    ListenAddress,
    PeerConnection,
    SessionDescription,
    WebRtcServer,
    open_webrtc_server,
)
from trio_webrtc.signaling import open_websocket_signaling

from ..server.conftest import echo, only
from .browsers import Browser, open_browser
from .example_process import open_example
from .network_namespace import ADDRESS
from .visitor import PATIENCE, STARTING_TIME, Visitor, serve_page

LISTEN = (ListenAddress("udp", ADDRESS, 0), ListenAddress("tcp", ADDRESS, 0))
TRANSPORTS = ("udp", "tcp")
SIZES = (0, 1, 1200, 65_536, 262_144)
IMPATIENT = Configuration(ice=IceSettings(lite_silence=4.0, consent_lifetime=8.0), restart_timeout=0.1)
"""Browsers ask again every 2.5 to 6 seconds."""
AT_ONCE = 3.0
"""Seconds, on a busy machine. That somebody has fallen silent is noticed after 5 at the soonest."""


@asynccontextmanager
async def open_tabs(
    browser: Browser, profile: Path, count: int
) -> AsyncIterator[tuple[list[Visitor], trio.MemoryReceiveChannel[Visitor]]]:
    """The browser with so many tabs of the page, which wait for what to do; and where those come that are reloaded."""
    async with trio.open_nursery() as nursery:
        url, visitors = await nursery.start(serve_page)
        async with open_browser(browser, profile, f"{url}/?tabs={count}"):
            with trio.fail_after(STARTING_TIME):
                tabs = [await visitors.receive() for _ in range(count)]
            yield tabs, visitors
        nursery.cancel_scope.cancel()


@dataclass
class Guest:
    """A tab, and the server's connection to it."""

    visitor: Visitor
    transport: str
    peer: PeerConnection
    own: DataChannel
    """The server's; the page echoes on it."""

    async def negotiate(self, *, restart: bool = False) -> None:
        """The page offers; it learns of one transport's candidates only."""
        await self.peer.set_remote_description(await self.visitor.offer(restart=restart))
        await self.peer.set_local_description()
        await self.peer.wait_gathering_complete()
        await self.visitor.take_answer(only(self.transport, self.peer.local_description))

    async def talk(self) -> None:
        """Messages go both ways and come back."""
        await self.visitor.echo(SIZES)
        with trio.fail_after(PATIENCE):
            for size in SIZES:
                message = random.Random(size).randbytes(size)
                await self.own.send(message)
                assert await self.own.receive() == message
        assert await self.visitor.route() == self.transport


async def receive_guest(
    server: WebRtcServer, visitor: Visitor, transport: str, *, task_status: trio.TaskStatus[Guest]
) -> None:
    """Be the server's side of one tab: echo until it is gone."""
    async with server.open_peer_connection() as peer:
        await visitor.tell("connect")
        guest = Guest(visitor, transport, peer, peer.create_data_channel("from the server"))
        await guest.negotiate()
        await visitor.event("open")
        task_status.started(guest)
        try:
            await echo(peer)
        except* (trio.ClosedResourceError, trio.BrokenResourceError):
            pass  # the end, as an echo may hear of it


async def receive_guests(server: WebRtcServer, tabs: Sequence[Visitor], nursery: trio.Nursery) -> list[Guest]:
    """Connect to every tab, half by UDP and half by TCP, all at once."""
    guests: list[Guest] = []

    async def receive(visitor: Visitor, transport: str) -> None:
        guests.append(await nursery.start(receive_guest, server, visitor, transport))

    async with trio.open_nursery() as arriving:
        for visitor, transport in zip(tabs, itertools.cycle(TRANSPORTS), strict=False):
            arriving.start_soon(receive, visitor, transport)
    return guests


async def all_at_once(guests: Sequence[Guest], act: Callable[[Guest], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        for guest in guests:
            nursery.start_soon(act, guest)


async def wait_told(visitor: Visitor) -> None:
    """Wait until the page has seen the end: of its channel, and of the transport below."""
    await visitor.event("closed")
    await visitor.event("dtls", state="closed")


async def test_tabs_by_udp_and_tcp_echo_renegotiate_and_restart_ice(browser: Browser, tmp_path: Path):
    async with (
        open_tabs(browser, tmp_path, 6) as (tabs, _),
        open_webrtc_server(*LISTEN) as server,
        trio.open_nursery() as nursery,
    ):
        guests = await receive_guests(server, tabs, nursery)
        assert server.get_stats().peers == len(guests)
        await all_at_once(guests, Guest.talk)
        await all_at_once(guests, Guest.negotiate)
        await all_at_once(guests, Guest.talk)
        await all_at_once(guests, partial(Guest.negotiate, restart=True))
        await all_at_once(guests, Guest.talk)
        with trio.fail_after(PATIENCE):
            while len(server.get_stats().ufrags) > len(guests):  # the old ones go with the first check of the new ones
                await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    stats = server.get_stats()
    assert (stats.peers, stats.ufrags, stats.remote_addresses, stats.tcp_connections) == (0, (), (), 0)


@pytest.mark.parametrize("preferred", TRANSPORTS)
async def test_a_tab_that_may_choose_comes_by_what_the_server_prefers(browser: Browser, tmp_path: Path, preferred: str):
    configuration = Configuration(ice=IceSettings(preferred_transport=preferred))
    async with (
        open_tabs(browser, tmp_path, 1) as ((visitor,), _),
        open_webrtc_server(*LISTEN, configuration=configuration) as server,
        server.open_peer_connection() as peer,
    ):
        await visitor.tell("connect")
        await peer.set_remote_description(await visitor.offer())
        await peer.set_local_description()
        await peer.wait_gathering_complete()
        await visitor.take_answer(peer.local_description)
        await visitor.event("open")
        with trio.fail_after(PATIENCE):
            while await visitor.route() != preferred:
                await trio.sleep(0.5)


async def wait_left(guest: Guest, browser: Browser) -> None:
    """Wait until the server has heard that the page is gone: at once, if the page has managed to say so."""
    may_be_cut_short = browser.name == "Firefox" and guest.transport == "tcp"
    with trio.fail_after(PATIENCE if may_be_cut_short else AT_ONCE):
        reason = await guest.peer.wait_closed()
    assert reason is CloseReason.REMOTE or may_be_cut_short


async def test_nothing_is_left_of_a_page_that_is_loaded_anew_or_a_browser_that_is_killed(
    browser: Browser, tmp_path: Path
):
    """B2. The one says goodbye; the other resets its TCP connections and is silent elsewhere."""
    async with open_webrtc_server(*LISTEN, configuration=IMPATIENT) as server, trio.open_nursery() as nursery:
        async with open_tabs(browser, tmp_path, 4) as (tabs, arrivals):
            guests = await receive_guests(server, tabs, nursery)
            await all_at_once(guests, Guest.talk)
            for guest in guests[:2]:
                await guest.visitor.tell("reload")
            async with trio.open_nursery() as leaving:
                for guest in guests[:2]:
                    leaving.start_soon(wait_left, guest, browser)
            stats = server.get_stats()
            assert (stats.peers, len(stats.ufrags)) == (2, 2)

            with trio.fail_after(STARTING_TIME):
                again = [await arrivals.receive() for _ in range(2)]
            guests[:2] = await receive_guests(server, again, nursery)
            await all_at_once(guests, Guest.talk)
        with trio.fail_after(PATIENCE):
            for guest in guests:
                assert await guest.peer.wait_closed() is CloseReason.FAILED
        stats = server.get_stats()
        assert (stats.peers, stats.ufrags, stats.remote_addresses, stats.tcp_connections) == (0, (), (), 0)


async def close_it(server: WebRtcServer, nursery: trio.Nursery) -> None:
    await server.aclose()


async def cancel_its_scope(server: WebRtcServer, nursery: trio.Nursery) -> None:
    nursery.cancel_scope.cancel()


async def let_a_sibling_raise(server: WebRtcServer, nursery: trio.Nursery) -> None:
    async def fail() -> None:
        raise LookupError("a sibling of the server's peers")

    nursery.start_soon(fail)


@pytest.mark.parametrize("end", [close_it, cancel_its_scope, let_a_sibling_raise])
async def test_every_tab_sees_the_end_at_once(browser: Browser, tmp_path: Path, end):
    async with open_tabs(browser, tmp_path, 6) as (tabs, _):
        async with trio.open_nursery() as outer:
            try:
                async with open_webrtc_server(*LISTEN) as server, trio.open_nursery() as nursery:
                    guests = await receive_guests(server, tabs, nursery)
                    await all_at_once(guests, Guest.talk)
                    ended = trio.current_time()
                    await end(server, nursery)
            except* LookupError:
                assert end is let_a_sibling_raise
            for visitor in tabs:
                outer.start_soon(wait_told, visitor)
        assert trio.current_time() - ended < AT_ONCE


async def test_every_tab_sees_the_end_at_once_when_the_process_is_interrupted(browser: Browser, tmp_path: Path):
    ports = ("--host", ADDRESS, "--port", "0", "--signalling-port", "0")
    async with (
        open_tabs(browser, tmp_path, 4) as (tabs, _),
        open_example("echo_many.py", *ports) as program,
        trio.open_nursery() as nursery,
    ):
        with trio.fail_after(PATIENCE):
            greeting = await program.wait_printed("Ctrl-C ")
        url = f"ws://{ADDRESS}:{greeting.split('Signalling on port ')[1].split(',')[0]}"
        for visitor, transport in zip(tabs, itertools.cycle(TRANSPORTS), strict=False):
            await nursery.start(pass_on, url, visitor, transport)
        for visitor in tabs:
            await visitor.event("open")
            await visitor.echo(SIZES)
        ended = trio.current_time()
        code, printed = await program.interrupt()
        for visitor in tabs:
            await wait_told(visitor)
        assert trio.current_time() - ended < AT_ONCE
        assert code == 0
        assert "Traceback" not in printed
        assert printed.splitlines()[-1] == "a peer less: 0 now"
        nursery.cancel_scope.cancel()


async def pass_on(url: str, visitor: Visitor, transport: str, *, task_status: trio.TaskStatus[None]) -> None:
    """Pass on what a page and a signalling server say to each other, but for the other transport's candidates."""
    async with open_websocket_signaling(url) as signaling:
        await visitor.tell("connect")
        await signaling.send(await visitor.offer())
        async for message in signaling:
            match message:
                case SessionDescription("answer"):
                    await visitor.take_answer(message)
                    task_status.started()
                case IceCandidate(text) if not text or f" {transport} " in text.lower():
                    await visitor.tell("addCandidate", candidate=message.as_dict())
