"""Who controls: nominates the pair that is used (RFC 8445 §6.1.1), and what happens if both want to (§7.3.1.1)."""

import enum
import random
from typing import Final

from trio_webrtc.core.stun.message import ICE_CONTROLLED, ICE_CONTROLLING, Attribute, Message


class Verdict(enum.Enum):
    """What a request from the peer means for the roles."""

    AGREED = enum.auto()
    SWITCH = enum.auto()
    """Both had the same role, and it is ours to give it up."""
    REFUSE = enum.auto()
    """Both have the same role, and it is the peer's to give it up: answer 487."""


ALWAYS_LOSES: Final = -1
"""A number below all others, for a lite agent: it cannot control (RFC 8445 §6.1.1). It is never sent."""


class Role:
    """Our role, and the number that decides conflicts."""

    def __init__(self, *, controlling: bool, rng: random.Random, tie_breaker: int | None = None) -> None:
        self.controlling = controlling
        self._rng = rng
        self._tie_breaker = rng.getrandbits(64) if tie_breaker is None else tie_breaker

    @property
    def attribute(self) -> tuple[Attribute[int], int]:
        """What our checks say about it."""
        return (ICE_CONTROLLING if self.controlling else ICE_CONTROLLED), self._tie_breaker

    def judge(self, request: Message) -> Verdict:
        """Whether the sender of `request` has the other role (RFC 8445 §7.3.1.1)."""
        theirs = request.get(ICE_CONTROLLING if self.controlling else ICE_CONTROLLED)
        if theirs is None:
            return Verdict.AGREED
        # The larger number controls, whoever notices the conflict first.
        ours_is_larger = self._tie_breaker >= theirs
        return Verdict.REFUSE if ours_is_larger == self.controlling else Verdict.SWITCH

    def switch(self) -> None:
        """Take the other role."""
        self.controlling = not self.controlling

    def draw_again(self) -> None:
        """RFC 8445 §7.2.5.1: the loser of a conflict changes its number."""
        self._tie_breaker = self._rng.getrandbits(64)
