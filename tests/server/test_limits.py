"""What strangers can make a public server hold, do or send: so much and no more, and those who are welcome go on."""

import hmac
import random
import resource
import socket
import time
from contextlib import AsyncExitStack

import pytest
import trio

from trio_webrtc import Configuration, ListenAddress, ServerLimits, UsageError, WebRtcServer, open_webrtc_server
from trio_webrtc.core.contract import Received
from trio_webrtc.core.stun import Message
from trio_webrtc.shell.admission import MAX_FIRST_FRAME
from trio_webrtc.shell.framing import HEADER_LENGTH, frame
from trio_webrtc.shell.path import Path
from trio_webrtc.testing.virtual_tcp import VirtualTcpSocket

from ..hostile.test_floods import WHATEVER, bounded
from ..surface.quiescence import nothing_stays_behind
from .aiming import join, say, using
from .conftest import LISTEN, PORT, Joined, Site
from .conftest import connect as connect_peer
from .strangers import CLIENT_HELLO, SOFTWARE, check, connect, flood, heard_by, is_open, junk, key_of, name_of
from .test_addresses import is_one_sentence

SERVER = ("10.0.0.1", PORT)

# -- peers --------------------------------------------------------------------------------------------------------


async def test_there_are_only_so_many_peers_and_a_place_is_free_when_one_has_left(site: Site, autojump_clock):
    async with site.serve(limits=ServerLimits(max_peers=2)) as server, connect_peer(server, site.add_guest()) as first:
        async with server.open_peer_connection():
            with pytest.raises(UsageError, match="2 peers already") as caught:
                async with server.open_peer_connection():
                    pytest.fail("there is a third")
            assert is_one_sentence(str(caught.value))
            await say(first)
        async with connect_peer(server, site.add_guest(), "tcp") as second:
            await say(second)


@pytest.mark.parametrize("name", ServerLimits.__slots__)
@pytest.mark.parametrize("value", [0, -1, float("inf"), float("nan"), "5", None])
def test_a_limit_that_cannot_be_is_a_usage_error(name: str, value: object):
    with pytest.raises(UsageError, match=name) as caught:
        ServerLimits(**{name: value})
    assert is_one_sentence(str(caught.value))


# -- TCP connections ----------------------------------------------------------------------------------------------


async def connect_again(site_host, joined: Joined, count: int = 1):
    """Open more TCP connections that prove to be of a peer."""
    saying = frame(check(name_of(joined.peer), key_of(joined.peer), random.Random(1), nominates=False))
    connections = await connect(site_host, SERVER, count, saying=saying)
    await trio.sleep(0.1)
    answers = [connection.receive() for connection in connections]
    return connections, [answer is not None and answer != b"" for answer in answers]


async def test_of_one_peers_connections_the_oldest_that_is_not_in_use_makes_room(site: Site, autojump_clock):
    """Whoever roams leaves dead connections behind, and has to be let in again; the one with its data stays."""
    async with site.serve(limits=ServerLimits(max_connections_per_peer=4)) as server:
        guest, other = site.add_guest(), site.add_guest()
        async with connect_peer(server, guest, "tcp") as joined, connect_peer(server, other, "tcp") as unconcerned:
            _, answered = await connect_again(guest, joined, 3)
            assert answered == [True] * 3
            assert server.get_stats().tcp_connections == 5
            in_use = joined.peer.selected_candidate_pair
            later, answered = await connect_again(guest, joined, 2)
            assert answered == [True] * 2
            assert [connection.receive() for connection in later] == [None, None], "older ones were closed, not these"
            assert server.get_stats().tcp_connections == 5
            assert joined.peer.selected_candidate_pair is in_use
            await say(joined)
            await say(unconcerned)


