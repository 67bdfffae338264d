"""Counting the frames that bring next to nothing, in whatever pieces they arrive."""

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from trio_webrtc.signaling.metering import (
    IDLE_FRAMES_PER_SECOND,
    MAX_IDLE_FRAMES_AT_ONCE,
    MIN_FRAGMENT_SIZE,
    ClientStream,
    FrameMeter,
)

PING = Frame(Opcode.PING, b"").serialize(mask=True)

CONTROL = st.builds(Frame, st.sampled_from([Opcode.PING, Opcode.PONG, Opcode.CLOSE]), st.binary(max_size=125))
DATA = st.builds(
    Frame,
    st.sampled_from([Opcode.TEXT, Opcode.BINARY, Opcode.CONT]),
    st.sampled_from([0, 1, 125, 126, 127, 128, 65_535, 65_536]).map(bytes),
    st.booleans(),
)


def is_idle(frame: Frame) -> bool:
    return frame.opcode >= Opcode.CLOSE or not (frame.fin or len(frame.data) >= MIN_FRAGMENT_SIZE)


@given(frames=st.lists(CONTROL | DATA, max_size=8), mask=st.booleans(), data=st.data())
def test_frames_are_counted_however_they_are_cut(frames, mask, data):
    wire = b"".join(frame.serialize(mask=mask) for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=10)))
    meter = FrameMeter()
    counted = sum(meter.feed(wire[a:b]) for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True))
    assert counted == sum(map(is_idle, frames))


@given(st.binary(max_size=500))
def test_junk_is_counted_somehow(junk):
    meter = FrameMeter()
    assert 0 <= meter.feed(junk) <= len(junk)


async def test_who_keeps_his_pace_is_heard_for_ever(autojump_clock):
    server, client = trio.testing.memory_stream_pair()
    stream = ClientStream(server, head=b"head")
    assert await stream.receive_some() == b"head"
    for _ in range(2000):
        await client.send_all(PING)
        assert await stream.receive_some() == PING
        await trio.sleep(1 / IDLE_FRAMES_PER_SECOND)
    assert not stream.flooded.is_set()


async def test_who_floods_is_heard_no_more_until_somebody_closes(autojump_clock, nursery):
    server, client = trio.testing.memory_stream_pair()
    stream = ClientStream(server, head=b"")
    await client.send_all(PING * MAX_IDLE_FRAMES_AT_ONCE)
    assert await stream.receive_some() == PING * MAX_IDLE_FRAMES_AT_ONCE
    await client.send_all(PING * 10)
    with trio.move_on_after(60) as patience:
        await stream.receive_some()
    assert patience.cancelled_caught
    assert stream.flooded.is_set()

    async def go_on():
        for _ in range(10):
            await client.send_all(b"x" * 100_000)
        await client.aclose()

    nursery.start_soon(go_on)
    assert await stream.receive_some() == b""
    with pytest.raises(trio.ClosedResourceError):
        await stream.aclose()
        await stream.receive_some()


async def test_messages_are_not_limited(autojump_clock):
    server, client = trio.testing.memory_stream_pair()
    stream = ClientStream(server, head=b"")
    text = Frame(Opcode.TEXT, b"{}").serialize(mask=True)
    for _ in range(10 * MAX_IDLE_FRAMES_AT_ONCE):
        await client.send_all(text)
        assert await stream.receive_some() == text
