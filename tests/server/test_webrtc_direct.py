"""Peers that begin without signalling: first contacts, and libp2p's webrtc-direct, which is made of them."""

import datetime
import random

import pytest
import trio

from trio_webrtc import (
    Certificate,
    CloseReason,
    Configuration,
    ConnectionFailedError,
    FailureReason,
    FirstContact,
    ListenAddress,
    PeerConnection,
    ServerLimits,
    UsageError,
    WebRtcServer,
)
from trio_webrtc.core.contract import Received
from trio_webrtc.core.stun.message import USERNAME, Message, MessageClass, Method
from trio_webrtc.shell.framing import frame
from trio_webrtc.testing import VirtualHost

from ..surface.quiescence import nothing_stays_behind
from . import strangers
from .conftest import LISTEN, PORT, Site, echo
from .webrtc_direct import (
    MAX_MESSAGE_SIZE,
    VERSION_1,
    VERSION_2,
    ImpostorError,
    dial,
    fingerprint,
    meet,
    offer_of_a,
    prologue,
    shake_hands,
)

UDP, TCP = LISTEN
SETTLING_TIME = 60.0
"""Virtual seconds, in which everything that is repeated has been."""


@pytest.fixture(scope="module")
def certificate() -> Certificate:
    return Certificate.generate(now=datetime.datetime.now(datetime.UTC))


async def greet(server: WebRtcServer, certificate: Certificate, met: list[FirstContact]) -> None:
    """Be B: meet everybody who knocks, and echo on all channels that come after the handshake."""

    async def meet_one(contact: FirstContact) -> None:
        async with meet(server, certificate, contact) as peer:
            await echo(peer)

    async with trio.open_nursery() as nursery:
        async for contact in server.unknown_ufrags:
            met.append(contact)
            if offer_of_a(contact) is not None:
                nursery.start_soon(meet_one, contact)


async def exchange(peer: PeerConnection) -> None:
    """Talk on a channel that is opened after the handshake."""
    async with peer.create_data_channel("/echo/1.0.0") as channel:
        for message in ("hello", bytes(MAX_MESSAGE_SIZE)):
            await channel.send(message)
            assert await channel.receive() == message


async def visit(host: VirtualHost, listen: ListenAddress, certificate: Certificate, version: str) -> None:
    """Be A: dial, prove, talk."""
    of_b = fingerprint(certificate)
    with trio.fail_after(SETTLING_TIME):
        async with dial(host, listen, of_b, version=version) as (peer, handshake):
            await shake_hands(peer, handshake, of_b)
            await exchange(peer)


def check(local_ufrag: str, remote_ufrag: str, rng: random.Random) -> bytes:
    """A connectivity check of somebody who knows this name, or has made it up."""
    message = Message(
        method=Method.BINDING,
        message_class=MessageClass.REQUEST,
        transaction_id=rng.randbytes(12),
        attributes={USERNAME: f"{local_ufrag}:{remote_ufrag}"},
    )
    return message.encode(local_ufrag.encode())


def test_the_prologue_is_that_of_the_specification():
    """Its test vector."""
    of_a = bytes.fromhex("3e79af40d6059617a0d83b83a52ce73b0c1f37a72c6043ad2969e2351bdca870")
    of_b = bytes.fromhex("30fc9f469c207419dfdd0aab5f27a86c973c94e40548db9375cca2e915973b99")
    assert prologue(of_a, of_b).hex() == (
        "6c69627032702d7765627274632d6e6f6973653a1220"
        "3e79af40d6059617a0d83b83a52ce73b0c1f37a72c6043ad2969e2351bdca8701220"
        "30fc9f469c207419dfdd0aab5f27a86c973c94e40548db9375cca2e915973b99"
    )


@pytest.mark.parametrize("version", [VERSION_1, VERSION_2])
@pytest.mark.parametrize("listen", [UDP, TCP], ids=["udp", "tcp"])
async def test_a_peer_that_knows_address_and_certificate_needs_no_signalling(
    site: Site, autojump_clock, certificate: Certificate, listen: ListenAddress, version: str
):
    async def run() -> None:
        met: list[FirstContact] = []
        async with site.serve() as server, trio.open_nursery() as nursery:
            nursery.start_soon(greet, server, certificate, met)
            await visit(site.add_guest(), listen, certificate, version)
            assert [contact.transport for contact in met] == [listen.transport]
            assert met[0].remote_address[0] == site.guests[0].interfaces()[0].address
            await trio.sleep(SETTLING_TIME)
            assert server.get_stats().peers == 0
            nursery.cancel_scope.cancel()

    with nothing_stays_behind():
        await run()


