"""Names, addresses and connections of a server's peers change while they talk: nothing is lost, nothing piles up."""

import random
from collections.abc import Callable

import pytest
import trio
import trio.testing

from trio_webrtc import CloseReason, Configuration, DataChannel, open_peer_connection
from trio_webrtc.core.contract import Address, Transmit
from trio_webrtc.core.stun.message import TransactionIds
from trio_webrtc.shell.framing import frame
from trio_webrtc.testing import DatagramSent, virtual_tcp
from trio_webrtc.testing.log import StreamSent
from trio_webrtc.testing.virtual_tcp import VirtualTcpSocket

from .aiming import say
from .conftest import PORT, RUNS, Joined, MakeSite, Site, agree, connect
from .visitors import check_for, open_another_connection, open_crowd
from .wire import check_goodbye

LATENCY = 0.02
SERVER = ("10.0.0.1", PORT)


async def test_a_thousand_silent_connections_are_gone_after_their_time_and_keep_nobody_waiting(
    site: Site, autojump_clock
):
    """B4: those that say nothing, those that say half of something, and those that ask for who is not here."""
    async with open_crowd(site, 4) as crowd:
        hosts = [site.add_guest() for _ in range(20)]
        stranger = frame(check_for(crowd.visitors[0].client, crowd.visitors[0].client))
        sockets = []

        async def come(number: int) -> None:
            await trio.sleep(number / 1000)
            socket = await hosts[number % 20].connect_tcp(None, SERVER)
            socket.send((b"", b"\x00", stranger)[number % 3])
            sockets.append(socket)

        async with trio.open_nursery() as comers:
            for number in range(1000):
                comers.start_soon(come, number)
        await trio.sleep(2 * LATENCY)
        assert crowd.server.get_stats().tcp_connections_waiting == 1000
        assert crowd.server._switchboard._awaited
        async with connect(crowd.server, site.add_guest(), "tcp") as joined:
            await joined.near.send("served")
            assert await joined.far.receive() == "served"
            await crowd.check_that_nobody_notices(LATENCY, 5.0)
            stats = crowd.server.get_stats()
            assert (stats.tcp_connections, stats.tcp_connections_waiting) == (3, 0)
            assert stats.tcp_connections_refused["deadline"] == 1000
        assert not crowd.server._switchboard._awaited
        for socket in sockets:
            await socket.wait_readable()
            socket.close()


@pytest.mark.parametrize(("transport", "ice_lite"), [("udp", True), ("udp", False), ("tcp", True)])
async def test_a_hundred_restarts_leave_one_name_and_one_way(
    site: Site, autojump_clock, transport: str, ice_lite: bool
):
    """B5: two names at most until the first check with the new one, and one from then on; and nothing is sent again."""
    async with site.serve() as server, connect(server, site.add_guest(), transport, ice_lite=ice_lite) as joined:
        for number in range(100):
            joined.client.restart_ice()
            await agree(joined.client, joined.peer, transport)
            assert len(server.get_stats().ufrags) <= 2
            await joined.near.send(f"{number}")
            assert await joined.far.receive() == f"{number}"
            await trio.sleep(1)
            stats = server.get_stats()
            assert len(stats.ufrags) == 1
            assert (len(stats.remote_addresses), stats.tcp_connections) == ((1, 0) if transport == "udp" else (0, 1))
        assert joined.client._core.stage.association.counters.retransmitted_chunks == 0
        assert joined.peer._core.stage.association.counters.retransmitted_chunks == 0


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_what_flows_during_a_restart_is_not_sent_again(site: Site, autojump_clock, transport: str):
    """What is under way by the old way when the new one is chosen arrives all the same."""
    async with site.serve() as server, connect(server, site.add_guest(), transport) as joined:
        gaps: list[float] = []

        async def speak(channel) -> None:
            while True:
                await channel.send(b"x" * 100)
                await trio.sleep(0.005)

        async def listen(channel) -> None:
            heard_at = trio.current_time()
            async for _ in channel:
                gaps.append(trio.current_time() - heard_at)
                heard_at = trio.current_time()

        async with trio.open_nursery() as nursery:
            for channel in (joined.near, joined.far):
                nursery.start_soon(speak, channel)
                nursery.start_soon(listen, channel)
            await trio.sleep(1)
            gaps.clear()
            for _ in range(3):
                joined.client.restart_ice()
                await agree(joined.client, joined.peer, transport)
                await trio.sleep(1)
            nursery.cancel_scope.cancel()
        assert max(gaps) < LATENCY / 2


