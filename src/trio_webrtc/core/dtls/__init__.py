"""DTLS 1.2 (RFC 6347) for data channels: OpenSSL behind memory BIOs, with a clock that the caller owns.

A `Session` takes datagrams and time, and gives datagrams, decrypted packets and events. What OpenSSL does: the
handshake, the keys, the records. What is done here: cutting flights into datagrams, sending them again in virtual
time, refusing what could harm an established session, and holding the peer to the fingerprint it announced (RFC 8122).

A server asks for cookies (RFC 6347 §4.2.1) where it is told that nobody has validated the client's address; most often,
ICE has.

Absent: DTLS 1.3 (OpenSSL has none yet), session resumption, renegotiation.
"""

from trio_webrtc.core.dtls.alerts import Alert
from trio_webrtc.core.dtls.certificate import Certificate
from trio_webrtc.core.dtls.context import Context, DtlsSettings
from trio_webrtc.core.dtls.events import DtlsEvent, Failed, HandshakeCompleted, RemoteClosed
from trio_webrtc.core.dtls.fingerprint import Fingerprint
from trio_webrtc.core.dtls.session import DtlsCounters, Session, SessionState

__all__ = [
    "Alert",
    "Certificate",
    "Context",
    "DtlsCounters",
    "DtlsEvent",
    "DtlsSettings",
    "Failed",
    "Fingerprint",
    "HandshakeCompleted",
    "RemoteClosed",
    "Session",
    "SessionState",
]
