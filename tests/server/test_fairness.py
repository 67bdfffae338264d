"""However many strangers come at once, those who are welcome wait for a bounded part of them: counted in turns."""

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from trio_webrtc import Configuration, ListenAddress, WebRtcServer, open_webrtc_server
from trio_webrtc.core.contract import Address
from trio_webrtc.shell.host import HOST_NETWORK
from trio_webrtc.shell.udp import MAX_READS_PER_BATCH

from .conftest import Joined, connect
from .strangers import CLIENT_HELLO, check

LISTEN = (ListenAddress("udp", "127.0.0.1"), ListenAddress("tcp", "127.0.0.1"))
LOOPBACK_ONLY = Configuration(interface_filter=lambda interface: interface.address == "127.0.0.1")

CONNECTIONS = 100
BATCHES = 3
DATAGRAMS = BATCHES * MAX_READS_PER_BATCH
"""Few enough for any socket's buffer, and enough to take turns."""


class Turns(trio.abc.Instrument):
    """Notes what a server has done by the end of each turn of the event loop."""

    def __init__(self, server: WebRtcServer) -> None:
        self.seen: list[tuple[int, int]] = []
        self._server = server

    def before_io_wait(self, timeout: float) -> None:
        stats = self._server.get_stats()
        self.seen.append((stats.tcp_connections_waiting, stats.datagrams_from_unknown_addresses))

    @property
    def most_in_one(self) -> tuple[int, int]:
        """How many connections a turn has accepted at most, and how many datagrams it has looked at."""
        steps = list(zip(self.seen, self.seen[1:], strict=False))
        return max(b[0] - a[0] for a, b in steps), max(b[1] - a[1] for a, b in steps)


@contextmanager
def counted_turns(server: WebRtcServer) -> Iterator[Turns]:
    turns = Turns(server)
    trio.lowlevel.add_instrument(turns)
    yield turns
    trio.lowlevel.remove_instrument(turns)


@contextmanager
def crowd_at(server: WebRtcServer, datagram: bytes) -> Iterator[None]:
    """Strangers, all of whom wait at a server's ports before its event loop has another turn."""
    udp, tcp = ((address.host, address.port) for address in server.addresses)
    with ExitStack() as strangers:
        for number in range(CONNECTIONS):
            strangers.enter_context(connection_from(f"127.0.2.{1 + number}", tcp))
        thrower = strangers.enter_context(socket.socket(type=socket.SOCK_DGRAM))
        for _ in range(DATAGRAMS):
            thrower.sendto(datagram, udp)
        yield


def connection_from(host: str, to: Address) -> socket.socket:
    return socket.create_connection(to, source_address=(host, 0))


async def test_of_all_that_waits_a_turn_takes_one_connection_and_one_batch_of_datagrams():
    async with open_webrtc_server(*LISTEN) as server:
        await wait_all_tasks_blocked()
        with counted_turns(server) as turns, crowd_at(server, CLIENT_HELLO), trio.fail_after(10):
            while turns.seen[-1:] != [(CONNECTIONS, DATAGRAMS)]:
                await trio.lowlevel.checkpoint()
        connections, datagrams = turns.most_in_one
        assert connections == 1
        assert datagrams <= MAX_READS_PER_BATCH


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_an_echo_takes_hardly_more_turns_when_a_crowd_of_strangers_is_in_front_of_it(transport: str):
    async with (
        open_webrtc_server(*LISTEN) as server,
        connect(server, HOST_NETWORK, transport, configuration=LOOPBACK_ONLY) as joined,
        trio.open_nursery() as handlers,
    ):
        handlers.start_soon(echo, joined)
        await turns_of_an_echo(joined, server)
        undisturbed = await turns_of_an_echo(joined, server)
        for datagram in CLIENT_HELLO, check("nobody", b"guessed", random.Random(1)):
            with crowd_at(server, datagram):
                assert await turns_of_an_echo(joined, server) <= undisturbed + BATCHES + 5
                assert server.get_stats().tcp_connections_waiting < CONNECTIONS, "it was not the last in the queue"
        handlers.cancel_scope.cancel()


async def echo(joined: Joined) -> None:
    async for message in joined.far:
        await joined.far.send(message)


async def turns_of_an_echo(joined: Joined, server: WebRtcServer) -> int:
    """How many turns of the event loop it takes, on which both ends live."""
    with counted_turns(server) as turns, trio.fail_after(10):
        await joined.near.send("hello")
        assert await joined.near.receive() == "hello"
    return len(turns.seen)
