"""What the receiver acknowledges, refuses and reports, whatever the peer sends."""

import pytest

from trio_webrtc.core.sctp import Aborted, MessageTooLarge, SctpSettings
from trio_webrtc.core.sctp.chunks import AbortChunk, DataChunk, ErrorChunk, ForwardTsnChunk, SackChunk
from trio_webrtc.core.sctp.chunks.data import BEGINS, ENDS, UNORDERED
from trio_webrtc.core.sctp.packet import encode_chunk, read_packet

from .harness import chunk_types, connected, events, messages, packet_of, payloads

WHOLE = BEGINS | ENDS
FIRST_TSN = 1000


def pair_with(**settings):
    return connected(settings=SctpSettings(initial_tsn=FIRST_TSN, **settings))


def data(number, payload=b"x", *, flags=WHOLE, stream=1, seq=None):
    return DataChunk(flags, (FIRST_TSN + number) % 2**32, stream, number % 2**16 if seq is None else seq, 51, payload)


def give(pair, *chunks):
    """Each chunk in a packet of its own, all in one batch."""
    pair.b.receive_datagrams([packet_of(pair.right_tag, chunk) for chunk in chunks], pair.now)


def sacks(pair):
    packets = pair.b.poll_transmits(pair.now, 1000)
    chunks = [chunk for packet in packets for chunk in read_packet(packet)[3]]
    return [SackChunk.decode(flags, body) for type_, flags, body in chunks if type_ == SackChunk.TYPE]


def answers(pair):
    return [type_ for packet in pair.b.poll_transmits(pair.now, 1000) for type_ in chunk_types(packet)]


def test_the_first_packets_get_a_sack_for_every_second_and_later_ones_a_sack_for_every_batch():
    pair = pair_with()
    give(pair, *(data(number) for number in range(200)))
    assert [sack.cumulative_tsn for sack in sacks(pair)] == list(range(FIRST_TSN + 1, FIRST_TSN + 200, 2))
    give(pair, *(data(number) for number in range(200, 300)))
    assert [sack.cumulative_tsn for sack in sacks(pair)] == [FIRST_TSN + 299]


def test_the_very_first_packet_is_acknowledged_at_once():
    pair = pair_with()
    give(pair, data(0))
    assert [sack.cumulative_tsn for sack in sacks(pair)] == [FIRST_TSN]


def test_a_lone_packet_is_acknowledged_after_a_short_while():
    pair = pair_with()
    give(pair, data(0))
    sacks(pair)
    give(pair, data(1))
    assert sacks(pair) == []
    assert pair.fire_next_timer()
    assert pair.now == pytest.approx(0.02)
    assert payloads(pair.b) == [b"x", b"x"]


def test_a_lone_packet_is_acknowledged_along_with_what_leaves():
    pair = pair_with()
    give(pair, data(0))
    sacks(pair)
    give(pair, data(1))
    pair.b.send(1, 51, b"echo", now=pair.now)
    (packet,) = pair.b.poll_transmits(pair.now, 10)
    assert chunk_types(packet) == [SackChunk.TYPE, DataChunk.TYPE]


def test_the_immediate_bit_is_obeyed():
    pair = pair_with()
    give(pair, data(0, flags=WHOLE | 0x08))
    assert len(sacks(pair)) == 1


def test_a_gap_is_told_at_once_and_so_are_duplicates():
    pair = pair_with()
    give(pair, data(0), data(1))
    sacks(pair)
    give(pair, data(3))
    assert sacks(pair)[-1].gap_blocks == ((2, 2),)
    give(pair, data(5), data(6))
    assert sacks(pair)[-1].gap_blocks == ((2, 2), (4, 5))
    give(pair, data(3), data(0))
    reports = sacks(pair)
    assert [tsn for sack in reports for tsn in sack.duplicates] == [FIRST_TSN + 3, FIRST_TSN]
    give(pair, data(2), data(4))
    assert (sacks(pair)[-1].cumulative_tsn, pair.b.counters.duplicate_chunks) == (FIRST_TSN + 6, 2)
    assert len(payloads(pair.b)) == 7


