"""Signalling that comes back: one channel over many connections, in virtual time, and over real ones."""

import math
import random
import statistics
from contextlib import asynccontextmanager

import pytest
import trio

from trio_webrtc import SessionDescription, UsageError
from trio_webrtc.signaling import (
    Bye,
    Connected,
    Connecting,
    SignalingFailedError,
    Waiting,
    encode_message,
    keep_signaling_open,
    open_memory_signaling,
    open_reconnecting_signaling,
)
from trio_webrtc.signaling.channel import MAX_UNREAD_MESSAGES
from trio_webrtc.signaling.reconnecting import STABLE_AFTER

from ..surface.quiescence import nothing_stays_behind
from .server import open_server

OFFER = SessionDescription("offer", "v=0\r\n")


class VirtualServer:
    """Gives connections in memory, or refuses; `visitors` are the server's ends of them."""

    def __init__(self) -> None:
        self.takes = 0.1
        self.refusal: SignalingFailedError | None = None
        self.attempts: list[float] = []
        self._visits, self.visitors = trio.open_memory_channel(math.inf)

    @asynccontextmanager
    async def connect(self):
        self.attempts.append(trio.current_time())
        await trio.sleep(self.takes)
        if self.refusal:
            raise self.refusal
        client, server = open_memory_signaling()
        self._visits.send_nowait(server)
        async with client:
            yield client


@pytest.fixture
def server():
    return VirtualServer()


@pytest.fixture
def rng():
    print(f"seed {(seed := random.randrange(2**32))}")
    return random.Random(seed)


async def test_a_server_that_is_lost_is_come_back_to_and_messages_go_on(server, rng, autojump_clock):
    async with keep_signaling_open(server.connect, rng=rng) as signaling:
        for number in range(5):
            visitor = await server.visitors.receive()
            await signaling.send(Bye(f"to {number}"))
            assert await visitor.receive() == Bye(f"to {number}")
            await visitor.send(Bye(f"from {number}"))
            await visitor.aclose(1006)
        assert [(await signaling.receive()).reason for _ in range(5)] == [f"from {number}" for number in range(5)]
        assert (signaling.close_code, signaling.close_reason) == (None, None)


async def test_what_the_server_said_before_it_was_lost_is_received_from_every_connection(server, rng, autojump_clock):
    async with keep_signaling_open(server.connect, rng=rng) as signaling:
        for connection in range(3):
            visitor = await server.visitors.receive()
            for number in range(10):
                await visitor.send(Bye(f"{connection} {number}"))
            await visitor.aclose(1001)
        await trio.sleep(100)  # a reader who is slow
        received = [(await signaling.receive()).reason for _ in range(30)]
    assert received == [f"{connection} {number}" for connection in range(3) for number in range(10)]


async def test_a_message_waits_for_a_connection_and_is_not_sent_if_cancelled(server, rng, autojump_clock):
    server.refusal = SignalingFailedError("no", status=503)
    async with keep_signaling_open(server.connect, rng=rng) as signaling:
        with trio.move_on_after(10) as patience:
            await signaling.send(Bye("never mind"))
        assert patience.cancelled_caught
        server.refusal = None
        await signaling.send(OFFER)
        visitor = await server.visitors.receive()
        assert await visitor.receive() == OFFER


async def test_each_reconnection_is_told_to_who_negotiates(server, rng, autojump_clock):
    async with keep_signaling_open(server.connect, rng=rng) as signaling, signaling.reconnections() as reconnections:
        visitor = await server.visitors.receive()
        for count in (1, 2, 3):
            await visitor.aclose(1006)
            visitor = await server.visitors.receive()
            assert await reconnections.receive() == count
        await visitor.aclose()
        with pytest.raises(trio.EndOfChannel):
            await reconnections.receive()


