"""What OpenSSL asks and tells during one session.

OpenSSL calls back from inside its functions. The callbacks are the context's, shared by all its sessions; each finds
the witness of its session as the connection's application data. None may raise: pyOpenSSL would keep the exception with
the context, and raise it from whichever session it has next. The witness knows nothing of the session above it, so
that no reference runs in a circle.
"""

import hmac
from collections.abc import Sequence
from typing import Final

from OpenSSL import SSL, crypto

from trio_webrtc.core.address_validation import Way
from trio_webrtc.core.dtls.fingerprint import Fingerprint, is_announced

_FATAL: Final = 2


class Witness:
    """The fingerprints and the cookies to hold the peer to, and the alerts seen."""

    __slots__ = ("alert_received", "alert_sent", "cookies", "fingerprints", "has_refused_certificate", "proven_way")

    def __init__(self, fingerprints: Sequence[Fingerprint] | None) -> None:
        self.fingerprints = fingerprints
        """None as long as they are not known; empty to accept any certificate."""
        self.has_refused_certificate = False
        self.cookies: dict[Way, bytes] = {}
        """What a client that is asked for a cookie has to bring, by where it was asked; the latest comes last."""
        self.proven_way: Way | None = None
        """Where a client was asked that has brought its cookie."""
        self.alert_received: int | None = None
        self.alert_sent: int | None = None

    def accepts(self, der: bytes) -> bool:
        """Whether a certificate may be the peer's; as long as its fingerprints are not known, any may."""
        return not self.fingerprints or is_announced(der, self.fingerprints)


def der_of(certificate: crypto.X509) -> bytes:
    """The bytes of a certificate, whatever they say: it is known by its hash, and need not make sense to a parser."""
    return crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate)


def on_certificate(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """Judge one certificate of the peer's chain.

    Only the first one counts, and only for its fingerprint (RFC 8122 §5): who signed it, and until when, is nothing
    to us (RFC 8827 §6.5), so that OpenSSL's own verdict `ok` is not looked at.
    """
    witness: Witness = connection.get_app_data()
    if depth == 0 and not witness.accepts(der_of(certificate)):
        witness.has_refused_certificate = True
    return not witness.has_refused_certificate


def on_cookie_wanted(connection: SSL.Connection) -> bytes:
    """The cookie to send."""
    witness: Witness = connection.get_app_data()
    return next(reversed(witness.cookies.values()))


def on_cookie(connection: SSL.Connection, cookie: bytes) -> bool:
    """Judge a cookie that was brought back."""
    witness: Witness = connection.get_app_data()
    for way, expected in witness.cookies.items():
        if hmac.compare_digest(cookie, expected):
            witness.proven_way = way
            return True
    return False


def on_progress(connection: SSL.Connection, where: int, value: int) -> None:
    """Note the alerts among all that OpenSSL has to tell; `value` holds level and description."""
    if where & SSL.SSL_CB_ALERT and value >> 8 == _FATAL:
        witness: Witness = connection.get_app_data()
        if where & SSL.SSL_CB_READ:
            witness.alert_received = value & 0xFF
        else:
            witness.alert_sent = value & 0xFF
