"""Handshakes over a network that loses, duplicates and reorders, in virtual time."""

import pytest

from trio_webrtc.core.dtls import HandshakeCompleted

BAD_NETWORK = {"loss": 0.2, "duplication": 0.1, "reordering": 0.2}


@pytest.mark.parametrize("seed", range(80))
def test_a_handshake_completes_at_20_percent_loss(make_pair, seed):
    pair = make_pair(seed=seed, **BAD_NETWORK)
    pair.connect()
    assert pair.events == {pair.client: [HandshakeCompleted()], pair.server: [HandshakeCompleted()]}
    assert pair.now < 20.0, f"seed {seed}"


@pytest.mark.parametrize("seed", range(20))
def test_a_handshake_in_many_small_datagrams_completes_at_20_percent_loss(make_pair, rsa, seed):
    pair = make_pair(client=rsa, server=rsa, mtu=300, seed=seed, **BAD_NETWORK)
    pair.connect()


def test_without_loss_nothing_is_sent_twice(pair):
    assert pair.client.counters.flights_repeated == 0
    assert pair.server.counters.flights_repeated == 0
    assert pair.now < 0.1


@pytest.mark.parametrize("lost", range(8))
def test_any_one_lost_datagram_costs_one_retransmission_interval(make_pair, lost):
    pair = make_pair(mtu=400)
    fates = iter(range(1000))
    throw = pair._throw
    pair._throw = lambda receiver, datagram: next(fates) != lost and throw(receiver, datagram)
    pair.connect()
    assert pair.now < 1.0


def test_a_lost_last_flight_is_sent_again_when_the_client_repeats_its_own(make_pair, drain):
    pair = make_pair()
    while not pair.server.is_up:
        pair.start() if pair.now == 0.0 and not pair.sent[pair.client] else pair.step()
    pair._in_flight.clear()
    assert not pair.client.is_up
    assert pair.server.next_timeout() is None
    pair.settle()
    assert pair.client.is_up
    assert pair.server.counters.flights_repeated == 1


def test_a_repeated_last_flight_is_not_answered_by_the_client(pair):
    last_flight = pair.sent[pair.server][-1]
    for _ in range(3):
        pair.now += 1.0
        pair.client.receive_datagrams([last_flight], pair.now)
    assert pair.client.poll_run(pair.now) is None


def test_the_server_answers_a_burst_of_repetitions_once(pair, drain):
    flight = pair.sent[pair.client][1:]
    pair.server.receive_datagrams(flight * 20, pair.now + 1.0)
    assert len(drain(pair.server)) == 1
    pair.server.receive_datagrams(flight, pair.now + 2.0)
    assert len(drain(pair.server)) == 1


def test_a_repetition_has_new_sequence_numbers_where_nothing_authenticates_them(make_pair, drain):
    pair = make_pair(mtu=400)
    pair.client.start(0.0)
    (hello,) = drain(pair.client)
    pair.client.handle_timeout(pair.client.next_timeout())
    (again,) = drain(pair.client)
    assert hello[5:11] != again[5:11]
    assert hello[:5] + hello[11:] == again[:5] + again[11:]


def test_intervals_double_up_to_their_limit_until_patience_ends(make_pair, drain):
    client = make_pair().client
    client.start(0.0)
    moments = []
    while (moment := client.next_timeout()) is not None:
        moments.append(moment)
        client.handle_timeout(moment)
        drain(client)
    assert moments[:5] == pytest.approx([0.4, 1.2, 2.8, 4.4, 6.0])
    assert moments[-1] == 30.0
    assert "in time" in client.poll_event().message
    assert client.state.value == "failed"


def test_a_flight_that_has_not_left_is_not_queued_twice(make_pair, drain):
    client = make_pair().client
    client.start(0.0)
    for _ in range(5):
        client.handle_timeout(client.next_timeout())
    assert len(drain(client)) == 1


def test_handling_a_timeout_early_changes_nothing(make_pair, drain):
    client = make_pair().client
    client.start(0.0)
    drain(client)
    client.handle_timeout(0.39)
    assert client.poll_run(0.39) is None
    assert client.next_timeout() == 0.4
