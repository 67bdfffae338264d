"""A server on sockets that somebody else has bound, such as a parent process or a socket unit of systemd."""

import logging
import socket
from collections.abc import Iterator

import pytest
import trio

from trio_webrtc import ListenAddress, SocketOptions, open_webrtc_server
from trio_webrtc.core.contract import Address, split_run
from trio_webrtc.shell.host import HostNetwork
from trio_webrtc.shell.network import DEFAULT_OPTIONS, Arrival
from trio_webrtc.shell.reporting import Reporter
from trio_webrtc.shell.tcp_sockets import KernelTcpSocket

from ..surface.quiescence import nothing_stays_behind
from .aiming import join, say, using

REPORTER = Reporter(logging.getLogger(__name__), "handed over")
TYPES = {"udp": socket.SOCK_DGRAM, "tcp": socket.SOCK_STREAM}


class Inherited:
    """One of somebody else's sockets, which is bound, and belongs to this object from now on."""

    def __init__(self, theirs: socket.socket) -> None:
        self.local_address: Address = theirs.getsockname()
        self._socket = theirs.dup()
        self._socket.setblocking(False)

    async def wait_readable(self) -> None:
        await trio.lowlevel.wait_readable(self._socket)

    async def wait_writable(self) -> None:
        await trio.lowlevel.wait_writable(self._socket)

    def close(self) -> None:
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class InheritedUdpSocket(Inherited):
    """See `UdpSocket`."""

    def send(self, to: Address, data: bytes, segment_size: int | None, from_host: str | None) -> int:
        taken = 0
        for datagram in split_run(data, segment_size):
            try:
                taken += self._socket.sendto(datagram, to)
            except BlockingIOError:
                break
        return taken

    def receive(self) -> list[Arrival]:
        try:
            data, from_ = self._socket.recvfrom(65536)
        except BlockingIOError:
            return []
        return [Arrival(None, from_, data, None)]


class InheritedListener(Inherited):
    """See `TcpListener`."""

    async def accept(self) -> KernelTcpSocket:
        while True:
            await self.wait_readable()
            try:
                accepted, remote = self._socket.accept()
            except BlockingIOError:
                continue
            accepted.setblocking(False)
            return KernelTcpSocket(accepted, accepted.getsockname(), remote, REPORTER)


class Inheritance(HostNetwork):
    """This host's network, but what is to be bound is bound already."""

    def __init__(self, theirs: dict[str, socket.socket]) -> None:
        self._theirs = theirs

    def open_udp(self, address: Address, options: SocketOptions = DEFAULT_OPTIONS) -> InheritedUdpSocket:
        return InheritedUdpSocket(self._theirs["udp"])

    def listen_tcp(self, address: Address, options: SocketOptions = DEFAULT_OPTIONS) -> InheritedListener:
        return InheritedListener(self._theirs["tcp"])


@pytest.fixture
def theirs() -> Iterator[dict[str, socket.socket]]:
    """Bound to ports that no program has got from a server of ours."""
    sockets = {transport: socket.socket(socket.AF_INET, kind) for transport, kind in TYPES.items()}
    for bound in sockets.values():
        bound.bind(("127.0.0.1", 0))
    sockets["tcp"].listen()
    yield sockets
    for bound in sockets.values():
        bound.close()


async def test_a_server_serves_on_sockets_that_were_handed_over_and_the_next_one_does_too(
    theirs: dict[str, socket.socket],
):
    """What is freed at its end is its own; whoever bound the sockets has them still, and the ports with them."""
    listen = [ListenAddress(transport, "127.0.0.1") for transport in theirs]
    ports = {transport: bound.getsockname()[1] for transport, bound in theirs.items()}

    async def serve() -> None:
        async with open_webrtc_server(*listen, network=Inheritance(theirs)) as server:
            assert {place.transport: place.port for place in server.addresses} == ports
            for transport, _, port in server.addresses:
                async with join(server, transport, ("127.0.0.1", port), configuration=using("127.0.0.1")) as joined:
                    await say(joined, "x" * 20_000)

    with nothing_stays_behind():
        for _ in range(2):
            with trio.fail_after(20):
                await serve()
    assert all(bound.fileno() != -1 for bound in theirs.values())