async def test_a_peer_may_have_one_connection_only(site: Site, autojump_clock):
    async with site.serve(limits=ServerLimits(max_connections_per_peer=1)) as server:
        guest = site.add_guest()
        async with connect_peer(server, guest, "tcp") as joined:
            _, answered = await connect_again(guest, joined, 2)
            assert answered == [False, False]
            assert server.get_stats().tcp_connections_refused == {"too many of one peer": 2}
            await say(joined)


@pytest.mark.parametrize(
    ("limits", "from_elsewhere"),
    [(ServerLimits(max_connections=3), False), (ServerLimits(max_connections_per_address=3), True)],
    ids=["in all", "from one address"],
)
async def test_connections_beyond_the_limit_are_refused_and_those_before_go_on(
    site: Site, autojump_clock, limits: ServerLimits, from_elsewhere: bool
):
    async with site.serve(limits=limits) as server:
        guest = site.add_guest()
        async with connect_peer(server, guest, "tcp") as joined:
            more, answered = await connect_again(guest, joined, 5)
            assert answered == [True, True, False, False, False]
            assert server.get_stats().tcp_connections_refused == {"too many connections": 3}
            _, answered = await connect_again(site.add_guest(), joined)
            assert answered == [from_elsewhere], "whether others still find a place"
            more[0].reset()
            await trio.sleep(0.1)
            _, answered = await connect_again(guest, joined)
            assert answered == [True], "a place is free when one has ended"
            await say(joined)


async def test_who_says_nothing_in_time_goes_and_a_slow_frame_is_no_excuse(site: Site, autojump_clock):
    async with site.serve(limits=ServerLimits(first_check_timeout=3)) as server:
        (silent,) = await connect(site.add_guest(), SERVER)
        (slow,) = await connect(site.add_guest(), SERVER)
        for byte in frame(check("nobody", b"guessed", random.Random(1))):
            slow.send(bytes([byte]))
            await trio.sleep(0.02)
            if not is_open(slow):
                break
        assert server.get_stats().tcp_connections_waiting == 2
        await trio.sleep(2.9 - trio.current_time())
        assert is_open(silent)
        await trio.sleep(0.3)
        assert not is_open(silent)
        assert not is_open(slow)
        stats = server.get_stats()
        assert (stats.tcp_connections_waiting, stats.tcp_connections_refused) == (0, {"deadline": 2})


@pytest.mark.parametrize(
    ("saying", "reason"),
    [
        (frame(b"GET / HTTP/1.1\r\n\r\n"), "not a check"),
        (frame(CLIENT_HELLO), "not a check"),
        (frame(b"\x00\x01"), "not a check"),
        (b"\xff\xff" + bytes(2000), "not a check"),
        (bytes(4000), "not a check"),
        (b"GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n", "deadline"),
        (b"\x00", "deadline"),
    ],
    ids=["text", "DTLS", "header", "huge", "empty frames", "HTTP", "a byte"],
)
async def test_whatever_is_not_a_check_ends_a_connection(site: Site, autojump_clock, saying: bytes, reason: str):
    async with site.serve() as server:
        await connect(site.add_guest(), SERVER, saying=saying)
        await trio.sleep(6)
        assert server.get_stats().tcp_connections_refused == {reason: 1}


async def test_a_connection_that_waits_for_its_peer_has_not_had_more_read_than_a_check(
    site: Site, autojump_clock, monkeypatch
):
    read: list[int] = []
    whole = VirtualTcpSocket.receive

    def receive(self: VirtualTcpSocket, *arguments: int) -> bytes | None:
        data = whole(self, *arguments)
        read.append(len(data or b"") if self.host is site.host else 0)
        return data

    monkeypatch.setattr(VirtualTcpSocket, "receive", receive)
    async with site.serve() as server:
        saying = frame(check("nobody", b"guessed", random.Random(1))) + bytes(60_000)
        await connect(site.add_guest(), SERVER, saying=saying)
        await trio.sleep(0.5)
        assert server.get_stats().tcp_connections_waiting == 1
        assert 100 < sum(read) <= HEADER_LENGTH + MAX_FIRST_FRAME


