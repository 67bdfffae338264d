"""Packets, once a session is up: one record each, in runs, none lost on the way through."""

import random

import pytest

from trio_webrtc.core.contract import MAX_RUN_BYTES, MAX_RUN_SEGMENTS, split_run
from trio_webrtc.core.dtls.records import HEADER_LENGTH, MAX_PLAINTEXT_LENGTH
from trio_webrtc.errors import UsageError


def test_each_packet_travels_in_a_datagram_of_its_own(pair, drain):
    packets = [b"one", b"two", b"three", bytes(1100), b"x"]
    pair.client.send(packets)
    datagrams = drain(pair.client)
    assert [len(datagram) - pair.client.record_overhead for datagram in datagrams] == [3, 3, 5, 1100, 1]
    pair.server.receive_datagrams(datagrams, pair.now)
    assert pair.server.poll_packets() == packets
    assert pair.server.poll_packets() == []


def test_packets_of_one_size_leave_as_one_run(pair):
    pair.client.send([bytes(1000)] * 10 + [bytes(400)])
    data, segment_size = pair.client.poll_run(pair.now)
    assert segment_size == 1000 + pair.client.record_overhead
    assert len(split_run(data, segment_size)) == 11
    assert pair.client.poll_run(pair.now) is None


def test_a_single_datagram_has_no_segment_size(pair):
    pair.client.send([b"alone"])
    assert pair.client.poll_run(pair.now)[1] is None


def test_runs_keep_within_what_kernels_take(pair):
    packets = [bytes(size) for size in (1, 1163, 9000, 16_384) for _ in range(150)]
    pair.client.send(packets)
    arrived = 0
    while (run := pair.client.poll_run(pair.now)) is not None:
        data, segment_size = run
        datagrams = split_run(data, segment_size)
        assert len(data) <= MAX_RUN_BYTES
        assert len(datagrams) <= MAX_RUN_SEGMENTS
        assert all(len(datagram) == segment_size for datagram in datagrams[:-1])
        pair.server.receive_datagrams(datagrams, pair.now)
        arrived += len(pair.server.poll_packets())
    assert arrived == 600


@pytest.mark.parametrize("seed", range(20))
def test_any_mixture_of_sizes_arrives_whole_and_in_order(pair, drain, seed):
    rng = random.Random(seed)
    packets = [rng.randbytes(rng.choice([1, 2, 500, 1163, rng.randint(1, 2000)])) for _ in range(300)]
    pair.client.send(packets)
    pair.server.receive_datagrams(drain(pair.client), pair.now)
    assert pair.server.poll_packets() == packets
    assert pair.server.counters.packets_received == 300


def test_records_of_a_batch_may_share_datagrams(pair, drain):
    packets = [bytes([number]) * 1000 for number in range(50)]
    pair.client.send(packets)
    datagrams = drain(pair.client)
    pair.server.receive_datagrams([b"".join(datagrams[:30]), b"".join(datagrams[30:])], pair.now)
    assert pair.server.poll_packets() == packets


def test_empty_packets_are_left_out(pair, drain):
    pair.client.send([b"", b"a", b"", b"", b"b", b""])
    pair.server.receive_datagrams(drain(pair.client), pair.now)
    assert pair.server.poll_packets() == [b"a", b"b"]


def test_a_packet_that_fits_no_record_is_refused_and_harms_nothing(pair, drain):
    with pytest.raises(UsageError, match="16385 bytes"):
        pair.client.send([b"fine", bytes(MAX_PLAINTEXT_LENGTH + 1)])
    pair.client.send([b"still here"])
    pair.server.receive_datagrams(drain(pair.client), pair.now)
    assert pair.server.poll_packets()[-1] == b"still here"


def test_before_the_handshake_nothing_is_sent(make_pair, drain):
    client = make_pair().client
    client.send([b"too soon"])
    assert drain(client) == []


def test_keying_material_is_refused_before_the_handshake(make_pair):
    with pytest.raises(UsageError, match="up"):
        make_pair().client.export_keying_material(b"label", 10)


def test_duplicates_are_delivered_once(pair, drain):
    pair.client.send([b"once", b"only"])
    datagrams = drain(pair.client)
    pair.server.receive_datagrams(datagrams + datagrams, pair.now)
    pair.server.receive_datagrams(datagrams, pair.now)
    assert pair.server.poll_packets() == [b"once", b"only"]


def test_reordered_packets_are_delivered_as_they_come(pair, drain):
    pair.client.send([b"1", b"2", b"3"])
    pair.server.receive_datagrams(drain(pair.client)[::-1], pair.now)
    assert pair.server.poll_packets() == [b"3", b"2", b"1"]


def test_a_duplicate_among_joined_records_costs_none_behind_it(pair, drain):
    packets = [bytes([number]) * 600 for number in range(40)]
    pair.client.send(packets)
    datagrams = drain(pair.client)
    pair.server.receive_datagrams([datagrams[0], datagrams[0], datagrams[0], *datagrams], pair.now)
    assert pair.server.poll_packets() == packets
    pair.client.send([b"next"])
    pair.server.receive_datagrams(drain(pair.client), pair.now)
    assert pair.server.poll_packets() == [b"next"]


@pytest.mark.parametrize("lie", [0, 1, 5, 500, 1036, 1038, 0xFFFF])
def test_a_lying_record_length_costs_its_own_datagram_only(pair, drain, lie):
    packets = [bytes([number]) * 1000 for number in range(30)]
    pair.client.send(packets)
    datagrams = drain(pair.client)
    victim = datagrams[7]
    datagrams[7] = victim[: HEADER_LENGTH - 2] + lie.to_bytes(2, "big") + victim[HEADER_LENGTH:]
    pair.server.receive_datagrams(datagrams, pair.now)
    assert pair.server.poll_packets() == packets[:7] + packets[8:]
    assert pair.server.counters.malformed_datagrams == 1


def test_the_largest_records_arrive(pair, drain):
    packets = [bytes([number]) * MAX_PLAINTEXT_LENGTH for number in range(3)]
    pair.client.send(packets)
    pair.server.receive_datagrams(drain(pair.client), pair.now)
    assert pair.server.poll_packets() == packets
