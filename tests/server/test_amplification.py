"""What a stranger can have sent to somebody who has asked for nothing, by writing the other's address as the sender.

Strangers choose the password themselves, so that their checks prove nothing. Here they go on with everything that they
can do from an address of their own.
"""

import datetime
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from trio_webrtc import (
    Certificate,
    Configuration,
    ConnectionFailedError,
    FirstContact,
    SessionDescription,
    WebRtcServer,
)
from trio_webrtc.core.contract import Address, Received, split_run
from trio_webrtc.core.demultiplexing import Protocol, protocol_of
from trio_webrtc.core.dtls import Context, Session, SessionState
from trio_webrtc.testing import DatagramSent

from .conftest import LISTEN, PORT, Site
from .strangers import check
from .webrtc_direct import VERSION_2, dial, fingerprint, meet, offer_of_a, shake_hands

SERVER = (LISTEN[0].host, PORT)
PASSWORD = "x" * 24
NAME = VERSION_2 + PASSWORD
SETTLING_TIME = 60.0
"""Virtual seconds, in which everything that is repeated has been."""


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return Certificate.generate(now=datetime.datetime.now(datetime.UTC))


class Stranger:
    """Has an address of its own, and writes a victim's on datagrams."""

    def __init__(self, site: Site, server: WebRtcServer, certificate: Certificate) -> None:
        self.rng = random.Random(1)
        self.victim: Address = (site.add_guest().addresses[0], 4444)
        self.forged = 0
        """Bytes that have come to the server in the victim's name."""
        self._log = site.network.log
        self._server = server
        self.move(site)
        self._session = Session(Context(certificate), is_client=True, remote_fingerprints=(), now=0.0)
        self._session.start(0.0)

    def move(self, site: Site) -> None:
        """To another address of its own."""
        host = site.add_guest()
        self._socket = host.open_udp((host.addresses[0], 0))

    @property
    def state(self) -> SessionState:
        """How far its handshake is."""
        return self._session.state

    def check(self) -> bytes:
        return check(NAME, NAME.encode(), self.rng)

    def hello(self) -> bytes:
        """What the handshake has to say next."""
        (datagram, _) = self._session.poll_run(0.0)
        return datagram

    def say(self, data: bytes) -> None:
        """Under the own address."""
        self._socket.send(SERVER, data, None, None)

    def forge(self, data: bytes) -> None:
        """Under the victim's address."""
        via = self._server._places[0]._port.via(None)
        self._server._switchboard.receive([Received(via, self.victim, data)])
        self.forged += len(data)

    async def get_cookie(self) -> None:
        """Under the own address; the next thing to say is the hello that brings it."""
        self.say(self.check())
        await trio.sleep(0.2)
        self.say(self.hello())
        assert await self.listen() > 0

    async def shake_hands(self) -> None:
        """Under the own address, to the end."""
        await self.get_cookie()
        for _ in range(3):
            await self.go_on()
        assert self.state is SessionState.CONNECTED

    async def go_on(self) -> None:
        """Say what the handshake has to say next, again if it is time, and listen."""
        self._session.handle_timeout(trio.current_time())
        while (run := self._session.poll_run(0.0)) is not None:
            self.say(run[0])
        await self.listen()

    async def listen(self) -> int:
        """Take what has been answered; tells how many bytes of a handshake that was."""
        await trio.sleep(0.2)
        records = [
            datagram
            for arrival in self._socket.receive()
            for datagram in split_run(arrival.data, arrival.segment_size)
            if protocol_of(datagram) is Protocol.DTLS
        ]
        self._session.receive_datagrams(records, trio.current_time())
        return sum(map(len, records))

    def suffered(self, protocol: Protocol) -> int:
        """Bytes that have been sent to the victim."""
        return sum(
            len(entry.data)
            for entry in self._log
            if isinstance(entry, DatagramSent)
            and entry.from_ == SERVER
            and entry.to == self.victim
            and protocol_of(entry.data) is protocol
        )


