"""Every way out of a connection, in every stage of it: what the peer sees, how long it takes, what stays behind."""

import enum
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from trio_webrtc import CloseReason, PeerConnection, open_peer_connection
from trio_webrtc.core.dtls import SessionState
from trio_webrtc.core.peer import Negotiating, Secured, Securing
from trio_webrtc.testing import DatagramSent, SocketClosed

from .conftest import RUNS, MakeWorld, World, negotiate
from .quiescence import nothing_stays_behind

LATENCY = 0.02
ALERT, APPLICATION_DATA = 21, 23


class Stage(enum.Enum):
    NEW = enum.auto()
    CHECKING = enum.auto()
    DTLS = enum.auto()
    SCTP = enum.auto()
    OPEN = enum.auto()


def stage_of(peer: PeerConnection) -> Stage:
    core = peer._core
    match core.stage:
        case Negotiating():
            return Stage.NEW
        case Securing(session):
            return Stage.CHECKING if session.state is SessionState.NEW else Stage.DTLS
        case Secured(_, association):
            return Stage.OPEN if association.is_established else Stage.SCTP


async def reach(stage: Stage, world: World, caller: PeerConnection, callee: PeerConnection) -> None:
    """Bring the caller into a stage, and stop there."""
    caller.create_data_channel("chat")
    if stage is Stage.NEW:
        return
    if stage is Stage.CHECKING:
        world.network.cut(world.left, world.right)
    await negotiate(caller, callee)
    while stage_of(caller) is not stage:
        await trio.sleep(LATENCY / 20)


class Expected(Exception):
    """Raised by a test's body, and to come out as itself."""


async def leave_cleanly(world: World, caller: PeerConnection, callee: PeerConnection) -> None:
    pass


async def raise_in_the_body(world: World, caller: PeerConnection, callee: PeerConnection) -> None:
    raise Expected


async def be_cancelled(world: World, caller: PeerConnection, callee: PeerConnection) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await trio.sleep_forever()
    raise trio.TooSlowError  # stands for what a cancelled scope outside would have done


async def close_from_inside(world: World, caller: PeerConnection, callee: PeerConnection) -> None:
    await caller.aclose()


async def lose_the_peer(world: World, caller: PeerConnection, callee: PeerConnection) -> None:
    world.network.cut(world.left, world.right)


async def let_the_peer_close_first(world: World, caller: PeerConnection, callee: PeerConnection) -> None:
    await callee.aclose()
    with trio.move_on_after(1):
        await caller.wait_closed()


async def close_both_at_once(world: World, caller: PeerConnection, callee: PeerConnection) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.aclose)
        nursery.start_soon(callee.aclose)


WAYS_OUT = [
    leave_cleanly,
    raise_in_the_body,
    close_from_inside,
    lose_the_peer,
    let_the_peer_close_first,
    close_both_at_once,
]


@dataclass
class Leaving:
    """What the wire has of the caller after it decided to leave."""

    record_types: list[int]
    sockets_closed_last: bool
    seconds: float


def what_was_sent(world: World, since: int, started: float, finished: float) -> Leaving:
    entries = list(world.network.log)[since:]
    own = [
        entry
        for entry in entries
        if (entry.address if isinstance(entry, SocketClosed) else entry.from_)[0] in world.left.addresses
    ]
    last_datagram = max((i for i, entry in enumerate(own) if isinstance(entry, DatagramSent)), default=-1)
    return Leaving(
        record_types=[e.data[0] for e in own if isinstance(e, DatagramSent) and 20 <= e.data[0] <= 63],
        sockets_closed_last=all(isinstance(entry, SocketClosed) for entry in own[last_datagram + 1 :]),
        seconds=finished - started,
    )


async def leave(world: World, stage: Stage, way_out: Callable) -> None:
    left_at = mark = 0
    async with open_peer_connection(network=world.right) as callee:
        try:
            async with open_peer_connection(network=world.left) as caller:
                await reach(stage, world, caller, callee)
                left_at, mark = trio.current_time(), len(world.network.log)
                await way_out(world, caller, callee)
        except Expected:
            assert way_out is raise_in_the_body
        leaving = what_was_sent(world, mark, left_at, trio.current_time())
        assert caller.connection_state == "closed"
        assert leaving.sockets_closed_last
        assert leaving.seconds <= 2.0 + 1.0 + 1.0
        check_the_goodbye(stage, way_out, leaving)
        if stage is Stage.OPEN and way_out in (leave_cleanly, raise_in_the_body, close_from_inside):
            arrived = trio.current_time()
            assert await callee.wait_closed() is CloseReason.REMOTE
            assert trio.current_time() - arrived <= LATENCY * 1.01


def check_the_goodbye(stage: Stage, way_out: Callable, leaving: Leaving) -> None:
    goodbye = leaving.record_types[-2:]
    match stage:
        case Stage.NEW | Stage.CHECKING:
            assert leaving.record_types == []
        case Stage.DTLS:
            # The peer may finish the handshake while this side leaves; then, and only then, there is an alert.
            assert ALERT not in leaving.record_types or way_out not in (leave_cleanly, raise_in_the_body)
        case Stage.SCTP if way_out in (leave_cleanly, raise_in_the_body, close_from_inside):
            assert goodbye[-1] == ALERT
        case Stage.OPEN if way_out in (leave_cleanly, raise_in_the_body, close_from_inside):
            assert goodbye == [APPLICATION_DATA, ALERT]
            assert ALERT not in leaving.record_types[:-1]
        case _:
            pass


@pytest.mark.parametrize("stage", list(Stage), ids=lambda stage: stage.name.lower())
@pytest.mark.parametrize("way_out", WAYS_OUT, ids=lambda way: way.__name__)
async def test_goodbyes_leave_before_the_sockets_are_freed(
    make_world: MakeWorld, autojump_clock, stage: Stage, way_out: Callable
):
    with nothing_stays_behind():
        for seed in range(RUNS):
            world = make_world(seed, latency=LATENCY)
            await leave(world, stage, way_out)
            assert not world.network.open_sockets
