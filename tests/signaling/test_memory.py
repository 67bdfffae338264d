"""Signalling in memory: two ends, of which either may be closed first."""

import pytest
import trio

from trio_webrtc import SessionDescription, UsageError
from trio_webrtc.signaling import Bye, open_memory_signaling
from trio_webrtc.signaling.channel import MAX_UNREAD_MESSAGES

OFFER = SessionDescription("offer", "v=0\r\n")


async def test_what_goes_into_one_end_comes_out_of_the_other():
    left, right = open_memory_signaling()
    await left.send(OFFER)
    await right.send(Bye("no"))
    assert await right.receive() == OFFER
    assert await left.receive() == Bye("no")
    assert (left.close_code, left.close_reason, left.remote_address) == (None, None, None)


async def test_what_was_sent_before_the_end_is_received_before_the_end():
    left, right = open_memory_signaling()
    async with left:
        await left.send(OFFER)
        await left.send(Bye())
    assert [message async for message in right] == [OFFER, Bye()]
    assert (right.close_code, right.close_reason) == (1000, "")


async def test_the_end_carries_a_code_and_a_reason():
    left, right = open_memory_signaling()
    await left.aclose(4000, "tea")
    await right.aclose(4001, "too late to say anything")
    assert (right.close_code, right.close_reason) == (4000, "tea")


async def test_a_closed_end_refuses_and_so_does_the_other():
    left, right = open_memory_signaling()
    await left.aclose()
    await left.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await left.send(OFFER)
    with pytest.raises(trio.ClosedResourceError):
        await left.receive()
    with pytest.raises(trio.BrokenResourceError):
        await right.send(OFFER)


async def test_what_is_no_message_is_refused():
    left, _ = open_memory_signaling()
    with pytest.raises(UsageError, match="not dict"):
        await left.send({"type": "offer"})


async def test_a_reader_who_is_slow_stops_the_sender(autojump_clock):
    left, right = open_memory_signaling()
    with trio.move_on_after(1):
        for number in range(1000):
            await left.send(Bye(str(number)))
    assert number == MAX_UNREAD_MESSAGES
    await left.aclose()
    assert [message.reason async for message in right] == [str(n) for n in range(MAX_UNREAD_MESSAGES)]


async def test_nobody_can_signal_again_what_never_broke():
    left, _ = open_memory_signaling()
    assert [count async for count in left.reconnections()] == []
