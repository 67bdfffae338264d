"""What a handshake agrees on, and how its flights travel."""

import itertools
import random

import pytest
from OpenSSL import SSL

from trio_webrtc.core.dtls import Context, DtlsSettings, Failed, HandshakeCompleted, SessionState
from trio_webrtc.core.dtls.records import HEADER_LENGTH, split_records
from trio_webrtc.core.dtls.session import MAX_EARLY_RECORDS
from trio_webrtc.errors import FailureReason, UsageError


@pytest.mark.parametrize("client", ["ecdsa", "rsa"])
@pytest.mark.parametrize("server", ["ecdsa", "rsa"])
def test_either_side_may_present_either_kind_of_certificate(make_pair, request, client, server):
    contexts = {"client": request.getfixturevalue(client), "server": request.getfixturevalue(server)}
    pair = make_pair(**contexts)
    pair.connect()
    assert pair.client.version == "DTLSv1.2"
    assert pair.client.cipher == pair.server.cipher == f"TLS_ECDHE_{server.upper()}_WITH_AES_128_GCM_SHA256"
    assert pair.client.remote_certificate == (contexts["server"].certificate.der,)
    assert pair.server.remote_certificate == (contexts["client"].certificate.der,)


def test_states_go_from_new_over_connecting_to_connected(make_pair):
    pair = make_pair()
    assert pair.client.state is SessionState.NEW
    pair.client.start(0.0)
    assert pair.client.state is SessionState.CONNECTING
    pair.connect()
    assert pair.client.state is SessionState.CONNECTED
    assert pair.events[pair.client] == [HandshakeCompleted()]


def test_starting_twice_says_one_client_hello(make_pair, drain):
    client = make_pair().client
    client.start(0.0)
    client.start(0.0)
    assert len(drain(client)) == 1


def test_a_client_that_has_not_started_is_deaf(make_pair, pair, drain):
    client = make_pair().client
    client.receive_datagrams(pair.sent[pair.server], 0.0)
    assert client.state is SessionState.NEW
    assert drain(client) == []


@pytest.mark.parametrize("mtu", [300, 600, 1200])
@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_no_datagram_of_a_handshake_is_larger_than_the_mtu(make_pair, request, mtu, kind):
    context = request.getfixturevalue(kind)
    pair = make_pair(client=context, server=context, mtu=mtu, loss=0.2, seed=mtu)
    pair.connect()
    datagrams = pair.sent[pair.client] + pair.sent[pair.server]
    assert max(map(len, datagrams)) <= mtu
    assert all(b"".join(split_records(datagram)) == datagram for datagram in datagrams)


def test_a_flight_fills_its_datagrams(make_pair, rsa):
    pair = make_pair(client=rsa, server=rsa, mtu=1200)
    pair.connect()
    assert len(pair.sent[pair.server]) <= 3
    assert len(pair.sent[pair.client]) == 2


