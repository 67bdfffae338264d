"""What a peer with the right keys may say in SCTP: the connection lives, or ends with a reason; no bug is met."""

import logging
import random
import struct

import pytest
import trio

from trio_webrtc import CloseReason, FailureReason
from trio_webrtc.core.sctp.chunks import (
    CookieEchoChunk,
    ForwardTsnChunk,
    HeartbeatChunk,
    InitChunk,
    ReconfigChunk,
    SackChunk,
    ShutdownChunk,
)
from trio_webrtc.core.sctp.chunks.data import BEGINS, ENDS, UNORDERED, encode_data
from trio_webrtc.core.sctp.chunks.reconfig import (
    AddIncomingStreams,
    AddOutgoingStreams,
    IncomingResetRequest,
    OutgoingResetRequest,
    ReconfigResponse,
    SsnTsnResetRequest,
)
from trio_webrtc.core.sctp.packet import PacketWriter, encode_chunk

from .conftest import OpenScene, Scene
from .intruder import Intruder

INIT, INIT_ACK, ERROR = 1, 2, 9


@pytest.fixture(autouse=True)
def no_bug_is_met(caplog):
    yield
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def hear_of_life(scene: Scene) -> None:
    """The connection still carries messages both ways."""
    with trio.fail_after(5):
        await scene.intruder.say(scene.intruder.packet(scene.intruder.data(scene.far.id, b"still there?")))
        assert await scene.far.receive() == "still there?"
        await scene.far.send("yes")
        await trio.sleep(0.1)
    assert any(type_ == 0 and body.endswith(b"yes") for type_, _, body in scene.intruder.heard)
    assert scene.victim.connection_state == "connected"


def an_init(intruder: Intruder, **fields: int) -> InitChunk:
    usual = {"initiate_tag": 77, "a_rwnd": 100_000, "outbound_streams": 100, "inbound_streams": 100, "initial_tsn": 5}
    return InitChunk(**{**usual, **fields})


def untagged(*chunks: bytes, tag: int = 0) -> bytes:
    return PacketWriter(source_port=5000, destination_port=5000, verification_tag=tag).write(b"".join(chunks))


def lie_about_length(chunk: bytes, length: int) -> bytes:
    return chunk[:2] + length.to_bytes(2, "big") + chunk[4:]


def tsn_after(tsn: int, distance: int) -> int:
    return (tsn + distance) & 0xFFFFFFFF


HEARTBEAT = HeartbeatChunk(b"12345678").encode()