async def test_each_attempt_is_told_with_what_went_wrong_and_when_the_next_is_due(server, rng, autojump_clock):
    seen = []

    async def watch(signaling):
        async for state in signaling.states():
            seen.append(state)

    server.refusal = SignalingFailedError("the wire is cut")
    async with trio.open_nursery() as nursery, keep_signaling_open(server.connect, rng=rng) as signaling:
        nursery.start_soon(watch, signaling)
        await trio.sleep(1.5)
        server.refusal = None
        visitor = await server.visitors.receive()
        await visitor.aclose(1012, "restarting")
        visitor = await server.visitors.receive()
        await visitor.aclose()
    assert seen[0] == Connecting(1)
    assert isinstance(seen[1], Waiting)
    assert (seen[1].attempt, seen[1].reason) == (1, "the wire is cut")
    assert 0.25 <= seen[1].delay <= 0.5
    assert seen[2] == Connecting(2)
    assert [state.connection for state in seen if isinstance(state, Connected)] == [1, 2]
    assert any(isinstance(state, Waiting) and "1012: restarting" in state.reason for state in seen)


async def test_delays_double_up_to_the_most_and_are_spread(server, autojump_clock):
    server.refusal = SignalingFailedError("no")
    delays = []
    for seed in range(50):
        server.attempts.clear()
        rng = random.Random(seed)
        async with keep_signaling_open(server.connect, first_delay=1, max_delay=60, rng=rng):
            await trio.sleep(1000)
        delays.append(
            [later - earlier - 0.1 for earlier, later in zip(server.attempts, server.attempts[1:], strict=False)]
        )
    for number in range(10):
        column, longest = [row[number] for row in delays], min(2**number, 60)
        assert all(longest / 2 <= delay <= longest + 1e-6 for delay in column)
        assert statistics.stdev(column) > longest / 20


async def test_delays_begin_anew_only_after_a_connection_that_lasted(server, rng, autojump_clock):
    async def lose_connections(count, after):
        for _ in range(count):
            visitor = await server.visitors.receive()
            await trio.sleep(after)
            await visitor.aclose(1006)

    async with keep_signaling_open(server.connect, first_delay=1, max_delay=64, rng=rng) as signaling:
        await lose_connections(6, after=0.1)
        await trio.testing.wait_all_tasks_blocked()
        assert signaling._states.value.delay >= 16
        await lose_connections(1, after=STABLE_AFTER + 0.1)
        await trio.testing.wait_all_tasks_blocked()
        assert signaling._states.value.delay <= 1


@pytest.mark.parametrize("outcome", ["refusal", "loss"])
async def test_the_time_that_connecting_takes_is_no_time_that_a_connection_lasted(
    outcome, server, rng, autojump_clock, nursery
):
    async def lose_connections():
        async for visitor in server.visitors:
            await visitor.aclose(1006)

    server.takes = STABLE_AFTER
    if outcome == "refusal":
        server.refusal = SignalingFailedError(f"it did not answer within {STABLE_AFTER} s")
    nursery.start_soon(lose_connections)
    async with keep_signaling_open(server.connect, first_delay=1, max_delay=64, rng=rng) as signaling:
        await trio.sleep(300)
        assert signaling._states.value.attempt > 5
    assert server.attempts[-1] - server.attempts[-2] > 16


@pytest.mark.parametrize("code", [1000, 1005, 1008, 4000])
async def test_a_server_that_says_it_is_over_is_believed(code, server, rng, autojump_clock):
    async with keep_signaling_open(server.connect, rng=rng) as signaling:
        visitor = await server.visitors.receive()
        await visitor.send(OFFER)
        await visitor.aclose(code, "over")
        assert [message async for message in signaling] == [OFFER]
        assert (signaling.close_code, signaling.close_reason) == (code, "over")
        with pytest.raises(trio.BrokenResourceError, match="over"):
            await signaling.send(OFFER)
        await trio.sleep(1000)
    assert len(server.attempts) == 1


