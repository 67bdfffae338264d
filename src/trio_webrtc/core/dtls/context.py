"""What all sessions of one certificate share: OpenSSL's context, and the settings."""

from dataclasses import dataclass
from typing import Final

from OpenSSL import SSL

from trio_webrtc.core.dtls.certificate import Certificate
from trio_webrtc.core.dtls.witness import on_certificate, on_progress
from trio_webrtc.errors import UsageError

# RFC 8827 §6.5 demands the first one; each stands here for both kinds of certificate. All are AEAD with ephemeral
# keys, so that a record adds the same number of bytes to every packet.
CIPHER_SUITES: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
)

# From openssl/ssl.h; pyOpenSSL has no name for it. A connection then holds 19 kB instead of 77.
_MODE_RELEASE_BUFFERS: Final = 0x10


@dataclass(frozen=True, slots=True)
class DtlsSettings:
    """How patient a session is, in seconds, and what it offers."""

    first_retransmission: float = 0.4
    """RFC 6347 §4.2.4.1 allows less than its 1 s where the way is known to be short."""
    longest_retransmission: float = 1.6
    """The interval doubles up to this. RFC 6347 says 60 s, which nobody who waits for a call would sit through."""
    handshake_timeout: float = 30.0
    """How long after this side's first flight the handshake must be complete."""
    cipher_suites: tuple[str, ...] = CIPHER_SUITES
    """OpenSSL's names of some of `CIPHER_SUITES`, the best first."""

    def __post_init__(self) -> None:
        unknown = set(self.cipher_suites).difference(CIPHER_SUITES)
        if unknown or not self.cipher_suites:
            raise UsageError(f"DTLS cipher suites must be among {', '.join(CIPHER_SUITES)}")


class Context:
    """One certificate, ready to be presented in any number of sessions."""

    __slots__ = ("__weakref__", "certificate", "settings", "ssl")

    def __init__(self, certificate: Certificate, *, settings: DtlsSettings | None = None) -> None:
        self.certificate = certificate
        self.settings = settings or DtlsSettings()
        self.ssl = SSL.Context(SSL.DTLS_METHOD)
        self.ssl.set_min_proto_version(_DTLS_1_2)
        self.ssl.set_cipher_list(":".join(self.settings.cipher_suites).encode())
        self.ssl.set_options(
            SSL.OP_NO_QUERY_MTU
            | SSL.OP_NO_TICKET
            | SSL.OP_NO_RENEGOTIATION
            | SSL.OP_NO_COMPRESSION
            | SSL.OP_CIPHER_SERVER_PREFERENCE
        )
        self.ssl.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self.ssl.set_mode(_MODE_RELEASE_BUFFERS)
        self.ssl.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, on_certificate)
        self.ssl.set_info_callback(on_progress)
        self.ssl.use_certificate(certificate.x509)
        self.ssl.use_privatekey(certificate.private_key)


_DTLS_1_2: Final = 0xFEFD