async def test_many_dial_at_once_each_in_its_own_version_and_transport(site: Site, autojump_clock, certificate):
    met: list[FirstContact] = []
    async with site.serve() as server, trio.open_nursery() as listening:
        listening.start_soon(greet, server, certificate, met)
        async with trio.open_nursery() as visitors:
            for number in range(20):
                version = VERSION_2 if number % 4 < 2 else VERSION_1
                visitors.start_soon(visit, site.add_guest(), LISTEN[number % 2], certificate, version)
        assert len(met) == 20
        listening.cancel_scope.cancel()


async def test_repeated_checks_of_somebody_who_was_met_are_no_second_contact(site: Site, autojump_clock, certificate):
    met: list[FirstContact] = []
    of_b = fingerprint(certificate)
    async with site.serve() as server, trio.open_nursery() as nursery:
        async with dial(site.add_guest(), UDP, of_b, version=VERSION_1) as (peer, handshake):
            await trio.sleep(0.7)  # B is slow to look, and A asks again and again
            assert server.get_stats().checks_for_unknown_ufrags > 1
            nursery.start_soon(greet, server, certificate, met)
            with trio.fail_after(SETTLING_TIME):
                await shake_hands(peer, handshake, of_b)
            await trio.sleep(SETTLING_TIME)
            assert len(met) == 1
            assert server.get_stats().peers == 1
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("nominates", [True, False])
@pytest.mark.parametrize(
    ("seconds", "patience"), [(-1.0, 1), (0.11, 10), (0.2, 1)], ids=["before", "as the handshake ends", "after"]
)
async def test_a_check_that_is_forged_to_come_from_a_newcomer_does_not_keep_it_out(
    site: Site, autojump_clock, certificate: Certificate, seconds: float, patience: float, nominates: bool
):
    """Somebody writes A's address on a check for a name of his own, before A dials or so many seconds after.

    What is taken from A in the midst of its handshake it gets back with its next check, which is seconds away.
    """
    of_b, host, port = fingerprint(certificate), site.add_guest(), 4444
    name = VERSION_1 + "z" * 30
    forged = strangers.check(name, name.encode(), random.Random(1), sender=name, nominates=nominates)
    async with site.serve() as server, trio.open_nursery() as nursery:
        nursery.start_soon(greet, server, certificate, [])
        via = server._places[0]._port.via(None)

        async def forge() -> None:
            await trio.sleep(max(seconds, 0))
            server._switchboard.receive([Received(via, (host.addresses[0], port), forged)])

        nursery.start_soon(forge)
        await trio.sleep(max(-seconds, 0))
        async with dial(host, UDP, of_b, version=VERSION_1, port_range=(port, port)) as (peer, handshake):
            with trio.fail_after(patience):
                await shake_hands(peer, handshake, of_b)
                await exchange(peer)
            connected = [met for met in server._peers if met.connection_state == "connected"]
            assert [strangers.name_of(met) for met in connected] == [strangers.name_of(peer)]
        nursery.cancel_scope.cancel()


async def test_b_turns_down_whoever_sees_other_certificates(site: Site, autojump_clock, certificate: Certificate):
    """As somebody in between does, who passes on what another one has answered."""
    of_b = fingerprint(certificate)
    async with site.serve() as server, dial(site.add_guest(), UDP, of_b, version=VERSION_1) as (peer, handshake):
        with trio.fail_after(SETTLING_TIME):
            async with trio.open_nursery() as nursery:

                async def answer_for_another() -> None:
                    await handshake.receive()
                    await handshake.send(prologue(bytes(32), of_b))

                nursery.start_soon(answer_for_another)
                with pytest.raises(ImpostorError):
                    async with meet(server, certificate, await server.unknown_ufrags.receive()):
                        pytest.fail("B took an impostor for A")
            assert await peer.wait_closed() is CloseReason.REMOTE
        assert server.get_stats().peers == 0


