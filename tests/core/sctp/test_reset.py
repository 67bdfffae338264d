"""Streams are reset in both directions, and start afresh (RFC 6525)."""

import random

import pytest

from trio_webrtc.core.sctp import (
    Association,
    IncomingStreamsReset,
    Message,
    OutgoingResetRefused,
    OutgoingStreamsReset,
    SctpSettings,
)
from trio_webrtc.core.sctp.chunks import ReconfigChunk
from trio_webrtc.core.sctp.chunks.reconfig import (
    AddIncomingStreams,
    AddOutgoingStreams,
    IncomingResetRequest,
    OutgoingResetRequest,
    ReconfigResponse,
    ResetResult,
    SsnTsnResetRequest,
)
from trio_webrtc.core.sctp.packet import read_packet
from trio_webrtc.errors import UsageError

from .harness import chunk_types, connected, events, packet_of, payloads

TSN = 1000


def test_a_reset_stream_starts_afresh_on_both_sides():
    pair = connected()
    pair.a.send(5, 51, b"before", now=pair.now)
    pair.exchange()
    pair.settle()
    pair.a.reset_streams([5], pair.now)
    pair.exchange()
    assert events(pair.b) == [IncomingStreamsReset((5,))]
    assert events(pair.a) == [OutgoingStreamsReset((5,))]
    pair.a.send(5, 51, b"after", now=pair.now)
    pair.exchange()
    assert payloads(pair.b) == [b"before", b"after"]


def test_an_end_is_told_between_the_messages_before_and_behind_it():
    pair = connected()
    pair.b.send(5, 51, b"before", now=pair.now)
    pair.exchange()
    pair.settle()
    pair.b.reset_streams([5], pair.now)
    for packet in pair.b.poll_transmits(pair.now, 10):  # the request, whose answer goes straight back
        pair.a.receive_datagrams([packet], pair.now)
    pair.b.receive_datagrams(pair.a.poll_transmits(pair.now, 10), pair.now)
    pair.b.send(5, 51, b"behind", now=pair.now)
    pair.a.receive_datagrams(pair.b.poll_transmits(pair.now, 10), pair.now)
    told = [event.data if isinstance(event, Message) else event for event in iter(pair.a.poll_event, None)]
    assert told == [b"before", IncomingStreamsReset((5,)), b"behind"]


@pytest.mark.parametrize("seed", range(10))
def test_all_that_was_sent_before_a_reset_arrives_before_it(seed):
    pair = connected(seed=seed)
    rng = random.Random(seed)
    sent = [rng.randbytes(rng.randint(1, 20_000)) for _ in range(20)]
    for data in sent:
        pair.a.send(5, 51, data, now=pair.now)
    pair.a.reset_streams([5], pair.now)
    received = []

    def has_reset():
        received.extend(payloads(pair.b, pair.now))
        return events(pair.b) == [IncomingStreamsReset((5,))]

    assert pair.run(60.0, rng=rng, loss=0.2, jitter=0.05, until=has_reset)
    assert received == sent


def test_a_stream_that_is_being_reset_takes_no_messages():
    pair = connected()
    pair.a.reset_streams([5], pair.now)
    with pytest.raises(UsageError, match="being reset"):
        pair.a.send(5, 51, b"too early", now=pair.now)


@pytest.mark.parametrize("loss", [0.0, 0.2])
def test_a_stream_is_reused_200_times(loss):
    pair, rng = connected(), random.Random(1)
    for turn in range(200):
        for association in (pair.a, pair.b):
            association.send(9, 51, b"first %d" % turn, now=pair.now)
            association.send(9, 51, b"second %d" % turn, now=pair.now)
            association.reset_streams([9], pair.now)
        pair.run(0.2, rng=rng, loss=loss)
        pair.settle()
        for association in (pair.a, pair.b):
            assert payloads(association) == [b"first %d" % turn, b"second %d" % turn]
            assert sorted(map(str, events(association))) == [
                "IncomingStreamsReset(stream_ids=(9,))",
                "OutgoingStreamsReset(stream_ids=(9,))",
            ]


