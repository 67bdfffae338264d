"""What an ICE agent has to tell."""

import enum
from dataclasses import dataclass
from typing import TypeAlias

from trio_webrtc.core.ice.candidate import Candidate
from trio_webrtc.core.ice.pair import CandidatePair


class AgentState(enum.Enum):
    """The state of the way to the peer; the values are those of W3C's `iceConnectionState`."""

    NEW = "new"
    CHECKING = "checking"
    CONNECTED = "connected"
    COMPLETED = "completed"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class LocalCandidateGathered:
    """A candidate that the peer should be told of; `url` is that of the STUN server that found it."""

    candidate: Candidate
    url: str | None


@dataclass(frozen=True, slots=True)
class GatheringCompleted:
    """This generation has no more candidates."""


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The agent's state is another."""

    state: AgentState


@dataclass(frozen=True, slots=True)
class PairSelected:
    """Data goes this way from now on."""

    pair: CandidatePair


@dataclass(frozen=True, slots=True)
class RoleSwitched:
    """Both sides had the same role, and ours has changed."""

    controlling: bool


@dataclass(frozen=True, slots=True)
class ConsentLost:
    """The peer has not answered on the selected pair for so long that nothing more may be sent (RFC 7675)."""

    silent_for: float


IceEvent: TypeAlias = (
    LocalCandidateGathered | GatheringCompleted | StateChanged | PairSelected | RoleSwitched | ConsentLost
)
