"""A server stays open, peers come and go in every way there is, and nothing of them is left: neither in the server's
books nor on its host, neither tasks nor objects nor memory.
"""

import gc
import itertools
import os
import re
import sys
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_webrtc import (
    CloseReason,
    Configuration,
    ConnectionFailedError,
    IceCandidate,
    ListenAddress,
    PeerConnection,
    SessionDescription,
    WebRtcServer,
    open_peer_connection,
    open_webrtc_server,
)
from trio_webrtc.testing import VirtualHost

from ..surface.conftest import negotiate
from ..surface.quiescence import descriptors, no_objects_stay_behind, no_objects_wait_for_the_collector, tasks
from ..surface.test_lifetimes import Stage, stage_of
from .aiming import join, say, using
from .conftest import PORT, RUNS, Site, agree, connect, only
from .visitors import open_another_connection

LATENCY = 0.02
ROUNDS = RUNS if RUNS >= 200 else max(1, RUNS // 4)
"""Peers that come and go in each way."""

IS_LONG = "TRIO_WEBRTC_LONG_RUNS" in os.environ or RUNS >= 200
WARMING_UP, MANY_ROUNDS = (300, 2000) if IS_LONG else (100, 100)
"""Peers after which caches hardly grow any more, and those that come and go while memory is looked at, a tenth of them
in each way; it takes half a minute."""

MAX_GROWTH = 1000
"""Blocks of memory that all of them together may leave. A single peer has hundreds."""

PATIENCE = 60.0
"""Seconds in which everybody is found to be gone who has said nothing: consent, and the time in which an ICE restart
may revive the connection."""


@dataclass
class Round:
    """One peer's visit."""

    site: Site
    guest: VirtualHost
    server: WebRtcServer
    client: PeerConnection
    peer: PeerConnection
    client_scope: trio.CancelScope

    async def vanish(self) -> None:
        """Have the client end without a word."""
        self.site.network.cut(self.guest, self.site.host)
        self.client_scope.cancel()
        await trio.sleep_forever()


async def leave_cleanly(round: Round) -> None:
    await round.client.aclose()


async def reset(round: Round) -> None:
    for connection in list(round.guest.connections):
        connection.reset()
    await round.vanish()


async def fall_silent(round: Round) -> None:
    await round.vanish()


async def be_closed_with_half_a_frame_read(round: Round) -> None:
    (connection,) = round.client._path._holdings.connections.values()
    connection._socket.send(b"\x05\x00half of it")
    await trio.sleep(2 * LATENCY)
    await round.peer.aclose()
    await round.client.wait_closed()


async def be_closed_by_its_own_handler(round: Round) -> None:
    (channel,) = round.client._channels.values()
    await channel.send("close")
    await round.client.wait_closed()


async def leave_one_of_two_connections_open(round: Round) -> None:
    other = await open_another_connection(round.guest, round.client, round.peer)
    await round.client.aclose()
    await other.wait_readable()
    assert other.receive() == b"", "a connection ends with its peer"
    other.close()


async def end_the_stream_and_go_on_by_another(round: Round) -> None:
    (channel,) = round.client._channels.values()
    for connection in list(round.guest.connections):
        connection.close()
    await trio.sleep(3)
    await channel.send("by another")
    assert await channel.receive() == "by another"
    assert round.server.get_stats().tcp_connections == 1, "the ended one has been freed"
    await round.client.aclose()


WAYS = [
    leave_cleanly,
    reset,
    fall_silent,
    be_closed_with_half_a_frame_read,
    be_closed_by_its_own_handler,
    leave_one_of_two_connections_open,
    end_the_stream_and_go_on_by_another,
]


async def attend_until_told(server: WebRtcServer, offer, *, task_status: trio.TaskStatus[PeerConnection]) -> None:
    """Like `attend()`, but close the connection, when the peer says so, from within the handler of its messages."""
    async with server.open_peer_connection() as peer:
        await peer.set_remote_description(offer)
        await peer.set_local_description()
        await peer.wait_gathering_complete()
        task_status.started(peer)
        try:
            async for channel in peer.incoming_data_channels:
                async for message in channel:
                    await (peer.aclose() if message == "close" else channel.send(message))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass


async def visit_once(
    site: Site,
    guest: VirtualHost,
    server: WebRtcServer,
    handlers: trio.Nursery,
    way: Callable[[Round], Awaitable[None]],
    transport: str = "tcp",
) -> None:
    """Come, exchange a message, go."""
    with trio.CancelScope() as scope:
        async with open_peer_connection(network=guest) as client:
            channel = client.create_data_channel("chat")
            await client.set_local_description()
            await client.wait_gathering_complete()
            peer = await handlers.start(attend_until_told, server, client.local_description)
            await client.set_remote_description(only(transport, peer.local_description))
            await channel.send("ping")
            assert await channel.receive() == "ping"
            await way(Round(site, guest, server, client, peer, scope))


async def wait_until_all_have_left(site: Site, server: WebRtcServer, guest: VirtualHost) -> None:
    """Wait until nobody is in the server's books, and see that it has nothing but its two ports then."""
    pause = LATENCY
    with trio.fail_after(PATIENCE):
        while server.get_stats().peers or guest.open_sockets or site.host.connections:
            await trio.sleep(pause)
            pause = min(1, pause * 1.5)
    site.network.heal(guest, site.host)
    stats = server.get_stats()
    assert (stats.peers, stats.ufrags, stats.remote_addresses) == (0, (), ())
    assert (stats.tcp_connections, stats.tcp_connections_waiting) == (0, 0)
    assert len(site.host.open_sockets) == 2
    board = server._switchboard
    books = board._seats, board._by_ufrag, board._by_prefix, board._places.owners, board._places._of, board._awaited
    assert not any((*books, server._peers, server._contacts._waiting))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_of_tcp_peers_that_come_and_go_nothing_is_left(
    site: Site, autojump_clock, way: Callable[[Round], Awaitable[None]]
):
    """B1, B2, B8, B14, B16, E10: books, sockets, tasks and objects, with the server open all the time."""
    guest = site.add_guest()
    async with site.serve() as server, trio.open_nursery() as handlers:
        await visit_once(site, guest, server, handlers, leave_cleanly)
        await wait_until_all_have_left(site, server, guest)
        before = tasks()
        with no_objects_stay_behind():
            for _ in range(ROUNDS):
                await visit_once(site, guest, server, handlers, way)
                await wait_until_all_have_left(site, server, guest)
                assert tasks() == before
            await trio.sleep(1)


VISITS = [
    *((way, "tcp") for way in WAYS),
    *((way, "udp") for way in (leave_cleanly, fall_silent, be_closed_by_its_own_handler)),
]


@pytest.mark.parametrize(("way", "transport"), VISITS, ids=lambda value: getattr(value, "__name__", value))
async def test_all_that_a_peer_was_goes_with_the_last_reference_to_it(
    site: Site, autojump_clock, way: Callable[[Round], Awaitable[None]], transport: str
):
    """B8: in its strongest form, without the garbage collector, and with the server open all the time."""
    guest = site.add_guest()
    async with site.serve() as server, trio.open_nursery() as handlers:
        with no_objects_wait_for_the_collector():
            await visit_once(site, guest, server, handlers, way, transport)
            await wait_until_all_have_left(site, server, guest)
            await wait_all_tasks_blocked()


async def test_the_memory_of_a_server_does_not_grow_with_the_peers_that_it_has_had(site: Site, autojump_clock):
    """B1, B14: blocks in use, and resident memory, in whichever of these ways they leave."""
    guest = site.add_guest()
    site.network.log = deque(maxlen=0)
    async with site.serve() as server, trio.open_nursery() as handlers:

        async def visit_often(rounds: int) -> tuple[int, int]:
            for _, (way, transport) in zip(range(rounds), itertools.cycle(VISITS)):
                await visit_once(site, guest, server, handlers, way, transport)
                await wait_until_all_have_left(site, server, guest)
            gc.collect()
            return sys.getallocatedblocks(), resident_memory()

        blocks, resident = await visit_often(WARMING_UP)
        blocks_then, resident_then = await visit_often(MANY_ROUNDS)
        assert blocks_then - blocks < MAX_GROWTH
        assert resident_then - resident < 1_000_000


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("who_leaves", ["client", "peer", "nobody"])
async def test_the_descriptors_of_a_server_are_as_many_after_each_peer_as_before(transport: str, who_leaves: str):
    """B1, B8: those of the kernel, with the server open all the time."""
    await trio.to_thread.run_sync(int)  # whose thread and descriptors stay
    async with open_webrtc_server(ListenAddress(transport, "127.0.0.1")) as server:
        (place,) = server.addresses
        before = descriptors()
        for _ in range(max(2, RUNS // 10)):
            async with join(server, transport, place[1:], configuration=using("127.0.0.1")) as joined:
                await say(joined)
                assert descriptors() > before
                match who_leaves:
                    case "client":
                        await joined.client.aclose()
                    case "peer":
                        await joined.peer.aclose()
            assert descriptors() == before
            assert server.get_stats().tcp_connections == 0


def resident_memory() -> int:
    """The bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("stage", [Stage.NEW, Stage.CHECKING, Stage.DTLS, Stage.SCTP], ids=lambda stage: stage.name)
@pytest.mark.parametrize("who_leaves", ["peer", "client", "client silently"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_of_an_attempt_to_connect_that_ends_in_any_stage_nothing_is_left(
    site: Site, autojump_clock, stage: Stage, who_leaves: str, transport: str
):
    """B7, C4, E2: closed while connecting, by either side, or the client vanishes."""
    guest = site.add_guest()
    async with site.serve() as server:
        await wait_all_tasks_blocked()
        before = tasks()
        with no_objects_stay_behind():
            for _ in range(max(1, ROUNDS // 10)):
                await attempt(site, guest, server, stage, who_leaves, transport)
                await wait_until_all_have_left(site, server, guest)
                assert tasks() == before


async def attempt(
    site: Site, guest: VirtualHost, server: WebRtcServer, stage: Stage, who_leaves: str, transport: str
) -> None:
    async with server.open_peer_connection() as peer:
        with trio.CancelScope() as scope:
            async with open_peer_connection(network=guest) as client:
                client.create_data_channel("chat")
                if stage is not Stage.NEW:
                    if stage is Stage.CHECKING:
                        site.network.cut(guest, site.host)
                    await agree(client, peer, transport)
                with trio.fail_after(5):
                    while stage_of(peer) is not stage:
                        await trio.sleep(LATENCY / 20)
                match who_leaves:
                    case "peer":
                        await peer.aclose()
                    case "client":
                        await client.aclose()
                    case _:
                        site.network.cut(guest, site.host)
                        scope.cancel()
                        await trio.sleep(1)
        if stage is Stage.NEW:
            return
        with trio.fail_after(PATIENCE):
            await peer.wait_closed()


async def test_clients_that_reload_leave_no_connections(site: Site, autojump_clock):
    """B2: a page is reloaded again and again, and nothing is ever said of it."""
    guest = site.add_guest()
    async with site.serve() as server, trio.open_nursery() as handlers:
        for _ in range(10):
            await visit_once(site, guest, server, handlers, reset)
            site.network.heal(guest, site.host)
        assert server.get_stats().peers == 10
        await wait_until_all_have_left(site, server, guest)


async def test_a_port_can_be_had_again_as_soon_as_its_server_has_ended():
    """B3: on a real network, with connections that ended a moment ago, whoever ended them; each end is a goodbye."""
    with no_objects_stay_behind(), trio.fail_after(30):
        port = 0
        for who_leaves in ("client", "server", "server, hurriedly", "nobody"):
            port = await use_port(port, who_leaves)


async def use_port(port: int, who_leaves: str) -> int:
    """Serve one peer by TCP, and tell at which port."""
    loopback = Configuration(interface_filter=lambda interface: interface.address == "127.0.0.1")
    async with (
        open_peer_connection(loopback) as client,
        open_webrtc_server(ListenAddress("tcp", "127.0.0.1", port)) as server,
        server.open_peer_connection() as peer,
    ):
        channel = client.create_data_channel("chat")
        await agree(client, peer, "tcp")
        await channel.wait_open()
        match who_leaves:
            case "client":
                await client.aclose()
                assert await peer.wait_closed() is CloseReason.REMOTE
            case "server":
                await server.aclose()
                assert await client.wait_closed() is CloseReason.REMOTE
            case "server, hurriedly":
                with trio.CancelScope() as scope:
                    scope.cancel()
                    channel.send_nowait(b"x" * 100_000)  # what it does not read must not cost it its goodbye
                    await server.aclose()
                assert await client.wait_closed() is CloseReason.REMOTE
            case _:
                pass
        return server.addresses[0].port


async def test_a_connection_that_fell_back_to_tcp_leaves_nothing(site: Site, autojump_clock):
    """B6: UDP is blocked, which the client finds out, and goes on by TCP."""
    guest = site.network.add_host("10.0.9.1", "fd00::9")
    site.network.cut_addresses("fd00::1", "fd00::9")
    listen = ListenAddress("udp", "fd00::1", PORT), ListenAddress("tcp", "10.0.0.1", PORT)
    async with site.serve(*listen) as server:
        await wait_all_tasks_blocked()
        before = tasks()
        with no_objects_stay_behind():
            for _ in range(3):
                await come_by_whatever_works(server, guest)
                await wait_until_all_have_left(site, server, guest)
                assert tasks() == before


async def come_by_whatever_works(server: WebRtcServer, guest: VirtualHost) -> None:
    async with open_peer_connection(network=guest) as client, server.open_peer_connection() as peer:
        channel = client.create_data_channel("chat")
        await negotiate(client, peer)
        await channel.wait_open()
        assert client.selected_candidate_pair.remote.transport == "tcp"
        assert server.get_stats().tcp_connections == 1


async def test_a_refused_connection_before_the_one_that_works_leaves_nothing(site: Site, autojump_clock):
    """B11: the first address refuses, the second accepts."""
    guest = site.add_guest()
    async with site.serve() as server:
        with no_objects_stay_behind():
            await come_by_the_second_address(site, server, guest)
            await wait_until_all_have_left(site, server, guest)


async def come_by_the_second_address(site: Site, server: WebRtcServer, guest: VirtualHost) -> None:
    async with open_peer_connection(network=guest) as client, server.open_peer_connection() as peer:
        channel = client.create_data_channel("chat")
        await client.set_local_description()
        await client.wait_gathering_complete()
        await peer.set_remote_description(client.local_description)
        await peer.set_local_description()
        await peer.wait_gathering_complete()
        answer = peer.local_description
        line = re.search(r"candidate:.* tcp .*", answer.sdp)[0].strip()
        await client.set_remote_description(without_candidates(answer))
        await client.add_ice_candidate(IceCandidate(line.replace(str(PORT), "5999"), "0"))
        await trio.sleep(1)
        await client.add_ice_candidate(IceCandidate(line, "0"))
        await channel.wait_open()
        assert len(guest.connections) == 1


def without_candidates(description: SessionDescription) -> SessionDescription:
    """A description that promises candidates to come."""
    kept = [line for line in description.sdp.split("\r\n") if not line.startswith(("a=candidate", "a=end-of-cand"))]
    return SessionDescription(description.type, "\r\n".join(kept))


async def test_a_peer_that_nobody_connects_to_is_told_so_and_leaves_nothing(site: Site, autojump_clock):
    """E3: an application learns of it in time, though no packet ever comes."""
    guest = site.add_guest()
    async with site.serve() as server:
        async with server.open_peer_connection() as peer:
            async with open_peer_connection(network=guest) as client:
                client.create_data_channel("chat")
                await client.set_local_description()
                offer = client.local_description
            await peer.set_remote_description(offer)
            await peer.set_local_description()
            with trio.fail_after(31), pytest.raises(ConnectionFailedError, match="has not come"):
                await peer.wait_connected()
            with trio.fail_after(16):
                await peer.wait_closed()
            assert server.get_stats().ufrags == ()
        await wait_until_all_have_left(site, server, guest)


async def test_the_loss_of_a_peer_is_told_in_steps(site: Site, autojump_clock):
    """E3, E5: disconnected, failed, closed: a black hole is noticed by TCP as it is by UDP."""
    for transport in ("udp", "tcp"):
        guest = site.add_guest()
        async with site.serve() as server, connect(server, guest, transport) as joined:
            states = joined.peer.connection_states()
            await states.receive()
            site.network.cut(guest, site.host)
            began = trio.current_time()
            seen = {state: trio.current_time() - began async for state in states}
            assert list(seen) == ["disconnected", "failed", "closed"]
            assert seen["disconnected"] <= 10
            assert seen["closed"] <= 50
