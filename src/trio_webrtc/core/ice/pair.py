"""A candidate pair: one way between the peers, and what is known about it (RFC 8445 §6.1.2)."""

import enum
from dataclasses import dataclass

from trio_webrtc.core.contract import Address, Via
from trio_webrtc.core.ice.base import Base, BaseKind
from trio_webrtc.core.ice.candidate import Candidate


class PairState(enum.Enum):
    """RFC 8445 §6.1.2.6; the values are W3C's."""

    FROZEN = "frozen"
    WAITING = "waiting"
    IN_PROGRESS = "in-progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


UNFINISHED = frozenset({PairState.FROZEN, PairState.WAITING, PairState.IN_PROGRESS})


@dataclass(slots=True, eq=False, kw_only=True)
class CandidatePair:
    """A base of ours and an address of the peer's; to be read, but not changed, outside of the agent.

    Several local candidates may lead to one base. RFC 8445 §6.1.2.4 prunes pairs that differ only in that, so here
    there is one pair a base, whose `local` is the best such candidate, and after a success the one the peer has seen.
    """

    base: Base
    local: Candidate
    remote: Candidate
    remote_address: Address
    """Where to send: the remote candidate's address, with our zone if it is link-local."""
    connection: Via | None = None
    """With TCP: the connection that this pair is checked and used by, while it is there (RFC 6544 §7.1)."""
    priority: int = 0
    state: PairState = PairState.FROZEN
    nominated: bool = False
    nominated_by_peer: bool = False
    """The controlling peer chose this pair; it is nominated as soon as our own check succeeds (RFC 8445 §7.3.1.5)."""
    last_error: str | None = None
    last_check_at: float | None = None
    round_trip_time: float | None = None
    total_round_trip_time: float = 0.0
    requests_sent: int = 0
    requests_received: int = 0
    responses_sent: int = 0
    responses_received: int = 0
    consent_requests_sent: int = 0

    @property
    def via(self) -> Via:
        """The way out of this host."""
        return self.base.via if self.connection is None else self.connection

    @property
    def needs_connection(self) -> bool:
        """Whether a TCP connection has to be opened before anything can be sent."""
        return self.connection is None and self.base.kind is BaseKind.TCP_ACTIVE

    @property
    def foundation(self) -> tuple[str, str]:
        """Pairs alike in this are likely to share their fate (RFC 8445 §6.1.2.6)."""
        return self.local.foundation, self.remote.foundation

    def prioritize(self, *, controlling: bool) -> None:
        """Compute the priority (RFC 8445 §6.1.2.3), which depends on who controls."""
        ours, theirs = self.local.priority, self.remote.priority
        g, d = (ours, theirs) if controlling else (theirs, ours)
        self.priority = (min(g, d) << 32) + 2 * max(g, d) + (g > d)

    def measured(self, round_trip_time: float | None) -> None:
        """Note how long an answer took, if that can be told."""
        if round_trip_time is not None:
            self.round_trip_time = round_trip_time
            self.total_round_trip_time += round_trip_time

    def __str__(self) -> str:
        local, remote = self.local, self.remote
        tcp = "" if self.base.is_udp else "tcp "
        return f"{tcp}{local.host}:{local.port} ({local.type}) -> {remote.host}:{remote.port} ({remote.type})"
