"""The alerts by which one side of a session tells the other why it ends (RFC 5246 §7.2)."""

import enum
from typing import Final

from trio_webrtc.core.dtls.records import ALERT, HEADER_LENGTH, UNPROTECTED_EPOCH, epoch_of

_FATAL: Final = b"\x02"


class Alert(enum.IntEnum):
    """The descriptions in IANA's TLS Alerts registry that DTLS 1.2 can meet."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    BAD_RECORD_MAC = 20
    DECRYPTION_FAILED = 21
    RECORD_OVERFLOW = 22
    DECOMPRESSION_FAILURE = 30
    HANDSHAKE_FAILURE = 40
    NO_CERTIFICATE = 41
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    ILLEGAL_PARAMETER = 47
    UNKNOWN_CA = 48
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    TOO_MANY_CIDS_REQUESTED = 52
    EXPORT_RESTRICTION = 60
    PROTOCOL_VERSION = 70
    INSUFFICIENT_SECURITY = 71
    INTERNAL_ERROR = 80
    INAPPROPRIATE_FALLBACK = 86
    USER_CANCELED = 90
    NO_RENEGOTIATION = 100
    MISSING_EXTENSION = 109
    UNSUPPORTED_EXTENSION = 110
    CERTIFICATE_UNOBTAINABLE = 111
    UNRECOGNIZED_NAME = 112
    BAD_CERTIFICATE_STATUS_RESPONSE = 113
    BAD_CERTIFICATE_HASH_VALUE = 114
    UNKNOWN_PSK_IDENTITY = 115
    CERTIFICATE_REQUIRED = 116
    NO_APPLICATION_PROTOCOL = 120

    def __str__(self) -> str:
        """The name as the RFCs write it."""
        return self.name.lower()


_KNOWN: Final = frozenset(map(int, Alert))


def known_alert(description: int | None) -> Alert | None:
    """The alert with that number, if there is one: a peer may send any."""
    return None if description is None or description not in _KNOWN else Alert(description)


def describe(description: int) -> str:
    """An alert in words."""
    alert = known_alert(description)
    return f"alert {description}" if alert is None else f"alert {alert}"


def with_description(record: bytes, alert: Alert) -> bytes:
    """An unprotected fatal alert with another description in it; any other record as it is."""
    if record[0] == ALERT and epoch_of(record) == UNPROTECTED_EPOCH:
        return record[:HEADER_LENGTH] + _FATAL + bytes((alert,))
    return record
