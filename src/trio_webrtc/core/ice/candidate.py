"""Candidates: addresses by which a peer may be reached (RFC 8445 §5.1, RFC 8839 §5.1).

A candidate itself is `aioice.Candidate`; here are its checked parser and the makers of our own.
"""

import re
from typing import Final

from aioice import Candidate

from trio_webrtc.core.contract import Address
from trio_webrtc.core.ice.addresses import without_scope

COMPONENT: Final = 1
"""The only one there is: all that a WebRTC connection carries shares it (RFC 9143)."""

TYPE_PREFERENCES: Final = {"host": 126, "prflx": 110, "srflx": 100, "relay": 0}
"""RFC 8445 §5.1.2.2."""

MAX_CANDIDATE_LENGTH: Final = 1024

# RFC 8839 §5.1, a little laxer in the foundation, since nothing here depends on its alphabet.
_LINE: Final = re.compile(
    r"(?:a=)?(?:candidate:)?"
    r"(?P<candidate>\S{1,64} [0-9]{1,3} \S{1,64} [0-9]{1,10} \S{1,256} [0-9]{1,5} typ \S{1,64}(?: \S+ \S*)*) ?"
)


def parse_candidate(line: str) -> Candidate:
    """Parse a candidate attribute, with or without `a=` and `candidate:`.

    Raises:
        ValueError: It breaks the grammar.
    """
    line = line.strip()
    if len(line) > MAX_CANDIDATE_LENGTH or not line.isascii():
        raise ValueError("a candidate is at most 1024 ASCII characters")
    match = _LINE.fullmatch(line)
    if match is None:
        raise ValueError(f"not a candidate: {line!r}")
    candidate = Candidate.from_sdp(match["candidate"])
    if not (1 <= candidate.component <= 256 and candidate.port < 65536 and candidate.priority < 2**32):
        raise ValueError(f"candidate with a number out of range: {line!r}")
    return candidate


def candidate_priority(kind: str, local_preference: int) -> int:
    """RFC 8445 §5.1.2.1."""
    return (TYPE_PREFERENCES[kind] << 24) + (local_preference << 8) + (256 - COMPONENT)


def host_candidate(host: str, port: int, *, local_preference: int, foundation: str) -> Candidate:
    """A candidate that is the address of a socket, or the one announced in its stead."""
    return Candidate(
        foundation=foundation,
        component=COMPONENT,
        transport="udp",
        priority=candidate_priority("host", local_preference),
        host=without_scope(host),
        port=port,
        type="host",
    )


def reflexive_candidate(
    kind: str, seen: Address, *, related: Address, local_preference: int, foundation: str
) -> Candidate:
    """A candidate that is an address as a server ("srflx") or the peer ("prflx") sees it."""
    return Candidate(
        foundation=foundation,
        component=COMPONENT,
        transport="udp",
        priority=candidate_priority(kind, local_preference),
        host=without_scope(seen[0]),
        port=seen[1],
        type=kind,
        related_address=without_scope(related[0]),
        related_port=related[1],
    )


def remote_reflexive_candidate(seen: Address, *, priority: int, foundation: str) -> Candidate:
    """A candidate of the peer that we learn from its check (RFC 8445 §7.3.1.3)."""
    return Candidate(
        foundation=foundation,
        component=COMPONENT,
        transport="udp",
        priority=priority,
        host=without_scope(seen[0]),
        port=seen[1],
        type="prflx",
    )


class Foundations:
    """Gives candidates of the same kind, base, server and transport the same foundation (RFC 8445 §5.1.1.3)."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[str, ...], str] = {}

    def of(self, *properties: str) -> str:
        """The foundation of candidates with these properties."""
        return self._numbers.setdefault(properties, str(len(self._numbers) + 1))


__all__ = [
    "COMPONENT",
    "Candidate",
    "Foundations",
    "candidate_priority",
    "host_candidate",
    "parse_candidate",
    "reflexive_candidate",
    "remote_reflexive_candidate",
]