def test_a_hundred_streams_close_in_both_directions_at_once():
    pair = connected()
    ids = list(range(100))
    for association in (pair.a, pair.b):
        for stream_id in ids:
            association.send(stream_id, 51, b"bye", now=pair.now)
            association.reset_streams([stream_id], pair.now)
    pair.settle()
    for association in (pair.a, pair.b):
        found = events(association)
        for kind in (IncomingStreamsReset, OutgoingStreamsReset):
            assert sorted(id_ for event in found if type(event) is kind for id_ in event.stream_ids) == ids
        assert payloads(association) == [b"bye"] * 100


def test_a_reset_waits_for_data_that_is_late_and_says_so():
    pair = connected(settings=SctpSettings(initial_tsn=TSN))
    pair.a.send(5, 51, b"late", now=pair.now)
    pair.drain()
    late = pair.in_flight.pop()
    ask(pair, OutgoingResetRequest(TSN, TSN - 1, TSN, (5,)))
    assert answer(pair) == ReconfigResponse(TSN, ResetResult.IN_PROGRESS)
    assert events(pair.b) == []
    pair.b.receive_datagrams([late.packet], pair.now)
    assert answer(pair) == ReconfigResponse(TSN, ResetResult.PERFORMED)
    assert payloads(pair.b) == [b"late"]
    assert events(pair.b) == [IncomingStreamsReset((5,))]


def test_a_reset_that_had_to_wait_is_performed_once_though_it_is_asked_for_again_under_a_new_number():
    pair = connected(settings=SctpSettings(initial_tsn=TSN))
    pair.a.send(5, 51, b"late", now=pair.now)
    pair.drain()
    late = pair.in_flight.pop()
    ask(pair, OutgoingResetRequest(TSN, TSN - 1, TSN, (5,)))
    assert answer(pair) == ReconfigResponse(TSN, ResetResult.IN_PROGRESS)
    pair.b.receive_datagrams([late.packet], pair.now)
    assert answer(pair) == ReconfigResponse(TSN, ResetResult.PERFORMED)
    for number in (TSN + 1, TSN + 2):
        ask(pair, OutgoingResetRequest(number, TSN - 1, TSN, (5,)))
        assert answer(pair) == ReconfigResponse(number, ResetResult.PERFORMED)
    assert events(pair.b) == [IncomingStreamsReset((5,))]
    ask(pair, OutgoingResetRequest(TSN + 3, TSN - 1, TSN, (6,)))
    assert events(pair.b) == [IncomingStreamsReset((6,))]


def test_a_peer_that_has_us_wait_is_asked_again_under_a_new_number():
    pair = connected(settings=SctpSettings(initial_tsn=TSN))
    pair.a.reset_streams([5], pair.now)
    pair.drain()
    for number in range(TSN, TSN + 20):
        (request,) = requests_of(pair)
        assert (request.request_seq, request.last_assigned_tsn, request.stream_ids) == (number, TSN - 1, (5,))
        respond(pair, number, ResetResult.IN_PROGRESS)
        assert events(pair.a) == []
        pair.fire_next_timer()
    assert pair.a.is_established
    respond(pair, number, ResetResult.PERFORMED)
    assert events(pair.a) == []
    respond(pair, number + 1, ResetResult.PERFORMED)
    assert events(pair.a) == [OutgoingStreamsReset((5,))]


def test_a_reset_does_not_wait_for_what_was_lost_on_other_streams():
    pair = connected()
    pair.a.send(4, 51, b"lost", now=pair.now)
    pair.drain()
    pair.lose_all()
    pair.a.reset_streams([5], pair.now)
    pair.exchange()
    assert events(pair.b) == [IncomingStreamsReset((5,))]
    assert events(pair.a) == [OutgoingStreamsReset((5,))]
    pair.settle()
    assert payloads(pair.b) == [b"lost"]


def test_a_reset_waits_until_the_peer_knows_what_was_given_up():
    pair = connected()
    pair.a.send(5, 51, b"fleeting", max_retransmits=0, now=pair.now)
    pair.drain()
    (late,) = pair.in_flight
    pair.lose_all()
    pair.a.reset_streams([5], pair.now)
    pair.fire_next_timer()
    assert pair.a.unacknowledged(5) == 0
    assert requests_of(pair) == []
    pair.settle()
    pair.b.receive_datagrams([late.packet], pair.now)
    assert payloads(pair.b) == []
    assert events(pair.b) == [IncomingStreamsReset((5,))]


