"""Goodbyes: said once, understood, and silent where nobody could hear them."""

import gc
import weakref

import pytest

from trio_webrtc.core.dtls import RemoteClosed, SessionState


def test_data_before_a_close_notify_in_the_same_batch_arrives(pair, drain):
    pair.client.send([b"last", b"words"])
    pair.client.queue_close_notify()
    pair.server.receive_datagrams(drain(pair.client), pair.now)
    assert pair.server.poll_event() == RemoteClosed()
    assert pair.server.poll_packets() == [b"last", b"words"]
    assert pair.server.state is SessionState.CLOSED


def test_a_session_closed_by_its_peer_is_no_longer_up(pair):
    pair.client.queue_close_notify()
    pair.collect()
    pair.settle()
    assert pair.events[pair.server][-1] == RemoteClosed()
    assert not pair.server.is_up


def test_data_then_close_in_one_datagram(pair, drain):
    pair.client.send([b"last words"])
    pair.client.queue_close_notify()
    pair.server.receive_datagrams([b"".join(drain(pair.client))], pair.now)
    assert pair.server.poll_packets() == [b"last words"]
    assert pair.server.poll_event() == RemoteClosed()


def test_data_behind_a_close_notify_is_not_delivered(pair, drain):
    pair.client.send([b"before"])
    pair.client.queue_close_notify()
    pair.client.repeat_goodbye([b"after"])
    pair.server.receive_datagrams(drain(pair.client), pair.now)
    assert pair.server.poll_packets() == [b"before"]


def test_a_long_batch_behind_a_close_notify_is_not_delivered(pair, drain):
    pair.client.queue_close_notify()
    pair.client.repeat_goodbye([bytes(1000)] * 50)
    pair.server.receive_datagrams(drain(pair.client), pair.now)
    assert pair.server.poll_packets() == []
    assert pair.server.poll_event() == RemoteClosed()
    assert pair.server.poll_event() is None


def test_a_close_notify_is_answered_when_the_owner_says_so(pair):
    pair.client.queue_close_notify()
    pair.collect()
    pair.settle()
    said = len(pair.sent[pair.server])
    pair.server.queue_close_notify()
    pair.collect()
    assert len(pair.sent[pair.server]) == said + 1


def test_both_may_close_at_once(pair):
    pair.client.queue_close_notify()
    pair.server.queue_close_notify()
    pair.collect()
    pair.settle()
    assert pair.client.state is pair.server.state is SessionState.CLOSED


def test_closing_twice_says_goodbye_once(pair, drain):
    pair.client.queue_close_notify()
    pair.client.queue_close_notify()
    assert len(drain(pair.client)) == 1


def test_a_goodbye_may_be_repeated_in_fresh_records(pair, drain):
    pair.client.send([b"abort"])
    pair.client.queue_close_notify()
    lost = drain(pair.client)
    pair.client.repeat_goodbye([b"abort"])
    fresh = drain(pair.client)
    assert set(fresh).isdisjoint(lost)
    pair.server.receive_datagrams(fresh, pair.now)
    assert pair.server.poll_packets() == [b"abort"]
    assert pair.server.poll_event() == RemoteClosed()


def test_there_is_no_goodbye_to_repeat_before_the_first(pair, drain):
    pair.client.repeat_goodbye([b"abort"])
    assert drain(pair.client) == []


def test_a_new_session_closes_in_silence(make_pair, drain):
    pair = make_pair()
    for session in (pair.client, pair.server):
        session.queue_close_notify()
        assert session.state is SessionState.CLOSED
        assert drain(session) == []


@pytest.mark.parametrize("steps", range(3))
@pytest.mark.parametrize("side", ["client", "server"])
def test_a_session_closed_in_the_middle_of_a_handshake_is_silent(make_pair, drain, steps, side):
    pair = make_pair()
    pair.start()
    for _ in range(steps):
        pair.step()
    session = getattr(pair, side)
    was_up = session.is_up
    session.queue_close_notify()
    assert len(drain(session)) == was_up
    assert session.next_timeout() is None
    pair.settle()
    assert drain(session) == []


def test_a_failed_session_says_no_goodbye(make_pair, drain, stranger):
    pair = make_pair(client_trusts=stranger.fingerprints())
    pair.start()
    pair.settle()
    for session in (pair.client, pair.server):
        session.queue_close_notify()
        assert session.state is SessionState.FAILED
        assert drain(session) == []


def test_a_closed_session_neither_hears_nor_speaks(pair, drain):
    pair.server.send([b"too late"])
    late = drain(pair.server)
    pair.client.queue_close_notify()
    drain(pair.client)
    pair.client.receive_datagrams(late + pair.sent[pair.server], pair.now)
    pair.client.send([b"too late"])
    pair.client.start(pair.now)
    pair.client.handle_timeout(pair.now + 100.0)
    assert drain(pair.client) == []
    assert pair.client.poll_packets() == []
    assert pair.client.next_timeout() is None


def test_packets_that_arrived_before_the_own_goodbye_can_be_polled_after_it(pair, drain):
    pair.client.send([b"kept"])
    pair.server.receive_datagrams(drain(pair.client), pair.now)
    pair.server.queue_close_notify()
    assert pair.server.poll_packets() == [b"kept"]


@pytest.mark.parametrize("ending", ["closed", "abandoned in the handshake", "failed"])
def test_no_reference_cycle_keeps_a_session(make_pair, stranger, ending):
    pair = make_pair(client_trusts=stranger.fingerprints() if ending == "failed" else ...)
    pair.start()
    if ending == "closed":
        pair.settle()
        pair.client.queue_close_notify()
        pair.collect()
        pair.settle()
    elif ending == "failed":
        pair.settle()
    sessions = [weakref.ref(pair.client), weakref.ref(pair.server)]
    connections = [weakref.ref(session._engine._connection) for session in (pair.client, pair.server)]
    gc.disable()
    try:
        del pair
        assert [reference() for reference in sessions + connections] == [None] * 4
    finally:
        gc.enable()