HARMLESS = {
    "an INIT bundled with other chunks": lambda i: [
        untagged(an_init(i).encode(), HEARTBEAT),
        untagged(HEARTBEAT, an_init(i).encode()),
        i.packet(an_init(i).encode(), HEARTBEAT),
        i.packet(an_init(i).encode()),
    ],
    "an INIT of nonsense": lambda i: [
        untagged(an_init(i, initiate_tag=0).encode()),
        untagged(an_init(i, outbound_streams=0).encode()),
        untagged(an_init(i, a_rwnd=0).encode()),
        untagged(encode_chunk(INIT, 0, an_init(i).encode()[4:] + struct.pack("!HH", 0x8000, 0))),
        untagged(encode_chunk(INIT, 0, an_init(i).encode()[4:] + struct.pack("!HH", 0x8000, 0xFFFF))),
    ],
    "an INIT ACK nobody asked for": lambda i: [
        i.packet(encode_chunk(INIT_ACK, 0, an_init(i).encode()[4:])),
        untagged(encode_chunk(INIT_ACK, 0, an_init(i).encode()[4:])),
    ],
    "a forged cookie": lambda i: [
        i.packet(CookieEchoChunk(random.Random(1).randbytes(120)).encode()),
        untagged(CookieEchoChunk(b"").encode(), tag=5),
        i.packet(CookieEchoChunk(bytes(1100)).encode()),
    ],
    "another tag": lambda i: [untagged(i.data(1, b"x"), tag=tag) for tag in (0, 1, 0xFFFFFFFF)],
    "other ports": lambda i: [
        PacketWriter(source_port=0, destination_port=5000, verification_tag=1).write(HEARTBEAT),
        PacketWriter(source_port=5000, destination_port=0, verification_tag=1).write(HEARTBEAT),
    ],
    "lying chunk lengths": lambda i: [
        i.packet(lie_about_length(HEARTBEAT, length)) for length in (0, 1, 3, 5, 13, 1000, 0xFFFF)
    ],
    "lying parameter lengths": lambda i: [
        i.packet(encode_chunk(type_, 0, struct.pack("!HH", 1, length) + bytes(8)))
        for type_ in (4, 5, 6, 9, 130)
        for length in (0, 1, 3, 13, 1000, 0xFFFF)
        if type_ != 6
    ],
    "lying counts": lambda i: [
        i.packet(encode_chunk(3, 0, struct.pack("!IIHH", i.victims_tsn, 1000, 0xFFFF, 0xFFFF) + bytes(40))),
        i.packet(encode_chunk(192, 0, struct.pack("!IHH", i.next_tsn, 1, 1)[:-1])),
    ],
    "packets that are none": lambda i: [b"x", bytes(12), bytes(16), bytes(1100), i.packet(), i.packet(b"\0")],
    "wrong checksums": lambda i: [i.packet(HEARTBEAT)[:-1] + b"!", bytes(12) + HEARTBEAT],
    "SACKs of what was never sent": lambda i: [
        i.packet(SackChunk(tsn_after(i.victims_tsn, distance), 100_000).encode())
        for distance in (1, 2, 1000, 0x7FFFFFFF, 0x80000000, -1, -1000)
    ],
    "SACKs with gaps that were never sent": lambda i: [
        i.packet(SackChunk(i.victims_tsn, 100_000, blocks).encode())
        for blocks in (((1, 1),), ((2, 3), (5, 6)), ((0, 0),), ((5, 2),), ((3, 4), (1, 2)), ((1, 0xFFFF),))
    ],
    "TSNs out of the window": lambda i: [
        i.packet(encode_data(BEGINS | ENDS, tsn_after(i.next_tsn, distance), 1, 9, 51, b"far away"))
        for distance in (-1, -2, -1000, 32_768, 100_000, 0x7FFFFFFF, 0x80000000)
    ],
    "FORWARD TSN into the past": lambda i: [
        i.packet(ForwardTsnChunk(tsn_after(i.next_tsn, distance), ((1, 5),)).encode())
        for distance in (-2, -1000, -0x7FFFFFFF)
    ],
    "streams beyond what was agreed": lambda i: [
        i.packet(encode_data(BEGINS | ENDS, tsn_after(i.next_tsn, distance), 65_535, 0, ppid, b"x"))
        for distance, ppid in enumerate((50, 51, 53))
    ],
    "chunks of unknown types": lambda i: [
        i.packet(encode_chunk(type_, 0xFF, bytes(size))) for type_ in (16, 63, 64, 127, 200, 255) for size in (0, 900)
    ],
    "responses nobody asked for": lambda i: [
        i.packet(ReconfigChunk((ReconfigResponse(number, result),)).encode())
        for number in (0, 1, i.next_request)
        for result in (0, 1, 2, 6, 7, 0xFFFFFFFF)
    ],
    "resets out of sequence": lambda i: [
        i.packet(ReconfigChunk((OutgoingResetRequest(tsn_after(i.next_request, step), 0, 0, (1,)),)).encode())
        for step in (-1, 1, 1000)
    ],
    "requests that WebRTC has no use for": lambda i: [
        i.packet(ReconfigChunk((request(tsn_after(i.next_request, number)),)).encode())
        for number, request in enumerate(
            (
                SsnTsnResetRequest,
                lambda number: AddOutgoingStreams(number, 0xFFFF),
                lambda number: AddIncomingStreams(number, 0xFFFF),
            )
        )
    ],
    "a reset of streams that nobody uses": lambda i: [
        i.packet(ReconfigChunk((OutgoingResetRequest(i.next_request, 0, i.next_tsn - 1, (9, 9, 65_535)),)).encode()),
        i.packet(ReconfigChunk((IncomingResetRequest(i.next_request + 1, (9, 9, 65_535)),)).encode()),
    ],
    "ends that have not begun": lambda i: [i.packet(encode_chunk(type_, 0, b"")) for type_ in (8, 14, 11)],
}


@pytest.mark.parametrize("attack", HARMLESS.values(), ids=HARMLESS)
async def test_what_makes_no_sense_is_ignored_and_the_connection_lives(open_scene: OpenScene, autojump_clock, attack):
    async with open_scene() as scene:
        scene.intruder.take_over()
        packets = attack(scene.intruder)
        await scene.intruder.say(*packets)
        if attack is HARMLESS["streams beyond what was agreed"]:
            scene.intruder.next_tsn += len(packets)
            assert scene.intruder.count(ERROR) >= 1
        if attack is HARMLESS["another tag"]:
            scene.intruder.next_tsn -= len(packets)
            scene.intruder._next_seq[1] -= len(packets)
        await hear_of_life(scene)


