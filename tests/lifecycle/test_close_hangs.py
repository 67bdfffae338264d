"""Nothing makes ending take longer than it may: not load, not bugs, not whoever does not answer."""

import re
from pathlib import Path

import pytest
import trio
import trio.testing

import trio_webrtc
from trio_webrtc import CloseReason, Configuration, IceServer, PeerConnection, open_peer_connection
from trio_webrtc.core.sctp.states import CookieEchoed, CookieWait, Established, ShutdownReceived

from ..surface.conftest import RUNS, MakeWorld, World, negotiate
from ..surface.quiescence import nothing_stays_behind
from .checkpoints import cancel_at_step, library_steps

LATENCY = 0.02


@pytest.mark.parametrize("seed", range(RUNS))
async def test_closing_under_full_load_with_unread_messages_is_quick(make_world: MakeWorld, autojump_clock, seed: int):
    """C1: every channel sends as fast as it can, both ways, nobody reads, and both sides close."""
    world = make_world(seed, latency=LATENCY, jitter=0.01, loss=0.02)
    with nothing_stays_behind():
        await close_under_load(world, 0.1 + seed / 50)


async def close_under_load(world: World, moment: float) -> None:
    async def flood(channel) -> None:
        with pytest.raises((trio.ClosedResourceError, trio.BrokenResourceError)):
            while True:
                await channel.send(b"x" * 5000)

    async with world.meet() as (caller, callee, near, far):
        channels = [near, far]
        for number in range(3):
            channels.append(caller.create_data_channel(str(number), ordered=False))
            channels.append(await callee.incoming_data_channels.receive())
        async with trio.open_nursery() as nursery:
            for channel in channels:
                nursery.start_soon(flood, channel)
            await trio.sleep(moment)
            with trio.fail_after(Configuration().linger + Configuration().close_timeout):
                await caller.aclose()


@pytest.mark.parametrize(
    "verb", ["receive_datagrams", "handle_timeout", "poll_transmits", "next_timeout", "poll_event"]
)
async def test_a_bug_in_any_verb_of_a_core_comes_out_once_and_closing_still_returns(
    world: World, autojump_clock, monkeypatch, caplog, verb: str
):
    """C2: a background task that died of an exception does not keep close() waiting."""

    def bug(*_: object) -> None:
        raise ZeroDivisionError("injected")

    async with open_peer_connection(network=world.right) as callee:
        began = trio.current_time()
        with pytest.raises(ZeroDivisionError, match="injected"), trio.fail_after(60):
            async with open_peer_connection(network=world.left) as caller:
                near = caller.create_data_channel("chat")
                await negotiate(caller, callee)
                await near.wait_open()
                began = trio.current_time()
                monkeypatch.setattr(caller._core, verb, bug)
                near.send_nowait("?")
                await caller.wait_closed()
        assert trio.current_time() - began < 30
        assert len(caplog.records) == 1
    assert not world.network.open_sockets


async def test_a_connection_cancelled_before_it_has_begun_is_nothing(world: World, autojump_clock):
    """C3: cancelled from the start, and at the first step of each task that it starts."""
    with nothing_stays_behind():
        for chosen in range(8):
            with cancel_at_step(library_steps(), chosen):
                await begin(world)
            with trio.CancelScope() as scope:
                scope.cancel()
                await begin(world)
            assert not world.network.open_sockets


async def begin(world: World) -> None:
    async with open_peer_connection(network=world.left) as peer:
        peer.create_data_channel("chat")
        await peer.set_local_description()
        await peer.wait_gathering_complete()


@pytest.mark.parametrize("state", [CookieWait, CookieEchoed, Established, ShutdownReceived])
async def test_closing_in_any_state_of_the_association_is_quick(world: World, autojump_clock, state: type):
    """C4: also while SCTP is connecting, and while it waits for what the peer has yet to acknowledge."""
    with nothing_stays_behind():
        await close_in_state(world, state)


