"""What was sent before leaving arrives, what arrived before the end can be read, and closing is harmless anywhere."""

import gc
import logging

import pytest
import trio
import trio.testing

from trio_webrtc import CloseReason, Configuration, UsageError, open_peer_connection

from .conftest import RUNS, MakeWorld, World, negotiate
from .quiescence import nothing_stays_behind


@pytest.mark.parametrize("seed", range(RUNS))
async def test_what_was_sent_before_leaving_arrives_within_the_linger(make_world: MakeWorld, autojump_clock, seed: int):
    world = make_world(seed, loss=0.1)
    messages = [bytes([number]) * 3000 for number in range(30)]
    async with open_peer_connection(network=world.right) as callee:
        async with open_peer_connection(Configuration(linger=60.0), network=world.left) as caller:
            near = caller.create_data_channel("short")
            await negotiate(caller, callee)
            for message in messages:
                await near.send(message)
        far = await callee.incoming_data_channels.receive()
        assert [await far.receive() for _ in messages] == messages
        # The goodbye itself is best effort on a lossy link; whether it was heard or not, nothing else follows.
        with pytest.raises((trio.EndOfChannel, trio.BrokenResourceError)):
            await far.receive()


async def test_a_goodbye_is_said_twice_where_packets_are_lost(make_world: MakeWorld, autojump_clock):
    heard = 0
    for seed in range(RUNS):
        world = make_world(seed, loss=0.2)
        async with open_peer_connection(network=world.right) as callee:
            async with open_peer_connection(Configuration(linger=60.0), network=world.left) as caller:
                near = caller.create_data_channel("short")
                await negotiate(caller, callee)
                for number in range(20):
                    await near.send(bytes([number]) * 2000)
            with trio.move_on_after(1):
                heard += await callee.wait_closed() is CloseReason.REMOTE
    assert heard / RUNS > 0.85  # once would be 0.8 at best for the close_notify alone


async def test_ten_megabytes_arrive_before_the_channel_that_carried_them_is_closed(
    make_world: MakeWorld, autojump_clock
):
    """D3: `send(); close()` loses no tail."""
    world = make_world(3, loss=0.05, latency=0.005)
    block = bytes(range(256)) * 400
    async with world.meet() as (_, _, near, far):

        async def send_all():
            for _ in range(100):
                await near.send(block)
            await near.aclose()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all)
            assert [message async for message in far] == [block] * 100
        await near.wait_closed()


async def test_data_and_the_goodbye_in_one_batch_are_data_then_the_end(world: World, autojump_clock):
    """D1: the end never overtakes the data, also where both are read at once."""
    async with world.meet() as (caller, callee, near, far):
        near.send_nowait("one")
        near.send_nowait("two")
        await trio.testing.wait_all_tasks_blocked()  # now both are on their way
        await caller._path.aclose()  # and the goodbye is right behind them
        assert await callee.wait_closed() is CloseReason.REMOTE
        assert [message async for message in far] == ["one", "two"]


async def test_a_connection_may_be_closed_from_within_its_own_handlers_twice_and_by_two_at_once(
    world: World, autojump_clock
):
    """A3, A11, T9: closing is re-entrant."""
    with nothing_stays_behind():
        await _close_from_everywhere(world)


async def _close_from_everywhere(world: World) -> None:
    async with world.meet() as (caller, callee, near, far):

        async def handle(peer, channel):
            async with channel:
                async for _ in channel:
                    await peer.aclose()
                    await peer.aclose()

        async def handle_until_closed(peer, channel):
            with pytest.raises(trio.ClosedResourceError):
                await handle(peer, channel)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(handle_until_closed, callee, far)
            await near.send("close")
            assert await caller.wait_closed() is CloseReason.REMOTE
            nursery.start_soon(callee.aclose)
            nursery.start_soon(callee.aclose)


async def test_a_reader_that_waits_is_told_and_not_cancelled(world: World, autojump_clock):
    """C10: who waits for data does not keep anybody from closing."""
    async with world.meet() as (caller, _, near, _):

        async def read():
            with pytest.raises(trio.ClosedResourceError):
                await near.receive()
            await trio.sleep(0)  # still alive

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            await caller.aclose()


async def test_after_the_end_there_is_silence_for_ever(world: World, autojump_clock):
    """A10: no task, timer or packet after `aclose()`."""
    async with world.meet() as (caller, callee, _, _):
        await caller.aclose()
        await callee.wait_closed()
        count = len(world.network.log)
        await trio.sleep(600)
        assert len(world.network.log) == count
        assert caller._core.next_timeout() is None


async def test_a_peer_that_makes_no_room_delays_the_end_by_close_timeout_at_most(world: World, autojump_clock):
    """B17, T5: a bounded shield."""
    async with world.meet(Configuration(close_timeout=0.5, linger=0.25)) as (caller, _, near, _):
        world.left.blocked = True
        near.send_nowait("stuck")
        start = trio.current_time()
        await caller.aclose()
        assert trio.current_time() - start <= 0.75 + 1e-6


async def test_the_bodys_exception_comes_out_as_itself_from_nested_scopes(world: World, autojump_clock):
    """T6: the goodbye's trouble never replaces the error that the program made."""
    error = ValueError("mine")
    with pytest.raises(ValueError, match="mine") as raised:
        async with world.meet() as (_, _, _, _):
            world.left.blocked = world.right.blocked = True
            raise error
    assert raised.value is error


