"""What happens to one peer of a server is no affair of the others, and does not keep the server from ending."""

import random
from collections.abc import Awaitable, Callable

import pytest
import trio
import trio.testing

from trio_webrtc import CloseReason, Configuration, PeerConnection
from trio_webrtc.core.contract import Transmit
from trio_webrtc.testing import virtual_tcp

from ..surface.quiescence import nothing_stays_behind
from .conftest import RUNS, Joined, MakeSite, Site, connect
from .visitors import open_crowd
from .wire import RST, said_to

LATENCY = 0.02
BRIEF = Configuration(linger=0.5, close_timeout=0.25)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_bug_in_saying_goodbye_comes_out_of_its_own_scope_when_the_server_ends(
    site: Site, autojump_clock, transport: str
):
    """T4, T6, C2: the others are told all the same, and all is freed."""

    def bug(*_: object) -> None:
        raise ZeroDivisionError("injected")

    async with open_crowd(site, 6) as crowd:
        with pytest.raises(ZeroDivisionError, match="injected"):
            async with connect(crowd.server, site.add_guest(), transport, configuration=BRIEF) as joined:
                joined.peer._core.close = bug
                await crowd.server.aclose()
        assert not site.host.open_sockets
        for visitor in crowd.visitors:
            await visitor.gone.wait()
            assert visitor.reason is CloseReason.REMOTE


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_flood_of_junk_from_one_peer_delays_no_other(site: Site, autojump_clock, transport: str):
    """C7: records that are none, from an address that has proved itself; the peer itself goes on as well."""
    rng = random.Random(1)
    async with open_crowd(site, 6) as crowd, connect(crowd.server, site.add_guest(), transport) as joined:

        async def flood() -> None:
            via, address = joined.client._core._way
            while True:
                for _ in range(50):
                    junk = bytes([rng.choice([20, 21, 22, 23])]) + b"\xfe\xfd" + rng.randbytes(rng.randint(0, 1200))
                    via.send(Transmit(via, address, junk))
                await trio.sleep(0.001)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(flood)
            await crowd.check_that_nobody_notices(LATENCY, 1.0)
            nursery.cancel_scope.cancel()
        await joined.near.send("still here")
        assert await joined.far.receive() == "still here"


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("direction", ["to the server", "to the peer"])
async def test_a_slow_consumer_delays_no_other(site: Site, autojump_clock, transport: str, direction: str):
    """T8: the reader of a shared port never waits for anybody."""
    async with open_crowd(site, 6) as crowd, connect(crowd.server, site.add_guest(), transport) as joined:
        source = joined.near if direction == "to the server" else joined.far

        async def send_for_ever() -> None:
            while True:
                await source.send(b"x" * 50_000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_for_ever)
            await crowd.check_that_nobody_notices(LATENCY, 3.0)
            assert source.buffered_amount > 0, "the window is shut"
            nursery.cancel_scope.cancel()


