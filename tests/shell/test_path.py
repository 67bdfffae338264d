import gc
import logging
import os
import signal
import weakref

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from trio_webrtc.core.contract import Received, split_run
from trio_webrtc.shell.host import HOST_NETWORK
from trio_webrtc.shell.path import Path, open_path
from trio_webrtc.shell.port import Port
from trio_webrtc.testing import DatagramSent, VirtualNetwork

from .recording_core import GOODBYES, RecordingCore
from .sides import Stream, make_side

RUNS = 200


# The ways out.


async def leave_cleanly(side):
    async with side.open() as path:
        side.use(path)


async def raise_in_body(side):
    with pytest.raises(ValueError, match="mine"):
        async with side.open() as path:
            side.use(path)
            raise ValueError("mine")


async def be_cancelled(side):
    with trio.CancelScope() as scope:
        async with side.open() as path:
            side.use(path)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


async def time_out(side):
    with trio.move_on_after(0.5):
        async with side.open() as path:
            side.use(path)
            await trio.sleep_forever()


async def fail_beside(side):
    async def fail():
        raise ValueError("a sibling's")

    with pytest.RaisesGroup(ValueError):
        async with trio.open_nursery() as nursery, side.open() as path:
            side.use(path)
            nursery.start_soon(fail)
            await trio.sleep_forever()


async def be_closed_in_the_body(side):
    async with side.open() as path:
        side.use(path)
        await path.aclose()
        assert path.freed.is_set()


async def be_closed_from_outside(side):
    async with trio.open_nursery() as nursery, side.open() as path:
        side.use(path)
        nursery.start_soon(path.aclose)
        await path.freed.wait()


async def have_the_core_end(side):
    async with side.open() as path:
        side.use(path)
        path.tell(side.core.close, trio.current_time())
        await path.freed.wait()


async def have_the_core_end_by_a_timer(side):
    async with side.open() as path:
        side.use(path)
        side.core.timers.set("end", trio.current_time() + 1)
        side.core.handle_timeout = side.core.close
        path.touched()
        await path.freed.wait()


async def meet_a_bug(side):
    with pytest.raises(ZeroDivisionError):
        async with side.open() as path:
            side.use(path)
            side.core.bug_in = "receive_datagrams"
            side.peer.send(side.port.local_address, b"boom", None, None)
            await trio.sleep_forever()


async def have_a_task_end_the_program(side):
    async def end_the_program():
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        async with side.open() as path:
            side.use(path)
            path.start_soon(end_the_program)
            await trio.sleep(60)


async def have_a_group_with_it_out_of_a_task(side):
    async def end_the_program():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise SystemExit(3)

    with pytest.RaisesGroup(SystemExit):
        async with side.open() as path:
            side.use(path)
            path.start_soon(end_the_program)
            await trio.sleep(60)


WAYS_OUT = [
    leave_cleanly,
    raise_in_body,
    be_cancelled,
    time_out,
    fail_beside,
    be_closed_in_the_body,
    be_closed_from_outside,
    have_the_core_end,
    have_the_core_end_by_a_timer,
    meet_a_bug,
    have_a_task_end_the_program,
    have_a_group_with_it_out_of_a_task,
]


@pytest.mark.parametrize("way_out", WAYS_OUT)
async def test_goodbyes_leave_before_the_socket_is_freed(way_out, autojump_clock, caplog):
    caplog.set_level(logging.CRITICAL)
    for _ in range(RUNS):  # the order of tasks is chance
        side = make_side()
        await way_out(side)
        assert side.wire == [*GOODBYES, "socket closed"]
        assert side.core.closed


@pytest.mark.parametrize("way_out", WAYS_OUT)
async def test_nothing_is_left_behind(way_out, autojump_clock, caplog):
    caplog.set_level(logging.CRITICAL)
    before = trio.lowlevel.current_statistics().tasks_living
    side = make_side()
    await way_out(side)
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert side.network.open_sockets == [side.peer]


@pytest.mark.parametrize("way_out", WAYS_OUT)
async def test_a_full_socket_holds_nobody_longer_than_the_close_timeout(way_out, autojump_clock, caplog):
    caplog.set_level(logging.CRITICAL)
    side = make_side()
    side.host.blocked = True
    began = trio.current_time()
    await way_out(side)
    assert trio.current_time() - began <= 1.0 + 1.0  # what the body took, and the timeout
    assert side.wire == ["socket closed"]


