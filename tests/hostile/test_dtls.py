"""What a peer may say in DTLS beside application data, and what one failed session does to the others of its thread."""

import struct

import pytest
import trio
from cryptography.hazmat.bindings.openssl.binding import Binding
from OpenSSL import SSL

from trio_webrtc import CloseReason, ConnectionFailedError, FailureReason, SessionDescription, open_peer_connection
from trio_webrtc.testing import DatagramSent

from ..surface.conftest import World
from .conftest import OpenScene, Scene
from .test_sctp import no_bug_is_met
from .test_strangers import hear_of_life

__all__ = ["no_bug_is_met"]

WARNING, FATAL = 1, 2
INTERNAL_ERROR = 80


def connection_of(scene: Scene) -> SSL.Connection:
    return scene.intruder.session._engine._connection


def record(kind: int, body: bytes, *, epoch: int = 0, number: int = 0, length: int | None = None) -> bytes:
    header = struct.pack("!BHHQH", kind, 0xFEFD, epoch, number, len(body) if length is None else length)
    return header[:5] + header[7:] + body  # sequence numbers have six bytes


async def test_a_renegotiation_is_begun_by_neither_side(open_scene: OpenScene, autojump_clock):
    async with open_scene() as scene:
        hello = struct.pack("!BBHHBHBHH", 1, 0, 50, 0, 0, 0, 0, 50, 0xFEFD) + bytes(48)
        await scene.intruder.send_datagrams(*[record(22, hello, epoch=1, number=2**40 + n) for n in range(50)])
        await scene.intruder.send_datagrams(*[record(22, bytes(12), epoch=epoch) for epoch in (0, 1, 2)] * 50)
        with pytest.raises(SSL.Error, match="no renegotiation"):
            connection_of(scene).renegotiate()
        await hear_of_life(scene)


@pytest.mark.parametrize(
    "datagrams",
    [
        [record(21, bytes([FATAL, INTERNAL_ERROR]))],
        [record(21, bytes([FATAL, INTERNAL_ERROR]), epoch=1, number=7)],
        [record(21, bytes([WARNING, 0]))],
        [record(23, b"data in the clear")],
        [
            record(23, bytes(40), epoch=1, number=2**47),
            record(23, bytes(40), epoch=2),
            record(23, bytes(40), epoch=0xFFFF),
        ],
        [record(23, b"", epoch=1), record(23, b"", epoch=0), record(22, b""), record(20, b"\x01")],
        [record(22, bytes(1000), length=5), record(23, bytes(5), epoch=1, length=0xFFFF), record(23, b"")[:7]],
        [record(kind, bytes(30), epoch=1, number=9) for kind in range(20, 64)],
        [bytes([kind]) * 1200 for kind in range(256)],
        [record(23, bytes(30), epoch=1, number=n) * 20 for n in range(50)],
    ],
)
async def test_records_that_nobody_has_protected_change_nothing(
    open_scene: OpenScene, autojump_clock, datagrams: list[bytes]
):
    async with open_scene() as scene:
        await scene.intruder.send_datagrams(*datagrams)
        await hear_of_life(scene)


async def test_everything_said_before_said_again_changes_nothing(open_scene: OpenScene, autojump_clock):
    async with open_scene() as scene:
        to = scene.intruder.connection._core._way[1]
        said = [e.data for e in scene.world.network.log if isinstance(e, DatagramSent) and e.to == to]
        received = scene.victim._core.stage.association.counters.packets_received
        await scene.intruder.send_datagrams(*said, *reversed(said))
        assert scene.victim._core.stage.association.counters.packets_received <= received + 2
        await hear_of_life(scene)


async def test_a_close_notify_hides_what_stands_behind_it(open_scene: OpenScene, autojump_clock):
    """A5: records and checks behind the goodbye, in the same datagram and the same batch."""
    async with open_scene() as scene:
        connection = connection_of(scene)
        packet = scene.intruder.packet(scene.intruder.data(scene.far.id, b"too late"))
        connection.shutdown()
        goodbye = connection.bio_read(16_384)
        connection.set_shutdown(0)
        connection.send(packet)
        behind = connection.bio_read(16_384)
        check = next(e.data for e in scene.world.network.log if isinstance(e, DatagramSent) and e.data[0] == 0)
        await scene.intruder.send_datagrams(goodbye + behind, behind, check, bytes([128]) * 100)
        assert await scene.victim.wait_closed() is CloseReason.REMOTE
        with pytest.raises(trio.EndOfChannel):
            await scene.far.receive()


async def test_one_failed_handshake_after_the_other_harms_nobody_else(open_scene: OpenScene, autojump_clock):
    """G7: OpenSSL keeps errors in a queue of the thread, where the next connection would find them."""
    async with open_scene() as scene:
        for _ in range(5):
            await fail_to_connect(World(scene.world.network, *more_hosts(scene)))
            await hear_of_life(scene)
            leave_an_error_in_the_threads_queue()
            await hear_of_life(scene)
            leave_an_error_in_the_threads_queue()
            async with World(scene.world.network, *more_hosts(scene)).meet() as (_, _, near, far):
                leave_an_error_in_the_threads_queue()
                await near.send("hello")
                assert await far.receive() == "hello"
                leave_an_error_in_the_threads_queue()


def more_hosts(scene: Scene) -> tuple:
    network = scene.world.network
    number = len(network._hosts)
    return network.add_host(f"10.7.{number}.1"), network.add_host(f"10.7.{number}.2")


async def fail_to_connect(world: World) -> None:
    async with (
        open_peer_connection(network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
    ):
        caller.create_data_channel("none")
        await caller.set_local_description()
        await caller.wait_gathering_complete()
        await callee.set_remote_description(caller.local_description)
        await callee.set_local_description()
        await callee.wait_gathering_complete()
        answer = callee.local_description
        line = next(line for line in answer.sdp.splitlines() if line.startswith("a=fingerprint"))
        forged = line[:-2] + ("00" if line[-2:] != "00" else "01")
        await caller.set_remote_description(SessionDescription("answer", answer.sdp.replace(line, forged)))
        with pytest.raises(ConnectionFailedError) as failure:
            await caller.wait_connected()
        assert failure.value.reason is FailureReason.FINGERPRINT_MISMATCH


def leave_an_error_in_the_threads_queue() -> None:
    """As another user of OpenSSL in this thread may do."""
    lib, ffi = Binding.lib, Binding.ffi
    garbage = ffi.new("unsigned char[]", b"\x30\x03garbage")
    bio = lib.BIO_new_mem_buf(garbage, 9)
    assert lib.d2i_X509_bio(bio, ffi.NULL) == ffi.NULL
    lib.BIO_free(bio)
    assert lib.ERR_peek_error()
