"""A server with peers by UDP and TCP is cancelled at its first checkpoint, at its second, and so on to its last.

So is one end of its connections, with the server looking on, and so are its clients. One life has all there is:
binding, accepting, connecting, data both ways, a second TCP connection that ends, an ICE restart, closing.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from trio_webrtc import CloseReason, PeerConnection, WebRtcServer, open_peer_connection
from trio_webrtc.core.peer import Secured
from trio_webrtc.testing import VirtualHost

from ..lifecycle.checkpoints import Predicate, cancel_at_step, library_steps, own_steps
from ..surface.quiescence import nothing_stays_behind, tasks
from .conftest import RUNS, MakeSite, Site, agree
from .visitors import open_another_connection
from .wire import goodbyes

LATENCY = 0.02
TRANSPORTS = ("udp", "tcp")
BATCH = 20
"""Lives between two looks at the garbage collector, which takes longer than a life does."""

STRIDES = {own_steps: 1, library_steps: 1 if RUNS >= 200 else 5}
"""In everyday runs not every step is tried, and another part of them for each leaver."""


async def live(
    clients: Sequence[PeerConnection], peers: Sequence[PeerConnection], hosts: Sequence[VirtualHost]
) -> None:
    """All that connections of a server go through."""
    nears, fars = [], []
    for transport, client, peer in zip(TRANSPORTS, clients, peers, strict=True):
        near = client.create_data_channel("chat")
        await agree(client, peer, transport)
        await near.wait_open()
        nears.append(near)
        fars.append(await peer.incoming_data_channels.receive())
    (await open_another_connection(hosts[1], clients[1], peers[1])).close()
    for near, far in zip(nears, fars, strict=True):
        for message in ("text", b"x" * 20_000):
            await near.send(message)
            assert await far.receive() == message
            await far.send(message)
            assert await near.receive() == message
    for transport, client, peer in zip(TRANSPORTS, clients, peers, strict=True):
        client.restart_ice()
        await agree(client, peer, transport)
    await trio.sleep(4 * LATENCY)
    for near, far in zip(nears, fars, strict=True):
        await near.send("after the restart")
        assert await far.receive() == "after the restart"
    await peers[0].aclose()
    await clients[1].aclose()
    await peers[1].wait_closed()


@asynccontextmanager
async def open_clients(hosts: Sequence[VirtualHost]) -> AsyncIterator[list[PeerConnection]]:
    async with open_peer_connection(network=hosts[0]) as one, open_peer_connection(network=hosts[1]) as other:
        yield [one, other]


@asynccontextmanager
async def open_peers(server: WebRtcServer) -> AsyncIterator[list[PeerConnection]]:
    async with server.open_peer_connection() as one, server.open_peer_connection() as other:
        yield [one, other]


async def live_until(chosen: int | None, watches: Predicate, site: Site, leaver: str) -> int:
    """Have one side leave just before the chosen step; return how many steps there were."""
    before = tasks()
    hosts = [site.add_guest(), site.add_guest()]
    leaving: list[PeerConnection] = []  # as long as their scopes have not been entered
    staying: list[PeerConnection] = []
    async with AsyncExitStack() as outside:
        if leaver == "server":
            clients = staying = await outside.enter_async_context(open_clients(hosts))
        else:
            server = await outside.enter_async_context(site.serve())
            if leaver == "peers":
                clients = staying = await outside.enter_async_context(open_clients(hosts))
            else:
                peers = staying = await outside.enter_async_context(open_peers(server))
        with cancel_at_step(watches, chosen) as instrument:
            async with AsyncExitStack() as inside:
                if leaver == "server":
                    server = await inside.enter_async_context(site.serve())
                if leaver == "clients":
                    clients = leaving = await inside.enter_async_context(open_clients(hosts))
                else:
                    peers = leaving = await inside.enter_async_context(open_peers(server))
                await live(clients, peers, hosts)
        if instrument.scope.cancelled_caught:
            check_what_is_left(site, hosts, leaver, None if leaver == "server" else server)
            for host, left, stayed in zip(hosts, leaving, staying, strict=False):
                await check_farewell(site, host, left, stayed, leaver)
    assert not site.network.open_sockets
    assert tasks() == before
    return instrument.steps


def check_what_is_left(site: Site, hosts: Sequence[VirtualHost], leaver: str, server: WebRtcServer | None) -> None:
    """Of who has left: no socket, be it a port, a listener or a connection, and no entry in the server's books."""
    match leaver:
        case "clients":
            assert not any(host.open_sockets for host in hosts)
        case "peers":
            stats = server.get_stats()
            assert (stats.peers, stats.ufrags, stats.remote_addresses, stats.tcp_connections) == (0, (), (), 0)
            assert len(site.host.open_sockets) == 2 + stats.tcp_connections_waiting, "two ports, and who comes too late"
        case _:
            assert not site.host.open_sockets


async def check_farewell(
    site: Site, host: VirtualHost, left: PeerConnection, stayed: PeerConnection, leaver: str
) -> None:
    """A goodbye was said if, and only if, there was somebody who understood it; and then it was heard."""
    to, from_ = (site.host, host) if leaver == "clients" else (host, site.host)
    assert left.connection_state == "closed"
    is_secured = isinstance(left._core.stage, Secured)
    assert goodbyes(to, site.network, from_=from_) == is_secured
    if is_secured and not stayed._core.closed:
        with trio.fail_after(LATENCY * 1.01):
            assert await stayed.wait_closed() is CloseReason.REMOTE


@pytest.mark.parametrize("steps_of", [own_steps, library_steps])
@pytest.mark.parametrize("leaver", ["server", "peers", "clients"])
async def test_whoever_is_cancelled_at_any_checkpoint_says_goodbye_and_leaves_nothing_behind(
    make_site: MakeSite, autojump_clock, steps_of: Callable[[], Predicate], leaver: str
):
    """C3, T1, T2, T3, T7: binding, accepting, connecting, transfer, restart and close, by UDP and TCP."""

    async def leave_at(chosen: int | None) -> int:
        return await live_until(chosen, steps_of(), make_site(latency=LATENCY), leaver)

    steps = await leave_at(None)
    stride = STRIDES[steps_of]
    chosen_steps = range(["server", "peers", "clients"].index(leaver) % stride, steps, stride)
    for first in range(0, len(chosen_steps), BATCH):
        with nothing_stays_behind():
            for chosen in chosen_steps[first : first + BATCH]:
                print(f"step {chosen} of {steps}")
                await leave_at(chosen)
