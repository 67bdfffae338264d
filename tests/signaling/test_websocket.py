"""One WebSocket as signalling: what it carries, what it puts up with, and how either side ends it."""

import json
import random
import re
from contextlib import suppress

import pytest
import trio
from websockets.exceptions import InvalidState
from websockets.frames import CloseCode

from trio_webrtc import IceCandidate, PeerError, SessionDescription, UsageError
from trio_webrtc.signaling import (
    Bye,
    InvalidMessageError,
    decode_message,
    encode_message,
    open_memory_signaling,
    open_reconnecting_signaling,
    open_websocket_signaling,
)
from trio_webrtc.signaling.channel import MAX_UNREAD_MESSAGES
from trio_webrtc.signaling.websocket import MAX_UNREAD_BYTES, MAX_UNSENT_MESSAGES

from .conftest import RUNS
from .server import Visitor, open_server

OFFER = SessionDescription("offer", "v=0\r\n")
CANDIDATE = IceCandidate("candidate:1 1 udp 2113937151 192.0.2.1 54400 typ host", "0", 0, "EsAw")


async def echo(visitor: Visitor) -> None:
    await visitor.welcome()
    try:
        while True:
            await visitor.say(await visitor.hear())
    except EOFError:
        await visitor.stream.aclose()


async def stay_silent(visitor: Visitor) -> None:
    """Take part in the handshake, and then in nothing, as one whose network is gone."""
    await visitor.welcome()
    await trio.sleep_forever()


async def test_messages_go_both_ways():
    async with open_server(echo) as url, open_websocket_signaling(url) as signaling:
        for message in (OFFER, CANDIDATE, Bye("tschüss")):
            await signaling.send(message)
            assert await signaling.receive() == message
        host, port = signaling.remote_address
        assert url == f"ws://{host}:{port}/"
        assert (signaling.close_code, signaling.close_reason) == (None, None)


# -- sending -----------------------------------------------------------------------------------------------------


async def test_messages_of_many_tasks_arrive_whole_and_in_the_order_of_each_also_if_some_are_cancelled():
    rng = random.Random(seed := random.randrange(2**32))
    print(f"seed {seed}")
    heard, sent, all_heard = [], [], trio.Event()

    async def listen(visitor):
        await visitor.welcome()
        try:
            while True:
                heard.append(decode_message(await visitor.hear()).reason)
                if rng.random() < 0.1:
                    await trio.sleep(0.001)  # so that the queues are full now and then
        except EOFError:
            await visitor.stream.aclose()
            all_heard.set()

    async def talk(signaling, name):
        for number in range(40):
            message = f"{name} {number} {'x' * rng.randrange(20_000)}"
            with trio.move_on_after(rng.choice([0, 0.0005, 0.001, 1])) as patience:
                await signaling.send(Bye(message))
            if not patience.cancelled_caught:
                sent.append(message)

    async with open_server(listen) as url, open_websocket_signaling(url, close_timeout=10) as signaling:
        async with trio.open_nursery() as nursery:
            for name in range(20):
                nursery.start_soon(talk, signaling, name)
        await signaling.aclose()
        await all_heard.wait()
        assert sorted(heard) == sorted(sent)
        for name in range(20):
            mine = re.compile(f"{name} ")
            assert [text for text in heard if mine.match(text)] == [text for text in sent if mine.match(text)]


async def test_send_waits_for_a_server_that_does_not_read_and_sends_nothing_if_cancelled():
    async with open_server(stay_silent) as url, open_websocket_signaling(url, close_timeout=0.01) as signaling:
        accepted = 0
        with trio.move_on_after(0.2):
            while True:
                await signaling.send(Bye("x" * 100_000))
                accepted += 1
        assert accepted >= MAX_UNSENT_MESSAGES
        assert len(signaling._outbox) == MAX_UNSENT_MESSAGES


async def test_what_is_no_message_is_the_callers_mistake_and_changes_nothing():
    async with open_server(echo) as url, open_websocket_signaling(url) as signaling:
        with pytest.raises(UsageError, match="not str"):
            await signaling.send("v=0")
        await signaling.send(OFFER)
        assert await signaling.receive() == OFFER


