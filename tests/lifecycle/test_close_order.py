"""Ending from wherever one stands: goodbyes in their order, one end for each, nothing heard after it."""

import pytest
import trio
import trio.testing

from trio_webrtc import CloseReason, DataChannel, PeerConnection, open_peer_connection
from trio_webrtc.testing import DatagramSent

from ..surface.conftest import RUNS, MakeWorld, World, negotiate
from ..surface.quiescence import nothing_stays_behind
from ..surface.test_lifetimes import ABORT, record_chunks

PEERS = 12


async def test_leaving_with_data_under_way_says_abort_and_raises_nothing(world: World, autojump_clock):
    """A6, A9: SCTP says its goodbye before what carries it is taken away."""
    async with world.meet() as (caller, callee, near, _):
        chunks = record_chunks(callee)
        for number in range(20):
            near.send_nowait(bytes([number]) * 20_000)
        with trio.CancelScope() as impatience:
            impatience.cancel()
            await caller.aclose()
        assert await callee.wait_closed() is CloseReason.REMOTE
        assert chunks[-1] == ABORT


async def test_whoever_watches_the_states_may_close_the_connection_in_any_of_them(world: World, autojump_clock):
    """A3: closing from within the news of a state gives exactly one end and no exception."""
    for unwelcome in ("new", "connecting", "connected", "closed"):
        with nothing_stays_behind():
            assert (await watch_and_close(world, unwelcome)).count("closed") == 1