def requests_of(pair):
    """The requests in what the left side has sent; they are lost."""
    chunks = [chunk for item in pair.in_flight for chunk in read_packet(item.packet)[3]]
    pair.lose_all()
    decoded = [ReconfigChunk.decode(flags, body) for type_, flags, body in chunks if type_ == ReconfigChunk.TYPE]
    return [request for chunk in decoded for request in chunk.parameters]


def respond(pair, number, result):
    response = packet_of(pair.left_tag, ReconfigChunk((ReconfigResponse(number, result),)))
    pair.a.receive_datagrams([response], pair.now)


def test_a_peer_may_ask_for_more_while_its_first_reset_has_to_wait():
    pair = connected(settings=SctpSettings(initial_tsn=TSN))
    for stream_id in (5, 6):
        pair.a.send(stream_id, 51, b"late", now=pair.now)
        pair.drain()
    late = [item.packet for item in pair.in_flight]
    for number, stream_id in enumerate((5, 6)):
        ask(pair, OutgoingResetRequest(TSN + number, TSN - 1, TSN + number, (stream_id,)))
        assert answer(pair) == ReconfigResponse(TSN + number, ResetResult.IN_PROGRESS)
    pair.b.receive_datagrams(late[:1], pair.now)
    assert events(pair.b) == [IncomingStreamsReset((5,))]
    assert answer(pair) == ReconfigResponse(TSN, ResetResult.PERFORMED)
    ask(pair, OutgoingResetRequest(TSN + 1, TSN - 1, TSN + 1, (6,)))
    assert answer(pair) == ReconfigResponse(TSN + 1, ResetResult.IN_PROGRESS)
    pair.b.receive_datagrams(late[1:], pair.now)
    assert events(pair.b) == [IncomingStreamsReset((6,))]
    assert answer(pair) == ReconfigResponse(TSN + 1, ResetResult.PERFORMED)


def test_a_peer_that_announces_resets_without_end_is_told_to_wait():
    pair = connected(settings=SctpSettings(initial_tsn=TSN))
    results = []
    for number in range(20):
        ask(pair, OutgoingResetRequest(TSN + number, TSN - 1, TSN + number, (number,)))
        results.append(answer(pair).result)
    assert results == [ResetResult.IN_PROGRESS] * 16 + [ResetResult.ALREADY_IN_PROGRESS] * 4


def test_what_comes_after_a_reset_waits_for_it():
    pair = connected(settings=SctpSettings(initial_tsn=TSN))
    ask(pair, OutgoingResetRequest(TSN, TSN - 1, TSN, (5,)))
    packets = []
    for payload in (b"before", b"after"):
        other = connected(settings=SctpSettings(initial_tsn=TSN if payload == b"before" else TSN + 1))
        other.a.send(5, 51, payload, now=0.0)
        (_, _, _, ((type_, flags, body),)) = read_packet(other.a.poll_transmits(0.0, 1)[0])
        assert type_ == 0
        packets.append(packet_of(pair.right_tag, bytes([0, flags, 0, 4 + len(body)]) + body + bytes(-len(body) % 4)))
    pair.b.receive_datagrams([packets[1]], pair.now)
    assert payloads(pair.b) == []
    pair.b.receive_datagrams([packets[0]], pair.now)
    assert payloads(pair.b) == [b"before", b"after"]


def ask(pair, request):
    pair.b.receive_datagrams([packet_of(pair.right_tag, ReconfigChunk((request,)))], pair.now)


def answer(pair):
    """The answer in what the right side sends."""
    chunks = [chunk for packet in pair.b.poll_transmits(pair.now, 10) for chunk in read_packet(packet)[3]]
    decoded = [ReconfigChunk.decode(flags, body) for type_, flags, body in chunks if type_ == ReconfigChunk.TYPE]
    return decoded[0].parameters[0] if decoded else None


