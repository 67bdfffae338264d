"""The states of an association (RFC 9260 §4), each with exactly what is valid in it; a transition replaces it."""

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from trio_webrtc.core.sctp.chunks.cookie import CookieEchoChunk
from trio_webrtc.core.sctp.chunks.init import InitChunk
from trio_webrtc.core.sctp.link import Link


@dataclass(slots=True)
class Closed:
    """Not begun. Answers INIT."""


@dataclass(slots=True)
class CookieWait:
    """INIT sent, no answer yet."""

    init: InitChunk
    sent_at: float
    retransmits: int = 0


@dataclass(slots=True)
class Linked:
    """What all states have in common in which the terms are known."""

    accepts_data: ClassVar = False
    sends_data: ClassVar = False

    link: Link


@dataclass(slots=True)
class CookieEchoed(Linked):
    """The peer's cookie given back, no answer yet."""

    init: InitChunk
    cookie: CookieEchoChunk
    retransmits: int = 0
    """Goes on from COOKIE-WAIT: a peer may not keep us going round by one stale cookie after the other."""


@dataclass(slots=True)
class Established(Linked):
    """Up."""

    accepts_data: ClassVar = True
    sends_data: ClassVar = True


@dataclass(slots=True)
class ShutdownPending(Linked):
    """To be shut down, once all that was accepted has been acknowledged."""

    accepts_data: ClassVar = True
    sends_data: ClassVar = True


@dataclass(slots=True)
class ShutdownSent(Linked):
    """All was acknowledged, SHUTDOWN sent; the peer may have something left to send."""

    accepts_data: ClassVar = True


@dataclass(slots=True)
class ShutdownReceived(Linked):
    """The peer has sent SHUTDOWN; we may have something left to send."""

    sends_data: ClassVar = True


@dataclass(slots=True)
class ShutdownAckSent(Linked):
    """Nothing is left on either side, SHUTDOWN ACK sent."""


@dataclass(slots=True)
class Ended:
    """Over, for whatever reason. Final."""


State: TypeAlias = (
    Closed
    | CookieWait
    | CookieEchoed
    | Established
    | ShutdownPending
    | ShutdownSent
    | ShutdownReceived
    | ShutdownAckSent
    | Ended
)
