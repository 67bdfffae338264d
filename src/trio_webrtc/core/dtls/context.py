"""What all sessions of one certificate share: OpenSSL's context, and the settings."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from OpenSSL import SSL

from trio_webrtc.core.dtls.certificate import Certificate
from trio_webrtc.core.dtls.witness import on_certificate, on_cookie, on_cookie_wanted, on_progress
from trio_webrtc.errors import UsageError

CIPHER_SUITES: Final = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}
"""IANA's names of the cipher suites, and OpenSSL's; the best come first.

RFC 8827 §6.5 demands the first one. Each is there for both kinds of certificate; all have ephemeral keys and AEAD, so
that a record adds the same number of bytes to every packet.
"""

SRTP_PROFILES: Final = b"SRTP_AES128_CM_SHA1_80"
"""RFC 5764 §4.1.2, and the one that RFC 8827 §6.5 demands. No media needs it yet, but aiortc ends a session without."""

# From OpenSSL's headers; pyOpenSSL has no names for them.
_DTLS_1_2: Final = 0xFEFD
_MODE_RELEASE_BUFFERS: Final = 0x10
"""Have an idle session give its read and write buffers back."""

_IANA_NAMES: Final = {openssl: iana for iana, openssl in CIPHER_SUITES.items()}


@dataclass(frozen=True, slots=True)
class DtlsSettings:
    """How patient a session is, in seconds, and what it offers."""

    first_retransmission: float = 0.4
    """Departs from RFC 6347 §4.2.4.1 (1 s): flights are a few small datagrams, on a way that ICE has just tried."""
    longest_retransmission: float = 1.6
    """The interval doubles up to this. Departs from RFC 6347 §4.2.4.1 (60 s): somebody waits for the connection."""
    handshake_timeout: float = 30.0
    """How long after it begins, by `Session.start` or the peer's first word, the handshake must be complete."""
    cipher_suites: tuple[str, ...] = tuple(CIPHER_SUITES)
    """IANA's names of some of `CIPHER_SUITES`, the best first."""

    def __post_init__(self) -> None:
        unknown = set(self.cipher_suites).difference(CIPHER_SUITES)
        if unknown or not self.cipher_suites:
            raise UsageError(f"DTLS cipher suites must be among {', '.join(CIPHER_SUITES)}")


class Context:
    """One certificate, ready to be presented in any number of sessions.

    `on_secret` is told the secrets of each session, as lines of an NSS key log: whoever has them can read all.

    Raises:
        UsageError: OpenSSL refuses the certificate, because its key is too small or of a rare kind.
    """

    __slots__ = ("__weakref__", "certificate", "settings", "ssl")

    def __init__(
        self,
        certificate: Certificate,
        *,
        settings: DtlsSettings | None = None,
        on_secret: Callable[[bytes], None] | None = None,
    ) -> None:
        self.certificate = certificate
        self.settings = settings or DtlsSettings()
        self.ssl = SSL.Context(SSL.DTLS_METHOD)
        self.ssl.set_min_proto_version(_DTLS_1_2)
        self.ssl.set_cipher_list(":".join(CIPHER_SUITES[name] for name in self.settings.cipher_suites).encode())
        self.ssl.set_options(
            SSL.OP_NO_QUERY_MTU
            | SSL.OP_NO_TICKET
            | SSL.OP_NO_RENEGOTIATION
            | SSL.OP_NO_COMPRESSION
            | SSL.OP_CIPHER_SERVER_PREFERENCE
        )
        if on_secret is not None:
            self.ssl.set_keylog_callback(lambda _, line: on_secret(line))
        self.ssl.set_tlsext_use_srtp(SRTP_PROFILES)
        self.ssl.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        self.ssl.set_mode(_MODE_RELEASE_BUFFERS)
        self.ssl.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, on_certificate)
        self.ssl.set_cookie_generate_callback(on_cookie_wanted)
        self.ssl.set_cookie_verify_callback(on_cookie)
        self.ssl.set_info_callback(on_progress)
        try:
            self.ssl.use_certificate(certificate.x509)
            self.ssl.use_privatekey(certificate.private_key)
        except SSL.Error as error:
            raise UsageError(f"DTLS cannot present this certificate: {error}") from error


def iana_name(cipher: str | None) -> str | None:
    """IANA's name of a cipher suite that OpenSSL names otherwise."""
    return None if cipher is None else _IANA_NAMES.get(cipher, cipher)
