"""Those who wait for room: they get it in the order of their coming, each once, and nobody waits for nothing."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_webrtc.shell.waiting_line import WaitingLine


class Socket:
    """Has room when it is told to."""

    def __init__(self) -> None:
        self.room = 0
        self.waits = 0
        self.failure: Exception | None = None
        self._news = trio.Event()

    def give(self, room: int) -> None:
        self.room += room
        self._news.set()

    async def make_room(self) -> None:
        self.waits += 1
        while not self.room and self.failure is None:
            self._news = trio.Event()
            await self._news.wait()
        if self.failure is not None:
            raise self.failure
        await trio.lowlevel.checkpoint()


class Sender:
    """Has some things to send, each of which takes one room."""

    def __init__(self, name: str, line: WaitingLine, socket: Socket, log: list[str], *, things: int = 1) -> None:
        self.name, self.line, self.socket, self.log, self.things = name, line, socket, log, things

    def use_room(self) -> None:
        while self.things:
            if not self.socket.room:
                self.line.join(self)
                return
            self.socket.room -= 1
            self.things -= 1
            self.log.append(self.name)


@pytest.fixture
async def socket() -> Socket:
    return Socket()


@pytest.fixture
async def line() -> WaitingLine:
    return WaitingLine()


@pytest.fixture
async def log() -> list[str]:
    return []


def tasks() -> int:
    return trio.lowlevel.current_statistics().tasks_living


async def test_room_is_given_in_the_order_of_coming_and_who_wants_more_stands_behind(line, socket, log, nursery):
    with line.served(nursery, socket.make_room):
        for name, things in (("first", 3), ("second", 1), ("third", 2)):
            line.join(Sender(name, line, socket, log, things=things))
        socket.give(1)
        await wait_all_tasks_blocked()
        assert log == ["first"]
        socket.give(10)
        await wait_all_tasks_blocked()
    assert log == ["first", "second", "third", "third", "first", "first"]


async def test_who_leaves_gets_no_turn_and_who_joins_twice_gets_one(line, socket, log, nursery):
    staying, leaving = (Sender(name, line, socket, log) for name in ("staying", "leaving"))
    with line.served(nursery, socket.make_room):
        for sender in (leaving, staying, staying):
            line.join(sender)
        line.leave(leaving)
        line.leave(leaving)
        socket.give(10)
        await wait_all_tasks_blocked()
    assert log == ["staying"]


async def test_the_writer_exists_only_while_it_is_called_for(line, socket, log, nursery):
    with line.served(nursery, socket.make_room):
        await wait_all_tasks_blocked()
        idle = tasks()
        line.join(Sender("first", line, socket, log))
        line.join(Sender("second", line, socket, log))
        assert tasks() == idle + 1
        socket.give(2)
        await wait_all_tasks_blocked()
        assert (tasks(), socket.waits) == (idle, 1)
        line.call_writer()
        assert tasks() == idle + 1
        await wait_all_tasks_blocked()
        socket.give(1)
        await wait_all_tasks_blocked()
        assert (tasks(), socket.waits) == (idle, 2)


async def test_a_call_while_room_is_being_given_is_not_lost(line, socket, nursery):
    class Caller:
        def use_room(self) -> None:
            line.call_writer()

    with line.served(nursery, socket.make_room):
        line.join(Caller())
        socket.give(1)
        await wait_all_tasks_blocked()
    assert socket.waits == 2


async def test_who_comes_before_the_line_is_served_waits_for_that(line, socket, log, nursery):
    line.join(Sender("early", line, socket, log))
    socket.give(1)
    await wait_all_tasks_blocked()
    assert log == []
    with line.served(nursery, socket.make_room):
        await wait_all_tasks_blocked()
    assert log == ["early"]
    before = tasks()
    line.join(Sender("late", line, socket, log))
    assert tasks() == before


@pytest.mark.parametrize("failure", [OSError("lost"), trio.ClosedResourceError()], ids=repr)
async def test_where_there_will_be_no_room_the_writer_ends_quietly(line, socket, log, nursery, failure):
    with line.served(nursery, socket.make_room):
        await wait_all_tasks_blocked()
        idle = tasks()
        line.join(Sender("anybody", line, socket, log))
        socket.failure = failure
        socket.give(0)
        await wait_all_tasks_blocked()
        assert (tasks(), log) == (idle, [])


async def test_who_is_dismissed_gets_no_turn(line, socket, log, nursery):
    with line.served(nursery, socket.make_room):
        line.join(Sender("anybody", line, socket, log))
        line.dismiss()
        socket.give(1)
        await wait_all_tasks_blocked()
    assert log == []
