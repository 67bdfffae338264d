"""The certificate by which a peer is known: self-signed, and trusted for its fingerprint only (RFC 8827 §6.5)."""

import datetime
from collections.abc import Iterable
from typing import Final, Literal, Self, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from trio_webrtc.core.dtls.fingerprint import Fingerprint
from trio_webrtc.errors import UsageError

KeyKind: TypeAlias = Literal["ecdsa-p256", "rsa-2048"]
PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

DEFAULT_LIFETIME: Final = 30 * 86_400.0
"""Seconds; what browsers choose."""

_CLOCK_TOLERANCE: Final = datetime.timedelta(days=1)
"""Certificates begin that long ago, for peers whose clocks are behind."""


class Certificate:
    """An X.509 certificate with its private key. Make one with `generate` or `from_pem`; one serves many sessions."""

    __slots__ = ("_certificate", "_der", "_key")

    def __init__(self, certificate: x509.Certificate, key: PrivateKey) -> None:
        if certificate.public_key() != key.public_key():
            raise UsageError("the private key does not belong to the certificate")
        self._certificate = certificate
        self._key = key
        self._der = certificate.public_bytes(serialization.Encoding.DER)

    @classmethod
    def generate(
        cls, *, now: datetime.datetime, key: KeyKind = "ecdsa-p256", valid_for: float = DEFAULT_LIFETIME
    ) -> Self:
        """Make a new key and sign a certificate with it.

        Args:
            now: the time, with its time zone.
            key: ECDSA over P-256, which every WebRTC stack must support (RFC 8827 §6.5), or RSA of 2048 bits (slow).
            valid_for: seconds from now until the certificate expires.
        """
        # RFC 8827 §6.5 and W3C keep the names free of anything that could identify the user.
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "WebRTC")])
        private_key = _generate_key(key)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(private_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCK_TOLERANCE)
            .not_valid_after(now + datetime.timedelta(seconds=valid_for))
            .sign(private_key, hashes.SHA256())
        )
        return cls(certificate, private_key)

    @classmethod
    def from_pem(cls, certificate: str | bytes, key: str | bytes, *, password: bytes | None = None) -> Self:
        """Take the application's own certificate and private key (ECDSA or RSA) from their PEM texts.

        Raises:
            UsageError: they cannot be read, do not belong together, or the key is of another kind.
        """
        try:
            loaded = x509.load_pem_x509_certificate(_as_bytes(certificate))
            loaded.public_key()  # is parsed only now
            private_key = serialization.load_pem_private_key(_as_bytes(key), password)
        except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
            raise UsageError(f"certificate or private key cannot be read: {error}") from error
        if not isinstance(private_key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise UsageError("the private key of a certificate must be ECDSA or RSA")
        return cls(loaded, private_key)

    def __repr__(self) -> str:
        return f"<Certificate {self.fingerprints()[0]}>"

    def fingerprints(self, algorithms: Iterable[str] = ("sha-256",)) -> tuple[Fingerprint, ...]:
        """What a session description announces: the certificate's hash by each of `algorithms`."""
        return tuple(Fingerprint.of(self._der, algorithm) for algorithm in algorithms)

    @property
    def expires(self) -> datetime.datetime:
        """The moment from which on the certificate is no longer valid (UTC)."""
        return self._certificate.not_valid_after_utc

    @property
    def der(self) -> bytes:
        """The certificate in DER, without its key."""
        return self._der

    @property
    def pem(self) -> str:
        """The certificate in PEM, without its key."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def private_key_pem(self) -> str:
        """The private key in PEM (PKCS #8), not encrypted: keep it secret."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    @property
    def x509(self) -> x509.Certificate:
        """The certificate as an object of the cryptography package."""
        return self._certificate

    @property
    def private_key(self) -> PrivateKey:
        """The private key as an object of the cryptography package."""
        return self._key


def _generate_key(kind: KeyKind) -> PrivateKey:
    match kind:
        case "ecdsa-p256":
            return ec.generate_private_key(ec.SECP256R1())
        case "rsa-2048":
            return rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    raise UsageError(f"no key of kind {kind!r} can be generated")


def _as_bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
