import errno

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_webrtc.shell.sending import MAX_RUNS_PER_FLUSH

from .recording_core import GOODBYES
from .sides import Stream

FAR = ("10.0.0.99", 9)


async def test_a_flush_sends_a_bounded_number_of_runs_and_then_lets_others_go_first(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        await wait_all_tasks_blocked()
        for _ in range(2 * MAX_RUNS_PER_FLUSH + 1):
            side.core.say(b"run")
        path.touched()
        assert len(side.wire) == MAX_RUNS_PER_FLUSH
        await wait_all_tasks_blocked()
        assert len(side.wire) == 2 * MAX_RUNS_PER_FLUSH + 1


async def test_what_is_refused_stays_first_in_line(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        side.host.blocked = True
        for word in (b"one", b"two", b"three"):
            side.say(word)
            await wait_all_tasks_blocked()
        assert side.wire == []
        side.host.blocked = False
        side.say(b"four")  # does not overtake
        await wait_all_tasks_blocked()
        assert side.wire == [b"one", b"two", b"three", b"four"]


async def test_of_a_run_taken_in_part_only_the_rest_is_sent_again(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        side.host.bandwidth = 10_000.0  # slow enough to fill the socket's buffer
        words = [bytes([number]) * 1000 for number in range(50)]
        for _ in range(8):
            side.say(b"".join(words), 1000)
        await wait_all_tasks_blocked()
        assert 200 < len(side.wire) < 300
        await trio.sleep(60)
        assert side.wire == words * 8


# Several ways.


@pytest.fixture
async def stalled(side, autojump_clock):
    """A path whose data wait for room on a connection that has none, beside one that has."""
    full, spare = Stream(has_room=False), Stream(has_room=True)
    async with side.open() as path:
        path.adopt(full)
        path.adopt(spare)
        side.core.connect(full, FAR)
        side.core.say(b"waits")
        path.touched()
        assert full.waiting == [path]
        yield side, path, full, spare


async def test_checks_go_on_while_data_wait_for_room(stalled):
    """A peer that has lost its connection without a word has to get an answer on another one."""
    side, path, full, spare = stalled
    for word in (b"one", b"two"):
        side.core.check(full, FAR, b"is lost, for want of room")
        side.core.check(spare, FAR, word)
        path.receive([])
    side.core.say_to(spare, FAR, b"behind what waits")
    path.touched()
    await wait_all_tasks_blocked()
    assert spare.taken == [b"one", b"two"]
    assert full.waiting == [path], "the way is in use still"
    full.has_room = True
    full.waiting.pop().use_room()
    await wait_all_tasks_blocked()
    assert full.taken == [b"waits"]
    assert spare.taken == [b"one", b"two", b"behind what waits"]


async def test_data_that_wait_for_a_way_that_is_not_used_any_more_are_given_up(stalled):
    """They will be sent again, by the way that is used now."""
    side, path, full, spare = stalled
    path.tell(side.core.connect, spare, FAR)
    side.core.say(b"next")
    path.touched()
    await wait_all_tasks_blocked()
    assert spare.taken == [b"next"]
    assert full.waiting == []
    full.has_room = True
    path.use_room()
    assert full.taken == []


async def test_a_check_that_finds_no_room_keeps_no_data_and_no_goodbyes_waiting(side, autojump_clock):
    """It is not what the way is kept for; it will be repeated."""
    full, spare = Stream(has_room=False, may_wait=True), Stream(has_room=True)
    async with side.open() as path:
        path.adopt(full)
        path.adopt(spare)
        side.core.connect(spare, FAR)
        side.core.check(full, FAR, b"is lost, for want of room")
        side.core.say(b"data")
        path.touched()
        assert spare.taken == [b"data"]
        assert full.waiting == []
        side.core.check(full, FAR, b"is lost as well")
    assert spare.taken == [b"data", *GOODBYES]


async def test_what_waits_for_a_connection_that_is_released_keeps_nothing_waiting(stalled):
    side, path, full, spare = stalled
    side.core.say_to(spare, FAR, b"behind what waits")
    path.release(full)
    await wait_all_tasks_blocked()
    assert full.is_closed
    assert full.waiting == []
    assert spare.taken == [b"behind what waits"]


async def test_the_oldest_connection_that_is_not_in_use_is_given_up(stalled):
    side, path, full, spare = stalled
    later = Stream(has_room=True)
    path.adopt(later)
    assert path.give_up_a_connection()
    assert (full.is_closed, spare.is_closed, later.is_closed) == (False, True, False)
    assert path.give_up_a_connection()
    assert side.core.retired == [spare, later]
    assert not path.give_up_a_connection()
    assert path.connections == 1


# Errors.


async def test_a_send_error_is_that_pairs_trouble_and_the_next_datagram_goes_out(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        via = side.port.via()
        side.core.say_to(via, ("fd00::1", 9), b"wrong family")
        side.say(b"next")
        assert [(error[0], error[1]) for error in side.core.send_errors] == [(via, ("fd00::1", 9))]
        assert side.core.lowered == side.core.retired == []
        assert side.wire == [b"next"]
        assert side.core.delivered == 2  # what comes of the error is delivered, too


async def test_what_comes_of_a_failed_send_is_sent_too(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        side.core.report_send_error = lambda *_: side.core.say(b"another way")
        side.core.say_to(side.port.via(), ("fd00::1", 9), b"wrong family")
        path.touched()
        await wait_all_tasks_blocked()
        assert side.wire == [b"another way"]


async def test_what_is_too_large_lowers_the_mtu_of_that_way(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        side.say(bytes(5000))
        via, to = side.port.via(), side.peer.local_address
        assert side.core.lowered == [(via, to)]
        assert [error[:2] for error in side.core.send_errors] == [(via, to)]


async def test_a_lost_socket_retires_its_way_when_it_is_written_to(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        side.port.socket.close()
        side.say(b"by a lost socket")
        assert side.core.retired == [side.port.via()]
        assert side.core.send_errors == []
        assert side.core.delivered == 2


async def test_a_lost_socket_retires_its_way_when_it_is_read_from(side, autojump_clock):
    def receive():
        raise OSError(errno.ENODEV, "no such device")

    async with side.open() as path:
        side.use(path)
        side.port.socket.receive = receive
        side.peer.send(side.port.local_address, b"wake up", None, None)
        await trio.sleep(1)
        assert side.core.retired == [side.port.via()]
        side.say(b"it may still be written to")
    assert side.wire == [b"it may still be written to", *GOODBYES, "socket closed"]
