"""Whoever ends a server: each peer is told in the right order, the ports go last, and nothing else comes out.

Many peers, half of them by UDP and half by TCP, talk to a server that ends in the middle of it.
"""

import contextlib
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
import trio
import trio.testing

from trio_webrtc import CloseReason, WebRtcServer
from trio_webrtc.testing import SocketClosed
from trio_webrtc.testing.log import StreamEnded
from trio_webrtc.testing.virtual_tcp import VirtualTcpSocket

from ..surface.quiescence import no_objects_stay_behind
from ..surface.test_interrupt import alarms_interrupt
from ..surface.test_lifetimes import ABORT, SHUTDOWN
from .conftest import PORT, RUNS, MakeSite, Site
from .visitors import Visitor, visit
from .wire import check_goodbye

LATENCY = 0.02
IS_LONG = "TRIO_WEBRTC_LONG_RUNS" in os.environ
"""Whether many peers meet as often as one does. A run with twenty computes for a quarter of a second, handshakes and
their like: that makes a quarter of an hour, where a tenth of the runs, with 400 peers, takes one and a half minutes."""


class Expected(Exception):
    """Raised by a sibling of the server, and to come out as itself."""


Ending = Callable[[WebRtcServer, trio.CancelScope, trio.Nursery], Awaitable[None]]
"""Ends a server whose body calls it; gets the scope and a nursery around the server."""


async def leave_the_body(server: WebRtcServer, scope: trio.CancelScope, siblings: trio.Nursery) -> None:
    pass


async def close_inside(server: WebRtcServer, scope: trio.CancelScope, siblings: trio.Nursery) -> None:
    await server.aclose()


async def close_from_outside(server: WebRtcServer, scope: trio.CancelScope, siblings: trio.Nursery) -> None:
    siblings.start_soon(server.aclose)
    await trio.sleep(1)


async def be_cancelled(server: WebRtcServer, scope: trio.CancelScope, siblings: trio.Nursery) -> None:
    scope.cancel()
    await trio.sleep_forever()


async def have_a_sibling_fail(server: WebRtcServer, scope: trio.CancelScope, siblings: trio.Nursery) -> None:
    async def fail() -> None:
        raise Expected

    siblings.start_soon(fail)
    await trio.sleep_forever()


async def raise_in_the_body(server: WebRtcServer, scope: trio.CancelScope, siblings: trio.Nursery) -> None:
    raise Expected


async def be_interrupted(server: WebRtcServer, scope: trio.CancelScope, siblings: trio.Nursery) -> None:
    signal.raise_signal(signal.SIGINT)


async def be_interrupted_anywhere(server: WebRtcServer, scope: trio.CancelScope, siblings: trio.Nursery) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.003)
    await trio.sleep_forever()


ENDINGS = [
    leave_the_body,
    close_inside,
    close_from_outside,
    be_cancelled,
    have_a_sibling_fail,
    raise_in_the_body,
    be_interrupted,
    be_interrupted_anywhere,
]

WITHIN, AROUND = "handlers within the server", "handlers around the server"
"""Whether the end of the server's scope is the end of those who serve its peers, too."""

GRACEFUL = (leave_the_body, close_inside, close_from_outside)
"""Those that wait for what was sent to be acknowledged."""


@dataclass
class Party:
    """A server, its visitors, and what came of them."""

    site: Site
    visitors: list[Visitor] = field(default_factory=list)
    server: WebRtcServer | None = None
    mark: int = 0
    """How long the network's log was when the end began."""
    began: float = 0.0
    """The time of that."""

    async def bring(self, number: int, guests: trio.Nursery, handlers: trio.Nursery) -> None:
        """Have one more visitor come, every second one by TCP, who ends a second connection in one way or the other."""
        visitor = await guests.start(
            partial(
                visit,
                self.site,
                self.server,
                handlers,
                ("tcp", "udp")[number % 2],
                end_second=VirtualTcpSocket.reset if number % 4 else VirtualTcpSocket.close,
            )
        )
        self.visitors.append(visitor)


