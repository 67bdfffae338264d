import datetime
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from trio_webrtc.core.dtls import Certificate, Context
from trio_webrtc.errors import UsageError

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def certificate():
    return Certificate.generate(now=NOW, valid_for=3600.0)


def test_a_certificate_expires_as_asked(certificate):
    assert certificate.expires == NOW + datetime.timedelta(hours=1)


def test_no_two_certificates_are_the_same(certificate):
    assert Certificate.generate(now=NOW).fingerprints() != certificate.fingerprints()


def test_a_certificate_survives_pem(certificate):
    copy = Certificate.from_pem(certificate.pem, certificate.private_key_pem)
    assert copy.der == certificate.der == ssl.PEM_cert_to_DER_cert(copy.pem)
    assert copy.fingerprints(["sha-256", "sha-512"]) == certificate.fingerprints(["sha-256", "sha-512"])


def test_the_applications_own_certificate_is_presented(make_pair, certificate):
    copy = Certificate.from_pem(certificate.pem.encode(), certificate.private_key_pem.encode())
    make_pair(client=Context(copy)).connect()


def test_an_expired_certificate_is_trusted_for_its_fingerprint(make_pair):
    old = Certificate.generate(now=datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC))
    make_pair(client=Context(old), server=Context(old)).connect()


def test_a_key_of_another_certificate_is_refused(certificate, stranger):
    with pytest.raises(UsageError, match="does not belong"):
        Certificate.from_pem(certificate.pem, stranger.private_key_pem)


def test_a_key_that_dtls_cannot_use_is_refused(certificate):
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(UsageError, match="ECDSA or RSA"):
        Certificate.from_pem(certificate.pem, key)


@pytest.mark.parametrize("text", ["", "-----BEGIN CERTIFICATE-----", "nonsense"])
def test_text_that_is_no_certificate_is_refused(certificate, text):
    with pytest.raises(UsageError, match="cannot be read"):
        Certificate.from_pem(text, certificate.private_key_pem)


def test_a_password_that_is_missing_is_a_usage_error(certificate):
    key = certificate.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"open")
    )
    assert Certificate.from_pem(certificate.pem, key, password=b"open").der == certificate.der
    with pytest.raises(UsageError, match="cannot be read"):
        Certificate.from_pem(certificate.pem, key)


def test_a_certificate_with_a_key_that_is_too_small_cannot_be_presented():
    key = rsa.generate_private_key(public_exponent=65_537, key_size=1024)
    name = x509.Name([])
    small = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + datetime.timedelta(days=1)).sign(
        key, hashes.SHA256()
    )
    with pytest.raises(UsageError, match="too small"):
        Context(Certificate(small, key))


def test_keys_of_other_kinds_are_not_generated():
    with pytest.raises(UsageError, match="dsa-1024"):
        Certificate.generate(now=NOW, key="dsa-1024")


def test_a_certificate_does_not_show_its_key(certificate):
    assert repr(certificate) == f"<Certificate {certificate.fingerprints()[0]}>"


def test_a_certificate_with_any_bit_flipped_is_refused_with_the_documented_error_if_at_all(certificate):
    for position in range(len(certificate.der)):
        damaged = bytearray(certificate.der)
        damaged[position] ^= 1
        try:
            Certificate.from_pem(ssl.DER_cert_to_PEM_cert(bytes(damaged)), certificate.private_key_pem)
        except UsageError:
            pass