async def test_a_bug_in_one_peers_core_comes_out_of_that_peers_scope_alone(
    world: World, autojump_clock, monkeypatch, caplog
):
    """T4: the other peer of the same program notices a goodbye, and nothing else."""

    def bug(*_: object) -> None:
        raise ZeroDivisionError("injected")

    async with open_peer_connection(network=world.right) as callee:
        with pytest.raises(ZeroDivisionError, match="injected"):
            async with open_peer_connection(network=world.left) as caller:
                near = caller.create_data_channel("chat")
                await negotiate(caller, callee)
                await near.wait_open()
                monkeypatch.setattr(caller._core, "handle_timeout", bug)
                await trio.sleep(60)
        assert await callee.wait_closed() is CloseReason.REMOTE
    assert [record.levelno for record in caplog.records].count(logging.ERROR) == 1


async def test_a_bug_in_a_command_is_raised_to_who_gives_it_and_the_connection_goes_on(
    world: World, autojump_clock, monkeypatch, caplog
):
    def bug(*_: object) -> None:
        raise ZeroDivisionError("injected")

    async with world.meet() as (caller, _, near, far):
        monkeypatch.setattr(caller._core, "restart_ice", bug)
        with pytest.raises(ZeroDivisionError, match="injected"):
            caller.restart_ice()
        await near.send("still here")
        assert await far.receive() == "still here"
    assert caplog.records == []


@pytest.mark.parametrize("fatal", [SystemExit, pytest.fail.Exception])
async def test_what_is_to_end_the_program_or_a_test_comes_out_of_a_task_of_the_connection_at_once(
    world: World, autojump_clock, caplog, fatal: type[BaseException]
):
    """T4: such as the user's own code may raise where a connection calls it."""

    def filter_interfaces(_: object) -> bool:
        raise fatal("from the filter")

    with pytest.raises(fatal, match="from the filter"):
        async with open_peer_connection(Configuration(interface_filter=filter_interfaces), network=world.left) as peer:
            peer.create_data_channel("chat")
            await peer.set_local_description()
            await trio.sleep(60)
    assert trio.current_time() == 0
    assert peer.connection_state == "closed"
    assert not world.network.open_sockets
    assert caplog.records == []


async def test_an_unread_channel_that_holds_the_window_shut_is_named_once(world: World, autojump_clock, caplog):
    async with world.meet() as (_, _, near, far):
        with trio.move_on_after(20):
            while True:
                await near.send(b"x" * 50_000)
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warnings) == 1
        assert "'chat'" in warnings[0]
        assert far.ready_state == "open"


async def test_channels_beyond_what_may_wait_are_refused(world: World, autojump_clock, caplog):
    async with world.meet(right=Configuration(max_incoming_channels=2)) as (caller, callee, _, _):
        channels = [caller.create_data_channel(str(number)) for number in range(4)]
        await trio.sleep(1)
        assert [channel.ready_state for channel in channels] == ["open", "open", "closed", "closed"]
        assert (await callee.incoming_data_channels.receive()).label == "0"


async def test_there_are_no_more_channels_than_configured_until_one_has_closed(world: World, autojump_clock):
    async with world.meet(left=Configuration(max_channels=1030), right=Configuration(max_channels=2)) as peers:
        caller, callee, _, _ = peers
        ours = callee.create_data_channel("ours")
        await ours.wait_open()
        with pytest.raises(UsageError, match=r"2 data channels \(max_channels\); close one"):
            callee.create_data_channel("one too many of ours")
        refused = caller.create_data_channel("one too many of theirs")
        await refused.wait_closed()
        await ours.aclose()
        await ours.wait_closed()
        await caller.create_data_channel("in its place").wait_open()
        assert (await callee.incoming_data_channels.receive()).label == "in its place"


async def test_without_configuration_a_peer_has_a_thousand_channels_and_no_more(world: World, autojump_clock):
    patient = Configuration(max_incoming_channels=2000)
    async with world.meet(Configuration(max_channels=2000), patient) as (caller, callee, _, _):
        channels = [caller.create_data_channel("x") for _ in range(1100)]
        await trio.sleep(10)
        assert [channel.ready_state for channel in channels].count("open") == 1023  # and one that was there before
        assert callee.connection_state == "connected"


async def test_two_thousand_channels_come_and_go_and_nothing_grows(world: World, autojump_clock):
    async with world.meet() as (caller, callee, _, _):
        sizes = []
        for number in range(2000):
            near = caller.create_data_channel("x")
            far = await callee.incoming_data_channels.receive()
            await far.aclose()
            await near.wait_closed()
            await far.wait_closed()
            del near, far
            if number % 500 == 499:
                gc.collect()
                modules = [type(found).__module__ for found in gc.get_objects()]
                sizes.append(sum(name.startswith(("trio_webrtc.core", "trio_webrtc.shell")) for name in modules))
        assert len(set(sizes)) == 1


@pytest.mark.parametrize("pause", [1.0, 20.0, 60.0])
async def test_delivery_goes_on_at_once_when_a_slow_reader_reads_again(world: World, autojump_clock, pause: float):
    async with world.meet() as (_, _, near, far):

        async def send_all():
            for _ in range(150):
                await near.send(b"x" * 20_000)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_all)
            await trio.sleep(pause)
            start = trio.current_time()
            for _ in range(150):
                await far.receive()
        assert trio.current_time() - start < 0.6