@pytest.fixture
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections in which little is under way, as if they were long and thin."""
    monkeypatch.setattr(virtual_tcp, "STREAM_BUFFER", 4096)


def stop_reading(client: PeerConnection) -> None:
    """Have a client read its TCP connection no more, as if its program were stopped."""
    (connection,) = client._path._holdings.connections.values()
    connection._socket.wait_readable = trio.sleep_forever


async def fill(joined: Joined) -> None:
    """Send to a client that does not read, until nothing more leaves."""
    stop_reading(joined.client)
    for _ in range(40):
        joined.far.send_nowait(b"x" * 10_000)
    await trio.sleep(3)
    (connection,) = joined.peer._path._holdings.connections.values()
    assert connection._unsent, "the kernel takes no more"


@pytest.mark.parametrize("who_ends", ["peer", "server", "cancelled"])
async def test_a_peer_that_stops_reading_its_tcp_connection_delays_its_own_end_only_and_that_within_bounds(
    site: Site, autojump_clock, small_buffers, who_ends: str
):
    """B17, T5: the others go on as if nothing were; whoever ends it does so within linger and close_timeout."""
    with nothing_stays_behind():
        await end_who_does_not_read(site, who_ends)


async def end_who_does_not_read(site: Site, who_ends: str) -> None:
    async with open_crowd(site, 6) as crowd:
        guest = site.add_guest()
        async with connect(crowd.server, guest, "tcp", configuration=BRIEF) as joined:
            await fill(joined)
            await crowd.check_that_nobody_notices(LATENCY)
            began = trio.current_time()
            if who_ends == "server":
                await crowd.server.aclose()
            elif who_ends == "peer":
                await joined.peer.aclose()
            else:
                with trio.CancelScope() as scope:
                    scope.cancel()
                    await joined.peer.aclose()
            took = trio.current_time() - began
            assert took <= BRIEF.close_timeout + (0 if who_ends == "cancelled" else BRIEF.linger) + 1e-6
            (speech,) = [s for s in said_to(guest, site.network) if s.transport == "tcp"]
            assert speech.words[-1][1] == RST, "no goodbye is claimed that cannot have left"
        if who_ends == "server":
            for visitor in crowd.visitors:
                await visitor.gone.wait()
                assert visitor.reason is CloseReason.REMOTE
        else:
            await crowd.check_that_nobody_notices(LATENCY)


async def test_nobody_else_waits_while_a_peer_that_does_not_read_is_closed(site: Site, autojump_clock, small_buffers):
    """B17, T5, C7: also during the second that the end of it takes."""
    async with open_crowd(site, 6) as crowd, connect(crowd.server, site.add_guest(), "tcp") as joined:
        await fill(joined)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(joined.peer.aclose)
            await crowd.check_that_nobody_notices(LATENCY, 2.0)


async def sleep_under_a_shield() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(1000)


async def keep_closing() -> None:
    while True:
        try:
            await trio.sleep(1000)
        except trio.Cancelled:
            await sleep_under_a_shield()
            raise


@pytest.mark.parametrize("stuck", [sleep_under_a_shield, keep_closing])
async def test_a_handler_that_hangs_does_not_keep_the_server_from_ending(
    site: Site, autojump_clock, stuck: Callable[[], Awaitable[None]]
):
    """C6: the server waits for its peers' goodbyes and for nobody's program."""

    async def hang(server) -> None:
        async with connect(server, site.add_guest(), "tcp"):
            await stuck()

    async with trio.open_nursery() as handlers:
        async with open_crowd(site, 4) as crowd:
            handlers.start_soon(hang, crowd.server)
            await trio.sleep(2)
            assert crowd.server.get_stats().peers == 5
            began = trio.current_time()
            await crowd.server.aclose()
        assert trio.current_time() - began <= 5 * LATENCY
        assert not site.host.open_sockets
        handlers.cancel_scope.cancel()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_dead_peer_with_reads_pending_does_not_keep_the_server_from_ending(
    site: Site, autojump_clock, transport: str
):
    """C10: nobody answers any more, least of all a FIN."""
    async with open_crowd(site, 4, configuration=BRIEF) as crowd:
        guest = site.add_guest()
        async with connect(crowd.server, guest, transport, configuration=BRIEF) as joined, trio.open_nursery() as reads:

            async def read() -> None:
                with pytest.raises(trio.ClosedResourceError):
                    await joined.far.receive()

            reads.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            site.network.cut(guest, site.host)
            joined.far.send_nowait("into the dark")
            began = trio.current_time()
            await crowd.server.aclose()
            assert trio.current_time() - began <= BRIEF.linger + BRIEF.close_timeout + 1e-6
        assert not site.host.open_sockets


@pytest.mark.parametrize("seed", range(max(1, RUNS // 5)))
async def test_a_server_ends_in_time_under_full_load_that_nobody_reads(make_site: MakeSite, autojump_clock, seed: int):
    """C1, B13: all send as fast as they can, both ways; each `send()` ends, too."""
    site = make_site(seed, jitter=0.01, loss=0.02)
    with nothing_stays_behind():
        await close_under_load(site, 0.5 + seed / 50)


async def close_under_load(site: Site, moment: float) -> None:
    ends: list[BaseException] = []

    async def flood(channel) -> None:
        try:
            while True:
                await channel.send(b"x" * 5000)
        except (trio.ClosedResourceError, trio.BrokenResourceError) as end:
            ends.append(end)

    async def live(server, transport: str) -> None:
        async with connect(server, site.add_guest(), transport) as joined, trio.open_nursery() as nursery:
            nursery.start_soon(flood, joined.near)
            nursery.start_soon(flood, joined.far)

    async with trio.open_nursery() as peers, site.serve() as server:
        for number in range(6):
            peers.start_soon(live, server, ("udp", "tcp")[number % 2])
        await trio.sleep(2 + moment)
        assert server.get_stats().peers == 6
        began = trio.current_time()
        await server.aclose()
        assert trio.current_time() - began <= Configuration().linger + Configuration().close_timeout + 1e-6
        assert not site.host.open_sockets
    assert len(ends) == 12
