"""ICE (RFC 8445, 8838, 8839, 7675, 6544): finds a way to the peer, and keeps watch over it."""

from typing import TypeAlias

from trio_webrtc.core.ice.agent import Agent
from trio_webrtc.core.ice.base import DISCARD_PORT, BaseKind
from trio_webrtc.core.ice.candidate import Candidate, parse_candidate
from trio_webrtc.core.ice.counters import Counters
from trio_webrtc.core.ice.credentials import Credentials
from trio_webrtc.core.ice.events import (
    AgentState,
    ConnectionReleased,
    ConnectionWanted,
    ConsentLost,
    CredentialsInUse,
    GatheringCompleted,
    IceEvent,
    LocalCandidateGathered,
    PairSelected,
    RoleSwitched,
    StateChanged,
)
from trio_webrtc.core.ice.lite import LiteAgent
from trio_webrtc.core.ice.pair import CandidatePair, PairState
from trio_webrtc.core.ice.settings import IceSettings

AnyAgent: TypeAlias = Agent | LiteAgent
"""Both have the same verbs and properties: who uses an agent need not know which of the two it is."""

__all__ = [
    "DISCARD_PORT",
    "Agent",
    "AgentState",
    "AnyAgent",
    "BaseKind",
    "Candidate",
    "CandidatePair",
    "ConnectionReleased",
    "ConnectionWanted",
    "ConsentLost",
    "Counters",
    "Credentials",
    "CredentialsInUse",
    "GatheringCompleted",
    "IceEvent",
    "IceSettings",
    "LiteAgent",
    "LocalCandidateGathered",
    "PairSelected",
    "PairState",
    "RoleSwitched",
    "StateChanged",
    "parse_candidate",
]
