"""A connection is cancelled at its first checkpoint, at its second, and so on to its last: nothing stays behind.

One life has all there is: connecting, opening a channel, data both ways, closing a channel, an ICE restart while data
flows, closing. It is run again and again, and left a step later each time.
"""

from collections.abc import Awaitable, Callable
from itertools import count
from typing import TypeVar

import pytest
import trio

from trio_webrtc import CloseReason, DataChannel, PeerConnection, open_peer_connection
from trio_webrtc.core.peer import Secured
from trio_webrtc.testing import DatagramSent, SocketClosed, VirtualHost

from ..surface.conftest import MakeWorld, World, negotiate
from ..surface.quiescence import nothing_stays_behind, tasks
from .checkpoints import Predicate, cancel_at_step, library_steps, own_steps

T = TypeVar("T")

LATENCY = 0.02
ALERT = 21  # record type (RFC 5246 §6.2.1)
MESSAGES = ["first", b"x" * 5000, "", "last"]
BATCH = 20
"""Lives between two looks at the garbage collector, which takes longer than a life does."""


async def live(caller: PeerConnection, callee: PeerConnection) -> None:
    """All that a connection goes through."""
    near = caller.create_data_channel("chat")
    await negotiate(caller, callee)
    await caller.wait_connected()
    await near.wait_open()
    far = await callee.incoming_data_channels.receive()
    await talk(near, far)
    brief = caller.create_data_channel("brief")
    async with await callee.incoming_data_channels.receive():
        await brief.send("and gone")
    await brief.wait_closed()
    caller.restart_ice()
    near.send_nowait("while it restarts")
    await negotiate(caller, callee)
    await far.receive()
    await trio.sleep(4 * LATENCY)
    await talk(far, near)
    await near.aclose()
    await caller.aclose()
    await callee.wait_closed()


async def talk(source: DataChannel, sink: DataChannel) -> None:
    for message in MESSAGES:
        await source.send(message)
        assert await sink.receive() == message
    await source.drain()


async def live_until(chosen: int | None, watches: Predicate, world: World, *, offerer_leaves: bool) -> int:
    """Leave just before the chosen step, with the other side looking on; return how many steps there were."""
    before = tasks()
    stayer_host, leaver_host = (world.right, world.left) if offerer_leaves else (world.left, world.right)
    leaver = None  # as long as its scope has not been entered
    async with open_peer_connection(network=stayer_host) as stayer:
        with cancel_at_step(watches, chosen) as instrument:
            async with open_peer_connection(network=leaver_host) as leaver:
                await (live(leaver, stayer) if offerer_leaves else live(stayer, leaver))
        if leaver is not None and instrument.scope.cancelled_caught:
            assert leaver.connection_state == "closed"
            assert not leaver_host.sockets
            is_secured = isinstance(leaver._core.stage, Secured)
            assert said_goodbye(world, leaver_host) == is_secured
            if is_secured and not loses_packets(world) and not stayer._core.closed:
                with trio.fail_after(LATENCY * 1.01):
                    assert await stayer.wait_closed() is CloseReason.REMOTE
    assert not world.network.open_sockets
    assert tasks() == before
    return instrument.steps


def loses_packets(world: World) -> bool:
    return world.network.link(world.left, world.right).loss > 0


def said_goodbye(world: World, host: VirtualHost) -> bool:
    """Whether the last that was sent from a host is a close_notify, with nothing but the end of its sockets behind."""
    own = [
        entry
        for entry in world.network.log
        if (entry.address if isinstance(entry, SocketClosed) else entry.from_)[0] in host.addresses
    ]
    sent = [entry for entry in own if isinstance(entry, DatagramSent)]
    assert all(isinstance(entry, SocketClosed) for entry in own[len(sent) :])
    return bool(sent) and sent[-1].data[0] == ALERT


@pytest.mark.parametrize(("steps_of", "loss"), [(own_steps, 0.0), (library_steps, 0.0), (own_steps, 0.2)])
@pytest.mark.parametrize("offerer_leaves", [True, False], ids=["offerer", "answerer"])
async def test_a_connection_cancelled_at_any_checkpoint_says_goodbye_and_leaves_nothing_behind(
    make_world: MakeWorld, autojump_clock, steps_of: Callable[[], Predicate], offerer_leaves: bool, loss: float
):
    """C3, T1, T2, T7: at every checkpoint of connect, transfer, close and restart, of the user's task and of ours."""

    async def leave_at(chosen: int | None) -> int:
        world = make_world(latency=LATENCY, loss=loss)
        return await live_until(chosen, steps_of(), world, offerer_leaves=offerer_leaves)

    steps = await leave_at(None)
    for first in range(0, steps, BATCH):
        with nothing_stays_behind():
            for chosen in range(first, min(first + BATCH, steps)):
                print(f"step {chosen} of {steps}")
                await leave_at(chosen)


async def insist(operation: Callable[..., Awaitable[T]], *args: object) -> T:
    """Cancel an operation at its first checkpoint, start it again, cancel it at its second, and so on to its end."""
    for chosen in count():
        with cancel_at_step(own_steps(), chosen) as instrument:
            return await operation(*args)
        assert instrument.scope.cancelled_caught
    raise AssertionError


async def test_operations_cancelled_at_any_checkpoint_and_begun_again_do_what_they_do_once(
    world: World, autojump_clock
):
    """T7: what is cancelled has not happened, and what has happened is not cancelled."""
    with nothing_stays_behind():
        await live_with_insistence(world)


async def live_with_insistence(world: World) -> None:
    async with (
        open_peer_connection(network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
    ):
        near = caller.create_data_channel("chat")
        await negotiate_with_insistence(caller, callee)
        await insist(caller.wait_connected)
        await insist(near.wait_open)
        far = await insist(callee.incoming_data_channels.receive)
        for number in range(30):
            await insist(near.send, f"{number}")
            if number % 3 == 0:
                await insist(near.drain)
        assert [await insist(far.receive) for _ in range(30)] == [str(number) for number in range(30)]
        caller.restart_ice()
        await negotiate_with_insistence(caller, callee)
        await trio.sleep(10 * LATENCY)
        await insist(far.send, "after the restart")
        assert await insist(near.receive) == "after the restart"
        await insist(near.aclose)
        await insist(far.wait_closed)
        await insist(caller.aclose)
        assert await insist(callee.wait_closed) is CloseReason.REMOTE


async def negotiate_with_insistence(offerer: PeerConnection, answerer: PeerConnection) -> None:
    await insist(offerer.set_local_description)
    await insist(offerer.wait_gathering_complete)
    await insist(answerer.set_remote_description, offerer.local_description)
    await insist(answerer.set_local_description)
    await insist(answerer.wait_gathering_complete)
    await insist(offerer.set_remote_description, answerer.local_description)
