"""Candidate lines as descriptions carry them (RFC 8839 §5.1); their meaning is for ICE."""

import enum
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from trio_webrtc.core.sdp import Connection


class CandidateFate(enum.Enum):
    """What is to be done with something that signalling brought."""

    ADD = enum.auto()
    """A candidate for this transport."""
    END = enum.auto()
    """No more candidates follow (RFC 8838 §14)."""
    IGNORE = enum.auto()
    """It is for a section that was rejected or bundled elsewhere, or of another ICE generation."""


@dataclass(frozen=True, slots=True)
class RemoteCandidate:
    """A candidate line, without the "a=", and what is to be done with it."""

    fate: CandidateFate
    line: str = ""


IGNORED = RemoteCandidate(CandidateFate.IGNORE)


def ufrag_of(line: str) -> str | None:
    """The generation that a candidate line names itself, by the extension that browsers append (RFC 8839 §5.1)."""
    words = line.split()
    # Behind foundation, component, transport, priority, address, port, "typ" and type stand pairs of name and value.
    extensions = dict(zip(words[8::2], words[9::2], strict=False))
    return extensions.get("ufrag")


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a side that knows no ICE would send: the port of `m=`, and `c=`."""

    port: int
    connection: Connection


NO_DESTINATION = Destination(9, Connection("IN", "IP4", "0.0.0.0"))
"""What stands there while there are no candidates (RFC 9429 §5.2.1)."""


def default_destination(candidates: Sequence[str]) -> Destination:
    """The default candidate: relayed before reflexive before host (RFC 8839 §4.2.1.2), IPv4 before IPv6.

    Names of the local network and TCP candidates never are: nobody without ICE could use them.
    """
    usable = [ranked for line in candidates if (ranked := _rank(line)) is not None]
    return min(usable, key=lambda ranked: ranked.rank).destination if usable else NO_DESTINATION


class _Ranked(NamedTuple):
    rank: tuple[int, int, int]
    destination: Destination


_TYPE_RANKS: Final = {"relay": 0, "srflx": 1, "prflx": 1, "host": 2}


def _rank(line: str) -> _Ranked | None:
    try:
        _, component, transport, priority, host, port, _, type_, *_ = line.split()
        version = ipaddress.ip_address(host).version
        if component != "1" or transport.lower() != "udp":
            return None
        rank = (_TYPE_RANKS[type_], version, -int(priority))
        return _Ranked(rank, Destination(int(port), Connection("IN", f"IP{version}", host)))
    except (ValueError, KeyError):
        return None