@pytest.mark.parametrize("key", [b"guessed", None], ids=["another password", "none"])
async def test_a_name_without_the_password_ends_a_connection(site: Site, autojump_clock, key: bytes | None):
    async with site.serve() as server, connect_peer(server, site.add_guest(), "tcp") as joined:
        saying = frame(check(name_of(joined.peer), key, random.Random(1)))
        (stranger,) = await connect(site.add_guest(), SERVER, saying=saying)
        await trio.sleep(0.1)
        assert not is_open(stranger)
        assert server.get_stats().tcp_connections_refused == {"wrong password": 1}
        await say(joined)


async def test_of_those_who_wait_the_oldest_makes_room(site: Site, autojump_clock):
    limits = ServerLimits(max_waiting_connections=6, max_waiting_connections_per_address=4)
    async with site.serve(limits=limits) as server:
        of_one = await connect(site.add_guest(), SERVER, 6)
        await trio.sleep(0.1)
        assert [is_open(connection) for connection in of_one] == [False] * 2 + [True] * 4
        of_another = await connect(site.add_guest(), SERVER, 3)
        await trio.sleep(0.1)
        assert [is_open(connection) for connection in of_one] == [False] * 3 + [True] * 3
        assert all(is_open(connection) for connection in of_another)
        stats = server.get_stats()
        assert (stats.tcp_connections_waiting, stats.tcp_connections_refused) == (6, {"too many waiting": 3})


async def test_a_thousand_silent_connections_keep_nobody_waiting(require):
    """By the kernel, from sixteen addresses, each with as many as may wait."""
    require(resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 3000, "too few descriptors for a thousand connections")
    limits = ServerLimits(max_waiting_connections=1000)

    async def run() -> None:
        silent: list[socket.socket] = []
        async with open_webrtc_server(
            ListenAddress("tcp", "127.0.0.1"), ListenAddress("udp", "127.0.0.1"), limits=limits
        ) as server:
            address = server.addresses[0][1:]
            for number in range(1000):
                source = (f"127.0.0.{2 + number % 16}", 0)
                silent.append(await trio.to_thread.run_sync(socket.create_connection, address, 5, source))
            with trio.fail_after(5):
                while server.get_stats().tcp_connections_waiting < 1000:
                    await trio.sleep(0.01)
            for transport in ("tcp", "udp"):
                at = next(place[1:] for place in server.addresses if place.transport == transport)
                began = time.perf_counter()
                async with join(server, transport, at, configuration=using("127.0.0.1")) as joined:
                    await say(joined)
                    print(f"served by {transport} within {time.perf_counter() - began:.2f} s")
                    assert time.perf_counter() - began < 1
            assert server.get_stats().tcp_connections_waiting > 900
        for connection in silent:
            connection.close()

    await trio.to_thread.run_sync(int)  # whose thread and descriptors stay
    with nothing_stays_behind():
        await run()


# -- floods -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_junk_changes_nothing_but_counters(site: Site, autojump_clock, transport: str):
    async with site.serve() as server, connect_peer(server, site.add_guest(), transport) as joined:
        rng = random.Random(1)
        before = server.get_stats()
        pair = joined.peer._core.agent.selected_pair
        datagrams = junk(rng, 2000, name_of(joined.peer))
        stranger = await flood(site.add_guest(), SERVER, datagrams)
        stats = server.get_stats()
        assert (stats.peers, stats.ufrags, stats.remote_addresses) == (1, before.ufrags, before.remote_addresses)
        assert stats.checks_for_unknown_ufrags == 250
        assert joined.peer._core.agent.selected_pair is pair
        assert heard_by(stranger) == []
        await say(joined)
        stranger.close()


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_what_looks_like_the_peers_own_records_is_not_heard_from_elsewhere(
    site: Site, autojump_clock, transport: str
):
    async with site.serve() as server, connect_peer(server, site.add_guest(), transport) as joined:
        stage = joined.peer._core.stage
        before = stage.association.counters.packets_received
        dropped = server.get_stats().datagrams_from_unknown_addresses
        stranger = await flood(site.add_guest(), SERVER, [CLIENT_HELLO, b"\x17\xfe\xfd" + bytes(1200)] * 100)
        assert heard_by(stranger) == []
        assert server.get_stats().datagrams_from_unknown_addresses == dropped + 200
        assert stage.association.counters.packets_received - before <= 4, "but for what the peer says itself"
        await say(joined)


