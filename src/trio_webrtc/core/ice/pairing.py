"""Which pairs there can be: our bases beside the candidates that the peer names, or checks from (RFC 8445 §6.1.2).

When the pairs are checked, and which of them is chosen, is not known here.
"""

from typing import Final

from trio_webrtc.core.contract import Address, Via
from trio_webrtc.core.ice.addresses import destination, is_usable_remote, parse_ip
from trio_webrtc.core.ice.answering import PeerCheck
from trio_webrtc.core.ice.base import Base, BaseKind, Bases
from trio_webrtc.core.ice.candidate import COMPONENT, Candidate, TcpType, remote_reflexive_candidate
from trio_webrtc.core.ice.checklist import Checklist
from trio_webrtc.core.ice.pair import CandidatePair
from trio_webrtc.core.ice.role import Role


class Pairing:
    """The candidates that the peer has named in one generation, and the pairs that they form with our bases."""

    def __init__(self, checklist: Checklist, bases: Bases, role: Role, *, max_remote_candidates: int) -> None:
        self.remote_candidates: list[Candidate] = []
        self._checklist = checklist
        self._bases = bases
        self._role = role
        self._max_remote_candidates = max_remote_candidates

    def add_base(self, base: Base) -> None:
        """Pair a socket with all candidates of the peer."""
        for remote in self.remote_candidates:
            self.form(base, remote)

    def knows(self, candidate: Candidate) -> bool:
        """Whether the peer has named this candidate before."""
        return any(_is_same(candidate, known) for known in self.remote_candidates)

    def add_remote(self, candidate: Candidate) -> bool:
        """Pair a candidate of the peer with all our sockets; say whether there was room for it.

        What cannot be paired is kept all the same: names, whose owner may check from there, and TCP.
        """
        if len(self.remote_candidates) >= self._max_remote_candidates:
            return False
        self.remote_candidates.append(candidate)
        for base in self._bases:
            self.form(base, candidate)
        return True

    def form(self, base: Base, remote: Candidate) -> None:
        """Pair the two, if checks may go from the one to the other, and there is no such pair yet."""
        ip = parse_ip(remote.host)
        if ip is None or remote.component != COMPONENT or not _may_pair(base, remote):
            return
        address = destination(base.address, ip, remote.port) if is_usable_remote(ip, remote.port) else None
        if address is None:
            return
        known = self._checklist.at(base.via, address)
        if known is None:
            self._add(base, remote, address, proven=False)
        elif known.remote.type == "prflx":
            # RFC 8445 §7.3.1.3: the peer now names, with its true foundation and priority, what it checked from before.
            known.remote = remote
            self._checklist.prioritize(controlling=self._role.controlling)

    def learn(self, check: PeerCheck) -> CandidatePair | None:
        """Pair the address that the peer has checked from, which it need not have named (RFC 8445 §7.3.1.3)."""
        via, from_ = check.received.via, check.received.from_
        base = self._bases.of(via)
        if base is None:
            return None
        # RFC 8445 §7.3.1.3: its foundation is like no other.
        new = remote_reflexive_candidate(
            from_,
            priority=check.priority,
            foundation=f"prflx:{from_[0]}:{from_[1]}",
            tcp_type=_OPPOSITES[base.kind],
        )
        known = (
            pair.remote
            for pair in self._checklist.pairs
            if pair.remote_address == from_ and pair.remote.transport.lower() == new.transport
        )
        return self._add(base, next(known, new), from_, proven=True, connection=None if base.is_udp else via)

    def _add(
        self, base: Base, remote: Candidate, address: Address, *, proven: bool, connection: Via | None = None
    ) -> CandidatePair | None:
        pair = CandidatePair(
            base=base, local=base.candidates[0], remote=remote, remote_address=address, connection=connection
        )
        pair.prioritize(controlling=self._role.controlling)
        return pair if self._checklist.add(pair, proven=proven) else None


_OPPOSITES: Final[dict[BaseKind, TcpType | None]] = {
    BaseKind.UDP: None,
    BaseKind.TCP_PASSIVE: "active",
    BaseKind.TCP_ACTIVE: "passive",
}
"""What kind of candidate is at the other end (RFC 6544 §6.2)."""


def _may_pair(base: Base, remote: Candidate) -> bool:
    """Whether checks may go from there to there.

    RFC 6544 §6.2: a passive base waits for the peer's checks, so active candidates, which have no port, are left alone.
    """
    if base.is_udp:
        return remote.transport.lower() == "udp"
    return base.kind is BaseKind.TCP_ACTIVE and remote.transport.lower() == "tcp" and remote.tcptype == "passive"


def _is_same(candidate: Candidate, known: Candidate) -> bool:
    return (candidate.host, candidate.port, candidate.transport.lower(), candidate.component, candidate.tcptype) == (
        known.host,
        known.port,
        known.transport.lower(),
        known.component,
        known.tcptype,
    )
