"""Whatever a peer that holds the right keys may send: nothing escapes, nothing grows without bound."""

import random
import struct

import google_crc32c
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.sctp.chunks import HeartbeatChunk
from trio_webrtc.core.sctp.packet import PacketWriter, read_packet

from .harness import SctpPair, connected, events, messages, packet_of, payloads
from .test_chunks import chunks


@given(st.lists(st.lists(chunks, min_size=1, max_size=4), max_size=12), st.integers(0, 3))
def test_any_chunks_under_the_right_tag_are_survived(packets, timers):
    pair = connected()
    pair.b.send(1, 51, bytes(3_000), now=pair.now)
    pair.b.reset_streams([1], pair.now)
    pair.b.poll_transmits(pair.now, 10)
    pair.b.receive_datagrams([packet_of(pair.right_tag, *several) for several in packets], pair.now)
    pair.b.poll_transmits(pair.now, 1_000)
    for _ in range(timers):
        if (due := pair.b.next_timeout()) is not None:
            pair.b.handle_timeout(due)
            pair.b.poll_transmits(due, 1_000)
    messages(pair.b)
    events(pair.b)


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_any_bytes_with_a_good_checksum_are_survived(bodies):
    pair = connected()
    writer = PacketWriter(source_port=5000, destination_port=5000, verification_tag=pair.right_tag)
    pair.b.receive_datagrams([writer.write(body) for body in bodies] + bodies, pair.now)
    pair.b.poll_transmits(pair.now, 1_000)


@pytest.mark.parametrize("seed", range(20))
def test_a_conversation_with_flipped_bits_and_mended_checksums_is_survived(seed):
    pair, rng = connected(seed=seed), random.Random(seed)
    for _ in range(30):
        for association in (pair.a, pair.b):
            if association.is_established:
                association.send(rng.randrange(4), 51, rng.randbytes(rng.randint(1, 3_000)), now=pair.now)
                if rng.random() < 0.1:
                    association.reset_streams([rng.randrange(4, 8)], pair.now)
        pair.drain()
        batch, pair.in_flight = pair.in_flight, []
        for item in batch:
            packet = item.packet
            if rng.random() < 0.1:
                _, _, tag, _ = read_packet(packet)
                body = bytearray(packet[12:])
                for _ in range(rng.randint(1, 3)):
                    body[rng.randrange(min(len(body), 40))] ^= 1 << rng.randrange(8)
                packet = PacketWriter(source_port=5000, destination_port=5000, verification_tag=tag).write(bytes(body))
            item.to.receive([packet], pair.now)
        payloads(pair.a, pair.now), payloads(pair.b, pair.now)
        pair.now += 0.1
        for association in (pair.a, pair.b):
            association.handle_timeout(pair.now)


def test_damaged_packets_are_counted_and_dropped():
    pair = connected()
    good = packet_of(pair.right_tag, HeartbeatChunk(b"x"))
    for position in range(len(good)):
        bad = bytearray(good)
        bad[position] ^= 0x10
        pair.b.receive_datagrams([bytes(bad)], pair.now)
    pair.b.receive_datagrams([b"", good[:11], good[:15]], pair.now)
    assert pair.b.counters.malformed_packets == len(good) + 3
    assert pair.b.poll_transmits(pair.now, 100) == []


def test_a_flood_of_heartbeats_is_answered_within_bounds():
    pair = connected()
    flood = packet_of(pair.right_tag, *[HeartbeatChunk(bytes(8))] * 50)
    pair.b.receive_datagrams([flood] * 1_000, pair.now)
    assert sum(map(len, pair.b.poll_transmits(pair.now, 10_000))) < 5_000


def test_a_parameter_of_length_zero_in_an_init_is_malformed_and_keeps_nobody_busy():
    header = struct.pack("!HHI", 5000, 5000, 0)
    init = struct.pack("!BBHIIHHI", 1, 0, 24, 1, 131_072, 10, 10, 1) + struct.pack("!HH", 0xC000, 0)
    packet = header + struct.pack("<I", google_crc32c.value(header + bytes(4) + init)) + init
    assert len(packet) == 36
    pair = SctpPair()
    pair.b.receive_datagrams([packet], pair.now)
    assert pair.b.counters.malformed_packets == 1
    assert pair.b.poll_transmits(pair.now, 10) == []
