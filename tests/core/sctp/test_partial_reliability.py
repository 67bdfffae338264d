"""Messages may be given up, never in part, never more than was allowed, and nothing stalls for them (RFC 3758)."""

import random

import pytest

from trio_webrtc.core.sctp import Failed, OutgoingStreamsReset, ShutDown
from trio_webrtc.core.sctp.chunks import ForwardTsnChunk, InitAckChunk
from trio_webrtc.core.sctp.packet import read_packet
from trio_webrtc.core.sctp.parameters import ParameterType

from .harness import SctpPair, chunk_types, connected, events, packet_of, payloads

LARGE = 20_000


@pytest.mark.parametrize("unordered", [False, True])
@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize("contract", [{"max_retransmits": 0}, {"max_retransmits": 2}, {"lifetime": 0.2}])
@pytest.mark.parametrize("seed", range(3))
def test_what_arrives_is_whole_and_in_order_and_what_comes_later_is_not_held_up(seed, contract, size, unordered):
    pair, rng = connected(seed=seed), random.Random(seed)
    sent = [bytes([number]) * size for number in range(60)]
    for data in sent:
        pair.a.send(1, 51, data, unordered=unordered, now=pair.now, **contract)
        pair.run(0.05, rng=rng, loss=0.2, jitter=0.01)
    received = []
    take = lambda: received.extend(payloads(pair.b, pair.now))  # noqa: E731
    pair.run(10.0, rng=rng, loss=0.2, until=take)
    while pair.a.unacknowledged_total:
        pair.settle()
        take()
    assert set(received) <= set(sent)
    assert len(received) == len(set(received))
    if not unordered:
        assert received == sorted(received)
    pair.a.send(1, 51, b"reliable", unordered=unordered, now=pair.now)
    pair.settle()
    assert payloads(pair.b) == [b"reliable"]
    assert pair.a.unacknowledged_total == pair.a.buffered_amount(1) == 0


@pytest.mark.parametrize("max_retransmits", [0, 1, 3])
def test_a_message_is_sent_no_more_often_than_allowed(max_retransmits):
    pair = connected()
    pair.a.send(1, 51, b"fleeting", max_retransmits=max_retransmits, now=pair.now)
    transmissions = 0
    for _ in range(8):
        pair.drain()
        transmissions += sum(0 in chunk_types(item.packet) for item in pair.in_flight)
        pair.lose_all()
        pair.fire_next_timer()
    assert transmissions == 1 + max_retransmits
    assert pair.a.counters.abandoned_messages == 1
    assert pair.a.unacknowledged(1) == 0
    assert pair.a.is_established
    pair.settle()
    assert payloads(pair.b) == []
    assert not pair.a.state.link.sender.outstanding


def test_a_message_whose_time_is_over_before_it_is_sent_is_never_sent():
    pair = connected()
    pair.a.send(1, 51, bytes(100_000), now=pair.now)
    pair.a.send(1, 51, b"fleeting", lifetime=0.1, now=pair.now)
    pair.drain()
    pair.now = 0.2
    pair.settle()
    assert [len(data) for data in payloads(pair.b)] == [100_000]
    assert pair.a.counters.abandoned_messages == 1


def test_a_message_whose_time_ends_between_its_fragments_is_given_up_as_a_whole():
    pair = connected()
    pair.a.send(1, 51, bytes(LARGE), lifetime=0.1, now=pair.now)
    pair.a.send(1, 51, b"next", now=pair.now)
    pair.drain()
    assert pair.in_flight
    pair.now = 0.2
    pair.settle()
    assert payloads(pair.b) == [b"next"]
    assert pair.b.state.link.receiver.reassembly.held == 0
    assert not pair.a.state.link.sender.outstanding


def test_retransmissions_that_were_not_used_do_not_make_a_message_late():
    pair = connected()
    pair.a.send(1, 51, b"lost", max_retransmits=0, now=pair.now)
    pair.drain()
    pair.lose()
    for number in range(4):
        pair.a.send(1, 51, bytes([number]), max_retransmits=0, now=pair.now)
        pair.exchange()
    assert payloads(pair.b) == [bytes([number]) for number in range(4)]
    assert pair.now == 0.0


