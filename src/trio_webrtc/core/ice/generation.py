"""A generation: what an ICE restart replaces as a whole (RFC 8445 §9)."""

from dataclasses import dataclass, field

from trio_webrtc.core.ice.candidate import Candidate
from trio_webrtc.core.ice.checklist import Checklist
from trio_webrtc.core.ice.credentials import Credentials


@dataclass(slots=True, eq=False, kw_only=True)
class Generation:
    """The credentials of both sides, the peer's candidates, and the pairs made of them."""

    local: Credentials
    checklist: Checklist
    remote: Credentials | None = None
    remote_is_lite: bool = False
    remote_candidates: list[Candidate] = field(default_factory=list)
    remote_ended: bool = False
    """The peer has said that it has no more candidates (RFC 8838 §14)."""