@asynccontextmanager
async def strange(site: Site, certificate: Certificate, *, setup: str = "active") -> AsyncIterator[Stranger]:
    """A server that meets whoever knocks, and a stranger; at the end the victim has been sent no more than it seemed
    to have said, be it in the time in which everything is repeated."""

    async def meet_one(server: WebRtcServer, contact: FirstContact) -> None:
        offer = offer_of_a(contact)
        configuration = Configuration(
            ice_credentials=(contact.local_ufrag, contact.local_ufrag),
            certificates=[certificate],
            verify_remote_certificate=False,
        )
        async with server.open_peer_connection(configuration, first_contact=contact) as peer:
            sdp = offer.sdp.replace("a=setup:active", f"a=setup:{setup}")
            await peer.set_remote_description(SessionDescription("offer", sdp))
            await peer.set_local_description()
            try:
                await peer.wait_connected()
                await peer.wait_closed()
            except ConnectionFailedError:
                pass

    async def greet(server: WebRtcServer) -> None:
        async with trio.open_nursery() as nursery:
            async for contact in server.unknown_ufrags:
                nursery.start_soon(meet_one, server, contact)

    async with site.serve() as server, trio.open_nursery() as nursery:
        nursery.start_soon(greet, server)
        stranger = Stranger(site, server, certificate)
        yield stranger
        await trio.sleep(SETTLING_TIME)
        assert stranger.suffered(Protocol.DTLS) <= stranger.forged
        assert stranger.suffered(Protocol.STUN) <= stranger.forged
        nursery.cancel_scope.cancel()


async def test_a_forged_check_and_a_forged_hello_are_answered_with_less_than_they_bring(
    site: Site, autojump_clock, certificate: Certificate
):
    async with strange(site, certificate) as stranger:
        stranger.forge(stranger.check())
        await trio.sleep(0.2)
        stranger.forge(stranger.hello())
        await trio.sleep(SETTLING_TIME)
        assert 0 < stranger.suffered(Protocol.DTLS) + stranger.suffered(Protocol.STUN) < stranger.forged


async def test_a_forged_hello_that_comes_again_and_again_is_answered_each_time_with_less(
    site: Site, autojump_clock, certificate: Certificate
):
    async with strange(site, certificate) as stranger:
        stranger.forge(stranger.check())
        await trio.sleep(0.2)
        hello = stranger.hello()
        for _ in range(100):
            stranger.forge(hello)
            await trio.sleep(0.05)
        assert 0 < stranger.suffered(Protocol.DTLS) < stranger.forged / 2


async def test_a_cookie_got_at_the_own_address_proves_nothing_of_another(
    site: Site, autojump_clock, certificate: Certificate
):
    async with strange(site, certificate) as stranger:
        await stranger.get_cookie()
        hello = stranger.hello()
        stranger.forge(stranger.check())
        for _ in range(10):
            stranger.forge(hello)
            stranger.say(hello)
            await trio.sleep(0.5)
        assert stranger.suffered(Protocol.DTLS) > 0


async def test_a_cookie_brought_from_elsewhere_is_taken_and_the_handshake_goes_on_there(
    site: Site, autojump_clock, certificate: Certificate
):
    """It was asked for by one way and is brought by another, on which little may be said at first."""
    async with strange(site, certificate) as stranger:
        await stranger.get_cookie()
        stranger.move(site)
        stranger.say(stranger.check())
        with trio.fail_after(SETTLING_TIME):
            while stranger.state is not SessionState.CONNECTED:
                await stranger.go_on()


async def test_a_handshake_begun_at_the_own_address_is_not_carried_on_at_another(
    site: Site, autojump_clock, certificate: Certificate
):
    async with strange(site, certificate) as stranger:
        await stranger.get_cookie()
        hello = stranger.hello()
        stranger.say(hello)
        assert await stranger.listen() > len(hello)  # a flight, which will be repeated
        stranger.forge(stranger.check())


async def test_an_association_begun_at_the_own_address_is_not_carried_on_at_another(
    site: Site, autojump_clock, certificate: Certificate
):
    async with strange(site, certificate) as stranger:
        await stranger.shake_hands()
        stranger.forge(stranger.check())


SERVER_HELLO_FRAGMENT = bytes.fromhex("16fefd0000000000000000000d020000460000000001000001fe")
"""One byte of seventy."""


