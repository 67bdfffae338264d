"""Messages arrive, whole and in order, over whatever network there is."""

import random

import pytest

from trio_webrtc.core.sctp import SctpSettings
from trio_webrtc.errors import UsageError

from .harness import SctpPair, connected, messages, payloads

WRAPS_SOON = SctpSettings(initial_tsn=2**32 - 5)


@pytest.mark.parametrize("size", [1, 3, 4, 1171, 1172, 1173, 2345, 65_536, 262_144])
@pytest.mark.parametrize("unordered", [False, True])
def test_messages_of_every_size_arrive_as_they_were(size, unordered):
    pair = connected()
    data = random.Random(size).randbytes(size)
    pair.a.send(7, 51, data, unordered=unordered, now=pair.now)
    pair.exchange()
    (message,) = messages(pair.b)
    assert (message.stream_id, message.ppid, message.data) == (7, 51, data)
    assert message.cost == size + 128
    pair.settle()
    assert pair.a.unacknowledged(7) == pair.a.unacknowledged_total == 0


def test_what_is_sent_before_the_association_is_up_arrives_when_it_is():
    pair = SctpPair()
    pair.a.send(1, 51, b"early", now=pair.now)
    pair.a.connect(pair.now)
    pair.exchange()
    assert payloads(pair.b) == [b"early"]


def test_small_messages_share_packets():
    pair = connected()
    for _ in range(100):
        pair.a.send(1, 51, b"ten bytes!", now=pair.now)
    pair.drain()
    assert len(pair.in_flight) == 3


def test_full_packets_are_of_one_size_that_is_a_multiple_of_four():
    pair = connected(packet_size=1187)
    pair.a.send(1, 51, bytes(5_000), now=pair.now)
    pair.a.send(2, 51, bytes(5_000), now=pair.now)
    pair.drain()
    sizes = [len(item.packet) for item in pair.in_flight]
    assert set(sizes[:-1]) == {1184}
    assert sizes[-1] <= 1184


def test_a_message_that_fits_a_packet_is_not_cut():
    pair = connected()
    for _ in range(8):
        pair.a.send(1, 51, bytes(700), now=pair.now)
    pair.drain()
    assert [len(item.packet) for item in pair.in_flight] == [12 + 16 + 700] * 8


def test_streams_take_turns_at_the_borders_of_messages():
    pair = connected()
    for stream_id in (1, 2):
        for number in range(3):
            pair.a.send(stream_id, 51, bytes([number]), now=pair.now)
    pair.exchange()
    assert [(m.stream_id, m.data[0]) for m in messages(pair.b)] == [(1, 0), (2, 0), (1, 1), (2, 1), (1, 2), (2, 2)]


@pytest.mark.parametrize("settings", [SctpSettings(), WRAPS_SOON], ids=["tsn-anywhere", "tsn-wraps"])
@pytest.mark.parametrize("seed", range(3))
def test_a_megabyte_arrives_both_ways_over_a_network_that_loses_and_reorders(settings, seed):
    pair = connected(seed=seed, settings=settings)
    rng = random.Random(seed)
    sent = [rng.randbytes(rng.randint(1, 60_000)) for _ in range(35)]
    for number, data in enumerate(sent):
        pair.a.send(number % 5, 51, data, now=pair.now)
        pair.b.send(number % 5, 51, data, now=pair.now)
    received = {pair.a: {}, pair.b: {}}

    def all_there():
        for association, streams in received.items():
            for message in messages(association, pair.now):
                streams.setdefault(message.stream_id, []).append(message.data)
        return all(sum(map(len, streams.values())) == len(sent) for streams in received.values())

    assert pair.run(120.0, rng=rng, loss=0.05, jitter=0.01, until=all_there), f"seed {seed}: {pair.a.counters}"
    for streams in received.values():
        assert streams == {stream_id: sent[stream_id::5] for stream_id in range(5)}


def test_stream_sequence_numbers_wrap_round():
    pair = connected()
    for batch in range(70):
        for number in range(1000):
            pair.a.send(1, 51, (batch * 1000 + number).to_bytes(4, "big"), now=pair.now)
        pair.exchange()
        numbers = [int.from_bytes(data, "big") for data in payloads(pair.b)]
        assert numbers == list(range(batch * 1000, batch * 1000 + 1000))


def test_an_unordered_message_does_not_wait_for_a_lost_one():
    pair = connected()
    pair.a.send(1, 51, b"lost", now=pair.now)
    pair.drain()
    pair.lose()
    pair.a.send(1, 51, b"ordered", now=pair.now)
    pair.a.send(1, 51, b"unordered", unordered=True, now=pair.now)
    pair.drain()
    pair.deliver()
    assert payloads(pair.b) == [b"unordered"]
    pair.settle()
    assert payloads(pair.b) == [b"lost", b"ordered"]


def test_amounts_tell_how_far_a_stream_has_come():
    pair = connected()
    pair.a.send(4, 51, bytes(100), now=pair.now)
    assert (pair.a.buffered_amount(4), pair.a.unacknowledged(4)) == (100, 100)
    pair.a.poll_progress()
    pair.drain()
    assert (pair.a.buffered_amount(4), pair.a.unacknowledged(4)) == (0, 100)
    assert pair.a.poll_progress() == {4}
    assert pair.a.poll_progress() == set()
    pair.settle()
    assert (pair.a.buffered_amount(4), pair.a.unacknowledged(4)) == (0, 0)
    assert pair.a.poll_progress() == {4}


def test_unsent_messages_can_be_dropped_and_begun_ones_arrive():
    pair = connected()
    pair.a.send(1, 51, bytes(100_000), now=pair.now)
    pair.a.send(1, 51, b"not begun", now=pair.now)
    pair.drain()
    pair.a.drop_unsent()
    pair.settle()
    assert [len(data) for data in payloads(pair.b)] == [100_000]
    assert pair.a.unacknowledged_total == pair.a.buffered_amount(1) == 0


def test_empty_messages_are_refused():
    with pytest.raises(UsageError):
        connected().a.send(1, 51, b"", now=0.0)


def test_smaller_packets_are_sent_once_the_way_turns_out_to_be_narrow():
    pair = connected()
    pair.a.reduce_packet_size()
    pair.a.send(1, 51, bytes(10_000), now=pair.now)
    pair.drain()
    assert max(len(item.packet) for item in pair.in_flight) == 900
    pair.settle()
    assert [len(data) for data in payloads(pair.b)] == [10_000]