async def hold(party: Party, peers: int, ending: Ending, layout: str) -> None:
    """Have peers come and talk, and end the server in the middle of it; then wait until they all have heard of it."""
    async with trio.open_nursery() as guests:
        came_out: list[type[BaseException]] = []
        try:
            if layout == AROUND:
                async with trio.open_nursery() as handlers:
                    await serve(party, peers, ending, guests, handlers)
            else:
                await serve(party, peers, ending, guests, None)
        except (Expected, KeyboardInterrupt, BaseExceptionGroup) as error:
            came_out = leaves(error)
        assert came_out == RAISING.get(ending, [])
        with trio.fail_after(4 * LATENCY + 0.05):
            for visitor in party.visitors:
                await visitor.gone.wait()


async def serve(party: Party, peers: int, ending: Ending, guests: trio.Nursery, handlers: trio.Nursery | None) -> None:
    with trio.CancelScope() as scope:
        async with (
            trio.open_nursery() as siblings,
            party.site.serve() as server,
            trio.open_nursery() if handlers is None else contextlib.nullcontext(handlers) as handlers,
        ):
            party.server = server
            async with trio.open_nursery() as arrivals:
                for number in range(peers):
                    arrivals.start_soon(party.bring, number, guests, handlers)
            await trio.sleep(4 * LATENCY)
            stats = server.get_stats()
            assert (stats.peers, stats.tcp_connections) == (peers, (peers + 1) // 2), "the second ones have ended"
            party.mark, party.began = len(party.site.network.log), trio.current_time()
            await ending(server, scope, siblings)


def leaves(error: BaseException) -> list[type[BaseException]]:
    """The types of the exceptions in a group, or of the one that there is."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for member in error.exceptions for leaf in leaves(member)]
    return [type(error)]


RAISING: dict[Ending, list[type[BaseException]]] = {
    have_a_sibling_fail: [Expected],
    raise_in_the_body: [Expected],
    be_interrupted: [KeyboardInterrupt],
    be_interrupted_anywhere: [KeyboardInterrupt],
}


async def check(site: Site, peers: int, ending: Ending, layout: str) -> None:
    """Hold a party, and look at what each visitor was told and what is left."""
    party = Party(site)
    await hold(party, peers, ending, layout)
    assert not site.network.open_sockets
    stats = party.server.get_stats()
    assert (stats.peers, stats.ufrags, stats.remote_addresses) == (0, (), ())
    assert (stats.tcp_connections, stats.tcp_connections_waiting) == (0, 0)
    for visitor in party.visitors:
        assert visitor.echoes > 0
        assert visitor.reason is CloseReason.REMOTE
        assert visitor.chunks[-1] in ((SHUTDOWN, ABORT) if ending in GRACEFUL else (ABORT,))
        check_goodbye(visitor.host, site.network, party.mark)
    check_who_is_freed_last(party)
    count = len(site.network.log)
    await trio.sleep(600)
    assert len(site.network.log) == count


def check_who_is_freed_last(party: Party) -> None:
    """No socket of the server is freed before those that it has said goodbye to by TCP have had time to agree.

    What they send meanwhile would reset their connection, and the goodbye might be lost with it.
    """
    log = list(party.site.network.log)[party.mark :]
    told = min(entry.time for entry in log if isinstance(entry, StreamEnded))
    freed = [entry.time for entry in log if isinstance(entry, SocketClosed) and entry.address[1] == PORT]
    assert len(freed) == 2 + (len(party.visitors) + 1) // 2, "two ports and the connections"
    assert min(freed) >= told + 2 * LATENCY - 1e-6


CASES = [
    pytest.param(ending, layout, id=f"{ending.__name__}, {layout}")
    for ending in ENDINGS
    for layout in (WITHIN, AROUND)
    if (ending, layout) != (leave_the_body, WITHIN)  # where the handlers' nursery keeps the body from being left
]


@pytest.mark.parametrize("peers", [1, 20])
@pytest.mark.parametrize(("ending", "layout"), CASES)
def test_every_peer_hears_goodbye_before_the_ports_are_freed(
    make_site: MakeSite, ending: Ending, layout: str, peers: int
):
    """A1, A8, A9, A10, E10, T1, T2, T6: ABORT or SHUTDOWN, close_notify, then FIN or silence; whoever ends it."""
    with no_objects_stay_behind(), alarms_interrupt():
        for run in range(RUNS if peers == 1 or IS_LONG else max(1, RUNS // 10)):
            site = make_site(run, latency=LATENCY)
            # A run of its own, for interrupts go to the main task.
            trio.run(check, site, peers, ending, layout, clock=trio.testing.MockClock(autojump_threshold=0))