# -- receiving ---------------------------------------------------------------------------------------------------


async def test_a_cancelled_receive_loses_nothing():
    rng = random.Random(seed := random.randrange(2**32))
    print(f"seed {seed}")

    async def count(visitor):
        await visitor.welcome()
        for number in range(200):
            await visitor.say(encode_message(Bye(str(number))))
        await visitor.close()

    received = []
    async with open_server(count) as url, open_websocket_signaling(url) as signaling:
        with pytest.raises(trio.EndOfChannel):
            while True:
                with trio.move_on_after(rng.choice([0, 0.0001, 1])):
                    received.append((await signaling.receive()).reason)
    assert received == [str(number) for number in range(200)]


async def test_a_slow_reader_stops_the_server_and_is_not_taken_for_a_lost_one():
    count = 10 * MAX_UNREAD_MESSAGES
    progress = []

    async def talk(visitor):
        await visitor.welcome()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(visitor.read_to_the_end)  # it answers pings meanwhile
            for number in range(count):
                await visitor.say(encode_message(Bye(f"{number} {'x' * 30_000}")))
                progress.append(number)
            visitor.protocol.send_close(4000, "that is all")
            await visitor.flush()
        await visitor.stream.aclose()

    async with (
        open_server(talk) as url,
        open_websocket_signaling(url, ping_interval=0.02, ping_timeout=0.1) as signaling,
    ):
        await trio.sleep(0.5)  # five times the patience
        assert len(progress) < count
        assert signaling._unread_bytes < 2 * 1024 * 1024
        assert [int(message.reason.split()[0]) async for message in signaling] == list(range(count))
        assert (signaling.close_code, signaling.close_reason) == (4000, "that is all")


async def test_what_nobody_receives_is_counted_in_bytes():
    async def talk(visitor):
        await visitor.welcome()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(visitor.read_to_the_end)
            with suppress(InvalidState):  # the client has closed
                for _ in range(20):
                    await visitor.say(encode_message(Bye("😀" * 50_000)))

    async with open_server(talk) as url, open_websocket_signaling(url, close_timeout=0.1) as signaling:
        await trio.sleep(0.5)
        held = sum(len(message.reason.encode()) for message, _ in signaling._inbox)
        assert MAX_UNREAD_BYTES - 200_000 < held < MAX_UNREAD_BYTES + 200_000


@pytest.mark.parametrize(
    ("wrong", "close_code"),
    [("v=0", 1007), ('{"type":"hello"}', 1008), (f'{{"bye":"{"ψ" * 200_000}"}}', 1009), (b"\x00", 1003)],
    ids=["no JSON", "no message", "too large", "binary"],
)
async def test_a_wrong_message_is_answered_with_a_goodbye_and_told_after_those_before_it(wrong, close_code):
    heard = []

    async def say_something_wrong(visitor):
        await visitor.welcome()
        visitor.write(encode_message(OFFER))
        if isinstance(wrong, bytes):
            visitor.protocol.send_binary(wrong)
        else:
            visitor.write(wrong)
        visitor.write(encode_message(OFFER))
        await visitor.flush()
        heard.append(decode_message(await visitor.hear()))
        heard.append(await visitor.hear_close())
        await visitor.stream.aclose()

    with trio.fail_after(2):
        async with open_server(say_something_wrong) as url, open_websocket_signaling(url) as signaling:
            await trio.sleep(0.05)  # a reader who is slow
            assert await signaling.receive() == OFFER
            with pytest.raises(trio.BrokenResourceError) as caught:
                await signaling.receive()
            reason = str(caught.value.__cause__)
            assert isinstance(caught.value.__cause__, InvalidMessageError)
            assert (signaling.close_code, signaling.close_reason) == (close_code, reason)
            with pytest.raises(trio.BrokenResourceError):
                await signaling.send(OFFER)
    assert heard == [Bye(reason), (close_code, reason)]


