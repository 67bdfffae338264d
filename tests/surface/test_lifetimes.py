"""Every way out of a connection, in every stage of it: what the peer sees, how long it takes, what stays behind."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakMethod

import pytest
import trio
import trio.testing

from trio_webrtc import CloseReason, PeerConnection, open_peer_connection
from trio_webrtc.core.dtls import SessionState
from trio_webrtc.core.peer import Negotiating, Secured, Securing
from trio_webrtc.testing import DatagramSent, SocketClosed

from .conftest import RUNS, MakeWorld, World, negotiate
from .quiescence import no_objects_wait_for_the_collector, nothing_stays_behind

LATENCY = 0.02
ALERT, APPLICATION_DATA = 21, 23  # record types (RFC 5246 §6.2.1)
ABORT, SHUTDOWN = 6, 7  # chunk types (RFC 9260 §3.2)


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


@dataclass
class Situation:
    """What a way out may make use of; `outside` is a cancel scope around the caller's."""

    world: World
    caller: PeerConnection
    callee: PeerConnection
    outside: trio.CancelScope


async def leave_cleanly(situation: Situation) -> None:
    pass


async def raise_in_the_body(situation: Situation) -> None:
    raise Expected


async def be_cancelled(situation: Situation) -> None:
    situation.outside.cancel()
    await trio.sleep_forever()


async def run_out_of_time(situation: Situation) -> None:
    situation.outside.deadline = trio.current_time() + LATENCY / 10
    await trio.sleep_forever()


async def close_from_inside(situation: Situation) -> None:
    await situation.caller.aclose()


async def lose_the_peer(situation: Situation) -> None:
    situation.world.network.cut(situation.world.left, situation.world.right)


async def let_the_peer_close_first(situation: Situation) -> None:
    await situation.callee.aclose()
    with trio.move_on_after(1):
        await situation.caller.wait_closed()


async def close_both_at_once(situation: Situation) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(situation.caller.aclose)
        nursery.start_soon(situation.callee.aclose)


OWN_WAYS_OUT = [leave_cleanly, raise_in_the_body, be_cancelled, run_out_of_time, close_from_inside]
"""Those in which nobody but the caller does anything."""

WAYS_OUT = [*OWN_WAYS_OUT, lose_the_peer, let_the_peer_close_first, close_both_at_once]


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
            with trio.CancelScope() as outside:
                async with open_peer_connection(network=world.left) as caller:
                    await reach(stage, world, caller, callee)
                    left_at, mark, chunks = trio.current_time(), len(world.network.log), record_chunks(callee)
                    await way_out(Situation(world, caller, callee, outside))
        except Expected:
            assert way_out is raise_in_the_body
        assert outside.cancelled_caught == (way_out in (be_cancelled, run_out_of_time))
        left = what_was_sent(world, mark, left_at, trio.current_time())
        assert caller.connection_state == "closed"
        assert left.sockets_closed_last
        check_how_long(stage, way_out, left.seconds)
        check_the_goodbye(stage, way_out, left.record_types)
        if stage is Stage.OPEN and way_out in OWN_WAYS_OUT:
            arrived = trio.current_time()
            assert await callee.wait_closed() is CloseReason.REMOTE
            assert trio.current_time() - arrived <= LATENCY * 1.01
            assert chunks[-1] == (SHUTDOWN if way_out in (leave_cleanly, close_from_inside) else ABORT)


def check_how_long(stage: Stage, way_out: Callable, seconds: float) -> None:
    """Where nothing is to be acknowledged, leaving takes no time; where a peer is silent, `linger` at most."""
    match way_out:
        case _ if way_out is let_the_peer_close_first:
            assert seconds <= 1.0 + LATENCY + 1e-6
        case _ if way_out is lose_the_peer:
            assert seconds <= 2.0 + 1e-6
        case _ if stage is Stage.OPEN:
            assert seconds <= 3 * LATENCY  # the OPEN of the channel may still wait for its SACK
        case _:
            assert seconds <= LATENCY


def check_the_goodbye(stage: Stage, way_out: Callable, records: list[int]) -> None:
    """Before DTLS is up, silence; then close_notify, once; and ABORT or SHUTDOWN before it if SCTP is up."""
    if stage in (Stage.NEW, Stage.CHECKING):
        assert records == []
    elif way_out in OWN_WAYS_OUT:
        expected = {Stage.DTLS: [], Stage.SCTP: [ALERT], Stage.OPEN: [APPLICATION_DATA, ALERT]}[stage]
        assert records[-len(expected) :] == expected if expected else ALERT not in records
    if way_out is not lose_the_peer:  # where packets were lost, the goodbye is said twice
        assert records.count(ALERT) <= 1
        assert ALERT not in records[:-1]


def record_chunks(peer: PeerConnection) -> list[int]:
    """The type of the first chunk of each SCTP packet that a peer gets from now on, decrypted as it is by then."""
    types: list[int] = []
    stage = peer._core.stage
    if isinstance(stage, Secured):
        receive = WeakMethod(stage.association.receive_datagrams)  # it is to keep what follows, and not that it

        def receive_and_record(batch, now):
            types.extend(packet[12] for packet in batch)  # RFC 9260 §3.1: behind the common header
            receive()(batch, now)

        stage.association.receive_datagrams = receive_and_record
    return types


@pytest.mark.parametrize("stage", list(Stage), ids=lambda stage: stage.name.lower())
@pytest.mark.parametrize("way_out", WAYS_OUT, ids=lambda way: way.__name__)
async def test_goodbyes_leave_before_the_sockets_are_freed(
    make_world: MakeWorld, autojump_clock, stage: Stage, way_out: Callable
):
    """A1, A9, T1, T2: ABORT or SHUTDOWN, close_notify, then the socket; whoever cancels whom."""
    with nothing_stays_behind():
        for seed in range(RUNS):
            world = make_world(seed, latency=LATENCY)
            await leave(world, stage, way_out)
            assert not world.network.open_sockets


@pytest.mark.parametrize("stage", list(Stage), ids=lambda stage: stage.name.lower())
@pytest.mark.parametrize("way_out", WAYS_OUT, ids=lambda way: way.__name__)
async def test_all_that_a_connection_was_goes_with_the_last_reference_to_it(
    world: World, autojump_clock, stage: Stage, way_out: Callable
):
    """B8: in its strongest form, without the garbage collector."""
    with no_objects_wait_for_the_collector():
        await leave(world, stage, way_out)
        await trio.testing.wait_all_tasks_blocked()