async def watch_and_close(world: World, unwelcome: str) -> list[str]:
    seen: list[str] = []

    async def watch(peer: PeerConnection) -> None:
        async for state in peer.connection_states():
            seen.append(state)
            if state == unwelcome:
                await peer.aclose()

    async with (
        open_peer_connection(network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(watch, caller)
        await trio.testing.wait_all_tasks_blocked()
        caller_or_nobody = pytest.raises(trio.ClosedResourceError) if unwelcome == "new" else trio.CancelScope()
        with caller_or_nobody:
            caller.create_data_channel("chat")
            await negotiate(caller, callee)
            if unwelcome == "closed":
                await caller.wait_connected()
                await caller.aclose()
        await caller.wait_closed()
    return seen


async def test_whoever_hears_of_a_state_may_look_at_everything(make_world: MakeWorld, autojump_clock):
    """A2: what the news are about is still there when they are told, and so is what has just ended."""

    async def look(peer: PeerConnection) -> None:
        async for _ in peer.connection_states():
            repr((peer, peer.get_stats(), peer.selected_candidate_pair, peer.remote_certificates, peer.close_reason))
            repr((peer.local_description, peer.remote_description, peer.signaling_state, peer.ice_connection_state))

    for seed in range(RUNS):
        world = make_world(seed)
        async with trio.open_nursery() as nursery, world.meet() as (caller, callee, _, _):
            nursery.start_soon(look, caller)
            nursery.start_soon(look, callee)
            caller.restart_ice()
            await negotiate(caller, callee)
            if seed % 2:
                world.network.cut(world.left, world.right)
                await caller.wait_closed()


async def test_connections_may_close_each_other_as_they_end(world: World, autojump_clock):
    """A4, C8: a handler that closes other connections changes nothing for those that are closing already."""
    with nothing_stays_behind():
        await close_each_other(world)


async def close_each_other(world: World) -> None:
    peers: list[PeerConnection] = []
    ends = 0

    async def live(network) -> None:
        nonlocal ends
        async with open_peer_connection(network=network) as peer:
            peers.append(peer)
            peer.create_data_channel("chat")
            await peer.set_local_description()
            await peer.wait_closed()
            ends += 1
            for other in peers:
                await other.aclose()

    async with trio.open_nursery() as nursery:
        for _ in range(PEERS):
            nursery.start_soon(live, world.left)
        await trio.sleep(1)
        nursery.start_soon(peers[PEERS // 2].aclose)
    assert ends == PEERS


async def test_a_channel_closed_above_its_high_water_mark_tells_its_sender_once_and_then_nothing(
    world: World, autojump_clock
):
    """A7, E4: no news of a channel after its end."""
    ends: list[type[BaseException]] = []

    async def send_until_it_ends(channel: DataChannel) -> None:
        try:
            while True:
                await channel.send(b"x" * 100_000)
        except trio.ClosedResourceError as error:
            ends.append(type(error))

    async with world.meet() as (_, callee, near, far), trio.open_nursery() as nursery:
        nursery.start_soon(send_until_it_ends, near)
        await trio.testing.wait_all_tasks_blocked()
        assert near.buffered_amount > 0
        await near.aclose()
        await trio.testing.wait_all_tasks_blocked()
        assert ends == [trio.ClosedResourceError]
        assert [len(message) async for message in far] == [100_000] * near._channel.messages_sent
        await near.wait_closed()
        assert callee.connection_state == "connected"


@pytest.mark.parametrize("way_out", ["goodbye", "silence", "own"])
async def test_everybody_hears_of_the_end_exactly_once(world: World, autojump_clock, way_out: str):
    """E6, E7: one end for each who waits, whichever way the end came, and the same state everywhere after it."""
    ends: list[object] = []

    async def expect(end: type[BaseException], operation) -> None:
        with pytest.raises(end):
            await operation()
        ends.append(end)

    async def run_out(things) -> None:
        ends.append([str(thing) async for thing in things][-1:])

    async with world.meet() as (caller, callee, near, far):
        lost = trio.ClosedResourceError if way_out == "own" else trio.EndOfChannel
        if way_out == "silence":
            lost = trio.BrokenResourceError
        async with trio.open_nursery() as nursery:
            nursery.start_soon(expect, lost, near.receive)
            nursery.start_soon(run_out, caller.connection_states())
            nursery.start_soon(run_out, caller.incoming_data_channels)
            nursery.start_soon(run_out, caller.negotiation_needed())
            nursery.start_soon(near.wait_closed)
            nursery.start_soon(caller.wait_closed)
            await trio.testing.wait_all_tasks_blocked()
            match way_out:
                case "goodbye":
                    await callee.aclose()
                case "silence":
                    world.network.cut(world.left, world.right)
                case "own":
                    await caller.aclose()
        assert sorted(map(str, ends)) == sorted(map(str, [lost, ["closed"], [], []]))
        assert caller.connection_state == "closed"
        assert caller.ice_connection_state == "closed"
        assert caller.signaling_state == "closed"
        assert caller.selected_candidate_pair is None
        assert near.ready_state == "closed"
        assert not world.left.sockets
        assert far.label == "chat"


async def test_what_arrives_for_a_connection_that_has_ended_is_ignored(world: World, autojump_clock):
    """E8: a late check, record or piece of garbage for what is gone."""
    async with world.meet() as (caller, callee, _, far):
        taken: list[DatagramSent] = [entry for entry in world.network.log if isinstance(entry, DatagramSent)]
        received = [entry for entry in taken if entry.to[0] in world.left.addresses]
        via = next(iter(caller._path._holdings.ports)).via()
        await caller.aclose()
        count = len(world.network.log)
        for entry in received:
            caller._core.receive_datagrams([(via, entry.from_, entry.data, None)], trio.current_time())
            caller._path.receive([(via, entry.from_, entry.data, None)])
        caller._core.handle_timeout(trio.current_time() + 60)
        assert caller._core.poll_transmits(trio.current_time()) is None
        assert len(world.network.log) == count
        assert caller.connection_state == "closed"
        assert await callee.wait_closed() is CloseReason.REMOTE
        assert far.ready_state == "closed"


async def test_a_late_check_for_a_way_that_is_gone_is_ignored(world: World, autojump_clock):
    """E8: a socket is lost, and what was read from it before comes a moment later."""
    async with world.meet() as (caller, _, near, far):
        port = next(port for port in caller._path._holdings.ports if port.via() is not caller._core._way[0])
        checks = [
            (port.via(), entry.from_, entry.data, None)
            for entry in world.network.log
            if isinstance(entry, DatagramSent) and entry.to == port.local_address
        ]
        assert checks
        caller._path.retire(port.via())
        caller._path.receive(checks)
        await near.send("still here")
        assert await far.receive() == "still here"


async def test_a_connection_whose_channels_were_all_dropped_negotiates_again(world: World, autojump_clock):
    """A13: nobody holds the channel any more, and then there is an offer."""
    async with world.meet() as (caller, callee, _, _):
        caller.create_data_channel("dropped")
        await callee.incoming_data_channels.receive()
        caller.restart_ice()
        await negotiate(caller, callee)
        await trio.sleep(1)
        assert caller.connection_state == callee.connection_state == "connected"