@pytest.mark.parametrize("open_signaling", [open_websocket_signaling, open_reconnecting_signaling])
async def test_what_makes_an_error_longer_than_a_message_may_be_does_not_end_the_scope(open_signaling):
    async def say_something_wrong(visitor):
        await visitor.welcome()
        await visitor.say(json.dumps({"type": "\\" * 120_000}))  # which quoting makes twice as long
        assert "the type of a description" in decode_message(await visitor.hear()).reason
        heard.append(await visitor.hear_close())
        await visitor.stream.aclose()
        heard_all.set()

    heard, heard_all = [], trio.Event()
    with trio.fail_after(5):
        async with open_server(say_something_wrong) as url, open_signaling(url, close_timeout=0.2):
            await heard_all.wait()
    assert heard[0][0] == 1008


async def test_a_message_far_too_large_ends_the_connection_after_those_before_it():
    heard, count = [], MAX_UNREAD_MESSAGES + 5

    async def flood(visitor):
        await visitor.welcome()
        await visitor.say(*[encode_message(OFFER)] * count, "x" * 1_000_000, encode_message(OFFER))
        heard.append(await visitor.hear_close())
        await visitor.stream.aclose()

    with trio.fail_after(2):
        async with open_server(flood) as url, open_websocket_signaling(url) as signaling:
            await trio.sleep(0.05)
            assert [message async for message in signaling] == [OFFER] * count
            assert signaling.close_code == 1009
    assert heard[0][0] == CloseCode.MESSAGE_TOO_BIG


@pytest.mark.parametrize(
    ("frame", "close_code"),
    [
        (b"\xf1\x00", 1002),
        (b"\x83\x00", 1002),
        (b"\x81\x80abcd", 1002),
        (b"\x81\x01\xff", 1007),
        (b"\x88\x01\x00", 1002),
    ],
    ids=["reserved bits", "unknown opcode", "masked by a server", "no UTF-8", "half a close code"],
)
async def test_a_frame_that_breaks_the_protocol_ends_the_connection_after_what_came_before(frame, close_code):
    async def break_the_protocol(visitor):
        await visitor.welcome()
        await visitor.say(encode_message(OFFER))
        await visitor.stream.send_all(frame)
        await visitor.read_to_the_end()

    with trio.fail_after(2):
        async with (
            open_server(break_the_protocol) as url,
            open_websocket_signaling(url, close_timeout=0.1) as signaling,
        ):
            assert [message async for message in signaling] == [OFFER]
            assert signaling.close_code == close_code


# -- a server that is lost ---------------------------------------------------------------------------------------


async def test_a_server_that_falls_silent_is_noticed_by_the_ping_that_it_does_not_answer():
    async with (
        open_server(stay_silent) as url,
        open_websocket_signaling(url, ping_interval=0.05, ping_timeout=0.1) as signaling,
    ):
        await signaling.send(OFFER)
        with trio.fail_after(2), pytest.raises(trio.BrokenResourceError, match="no ping") as caught:
            await signaling.receive()
        assert isinstance(caught.value.__cause__, PeerError)
        assert signaling.close_code == 1006
        with pytest.raises(trio.BrokenResourceError, match="no ping"):
            await signaling.send(OFFER)


async def test_a_server_that_does_not_read_is_noticed_too_while_much_waits_to_be_sent():
    async with (
        open_server(stay_silent) as url,
        open_websocket_signaling(url, ping_interval=0.05, ping_timeout=0.1) as signaling,
    ):
        with trio.fail_after(2), pytest.raises(trio.BrokenResourceError, match="no ping"):
            while True:
                await signaling.send(Bye("x" * 100_000))


async def test_a_server_that_answers_pings_is_kept():
    async def answer(visitor):
        await visitor.welcome()
        await visitor.read_to_the_end()

    async with (
        open_server(answer) as url,
        open_websocket_signaling(url, ping_interval=0.01, ping_timeout=0.1) as signaling,
    ):
        with trio.move_on_after(0.5) as patience:
            await signaling.receive()
        assert patience.cancelled_caught


async def test_a_server_that_sends_is_kept_though_it_answers_no_ping():
    async def talk(visitor):
        await visitor.welcome()
        for _ in range(20):
            await visitor.say(encode_message(OFFER))
            await trio.sleep(0.03)
        await visitor.close()

    async with (
        open_server(talk) as url,
        open_websocket_signaling(url, ping_interval=0.02, ping_timeout=0.3) as signaling,
    ):
        assert [message async for message in signaling] == [OFFER] * 20
        assert signaling.close_code == 1000


