"""A bug in one peer's core is that peer's end, whichever verb it is in, and nobody else's."""

import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio

from trio_webrtc import CloseReason, Configuration
from trio_webrtc.core.contract import Transmit
from trio_webrtc.core.peer import PeerCore
from trio_webrtc.shell.framing import frame
from trio_webrtc.shell.path import PathCore
from trio_webrtc.shell.switchboard import SeatedCore
from trio_webrtc.testing import VirtualHost

from .conftest import PORT, Joined, Site, connect
from .strangers import check, key_of, name_of
from .visitors import Crowd, check_for, open_crowd

LATENCY = 0.02


def verbs_of(*protocols: type) -> set[str]:
    """All that the shell may ask of a core, or tell it, but for what is no more than an attribute."""
    names = {name for protocol in protocols for name in dir(protocol) if not name.startswith("_")}
    return {name for name in names if hasattr(PeerCore, name)}


VERBS = verbs_of(PathCore, SeatedCore) | {"poll_event"}
AT_THE_BEGINNING = {"transaction_prefix"}
AT_THE_END = {"close"}


class Scene:
    """A crowd, and one more peer, in whose core the bug is to be."""

    def __init__(self, site: Site, crowd: Crowd, guest: VirtualHost, joined: Joined) -> None:
        self.site = site
        self.server = crowd.server
        self.other = crowd.visitors[0].peer
        self.guest = guest
        self.joined = joined

    async def say_something(self) -> None:
        self.joined.near.send_nowait("?")

    async def be_checked_by_a_stranger(self) -> None:
        forged = check(name_of(self.joined.peer), b"guessed", random.Random(1))
        self.guest.open_udp((self.guest.addresses[0], 0)).send(("10.0.0.1", PORT), forged, None, None)

    async def lose_the_address(self) -> None:
        via, server = self.joined.client._core._way
        own = check(name_of(self.other), key_of(self.other), random.Random(1), nominates=False)
        via.send(Transmit(via, server, own))

    async def be_met_by_a_stranger_at_the_same_address(self) -> None:
        self.joined.peer._ways.seat.is_strangers = True
        name = "x" * 24
        via, server = self.joined.client._core._way
        knock = check(name, name.encode(), random.Random(1))
        via.send(Transmit(via, server, knock))
        contact = await self.server.unknown_ufrags.receive()
        configuration = Configuration(ice_credentials=(name, name))
        async with self.server.open_peer_connection(configuration, first_contact=contact):
            await trio.sleep(1)

    async def come_by_one_more_connection(self) -> None:
        socket = await self.guest.connect_tcp(None, ("10.0.0.1", PORT))
        socket.send(frame(check_for(self.joined.client, self.joined.peer)))

    async def come_by_too_many_connections(self) -> None:
        for _ in range(self.server._limits.max_connections_per_peer + 1):
            await self.come_by_one_more_connection()

    async def lose_a_connection(self) -> None:
        await self.come_by_one_more_connection()
        await trio.sleep(1)
        for connection in list(self.guest.connections):
            connection.reset()

    async def speak_where_only_little_passes(self) -> None:
        self.site.host.mtu = 500
        self.joined.far.send_nowait(b"x" * 1000)
        self.site.host.mtu = 1500


BROUGHT_ABOUT: dict[str, Callable[[Scene], object]] = {
    "add_connection": Scene.come_by_one_more_connection,
    "authenticates": Scene.be_checked_by_a_stranger,
    "forget_address": Scene.lose_the_address,
    "has_answered": Scene.be_met_by_a_stranger_at_the_same_address,
    "is_validated": Scene.say_something,
    "lower_mtu": Scene.speak_where_only_little_passes,
    "report_send_error": Scene.speak_where_only_little_passes,
    "retire": Scene.lose_a_connection,
    "uses": Scene.come_by_too_many_connections,
}
"""What has the shell call a verb, where that is not the same with every peer; the others it calls whatever happens."""

CASES = [(verb, "udp") for verb in sorted(VERBS - AT_THE_BEGINNING - AT_THE_END)]
CASES += [(verb, "tcp") for verb, _ in CASES if verb not in BROUGHT_ABOUT]


def bug(*_: object, **__: object) -> None:
    raise ZeroDivisionError("injected")


def break_core(core: PeerCore, verb: str) -> None:
    setattr(core, verb, bug)


@asynccontextmanager
async def nineteen_others(site: Site, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Crowd]:
    """They notice nothing of the bug that the body meets; and the server ends as if nothing had been."""
    async with open_crowd(site, 19) as crowd:
        with pytest.raises(ZeroDivisionError, match="injected"):
            yield crowd
        assert [record.levelno for record in caplog.records].count(logging.ERROR) <= 1
        assert crowd.server.get_stats().peers == 19
        await crowd.check_that_nobody_notices(LATENCY)
        began = trio.current_time()
        await crowd.server.aclose()
        assert trio.current_time() - began <= 5 * LATENCY
    assert all(visitor.reason is CloseReason.REMOTE for visitor in crowd.visitors)


@pytest.mark.parametrize(("verb", "transport"), CASES)
async def test_a_bug_in_any_verb_comes_out_of_its_own_scope_and_nineteen_others_go_on(
    site: Site, autojump_clock, caplog, verb: str, transport: str
):
    """T4, C2: the guard is around each peer; and closing does not wait for who died."""
    async with nineteen_others(site, caplog) as crowd:
        guest = site.add_guest()
        async with connect(crowd.server, guest, transport) as joined:
            scene = Scene(site, crowd, guest, joined)
            break_core(joined.peer._core, verb)
            await BROUGHT_ABOUT.get(verb, Scene.say_something)(scene)
            with trio.fail_after(20):
                await joined.peer.wait_closed()


@pytest.mark.parametrize("verb", sorted(AT_THE_BEGINNING))
async def test_a_bug_at_the_beginning_of_one_peer_is_nobody_elses(
    site: Site, autojump_clock, caplog, monkeypatch, verb: str
):
    async with nineteen_others(site, caplog) as crowd:
        monkeypatch.setattr(PeerCore, verb, property(bug))
        async with connect(crowd.server, site.add_guest()):
            pytest.fail("it has begun")