async def test_junk_proves_no_address_where_our_side_begins_the_handshake(
    site: Site, autojump_clock, certificate: Certificate
):
    async with strange(site, certificate, setup="passive") as stranger:
        stranger.forge(stranger.check())
        await trio.sleep(0.2)
        stranger.forge(SERVER_HELLO_FRAGMENT)


async def send_on_request(server: WebRtcServer, certificate: Certificate) -> None:
    """Meet whoever knocks, and send a megabyte to whoever asks."""
    async with meet(server, certificate, await server.unknown_ufrags.receive()) as peer:
        async for channel in peer.incoming_data_channels:
            await channel.receive()
            for _ in range(64):
                await channel.send(bytes(16_000))
            await peer.wait_closed()


async def test_what_was_asked_for_is_not_sent_to_somebody_else(site: Site, autojump_clock, certificate: Certificate):
    """A peer that has proved itself asks for a megabyte, and writes another's address on the next check."""
    of_b, victim = fingerprint(certificate), (site.add_guest().addresses[0], 4444)
    async with site.serve() as server, trio.open_nursery() as nursery:
        nursery.start_soon(send_on_request, server, certificate)
        async with dial(site.add_guest(), LISTEN[0], of_b, version=VERSION_2) as (peer, handshake):
            await shake_hands(peer, handshake, of_b)
            channel = peer.create_data_channel("more")
            await channel.wait_open()
            (name,) = server.get_stats().ufrags
            forged = check(name, name.encode(), random.Random(1))
            server._switchboard.receive([Received(server._places[0]._port.via(None), victim, forged)])
            await channel.send("all")
            await trio.sleep(SETTLING_TIME)
        sent = [entry for entry in site.network.log if isinstance(entry, DatagramSent) and entry.to == victim]
        assert 0 < sum(len(entry.data) for entry in sent) <= 2 * len(forged), "an answer, and what came as well"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("seed", range(5))
async def test_who_moves_is_asked_whether_it_hears_us_and_then_gets_all(make_site, autojump_clock, certificate, seed):
    """A megabyte is on its way when the peer is heard from another address, as behind a NAT that was restarted."""
    site = make_site(seed, loss=0.02)
    nat = site.network.add_nat("198.51.100.1")
    of_b, host = fingerprint(certificate), nat.add_host("192.168.0.2")
    async with site.serve() as server, trio.open_nursery() as nursery:
        nursery.start_soon(send_on_request, server, certificate)
        async with dial(host, LISTEN[0], of_b, version=VERSION_2) as (peer, handshake):
            await shake_hands(peer, handshake, of_b)
            channel = peer.create_data_channel("more")
            await channel.send("all")
            assert len(await channel.receive()) == 16_000
            nat.rebind()
            with trio.fail_after(SETTLING_TIME):
                for _ in range(63):
                    assert len(await channel.receive()) == 16_000
        nursery.cancel_scope.cancel()


async def test_no_more_of_our_hello_is_sent_than_was_heard(site: Site, autojump_clock, certificate: Certificate):
    """An application may have its own side begin the handshake, which repeats its first word for half a minute."""
    async with strange(site, certificate, setup="passive") as stranger:
        for _ in range(4):
            stranger.forge(stranger.check())
            await trio.sleep(0.5)
        assert stranger.suffered(Protocol.DTLS) > 0


@pytest.mark.parametrize("seed", range(10))
async def test_who_is_where_it_says_connects_under_loss(make_site, autojump_clock, certificate, seed: int):
    site = make_site(seed, loss=0.1)
    of_b = fingerprint(certificate)
    async with site.serve() as server, trio.open_nursery() as nursery:

        async def meet_one() -> None:
            async with meet(server, certificate, await server.unknown_ufrags.receive()) as peer:
                await peer.wait_closed()

        nursery.start_soon(meet_one)
        with trio.fail_after(SETTLING_TIME):
            async with dial(site.add_guest(), LISTEN[0], of_b, version=VERSION_2) as (peer, handshake):
                await shake_hands(peer, handshake, of_b)
