import trio
from trio.testing import wait_all_tasks_blocked

from trio_webrtc.core.contract import Received
from trio_webrtc.shell.alarm import MAX_LOOKS_PER_FLUSH, MAX_PATIENCE_PER_FLUSH
from trio_webrtc.shell.path import Path, open_path

from .recording_core import RecordingCore


async def test_what_a_command_has_to_say_leaves_at_once(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        side.say(b"hello")
        assert side.wire == [b"hello"]


async def test_the_rest_of_one_turn_leaves_together(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        await wait_all_tasks_blocked()
        for word in (b"one", b"two", b"three"):
            side.say(word)
        assert side.wire == [b"one"]
        assert side.core.delivered == 1
        await wait_all_tasks_blocked()
        assert side.wire == [b"one", b"two", b"three"]
        assert side.core.delivered == 2
        side.say(b"four")
        assert side.wire[-1] == b"four"


async def test_after_a_lone_word_nobody_looks_whether_others_follow(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        await wait_all_tasks_blocked()
        side.say(b"hello")
        side.core.bug_in = "poll_transmits"
        await trio.sleep(1)
        side.core.bug_in = None
        assert side.wire == [b"hello"]


async def test_an_answer_does_not_wait_though_something_was_said_just_before(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        await wait_all_tasks_blocked()
        side.say(b"word")
        path.receive([Received(side.port.via(), side.peer.local_address, b"question")])
        side.say(b"answer")
        assert side.wire == [b"word", b"answer"]


async def test_an_answer_leaves_with_what_was_to_leave_anyway(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        await wait_all_tasks_blocked()
        side.say(b"one")
        side.say(b"two")
        path.receive([Received(side.port.via(), side.peer.local_address, b"question")])
        assert side.wire == [b"one", b"two"]
        side.say(b"answer")
        side.say(b"more")
        assert side.wire == [b"one", b"two"]
        await wait_all_tasks_blocked()
        assert side.wire == [b"one", b"two", b"answer", b"more"]


async def longest_wait(side, path, after_turn=lambda: None):
    """Speak once in every turn of the event loop; tell for how many turns what was said has waited at most."""
    side.use(path)
    await wait_all_tasks_blocked()
    wait = longest = 0
    for _ in range(200):
        flushes = side.core.delivered
        side.say(b"word")
        after_turn()
        await trio.lowlevel.checkpoint()
        wait = wait + 1 if side.core.delivered == flushes else 0
        longest = max(longest, wait)
    return longest


async def test_what_is_said_turn_after_turn_leaves_together_but_not_too_much_of_it(side, autojump_clock):
    async with side.open() as path:
        assert MAX_LOOKS_PER_FLUSH < await longest_wait(side, path) <= 2 * (MAX_LOOKS_PER_FLUSH + 1)


async def test_where_turns_of_the_event_loop_are_long_nothing_waits_for_many_of_them(side, autojump_clock):
    async with side.open() as path:
        assert await longest_wait(side, path, lambda: autojump_clock.jump(MAX_PATIENCE_PER_FLUSH)) <= 4


async def test_timers_fire_though_the_socket_has_no_room(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        side.host.blocked = True
        side.say(b"refused")
        began = trio.current_time()
        side.core.timers.set("soon", began + 2)
        path.touched()
        await trio.sleep(3)
        assert side.core.fired == [began + 2]


async def test_an_earlier_timer_wakes_the_pump_earlier_and_a_later_one_does_not_fire_early(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        began = trio.current_time()
        side.core.timers.set("a", began + 10)
        path.touched()
        await trio.sleep(1)
        side.core.timers.set("a", began + 2)
        path.touched()
        await trio.sleep(0.5)
        side.core.timers.set("a", began + 5)
        path.touched()
        await trio.sleep(20)
        assert side.core.fired == [began + 5]


async def test_a_path_on_which_a_timer_is_put_off_again_and_again_does_not_wake_for_it(side, autojump_clock):
    async with side.open() as path:
        side.use(path)
        looks = 0

        def count() -> None:
            nonlocal looks
            looks += 1

        for _ in range(20):
            side.core.timers.set("silence", trio.current_time() + 8)
            path.touched()
            side.core.on_call = count
            await trio.sleep(5)
            side.core.on_call = lambda: None
        assert looks == 0
        await trio.sleep(10)
        assert len(side.core.fired) == 1


async def test_a_timer_due_at_the_clocks_very_beginning_fires(autojump_clock):
    core = RecordingCore()
    core.timers.set("zero", 0.0)
    async with open_path(Path(core, deliver=core.deliver, close_timeout=1.0)):
        await wait_all_tasks_blocked()
    assert len(core.fired) == 1