@pytest.mark.parametrize("way_out", WAYS_OUT)
async def test_goodbyes_wait_for_room_as_long_as_they_may(way_out, autojump_clock, caplog, nursery):
    caplog.set_level(logging.CRITICAL)
    side = make_side()
    side.host.blocked = True

    async def make_room():
        await trio.sleep(1.4)
        side.host.blocked = False

    nursery.start_soon(make_room)
    with side_close_timeout(side, 5.0):
        await way_out(side)
    assert side.wire == [*GOODBYES, "socket closed"]


class side_close_timeout:
    def __init__(self, side, close_timeout):
        self.side, self.close_timeout = side, close_timeout

    def __enter__(self):
        opener = self.side.open
        self.side.open = lambda: opener(self.close_timeout)

    def __exit__(self, *_):
        del self.side.open


async def test_whatever_is_cancelled_when_goodbyes_leave(autojump_clock):
    """Cancel at the k-th turn of the event loop, for each k there is."""
    for turns in range(12):
        side = make_side()
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel_in_time(scope=scope, turns=turns):
                    for _ in range(turns):
                        await trio.lowlevel.cancel_shielded_checkpoint()
                    scope.cancel()

                nursery.start_soon(cancel_in_time)
                async with side.open() as path:
                    side.use(path)
                    for _ in range(3):
                        await trio.lowlevel.checkpoint()
        assert side.wire in ([*GOODBYES, "socket closed"], [])  # the latter: cancelled before there was a socket
        assert side.network.open_sockets == [side.peer]


# Closing.


