"""Ends of a server and of its peers, from wherever one stands: legal everywhere, told once, and nothing after them."""

from collections.abc import Callable
from contextlib import suppress

import pytest
import trio
import trio.testing

from trio_webrtc import CloseReason, DataChannel, PeerConnection, WebRtcServer, open_peer_connection
from trio_webrtc.core.contract import Transmit
from trio_webrtc.shell.framing import Deframer, frame

from ..lifecycle.checkpoints import cancel_at_step, library_steps
from ..surface.quiescence import nothing_stays_behind
from .conftest import Site, agree, connect, only
from .visitors import attend, check_for, open_crowd
from .wire import ALERT

LATENCY = 0.02


class Onlooker(trio.abc.Instrument):
    """Looks at everything that a server and its peers show, after each step of each task."""

    def __init__(self, server: WebRtcServer) -> None:
        self.looks = 0
        self.troubles: list[Exception] = []
        self._server = server
        self._known: dict[PeerConnection, None] = {}

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self.looks += 1
        try:
            self._known.update(self._server._peers)
            repr((self._server, self._server.get_stats(), self._server.addresses))
            for peer in self._known:
                repr((peer, peer.get_stats(), peer.selected_candidate_pair, peer.remote_certificates))
                repr((peer.local_description, peer.remote_description, peer.close_reason, peer.signaling_state))
        except Exception as trouble:
            self.troubles.append(trouble)


async def test_whoever_looks_at_any_moment_sees_something_whole(site: Site, autojump_clock):
    """A2: connections come, move, end and are lost, and what the books say of them is there to be read."""
    async with site.serve() as server:
        onlooker = Onlooker(server)
        trio.lowlevel.add_instrument(onlooker)
        try:
            for way_out in ("goodbye", "reset", "restart", "server"):
                guest = site.add_guest()
                async with connect(server, guest, "tcp") as joined, connect(server, guest, "udp"):
                    match way_out:
                        case "goodbye":
                            await joined.client.aclose()
                        case "reset":
                            for connection in list(guest.connections):
                                connection.reset()
                            await trio.sleep(2)
                        case "restart":
                            joined.client.restart_ice()
                            await agree(joined.client, joined.peer, "tcp")
                            await trio.sleep(1)
                        case _:
                            await server.aclose()
        finally:
            trio.lowlevel.remove_instrument(onlooker)
        assert onlooker.looks > 500
        assert not onlooker.troubles


