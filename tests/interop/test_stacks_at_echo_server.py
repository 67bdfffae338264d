"""The other stacks as clients of the echo server example: each posts its own offer over HTTP, as the page does."""

import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from .conftest import Peculiarity, Stack
from .echo_server_process import EchoServerProcess, open_echo_server
from .peer_process import PATIENCE, PeerEndedError, PeerProcess, open_peer_process

SIZES = [0, 1, 1200, 16_384, 65_535]
"""In bytes; the last is the largest message that the smallest of the stacks has a buffer for."""
TEXTS = ["", "a", "Grüß Gott", "こんにちは", "👩‍🔬🌍", "𓂀" * 300]


@asynccontextmanager
async def client(stack: Stack) -> AsyncIterator[tuple[EchoServerProcess, PeerProcess]]:
    """The stack, which has posted its offer to a new server, with the channel "talk" open."""
    for attempts_left in reversed(range(3 if Peculiarity.REFUSES_ANSWERS in stack.peculiarities else 1)):
        async with AsyncExitStack() as resources:
            server = await resources.enter_async_context(open_echo_server())
            peer = await resources.enter_async_context(open_peer_process(stack.command, stack.environment))
            await peer.tell("open", label="talk")
            await peer.tell("post", url=f"{server.url}/offer")
            try:
                await peer.event("open", label="talk")
            except PeerEndedError:
                if attempts_left:
                    continue
                raise
            with trio.fail_after(2 * PATIENCE):
                yield server, peer
            return


async def test_what_a_stack_sends_to_the_echo_server_comes_back(stack):
    content = random.Random(1)
    async with client(stack) as (server, peer):
        for message in [content.randbytes(size) for size in SIZES] + TEXTS:
            if not message and Peculiarity.SENDS_NOTHING_EMPTY in stack.peculiarities:
                continue
            await peer.send("talk", message)
            assert await peer.receive("talk") == message
        assert "peer 1: channel 'talk' opened" in await server.wait_printed("opened")


async def test_a_stack_closes_its_channel_to_the_echo_server_and_then_leaves(stack):
    async with client(stack) as (server, peer):
        await peer.tell("open", label="another")
        await peer.event("open", label="another")
        await peer.tell("close_channel", label="talk")
        await peer.event("closed", label="talk")
        await peer.send("another", "still here")
        assert await peer.receive("another") == "still here"
        await peer.tell("close")
        if Peculiarity.KNOWS_NO_END not in stack.peculiarities:
            await server.wait_printed("peer 1: gone")
        code, printed = await server.interrupt()
    assert code == 0
    assert "failed" not in printed


async def test_the_echo_server_ends_its_connection_with_a_stack_when_it_is_interrupted(stack):
    async with client(stack) as (server, peer):
        await peer.send("talk", "hello")
        assert await peer.receive("talk") == "hello"
        code, printed = await server.interrupt()
        if Peculiarity.KNOWS_NO_END not in stack.peculiarities:
            await peer.event("closed", label="talk")
    assert code == 0
    assert printed.splitlines()[-1] == "peer 1: gone"
    assert "Traceback" not in printed