@pytest.mark.parametrize("reset", [False, True])
async def test_leaving_does_not_wait_for_a_server_that_said_goodbye_and_keeps_the_connection(reset):
    """C9, the client's half: also if the connection is lost just after that goodbye."""
    for _ in range(RUNS // 10):

        async def say_goodbye(visitor):
            await visitor.welcome()
            visitor.protocol.send_close(4000, "bye")
            await visitor.flush()
            if reset:
                await visitor.reset()  # the client may find its own close frame refused
            else:
                await trio.sleep_forever()

        with trio.fail_after(2):
            async with open_server(say_goodbye) as url, open_websocket_signaling(url, close_timeout=0.05) as signaling:
                with pytest.raises(trio.EndOfChannel):
                    await signaling.receive()
                assert (signaling.close_code, signaling.close_reason) == (4000, "bye")


# -- leaving -----------------------------------------------------------------------------------------------------


class BodyError(Exception):
    """What a program raised."""


async def leave_cleanly(scope):
    pass


async def be_cancelled(scope):
    scope.cancel()
    await trio.sleep_forever()


async def be_cancelled_in_a_nursery(scope):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        scope.cancel()


async def raise_an_error(scope):
    raise BodyError


@pytest.mark.parametrize(
    ("leave", "close_code"),
    [(leave_cleanly, 1000), (be_cancelled, 1001), (be_cancelled_in_a_nursery, 1001), (raise_an_error, 1001)],
)
async def test_the_server_gets_all_that_was_sent_and_a_goodbye_however_the_scope_is_left(leave, close_code):
    heard = []
    done = trio.Event()

    async def listen(visitor):
        await visitor.welcome()
        heard.extend([await visitor.hear() for _ in range(50)])
        heard.append(await visitor.hear_close())
        await visitor.stream.aclose()
        done.set()

    async with open_server(listen) as url:
        with suppress(BodyError), trio.CancelScope() as scope:
            async with open_websocket_signaling(url) as signaling:
                for _ in range(50):
                    await signaling.send(OFFER)
                await leave(scope)
        with trio.fail_after(2):
            await done.wait()
    assert heard == [encode_message(OFFER)] * 50 + [(close_code, "")]


@pytest.mark.parametrize(
    ("code", "reason"), [(70_000, ""), (5000, ""), (999, ""), (-1, ""), ("1000", ""), (1000, "\ud800")]
)
async def test_a_goodbye_that_cannot_be_said_is_the_callers_mistake_and_changes_nothing(code, reason):
    async with (
        open_server(echo) as url,
        open_websocket_signaling(url) as one,
        open_reconnecting_signaling(url) as many,
        open_memory_signaling()[0] as near,
    ):
        for signaling in (one, many, near):
            with pytest.raises(UsageError, match=r"goodbye|close code"):
                await signaling.aclose(code, reason)
            await signaling.send(OFFER)
            assert signaling.close_code is None


async def test_closing_ends_whoever_waits_and_whoever_comes_later():
    async with open_server(stay_silent) as url, open_websocket_signaling(url, close_timeout=0.05) as signaling:

        async def wait_for_a_message():
            with pytest.raises(trio.ClosedResourceError):
                await signaling.receive()

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait_for_a_message)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(signaling.aclose, 4000, "tea")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(signaling.aclose)
        for operation in (signaling.receive, lambda: signaling.send(OFFER)):
            with pytest.raises(trio.ClosedResourceError):
                await operation()
        assert (signaling.close_code, signaling.close_reason) == (4000, "tea")


async def test_leaving_takes_no_longer_than_it_may_when_the_server_does_not_read(tls):
    for context in (None, tls):
        async with open_server(stay_silent, context and context.server) as url:
            async with open_websocket_signaling(
                url, ssl_context=context and context.client, close_timeout=0.2
            ) as signaling:
                with trio.move_on_after(0.1):
                    while True:
                        await signaling.send(Bye("x" * 100_000))
                begun = trio.current_time()
            assert 0.15 < trio.current_time() - begun < 1
