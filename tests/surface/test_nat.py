"""Whole peers behind NATs, with a STUN server outside: which of them meet, and what happens to those that have met."""

from contextlib import asynccontextmanager
from itertools import combinations_with_replacement

import pytest
import trio

from trio_webrtc import (
    Configuration,
    ConnectionFailedError,
    FailureReason,
    IceServer,
    PeerConnection,
    open_peer_connection,
)
from trio_webrtc.testing import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    Fate,
    NatKind,
    VirtualHost,
    VirtualNat,
    VirtualNetwork,
    serve_stun,
)

from .conftest import RUNS, World, negotiate

NATS = ("203.0.113.1", "203.0.113.2")
KINDS = {
    "public": None,
    "full cone": FULL_CONE,
    "address-restricted": ADDRESS_RESTRICTED,
    "port-restricted": PORT_RESTRICTED,
    "symmetric": SYMMETRIC,
}
HOPELESS = {frozenset({"symmetric"}), frozenset({"symmetric", "port-restricted"})}
"""Without a relay: each side must send first to a port that the other side's NAT has not drawn yet."""

CONFIGURATION = Configuration(ice_servers=[IceServer("stun:stun.test")])


class Internet:
    """A STUN server, and a host behind a NAT of its own on either side; both hosts have the same private address."""

    def __init__(self, left: NatKind | None, right: NatKind | None, *, seed: int = 1, **options: float) -> None:
        print(f"seed {seed}")
        self.network = VirtualNetwork(seed=seed, latency=0.02)
        self.server = self.network.add_host("198.51.100.1", name="stun.test")
        self.nats: list[VirtualNat] = []
        self.left, self.right = (
            self.home(address, kind, **options) for address, kind in zip(NATS, (left, right), strict=True)
        )
        self.world = World(self.network, self.left, self.right)

    def home(self, address: str, kind: NatKind | None, **options: float) -> VirtualHost:
        if kind is None:
            return self.network.add_host(address)
        nat = self.network.add_nat(address, kind, **options)
        self.nats.append(nat)
        return nat.add_host("192.168.0.2")

    @asynccontextmanager
    async def meet(self):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_stun, self.server)
            async with self.world.meet(CONFIGURATION, CONFIGURATION) as peers:
                yield peers
            nursery.cancel_scope.cancel()


async def echo(near, far, message):
    await near.send(message)
    assert await far.receive() == message
    await far.send(message)
    assert await near.receive() == message


PAIRS = list(combinations_with_replacement(KINDS, 2))
BOTH_WAYS = dict.fromkeys([*PAIRS, *((right, left) for left, right in PAIRS)])


@pytest.mark.parametrize(("left", "right"), [pair for pair in BOTH_WAYS if frozenset(pair) not in HOPELESS])
async def test_all_but_two_combinations_of_nats_connect(left, right, autojump_clock):
    internet = Internet(KINDS[left], KINDS[right])
    with trio.fail_after(5):
        async with internet.meet() as (caller, callee, near, far):
            await echo(near, far, "hello")
            assert caller.selected_candidate_pair.remote.host == NATS[1]
            assert callee.selected_candidate_pair.remote.host == NATS[0]
    assert {mapping.outside[0] for nat in internet.nats for mapping in nat.mappings} <= set(NATS)
    assert internet.network.open_sockets == []


@pytest.mark.parametrize(("left", "right"), [pair for pair in BOTH_WAYS if frozenset(pair) in HOPELESS])
async def test_behind_these_nats_there_is_no_way_without_a_relay_and_the_error_names_what_was_tried(
    left, right, autojump_clock, nursery
):
    internet = Internet(KINDS[left], KINDS[right])
    await nursery.start(serve_stun, internet.server)
    async with (
        open_peer_connection(CONFIGURATION, network=internet.left) as caller,
        open_peer_connection(CONFIGURATION, network=internet.right) as callee,
    ):
        caller.create_data_channel("chat")
        await negotiate(caller, callee)

        async def fails(peer: PeerConnection, remote: str) -> None:
            with pytest.raises(ConnectionFailedError) as failure:
                await peer.wait_connected()
            assert failure.value.reason is FailureReason.NO_USABLE_PAIR
            assert f"-> {remote}:" in str(failure.value)
            assert "failed after 15 request(s), no answer" in str(failure.value)

        with trio.fail_after(17):  # what a check takes that nobody answers
            async with trio.open_nursery() as both:
                both.start_soon(fails, caller, NATS[1])
                both.start_soon(fails, callee, NATS[0])
    assert internet.network.counters[Fate.FILTERED] + internet.network.counters[Fate.NOBODY_THERE] > 0
    nursery.cancel_scope.cancel()