def test_a_lost_forward_tsn_is_repeated():
    pair = connected()
    pair.a.send(1, 51, b"lost", max_retransmits=0, now=pair.now)
    pair.a.send(1, 51, b"kept", now=pair.now)
    pair.a.send(2, 51, b"other", max_retransmits=0, now=pair.now)
    pair.drain()
    pair.lose_all()
    forwards = 0
    for _ in range(4):
        pair.fire_next_timer()
        forwards += sum(ForwardTsnChunk.TYPE in chunk_types(item.packet) for item in pair.in_flight)
        pair.lose_all()
    assert forwards >= 3
    pair.settle()
    assert payloads(pair.b) == [b"kept"]


def test_forward_tsn_names_every_ordered_stream_and_no_unordered_one():
    pair = connected()
    for stream_id in range(1, 4):
        pair.a.send(stream_id, 51, b"x", max_retransmits=0, unordered=stream_id == 3, now=pair.now)
    pair.drain()
    pair.lose_all()
    pair.fire_next_timer()
    chunks = [chunk for item in pair.in_flight for chunk in read_packet(item.packet)[3]]
    (forward,) = [ForwardTsnChunk.decode(flags, body) for type_, flags, body in chunks if type_ == ForwardTsnChunk.TYPE]
    assert forward.skipped == ((1, 0), (2, 0))


def test_giving_up_messages_on_a_thousand_streams_takes_several_forward_tsns():
    pair = connected()
    for stream_id in range(1000):
        pair.a.send(stream_id, 51, b"x", max_retransmits=0, now=pair.now)
    pair.drain()
    for _ in range(40):
        pair.lose_all()
        pair.fire_next_timer()
        if not pair.a.unacknowledged_total:
            break
    pair.settle()
    for stream_id in range(1000):
        pair.a.send(stream_id, 51, b"y", now=pair.now)
    pair.settle()
    assert payloads(pair.b) == [b"y"] * 1000


def test_a_peer_that_cannot_skip_gets_all_that_was_begun():
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.drain()
    pair.deliver()
    _, _, tag, ((_, flags, body),) = read_packet(pair.in_flight.pop().packet)
    answer = InitAckChunk.decode(flags, body)
    answer.parameters = tuple(p for p in answer.parameters if p.type == ParameterType.STATE_COOKIE)
    pair.a.receive_datagrams([packet_of(tag, answer)], pair.now)
    pair.exchange()
    pair.a.send(1, 51, b"kept after all", max_retransmits=0, now=pair.now)
    pair.drain()
    pair.lose_all()
    pair.settle()
    assert payloads(pair.b) == [b"kept after all"]


def test_giving_up_messages_does_not_hide_that_the_peer_is_gone():
    pair = connected()
    for _ in range(200):
        if pair.a.is_ended:
            break
        pair.a.send(1, 51, b"fleeting", max_retransmits=0, now=pair.now)
        pair.drain()
        pair.lose_all()
        pair.fire_next_timer()
    assert [type(event) for event in events(pair.a)] == [Failed]


def test_fragments_of_a_message_given_up_are_not_sent_again():
    pair = connected()
    pair.a.send(1, 51, bytes(LARGE), max_retransmits=0, now=pair.now)
    pair.drain()
    first = len(pair.in_flight)
    pair.lose(2)
    pair.settle()
    assert pair.a.counters.retransmitted_chunks == 0
    assert pair.a.counters.packets_sent < first + 34
    assert payloads(pair.b) == []


@pytest.mark.parametrize("ending", ["shutdown", "reset"])
def test_what_waits_for_a_message_whose_time_is_over_does_not_wait_longer(ending):
    pair = connected()
    pair.a.send(1, 51, b"fleeting", lifetime=0.1, now=pair.now)
    if ending == "shutdown":
        pair.a.shutdown(pair.now)
    else:
        pair.a.reset_streams([1], pair.now)
    pair.now = 0.2
    pair.exchange()
    assert [type(event) for event in events(pair.a)] == [ShutDown if ending == "shutdown" else OutgoingStreamsReset]
    assert pair.now == 0.2


def test_a_message_whose_turn_comes_with_the_window_shut_may_still_expire():
    pair = connected()
    pair.a.send(1, 51, bytes(11_720), now=pair.now)
    pair.a.send(1, 51, b"fleeting", lifetime=0.1, now=pair.now)
    pair.drain()
    pair.a.poll_transmits(pair.now, 10)
    pair.now = 0.2
    pair.settle()
    assert [len(data) for data in payloads(pair.b)] == [11_720]
    pair.a.drop_unsent()
    assert pair.a.unacknowledged_total == 0
