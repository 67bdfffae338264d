"""Certificates are known by their fingerprints (RFC 8122)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.dtls import Alert, Failed, Fingerprint, HandshakeCompleted, SessionState
from trio_webrtc.core.dtls.session import MAX_UNVERIFIED_PACKETS
from trio_webrtc.errors import FailureReason


@given(st.sampled_from([("sha-256", 32), ("sha-384", 48), ("sha-512", 64), ("md5", 16)]), st.data())
def test_text_and_fingerprint_are_each_others_inverse(kind, data):
    algorithm, length = kind
    fingerprint = Fingerprint(algorithm, data.draw(st.binary(min_size=length, max_size=length)))
    assert Fingerprint.parse(str(fingerprint)) == fingerprint
    assert Fingerprint.parse(str(fingerprint).lower()) == fingerprint


@given(st.text())
def test_any_text_is_a_fingerprint_or_a_value_error(text):
    try:
        Fingerprint.parse(text)
    except ValueError:
        pass


@pytest.mark.parametrize("text", ["", "sha-256", "sha-256 ", "sha-256 AB:", "sha-256 AB:C", "sha-256 AB:GG", "AB:CD"])
def test_broken_fingerprints_are_refused(text):
    with pytest.raises(ValueError, match="fingerprint"):
        Fingerprint.parse(text)


def test_the_same_hash_comes_out_as_from_openssl():
    assert str(Fingerprint.of(b"abc")).startswith("sha-256 BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:")


@pytest.mark.parametrize("algorithm", ["sha-256", "sha-384", "sha-512"])
def test_each_strong_hash_alone_vouches_for_a_certificate(make_pair, ecdsa, algorithm):
    fingerprints = ecdsa.certificate.fingerprints([algorithm])
    make_pair(client_trusts=fingerprints, server_trusts=fingerprints).connect()


def test_one_matching_fingerprint_among_several_is_enough(make_pair, ecdsa, stranger):
    weak = Fingerprint("sha-1", bytes(20))
    fingerprints = [weak, *stranger.fingerprints(["sha-512"]), *ecdsa.certificate.fingerprints()]
    make_pair(client_trusts=fingerprints, server_trusts=fingerprints).connect()


def test_without_verification_any_certificate_will_do(make_pair):
    make_pair(client_trusts=(), server_trusts=()).connect()


def test_a_hash_of_the_wrong_length_matches_nothing(ecdsa):
    whole = ecdsa.certificate.fingerprints()[0]
    assert whole.matches(ecdsa.certificate.der)
    assert not Fingerprint.parse(str(whole)[:-3]).matches(ecdsa.certificate.der)


def test_no_fingerprint_is_made_with_a_weak_hash(ecdsa):
    with pytest.raises(ValueError, match="sha-1"):
        ecdsa.certificate.fingerprints(["sha-1"])


@pytest.mark.parametrize("believer", ["client", "server"])
def test_a_weak_hash_is_not_believed(make_pair, believer):
    pair = make_pair(**{f"{believer}_trusts": [Fingerprint("sha-1", bytes(20))]})
    pair.start()
    pair.settle()
    assert getattr(pair, believer).state is SessionState.FAILED


@pytest.mark.parametrize(("deceived", "deceiver"), [("client", "server"), ("server", "client")])
def test_a_wrong_fingerprint_fails_with_that_reason_and_the_peer_is_told(make_pair, stranger, deceived, deceiver):
    pair = make_pair(**{f"{deceived}_trusts": stranger.fingerprints()})
    deceived, deceiver = getattr(pair, deceived), getattr(pair, deceiver)
    pair.start()
    pair.settle()
    (failure,) = pair.events[deceived]
    assert failure.reason is FailureReason.FINGERPRINT_MISMATCH
    (told,) = pair.events[deceiver]
    assert told == Failed(FailureReason.DTLS_FAILED, told.message, Alert.BAD_CERTIFICATE)
    assert "bad_certificate" in told.message
    assert deceived.next_timeout() is None


def test_a_fingerprint_may_come_after_the_handshake(make_pair, ecdsa):
    pair = make_pair(server_trusts=None)
    pair.start()
    pair.settle()
    assert pair.client.is_up
    assert pair.server.state is SessionState.CONNECTING
    pair.client.send([b"early"])
    pair.collect()
    pair.settle()
    assert pair.packets[pair.server] == []
    pair.server.set_remote_fingerprints(ecdsa.certificate.fingerprints(), pair.now)
    pair.collect()
    assert pair.events[pair.server] == [HandshakeCompleted()]
    assert pair.packets[pair.server] == [b"early"]


def test_a_fingerprint_may_come_before_the_certificate(make_pair, stranger):
    pair = make_pair(server_trusts=None)
    pair.server.set_remote_fingerprints(stranger.fingerprints(), 0.0)
    pair.start()
    pair.settle()
    assert str(pair.events[pair.client][0].alert) == "bad_certificate"


def test_no_data_passes_when_a_late_fingerprint_does_not_match(make_pair, stranger):
    pair = make_pair(server_trusts=None)
    pair.start()
    pair.settle()
    pair.client.send([b"not for you"])
    pair.collect()
    pair.settle()
    pair.server.set_remote_fingerprints(stranger.fingerprints(), pair.now)
    pair.collect()
    pair.settle()
    assert pair.packets[pair.server] == []
    assert pair.events[pair.server][0].reason is FailureReason.FINGERPRINT_MISMATCH
    assert pair.client.state is SessionState.CLOSED


def test_what_waits_for_a_fingerprint_is_bounded(make_pair, ecdsa):
    pair = make_pair(server_trusts=None)
    pair.start()
    pair.settle()
    for _ in range(20):
        pair.client.send([bytes(100)] * 50)
        pair.collect()
        pair.settle()
    pair.server.set_remote_fingerprints(ecdsa.certificate.fingerprints(), pair.now)
    assert len(pair.server.poll_packets()) == MAX_UNVERIFIED_PACKETS


def test_packets_are_not_sent_to_a_peer_that_is_not_verified(make_pair, drain):
    pair = make_pair(server_trusts=None)
    pair.start()
    pair.settle()
    pair.server.send([b"secret"])
    assert drain(pair.server) == []