def fragments_of(hello: bytes, size: int) -> list[bytes]:
    """A ClientHello in one record, cut into fragments of a record and datagram each (RFC 6347 §4.2.3)."""
    body = hello[HEADER_LENGTH + 12 :]
    fragments = []
    for number, start in enumerate(range(0, len(body), size)):
        part = body[start : start + size]
        header = hello[13:17] + hello[17:19] + start.to_bytes(3, "big") + len(part).to_bytes(3, "big")
        sequence = number.to_bytes(6, "big")
        fragments.append(hello[:5] + sequence + (len(header) + len(part)).to_bytes(2, "big") + header + part)
    return fragments


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_client_hello_may_come_in_several_datagrams_in_any_order(make_pair, drain, order):
    pair = make_pair()
    pair.client.start(0.0)
    (hello,) = drain(pair.client)
    fragments = fragments_of(hello, (len(hello) - 25) // 3 + 1)
    assert len(fragments) == 3
    for index in order:
        assert drain(pair.server) == []
        pair.server.receive_datagrams([fragments[index]], 0.0)
    assert drain(pair.server) != []


def test_a_client_hello_may_come_in_tiny_pieces_with_repetitions(make_pair, drain):
    pair = make_pair()
    pair.client.start(0.0)
    (hello,) = drain(pair.client)
    fragments = fragments_of(hello, 7)
    fragments += fragments
    random.Random(5).shuffle(fragments)
    pair.server.receive_datagrams(fragments, 0.0)
    assert drain(pair.server) != []


def test_several_handshake_messages_may_share_one_record(make_pair, drain):
    pair = make_pair()
    pair.client.start(0.0)
    pair.server.receive_datagrams(drain(pair.client), 0.0)
    (flight,) = drain(pair.server)
    messages = b"".join(record[HEADER_LENGTH:] for record in split_records(flight))
    pair.client.receive_datagrams([flight[:11] + len(messages).to_bytes(2, "big") + messages], 0.0)
    pair.server.receive_datagrams(drain(pair.client), 0.0)
    assert pair.server.is_up


def test_several_flights_worth_of_records_may_share_one_datagram(make_pair, drain):
    pair = make_pair(mtu=300)
    client, server = pair.client, pair.server
    client.start(0.0)
    for _ in range(3):
        if flight := drain(client):
            server.receive_datagrams([b"".join(flight)], 0.0)
        if flight := drain(server):
            client.receive_datagrams([b"".join(flight)], 0.0)
    assert client.is_up
    assert server.is_up


def test_application_data_in_the_datagram_of_the_last_flight_is_not_lost(make_pair, drain):
    pair = make_pair()
    client, server = pair.client, pair.server
    client.start(0.0)
    while not server.is_up:
        server.receive_datagrams(drain(client), 0.0)
        if not server.is_up:
            client.receive_datagrams(drain(server), 0.0)
    server.send([b"at once"])
    client.receive_datagrams([b"".join(drain(server))], 0.0)
    assert client.is_up
    assert client.poll_packets() == [b"at once"]


def test_packets_that_overtake_the_last_flight_are_delivered_behind_it(make_pair, drain):
    pair = make_pair()
    client, server = pair.client, pair.server
    client.start(0.0)
    while not server.is_up:
        server.receive_datagrams(drain(client), 0.0)
        if not server.is_up:
            client.receive_datagrams(drain(server), 0.0)
    server.send([bytes([number]) for number in range(MAX_EARLY_RECORDS + 3)])
    flight, *early = drain(server)
    client.receive_datagrams([*early, flight], 0.0)
    assert client.is_up
    assert client.poll_packets() == [bytes([number]) for number in range(MAX_EARLY_RECORDS)]
    server.send([b"in time"])
    client.receive_datagrams(drain(server), 0.0)
    assert client.poll_packets() == [b"in time"]


@pytest.mark.parametrize(
    ("cipher", "overhead"),
    [("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", 37), ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", 29)],
)
def test_the_record_overhead_is_what_a_record_adds(make_pair, ecdsa, drain, cipher, overhead):
    context = Context(ecdsa.certificate, settings=DtlsSettings(cipher_suites=(cipher,)))
    pair = make_pair(client=context, server=context)
    assert pair.client.record_overhead == 0
    pair.connect()
    assert pair.client.cipher == cipher
    assert pair.client.record_overhead == overhead
    pair.client.send([bytes(1000)])
    assert [len(datagram) for datagram in drain(pair.client)] == [1000 + overhead]


def test_unknown_cipher_suites_are_refused():
    with pytest.raises(UsageError, match="TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"):
        DtlsSettings(cipher_suites=("TLS_RSA_WITH_NULL_MD5",))


def test_both_sides_derive_the_same_keying_material(pair):
    keys = [session.export_keying_material(b"EXTRACTOR-dtls_srtp", 60) for session in (pair.client, pair.server)]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 60


def test_sides_without_a_common_cipher_suite_fail_with_the_alert_named(make_pair, ecdsa, rsa):
    narrow = Context(
        ecdsa.certificate, settings=DtlsSettings(cipher_suites=("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",))
    )
    pair = make_pair(client=narrow, server=rsa)
    pair.start()
    pair.settle()
    for session in (pair.client, pair.server):
        (failure,) = pair.events[session]
        assert session.state is SessionState.FAILED
        assert str(failure.alert) == "handshake_failure"
    assert "no shared cipher" in pair.events[pair.server][0].message
    assert "handshake_failure" in pair.events[pair.client][0].message


def test_a_failed_handshake_does_not_fail_the_next_session_of_the_thread(make_pair, ecdsa, rsa, stranger):
    narrow = Context(
        ecdsa.certificate, settings=DtlsSettings(cipher_suites=("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",))
    )
    for _ in range(5):
        bystander = make_pair()
        bystander.start()
        bystander.step()
        failing = [make_pair(client=narrow, server=rsa), make_pair(client_trusts=stranger.fingerprints())]
        for pair in failing:
            pair.start()
            pair.settle()
            assert pair.client.state is SessionState.FAILED
        bystander.settle()
        assert bystander.client.is_up
        assert bystander.server.is_up


@pytest.mark.parametrize("seed", range(10))
def test_a_server_may_ask_for_a_cookie_first(make_pair, ecdsa, seed):
    # RFC 6347 §4.2.1. Our own servers do not, but others may.
    asking = Context(ecdsa.certificate)
    asking.ssl.set_options(SSL.OP_COOKIE_EXCHANGE)
    asking.ssl.set_cookie_generate_callback(lambda connection: b"biscuit")
    asking.ssl.set_cookie_verify_callback(lambda connection, cookie: cookie == b"biscuit")
    make_pair(server=asking, loss=0.2, seed=seed).connect()


def test_two_clients_fail_each_other(make_pair, drain):
    one, other = make_pair().client, make_pair().client
    one.start(0.0)
    other.start(0.0)
    one.receive_datagrams(drain(other), 0.0)
    assert one.state is SessionState.FAILED
    assert str(one.poll_event().alert) == "unexpected_message"


def test_a_server_whose_client_never_speaks_fails_in_time(make_pair, drain):
    server = make_pair().server
    server.start(5.0)
    assert server.next_timeout() == 35.0
    server.handle_timeout(35.0)
    assert drain(server) == []
    assert server.poll_event() == Failed(
        FailureReason.DTLS_FAILED, "the peer did not complete the DTLS handshake in time", None
    )
    assert server.next_timeout() is None


def test_a_server_gives_its_client_no_more_time_because_it_has_spoken_late(make_pair, drain):
    pair = make_pair()
    pair.server.start(0.0)
    pair.client.start(29.0)
    pair.server.receive_datagrams(drain(pair.client), 29.0)
    drain(pair.server)
    while (due := pair.server.next_timeout()) is not None:
        pair.server.handle_timeout(due)
        drain(pair.server)
        last = due
    assert last == 30.0
    assert pair.server.state is SessionState.FAILED