async def close_in_state(world: World, state: type) -> None:
    async with (
        open_peer_connection(network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
    ):
        near = caller.create_data_channel("chat")
        await negotiate(caller, callee)
        if state is ShutdownReceived:
            await near.wait_open()
            far = await callee.incoming_data_channels.receive()
            far.send_nowait(b"x" * 200_000)
            await trio.testing.wait_all_tasks_blocked()
            caller._core.stage.association.shutdown(trio.current_time())
            caller._path.touched()
        leaver = callee if state is ShutdownReceived else caller
        while not isinstance(association_state(leaver), state):
            await trio.sleep(LATENCY / 20)
        began = trio.current_time()
        with trio.CancelScope() as impatience:  # without lingering: how long the goodbye itself takes
            impatience.cancel()
            await leaver.aclose()
        assert trio.current_time() - began <= LATENCY
        other = caller if state is ShutdownReceived else callee
        with trio.fail_after(1):
            await other.wait_closed()


def association_state(peer: PeerConnection) -> object:
    association = getattr(peer._core.stage, "association", None)
    return None if association is None else association.state


async def test_an_idle_connection_ends_at_once_and_hardly_wakes_before(world: World, autojump_clock):
    """C5, C12, E1: no timer is waited for at the end, and none spins before it, nor after the peer has gone."""
    async with world.meet() as (caller, callee, _, _):
        await trio.sleep(60)
        with cancel_at_step(library_steps(), None) as idle:
            await trio.sleep(600)
        assert idle.steps < 600 * 6  # consent checks both ways every 5 s, and their answers, leave room for little else
        began = trio.current_time()
        await caller.aclose()
        assert trio.current_time() - began < 0.1
        assert await callee.wait_closed() is CloseReason.REMOTE
        await trio.sleep(1)
        with cancel_at_step(library_steps(), None) as silent:
            await trio.sleep(600)
        assert silent.steps == 0, (silent.latest, list(world.network.log)[-3:])


async def test_a_look_up_that_never_ends_does_not_delay_the_end(world: World, autojump_clock):
    """C6: who waits for somebody else is cancelled, and not waited for."""
    world.network.lookup_delay = 1e9
    configuration = Configuration(ice_servers=[IceServer("stun:nowhere.example")])
    async with open_peer_connection(configuration, network=world.left) as peer:
        peer.create_data_channel("chat")
        await peer.set_local_description()
        await trio.sleep(1)
        assert peer.ice_gathering_state == "gathering"
        began = trio.current_time()
    assert trio.current_time() == began


async def test_closing_does_not_wait_for_readers_of_a_peer_that_is_dead(world: World, autojump_clock):
    """C10: reads are pending on every channel, and nothing will ever come."""

    async def read(channel) -> None:
        with pytest.raises(trio.ClosedResourceError):
            await channel.receive()

    async with world.meet() as (caller, _, near, _), trio.open_nursery() as nursery:
        channels = [near, *(caller.create_data_channel(str(number)) for number in range(10))]
        for channel in channels:
            nursery.start_soon(read, channel)
        await trio.sleep(1)
        world.network.cut(world.left, world.right)
        began = trio.current_time()
        await caller.aclose()
        assert trio.current_time() - began < 0.1


async def test_a_slow_consumer_holds_up_its_own_connection_only(world: World, autojump_clock):
    """T8: each connection of a process has its own window; one that nobody reads stalls no other."""
    async with world.meet() as (_, _, near, _), world.meet() as (_, _, other, far):
        with trio.move_on_after(30):
            while True:
                await near.send(b"x" * 50_000)
        began = trio.current_time()
        for number in range(100):
            await other.send(str(number))
            assert await far.receive() == str(number)
        assert trio.current_time() - began < 100 * LATENCY * 1.1


PACED = {
    "shell/accepting.py",  # nobody tells when there are descriptors again
    "shell/port.py",  # nor when a socket that is readable, and has nothing to read, has something
    "shell/tcp_sockets.py",  # nor when the kernel has memory again
    "shell/udp.py",  # the same
    "signaling/reconnecting.py",  # nor when a lost server is back
    "signaling/websocket.py",  # pings come at intervals
}
"""Files that wait for time to pass because time is what they wait for; not so a network in memory."""


def test_nothing_in_the_library_sleeps_to_make_things_right():
    """C11: whoever waits names what it waits for. A sleep would hide that something has no owner."""
    folder = Path(trio_webrtc.__file__).parent
    sleepers = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*.py")
        if re.search(r"\bsleep(_until)?\(", path.read_text(encoding="utf-8"))
    }
    assert {path for path in sleepers if not path.startswith("testing/")} <= PACED
