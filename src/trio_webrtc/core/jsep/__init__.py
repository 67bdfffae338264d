"""Offers and answers (RFC 9429): what both sides agree upon, and the text in which they do.

One data section and one transport; sections of audio and video are answered politely and rejected. With RFC 9143
(BUNDLE), 8841 (SCTP over DTLS), 8839 (ICE attributes), 8122 (fingerprints), 8842 and 4145 (who starts the handshake).
Missing here: anything that sends or receives. `Negotiation` says what was agreed, the peer's core acts upon it.
"""

from trio_webrtc.core.jsep.applied import Applied
from trio_webrtc.core.jsep.candidates import CandidateFate, RemoteCandidate
from trio_webrtc.core.jsep.negotiation import Negotiation, Which
from trio_webrtc.core.jsep.states import SignalingState
from trio_webrtc.core.jsep.transports import (
    DEFAULT_MAX_MESSAGE_SIZE,
    DEFAULT_SCTP_PORT,
    DtlsRole,
    Kind,
    LocalTransport,
    RemoteTransport,
)

__all__ = [
    "DEFAULT_MAX_MESSAGE_SIZE",
    "DEFAULT_SCTP_PORT",
    "Applied",
    "CandidateFate",
    "DtlsRole",
    "Kind",
    "LocalTransport",
    "Negotiation",
    "RemoteCandidate",
    "RemoteTransport",
    "SignalingState",
    "Which",
]
