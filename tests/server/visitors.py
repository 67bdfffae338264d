"""Clients of a server, each with one channel on which the server echoes; and what their server does for them."""

import itertools
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from trio_webrtc import (
    CloseReason,
    Configuration,
    DataChannel,
    PeerConnection,
    SessionDescription,
    WebRtcServer,
    open_peer_connection,
)
from trio_webrtc.core.peer import Secured
from trio_webrtc.core.sctp.packet import read_packet
from trio_webrtc.core.stun.message import (
    ICE_CONTROLLING,
    PRIORITY,
    USE_CANDIDATE,
    USERNAME,
    Message,
    MessageClass,
    Method,
)
from trio_webrtc.shell.framing import frame
from trio_webrtc.testing import VirtualHost
from trio_webrtc.testing.virtual_tcp import VirtualTcpSocket

from .conftest import PORT, Site, only

ENDS = (trio.EndOfChannel, trio.BrokenResourceError, trio.ClosedResourceError)
"""How somebody who talks hears that it is over."""


@dataclass
class Visitor:
    """A client that is connected, from `visit()` until it has heard of the end."""

    host: VirtualHost
    transport: str
    client: PeerConnection
    peer: PeerConnection
    """The server's end of it."""
    channel: DataChannel
    chunks: list[int]
    """The types of all SCTP chunks that it was sent."""
    echoes: int = 0
    slowest: float = 0.0
    """Seconds that the slowest echo took."""
    reason: CloseReason | None = None
    """Why its connection ended."""
    gone: trio.Event = field(default_factory=trio.Event)

    @trio.lowlevel.enable_ki_protection
    async def talk(self) -> None:
        """Say something and hear it again, as often as there is somebody."""
        try:
            for number in itertools.count():
                asked_at = trio.current_time()
                await self.channel.send(f"{number}")
                assert await self.channel.receive() == f"{number}"
                self.echoes += 1
                self.slowest = max(self.slowest, trio.current_time() - asked_at)
        except ENDS:
            self.reason = await self.client.wait_closed()
            self.gone.set()


@dataclass
class Crowd:
    """A server and those who talk to it."""

    server: WebRtcServer
    visitors: list[Visitor]
    handlers: trio.Nursery
    guests: trio.Nursery

    async def check_that_nobody_notices(self, latency: float, seconds: float = 2.0) -> None:
        """Have everybody talk for a while: each echo takes one round trip."""
        for visitor in self.visitors:
            visitor.echoes = 0
        await trio.sleep(seconds)
        for visitor in self.visitors:
            assert visitor.slowest <= 2 * latency * 1.001
            assert visitor.echoes >= seconds / (2 * latency) - 2


@asynccontextmanager
async def open_crowd(site: Site, peers: int, **arguments: object) -> AsyncIterator[Crowd]:
    """A server to which some clients talk, every second one by TCP, until the body is left."""
    async with trio.open_nursery() as guests, site.serve(**arguments) as server, trio.open_nursery() as handlers:
        crowd = Crowd(server, [], handlers, guests)

        async def bring(number: int) -> None:
            crowd.visitors.append(await guests.start(visit, site, server, handlers, ("tcp", "udp")[number % 2]))

        async with trio.open_nursery() as arrivals:
            for number in range(peers):
                arrivals.start_soon(bring, number)
        yield crowd
        handlers.cancel_scope.cancel()
        guests.cancel_scope.cancel()


def record_chunks(peer: PeerConnection) -> list[int]:
    """The types of all chunks that a connected peer gets from now on, decrypted as they are by then."""
    assert isinstance(peer._core.stage, Secured)
    types: list[int] = []
    association = peer._core.stage.association
    receive = association.receive_datagrams

    def receive_and_record(batch, now):
        types.extend(chunk_type for packet in batch for chunk_type, _, _ in read_packet(packet)[3])
        receive(batch, now)

    association.receive_datagrams = receive_and_record
    return types


@trio.lowlevel.enable_ki_protection
async def visit(
    site: Site,
    server: WebRtcServer,
    handlers: trio.Nursery,
    transport: str,
    *,
    configuration: Configuration | None = None,
    end_second: Callable[[VirtualTcpSocket], None] = VirtualTcpSocket.close,
    task_status: trio.TaskStatus[Visitor],
) -> None:
    """Connect to the server, which has `attend()` run among the handlers, and talk until it ends.

    By TCP, opens a second connection, as browsers do, and ends it when the server has answered it.
    """
    host = site.add_guest()
    async with open_peer_connection(configuration, network=host) as client:
        channel = client.create_data_channel("chat")
        await client.set_local_description()
        await client.wait_gathering_complete()
        peer = await handlers.start(attend, server, client.local_description)
        await client.set_remote_description(only(transport, peer.local_description))
        await channel.wait_open()
        if transport == "tcp":
            end_second(await open_another_connection(host, client, peer))
        visitor = Visitor(host, transport, client, peer, channel, record_chunks(client))
        task_status.started(visitor)
        await visitor.talk()


async def attend(
    server: WebRtcServer, offer: SessionDescription, *, task_status: trio.TaskStatus[PeerConnection]
) -> None:
    """Answer, and echo on every channel until somebody ends it. Being ended by others is nothing to complain of."""
    async with server.open_peer_connection() as peer:
        await peer.set_remote_description(offer)
        await peer.set_local_description()
        await peer.wait_gathering_complete()
        task_status.started(peer)
        async for channel in peer.incoming_data_channels:
            await echo_until_it_ends(channel)


async def echo_until_it_ends(channel: DataChannel) -> None:
    """Return what comes; a reader of a connection that was closed under it is told so, and not cancelled."""
    try:
        async for message in channel:
            await channel.send(message)
    except trio.ClosedResourceError:
        await trio.lowlevel.checkpoint()
    except trio.BrokenResourceError:
        pass


def check_for(client: PeerConnection, peer: PeerConnection, *, nominates: bool = False, priority: int = 1) -> bytes:
    """A connectivity check of the client's (RFC 8445 §7.2.2) with the right password."""
    (ours, _), (theirs, password) = credentials(client), credentials(peer)
    attributes = {USERNAME: f"{theirs}:{ours}", PRIORITY: priority, ICE_CONTROLLING: 1}
    if nominates:
        attributes[USE_CANDIDATE] = None
    return Message(
        method=Method.BINDING,
        message_class=MessageClass.REQUEST,
        transaction_id=random.randbytes(12),
        attributes=attributes,
    ).encode(password.encode())


def credentials(connection: PeerConnection) -> tuple[str, str]:
    """The name and the password that a side has signalled last."""
    sdp = connection.local_description.sdp
    return re.search(r"a=ice-ufrag:(\S+)", sdp)[1], re.search(r"a=ice-pwd:(\S+)", sdp)[1]


async def open_another_connection(host: VirtualHost, client: PeerConnection, peer: PeerConnection) -> VirtualTcpSocket:
    """Open one more TCP connection to the server, have a check answered on it, and give it back."""
    socket = await host.connect_tcp(None, ("10.0.0.1", PORT))
    try:
        socket.send(frame(check_for(client, peer)))
        await socket.wait_readable()
    except BaseException:
        socket.reset()
        raise
    assert Message.decode(socket.receive()[2:]).message_class is MessageClass.RESPONSE
    return socket
