"""Whatever arrived before the end is received before the end, in whichever way the server ended."""

from collections.abc import Awaitable
from contextlib import suppress

import pytest
import trio

from trio_webrtc.signaling import Bye, encode_message, open_websocket_signaling

from .conftest import RUNS
from .server import Visitor, open_server

REPETITIONS = max(1, RUNS // 10)
"""Of each case; there are 54."""


def close_handshake(visitor: Visitor) -> Awaitable[None]:
    return visitor.close(4001, "that is all")


def close_frame(visitor: Visitor) -> Awaitable[None]:
    return visitor.close_and_leave(4001, "that is all")


ENDINGS = {
    "close handshake": (close_handshake, 4001, "that is all"),
    "close frame": (close_frame, 4001, "that is all"),
    "close_notify": (Visitor.end_tls, 1006, ""),
    "FIN": (Visitor.end_tcp, 1006, ""),
    "reset": (Visitor.reset, 1006, ""),
}


async def receive_at_once(signaling, visitor):
    return [message async for message in signaling]


async def receive_after_the_end(signaling, visitor):
    """A consumer so slow that the server is gone before it begins; and it talks, to nobody."""
    await visitor.has_ended.wait()
    received = []
    async for message in signaling:
        received.append(message)
        with suppress(trio.BrokenResourceError):
            await signaling.send(Bye("are you there?"))
    return received


@pytest.mark.parametrize("count", [1, 5, 100])
@pytest.mark.parametrize(
    ("ending", "secure"),
    [(ending, secure) for ending in ENDINGS for secure in (False, True) if secure or ending != "close_notify"],
)
@pytest.mark.parametrize("consume", [receive_at_once, receive_after_the_end])
async def test_all_messages_arrive_and_then_the_end(count, ending, secure, consume, tls):
    end, code, reason = ENDINGS[ending]
    messages = [Bye(f"message {number} {'x' * 200}") for number in range(count)]
    for run in range(REPETITIONS):
        visitors = []

        async def send_and_end(visitor, *, in_one_piece=bool(run % 2), visitors=visitors):
            visitors.append(visitor)
            await visitor.welcome()
            for message in messages:
                visitor.write(encode_message(message))
                if not in_one_piece:
                    await visitor.flush()
            if not in_one_piece:
                await visitor.deliver()
            await end(visitor)

        with trio.fail_after(10):
            async with (
                open_server(send_and_end, tls.server if secure else None) as url,
                open_websocket_signaling(url, ssl_context=tls.client if secure else None) as signaling,
            ):
                assert await consume(signaling, visitors[0]) == messages
                assert (signaling.close_code, signaling.close_reason) == (code, reason)
                with pytest.raises(trio.EndOfChannel):
                    await signaling.receive()
