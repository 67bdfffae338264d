"""What an ICE agent has to tell."""

import enum
from dataclasses import dataclass
from typing import TypeAlias

from trio_webrtc.core.contract import Address, Via
from trio_webrtc.core.ice.candidate import Candidate
from trio_webrtc.core.ice.credentials import Credentials
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


@dataclass(frozen=True, slots=True)
class CredentialsInUse:
    """The peer's checks may name these of our credentials, and no others. Comes first of all, and after each change."""

    credentials: tuple[Credentials, ...]


@dataclass(frozen=True, slots=True)
class ConnectionWanted:
    """A TCP connection from an active base to the peer is worth having (RFC 6544 §7.1).

    To be answered by `add_connection` or `report_connection_failure`; what takes too long counts as failed.
    """

    base_via: Via
    remote_address: Address


@dataclass(frozen=True, slots=True)
class ConnectionReleased:
    """A TCP connection that was opened for us is of no use any more, and should be closed (RFC 6544 §11.1).

    The agent has forgotten it already.
    """

    via: Via


IceEvent: TypeAlias = (
    LocalCandidateGathered
    | GatheringCompleted
    | StateChanged
    | PairSelected
    | RoleSwitched
    | ConsentLost
    | CredentialsInUse
    | ConnectionWanted
    | ConnectionReleased
)
