"""Ctrl-C, wherever it lands in the life of a server: what must not be broken off is not, and everybody is told."""

import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import CodeType, FrameType

import pytest
import trio
import trio.testing

import trio_webrtc
from trio_webrtc import CloseReason, Configuration, IceServer, WebRtcServer, open_peer_connection
from trio_webrtc.testing import serve_stun

from ..surface.quiescence import no_objects_stay_behind
from ..surface.test_local_names import NAMES, hidden, respond
from .conftest import RUNS, MakeSite, Site, connect
from .test_every_checkpoint import live, open_clients, open_peers

PACKAGE = Path(trio_webrtc.__file__).parent
LIBRARY, CORE, TEST_KIT = f"{PACKAGE}/", f"{PACKAGE}/core/", f"{PACKAGE}/testing/"

QUESTIONS = {"describe", "create_offer", "create_answer"}
"""What changes nothing in a core; a user's task may be interrupted while it asks."""

PEERS = 2


@contextmanager
def every_call(look: Callable[[FrameType], None]) -> Iterator[None]:
    """Look at each frame of the library's when it begins, and when it goes on after having waited."""

    def profile(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and _is_of_the_library(frame.f_code):
            look(frame)

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


def _is_of_the_library(code: CodeType) -> bool:
    return code.co_filename.startswith(LIBRARY) and not code.co_filename.startswith(TEST_KIT)


def _enters_a_core(frame: FrameType) -> bool:
    caller = frame.f_back.f_code
    return (
        frame.f_code.co_filename.startswith(CORE)
        and _is_of_the_library(caller)
        and not caller.co_filename.startswith(CORE)
        and frame.f_code.co_name not in QUESTIONS
    )


def unprotected(frame: FrameType) -> str | None:
    """The name of a function that Ctrl-C could break off here and must not: any that a task of the library's own is in,
    and whatever task it is, what changes a core.
    """
    if trio.lowlevel.currently_ki_protected():
        return None
    code = trio.lowlevel.current_task().coro.cr_code
    if not _is_of_the_library(code) and not _enters_a_core(frame):
        return None
    return f"{frame.f_code.co_qualname} in {Path(frame.f_code.co_filename).relative_to(PACKAGE)}"


async def leave(server: WebRtcServer) -> None:
    await trio.lowlevel.checkpoint()


async def fail(server: WebRtcServer) -> None:
    raise LookupError


async def have_others_close(server: WebRtcServer) -> None:
    """Two tasks at once, neither of which is the one that Ctrl-C goes to."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.aclose)
        nursery.start_soon(server.aclose)


Ending = Callable[[WebRtcServer], Awaitable[None]]


async def end_among_peers(site: Site, ending: Ending, look: Callable[[FrameType], None]) -> None:
    """End a server, look at all that is called meanwhile, and see that each of its peers has heard goodbye."""
    clients = []

    async def come(server: WebRtcServer, number: int) -> None:
        async with connect(server, site.add_guest(), ("udp", "tcp")[number % 2]) as joined:
            clients.append(joined.client)
            await trio.sleep_forever()

    async with trio.open_nursery() as guests:
        with ExitStack() as watching:
            try:
                async with site.serve() as server:
                    for number in range(PEERS):
                        guests.start_soon(come, server, number)
                    await trio.sleep(2)
                    watching.enter_context(every_call(look))
                    await ending(server)
            except* (LookupError, KeyboardInterrupt):
                pass
        assert not site.host.open_sockets, "whoever leaves the server leaves nothing of it"
        with suppress(KeyboardInterrupt):
            await trio.lowlevel.checkpoint()  # where it comes out if there was none left in the server
        assert len(clients) == PEERS
        with trio.fail_after(1):
            for client in clients:
                assert await client.wait_closed() is CloseReason.REMOTE
        guests.cancel_scope.cancel()


async def live_with_a_server(site: Site, look: Callable[[FrameType], None]) -> None:
    hosts = [site.add_guest(), site.add_guest()]
    with every_call(look):
        async with open_clients(hosts) as clients, site.serve() as server, open_peers(server) as peers:
            await live(clients, peers, hosts)
            async with connect(server, site.add_guest(), "tcp", ice_lite=False):
                pass


async def live_without_one(site: Site, look: Callable[[FrameType], None]) -> None:
    """With all that a server has no use for: addresses as others see them, and names of the local network."""
    configuration = Configuration(ice_servers=[IceServer("stun:stun.test")])
    host = site.network.add_host("10.0.0.2", "fd00::2")
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_stun, site.network.add_host("10.0.0.3", name="stun.test"))
        nursery.start_soon(respond, host, NAMES)
        with every_call(look):
            async with (
                open_peer_connection(configuration, network=site.host) as caller,
                open_peer_connection(network=host) as callee,
            ):
                caller.create_data_channel("chat")
                await caller.set_local_description()
                await caller.wait_gathering_complete()
                await callee.set_remote_description(caller.local_description)
                await callee.set_local_description()
                await caller.set_remote_description(await hidden(callee, NAMES))
                await caller.wait_connected()
                await trio.sleep(5)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "life",
    [
        live_with_a_server,
        live_without_one,
        *(partial(end_among_peers, ending=ending) for ending in (leave, fail, have_others_close)),
    ],
    ids=["with a server", "without one", "its end", "its end by an exception", "its end by others"],
)
async def test_ctrl_c_breaks_off_no_task_of_the_library_and_no_command_to_a_core(
    site: Site, autojump_clock, life: Callable[..., Awaitable[None]]
):
    """Whatever is called in some lives, there is a function around it that is protected."""
    calls, found = 0, set()

    def look(frame: FrameType) -> None:
        nonlocal calls
        calls += 1
        if (name := unprotected(frame)) is not None:
            found.add(name)

    await life(site, look=look)
    assert not found
    assert calls > 500, "somebody has looked"


class InterruptAtCall:
    """Makes Ctrl-C of the n-th call of one of the library's functions."""

    def __init__(self, chosen: int | None) -> None:
        self.calls = 0
        self._chosen = chosen

    def __call__(self, frame: FrameType) -> None:
        self.calls += 1
        if self.calls == self._chosen:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("ending", [leave, fail, have_others_close], ids=lambda ending: ending.__name__)
def test_ctrl_c_at_any_moment_of_a_servers_end_keeps_no_peer_from_hearing_goodbye(make_site: MakeSite, ending: Ending):
    """T2, T6, C2: places all over the end."""

    def end(chosen: int | None) -> int:
        interrupt = InterruptAtCall(chosen)
        clock = trio.testing.MockClock(autojump_threshold=0)
        trio.run(end_among_peers, make_site(), ending, interrupt, clock=clock)
        return interrupt.calls

    with no_objects_stay_behind():
        calls = end(None)
        assert calls > 500, "there are places enough"
        places = max(1, RUNS // 3)
        for number in range(places):
            end(1 + number * calls // places)
