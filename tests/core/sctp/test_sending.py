"""What the sender does about acknowledgements, silence and shut windows."""

import random

import pytest

from trio_webrtc.core.sctp import Failed, SctpSettings
from trio_webrtc.core.sctp.chunks import AbortChunk, DataChunk, HeartbeatAckChunk, HeartbeatChunk, SackChunk
from trio_webrtc.core.sctp.packet import read_packet

from .harness import PACKET_SIZE, SctpPair, chunk_types, connected, events, messages, packet_of, payloads, tag_of

PAYLOAD = PACKET_SIZE - 12 - 16


def data_of(packet):
    return [DataChunk.decode(flags, body) for type_, flags, body in read_packet(packet)[3] if type_ == 0]


def test_the_first_window_is_ten_packets_and_doubles_with_every_round_trip():
    pair = connected()
    pair.a.send(1, 51, bytes(200 * PAYLOAD), now=pair.now)
    flights = []
    for _ in range(4):
        pair.drain()
        flights.append(sum(item.to is pair.right for item in pair.in_flight))
        batch, pair.in_flight = pair.in_flight, []
        pair.now += 0.05
        pair.b.receive_datagrams([item.packet for item in batch], pair.now)
        pair.a.receive_datagrams(pair.b.poll_transmits(pair.now, 1000), pair.now)
    assert flights == [10, 20, 40, 80]


def test_a_lost_packet_is_sent_again_after_three_reports_without_waiting_for_the_timer():
    pair = connected()
    pair.a.send(1, 51, bytes(8 * PAYLOAD), now=pair.now)
    pair.drain()
    pair.lose(0)
    pair.exchange()
    assert [len(data) for data in payloads(pair.b)] == [8 * PAYLOAD]
    assert (pair.a.counters.fast_retransmits, pair.a.counters.timeouts) == (1, 0)
    assert pair.now == 0.0


def test_several_losses_of_one_window_halve_it_once():
    pair = connected()
    pair.a.send(1, 51, bytes(400 * PAYLOAD), now=pair.now)
    pair.exchange()
    messages(pair.b)
    before = pair.a.cwnd
    pair.a.send(1, 51, bytes(40 * PAYLOAD), now=pair.now)
    pair.drain()
    for index in (9, 7, 3, 0):
        pair.lose(index)
    pair.exchange()
    assert pair.a.counters.fast_retransmits == 1
    assert before // 2 <= pair.a.cwnd < before


def test_the_last_packet_lost_is_sent_again_by_the_timer_and_the_window_falls_to_one_packet():
    pair = connected()
    pair.a.send(1, 51, b"lonely", now=pair.now)
    pair.drain()
    pair.lose()
    pair.settle()
    assert payloads(pair.b) == [b"lonely"]
    assert (pair.a.counters.timeouts, pair.a.counters.retransmitted_chunks) == (1, 1)
    assert pair.a.cwnd == PAYLOAD


def test_a_peer_that_acknowledges_nothing_is_given_up_after_ten_timeouts():
    pair = connected()
    pair.a.send(1, 51, b"anybody there?", now=pair.now)
    pair.drain()
    for _ in range(30):
        pair.lose_all()
        if not pair.fire_next_timer() or pair.a.is_ended:
            break
    (event,) = events(pair.a)
    assert isinstance(event, Failed)
    assert pair.a.counters.timeouts == 11
    assert [chunk_types(item.packet) for item in pair.in_flight] == [[AbortChunk.TYPE]]
    assert pair.a.next_timeout() is None


def test_an_idle_peer_that_vanished_is_noticed_by_heartbeats():
    pair = connected()
    for _ in range(100):
        pair.lose_all()
        pair.fire_next_timer()
        if pair.a.is_ended:
            break
    assert [type(event) for event in events(pair.a)] == [Failed]
    assert pair.now > 300


def test_heartbeats_are_answered_and_measure_the_round_trip():
    pair = connected()
    assert pair.b.srtt is None
    pair.run(40.0, rng=random.Random(1), latency=0.1)
    assert pair.b.srtt == pytest.approx(0.2)
    assert pair.b.is_established
    pair.b.receive_datagrams([packet_of(tag_of(pair.b), HeartbeatChunk(b"mine"))], pair.now)
    _, _, _, ((type_, _, body),) = read_packet(pair.b.poll_transmits(pair.now, 1)[0])
    assert (type_, body[4:]) == (HeartbeatAckChunk.TYPE, b"mine")


def test_a_forged_heartbeat_answer_measures_nothing():
    pair = connected()
    forged = [HeartbeatAckChunk(bytes(16)), HeartbeatAckChunk(b"")]
    pair.b.receive_datagrams([packet_of(pair.right_tag, *forged)], pair.now)
    assert pair.b.srtt is None


def test_the_handshake_measures_the_first_round_trip():
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.run(1.0, rng=random.Random(1), latency=0.15)
    assert pair.a.srtt == pytest.approx(0.3)
    assert pair.b.srtt is None


