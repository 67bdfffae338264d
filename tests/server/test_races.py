"""Several tasks open and close peers of one server at once: whoever comes second finds what the first has left."""

from contextlib import suppress

import pytest
import trio

from trio_webrtc import Configuration, ServerLimits, UsageError, WebRtcServer

from .conftest import Joined, Site, connect

TASKS = 5
TICKS = 8
"""Turns of the event loop in which an opening has begun, and may meet an end of the server's."""


async def open_at_once(server: WebRtcServer, configuration: Configuration | None = None) -> tuple[int, int]:
    """Have some tasks open a peer each; how many were opened, and how many refused."""
    opened = refused = 0

    async def open_one() -> None:
        nonlocal opened, refused
        try:
            async with server.open_peer_connection(configuration):
                opened += 1
                await trio.sleep(1)
        except UsageError:
            refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(TASKS):
            nursery.start_soon(open_one)
    return opened, refused


async def test_tasks_that_open_peers_at_once_open_no_more_than_there_may_be(site: Site, autojump_clock):
    async with site.serve(limits=ServerLimits(max_peers=2)) as server:
        assert await open_at_once(server) == (2, TASKS - 2)
        assert server.get_stats().peers == 0
        assert await open_at_once(server) == (2, TASKS - 2), "the places are free again"


async def test_of_tasks_that_open_peers_of_one_name_at_once_one_gets_it(site: Site, autojump_clock):
    configuration = Configuration(ice_credentials=("a" * 24, "a" * 24))
    async with site.serve() as server:
        assert await open_at_once(server, configuration) == (1, TASKS - 1)
        assert server.get_stats().ufrags == ()
        assert await open_at_once(server, configuration) == (1, TASKS - 1), "the name is free again"


@pytest.mark.parametrize("ticks", range(TICKS))
@pytest.mark.parametrize("how", ["by aclose()", "by leaving the block"])
async def test_a_peer_that_is_opened_while_the_server_closes_is_refused_or_closed_with_it(
    site: Site, autojump_clock, how: str, ticks: int
):
    """In every turn of the event loop that opening takes; the order of the tasks in one of them is chance."""
    for _ in range(20):
        fates: list[tuple[str, int] | str] = []

        async def open_soon(server: WebRtcServer, fates: list[tuple[str, int] | str] = fates) -> None:
            for _ in range(ticks):
                await trio.lowlevel.checkpoint()
            try:
                async with server.open_peer_connection() as peer:
                    await trio.sleep(10)
                    fates.append((peer.connection_state, server.get_stats().peers))
            except trio.ClosedResourceError:
                fates.append("refused")

        async with trio.open_nursery() as nursery, site.serve() as server:
            nursery.start_soon(open_soon, server)
            await trio.lowlevel.checkpoint()
            if how == "by aclose()":
                await server.aclose()
        assert fates in (["refused"], [("closed", 0)])


async def test_a_peer_that_has_all_it_waits_for_is_closed_at_once_whoever_lingers(site: Site, autojump_clock):
    """One peer is out of reach, and the server waits for its acknowledgement; the others hear of the end meanwhile."""
    lost, near = site.add_guest(), site.add_guest()
    patient = Configuration(linger=8.0)
    async with (
        site.serve() as server,
        connect(server, lost, configuration=patient) as unreachable,
        connect(server, near, configuration=patient) as reachable,
    ):
        site.network.cut(site.host, lost)
        await unreachable.far.send("never arrives")
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk, reachable)
            nursery.start_soon(server.aclose)
            await reachable.client.wait_closed()
            assert trio.current_time() - began < 1
        assert trio.current_time() - began > 7.9


async def talk(joined: Joined) -> None:
    """Send now and then, until the connection ends."""
    with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
        while True:
            await joined.far.send("still here")
            await trio.sleep(0.1)
