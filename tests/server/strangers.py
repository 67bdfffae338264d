"""What comes to a public server from people who were never invited: junk, guesses, and connections that say nothing."""

import random
from collections.abc import Mapping

import trio

from trio_webrtc import PeerConnection
from trio_webrtc.core.contract import Address
from trio_webrtc.core.stun.message import (
    ICE_CONTROLLING,
    PRIORITY,
    USE_CANDIDATE,
    USERNAME,
    Attribute,
    Message,
    MessageClass,
    Method,
)
from trio_webrtc.testing import VirtualHost
from trio_webrtc.testing.virtual_socket import VirtualUdpSocket
from trio_webrtc.testing.virtual_tcp import VirtualTcpSocket

CLIENT_HELLO = bytes.fromhex("16feff0000000000000000003a") + bytes(58)
"""What a DTLS handshake begins with, or nearly so."""


SOFTWARE = Attribute[str]("SOFTWARE")


def check(
    ufrag: str,
    key: bytes | None,
    rng: random.Random,
    extra: Mapping[Attribute, object] | None = None,
    *,
    nominates: bool = True,
    sender: str = "them",
) -> bytes:
    """A connectivity check for somebody, with a password or none."""
    return Message(
        method=Method.BINDING,
        message_class=MessageClass.REQUEST,
        transaction_id=rng.randbytes(12),
        attributes={
            USERNAME: f"{ufrag}:{sender}",
            PRIORITY: 2**31 - 1,
            ICE_CONTROLLING: 1,
            **({USE_CANDIDATE: None} if nominates else {}),
            **(extra or {}),
        },
    ).encode(key)


def name_of(peer: PeerConnection) -> str:
    """By what name a peer of a server may be asked for."""
    return peer._core.agent.local_credentials.ufrag


def key_of(peer: PeerConnection) -> bytes:
    """What checks for it have to be signed with."""
    return peer._core.agent.local_credentials.key


def junk(rng: random.Random, count: int, name: str) -> list[bytes]:
    """Datagrams of every kind that proves nothing, in any order. `name` is somebody's."""
    kinds = (
        lambda: rng.randbytes(rng.randrange(1400)),
        lambda: bytes([rng.randrange(4)]) + rng.randbytes(rng.randrange(1400)),
        lambda: check(f"nobody{rng.randrange(10**6)}", b"guessed", rng),
        lambda: check(name, b"guessed", rng),
        lambda: check(name, None, rng),
        lambda: CLIENT_HELLO,
        lambda: b"\x17\xfe\xfd" + rng.randbytes(1200),
        lambda: check(name, b"guessed", rng) + rng.randbytes(60_000),
    )
    return [kinds[number % len(kinds)]() for number in range(count)]


async def connect(host: VirtualHost, to: Address, count: int = 1, *, saying: bytes = b"") -> list[VirtualTcpSocket]:
    """Open some TCP connections, one after the other, and say something on each."""
    connections = []
    for _ in range(count):
        connections.append(await host.connect_tcp(None, to))
        if saying:
            connections[-1].send(saying)
    return connections


def is_open(connection: VirtualTcpSocket) -> bool:
    """Whether the other side has not ended it."""
    try:
        return connection.receive() != b""
    except OSError:
        return False


def heard_by(stranger: VirtualUdpSocket) -> list[bytes]:
    """The datagrams that have been answered."""
    heard = []
    for arrival in stranger.receive():
        size = arrival.segment_size or max(len(arrival.data), 1)
        heard += [arrival.data[at : at + size] for at in range(0, len(arrival.data), size)]
    return heard


async def flood(host: VirtualHost, to: Address, datagrams: list[bytes], *, at_once: int = 100) -> VirtualUdpSocket:
    """Send datagrams from a port of their own, in batches, and leave the port open."""
    stranger = host.open_udp((host.addresses[0], 0))
    host.mtu = 70_000
    for first in range(0, len(datagrams), at_once):
        for datagram in datagrams[first : first + at_once]:
            stranger.send(to, datagram, None, None)
        await trio.sleep(0.01)
    await trio.sleep(0.5)
    return stranger
