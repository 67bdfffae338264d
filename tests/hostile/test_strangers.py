"""Datagrams from addresses that have proved nothing, and checks that prove nothing: they reach nothing."""

import hmac
import random
import struct
import zlib

import pytest
import trio

from trio_webrtc import PeerConnection, open_peer_connection
from trio_webrtc.core.contract import Address
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.message import ICE_CONTROLLING, PRIORITY, USE_CANDIDATE, USERNAME
from trio_webrtc.testing import DatagramSent, VirtualHost

from ..surface.conftest import World, negotiate
from .conftest import OpenScene, Scene
from .test_floods import WHATEVER, bounded
from .test_sctp import no_bug_is_met

__all__ = ["no_bug_is_met"]


def send_from(host: VirtualHost, to: Address, *datagrams: bytes) -> None:
    socket = host.open_udp((host.addresses[":" in to[0]], 0))
    for datagram in datagrams:
        socket.send(to, datagram, None, None)
    # The socket stays open: answers reach it, and nobody reads them.


def a_check(credentials, key: bytes | None, rng: random.Random, **extra: object) -> bytes:
    return Message(
        method=Method.BINDING,
        message_class=MessageClass.REQUEST,
        transaction_id=rng.randbytes(12),
        attributes={
            USERNAME: f"{credentials.ufrag}:them",
            PRIORITY: 2**31 - 1,
            ICE_CONTROLLING: 2**64 - 1,
            USE_CANDIDATE: b"",
            **extra,
        },
    ).encode(key)


def address_of(peer: PeerConnection) -> Address:
    return peer._core.agent.selected_pair.via.port.local_address


async def hear_of_life(scene: Scene) -> None:
    with trio.fail_after(5):
        await scene.near.send("still there?")
        assert await scene.far.receive() == "still there?"
        await scene.far.send("yes")
        assert await scene.near.receive() == "yes"


async def test_whatever_a_stranger_sends_reaches_neither_dtls_nor_sctp(open_scene: OpenScene, autojump_clock):
    async with open_scene() as scene:
        victim, rng = scene.victim, random.Random(1)
        await trio.sleep(1)  # all that the two have to say to each other has been said
        overheard = [entry.data for entry in scene.world.network.log if isinstance(entry, DatagramSent)]
        records = [data for data in overheard if 20 <= data[0] <= 63]
        stage, address = victim._core.stage, address_of(victim)
        before = repr(stage.session.counters), stage.association.counters.packets_received
        dropped = victim._core.traffic.datagrams_dropped
        noise = [bytes([first]) + rng.randbytes(rng.randrange(1400)) for first in range(256)]
        send_from(scene.world.network.add_host("10.9.9.9", "fd09::9"), address, *records, *noise)
        await trio.sleep(1)
        assert (repr(stage.session.counters), stage.association.counters.packets_received) == before
        assert victim._core.traffic.datagrams_dropped >= dropped + len(records)
        assert address_of(victim) == address
        await hear_of_life(scene)