def test_the_round_trip_is_measured_on_data_and_not_on_what_was_sent_twice():
    pair = connected()
    pair.b.send(1, 51, b"x", now=pair.now)
    pair.run(1.0, rng=random.Random(1), latency=0.05)
    assert pair.b.srtt == pytest.approx(0.1)
    pair.b.send(1, 51, b"y", now=pair.now)
    pair.drain()
    pair.lose()
    pair.run(2.0, rng=random.Random(1), latency=0.05)
    assert pair.b.srtt == pytest.approx(0.1)


@pytest.mark.parametrize(
    "forged",
    [
        lambda tsn: SackChunk(tsn + 1, 100_000),
        lambda tsn: SackChunk(tsn + 1000, 100_000),
        lambda tsn: SackChunk(tsn - 10, 100_000),
        lambda tsn: SackChunk(tsn - 5, 100_000, ((2, 7),)),
        lambda tsn: SackChunk(tsn - 5, 100_000, ((3, 2),)),
        lambda tsn: SackChunk(tsn - 5, 100_000, ((0, 2),)),
        lambda tsn: SackChunk(tsn - 5, 100_000, ((3, 4), (2, 3))),
        lambda tsn: SackChunk(tsn - 5, 100_000, tuple((n, n) for n in range(2, 1000))),
    ],
)
def test_a_forged_sack_acknowledges_nothing(forged):
    pair = connected(settings=SctpSettings(initial_tsn=50))
    pair.a.send(1, 51, bytes(5 * PAYLOAD), now=pair.now)
    pair.drain()
    last_tsn = data_of(pair.in_flight[-1].packet)[-1].tsn
    assert last_tsn == 54
    pair.a.receive_datagrams([packet_of(tag_of(pair.a), forged(last_tsn))], pair.now)
    assert pair.a.counters.unexpected_chunks == 1
    assert pair.a.unacknowledged_total == 5 * PAYLOAD
    pair.settle()
    assert [len(data) for data in payloads(pair.b)] == [5 * PAYLOAD]


def test_what_a_receiver_has_dropped_again_is_sent_again():
    pair = connected(settings=SctpSettings(initial_tsn=1))
    pair.a.send(1, 51, bytes(5 * PAYLOAD), now=pair.now)
    pair.drain()
    pair.lose_all()
    tag = tag_of(pair.a)
    pair.a.receive_datagrams([packet_of(tag, SackChunk(0, 100_000, ((2, 5),)))], pair.now)
    pair.a.receive_datagrams([packet_of(tag, SackChunk(0, 100_000))], pair.now)
    pair.settle()
    assert [len(data) for data in payloads(pair.b)] == [5 * PAYLOAD]


def test_a_slow_reader_stops_the_sender_and_nothing_is_lost():
    settings = SctpSettings(receive_buffer=20_000, max_message_size=4_000)
    pair = connected(settings=settings)
    for number in range(100):
        pair.a.send(1, 51, bytes([number]) * 1_000, now=pair.now)
    pair.run(20.0, rng=random.Random(1))
    assert pair.b.is_window_shut
    assert 15 <= pair.b.counters.messages_received <= 20
    received = []
    assert pair.run(
        60.0, rng=random.Random(2), until=lambda: received.extend(payloads(pair.b, pair.now)) or len(received) == 100
    )
    assert received == [bytes([number]) * 1_000 for number in range(100)]


def test_a_shut_window_is_probed_and_a_peer_that_answers_is_not_given_up():
    settings = SctpSettings(receive_buffer=10_000, max_message_size=4_000)
    pair = connected(settings=settings)
    for _ in range(20):
        pair.a.send(1, 51, bytes(1_000), now=pair.now)
    pair.run(600.0, rng=random.Random(1))
    assert pair.a.is_established
    assert 30 < pair.a.counters.timeouts < 100
    assert pair.b.counters.messages_received < 10
    pair.run(60.0, rng=random.Random(2), until=lambda: messages(pair.b, pair.now) and False)
    assert pair.b.counters.messages_received == 20


def test_the_window_opens_without_a_probe_when_messages_are_taken():
    settings = SctpSettings(receive_buffer=20_000, max_message_size=4_000)
    pair = connected(settings=settings)
    for _ in range(40):
        pair.a.send(1, 51, bytes(1_000), now=pair.now)
    assert pair.run(1.0, rng=random.Random(1), until=lambda: pair.b.is_window_shut)
    pair.exchange()
    messages(pair.b, pair.now)
    before = pair.now
    pair.exchange()
    assert pair.now == before
    assert len(messages(pair.b, pair.now)) >= 10


def test_a_window_left_unused_for_long_is_not_sent_in_one_burst():
    pair = connected()
    for _ in range(4):
        pair.a.send(1, 51, bytes(100 * PAYLOAD), now=pair.now)
        pair.exchange()
        messages(pair.b, pair.now)
    assert pair.a.cwnd > 60 * PAYLOAD
    pair.now += 2.0
    pair.a.send(1, 51, bytes(100 * PAYLOAD), now=pair.now)
    pair.drain()
    assert len(pair.in_flight) == 10
