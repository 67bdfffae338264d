"""The stream under a WebSocket: sending never fails, and the end is told to who reads, after all that came before."""

import pytest
import trio

from trio_webrtc.signaling.transport import LastingStream


class LostStream(trio.abc.Stream):
    """A connection that was reset when some bytes had arrived."""

    def __init__(self, *unread: bytes) -> None:
        self._unread = list(unread)
        self.closed = False

    async def send_all(self, data):
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError("reset")

    async def wait_send_all_might_not_block(self):
        await trio.lowlevel.checkpoint()
        raise trio.BrokenResourceError("reset")

    async def receive_some(self, max_bytes=None):
        await trio.lowlevel.checkpoint()
        if not self._unread:
            raise trio.BrokenResourceError("reset")
        return self._unread.pop(0)

    async def aclose(self):
        self.closed = True
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("notice", [lambda stream: stream.send_all(b"x"), LastingStream.wait_send_all_might_not_block])
async def test_what_had_arrived_is_read_also_when_sending_has_failed(notice):
    stream = LastingStream(LostStream(b"one", b"two"))
    assert stream.loss is None
    await notice(stream)
    assert isinstance(stream.loss, trio.BrokenResourceError)
    await stream.send_all(b"into the void")
    assert [await stream.receive_some(), await stream.receive_some(100)] == [b"one", b"two"]
    assert not stream.ended.is_set()
    assert [await stream.receive_some(), await stream.receive_some()] == [b"", b""]
    assert stream.ended.is_set()


async def test_a_reset_is_an_end_like_any_other_and_stops_sending():
    stream = LastingStream(LostStream())
    assert await stream.receive_some() == b""
    assert stream.ended.is_set()
    assert isinstance(stream.loss, trio.BrokenResourceError)


async def test_a_stream_that_is_whole_is_left_as_it_is():
    near, far = trio.testing.memory_stream_pair()
    async with LastingStream(near) as stream, far:
        await stream.wait_send_all_might_not_block()
        await stream.send_all(b"ping")
        assert await far.receive_some() == b"ping"
        await far.send_all(b"pong")
        assert await stream.receive_some() == b"pong"
        assert (stream.loss, stream.ended.is_set()) == (None, False)
        await far.aclose()
        assert await stream.receive_some() == b""
        assert (stream.loss, stream.ended.is_set()) == (None, True)


async def test_closing_closes_what_is_below_and_is_an_end():
    lost = LostStream()
    stream = LastingStream(lost)
    await stream.aclose()
    assert lost.closed
    assert stream.ended.is_set()


async def test_what_was_closed_on_this_side_says_so():
    near, _ = trio.testing.memory_stream_pair()
    stream = LastingStream(near)
    await stream.aclose()
    with pytest.raises(trio.ClosedResourceError):
        await stream.receive_some()
    with pytest.raises(trio.ClosedResourceError):
        await stream.send_all(b"x")