@pytest.mark.parametrize("unwelcome", ["connecting", "connected", "disconnected", "failed", "closed"])
@pytest.mark.parametrize("what", ["peer", "server"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_whoever_watches_the_states_may_close_in_any_of_them(
    site: Site, autojump_clock, unwelcome: str, what: str, transport: str
):
    """A3, A11: also when a peer is found to be lost; there is one end, and no exception."""
    with nothing_stays_behind():
        seen = await watch_and_close(site, unwelcome, what, transport)
    assert seen.count("closed") == 1
    assert seen[-1] == "closed"
    assert unwelcome in seen


async def watch_and_close(site: Site, unwelcome: str, what: str, transport: str) -> list[str]:
    """Connect, then lose each other; what somebody closes who hears of a state is the peer, or the server."""
    seen: list[str] = []
    guest = site.add_guest()

    async def watch(server: WebRtcServer, peer: PeerConnection) -> None:
        async for state in peer.connection_states():
            seen.append(state)
            if state == unwelcome:
                await (peer if what == "peer" else server).aclose()

    async with (
        site.serve() as server,
        open_peer_connection(network=guest) as client,
        server.open_peer_connection() as peer,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(watch, server, peer)
        client.create_data_channel("chat")
        with suppress(trio.ClosedResourceError):
            await agree(client, peer, transport)
            await peer.wait_connected()
        site.network.cut(guest, site.host)
        await peer.wait_closed()
    return seen


@pytest.mark.parametrize("who_begins", ["server", "a peer", "a client"])
async def test_a_hundred_peers_may_close_each_other_as_they_end(site: Site, autojump_clock, who_begins: str):
    """A4, C8: handlers that close others change nothing for those that are closing; to open one more is refused."""
    with nothing_stays_behind():
        assert await close_each_other(site, who_begins) == 100


async def close_each_other(site: Site, who_begins: str) -> int:
    peers: list[PeerConnection] = []
    clients: list[PeerConnection] = []
    ends = 0

    async def live(server: WebRtcServer) -> None:
        async with server.open_peer_connection() as peer:
            peers.append(peer)
            await peer.set_local_description()
            await wait_and_close_others(server, peer)

    async def live_with_a_client(server: WebRtcServer, transport: str) -> None:
        async with connect(server, site.add_guest(), transport) as joined:
            peers.append(joined.peer)
            clients.append(joined.client)
            await wait_and_close_others(server, joined.peer)

    async def wait_and_close_others(server: WebRtcServer, peer: PeerConnection) -> None:
        nonlocal ends
        await peer.wait_closed()
        ends += 1
        for other in peers:
            await other.aclose()
        await server.aclose()
        with pytest.raises(trio.ClosedResourceError):
            async with server.open_peer_connection():
                pass

    async with trio.open_nursery() as handlers, site.serve() as server:
        for number in range(100):
            if number % 10:
                handlers.start_soon(live, server)
            else:
                handlers.start_soon(live_with_a_client, server, ("udp", "tcp")[number // 10 % 2])
        await trio.sleep(2)
        assert server.get_stats().peers == 100
        match who_begins:
            case "server":
                await server.aclose()
            case "a peer":
                await peers[50].aclose()
            case _:
                await clients[0].aclose()
        await trio.sleep(2)
        assert server.get_stats().peers == 0
    return ends


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("times", [1, 2])
async def test_the_server_may_be_closed_from_within_the_handlers_of_its_peers(
    site: Site, autojump_clock, transport: str, times: int
):
    """A11, T9: by tasks that live inside of what is being closed, once or by several of them at once."""
    with nothing_stays_behind():
        await close_from_within(site, transport, times)


async def close_from_within(site: Site, transport: str, times: int) -> None:
    async def close_when_told(server: WebRtcServer, channel: DataChannel) -> None:
        with pytest.raises(trio.ClosedResourceError):
            async for _ in channel:
                await server.aclose()
                await server.aclose()

    async with site.serve() as server, trio.open_nursery() as handlers:
        for _ in range(times):
            handlers.start_soon(live, server, site.add_guest(), transport, close_when_told)
        await trio.sleep(5)
        assert server.get_stats().peers == 0


async def live(server: WebRtcServer, guest, transport: str, handle: Callable) -> None:
    """Be a peer, and its client who says one word."""
    async with connect(server, guest, transport) as joined, trio.open_nursery() as nursery:
        nursery.start_soon(handle, server, joined.far)
        await trio.sleep(1 - trio.current_time() % 1)  # all at the same time
        await joined.near.send("close")
        assert await joined.client.wait_closed() is CloseReason.REMOTE


async def test_the_server_may_be_closed_by_whoever_reads_its_unknown_ufrags(site: Site, autojump_clock):
    """T9: that reader, too, is one of those who are being closed."""
    async with site.serve() as server, trio.open_nursery() as nursery:

        async def close_when_somebody_knocks() -> None:
            async for _ in server.unknown_ufrags:
                await server.aclose()

        nursery.start_soon(close_when_somebody_knocks)
        async with connect(server, site.add_guest()) as joined:
            check = check_for(joined.client, joined.client)  # a name that the server does not have
            via, address = joined.client._core._way
            via.send(Transmit(via, address, check))
            assert await joined.client.wait_closed() is CloseReason.REMOTE


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("way_out", ["server", "own", "goodbye", "silence"])
async def test_everybody_hears_of_the_end_exactly_once_and_nothing_after_it(
    site: Site, autojump_clock, way_out: str, transport: str
):
    """E4, E6, E7: one end for each who waits, and the same states everywhere after it, in the same order."""
    ends: list[object] = []

    async def expect(end: type[BaseException], operation: Callable) -> None:
        with pytest.raises(end):
            await operation()
        ends.append(end)

    async def run_out(things: trio.abc.ReceiveChannel) -> None:
        ends.append([str(thing) async for thing in things])

    guest = site.add_guest()
    async with site.serve() as server, connect(server, guest, transport) as joined:
        peer, far = joined.peer, joined.far
        lost = {"goodbye": trio.EndOfChannel, "silence": trio.BrokenResourceError}.get(
            way_out, trio.ClosedResourceError
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, lost, far.receive)
            nursery.start_soon(run_out, peer.connection_states())
            nursery.start_soon(run_out, peer.incoming_data_channels)
            nursery.start_soon(run_out, peer.negotiation_needed())
            nursery.start_soon(peer.wait_closed)
            nursery.start_soon(far.wait_closed)
            await trio.testing.wait_all_tasks_blocked()
            match way_out:
                case "server":
                    await server.aclose()
                case "own":
                    await peer.aclose()
                case "goodbye":
                    await joined.client.aclose()
                case "silence":
                    site.network.cut(guest, site.host)
        states = ["connected", *(["disconnected", "failed"] if way_out == "silence" else []), "closed"]
        assert sorted(map(str, ends)) == sorted(map(str, [lost, states, [], []]))
        assert peer.connection_state == peer.ice_connection_state == peer.signaling_state == "closed"
        assert peer.selected_candidate_pair is None
        assert far.ready_state == "closed"
        stats = server.get_stats()
        assert (stats.peers, stats.ufrags, stats.remote_addresses, stats.tcp_connections) == (0, (), (), 0)
        with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError)):
            await far.send("more")
        await trio.sleep(600)
        assert len(ends) == 4


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_server_notices_goodbyes_at_once_and_then_rests(site: Site, autojump_clock, transport: str):
    """C5, C12, E1: a peer that has left is gone within a latency; nothing spins before or after, nor delays the end."""
    async with site.serve() as server:
        async with connect(server, site.add_guest(), transport) as joined:
            await trio.sleep(60)
            with cancel_at_step(library_steps(), None) as idle:
                await trio.sleep(600)
            assert idle.steps < 600 * 6
            left_at = trio.current_time()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(joined.client.aclose)
                assert await joined.peer.wait_closed() is CloseReason.REMOTE
                assert trio.current_time() - left_at <= LATENCY * 1.001
        await trio.sleep(1)
        with cancel_at_step(library_steps(), None) as silent:
            await trio.sleep(600)
        assert silent.steps == 0, silent.latest
        began = trio.current_time()
        await server.aclose()
        assert trio.current_time() == began


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_server_that_ends_with_data_under_way_says_abort_and_raises_nothing(
    site: Site, autojump_clock, transport: str
):
    """A6, A9: nothing that is still to be sent or acknowledged gets in the way of the goodbye."""
    async with trio.open_nursery() as guests:
        with trio.CancelScope() as scope:
            async with site.serve() as server, trio.open_nursery() as handlers:
                client = await guests.start(visit_and_send, server, handlers, site.add_guest(), transport)
                await trio.sleep(0.1)
                scope.cancel()
        assert await client.wait_closed() is CloseReason.REMOTE


async def visit_and_send(
    server: WebRtcServer, handlers: trio.Nursery, guest, transport: str, *, task_status: trio.TaskStatus[PeerConnection]
) -> None:
    """Have a lot echoed."""
    async with open_peer_connection(network=guest) as client:
        channel = client.create_data_channel("chat")
        await client.set_local_description()
        await client.wait_gathering_complete()
        peer = await handlers.start(attend, server, client.local_description)
        await client.set_remote_description(only(transport, peer.local_description))
        await channel.wait_open()
        task_status.started(client)
        with pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
            while True:
                channel.send_nowait(b"x" * 20_000)
                await channel.receive()


@pytest.mark.parametrize("order", ["goodbye, data, check", "data, goodbye, check", "check, goodbye, data"])
async def test_what_stands_behind_a_goodbye_in_one_segment_is_ignored(site: Site, autojump_clock, caplog, order: str):
    """A5: the connection ends with the first of several frames that came together; the loop over them goes on."""
    async with open_crowd(site, 4) as crowd, connect(crowd.server, site.add_guest(), "tcp") as joined:
        (connection,) = joined.client._path._holdings.connections.values()
        send, held = connection._socket.send, bytearray()

        def hold_back_until_goodbye(data: bytes) -> int:
            held.extend(data)
            datagrams = Deframer().feed(bytes(held))
            if datagrams[-1][0] == ALERT:
                frames = {
                    "goodbye": frame(datagrams.pop()),
                    "data": b"".join(map(frame, datagrams)),
                    "check": frame(check_for(joined.client, joined.peer)),
                }
                send(b"".join(frames[name] for name in order.split(", ")))
            return len(data)

        connection._socket.send = hold_back_until_goodbye
        joined.near.send_nowait("never mind")
        with trio.CancelScope() as scope:
            scope.cancel()
            await joined.client.aclose()
        with trio.fail_after(1):
            assert await joined.peer.wait_closed() is CloseReason.REMOTE
        assert crowd.server.get_stats().peers == 4
        assert not caplog.records
        await crowd.check_that_nobody_notices(LATENCY)
