"""What the application is told, and has to signal, when offers cross, are taken back, or restart ICE."""

import trio

from trio_webrtc import Configuration, IceServer, PeerConnection, SessionDescription, open_peer_connection
from trio_webrtc.testing import VirtualNetwork

from .conftest import World, negotiate

SLOW_STUN = Configuration(ice_servers=[IceServer("stun:10.0.0.9")])
"""There is nobody at that address: gathering takes three seconds."""

ROLLBACK = SessionDescription("rollback")


async def fragments(peer: PeerConnection) -> list[str]:
    """The user fragments of all candidates of the present generation."""
    return [candidate.username_fragment async for candidate in peer.local_candidates()]


def ufrag(description: SessionDescription) -> str:
    return next(line.partition(":")[2] for line in description.sdp.splitlines() if line.startswith("a=ice-ufrag"))


async def test_first_offers_that_cross_while_candidates_are_gathered(world: World, autojump_clock):
    async with (
        open_peer_connection(SLOW_STUN, network=world.left) as polite,
        open_peer_connection(SLOW_STUN, network=world.right) as impolite,
    ):
        channel = polite.create_data_channel("polite")
        impolite.create_data_channel("impolite")
        await polite.set_local_description()
        await impolite.set_local_description()
        await trio.sleep(1)
        await polite.set_remote_description(impolite.local_description)
        assert polite.local_description is None
        await trio.sleep(4)  # gathering ends meanwhile, with no description that the candidates could be of
        await polite.set_local_description()
        await impolite.set_remote_description(polite.local_description)
        with trio.fail_after(10):
            await channel.wait_open()
        assert set(await fragments(polite)) == {ufrag(polite.local_description)}
        assert polite.local_description.sdp.count("a=candidate") == 4  # UDP and TCP, IPv4 and IPv6


async def test_a_first_offer_that_is_taken_back_ends_its_candidates(world: World, autojump_clock):
    async with open_peer_connection(network=world.left) as peer:
        peer.create_data_channel("any")
        await peer.set_local_description()
        first = await fragments(peer)
        await peer.set_local_description(ROLLBACK)
        assert (peer.local_description, peer.signaling_state) == (None, "stable")
        await trio.sleep(1)
        await peer.set_local_description()
        assert await fragments(peer) == first


async def test_a_restart_that_is_taken_back_signals_the_old_generation_again(world: World, autojump_clock):
    async with world.meet() as (caller, callee, near, far):
        agreed = ufrag(caller.local_description)
        caller.restart_ice()
        await caller.set_local_description()
        assert set(await fragments(caller)) == {ufrag(caller.local_description)} != {agreed}
        await callee.set_remote_description(caller.local_description)
        await callee.set_remote_description(ROLLBACK)
        await caller.set_local_description(ROLLBACK)
        assert set(await fragments(caller)) == {agreed} == {ufrag(caller.local_description)}
        await near.send("still there")
        assert await far.receive() == "still there"
        with trio.fail_after(1):
            assert await anext(caller.negotiation_needed()) is None
        await negotiate(caller, callee)
        assert ufrag(caller.local_description) != agreed
        await far.send("restarted")
        assert await near.receive() == "restarted"


async def test_nothing_is_lost_in_a_restart_from_either_side_on_a_lossy_network(autojump_clock):
    network = VirtualNetwork(seed=7, latency=0.03, loss=0.05)
    world = World(network, network.add_host("10.0.0.1", "fd00::1"), network.add_host("10.0.0.2", "fd00::2"))
    async with world.meet() as (caller, callee, near, far):

        async def stream(sender, receiver):
            async with trio.open_nursery() as sending:
                sending.start_soon(lambda: send_all(sender))
                assert [await receiver.receive() for _ in range(300)] == [str(number) for number in range(300)]

        async def send_all(sender):
            for number in range(300):
                await sender.send(str(number))
                await trio.sleep(0.01)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream, near, far)
            nursery.start_soon(stream, far, near)
            for restarter, other in ((caller, callee), (callee, caller)) * 2:
                await trio.sleep(0.5)
                restarter.restart_ice()
                await negotiate(restarter, other)
        assert caller.connection_state == callee.connection_state == "connected"
