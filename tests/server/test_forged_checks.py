"""Floods of checks that name a peer and do not know its password: whoever has once signalled with it can send them.

What is counted is turns of the event loop and datagrams, never seconds: virtual time does not pass while one computes,
and real time passes as it likes.
"""

import random
import socket
from collections.abc import Callable

import pytest
import trio

from trio_webrtc import ListenAddress, open_webrtc_server
from trio_webrtc.core.contract import Address, Received, split_run
from trio_webrtc.shell.udp import LEAST_COST, MAX_BYTES_PER_BATCH
from trio_webrtc.testing import DatagramSent

from .conftest import Joined, Site, connect
from .strangers import check, key_of, name_of

ELSEWHERE = ("10.9.9.9", 9)
AT_ONCE = 290
"""Forged checks in one turn, more than may wait to be answered."""


def forged_for(joined: Joined, from_: Address, count: int = AT_ONCE) -> list[Received]:
    via, _ = joined.peer._core._way
    rng = random.Random(1)
    return [Received(via, from_, check(name_of(joined.peer), b"guessed", rng)) for _ in range(count)]


def address_of(joined: Joined) -> Address:
    return joined.peer._core.agent.selected_pair.remote_address


def said(site: Site, to: Address, wanted: Callable[[bytes], bool]) -> int:
    """How many such datagrams the server has sent there."""
    return sum(isinstance(e, DatagramSent) and e.to == to and wanted(e.data) for e in site.network.log)


def is_data(datagram: bytes) -> bool:
    return datagram[0] == 23


def is_answer(datagram: bytes) -> bool:
    return datagram[:2] == b"\x01\x01"


SENDERS = pytest.mark.parametrize("forge_sender", [lambda joined: ELSEWHERE, address_of], ids=["elsewhere", "the peer"])


@SENDERS
@pytest.mark.parametrize("ice_lite", [True, False], ids=["lite", "full"])
async def test_a_flooded_peers_own_messages_do_not_wait_their_turn_behind_refusals(
    site: Site, autojump_clock, ice_lite: bool, forge_sender: Callable[[Joined], Address]
):
    async with site.serve() as server, connect(server, site.add_guest(), ice_lite=ice_lite) as joined:
        flood = forged_for(joined, forge_sender(joined))
        before = said(site, address_of(joined), is_data)
        for _ in range(10):
            server._switchboard.receive(flood)
            await trio.lowlevel.checkpoint()
        joined.far.send_nowait("hello")
        turns = 0
        while said(site, address_of(joined), is_data) == before:
            turns += 1
            assert turns <= 2
            server._switchboard.receive(flood)
            await trio.lowlevel.checkpoint()


@SENDERS
@pytest.mark.parametrize("ice_lite", [True, False], ids=["lite", "full"])
async def test_a_flooded_peers_own_checks_are_all_answered(
    site: Site, autojump_clock, ice_lite: bool, forge_sender: Callable[[Joined], Address]
):
    """Else it would lose its leave to send (RFC 7675), and the server its way to it."""
    async with site.serve() as server, connect(server, site.add_guest(), ice_lite=ice_lite) as joined:
        via, peer = joined.peer._core._way
        flood, rng = forged_for(joined, forge_sender(joined)), random.Random(2)
        before = said(site, peer, is_answer)
        for _ in range(20):
            own = check(name_of(joined.peer), key_of(joined.peer), rng, nominates=False)
            server._switchboard.receive([*flood, Received(via, peer, own)])
            await trio.lowlevel.checkpoint()
        assert said(site, peer, is_answer) == before + 20
        assert joined.peer._core.agent.counters.transmits_dropped == 0


async def test_a_flood_from_elsewhere_does_not_reach_the_peer_that_it_names(site: Site, autojump_clock):
    async with site.serve() as server, connect(server, site.add_guest()) as joined:
        traffic = joined.peer._core.traffic
        before = traffic.datagrams_received, traffic.datagrams_sent
        server._switchboard.receive(forged_for(joined, ELSEWHERE))
        assert (traffic.datagrams_received, traffic.datagrams_sent) == before
        assert server.get_stats().checks_with_wrong_passwords == AT_ONCE


class Turns(trio.abc.Instrument):
    """Counts those of the event loop."""

    def __init__(self) -> None:
        self.count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


async def test_between_two_turns_of_the_loop_every_port_works_on_a_bounded_number_of_datagrams(require):
    """By the kernel, which joins up to 64 of them to one. The loop does not starve, whatever has come meanwhile."""
    async with (
        open_webrtc_server(ListenAddress("udp", "127.0.0.1"), ListenAddress("udp", "127.0.0.2")) as server,
        server.open_peer_connection() as peer,
    ):
        rng = random.Random(1)
        run = [check(name_of(peer), b"guessed", rng) for _ in range(64)]
        most = MAX_BYTES_PER_BATCH // LEAST_COST + len(run)
        turns, worked_on = Turns(), {}
        trio.lowlevel.add_instrument(turns)
        receive = server._switchboard.receive

        def count(batch: list[Received]) -> None:
            for via, _, data, size in batch:
                key = (turns.count, via.port)
                worked_on[key] = worked_on.get(key, 0) + len(split_run(data, size))
            receive(batch)

        for place in server._places:
            place._port._receiver = type("Counting", (), {"receive": staticmethod(count), "retire": lambda via: None})
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                stranger.connect(place.local_address)
                try:
                    stranger.setsockopt(socket.IPPROTO_UDP, 103, len(run[0]))  # UDP_SEGMENT
                except OSError:
                    require(False, "this kernel has no UDP_SEGMENT")
                for _ in range(32):
                    stranger.send(b"".join(run))
        with trio.fail_after(5):
            while server.get_stats().checks_with_wrong_passwords < 2 * 32 * 64:
                await trio.lowlevel.checkpoint()
        trio.lowlevel.remove_instrument(turns)
        print("datagrams in each turn at each port:", sorted(worked_on.values()))
        assert max(worked_on.values()) <= most