def test_for_a_round_trip_after_a_gap_every_second_packet_gets_a_sack():
    pair = pair_with(eager_sack_packets=0)
    give(pair, data(1), data(0))
    sacks(pair)
    give(pair, *(data(number) for number in range(2, 12)))
    assert len(sacks(pair)) == 5
    pair.now += 5.0
    give(pair, *(data(number) for number in range(12, 22)))
    assert len(sacks(pair)) == 1


def test_a_tsn_far_out_of_the_window_is_refused():
    pair = pair_with()
    give(pair, data(40_000), data(2**31 - 2), data(-1), data(-(2**31)))
    assert pair.b.counters.refused_chunks == 2
    assert pair.b.counters.duplicate_chunks == 2
    assert payloads(pair.b) == []


def test_data_without_data_ends_the_association():
    pair = pair_with()
    give(pair, data(0, b""))
    assert events(pair.b) == [Aborted(by_peer=False, reason="no user data")]
    assert answers(pair) == [AbortChunk.TYPE]
    give(pair, data(1))
    assert payloads(pair.b) == []


def test_data_on_a_stream_that_does_not_exist_is_reported_and_dropped():
    pair = connected(settings=SctpSettings(initial_tsn=FIRST_TSN, streams=10))
    give(pair, data(0, stream=10), data(1, stream=9, seq=0))
    assert [message.stream_id for message in messages(pair.b)] == [9]
    assert answers(pair) == [ErrorChunk.TYPE, SackChunk.TYPE]
    assert pair.b.is_established


def test_a_message_too_large_is_reported_and_dropped_and_the_association_lives():
    pair = pair_with(receive_buffer=20_000, max_message_size=5_000)
    pair.a.send(7, 51, bytes(1_000_000), now=pair.now)
    pair.a.send(7, 51, b"the next one", now=pair.now)
    pair.exchange()
    (event,) = events(pair.b)
    assert isinstance(event, MessageTooLarge)
    assert event.stream_id == 7
    assert 5_000 < event.size < 7_000
    assert payloads(pair.b) == [b"the next one"]
    assert pair.b.is_established
    assert pair.b.counters.refused_chunks == 0


def test_incomplete_messages_that_fill_the_buffer_end_the_association():
    pair = pair_with(receive_buffer=20_000, max_message_size=5_000)
    for number in range(1000):
        give(pair, data(number, flags=BEGINS, stream=number))
        if not pair.b.is_established:
            break
    assert events(pair.b) == [Aborted(by_peer=False, reason="out of resource")]
    assert number < 200


def test_a_flood_of_tiny_fragments_is_bounded():
    pair = pair_with(receive_buffer=20_000, max_message_size=5_000)
    for number in range(1000):
        give(pair, data(number, flags=BEGINS if number == 0 else 0, seq=0))
        if not pair.b.is_established:
            break
    assert events(pair.b) == [Aborted(by_peer=False, reason="out of resource")]
    assert number < 200


def test_a_flood_of_ordered_messages_behind_a_missing_number_ends_the_association():
    pair = pair_with(receive_buffer=20_000, max_message_size=5_000)
    for number in range(1000):
        give(pair, data(number, seq=number + 1))
        if not pair.b.is_established:
            break
    assert events(pair.b) == [Aborted(by_peer=False, reason="out of resource")]


def test_what_is_beyond_a_gap_is_bounded_and_the_gap_can_still_be_filled():
    pair = pair_with(receive_buffer=20_000, max_message_size=5_000)
    give(pair, *(data(number, bytes(100)) for number in range(1, 300)))
    assert 200 < pair.b.counters.refused_chunks < 299
    assert pair.b.is_established
    give(pair, data(0, bytes(100)))
    assert len(payloads(pair.b)) == 300 - pair.b.counters.refused_chunks


