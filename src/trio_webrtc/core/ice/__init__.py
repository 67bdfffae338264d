"""ICE (RFC 8445, 8838, 8839, 7675): finds a way to the peer, and keeps watch over it."""

from trio_webrtc.core.ice.agent import Agent
from trio_webrtc.core.ice.candidate import Candidate, parse_candidate
from trio_webrtc.core.ice.counters import Counters
from trio_webrtc.core.ice.credentials import Credentials
from trio_webrtc.core.ice.events import (
    AgentState,
    ConsentLost,
    GatheringCompleted,
    IceEvent,
    LocalCandidateGathered,
    PairSelected,
    RoleSwitched,
    StateChanged,
)
from trio_webrtc.core.ice.pair import CandidatePair, PairState
from trio_webrtc.core.ice.settings import IceSettings

__all__ = [
    "Agent",
    "AgentState",
    "Candidate",
    "CandidatePair",
    "ConsentLost",
    "Counters",
    "Credentials",
    "GatheringCompleted",
    "IceEvent",
    "IceSettings",
    "LocalCandidateGathered",
    "PairSelected",
    "PairState",
    "RoleSwitched",
    "StateChanged",
    "parse_candidate",
]