@pytest.mark.parametrize("end", [VirtualTcpSocket.close, VirtualTcpSocket.reset], ids=["closed", "reset"])
@pytest.mark.parametrize("seed", range(max(1, RUNS // 5)))
async def test_connections_in_use_may_be_lost_again_and_again_and_no_data_with_them(
    make_site: MakeSite, autojump_clock, seed: int, end: Callable[[VirtualTcpSocket], None]
):
    """E10: what was lost with a connection is sent again by the next one."""
    site = make_site(seed)
    guest, rng = site.add_guest(), random.Random(seed)
    messages = [rng.randbytes(20_000) for _ in range(50)]
    async with site.serve() as server, connect(server, guest, "tcp") as joined, trio.open_nursery() as nursery:

        async def send_all(channel) -> None:
            for message in messages:
                await channel.send(message)

        async def receive_all(channel) -> None:
            for message in messages:
                assert await channel.receive() == message

        async def lose_connections() -> None:
            while True:
                await trio.sleep(rng.uniform(0.01, 2))
                for connection in list(guest.connections):
                    end(connection)

        losses = trio.CancelScope()
        with losses, trio.fail_after(120):
            async with trio.open_nursery() as transfers:
                nursery.start_soon(lose_connections)
                for source, sink in ((joined.near, joined.far), (joined.far, joined.near)):
                    transfers.start_soon(send_all, source)
                    transfers.start_soon(receive_all, sink)
        nursery.cancel_scope.cancel()
        await trio.sleep(2)
        assert server.get_stats().tcp_connections == 1


@pytest.mark.parametrize("transport", ["tcp", "udp"])
async def test_a_peer_whose_connection_died_without_a_word_under_data_is_answered_elsewhere(
    site: Site, autojump_clock, transport: str
):
    """What waits for room on the dead one, which nobody reads any more, keeps no answer waiting on another way."""
    guest, elsewhere = site.add_guest(), site.add_guest()
    async with site.serve() as server, connect(server, guest, "tcp") as joined, trio.open_nursery() as nursery:

        async def send_without_end() -> None:
            while True:
                await joined.far.send(bytes(60_000))

        async def receive_without_end() -> None:
            async for _ in joined.near:
                pass

        nursery.start_soon(send_without_end)
        nursery.start_soon(receive_without_end)
        await trio.sleep(1)
        site.network.cut(site.host, guest)
        await trio.sleep(5)
        assert joined.peer._path._sending._refused is not None, "data waits for room"
        check = check_for(joined.client, joined.peer, nominates=True)
        if transport == "tcp":
            socket = await elsewhere.connect_tcp(None, SERVER)
            socket.send(frame(check))
        else:
            socket = elsewhere.open_udp((elsewhere.addresses[0], 0))
            socket.send(SERVER, check, None, None)
        with trio.fail_after(3 * LATENCY):
            await socket.wait_readable()
        assert joined.peer._core._way[1] == socket.local_address
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_what_arrives_late_for_who_is_gone_is_ignored(site: Site, autojump_clock, caplog, transport: str):
    """E8: every check, record and message of its whole life, again, from where the peer was."""
    async with open_crowd(site, 4) as crowd:
        guest = site.add_guest()
        async with connect(crowd.server, guest, transport) as joined:
            address = own_address(joined)
        said = [e for e in site.network.log if isinstance(e, DatagramSent | StreamSent) and e.from_ == address]
        assert said
        unknown = crowd.server.get_stats().checks_for_unknown_ufrags
        if transport == "udp":
            with_old_address = guest.open_udp(address)
            for entry in said:
                with_old_address.send(entry.to, entry.data, None, None)
            await trio.sleep(1)
            with_old_address.close()
        else:
            for start in range(len(said)):
                socket = await guest.connect_tcp(None, SERVER)
                for entry in said[start:]:
                    socket.send(entry.data)
                await trio.sleep(0.01)
                socket.close()
        assert crowd.server.get_stats().checks_for_unknown_ufrags > unknown
        assert crowd.server.get_stats().peers == 4
        assert not [record for record in caplog.records if record.levelname == "ERROR"]
        await crowd.check_that_nobody_notices(LATENCY)


def own_address(joined: Joined) -> Address:
    """From where the client speaks to the server."""
    via, _ = joined.client._core._way
    return via.local_address


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_what_arrives_late_by_a_way_that_is_gone_is_ignored(site: Site, autojump_clock, caplog, transport: str):
    """E8: the peer lives on by another way, and says again, by the first one, what it has said there."""
    guest = site.add_guest()
    async with site.serve() as server, connect(server, guest, transport) as joined:
        address = own_address(joined)
        said = [e for e in site.network.log if isinstance(e, DatagramSent | StreamSent) and e.from_ == address]
        if transport == "tcp":
            for connection in list(guest.connections):
                connection.reset()
            await joined.near.send("by another")
            assert await joined.far.receive() == "by another"
            socket = await guest.connect_tcp(None, SERVER)
            for entry in said:
                socket.send(entry.data)
        else:
            via, to = joined.client._core._way
            for entry in said:
                via.send(Transmit(via, to, entry.data))
        await trio.sleep(10)
        await joined.near.send("still here")
        assert await joined.far.receive() == "still here"
        assert joined.peer.connection_state == "connected"
        assert not caplog.records


@pytest.mark.parametrize("priorities", [(100, 50), (100, 100), (50, 100)], ids=["lower", "equal", "higher"])
async def test_a_peer_may_choose_again_whatever_the_priority(site: Site, autojump_clock, priorities: tuple[int, int]):
    """E9: the server answers by the way that was named last, UDP or TCP, and back again."""
    guest = site.add_guest()
    async with site.serve() as server, connect(server, guest, "udp") as joined:
        for _ in range(3):
            socket = await open_another_connection(guest, joined.client, joined.peer)
            first, second = priorities
            socket.send(frame(check_for(joined.client, joined.peer, nominates=True, priority=first)))
            await trio.sleep(3 * LATENCY)
            assert joined.peer.selected_candidate_pair.remote.transport == "tcp"
            via, to = joined.client._core._way
            again = check_for(joined.client, joined.peer, nominates=True, priority=second)
            via.send(Transmit(via, to, again))
            await trio.sleep(3 * LATENCY)
            assert joined.peer.selected_candidate_pair.remote.transport == "udp"
            await joined.far.send("by the first one")
            assert await joined.near.receive() == "by the first one"
            socket.close()
        await trio.sleep(3 * LATENCY)
        assert server.get_stats().tcp_connections == 0


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that take less than a frame at a time."""
    monkeypatch.setattr(virtual_tcp, "STREAM_BUFFER", 700)


@pytest.mark.parametrize("seed", range(RUNS))
async def test_a_frame_is_never_cut_whenever_who_sends_is_cancelled(
    make_site: MakeSite, autojump_clock, narrow, seed: int
):
    """T3: the goodbye stands behind whole frames, and is understood, though the kernel took half of one before."""
    site, rng = make_site(seed), random.Random(seed)
    guest = site.add_guest()
    async with open_peer_connection(network=guest) as client:
        channel = client.create_data_channel("chat")
        with trio.CancelScope() as scope:
            async with (
                site.serve(configuration=Configuration(close_timeout=30.0)) as server,
                server.open_peer_connection() as peer,
                trio.open_nursery() as senders,
            ):
                await agree(client, peer, "tcp")
                await channel.wait_open()
                far = await peer.incoming_data_channels.receive()
                for _ in range(5):
                    senders.start_soon(send_and_be_cancelled, far, rng)
                await trio.sleep(rng.uniform(0.1, 1))
                mark = len(site.network.log)
                scope.cancel()
        with trio.fail_after(2 * LATENCY):
            assert await client.wait_closed() is CloseReason.REMOTE
        heard = [message async for message in channel]
        assert heard
        assert all(len(set(message)) == 1 for message in heard)
        check_goodbye(guest, site.network, mark)


async def send_and_be_cancelled(channel: DataChannel, rng: random.Random) -> None:
    """Begin to send, again and again, and leave off at any moment."""
    while True:
        with trio.move_on_after(rng.uniform(0, 0.2)):
            await channel.send(rng.randbytes(1) * rng.randint(1, 5000))
        await trio.sleep(rng.uniform(0, 0.05))


async def test_two_full_agents_that_draw_the_same_prefix_both_connect_and_keep_consent(
    site: Site, autojump_clock, monkeypatch: pytest.MonkeyPatch
):
    """Of ten thousand, two do once in a hundred servers. Consent would be lost after half a minute."""
    begin = TransactionIds.__init__

    def begin_alike(ids: TransactionIds, rng: random.Random) -> None:
        begin(ids, rng)
        ids.prefix = b"same"

    monkeypatch.setattr(TransactionIds, "__init__", begin_alike)
    async with (
        site.serve() as server,
        connect(server, site.add_guest(), ice_lite=False) as first,
        connect(server, site.add_guest(), ice_lite=False) as second,
    ):
        await trio.sleep(60)
        for joined in (first, second):
            await say(joined)
