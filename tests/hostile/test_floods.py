"""Floods by a peer with the right keys: what they cost is bounded, in memory and in time, and the connection lives."""

import gc
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import trio

from trio_webrtc.core.datachannel.channels import MAX_REFUSALS
from trio_webrtc.core.sctp.chunks import ForwardTsnChunk, HeartbeatChunk, ReconfigChunk, SackChunk
from trio_webrtc.core.sctp.chunks.data import encode_data
from trio_webrtc.core.sctp.chunks.reconfig import IncomingResetRequest, OutgoingResetRequest
from trio_webrtc.core.sctp.packet import encode_chunk
from trio_webrtc.core.sctp.settings import SctpSettings

from .conftest import OpenScene
from .intruder import Intruder
from .test_sctp import an_init, tsn_after, untagged

Flood = Callable[[Intruder], list[bytes]]

WHATEVER = 2 * 1024 * 1024
"""Bytes that come and go anyway: this is one process, with the intruder and the bystanders in it."""

WINDOW = 4 * SctpSettings().receive_buffer
"""What a full receive window may take. It counts 128 bytes for whatever an object needs; and a character of a text may
take four bytes where UTF-8 needs one."""

PER_STREAM = 65_535 * 100
"""A number for each stream that there can be."""

BATCH = 50
"""Packets at once."""

PER_REFUSAL = (MAX_REFUSALS + 50 * BATCH) * 2048
"""A stream that is being reset, with what waits to be sent about it."""

MAX_SECONDS = 10.0
"""Of computing, for a few hundred kilobytes. Each of these takes a fraction of it, unless something goes wrong."""

OPEN = struct.pack("!BBHIHH", 3, 0, 0, 0, 0, 0)


def lone_fragments(i: Intruder) -> list[bytes]:
    """Every second TSN, one byte each: nothing can be joined, and nothing delivered."""
    tsns = [tsn_after(i.next_tsn, 2 * number) for number in range(1, 15_001)]
    return in_packets(i, [encode_data(0, tsn, 1, 0, 51, b"x") for tsn in tsns])


def unread_text(i: Intruder) -> list[bytes]:
    """Small texts that a character from beyond the basic plane makes four times as large in memory."""
    return in_packets(i, [i.data(1, "\N{GRINNING FACE}abcd".encode()) for _ in range(12_000)])


def data_beyond_what_was_agreed(i: Intruder) -> list[bytes]:
    return in_packets(i, [i.data(65_535, b"x") for _ in range(25_000)])


def heartbeats(i: Intruder) -> list[bytes]:
    return in_packets(i, [HeartbeatChunk(bytes(200)).encode()] * 10_000)


def unknown_chunks(i: Intruder) -> list[bytes]:
    return in_packets(i, [encode_chunk(0xC9, 0, bytes(200))] * 10_000)


def resets_of_all_streams(i: Intruder) -> list[bytes]:
    return in_packets(i, [outgoing_reset(i, number, after=-1) for number in range(2000)])


def resets_that_have_to_wait(i: Intruder) -> list[bytes]:
    return in_packets(i, [outgoing_reset(i, number, after=50) for number in range(2000)])


def outgoing_reset(i: Intruder, number: int, *, after: int) -> bytes:
    request = OutgoingResetRequest(tsn_after(i.next_request, number), 0, tsn_after(i.next_tsn, after))
    return ReconfigChunk((request,)).encode()


def wishes_for_resets(i: Intruder) -> list[bytes]:
    """That all our streams be reset, one by one by name."""
    names = [tuple(range(first, first + 500)) for first in range(0, 65_000, 500)]
    requests = [IncomingResetRequest(tsn_after(i.next_request, n), name) for n, name in enumerate(names)]
    return in_packets(i, [ReconfigChunk((request,)).encode() for request in requests])


def wishes_for_channels(i: Intruder) -> list[bytes]:
    """On every stream there is, none of which the intruder ever lets go."""
    return in_packets(i, [i.data(stream_id, OPEN, ppid=50) for stream_id in range(65_535)])


def gaps(i: Intruder) -> list[bytes]:
    return in_packets(i, [SackChunk(i.victims_tsn, 10, ((1, 0xFFFF),) * 200).encode()] * 2000)


def streams_skipped(i: Intruder) -> list[bytes]:
    skipped = [tuple((stream_id, 7) for stream_id in range(first, first + 250)) for first in range(0, 65_500, 250)]
    return in_packets(i, [ForwardTsnChunk(tsn_after(i.next_tsn, n), some).encode() for n, some in enumerate(skipped)])


def skips_beneath_lone_fragments(i: Intruder) -> list[bytes]:
    steps = [ForwardTsnChunk(tsn_after(i.next_tsn, number)).encode() for number in range(10_000)]
    tsns = [tsn_after(i.next_tsn, 10_001 + 2 * number) for number in range(8000)]
    return in_packets(i, [encode_data(0, tsn, 1, 0, 51, b"x") for tsn in tsns]) + in_packets(i, steps)


def inits(i: Intruder) -> list[bytes]:
    return [untagged(an_init(i).encode())] * 3000


def in_packets(i: Intruder, chunks: list[bytes], size: int = 1100) -> list[bytes]:
    """As many chunks into each packet as it holds."""
    packets: list[list[bytes]] = [[]]
    room = size
    for chunk in chunks:
        if len(chunk) > room and packets[-1]:
            packets.append([])
            room = size
        packets[-1].append(chunk)
        room -= len(chunk)
    return [i.packet(*some) for some in packets]


@contextmanager
def bounded(limit: int) -> Iterator[None]:
    """Asserts that no more than `limit` bytes are held afterwards than before."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        yield
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        assert after - before <= limit
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("flood", "limit"),
    [
        (lone_fragments, WINDOW),
        (unread_text, WINDOW),
        (data_beyond_what_was_agreed, WHATEVER),
        (heartbeats, WHATEVER),
        (unknown_chunks, WHATEVER),
        (resets_of_all_streams, WHATEVER),
        (resets_that_have_to_wait, WHATEVER),
        (wishes_for_resets, WHATEVER),
        (wishes_for_channels, WHATEVER + PER_REFUSAL + PER_STREAM),
        (gaps, WHATEVER),
        (streams_skipped, WHATEVER + PER_STREAM),
        (skips_beneath_lone_fragments, WINDOW),
        (inits, WHATEVER),
    ],
)
async def test_a_flood_keeps_within_its_bounds(open_scene: OpenScene, autojump_clock, flood: Flood, limit: int):
    async with open_scene() as scene:
        scene.intruder.take_over()
        packets = flood(scene.intruder)
        began = time.process_time()
        with bounded(limit):
            for first in range(0, len(packets), BATCH):
                await scene.intruder.say(*packets[first : first + BATCH])
                scene.intruder.heard.clear()
        assert time.process_time() - began < MAX_SECONDS
        assert scene.victim.connection_state == "connected"


async def test_a_peer_that_never_acknowledges_holds_no_more_than_what_was_sent(open_scene: OpenScene, autojump_clock):
    """A sender is stopped by the high-water mark, and gives up after its retransmissions."""
    async with open_scene() as scene:
        scene.intruder.take_over()
        with pytest.raises(trio.BrokenResourceError), bounded(WHATEVER + WINDOW), trio.fail_after(600):
            while True:
                await scene.far.send(bytes(10_000))
