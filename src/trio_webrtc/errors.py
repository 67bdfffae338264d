"""What can go wrong, and whose fault it is. Imports nothing.

A channel you closed yourself raises Trio's `ClosedResourceError`; one that was lost, `BrokenResourceError` caused by
one of the errors here. Malformed packets never raise anything: they are counted and dropped inside the core.
"""

import enum


class FailureReason(enum.Enum):
    """How the peer, or the way to it, failed."""

    NO_USABLE_PAIR = "no-usable-pair"
    """ICE found no pair of addresses on which a check was answered (RFC 8445)."""
    CONSENT_EXPIRED = "consent-expired"
    """The peer answered once, and then no longer (RFC 7675)."""
    DTLS_FAILED = "dtls-failed"
    """The DTLS handshake failed, or the session broke off with an alert (RFC 6347)."""
    FINGERPRINT_MISMATCH = "fingerprint-mismatch"
    """The certificate is not the one that the peer's description announced (RFC 8122)."""
    SCTP_FAILED = "sctp-failed"
    """The SCTP association did not come up, or its retransmissions ran out (RFC 9260)."""
    CLOSED_BY_PEER = "closed-by-peer"
    """The peer ended the connection before it was up."""
    INVALID_DESCRIPTION = "invalid-description"
    """The peer's session description or candidate breaks the grammar or the rules (RFC 8866, RFC 9429)."""
    SIGNALING_FAILED = "signaling-failed"
    """No signalling came up, or the other side of it fell silent."""
    PROTOCOL_VIOLATION = "protocol-violation"
    """The peer did what its protocol forbids, and nothing gentler than ending was left."""


class CloseReason(enum.Enum):
    """Why a connection has ended."""

    LOCAL = "local"
    """This side closed it."""
    REMOTE = "remote"
    """The peer said goodbye: SCTP ABORT or SHUTDOWN, or DTLS close_notify."""
    FAILED = "failed"
    """The way to the peer was lost, or never found."""


class WebRtcError(Exception):
    """The base of all errors of this package."""


class UsageError(WebRtcError):
    """You asked for what the protocol, the configuration or this object's state forbids."""


class PeerError(WebRtcError):
    """The peer, or the way to it, failed; `reason` says how."""

    def __init__(self, message: str, reason: FailureReason) -> None:
        super().__init__(message)
        self.reason = reason


class ConnectionFailedError(PeerError):
    """No connection came up, or it was lost; the text names the pairs tried and the last error of each."""


class InvalidDescriptionError(PeerError):
    """A description or candidate that breaks the grammar (RFC 8866) or the rules of offer and answer (RFC 9429).

    `line` is the number of the offending line, counted from 1, or None where no single line is to blame.
    """

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message if line is None else f"line {line}: {message}", FailureReason.INVALID_DESCRIPTION)
        self.line = line
