"""What can be chosen about an association, with the RFC's word on each. Durations are seconds, sizes bytes."""

from dataclasses import dataclass
from typing import Final

MESSAGE_OVERHEAD: Final = 128
"""What a message or fragment counts beside its bytes, against the window or in a backlog, so that a million empty ones
are bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SctpSettings:
    """Sensible for WebRTC; where that differs from RFC 9260 §16, the reason is given."""

    receive_buffer: int = 1_048_576
    """How much may have arrived and not been released: the window announced is what is left of it."""
    max_message_size: int = 262_144
    """The largest message taken (RFC 8841 §6.1). At most half the receive buffer, so that it can always complete."""
    streams: int = 65_535
    """Streams offered in each direction (RFC 8831 §6.2 asks for 65535)."""
    initial_tsn: int | None = None
    """The first TSN; None draws one, as RFC 9260 §5.1 wants. Tests set it to see numbers wrap round."""

    rto_initial: float = 1.0
    """RTO.Initial (RFC 9260 §16)."""
    rto_min: float = 0.4
    """RTO.Min. RFC 9260 §16 says 1 s; this is twice the longest delay of a SACK, which is what it has to outlast."""
    rto_max: float = 10.0
    """RTO.Max. RFC 9260 §16 says 60 s; a person is waiting, and ICE gives up after 30 s of silence."""
    max_init_retransmits: int = 8
    """Max.Init.Retransmits (RFC 9260 §16)."""
    max_retransmits: int = 10
    """Association.Max.Retrans (RFC 9260 §16): so many timeouts in a row end the association."""
    cookie_lifetime: float = 60.0
    """Valid.Cookie.Life (RFC 9260 §16)."""
    heartbeat_interval: float = 30.0
    """HB.interval (RFC 9260 §16)."""

    initial_window_packets: int = 10
    """The first congestion window. RFC 9260 §7.2.1 says about four packets; ten is today's custom (RFC 6928)."""
    max_burst: int = 16
    """Max.Burst (RFC 9260 §16 says 4): packets that may leave beyond those an acknowledgement makes room for."""

    sack_delay: float = 0.02
    """How long a lone packet may wait for its SACK (RFC 9260 §6.2 allows 0.2 s)."""
    eager_sack_packets: int = 200
    """An association's first packets get at least one SACK for two, so that any sender's slow start is quick."""

    def __post_init__(self) -> None:
        if self.max_message_size > self.receive_buffer // 2:
            raise ValueError("max_message_size is at most half the receive buffer, or messages might never complete")
        if not 1 <= self.streams <= 65_535:
            raise ValueError("an association has 1 to 65535 streams")