async def test_a_stranger_cannot_get_in_before_the_peer_has(world: World, autojump_clock):
    """A handshake is offered from everywhere while checks are still under way: only the peer's is taken."""
    stranger = world.network.add_host("10.9.9.9", "fd09::9")
    hello = bytes.fromhex("16feff0000000000000000003a") + bytes(58)
    async with world.meet() as (_, _, _, _):
        recorded = [e.data for e in world.network.log if isinstance(e, DatagramSent) and e.data[0] == 22]
    async with (
        open_peer_connection(network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
        trio.open_nursery() as nursery,
    ):

        async def intrude() -> None:
            while True:
                for host in (world.left, world.right):
                    for address in host.sockets:
                        send_from(stranger, address, hello, *recorded)
                await trio.sleep(0.002)

        nursery.start_soon(intrude)
        channel = caller.create_data_channel("chat")
        await negotiate(caller, callee)
        await channel.wait_open()
        assert caller._core.stage.session.counters.malformed_datagrams == 0
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("what", ["no key", "another key", "another name", "cut short", "flipped"])
async def test_a_check_with_forged_integrity_nominates_nothing_and_opens_no_door(
    open_scene: OpenScene, autojump_clock, what: str
):
    async with open_scene() as scene:
        rng = random.Random(2)
        victim, address = scene.victim, address_of(scene.victim)
        own = victim._core.agent.local_credentials
        stranger = scene.world.network.add_host("10.9.9.9", "fd09::9")
        match what:
            case "no key":
                forged = a_check(own, None, rng)
            case "another key":
                forged = a_check(own, b"x" * 22, rng)
            case "another name":
                forged = a_check(own, own.key, rng).replace(own.ufrag.encode(), b"NOPE"[: len(own.ufrag)])
            case "cut short":
                forged = a_check(own, own.key, rng)[:-12]
            case _:
                good = bytearray(a_check(own, own.key, rng))
                good[25] ^= 1
                forged = bytes(good)
        pairs = victim._core.agent.pairs_snapshot()
        send_from(stranger, address, *[forged] * 100)
        await scene.intruder.send_datagrams(forged)
        await trio.sleep(1)
        assert victim._core.agent.pairs_snapshot() == pairs
        validated = victim._core.agent._validated
        assert not [path for path in validated if path[1][0] in stranger.addresses]
        assert address_of(victim) == address
        await hear_of_life(scene)


async def test_answers_to_checks_that_were_never_sent_are_ignored(open_scene: OpenScene, autojump_clock):
    async with open_scene() as scene:
        rng = random.Random(3)
        key = scene.intruder.connection._core.agent.local_credentials.key
        for message_class in (MessageClass.RESPONSE, MessageClass.ERROR, MessageClass.INDICATION):
            message = Message(
                method=Method.BINDING, message_class=message_class, transaction_id=rng.randbytes(12), attributes={}
            )
            await scene.intruder.send_datagrams(*[message.encode(key)] * 50)
        await hear_of_life(scene)


async def test_a_flood_of_good_checks_from_everywhere_keeps_within_its_bounds(open_scene: OpenScene, autojump_clock):
    """From who knows the password, under addresses that are not its own: nobody answers there."""
    async with open_scene() as scene:
        rng = random.Random(4)
        agent, address = scene.victim._core.agent, address_of(scene.victim)
        hosts = [scene.world.network.add_host(f"10.8.{n // 250}.{n % 250}", f"fd08::{n + 1:x}") for n in range(500)]
        with bounded(2 * WHATEVER):
            for host in hosts:
                send_from(host, address, *[a_check(agent.local_credentials, agent.local_credentials.key, rng)] * 4)
                await trio.sleep(0.01)
            for host in hosts:
                for socket in list(host.sockets.values()):
                    socket.close()
            await trio.sleep(1)
        assert len(agent.pairs_snapshot()) <= agent._settings.max_pairs
        assert len(agent._validated) <= agent._settings.max_validated
        assert address_of(scene.victim) == address
        await hear_of_life(scene)
        await trio.sleep(60)  # consent goes on being asked for and given
        await hear_of_life(scene)


async def test_nominations_with_numbers_of_any_order_are_answered_and_harm_nothing(
    open_scene: OpenScene, autojump_clock
):
    """E9: libwebrtc's renomination, where a higher number overrules a lower one: an optional attribute here."""
    async with open_scene() as scene:
        rng, agent = random.Random(5), scene.victim._core.agent
        address = address_of(scene.victim)
        own, their_key = agent.local_credentials, agent.local_credentials.key
        for number in (5, 5, 4, 0, 0xFFFFFF):
            transaction_id = rng.randbytes(12)
            check = signed_check(
                transaction_id,
                their_key,
                (0x0006, f"{own.ufrag}:{agent.remote_credentials.ufrag}".encode()),
                (0x0024, struct.pack("!I", 1)),
                (0x802A, bytes(8)),
                (0x0025, b""),
                (0xC001, struct.pack("!I", number)),
            )
            await scene.intruder.send_datagrams(check)
            answers = [e.data for e in scene.world.network.log if isinstance(e, DatagramSent)]
            assert any(data[:2] == b"\x01\x01" and data[8:20] == transaction_id for data in answers)
        assert address_of(scene.victim) == address
        await hear_of_life(scene)


def signed_check(transaction_id: bytes, key: bytes, *attributes: tuple[int, bytes]) -> bytes:
    """A Binding request made by hand, for attributes that our own encoder does not know (RFC 8489 §5, §14.5)."""
    body = b"".join(struct.pack("!HH", kind, len(value)) + value + bytes(-len(value) % 4) for kind, value in attributes)
    cookie = bytes.fromhex("2112a442")
    signed = struct.pack("!HH", 1, len(body) + 24) + cookie + transaction_id + body
    integrity = struct.pack("!HH", 0x0008, 20) + hmac.digest(key, signed, "sha1")
    whole = struct.pack("!HH", 1, len(body) + 32) + cookie + transaction_id + body + integrity
    return whole + struct.pack("!HHI", 0x8028, 4, zlib.crc32(whole) ^ 0x5354554E)
