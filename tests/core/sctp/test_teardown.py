"""The graceful end loses nothing; the other one is quick."""

import random

import pytest

from trio_webrtc.core.sctp import Aborted, Failed, SctpSettings, ShutDown
from trio_webrtc.core.sctp.chunks import AbortChunk, DataChunk, ShutdownAckChunk, ShutdownChunk, ShutdownCompleteChunk
from trio_webrtc.core.sctp.states import ShutdownAckSent, ShutdownSent
from trio_webrtc.errors import UsageError

from .harness import SctpPair, chunk_types, connected, events, packet_of, payloads


def test_shutdown_ends_both_sides():
    pair = connected()
    pair.a.shutdown(pair.now)
    pair.exchange()
    assert events(pair.a) == events(pair.b) == [ShutDown()]
    assert pair.a.is_ended
    assert pair.b.is_ended
    assert pair.a.next_timeout() is pair.b.next_timeout() is None


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_all_that_was_sent_arrives_before_the_end(seed, both):
    pair, rng = connected(seed=seed), random.Random(seed)
    sent = [rng.randbytes(rng.randint(1, 30_000)) for _ in range(10)]
    for data in sent:
        pair.a.send(1, 51, data, now=pair.now)
        pair.b.send(1, 51, data, now=pair.now)
    pair.a.shutdown(pair.now)
    if both:
        pair.b.shutdown(pair.now)
    ended = pair.run(120.0, rng=rng, loss=0.2, jitter=0.02, until=lambda: pair.a.is_ended and pair.b.is_ended)
    assert ended, f"seed {seed}: {pair.a.state} {pair.b.state}"
    assert payloads(pair.a) == payloads(pair.b) == sent
    # The very last packet may be lost, and who sent it is gone: its peer hears of it by an answer out of the blue.
    assert events(pair.a) == events(pair.b) == [ShutDown()]


def test_an_abort_leaves_on_record_what_was_never_acknowledged():
    pair = connected()
    pair.a.send(1, 51, bytes(100), now=pair.now)
    pair.a.send(2, 51, bytes(3_000_000), now=pair.now)
    pair.drain()
    pair.lose_all()
    pair.b.abort("enough", pair.now)
    pair.exchange()
    assert pair.a.is_ended
    assert (pair.a.unacknowledged(1), pair.a.unacknowledged(2)) == (100, 3_000_000)
    assert pair.a.buffered_amount(2) > 2_900_000


def test_nothing_can_be_sent_once_the_end_has_begun():
    pair = connected()
    pair.a.shutdown(pair.now)
    with pytest.raises(UsageError):
        pair.a.send(1, 51, b"late", now=pair.now)


def test_a_peer_that_does_not_answer_shutdown_is_given_up():
    pair = connected()
    pair.a.shutdown(pair.now)
    assert isinstance(pair.a.state, ShutdownSent)
    while not pair.a.is_ended:
        pair.drain()
        pair.lose_all()
        pair.fire_next_timer()
    assert [type(event) for event in events(pair.a)] == [Failed]


def test_a_peer_that_goes_on_sending_cannot_put_off_the_end_for_ever():
    pair = connected(settings=SctpSettings(initial_tsn=1))
    pair.a.shutdown(pair.now)
    for number in range(1, 1_000):
        pair.a.receive_datagrams([packet_of(pair.left_tag, DataChunk(3, number, 1, number - 1, 51, b"x"))], pair.now)
        pair.now = min(pair.a.next_timeout(), pair.now + 0.3)
        pair.a.handle_timeout(pair.now)
        types = [type_ for packet in pair.a.poll_transmits(pair.now, 10) for type_ in chunk_types(packet)]
        if pair.a.is_ended:
            break
    assert types == [AbortChunk.TYPE]
    assert pair.now == pytest.approx(5 * SctpSettings().rto_max)


def test_data_in_company_of_shutdown_complete_is_dropped_with_it():
    pair = connected(settings=SctpSettings(initial_tsn=1))
    pair.a.shutdown(pair.now)
    pair.drain()
    pair.deliver()
    pair.b.receive_datagrams(
        [packet_of(pair.right_tag, ShutdownCompleteChunk(), DataChunk(3, 1, 1, 0, 51, b"x"))], pair.now
    )
    assert isinstance(pair.b.state, ShutdownAckSent)
    pair.settle()
    assert events(pair.a) == events(pair.b) == [ShutDown()]