FLOODS = {
    "random bytes": lambda name, rng: rng.randbytes(600),
    "no STUN after all": lambda name, rng: b"\x00\x01" + rng.randbytes(600),
    "records": lambda name, rng: CLIENT_HELLO,
    "unknown names": lambda name, rng: check(f"nobody{rng.randrange(10**9)}", b"guessed", rng),
    "wrong passwords": lambda name, rng: check(name, b"guessed", rng),
    "no passwords": lambda name, rng: check(name, None, rng),
    "countless attributes": lambda name, rng: check(name, None, rng)[:-8].ljust(65_000, b"\0"),
    "huge attributes": lambda name, rng: check(name, b"guessed", rng, {SOFTWARE: "s" * 60_000}),
}
SIGNED = {"wrong passwords", "huge attributes"}
NAMES_SOMEBODY = {*SIGNED, "no passwords", "countless attributes"}


def count_cost(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Count from now on what takes time."""
    cost = {"signatures": 0, "taken apart": 0, "paths woken": 0}

    def count(what: str, owner: object, name: str) -> None:
        work = getattr(owner, name)

        def counted(*args: object) -> object:
            cost[what] += 1
            return work(*args)

        monkeypatch.setattr(owner, name, counted)

    count("signatures", hmac, "digest")
    count("taken apart", Message, "decode")
    count("paths woken", Path, "receive")
    return cost


@pytest.mark.parametrize("what", FLOODS)
@pytest.mark.parametrize("ice_lite", [True, False], ids=["lite", "full"])
async def test_a_flood_costs_little_and_leaves_nothing(
    site: Site, autojump_clock, monkeypatch, what: str, ice_lite: bool
):
    """Every datagram from an address of its own, which nobody answers for.

    What costs is counted, as that is the same on every machine: an HMAC takes 1 us, taking a message apart 8, and
    waking the peer's path 10.
    """
    async with site.serve() as server, connect_peer(server, site.add_guest(), ice_lite=ice_lite) as joined:
        rng, name = random.Random(2), name_of(joined.peer)
        (udp,) = (place for place in server._places if place.listen.transport == "udp")
        via = next(base.via for base in udp.bases())
        batches = [
            [Received(via, (f"198.51.100.{n}", 1 + batch), FLOODS[what](name, rng)) for n in range(50)]
            for batch in range(20)
        ]
        cost = count_cost(monkeypatch)
        for batch in batches[:10]:
            server._switchboard.receive(batch)
        assert cost == {"signatures": 500 if what in SIGNED else 0, "taken apart": 0, "paths woken": 0}
        with bounded(WHATEVER):
            for batch in batches[10:]:
                server._switchboard.receive(batch)
            await trio.sleep(1)
        assert server.get_stats().checks_with_wrong_passwords == (1000 if what in NAMES_SOMEBODY else 0)
        assert server.get_stats().remote_addresses == (joined.client._core.agent.selected_pair.base.address,)
        await say(joined)


async def test_a_flood_of_connections_leaves_nothing(site: Site, autojump_clock):
    async with site.serve() as server, connect_peer(server, site.add_guest(), "tcp") as joined:
        rng = random.Random(3)
        sayings = [
            lambda: b"",
            lambda: frame(check("nobody", b"guessed", rng)),
            lambda: frame(check(name_of(joined.peer), b"guessed", rng)),
            lambda: rng.randbytes(3000),
            lambda: frame(CLIENT_HELLO),
            lambda: b"\xff\xff" + bytes(100),
        ]
        hosts = [site.add_guest() for _ in range(10)]
        for number in range(600):
            (connection,) = await connect(hosts[number % 10], SERVER, saying=sayings[number % 6]())
            if number % 4 == 0:
                connection.reset()
            elif number % 4 == 1:
                connection.end_sending()
        await say(joined)
        await trio.sleep(10)
        stats = server.get_stats()
        assert (stats.tcp_connections, stats.tcp_connections_waiting, stats.peers) == (1, 0, 1)
        assert sum(stats.tcp_connections_refused.values()) == 600
        assert len(site.host.connections) == 1
        await say(joined)


async def test_first_contacts_that_nobody_takes_keep_within_their_bounds(site: Site, autojump_clock):
    """As many by TCP as by UDP."""
    async with site.serve(limits=ServerLimits(max_unknown_ufrags=8)) as server:
        rng = random.Random(4)
        await flood(site.add_guest(), SERVER, [check(f"nobody{n}", b"guessed", rng) for n in range(100)])
        guest = site.add_guest()
        for number in range(20):
            await connect(guest, SERVER, saying=frame(check(f"nothing{number}", b"guessed", rng)))
        await trio.sleep(0.1)
        stats = server.get_stats()
        assert (stats.checks_for_unknown_ufrags, stats.first_contacts_dropped) == (120, 112)
        await trio.sleep(10)
        assert server.get_stats().tcp_connections_waiting == 0
        assert not server._switchboard._awaited


async def test_one_peers_neighbours_notice_nothing_of_a_flood_that_names_it(site: Site, autojump_clock):
    """Round trips of the others take as long as before."""
    async with site.serve() as server, trio.open_nursery() as nursery, AsyncExitStack() as peers:
        victim = await peers.enter_async_context(connect_peer(server, site.add_guest()))
        others = [
            await peers.enter_async_context(connect_peer(server, site.add_guest(), transport))
            for transport in ("udp", "tcp")
        ]
        datagrams = [check(name_of(victim.peer), b"guessed", random.Random(5)) for _ in range(3000)]
        nursery.start_soon(flood, site.add_guest(), SERVER, datagrams)
        for _ in range(3):
            for joined in (*others, victim):
                began = trio.current_time()
                await say(joined)
                assert trio.current_time() - began < 0.05
                await trio.sleep(0.02)


async def test_a_peer_that_was_flooded_can_still_be_closed_and_the_server_with_it(site: Site, autojump_clock):
    async def run() -> None:
        configuration = Configuration(close_timeout=1.0)
        async with site.serve(*LISTEN, configuration=configuration) as server:
            async with connect_peer(server, site.add_guest()) as joined:
                host = site.add_guest()
                stranger = await flood(host, SERVER, junk(random.Random(6), 500, name_of(joined.peer)))
                stranger.close()
            assert_empty(server)

    with nothing_stays_behind():
        await run()


def assert_empty(server: WebRtcServer) -> None:
    stats = server.get_stats()
    assert (stats.peers, stats.ufrags, stats.remote_addresses, stats.tcp_connections) == (0, (), (), 0)


async def test_a_first_frame_that_is_too_long_is_refused_though_it_is_whole(site: Site, autojump_clock):
    """Else those who wait would keep as much of it as a frame can have; no check needs that."""
    async with site.serve() as server:
        long = check("nobody", b"guessed", random.Random(1), {SOFTWARE: "s" * MAX_FIRST_FRAME})
        (stranger,) = await connect(site.add_guest(), SERVER, saying=frame(long))
        await trio.sleep(0.1)
        assert not is_open(stranger)
        stats = server.get_stats()
        assert stats.tcp_connections_refused == {"not a check": 1}
        assert stats.checks_for_unknown_ufrags == 0
