"""What a peer core needs to know of its application's wishes."""

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from trio_webrtc.core import dtls, ice, sctp


class Direction(enum.Enum):
    """Which way a packet travels."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """The wishes of one peer's application."""

    dtls_context: dtls.Context
    credentials: ice.Credentials | None = None
    ice_lite: bool = False
    """Only answer the peer's checks (RFC 8445 §2.5): for who can be reached by everybody."""
    verify_remote_certificate: bool = True
    restart_timeout: float = 15.0
    """Seconds that a connection which has failed waits for an ICE restart."""
    max_channels: int = 1024
    """Data channels at a time, whoever opened them."""
    on_packet: Callable[[Direction, bytes, float], None] | None = None
    """Told of every SCTP packet, in the clear."""
    ice_settings: ice.IceSettings = field(default_factory=ice.IceSettings)
    sctp_settings: sctp.SctpSettings = field(default_factory=sctp.SctpSettings)
