"""A base: one bound socket of ours, from which checks are sent (RFC 8445 §2)."""

from dataclasses import dataclass, field

from trio_webrtc.core.contract import Address, Via
from trio_webrtc.core.ice.candidate import Candidate


@dataclass(slots=True, eq=False, kw_only=True)
class Base:
    """One `via` and its local address; candidates of the present generation that lead to it."""

    via: Via
    address: Address
    local_preference: int
    announced: tuple[str, ...] = ()
    """Names or addresses by which others reach this base, where they are not its own (RFC 8445 §5.1.1.1)."""
    candidates: list[Candidate] = field(default_factory=list)

    def candidate_at(self, seen: Address) -> Candidate | None:
        """The candidate of this base that others see as `seen`."""
        return next((c for c in self.candidates if (c.host, c.port) == seen), None)
