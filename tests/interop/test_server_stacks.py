"""The other stacks as peers of one server, which is lite, on its two ports."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import pytest
import trio

from trio_webrtc import CloseReason, DataChannel, ListenAddress, PeerConnection, WebRtcServer, open_webrtc_server

from .conftest import STACKS, Peculiarity, Stack
from .peer_process import PeerProcess
from .peer_session import session, understood

LISTEN = (ListenAddress("udp", "0.0.0.0"), ListenAddress("tcp", "0.0.0.0"))
SIZES = (0, 1, 1200, 65_535)
STACKS_WITH_TCP = ["libwebrtc", "reactor_webrtc", "webrtcbin"]
"""Those that connect to passive TCP candidates, unless told otherwise."""
AT_ONCE = 3.0
"""Seconds, on a busy machine. That somebody has fallen silent is noticed after 5 at the soonest."""


class Guest(NamedTuple):
    """A stack that is connected to the server."""

    stack: Stack
    connection: PeerConnection
    channel: DataChannel
    peer: PeerProcess

    async def talk(self) -> None:
        """Messages of every size arrive in both directions."""
        content = random.Random(1)
        for size in SIZES:
            message = content.randbytes(size)
            await self.channel.send(message)
            assert await self.peer.receive("talk") == understood(self.stack, message)
            if size or Peculiarity.SENDS_NOTHING_EMPTY not in self.stack.peculiarities:
                await self.peer.send("talk", message)
                assert await self.channel.receive() == message

    @property
    def knows_ends(self) -> bool:
        return Peculiarity.KNOWS_NO_END not in self.stack.peculiarities


@asynccontextmanager
async def join(
    server: WebRtcServer, stack: Stack, *, we: str = "answer", transports: Sequence[str] = ("udp", "tcp")
) -> AsyncIterator[Guest]:
    """Connect a stack to the server."""
    async with session(stack, we, server.open_peer_connection, transports) as (connection, channel, peer):
        yield Guest(stack, connection, channel, peer)


@pytest.fixture
def stacks(request) -> list[Stack]:
    """All that this machine has."""
    found = []
    for name in STACKS:
        try:
            found.append(request.getfixturevalue(name))
        except pytest.skip.Exception as skipped:
            print(skipped)
    if not found:
        pytest.skip("there is no other stack here")
    return found


@pytest.mark.parametrize("we", ["offer", "answer"])
async def test_a_stack_meets_a_lite_peer_whoever_offers(stack, we):
    async with open_webrtc_server(*LISTEN) as server, join(server, stack, we=we) as guest:
        assert "a=ice-lite\r\n" in guest.connection.local_description.sdp
        await guest.talk()


async def test_nothing_is_left_of_a_stack_that_leaves(stack):
    async with open_webrtc_server(*LISTEN) as server, join(server, stack) as guest:
        await guest.talk()
        await guest.peer.tell("close")
        if guest.knows_ends:
            assert await guest.connection.wait_closed() is CloseReason.REMOTE
        else:
            await guest.connection.aclose()
        stats = server.get_stats()
        assert (stats.peers, stats.ufrags, stats.remote_addresses, stats.tcp_connections) == (0, (), (), 0)


async def test_all_stacks_talk_at_once_on_the_same_ports_and_hear_of_the_end_at_once(stacks):
    async with open_webrtc_server(*LISTEN) as server, AsyncExitStack() as processes:
        guests = [await processes.enter_async_context(join(server, stack)) for stack in stacks]
        assert server.get_stats().peers == len(stacks)
        async with trio.open_nursery() as talking:
            for guest in guests:
                talking.start_soon(guest.talk)
        ended = trio.current_time()
        await server.aclose()
        for guest in guests:
            if guest.knows_ends:
                await guest.peer.event("closed", label="talk")
        assert trio.current_time() - ended < AT_ONCE


@pytest.mark.parametrize("name", STACKS_WITH_TCP)
async def test_a_stack_connects_by_tcp_only(request, name):
    stack = request.getfixturevalue(name)
    async with open_webrtc_server(*LISTEN) as server, join(server, stack, transports=["tcp"]) as guest:
        await guest.talk()
        assert guest.connection.selected_candidate_pair.local.transport.lower() == "tcp"
