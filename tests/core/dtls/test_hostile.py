"""Whatever arrives, nothing is raised; and what was not made with the session's keys does it no harm."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FIXTURES_ARE_FINE = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

records = st.builds(
    lambda kind, version, epoch, sequence, body: (
        bytes((kind,)) + version + epoch.to_bytes(2, "big") + sequence + len(body).to_bytes(2, "big") + body
    ),
    st.sampled_from([20, 21, 22, 23, 24, 25, 63]),
    st.sampled_from([b"\xfe\xfd", b"\xfe\xff", b"\x03\x03"]),
    st.sampled_from([0, 1, 2, 65535]),
    st.binary(min_size=6, max_size=6),
    st.binary(max_size=80),
)
garbage = st.one_of(st.binary(max_size=200), records, st.lists(records, max_size=4).map(b"".join))


def assert_alive(pair, drain):
    for sender, receiver in ((pair.client, pair.server), (pair.server, pair.client)):
        drain(sender)
        sender.send([b"are you there?"])
        receiver.receive_datagrams(drain(sender), pair.now)
        assert receiver.poll_packets() == [b"are you there?"]
        assert receiver.is_up


@FIXTURES_ARE_FINE
@given(st.lists(garbage, max_size=5))
def test_garbage_does_not_harm_an_established_session(pair, drain, batch):
    pair.client.receive_datagrams(batch, pair.now)
    pair.server.receive_datagrams(batch, pair.now)
    assert_alive(pair, drain)


@FIXTURES_ARE_FINE
@given(st.integers(0, 2**32))
def test_mutated_datagrams_do_not_harm_an_established_session(pair, drain, seed):
    rng = random.Random(seed)
    pair.client.send([rng.randbytes(rng.randint(1, 1100)) for _ in range(5)])
    datagrams = drain(pair.client) + pair.sent[pair.client] + pair.sent[pair.server]
    batch = []
    for datagram in datagrams:
        mutant = bytearray(datagram)
        for _ in range(rng.randint(1, 4)):
            mutant[rng.randrange(len(mutant))] ^= rng.randint(1, 255)
        batch.append(bytes(mutant[: rng.choice([len(mutant), rng.randint(0, len(mutant))])]))
    pair.server.receive_datagrams(batch, pair.now)
    pair.client.receive_datagrams(batch, pair.now)
    assert_alive(pair, drain)


def test_the_whole_handshake_replayed_does_not_harm_an_established_session(pair, drain):
    replay = pair.sent[pair.client] + pair.sent[pair.server]
    for _ in range(30):  # OpenSSL, if it saw them, would give up after a dozen
        pair.now += 1.0
        pair.client.receive_datagrams(replay, pair.now)
        pair.server.receive_datagrams(replay, pair.now)
    assert_alive(pair, drain)


def test_an_unprotected_alert_does_not_end_an_established_session(pair, drain):
    for description in range(256):
        alert = bytes.fromhex("15fefd 0000 000000000fff 0002 02") + bytes((description,))
        pair.client.receive_datagrams([alert], pair.now)
    assert_alive(pair, drain)


@pytest.mark.parametrize("kind", [b"\x15", b"\x17"])
def test_protected_records_of_any_length_do_not_harm_an_established_session(pair, drain, kind):
    for length in range(60):
        forgery = kind + bytes.fromhex("fefd 0001 00000000ffff") + length.to_bytes(2, "big") + bytes(length)
        pair.client.receive_datagrams([forgery], pair.now)
        pair.server.receive_datagrams([forgery], pair.now)
        assert_alive(pair, drain)


@FIXTURES_ARE_FINE
@given(st.lists(garbage, min_size=1, max_size=5), st.booleans())
def test_garbage_in_a_handshake_raises_nothing(make_pair, batch, has_begun):
    pair = make_pair()
    if has_begun:
        pair.start()
        pair.step()
    pair.client.receive_datagrams(batch, pair.now)
    pair.server.receive_datagrams(batch, pair.now)
    pair.collect()
    pair.settle()


@FIXTURES_ARE_FINE
@given(st.integers(0, 2**32))
def test_mutations_in_a_handshake_raise_nothing(make_pair, seed):
    rng = random.Random(seed)
    pair = make_pair(mtu=400)
    throw = pair._throw

    def mutate(receiver, datagram):
        mutant = bytearray(datagram)
        if rng.random() < 0.3:
            mutant[rng.randrange(len(mutant))] ^= rng.randint(1, 255)
        throw(receiver, bytes(mutant))

    pair._throw = mutate
    pair.start()
    pair.settle()
    for session in (pair.client, pair.server):
        assert session.next_timeout() is None


@pytest.mark.parametrize("description", [40, 47, 99, 255])
def test_a_fatal_alert_in_the_handshake_fails_it_by_its_name(make_pair, drain, description):
    client = make_pair().client
    client.start(0.0)
    drain(client)
    client.receive_datagrams([bytes.fromhex("15fefd 0000 000000000000 0002 02") + bytes((description,))], 0.0)
    failure = client.poll_event()
    name = {40: "handshake_failure", 47: "illegal_parameter"}.get(description, str(description))
    assert failure.message == f"the peer ended the DTLS session with alert {name}"
    assert (failure.alert is None) == (description in {99, 255})
    assert drain(client) == []


def test_a_close_notify_in_the_handshake_closes(make_pair, drain):
    client = make_pair().client
    client.start(0.0)
    client.receive_datagrams([bytes.fromhex("15fefd 0000 000000000000 0002 0100")], 0.0)
    assert client.state.value == "closed"
    assert client.next_timeout() is None


def test_an_empty_batch_and_empty_datagrams_are_nothing(pair, drain):
    pair.client.receive_datagrams([], pair.now)
    pair.client.receive_datagrams([b""], pair.now)
    assert_alive(pair, drain)
