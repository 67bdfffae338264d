"""The knobs of an ICE agent: times in seconds, and the bounds of all that a peer could make grow."""

from dataclasses import dataclass, field
from typing import Literal

from trio_webrtc.core.stun.transaction import Retransmission


@dataclass(frozen=True, slots=True, kw_only=True)
class IceSettings:
    """Times and bounds; the defaults suit the open Internet and the loopback alike."""

    pacing: float = 0.05
    """Ta, the time between two checks that nobody asked for (RFC 8445 §14.2)."""
    check_retransmission: Retransmission = field(
        default_factory=lambda: Retransmission(timeout=0.5, longest=1.0, requests=15, last_wait=4)
    )
    """A check is given up after 15.5 s; a check from the peer starts it again.

    Departs from RFC 8489 §6.2.1 in that intervals stop doubling, because on a lossy way a nomination that is repeated
    after 8 s is too late; and from RFC 8445 §14.3 in that they do not grow with the number of pairs, because there are
    at most `max_pairs`, started Ta apart.
    """
    stun_server_retransmission: Retransmission = field(
        default_factory=lambda: Retransmission(timeout=0.5, requests=3, last_wait=3)
    )
    """A STUN server is asked at 0, 0.5 and 1.5 s, and given up after 3 s."""
    nomination_patience: float = 0.2
    """How long the controlling agent waits for a better pair once one has succeeded; for one by TCP a round trip more,
    which its connection takes."""
    patience: float = 15.0
    """No failure is declared before this time: the peer's checks may yet come from where none was expected, even when
    every pair has failed and no further candidate is to come (RFC 8863; shorter than the 39.5 s it recommends)."""
    trickle_patience: float = 30.0
    """The same for as long as the peer has not said that it has no more candidates."""
    consent_interval: float = 5.0
    """Time between two consent checks that are answered, spread over 0.8 to 1.2 of it (RFC 7675 §5.1)."""
    consent_retry: float = 0.5
    """Time until an unanswered consent check is followed by another."""
    consent_silence: float = 5.0
    """After so long without an answer the connection counts as disconnected."""
    consent_lifetime: float = 30.0
    """After so long without an answer nothing more may be sent (RFC 7675 §5.1)."""
    lite_silence: float = 8.0
    """After so long without a check from the peer, the connection of a lite agent counts as disconnected; after
    `consent_lifetime` it has failed. Peers check every 4 to 6 s (RFC 7675 §5.1)."""
    keepalive_interval: float = 15.0
    """How often the NAT bindings of server-reflexive candidates are refreshed until a pair is in use: Tr, RFC 8445
    §5.1.1.4 and §11."""
    preferred_transport: Literal["udp", "tcp"] = "udp"
    """Whose candidates have the higher priorities (RFC 6544 §4.2). It is enough if one side, such as a server, prefers
    TCP: pairs by TCP then come before those by UDP. Which of them is used is for the controlling agent to say; this
    library's takes the best pair that has shown to work, and waits for a better one as `nomination_patience` says."""
    connection_delay: float = 0.25
    """How long the ways that need no TCP connection are given first, if the best of all pairs is one of them."""
    connection_timeout: float = 10.0
    """After so long the opening of a TCP connection counts as failed."""
    connection_retry: float = 1.0
    """Least time between two attempts to connect to the same address."""

    max_connecting: int = 4
    """TCP connections that are being opened at once."""
    max_pairs: int = 100
    """RFC 8445 §6.1.2.5."""
    max_remote_candidates: int = 100
    max_local_candidates: int = 100
    max_early_checks: int = 32
    """Checks that came before the peer's credentials and are remembered until then."""
    max_validated: int = 200
    """Ways by which an authenticated peer has reached us."""
    max_retired: int = 8
    """Ways of ours that are gone, and remembered by a lite agent in case something still comes from there."""
    max_refusals: int = 8
    """So many checks that prove nothing are refused in a second; the others get no answer."""
    max_queued: int = 256
    """Datagrams that wait to be polled."""
