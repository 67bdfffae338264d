"""What libp2p's webrtc-direct asks of both sides, as far as it is WebRTC's affair.

https://github.com/libp2p/specs/blob/master/webrtc/webrtc-direct.md: the dialling side A knows the address and the
certificate of the listening side B beforehand, and writes B's answer itself. B learns of A by A's first check. In
version 1 A has changed its own offer, so that both sides' name and password are one word; in version 2 it has not, and
tells its password in the name that it gives to B.

The handshake here is no Noise: it compares what Noise's prologue would bind, the fingerprints as each side sees them.
"""

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trio_webrtc import (
    Certificate,
    Configuration,
    DataChannel,
    FirstContact,
    ListenAddress,
    PeerConnection,
    SessionDescription,
    WebRtcServer,
    open_peer_connection,
)
from trio_webrtc.testing import VirtualHost

VERSION_1 = "libp2p+webrtc+v1/"
VERSION_2 = "libp2p+webrtc+v2/"
MAX_MESSAGE_SIZE = 16_384
SHA_256 = b"\x12\x20"
"""What a multihash begins with if 32 bytes of SHA-256 follow."""


class ImpostorError(Exception):
    """The two sides do not see the same certificates."""


def prologue(fingerprint_a: bytes, fingerprint_b: bytes) -> bytes:
    """What both sides' Noise handshakes begin from."""
    return b"libp2p-webrtc-noise:" + SHA_256 + fingerprint_a + SHA_256 + fingerprint_b


def fingerprint(certificate: Certificate) -> bytes:
    return certificate.fingerprints()[0].value


def _description(ufrag: str, password: str, fingerprint: bytes, setup: str, *more: str) -> str:
    lines = [
        "v=0",
        "o=- 1 1 IN IP4 0.0.0.0",
        "s=-",
        "t=0 0",
        "a=group:BUNDLE 0",
        *more,
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        f"a=ice-ufrag:{ufrag}",
        f"a=ice-pwd:{password}",
        f"a=fingerprint:sha-256 {fingerprint.hex(':').upper()}",
        f"a=setup:{setup}",
        "a=sctp-port:5000",
        f"a=max-message-size:{MAX_MESSAGE_SIZE}",
    ]
    return "".join(f"{line}\r\n" for line in lines)


def answer_of_b(name: str, fingerprint: bytes, listen: ListenAddress) -> SessionDescription:
    """The answer that A writes for B (step 4)."""
    tcp = " tcptype passive" if listen.transport == "tcp" else ""
    return SessionDescription(
        "answer",
        _description(name, name, fingerprint, "passive", "a=ice-lite")
        + f"a=candidate:1 1 {listen.transport.upper()} 1 {listen.host} {listen.port} typ host{tcp}\r\n"
        + "a=end-of-candidates\r\n",
    )


def offer_of_a(contact: FirstContact) -> SessionDescription | None:
    """The offer of A that B infers from its first check (step 6); None: it speaks no version that we know."""
    if contact.local_ufrag.startswith(VERSION_1) and contact.local_ufrag == contact.remote_ufrag:
        password = contact.remote_ufrag
    elif contact.local_ufrag.startswith(VERSION_2):
        password = contact.local_ufrag.removeprefix(VERSION_2)
    else:
        return None
    whatever = bytes(32)  # the fingerprint is compared later, when the handshake tells of it
    return SessionDescription("offer", _description(contact.remote_ufrag, password, whatever, "active"))


@asynccontextmanager
async def meet(server: WebRtcServer, certificate: Certificate, contact: FirstContact) -> AsyncIterator[PeerConnection]:
    """B's connection to whoever made a first contact, authenticated. Raises ImpostorError."""
    offer = offer_of_a(contact)
    assert offer is not None
    configuration = Configuration(
        ice_credentials=(contact.local_ufrag, contact.local_ufrag),
        certificates=[certificate],
        verify_remote_certificate=False,
        max_message_size=MAX_MESSAGE_SIZE,
    )
    async with server.open_peer_connection(configuration, first_contact=contact) as peer:
        handshake = peer.create_data_channel("", negotiated=True, id=0)
        await peer.set_remote_description(offer)
        await peer.set_local_description()
        await peer.wait_connected()
        expected = prologue(hashlib.sha256(peer.remote_certificates[0]).digest(), fingerprint(certificate))
        await handshake.send(expected)  # B speaks first
        if await handshake.receive() != expected:
            raise ImpostorError
        await handshake.aclose()
        yield peer


@asynccontextmanager
async def dial(
    host: VirtualHost,
    listen: ListenAddress,
    fingerprint_of_b: bytes,
    *,
    version: str,
    port_range: tuple[int, int] | None = None,
) -> AsyncIterator[tuple[PeerConnection, DataChannel]]:
    """A's connection, and the channel for its handshake, which has not begun."""
    name = version + secrets.token_hex(16)
    credentials = (name, name) if version == VERSION_1 else None
    configuration = Configuration(ice_credentials=credentials, max_message_size=MAX_MESSAGE_SIZE, port_range=port_range)
    async with open_peer_connection(configuration, network=host) as peer:
        handshake = peer.create_data_channel("", negotiated=True, id=0)
        await peer.set_local_description()
        if version == VERSION_2:
            name = version + _own(peer, "ice-pwd")
        await peer.set_remote_description(answer_of_b(name, fingerprint_of_b, listen))
        yield peer, handshake


async def shake_hands(peer: PeerConnection, handshake: DataChannel, fingerprint_of_b: bytes) -> None:
    """A's part of the handshake. Raises ImpostorError."""
    of_a = bytes.fromhex(_own(peer, "fingerprint:sha-256 ").replace(":", ""))
    if await handshake.receive() != prologue(of_a, fingerprint_of_b):
        raise ImpostorError
    await handshake.send(prologue(of_a, fingerprint_of_b))
    await handshake.wait_closed()


def _own(peer: PeerConnection, attribute: str) -> str:
    """What A's own description says of itself."""
    assert peer.local_description is not None
    return peer.local_description.sdp.partition(f"a={attribute}")[2].lstrip(":").split()[0]
