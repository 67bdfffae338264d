"""The states of signalling (RFC 9429 §3.2, §4.1.7), each with exactly the descriptions that are pending in it."""

import enum
from dataclasses import dataclass
from typing import TypeAlias

from trio_webrtc.core.jsep.local import LocalDescription
from trio_webrtc.core.jsep.remote import RemoteDescription


class SignalingState(enum.Enum):
    """The states' names in W3C's spelling."""

    STABLE = "stable"
    HAVE_LOCAL_OFFER = "have-local-offer"
    HAVE_REMOTE_OFFER = "have-remote-offer"
    HAVE_LOCAL_PRANSWER = "have-local-pranswer"
    HAVE_REMOTE_PRANSWER = "have-remote-pranswer"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Stable:
    """Nothing is pending."""

    name = SignalingState.STABLE


@dataclass(frozen=True, slots=True)
class HaveLocalOffer:
    """Our offer waits for the peer's answer."""

    name = SignalingState.HAVE_LOCAL_OFFER
    local: LocalDescription


@dataclass(frozen=True, slots=True)
class HaveRemoteOffer:
    """The peer's offer waits for our answer."""

    name = SignalingState.HAVE_REMOTE_OFFER
    remote: RemoteDescription


@dataclass(frozen=True, slots=True)
class HaveLocalPranswer:
    """We have answered provisionally."""

    name = SignalingState.HAVE_LOCAL_PRANSWER
    remote: RemoteDescription
    local: LocalDescription


@dataclass(frozen=True, slots=True)
class HaveRemotePranswer:
    """The peer has answered provisionally."""

    name = SignalingState.HAVE_REMOTE_PRANSWER
    local: LocalDescription
    remote: RemoteDescription


@dataclass(frozen=True, slots=True)
class Closed:
    """Nothing more is negotiated."""

    name = SignalingState.CLOSED


State: TypeAlias = Stable | HaveLocalOffer | HaveRemoteOffer | HaveLocalPranswer | HaveRemotePranswer | Closed