async def test_closing_is_idempotent(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        await path.aclose()
        await path.aclose()
    await path.aclose()
    assert side.wire == [*GOODBYES, "socket closed"]


async def test_of_many_who_close_at_once_none_returns_before_the_socket_is_freed(side, autojump_clock):
    side.host.blocked = True
    returned = []

    async def close(path):
        await path.aclose()
        returned.append(side.wire)

    async with trio.open_nursery() as nursery, side.open() as path:
        side.use(path)
        for _ in range(3):
            nursery.start_soon(close, path)
        await trio.sleep(0.5)
        assert not returned
    assert returned == [["socket closed"]] * 3


async def test_goodbyes_do_not_wait_for_a_port_that_somebody_closes(side, autojump_clock):
    side.host.blocked = True
    async with trio.open_nursery() as nursery, side.open() as path:
        side.use(path)
        nursery.start_soon(path.aclose)
        await trio.sleep(0.1)
        side.port.close()
        with trio.fail_after(0.1):
            await path.aclose()
    assert side.wire == ["socket closed"]


async def test_a_cancelled_closer_still_sends_the_goodbyes_before_it_goes(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        with trio.CancelScope() as scope:
            scope.cancel()
            await path.aclose()
        assert side.wire == [*GOODBYES, "socket closed"]


async def test_a_cancelled_second_closer_waits_for_the_first(side, autojump_clock):
    side.host.blocked = True
    async with trio.open_nursery() as nursery, side.open() as path:
        side.use(path)
        nursery.start_soon(path.aclose)
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await path.aclose()
        assert path.freed.is_set()


async def test_a_task_of_the_path_may_close_it(side, autojump_clock):
    async def close(path, order):
        await path.aclose()
        order.append("closed by its own task")

    async with side.open() as path:
        side.use(path)
        order = []
        path.start_soon(close, path, order)
        await path.freed.wait()
        await wait_all_tasks_blocked()
    assert order == ["closed by its own task"]
    assert side.wire == [*GOODBYES, "socket closed"]


async def test_a_task_of_the_path_does_not_wait_for_itself(side, autojump_clock):
    side.host.blocked = True

    async def close_too(path):
        with trio.CancelScope(shield=True):
            await trio.sleep(0.1)
            await path.aclose()

    async with side.open() as path:
        side.use(path)
        path.start_soon(close_too, path)
        with trio.fail_after(1.01):
            await path.aclose()


async def test_closing_the_path_does_not_cancel_the_body(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        await path.aclose()
        await trio.sleep(5)
        finished = True
    assert finished


async def test_a_path_whose_scope_is_cancelled_ends_when_its_body_does_and_not_before(side, autojump_clock):
    with trio.CancelScope() as scope:
        async with side.open() as path:
            side.use(path)
            scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                side.say(b"last words")
    assert side.wire == [b"last words", *GOODBYES, "socket closed"]


async def test_tasks_of_the_path_are_cancelled_when_it_ends(side, autojump_clock):
    cancelled = []

    async def work():
        try:
            await trio.sleep_forever()
        finally:
            cancelled.append(True)

    async with side.open() as path:
        side.use(path)
        path.start_soon(work)
        await path.aclose()
    assert cancelled == [True]


async def test_nothing_happens_to_a_path_that_has_ended(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        port = side.port
        await path.aclose()
        side.say(b"too late")
        path.tell(side.core.say, b"too late")
        path.use_room()
        path.retire(port.via())
        path.receive([])
        with pytest.raises(trio.ClosedResourceError):
            path.start_soon(trio.sleep_forever)
        late = side.host.open_udp(("10.0.0.1", 0))
        with pytest.raises(trio.ClosedResourceError):
            path.add_socket(late)
    assert side.network.open_sockets == [side.peer]
    assert side.wire == [*GOODBYES, "socket closed", "socket closed"]


async def test_after_the_end_no_timer_fires_and_no_packet_leaves(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        side.core.timers.set("hourly", trio.current_time() + 3600)
        path.touched()
    side.core.timers.set("again", trio.current_time() + 1)
    await trio.sleep(36_000)
    assert side.core.fired == []
    assert side.wire == [*GOODBYES, "socket closed"]


async def test_what_cannot_be_freed_keeps_nothing_else_from_being_freed(side, autojump_clock, caplog):
    class Stubborn:
        def close(self):
            raise ZeroDivisionError("a bug in a belonging")

    with pytest.raises(ZeroDivisionError):
        async with side.open() as path:
            path.own(Stubborn())
            side.use(path)
            path.own(Stubborn())
    assert path.freed.is_set()
    assert side.wire == [*GOODBYES, "socket closed"]
    assert len(caplog.records) == 1


async def test_what_ends_the_program_while_it_is_freed_keeps_nothing_else_from_being_freed(side, autojump_clock):
    class Fatal:
        def close(self):
            raise SystemExit(3)

    with pytest.raises(SystemExit):
        async with side.open() as path:
            path.own(Fatal())
            side.use(path)
            path.own(Fatal())
    assert path.freed.is_set()
    assert side.wire == [*GOODBYES, "socket closed"]


async def test_what_becomes_the_paths_when_it_has_ended_is_freed_at_once(side, autojump_clock):
    async with side.open() as path:
        await path.aclose()
        late = Stream(has_room=True)
        path.own(late)
        assert late.is_closed


# Bugs.


@pytest.mark.parametrize("place", ["receive_datagrams", "handle_timeout", "poll_transmits", "deliver"])
async def test_a_bug_is_raised_from_the_peers_scope_and_logged_once(place, side, autojump_clock, caplog):
    with pytest.raises(ZeroDivisionError, match=place):
        async with side.open() as path:
            side.use(path)
            side.core.timers.set("soon", trio.current_time() + 0.1)
            path.touched()
            side.core.bug_in = place
            side.peer.send(side.port.local_address, b"trigger", None, None)
            await trio.sleep_forever()
    assert len(caplog.records) == 1
    assert side.network.open_sockets == [side.peer]


async def test_a_bug_met_by_the_pump_ends_the_path_whatever_the_body_does(side, autojump_clock, caplog):
    with pytest.raises(ZeroDivisionError, match="next_timeout"):
        async with side.open() as path:
            side.use(path)
            side.core.timers.set("soon", trio.current_time() + 0.1)
            path.touched()
            await wait_all_tasks_blocked()
            side.core.bug_in = "next_timeout"
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            assert path.freed.is_set()
    assert side.wire == [*GOODBYES, "socket closed"]
    assert len(caplog.records) == 1


async def test_a_bug_in_a_task_of_the_path_ends_the_path_whatever_the_body_does(side, autojump_clock):
    async def fail():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        async with side.open() as path:
            side.use(path)
            path.start_soon(fail)
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            assert path.freed.is_set()
    assert side.wire == [*GOODBYES, "socket closed"]


async def test_a_task_that_ends_the_program_ends_the_path_at_once_whatever_the_body_does(side, autojump_clock, caplog):
    async def end_the_program():
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        async with side.open() as path:
            side.use(path)
            path.start_soon(end_the_program)
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            assert path.freed.is_set()
    assert side.wire == [*GOODBYES, "socket closed"]
    assert caplog.records == []


async def test_a_bug_met_while_a_connection_ends_is_raised_from_the_peers_scope(side, autojump_clock, caplog):
    async def finish():
        raise ZeroDivisionError("a bug in a connection")

    connection = Stream(has_room=True)
    connection.finish = finish
    with pytest.raises(ZeroDivisionError):
        async with side.open() as path:
            path.adopt(connection)
            await path.aclose()  # whose caller may be somebody else, with other peers to close
            await path.aclose()
    assert connection.is_closed
    assert len(caplog.records) == 1


async def test_after_a_bug_the_core_gets_no_more_input(side, autojump_clock, caplog):
    with pytest.raises(ZeroDivisionError):
        async with side.open() as path:
            side.use(path)
            side.core.bug_in = "receive_datagrams"
            path.receive([])
            side.core.bug_in = None
            path.receive([Received(side.port.via(), ("10.0.0.99", 9), b"more", None)])
            path.tell(side.core.say, b"never said while there is a bug")
            assert side.core.received == []
            assert side.wire == []
            await trio.sleep_forever()
    assert side.wire[-3:] == [*GOODBYES, "socket closed"]


async def test_a_bug_met_while_closing_is_raised_too_and_the_socket_freed(side, autojump_clock, caplog):
    side.core.bug_in = "close"
    with pytest.raises(ZeroDivisionError, match="close"):
        async with side.open() as path:
            side.use(path)
    assert side.wire == ["socket closed"]
    assert len(caplog.records) == 1


async def test_a_bug_and_the_bodys_own_exception_come_out_together(side, autojump_clock, caplog):
    side.core.bug_in = "close"
    with pytest.RaisesGroup(ZeroDivisionError, ValueError):
        async with side.open() as path:
            side.use(path)
            raise ValueError("mine")


class Switchboard:
    """Tells the peers of one port apart by what they are called."""

    def __init__(self):
        self.paths = {}

    def receive(self, batch):
        for received in batch:
            for data in split_run(received.data, received.segment_size):
                self.paths[data[:1]].receive([received._replace(data=data, segment_size=None)])

    def retire(self, via):
        for path in self.paths.values():
            path.retire(via)


async def test_a_bug_in_one_peers_core_leaves_the_other_peers_of_the_port_unharmed(autojump_clock, nursery, caplog):
    network = VirtualNetwork(seed=1)
    server, client = network.add_host("10.0.0.1"), network.add_host("10.0.0.2")
    board = Switchboard()
    port = Port(server.open_udp(("10.0.0.1", 5000)), board)
    nursery.start_soon(port.serve)
    socket = client.open_udp(("10.0.0.2", 0))
    good, bad = RecordingCore(), RecordingCore()
    bad.bug_in = "receive_datagrams"

    async def be_bad():
        with pytest.raises(ZeroDivisionError):
            async with open_path(Path(bad, deliver=bad.deliver, close_timeout=1.0)) as path:
                bad.connect(port.via(), socket.local_address)
                board.paths[b"b"] = path
                await trio.sleep_forever()

    async with open_path(Path(good, deliver=good.deliver, close_timeout=1.0)) as path:
        good.connect(port.via(), socket.local_address)
        board.paths[b"g"] = path
        async with trio.open_nursery() as bad_nursery:
            bad_nursery.start_soon(be_bad)
            await wait_all_tasks_blocked()
            for word in (b"good 1", b"bad 1", b"bad 2", b"good 2"):
                socket.send(("10.0.0.1", 5000), word, None, None)
            await trio.sleep(1)
        assert good.received == [b"good 1", b"good 2"]
        good.say(b"still here")
        path.touched()
        await trio.sleep(1)
    assert len(caplog.records) == 1
    port.close()
    nursery.cancel_scope.cancel()
    datagrams = [entry.data for entry in network.log if isinstance(entry, DatagramSent) and entry.to[0] == "10.0.0.2"]
    assert datagrams[-3:] == [b"still here", *GOODBYES]


async def test_paths_that_wait_for_one_port_take_turns(autojump_clock, nursery):
    network = VirtualNetwork(seed=1)
    server, client = network.add_host("10.0.0.1"), network.add_host("10.0.0.2")
    port = Port(server.open_udp(("10.0.0.1", 5000)), Switchboard())
    nursery.start_soon(port.serve)
    socket = client.open_udp(("10.0.0.2", 9))
    cores = [RecordingCore(goodbyes=()) for _ in range(2)]
    server.bandwidth = 1e6
    async with (
        open_path(Path(cores[0], deliver=cores[0].deliver, close_timeout=1.0)) as one,
        open_path(Path(cores[1], deliver=cores[1].deliver, close_timeout=1.0)) as other,
    ):
        for name, core, path in ((b"a", cores[0], one), (b"b", cores[1], other)):
            core.connect(port.via(), socket.local_address)
            for _ in range(100):
                core.say(name * 60_000, 1200)
            path.touched()
        await trio.sleep(5)
        sent = [entry.data[:1] for entry in network.log if entry.to == socket.local_address]
        assert 0.4 < sent.count(b"a") / len(sent) < 0.6
        await trio.sleep(100)
        sent = [entry.data[:1] for entry in network.log if entry.to == socket.local_address]
        assert sent.count(b"a") == sent.count(b"b") == 5000
    port.close()
    nursery.cancel_scope.cancel()


# On the kernel.


async def test_no_descriptor_is_left_behind():
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a count, of what changes while it is read
    for _ in range(20):
        core = RecordingCore()
        with trio.move_on_after(0.001):
            async with open_path(Path(core, deliver=core.deliver, close_timeout=1.0)) as path:
                for host in ("127.0.0.1", "::1"):
                    port = path.add_socket(HOST_NETWORK.open_udp((host, 0)))
                    core.connect(port.via(), port.local_address)
                core.say(b"to myself")
                path.touched()
                await trio.sleep_forever()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


async def test_a_path_that_has_ended_is_freed_without_the_garbage_collector(side, autojump_clock):
    gc.collect()
    gc.disable()
    try:
        async with side.open() as path:
            side.use(path)
            await trio.sleep(1)
        reference = weakref.ref(path)
        side.path = None
        del path
        assert reference() is None
    finally:
        gc.enable()


@pytest.mark.parametrize("moment", range(1, 31))
def test_an_interrupt_inside_the_core_waits_until_the_core_is_left_and_the_goodbyes_leave(moment):
    async def main():
        side = make_side()
        calls, left_whole = 0, 0

        def count_and_interrupt():
            nonlocal calls, left_whole
            calls += 1
            if calls == moment:
                signal.raise_signal(signal.SIGINT)
            left_whole += 1

        side.core.on_call = count_and_interrupt
        try:
            async with side.open() as path:
                side.use(path)
                while calls < moment:
                    side.core.timers.set("now", trio.current_time())
                    side.say(b"busy")
                    await trio.lowlevel.checkpoint()
        finally:
            assert left_whole == calls
            assert side.wire[-3:] == [*GOODBYES, "socket closed"]
            assert side.network.open_sockets == [side.peer]
            assert calls >= moment

    with pytest.raises(KeyboardInterrupt):
        trio.run(main)


@pytest.mark.parametrize("is_first", [True, False])
def test_an_interrupt_while_goodbyes_wait_for_room_does_not_keep_them_from_leaving(is_first):
    """Trio hands it to the main task as soon as that waits for something, be it under a shield."""

    @trio.lowlevel.enable_ki_protection
    async def interrupt_and_make_room(host):
        await trio.sleep(0.1)
        signal.raise_signal(signal.SIGINT)
        await trio.sleep(0.1)
        host.blocked = False

    async def main():
        side = make_side()
        side.host.blocked = True
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(interrupt_and_make_room, side.host)
                async with side.open() as path:
                    side.use(path)
                    if not is_first:
                        nursery.start_soon(path.aclose)
                        await path.freed.wait()
        finally:
            assert side.wire == [*GOODBYES, "socket closed"]

    with pytest.RaisesGroup(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))