def test_a_repeated_request_gets_the_same_answer_and_a_wrong_number_is_refused():
    pair = connected(settings=SctpSettings(initial_tsn=TSN))
    request = OutgoingResetRequest(TSN, TSN - 1, TSN - 1, (5,))
    for _ in range(3):
        ask(pair, request)
        assert answer(pair) == ReconfigResponse(TSN, ResetResult.PERFORMED)
    assert events(pair.b) == [IncomingStreamsReset((5,))]
    ask(pair, OutgoingResetRequest(TSN + 7, TSN - 1, TSN - 1, (5,)))
    assert answer(pair) == ReconfigResponse(TSN + 7, ResetResult.BAD_SEQUENCE_NUMBER)


def test_all_streams_may_be_reset_by_naming_none():
    pair = connected(settings=SctpSettings(initial_tsn=TSN, streams=8))
    ask(pair, OutgoingResetRequest(TSN, TSN - 1, TSN - 1, ()))
    (event,) = events(pair.b)
    assert list(event.stream_ids) == list(range(8))


def test_the_peer_may_ask_for_our_streams_to_be_reset():
    pair = connected(settings=SctpSettings(initial_tsn=TSN))
    ask(pair, IncomingResetRequest(TSN, (5,)))
    assert answer(pair) == ReconfigResponse(TSN, ResetResult.PERFORMED)
    assert pair.b.counters.packets_sent > 0


def test_more_streams_of_the_peers_are_granted_and_what_webrtc_does_not_need_is_denied():
    pair = connected(settings=SctpSettings(initial_tsn=TSN, streams=100))
    ask(pair, AddOutgoingStreams(TSN, 50))
    assert answer(pair) == ReconfigResponse(TSN, ResetResult.PERFORMED)
    assert pair.b.inbound_streams == 150
    for number, request in enumerate((AddIncomingStreams(TSN + 1, 50), SsnTsnResetRequest(TSN + 2)), 1):
        ask(pair, request)
        assert answer(pair) == ReconfigResponse(TSN + number, ResetResult.DENIED)


@pytest.mark.parametrize("result", [ResetResult.DENIED, ResetResult.WRONG_STREAM_SEQUENCE])
def test_a_refused_reset_is_reported_and_the_stream_goes_on_as_it_was(result):
    pair = connected(settings=SctpSettings(initial_tsn=TSN))
    pair.a.send(5, 51, b"one", now=pair.now)
    pair.settle()
    pair.a.reset_streams([5], pair.now)
    pair.drain()
    pair.lose_all()
    response = packet_of(pair.left_tag, ReconfigChunk((ReconfigResponse(TSN, result),)))
    pair.a.receive_datagrams([response], pair.now)
    assert events(pair.a) == [OutgoingResetRefused((5,))]
    pair.a.send(5, 51, b"two", now=pair.now)
    pair.settle()
    assert payloads(pair.b) == [b"one", b"two"]


def test_a_request_without_an_answer_is_repeated_until_the_peer_is_given_up():
    pair = connected()
    pair.a.reset_streams([5], pair.now)
    requests = 0
    while not pair.a.is_ended:
        pair.drain()
        requests += sum(ReconfigChunk.TYPE in chunk_types(item.packet) for item in pair.in_flight)
        pair.lose_all()
        pair.fire_next_timer()
    assert 8 <= requests <= 12


def test_a_peer_that_falls_silent_is_given_up_no_sooner_because_of_a_reset():
    """SCTP bears more silence than ICE, which can find another way: all timers together must not change that."""
    survived = []
    for stream_ids in ([], [5]):
        pair = connected()
        pair.a.send(4, 51, b"x", now=pair.now)
        pair.a.reset_streams(stream_ids, pair.now)
        while not pair.a.is_ended:
            pair.drain()
            pair.lose_all()
            pair.fire_next_timer()
        survived.append(pair.now)
    assert survived[0] > 60
    assert survived[1] == pytest.approx(survived[0], abs=10)


def test_a_peer_without_stream_resets_refuses_them_at_once(monkeypatch):
    monkeypatch.setattr("trio_webrtc.core.sctp.setup.EXTENSIONS", bytes([192]))
    pair = connected()
    pair.a.reset_streams([5], pair.now)
    assert events(pair.a) == [OutgoingResetRefused((5,))]


def test_a_reset_before_the_association_is_up_is_harmless():
    association = Association(settings=SctpSettings(), rng=random.Random(1), max_packet_size=1200, now=0.0)
    association.reset_streams([1], 0.0)
    assert events(association) == []