async def test_who_waits_for_a_connection_is_told_when_there_will_be_none(server, rng, autojump_clock):
    async def send(signaling):
        with pytest.raises(trio.BrokenResourceError, match="not for you"):
            await signaling.send(OFFER)

    server.refusal = SignalingFailedError("not for you", status=401)
    async with keep_signaling_open(server.connect, rng=rng) as signaling, trio.open_nursery() as nursery:
        nursery.start_soon(send, signaling)
        with pytest.raises(trio.BrokenResourceError, match="not for you") as caught:
            await signaling.receive()
        assert caught.value.__cause__ is server.refusal
    assert len(server.attempts) == 1


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_refusal_that_passes_is_waited_out(status, server, rng, autojump_clock):
    server.refusal = SignalingFailedError("later", status=status)
    async with keep_signaling_open(server.connect, rng=rng) as signaling:
        await trio.sleep(100)
        server.refusal = None
        await signaling.send(OFFER)
    assert len(server.attempts) > 3


async def test_closing_says_goodbye_to_the_server_and_ends_whoever_waits(server, rng, autojump_clock):
    async def wait_for_a_message(signaling):
        with pytest.raises(trio.ClosedResourceError):
            await signaling.receive()

    async with trio.open_nursery() as nursery, keep_signaling_open(server.connect, rng=rng) as signaling:
        visitor = await server.visitors.receive()
        nursery.start_soon(wait_for_a_message, signaling)
        await trio.testing.wait_all_tasks_blocked()
        await signaling.aclose(4000, "tea")
        with pytest.raises(trio.ClosedResourceError):
            await signaling.send(OFFER)
    assert [message async for message in visitor] == []
    assert (visitor.close_code, visitor.close_reason) == (4000, "tea")


@pytest.mark.parametrize("moment", [0.05, 0.3, 5.0], ids=["connecting", "waiting", "connected"])
async def test_it_can_be_left_at_any_time(moment, server, rng, autojump_clock):
    if moment == 0.3:
        server.refusal = SignalingFailedError("no")
    with nothing_stays_behind():
        async with keep_signaling_open(server.connect, rng=rng):
            await trio.sleep(moment)
    attempts = len(server.attempts)
    await trio.sleep(1000)
    assert len(server.attempts) == attempts


async def test_a_reader_who_is_slow_stops_the_server(server, rng, autojump_clock):
    async with keep_signaling_open(server.connect, rng=rng) as signaling:
        visitor = await server.visitors.receive()
        with trio.move_on_after(10):
            for number in range(1000):
                await visitor.send(Bye(str(number)))
        assert number <= 3 * MAX_UNREAD_MESSAGES
        await visitor.aclose()
        assert [int(message.reason) async for message in signaling] == list(range(number))


async def test_an_exception_in_the_body_comes_out_as_itself(server, rng):
    class BodyError(Exception):
        pass

    with pytest.raises(BodyError):
        async with keep_signaling_open(server.connect, rng=rng):
            raise BodyError


async def test_delays_are_positive(server):
    with pytest.raises(UsageError, match="first_delay"):
        async with keep_signaling_open(server.connect, first_delay=0):
            pytest.fail("nothing was to be opened")


async def test_websockets_are_come_back_to_after_each_way_of_losing_one():
    endings = iter(["reset", "end_tcp", "close_and_leave", "close"])

    async def greet_and_end(visitor):
        ending = next(endings)
        await visitor.welcome()
        await visitor.say(encode_message(Bye(ending)))
        assert await visitor.hear() == encode_message(Bye("thanks"))
        code = {"close_and_leave": (1001,), "close": (1000, "over")}.get(ending, ())
        await getattr(visitor, ending)(*code)

    received = []
    with trio.fail_after(10):
        async with (
            open_server(greet_and_end) as url,
            open_reconnecting_signaling(url, first_delay=0.01, close_timeout=0.1) as signaling,
        ):
            async for message in signaling:
                received.append(message.reason)
                await signaling.send(Bye("thanks"))
            assert (signaling.close_code, signaling.close_reason) == (1000, "over")
    assert received == ["reset", "end_tcp", "close_and_leave", "close"]
