"""Whatever bytes reach a server's ports: nothing is raised, all is counted, and nobody gets more than he sends."""

import logging
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from aioice.stun import set_body_length
from hypothesis import example, given, settings
from hypothesis import strategies as st

from trio_webrtc import Configuration, SessionDescription, open_peer_connection
from trio_webrtc.core.stun import Message
from trio_webrtc.core.stun.integrity import is_signed_with
from trio_webrtc.core.stun.message import ICE_CONTROLLED, USERNAME, MessageClass, Method
from trio_webrtc.core.stun.peeking import is_binding_request, username_of
from trio_webrtc.shell.admission import MAX_FIRST_FRAME
from trio_webrtc.shell.framing import HEADER_LENGTH, Deframer, frame
from trio_webrtc.testing import DatagramSent, VirtualHost, VirtualNetwork
from trio_webrtc.testing.virtual_tcp import VirtualTcpSocket

from ..corpora.mutation import mutants, seeds_in
from .conftest import PORT, Site
from .strangers import CLIENT_HELLO, check

SERVER = ("10.0.0.1", PORT)
NAME, PASSWORD = "somebody", "PasswordOfSomebodyHere"
KEY = PASSWORD.encode()
KNOWN = Configuration(ice_credentials=(NAME, PASSWORD))
RNG = random.Random(1)
EXAMPLES = settings(max_examples=int(os.environ.get("TRIO_WEBRTC_RUNS", "20")) * 4)
MOST_BYTES = 4096
"""What somebody who knows the password is sent in ten seconds: an answer, checks and the begin of a handshake, and all
of these again and again, if he says no more."""


def request(*attribute: object, key: bytes | None = None) -> bytes:
    """A Binding request with one attribute or none."""
    return Message(
        method=Method.BINDING,
        message_class=MessageClass.REQUEST,
        transaction_id=bytes(12),
        attributes=dict([attribute] if attribute else []),
    ).encode(key)


def corpora() -> Path | None:
    folder = os.environ.get("TRIO_WEBRTC_CORPORA")
    return Path(folder) if folder else None


SEEDS = [
    check(NAME, KEY, RNG),
    check(NAME, KEY, RNG, {ICE_CONTROLLED: 1}),
    check(NAME, b"guessed", RNG),
    check(NAME, None, RNG),
    check("nobody", b"guessed", RNG),
    request(),
    request(USERNAME, f"{NAME}:"),
    request(USERNAME, f"{NAME}:", key=b"guessed"),
    request(USERNAME, f"{NAME}:", key=KEY),
    set_body_length(request(USERNAME, f"{NAME}:")[:-8], 16),
    Message.decode(check(NAME, KEY, RNG)).answer({}).encode(KEY),
    Message.decode(check(NAME, KEY, RNG)).refuse(487).encode(KEY),
    CLIENT_HELLO,
    b"",
    *seeds_in(corpora(), "libwebrtc-fuzz/stun-corpus", "aiortc-vectors/aioice"),
]
DATAGRAMS = st.one_of(st.sampled_from(SEEDS), mutants(SEEDS), st.binary(max_size=100))


def run(test, *arguments: object) -> None:
    """Run a test in virtual time, and see that nothing was worth an error in the log."""
    with no_error_is_logged():
        trio.run(test, *arguments, clock=trio.testing.MockClock(autojump_threshold=0))


@contextmanager
def no_error_is_logged() -> Iterator[None]:
    records: list[logging.LogRecord] = []
    handler = logging.Handler(logging.ERROR)
    handler.emit = records.append
    logging.getLogger("trio_webrtc").addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger("trio_webrtc").removeHandler(handler)
    assert not records, records


def a_site() -> Site:
    network = VirtualNetwork(seed=1, latency=0.01)
    return Site(network, network.add_host("10.0.0.1"), [])


def datagrams_to(network: VirtualNetwork, host: VirtualHost) -> list[bytes]:
    sent = [entry for entry in network.log if isinstance(entry, DatagramSent)]
    return [entry.data for entry in sent if entry.to[0] in host.addresses]


def send_from(host: VirtualHost, *datagrams: bytes) -> None:
    host.mtu = 70_000
    socket = host.open_udp((host.addresses[0], 0))
    for datagram in datagrams:
        socket.send(SERVER, datagram, None, None)


def knows_the_password(datagram: bytes) -> bool:
    """Whether it is a check, of whatever worth, by somebody who was told how to make one."""
    is_for_us = is_binding_request(datagram) and (username_of(datagram) or ("",))[0] == NAME
    return is_for_us and is_signed_with(datagram, KEY)


