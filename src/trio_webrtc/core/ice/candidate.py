"""Candidates: addresses by which a peer may be reached (RFC 8445 §5.1, RFC 8839 §5.1).

A candidate itself is `aioice.Candidate`; here are its checked parser and the makers of our own.
"""

import re
from typing import Final, Literal, TypeAlias

from aioice import Candidate

from trio_webrtc.core.contract import Address
from trio_webrtc.core.ice.addresses import without_scope

COMPONENT: Final = 1
"""The only one there is: all that a WebRTC connection carries shares it (RFC 9143)."""

TcpType: TypeAlias = Literal["active", "passive"]
"""Who opens the connection (RFC 6544 §4.5). There is a third, "so", where both do at once: not here."""

TYPE_PREFERENCES: Final = {"host": 126, "prflx": 110, "srflx": 100, "relay": 0}
"""RFC 8445 §5.1.2.2."""

TCP_BELOW_UDP: Final = {"host": 90, "prflx": 80, "srflx": 70, "relay": 0}
"""Type preferences of TCP where UDP is preferred: below all direct ways by UDP (RFC 6544 §4.2)."""

UDP_BELOW_TCP: Final = {"host": 60, "prflx": 50, "srflx": 40, "relay": 0}
"""Those of UDP where TCP is preferred. A pair is worth what the lesser of its candidates is (RFC 8445 §6.1.2.3): these
are below what a peer that prefers UDP gives its candidates for TCP, so that it is enough if one side prefers TCP."""

_DIRECTION_PREFERENCES: Final = {
    "host": {"active": 6, "passive": 4},
    # Where there may be a NAT, whoever is behind it had better open the connection.
    "srflx": {"active": 4, "passive": 2},
    "prflx": {"active": 4, "passive": 2},
    "relay": {"active": 6, "passive": 4},
}
"""RFC 6544 §4.2."""

_MAX_OTHER_PREFERENCE: Final = 2**13 - 1

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


def candidate_priority(
    type_: str,
    local_preference: int,
    *,
    tcp_type: TcpType | None = None,
    is_preferred: bool = True,
) -> int:
    """RFC 8445 §5.1.2.1; with TCP, who opens the connection counts more than from where (RFC 6544 §4.2)."""
    if tcp_type is not None:
        # There are three bits less for the preferences among ours: they count down from the top as the others do.
        other = max(local_preference - 65535 + _MAX_OTHER_PREFERENCE, 0)
        local_preference = (_DIRECTION_PREFERENCES[type_][tcp_type] << 13) + other
    lesser = UDP_BELOW_TCP if tcp_type is None else TCP_BELOW_UDP
    type_preferences = TYPE_PREFERENCES if is_preferred else lesser
    return (type_preferences[type_] << 24) + (local_preference << 8) + (256 - COMPONENT)


def host_candidate(
    host: str, port: int, *, priority: int, foundation: str, tcp_type: TcpType | None = None
) -> Candidate:
    """A candidate that is the address of a socket, or the one announced in its stead."""
    return Candidate(
        foundation=foundation,
        component=COMPONENT,
        transport=_transport_of(tcp_type),
        priority=priority,
        host=without_scope(host),
        port=port,
        type="host",
        tcptype=tcp_type,
    )


def reflexive_candidate(
    kind: str,
    seen: Address,
    *,
    related: Address,
    priority: int,
    foundation: str,
    tcp_type: TcpType | None = None,
) -> Candidate:
    """A candidate that is an address as a server ("srflx") or the peer ("prflx") sees it."""
    return Candidate(
        foundation=foundation,
        component=COMPONENT,
        transport=_transport_of(tcp_type),
        priority=priority,
        host=without_scope(seen[0]),
        port=seen[1],
        type=kind,
        related_address=without_scope(related[0]),
        related_port=related[1],
        tcptype=tcp_type,
    )


def remote_reflexive_candidate(
    seen: Address, *, priority: int, foundation: str, tcp_type: TcpType | None = None
) -> Candidate:
    """A candidate of the peer that we learn from its check (RFC 8445 §7.3.1.3)."""
    return Candidate(
        foundation=foundation,
        component=COMPONENT,
        transport=_transport_of(tcp_type),
        priority=priority,
        host=without_scope(seen[0]),
        port=seen[1],
        type="prflx",
        tcptype=tcp_type,
    )


def _transport_of(tcp_type: TcpType | None) -> str:
    return "udp" if tcp_type is None else "tcp"


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
    "TcpType",
    "candidate_priority",
    "host_candidate",
    "parse_candidate",
    "reflexive_candidate",
    "remote_reflexive_candidate",
]