def test_a_peer_that_has_not_heard_of_the_end_is_told_again():
    pair = connected()
    pair.b.abort("enough", pair.now)
    pair.drain()
    pair.lose_all()
    pair.a.send(1, 51, b"anybody there?", now=pair.now)
    pair.exchange()
    assert events(pair.a) == [Aborted(by_peer=True, reason="no reason given")]


def test_a_peer_that_may_have_forgotten_us_hears_nothing_but_that_we_are_done():
    """A heartbeat would get an ABORT for an answer, and a graceful end would look like another one."""
    pair = connected()
    pair.b.reset_streams([1], pair.now)
    pair.b.poll_transmits(pair.now, 10)
    pair.a.shutdown(pair.now)
    pair.drain()
    pair.deliver()
    assert isinstance(pair.b.state, ShutdownAckSent)
    said = set()
    while not pair.b.is_ended:
        said.update(type_ for item in pair.in_flight for type_ in chunk_types(item.packet))
        pair.lose_all()
        due = pair.b.next_timeout()
        pair.b.handle_timeout(due)
        pair.now = due
        pair.drain()
    assert said <= {ShutdownChunk.TYPE, ShutdownAckChunk.TYPE, AbortChunk.TYPE}


def test_a_shutdown_that_was_overtaken_does_not_turn_a_graceful_end_into_an_abort():
    pair = connected()
    pair.a.shutdown(pair.now)
    pair.b.shutdown(pair.now)
    pair.drain()
    pair.deliver(1)
    pair.deliver(1)  # SHUTDOWN ACK overtakes SHUTDOWN
    assert pair.b.is_ended
    pair.deliver(0)
    pair.lose(0)  # SHUTDOWN COMPLETE
    assert chunk_types(pair.in_flight[0].packet) == [AbortChunk.TYPE]
    pair.exchange()
    assert events(pair.a) == events(pair.b) == [ShutDown()]


def test_shutdown_before_the_association_is_up_ends_it_quietly():
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.a.shutdown(pair.now)
    assert events(pair.a) == [ShutDown()]
    assert pair.a.poll_transmits(pair.now, 10) == []


def test_abort_drops_what_waits_and_says_goodbye_once():
    pair = connected()
    pair.a.send(1, 51, bytes(100_000), now=pair.now)
    pair.a.abort("enough", pair.now)
    pair.a.abort("again", pair.now)
    pair.drain()
    assert [chunk_types(item.packet) for item in pair.in_flight] == [[AbortChunk.TYPE]]
    pair.exchange()
    assert events(pair.a) == [Aborted(by_peer=False, reason="enough")]
    assert events(pair.b) == [Aborted(by_peer=True, reason="user initiated abort: enough")]


@pytest.mark.parametrize("moment", range(4))
def test_abort_is_safe_at_every_moment_of_the_handshake(moment):
    pair = SctpPair()
    pair.a.connect(pair.now)
    pair.drain()
    for _ in range(moment):
        pair.deliver()
    pair.a.abort("changed my mind", pair.now)
    pair.b.abort("", pair.now)
    pair.exchange()
    assert pair.a.is_ended
    assert pair.b.is_ended
    assert pair.a.next_timeout() is pair.b.next_timeout() is None


def test_an_ended_association_ignores_what_still_arrives():
    pair = connected()
    pair.b.send(1, 51, b"late", now=pair.now)
    pair.drain()
    pair.a.abort("", pair.now)
    events(pair.a)
    pair.a.receive_datagrams([item.packet for item in pair.in_flight], pair.now)
    pair.a.handle_timeout(pair.now + 1000)
    pair.a.connect(pair.now)
    pair.a.shutdown(pair.now)
    pair.a.reset_streams([1], pair.now)
    pair.a.release(100, pair.now)
    assert events(pair.a) == []
    assert payloads(pair.a) == []


def test_what_was_never_acknowledged_still_counts_after_the_end():
    pair = connected()
    pair.a.send(1, 51, bytes(100_000), now=pair.now)
    pair.a.send(2, 51, b"not begun", now=pair.now)
    pair.b.abort("", pair.now)
    pair.exchange()
    assert pair.a.is_ended
    assert pair.a.unacknowledged(1) > 0
    assert pair.a.unacknowledged(2) == 9
