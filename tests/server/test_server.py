"""Many peers on one port: everybody gets what is theirs, and the server knows who is there."""

import errno

import pytest
import trio

from trio_webrtc.shell.network import os_error

from ..surface.quiescence import nothing_stays_behind
from .conftest import Site, connect


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize("ice_lite", [True, False])
async def test_messages_go_both_ways(site: Site, autojump_clock, transport: str, ice_lite: bool):
    async def talk() -> None:
        async with site.serve() as server, connect(server, site.add_guest(), transport, ice_lite=ice_lite) as joined:
            await joined.near.send("to the server")
            assert await joined.far.receive() == "to the server"
            await joined.far.send(b"to the peer" * 10_000)
            assert await joined.near.receive() == b"to the peer" * 10_000

    with nothing_stays_behind():
        await talk()


async def test_twenty_peers_on_two_ports_get_each_their_own(site: Site, autojump_clock):
    async with site.serve() as server, trio.open_nursery() as nursery:

        async def visit(number: int) -> None:
            async with connect(server, site.add_guest(), "tcp" if number % 2 else "udp") as joined:
                for turn in range(5):
                    await joined.near.send(f"{number} {turn}")
                    assert await joined.far.receive() == f"{number} {turn}"

        for number in range(20):
            nursery.start_soon(visit, number)


async def test_statistics_tell_what_is_there_and_that_nothing_is_left(site: Site, autojump_clock):
    async with site.serve() as server:
        async with connect(server, site.add_guest(), "udp"), connect(server, site.add_guest(), "tcp"):
            stats = server.get_stats()
            assert (stats.peers, stats.tcp_connections, stats.tcp_connections_waiting) == (2, 1, 0)
            assert len(stats.ufrags) == 2
            assert [host for host, _ in stats.remote_addresses] == ["10.0.1.1"]
        stats = server.get_stats()
        assert (stats.peers, stats.tcp_connections) == (0, 0)
        assert not stats.ufrags
        assert not stats.remote_addresses


async def test_an_address_by_which_a_lost_port_was_used_is_not_told_any_more(site: Site, autojump_clock):
    async with (
        site.serve() as server,
        connect(server, site.add_guest()) as joined,
        connect(server, site.add_guest(), "tcp"),
    ):

        def fail() -> None:
            raise os_error(errno.ENODEV)

        (port,) = site.host.sockets.values()
        port.receive = fail
        await joined.near.send("?")
        await trio.sleep(1)
        del port.receive  # which refers to itself
        stats = server.get_stats()
        assert [place[0] for place in stats.addresses] == ["tcp"]
        assert (stats.peers, stats.remote_addresses) == (2, ())