def test_messages_nobody_takes_are_bounded_and_the_association_lives():
    pair = pair_with(receive_buffer=20_000, max_message_size=5_000)
    give(pair, *(data(number) for number in range(1000)))
    assert pair.b.is_established
    assert pair.b.is_window_shut
    assert len(messages(pair.b, pair.now)) == 20_000 // 129


def test_fragments_arrive_in_any_order():
    pair = pair_with()
    parts = [b"a", b"b", b"c", b"d", b"e"]
    flags = [BEGINS, 0, 0, 0, ENDS]
    for number in (3, 1, 4, 0, 2):
        give(pair, data(number, parts[number], flags=flags[number], seq=0))
    assert payloads(pair.b) == [b"abcde"]


@pytest.mark.parametrize(
    "second",
    [data(1, flags=ENDS, stream=2, seq=0), data(1, flags=ENDS, seq=1), data(1, flags=ENDS | UNORDERED, seq=0)],
)
def test_neighbouring_fragments_of_different_messages_end_the_association(second):
    pair = pair_with()
    give(pair, data(0, flags=BEGINS, seq=0), second)
    (event,) = events(pair.b)
    assert event.reason.startswith("protocol violation")


def test_a_sequence_number_used_twice_delivers_once():
    pair = pair_with()
    give(pair, data(0, b"first", seq=0), data(1, b"second", seq=0), data(2, b"third", seq=5), data(3, b"4th", seq=5))
    assert payloads(pair.b) == [b"first"]
    assert pair.b.counters.unexpected_chunks == 2


def test_forward_tsn_skips_what_is_missing_and_delivers_what_is_there():
    pair = pair_with()
    give(pair, data(1, b"one"), data(3, b"three"), data(5, b"five"), data(4, b"half", flags=BEGINS, stream=2, seq=0))
    give(pair, ForwardTsnChunk(FIRST_TSN + 4, ((1, 4), (2, 0))))
    assert payloads(pair.b) == [b"one", b"three", b"five"]
    assert sacks(pair)[-1].cumulative_tsn == FIRST_TSN + 5
    give(pair, data(6, b"new", stream=2, seq=1))
    assert payloads(pair.b) == [b"new"]


def test_an_old_forward_tsn_changes_nothing_and_is_answered():
    pair = pair_with()
    give(pair, data(0), data(1))
    sacks(pair)
    give(pair, ForwardTsnChunk(FIRST_TSN - 5, ((1, 9),)))
    assert sacks(pair)[-1].cumulative_tsn == FIRST_TSN + 1
    give(pair, data(2))
    assert len(payloads(pair.b)) == 3


@pytest.mark.parametrize(
    ("type_", "goes_on", "reports"),
    [(0x3F, False, False), (0x7F, False, True), (0xBF, True, False), (0xFF, True, True)],
)
def test_unknown_chunks_are_treated_as_their_highest_bits_say(type_, goes_on, reports):
    pair = pair_with()
    give(pair, encode_chunk(type_, 0, b"what?") + data(0).encode())
    assert payloads(pair.b) == ([b"x"] if goes_on else [])
    assert (ErrorChunk.TYPE in answers(pair)) is reports


def test_the_peers_abort_ends_it_with_its_reason_and_what_was_delivered_can_still_be_read():
    pair = connected()
    pair.a.send(1, 51, b"last words", now=pair.now)
    pair.exchange()
    pair.a.abort("bored", pair.now)
    pair.exchange()
    assert events(pair.a) == [Aborted(by_peer=False, reason="bored")]
    assert events(pair.b) == [Aborted(by_peer=True, reason="user initiated abort: bored")]
    assert payloads(pair.b, pair.now) == [b"last words"]
    assert pair.a.next_timeout() is pair.b.next_timeout() is None