# -- no amplification ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ice_lite", [True, False], ids=["lite", "full"])
@pytest.mark.parametrize("is_told_of_its_peer", [True, False], ids=["answering", "offering"])
def test_nobody_gets_more_than_he_sends_without_the_password(ice_lite: bool, is_told_of_its_peer: bool):
    """Whatever is sent, in whose name ever, to a server with a peer whose name is known.

    Who knows the password gets an answer (RFC 8445 §7.3), is asked back by a full agent (§7.3.1.4), and is offered a
    handshake; that, too, has an end.
    """
    ratios, most_bytes = [0.0], [0.0]

    async def probe(datagrams: Sequence[bytes]) -> None:
        site = a_site()
        stranger, elsewhere = site.add_guest(), site.add_guest()
        async with site.serve() as server, server.open_peer_connection(KNOWN, ice_lite=ice_lite) as peer:
            if is_told_of_its_peer:
                await peer.set_remote_description(await offer_from(elsewhere))
            else:
                peer.create_data_channel("chat")
            await peer.set_local_description()
            send_from(stranger, *datagrams)
            await trio.sleep(10)
        answers = datagrams_to(site.network, stranger)
        sent, answered = sum(map(len, datagrams)), sum(map(len, answers))
        if not any(knows_the_password(datagram) for datagram in datagrams):
            assert answered <= sent
            ratios.append(answered / max(1, sent))
        else:
            assert answered <= len(datagrams) * MOST_BYTES
            most_bytes.append(answered / len(datagrams))

    @EXAMPLES
    @given(st.lists(DATAGRAMS, min_size=1, max_size=3))
    @example([request(USERNAME, f"{NAME}:")])
    @example([request(USERNAME, f"{NAME}:", key=b"guessed")])
    @example([request()])
    def fuzz(datagrams: Sequence[bytes]) -> None:
        run(probe, datagrams)

    fuzz()
    print(f"at most {max(ratios):.2f} bytes for a byte, {max(most_bytes):.0f} for a datagram with the password")


async def offer_from(host: VirtualHost) -> SessionDescription:
    """The offer of a client that is not there any more."""
    async with open_peer_connection(network=host) as client:
        client.create_data_channel("chat")
        await client.set_local_description()
        await client.wait_gathering_complete()
        return client.local_description


# -- everything is counted -------------------------------------------------------------------------------------------


@EXAMPLES
@given(st.lists(st.tuples(st.integers(0, 3), DATAGRAMS), max_size=12))
def test_every_datagram_is_somebodys_or_counted(datagrams: Sequence[tuple[int, bytes]]):
    """By UDP, from four addresses that may prove themselves or not."""

    async def probe() -> None:
        site = a_site()
        guests = [site.add_guest() for _ in range(4)]
        async with site.serve() as server, server.open_peer_connection(KNOWN) as peer:
            for number, datagram in datagrams:
                send_from(guests[number], datagram)
            await trio.sleep(1)
            stats = server.get_stats()
            counted = stats.checks_for_unknown_ufrags, stats.checks_with_wrong_passwords
            counted += stats.datagrams_from_unknown_addresses, peer._core.traffic.datagrams_received
            assert sum(counted) == len(datagrams)
            proved = {number for number, datagram in datagrams if knows_the_password(datagram)}
            assert {host for host, _ in stats.remote_addresses} <= {guests[number].addresses[0] for number in proved}
        assert server.get_stats().remote_addresses == ()

    run(probe)


STREAMS = st.lists(
    st.one_of(
        DATAGRAMS.map(frame),
        mutants([frame(seed) for seed in SEEDS]),
        st.binary(max_size=50),
        st.sampled_from([bytes(2), b"\xff\xff", b"GET / HTTP/1.1\r\n\r\n", bytes(3000)]),
    ),
    max_size=4,
)
ENDS = (VirtualTcpSocket.close, VirtualTcpSocket.end_sending, VirtualTcpSocket.reset, None)


@EXAMPLES
@given(st.lists(st.tuples(STREAMS, st.sampled_from(ENDS)), max_size=5), st.sampled_from([1, 7, 65_536]))
def test_every_connection_is_somebodys_or_counted(
    visits: Sequence[tuple[Sequence[bytes], Callable[[VirtualTcpSocket], None] | None]], piece: int
):
    """By TCP, in pieces of any size, ended in any way or not at all."""

    async def visit(host: VirtualHost, stream: bytes, end: Callable[[VirtualTcpSocket], None] | None) -> None:
        connection = await host.connect_tcp(None, SERVER)
        for at in range(0, min(len(stream), 100 * piece), piece):
            try:
                connection.send(stream[at : at + piece])
            except OSError:
                break  # the server has had enough
            await trio.sleep(0.001)
        await trio.sleep(1)
        if end is not None:
            end(connection)

    async def probe() -> None:
        site = a_site()
        async with site.serve() as server, server.open_peer_connection(KNOWN):
            async with trio.open_nursery() as nursery:
                for parts, end in visits:
                    nursery.start_soon(visit, site.add_guest(), b"".join(parts), end)
            await trio.sleep(10)
            stats = server.get_stats()
            assert stats.tcp_connections_waiting == 0
            most = min(100 * piece, MAX_FIRST_FRAME + HEADER_LENGTH)
            firsts = [Deframer().feed(b"".join(parts)[:most])[:1] for parts, _ in visits]
            welcome = sum(knows_the_password(first[0]) for first in firsts if first)
            assert sum(stats.tcp_connections_refused.values()) + welcome == len(visits)
            assert "failed" not in stats.tcp_connections_refused
            assert stats.tcp_connections <= welcome
        assert server.get_stats().tcp_connections == 0

    run(probe)