DEADLY = {
    "data without data": lambda i: [i.packet(i.data(1, b""))],
    "neighbouring fragments of different messages": lambda i: [
        i.packet(i.data(1, b"a", flags=BEGINS), i.data(3, b"b", flags=0))
    ],
    "fragments that fill the buffer and never end": lambda i: [
        i.packet(encode_data(BEGINS if not number % 200 else 0, tsn_after(i.next_tsn, number), 1 + number // 200,
                             0, 51, bytes(1100)))
        for number in range(1200)
    ],
}  # fmt: skip


@pytest.mark.parametrize("attack", DEADLY.values(), ids=DEADLY)
async def test_what_leaves_no_gentler_way_ends_the_connection_with_its_reason(
    open_scene: OpenScene, autojump_clock, attack
):
    async with open_scene() as scene:
        scene.intruder.take_over()
        await scene.intruder.say(*attack(scene.intruder))
        with trio.fail_after(5):
            assert await scene.victim.wait_closed() is CloseReason.FAILED
        assert scene.victim._core.error.reason is FailureReason.SCTP_FAILED
        with pytest.raises(trio.BrokenResourceError, match="SCTP"):
            await scene.far.send("too late")


async def test_a_shutdown_that_acknowledges_what_was_never_sent_is_a_goodbye_all_the_same(
    open_scene: OpenScene, autojump_clock
):
    async with open_scene() as scene:
        scene.intruder.take_over()
        await scene.intruder.say(
            scene.intruder.packet(ShutdownChunk(tsn_after(scene.intruder.victims_tsn, 5000)).encode())
        )
        with pytest.raises(trio.BrokenResourceError):
            await scene.far.send("after the goodbye")
        with trio.fail_after(300):  # the intruder never answers SHUTDOWN ACK
            assert await scene.victim.wait_closed() is CloseReason.FAILED


async def test_a_restart_in_the_middle_ends_channels_and_nothing_else(open_scene: OpenScene, autojump_clock):
    async with open_scene() as scene:
        intruder = scene.intruder
        intruder.take_over()
        await intruder.say(untagged(an_init(intruder).encode()))
        body = next(body for type_, _, body in intruder.heard if type_ == INIT_ACK)
        tag = int.from_bytes(body[:4], "big")
        cookie = InitChunk.decode(0, body).parameter(7)
        await intruder.say(untagged(CookieEchoChunk(cookie).encode(), tag=tag))
        await scene.far.wait_closed()
        with pytest.raises(trio.BrokenResourceError, match="restarted"):
            await scene.far.receive()
        assert scene.victim.connection_state == "connected"


async def test_a_peer_may_ask_for_the_reset_of_a_stream_in_use_and_no_send_meets_a_bug(
    open_scene: OpenScene, autojump_clock
):
    """RFC 6525 §5.2.3: the peer wants our direction of the stream reset, which is to close the channel."""
    async with open_scene() as scene:
        intruder, far = scene.intruder, scene.far
        intruder.take_over()
        await intruder.say(
            intruder.packet(ReconfigChunk((IncomingResetRequest(intruder.next_request, (far.id,)),)).encode())
        )
        with pytest.raises(trio.BrokenResourceError):
            await far.send("on a stream that is being reset")
        assert scene.victim.connection_state == "connected"


@pytest.mark.parametrize("stream_ids", [(5, 7), ()])
@pytest.mark.parametrize("open_first", [True, False])
async def test_an_open_beside_the_wish_to_have_its_stream_reset_meets_no_bug(
    open_scene: OpenScene, autojump_clock, stream_ids: tuple[int, ...], open_first: bool
):
    async with open_scene() as scene:
        intruder = scene.intruder
        intruder.take_over()
        request = ReconfigChunk((IncomingResetRequest(intruder.next_request, stream_ids),)).encode()
        open_ = struct.pack("!BBHIHH", 3, 0, 0, 0, 0, 0)
        opens = [intruder.data(stream_id, open_, ppid=50) for stream_id in (5, 7)]
        await intruder.say(intruder.packet(*opens, request) if open_first else intruder.packet(request, *opens))
        assert scene.victim.connection_state == "connected"
        channel = scene.victim.create_data_channel("ours")
        assert channel.ready_state == "open"


async def test_unordered_and_ordered_fragments_of_one_stream_are_kept_apart(open_scene: OpenScene, autojump_clock):
    async with open_scene() as scene:
        intruder = scene.intruder
        intruder.take_over()
        stream = scene.far.id
        await intruder.say(
            intruder.packet(
                intruder.data(stream, b"a", flags=BEGINS | UNORDERED),
                intruder.data(stream, b"b", flags=UNORDERED | ENDS),
                intruder.data(stream, b"c", flags=BEGINS),
                intruder.data(stream, b"d", flags=ENDS),
            )
        )
        assert [await scene.far.receive(), await scene.far.receive()] == ["ab", "cd"]
        await hear_of_life(scene)