async def stream_while(near, far, something_happens):
    """Send numbers in both directions for 40 s; nothing may be lost, doubled or out of order."""
    numbers = [str(number) for number in range(200)]

    async def send(channel):
        for number in numbers:
            await channel.send(number)
            await trio.sleep(0.2)

    async def expect(channel):
        assert [await channel.receive() for _ in numbers] == numbers

    with trio.fail_after(120):
        async with trio.open_nursery() as nursery:
            for channel in (near, far):
                nursery.start_soon(send, channel)
                nursery.start_soon(expect, channel)
            await trio.sleep(10)
            await something_happens()


@pytest.mark.parametrize("mover", [0, 1], ids=["offerer moves", "answerer moves"])
@pytest.mark.parametrize("kind", ["address-restricted", "port-restricted", "symmetric"])
@pytest.mark.parametrize("other", ["public", "full cone", "address-restricted"])
@pytest.mark.parametrize("run", range(max(1, RUNS // 20)))
async def test_a_nat_that_rebinds_is_followed_and_nothing_is_lost(mover, kind, other, run, autojump_clock):
    kinds = (kind, other) if mover == 0 else (other, kind)
    internet = Internet(*(KINDS[kind] for kind in kinds), seed=run)
    nat = next(nat for nat in internet.nats if nat.address == NATS[mover])
    async with internet.meet() as (caller, callee, near, far):
        follower = callee if mover == 0 else caller
        before = follower.selected_candidate_pair.remote

        async def rebind():
            nat.rebind()

        await stream_while(near, far, rebind)
        after = follower.selected_candidate_pair.remote
        assert (after.host, after.type) == (NATS[mover], "prflx")
        assert after.port != before.port
        assert caller.connection_state == callee.connection_state == "connected"


@pytest.mark.parametrize("kind", [FULL_CONE, PORT_RESTRICTED], ids=["full cone", "port-restricted"])
@pytest.mark.parametrize("restarter", ["offerer", "answerer"])
async def test_nats_that_both_rebind_part_the_peers_until_ice_is_restarted_and_nothing_is_lost(
    kind, restarter, autojump_clock
):
    internet = Internet(kind, kind)
    async with internet.meet() as (caller, callee, near, far):
        one, other = (caller, callee) if restarter == "offerer" else (callee, caller)

        async def rebind_and_restart():
            for nat in internet.nats:
                nat.rebind()
            await trio.sleep(15)
            assert one.connection_state == other.connection_state == "disconnected"
            one.restart_ice()
            await negotiate(one, other)

        await stream_while(near, far, rebind_and_restart)
        assert caller.connection_state == callee.connection_state == "connected"


@pytest.mark.parametrize("kind", [FULL_CONE, PORT_RESTRICTED], ids=["full cone", "port-restricted"])
async def test_an_idle_hour_does_not_close_a_mapping_that_lives_for_half_a_minute(kind, autojump_clock):
    internet = Internet(kind, kind, mapping_lifetime=30)
    async with internet.meet() as (caller, callee, near, far):
        before = [mapping.outside for nat in internet.nats for mapping in nat.mappings]
        await trio.sleep(3600)
        with trio.fail_after(1):
            await echo(near, far, "still there?")
        after = [mapping.outside for nat in internet.nats for mapping in nat.mappings]
        assert after == before
        assert caller.connection_state == callee.connection_state == "connected"


@pytest.mark.parametrize("kind", list(filter(None, KINDS.values())), ids=list(KINDS)[1:])
async def test_two_behind_one_nat_without_hairpinning_meet_by_their_own_addresses(kind, autojump_clock, nursery):
    network = VirtualNetwork(seed=1, latency=0.02)
    await nursery.start(serve_stun, network.add_host("198.51.100.1", name="stun.test"))
    home = network.add_nat("203.0.113.1", kind)
    world = World(network, home.add_host("192.168.0.2"), home.add_host("192.168.0.3"))
    with trio.fail_after(5):
        async with world.meet(CONFIGURATION, CONFIGURATION) as (caller, _, near, far):
            await echo(near, far, "hello, neighbour")
            assert caller.selected_candidate_pair.local.type == "host"
            assert caller.selected_candidate_pair.remote.host == "192.168.0.3"
    nursery.cancel_scope.cancel()


async def test_a_carriers_nat_before_both_homes_has_to_hairpin(autojump_clock, nursery):
    network = VirtualNetwork(seed=1, latency=0.02)
    await nursery.start(serve_stun, network.add_host("198.51.100.1", name="stun.test"))
    carrier = network.add_nat("203.0.113.1", hairpinning=True)
    homes = [carrier.add_nat(address).add_host("192.168.0.2") for address in ("100.64.0.1", "100.64.0.2")]
    with trio.fail_after(5):
        async with World(network, *homes).meet(CONFIGURATION, CONFIGURATION) as (caller, _, near, far):
            await echo(near, far, "hello, neighbour")
            assert caller.selected_candidate_pair.remote.host == "203.0.113.1"
    nursery.cancel_scope.cancel()