async def test_a_turns_down_a_server_with_another_certificate(site: Site, autojump_clock, certificate: Certificate):
    async with site.serve() as server, dial(site.add_guest(), UDP, bytes(32), version=VERSION_1) as (peer, _):
        with trio.fail_after(SETTLING_TIME):
            with pytest.raises(ConnectionFailedError):
                async with meet(server, certificate, await server.unknown_ufrags.receive()):
                    pytest.fail("A took an impostor for B")
            with pytest.raises(ConnectionFailedError) as failure:
                await peer.wait_connected()
        assert failure.value.reason is FailureReason.FINGERPRINT_MISMATCH


async def test_contacts_that_nobody_takes_are_bounded_and_get_no_answer(site: Site, autojump_clock):
    rng, guest = random.Random(1), site.add_guest()
    names = [f"{VERSION_1}{number:032}" for number in range(1000)]
    async with site.serve(limits=ServerLimits(max_unknown_ufrags=8)) as server:
        flood = guest.open_udp((guest.interfaces()[0].address, 0))
        for name in names:
            flood.send((UDP.host, PORT), check(name, name, rng), None, None)
        await trio.sleep(1)
        stats = server.get_stats()
        assert (stats.peers, stats.ufrags, stats.remote_addresses) == (0, (), ())
        assert (stats.checks_for_unknown_ufrags, stats.first_contacts_dropped) == (1000, 992)
        assert [(await server.unknown_ufrags.receive()).local_ufrag for _ in range(8)] == names[:8]
        with trio.move_on_after(SETTLING_TIME) as waiting:
            await server.unknown_ufrags.receive()
        assert waiting.cancelled_caught
        assert flood.receive() == []
        flood.close()


async def test_connections_whose_contact_nobody_takes_end_at_the_deadline(site: Site, autojump_clock):
    rng, guest = random.Random(1), site.add_guest()
    limits = ServerLimits(max_unknown_ufrags=8, first_check_timeout=3.0)
    async with site.serve(limits=limits) as server:
        sockets = [await guest.connect_tcp(None, (TCP.host, PORT)) for _ in range(20)]
        for number, socket in enumerate(sockets):
            name = f"{VERSION_1}{number:032}"
            socket.send(frame(check(name, name, rng)))
        await trio.sleep(1)
        stats = server.get_stats()
        assert (stats.tcp_connections_waiting, stats.first_contacts_dropped) == (20, 12)
        await trio.sleep(3)
        assert server.get_stats().tcp_connections == 0
        for socket in sockets:
            socket.close()


@pytest.mark.parametrize("name", ["\r\na=ice-lite", "libp2p webrtc", "abc", "x" * 257])
async def test_a_name_that_no_description_can_have_is_no_contact(site: Site, autojump_clock, name: str):
    """Applications write the names into descriptions, which a line break would have come to an end."""
    rng, guest = random.Random(1), site.add_guest()
    async with site.serve() as server:
        socket = guest.open_udp((guest.interfaces()[0].address, 0))
        for local_ufrag, remote_ufrag in ((name, "good"), ("good", name), ("good", "good")):
            socket.send((UDP.host, PORT), check(local_ufrag, remote_ufrag, rng), None, None)
        await trio.sleep(1)
        contact = await server.unknown_ufrags.receive()
        assert (contact.local_ufrag, contact.remote_ufrag) == ("good", "good")
        assert server.get_stats().first_contacts_dropped == 2
        socket.close()


async def test_a_contact_is_met_once(site: Site, autojump_clock, certificate: Certificate):
    async with site.serve() as server, dial(site.add_guest(), UDP, fingerprint(certificate), version=VERSION_1):
        contact = await server.unknown_ufrags.receive()
        credentials = Configuration(ice_credentials=(contact.local_ufrag, contact.local_ufrag))
        async with server.open_peer_connection(credentials, first_contact=contact):
            with pytest.raises(UsageError, match="a peer of this server has the name"):
                async with server.open_peer_connection(credentials, first_contact=contact):
                    pytest.fail("two have the same name")
        with pytest.raises(UsageError, match="give the name that was asked for"):
            async with server.open_peer_connection(first_contact=contact):
                pytest.fail("it has another name than the one that was asked for")


async def test_contacts_end_with_the_server(site: Site, autojump_clock):
    async with site.serve() as server:
        await server.aclose()
        with pytest.raises(trio.EndOfChannel):
            await server.unknown_ufrags.receive()
