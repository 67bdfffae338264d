"""A base: a socket of ours, from which checks are sent or by which they come (RFC 8445 §2, RFC 6544 §2)."""

import enum
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from trio_webrtc.core.contract import Address, Via
from trio_webrtc.core.ice.addresses import parse_ip, without_scope
from trio_webrtc.core.ice.candidate import Candidate, TcpType, candidate_priority


class BaseKind(enum.Enum):
    """What a base is on this host."""

    UDP = enum.auto()
    """A bound socket."""
    TCP_PASSIVE = enum.auto()
    """A listening socket; each connection that it accepts is a way of its own."""
    TCP_ACTIVE = enum.auto()
    """An address of this host from which connections are opened; each of them is a way of its own."""


_TCP_TYPES: Final[dict[BaseKind, TcpType]] = {BaseKind.TCP_PASSIVE: "passive", BaseKind.TCP_ACTIVE: "active"}

DISCARD_PORT: Final = 9
"""Stands in an active candidate for the port that each of its connections will have (RFC 6544 §4.5)."""


@dataclass(slots=True, eq=False, kw_only=True)
class Base:
    """One `via` and its local address; candidates of the present generation that lead to it."""

    via: Via
    address: Address
    local_preference: int
    kind: BaseKind = BaseKind.UDP
    announced: tuple[str, ...] = ()
    """Names or addresses by which others reach this base, where they are not its own (RFC 8445 §5.1.1.1)."""
    beside_own: bool = False
    """Whether what is announced is told besides the own address, and not in its place."""
    is_preferred: bool = True
    """Whether this is of the preferred transport, UDP or TCP."""
    candidates: list[Candidate] = field(default_factory=list)

    @property
    def is_udp(self) -> bool:
        """Whether datagrams may get lost by this way, and whether this is a way at all without a connection."""
        return self.kind is BaseKind.UDP

    @property
    def tcp_type(self) -> TcpType | None:
        """Who opens the connections (RFC 6544 §4.5); None with UDP."""
        return _TCP_TYPES.get(self.kind)

    @property
    def announced_port(self) -> int:
        """The port in the candidates of this base."""
        return DISCARD_PORT if self.kind is BaseKind.TCP_ACTIVE else self.address[1]

    def priority_of(self, type_: str, below: int = 0) -> int:
        """What a candidate of this base is worth; `below` steps down tell those of one base apart."""
        return candidate_priority(
            type_, max(self.local_preference - below, 0), tcp_type=self.tcp_type, is_preferred=self.is_preferred
        )

    def candidate_at(self, seen: Address) -> Candidate | None:
        """The candidate of this base that others see as `seen`."""
        if self.kind is BaseKind.TCP_ACTIVE:
            # Each connection has a port of its own, which the candidate could not name.
            return next((c for c in self.candidates if c.host == seen[0]), None)
        return next((c for c in self.candidates if (c.host, c.port) == seen), None)

    def names(self) -> list[str]:
        """What others are told: what is announced, be it a name or an address of whatever family, else our own."""
        told = [str(parse_ip(name) or name) for name in self.announced]
        if self.beside_own or not told:
            told.append(without_scope(self.address[0]))
        return list(dict.fromkeys(told))


class Bases:
    """All our bases, and the TCP connections, each of which is a way of its own and belongs to one of them."""

    def __init__(self) -> None:
        self._bases: dict[Via, Base] = {}
        self._connections: dict[Via, Base] = {}

    def __iter__(self) -> Iterator[Base]:
        return iter(self._bases.values())

    def __contains__(self, via: Via) -> bool:
        return via in self._bases or via in self._connections

    def offers(self, base: Base) -> bool:
        """Whether this base is still there."""
        return self._bases.get(base.via) is base

    def of(self, via: Via) -> Base | None:
        """The base that this way belongs to."""
        return self._bases.get(via) or self._connections.get(via)

    @property
    def opened(self) -> tuple[Via, ...]:
        """The connections that were opened from here."""
        return tuple(via for via, base in self._connections.items() if base.kind is BaseKind.TCP_ACTIVE)

    def add(self, base: Base) -> None:
        """Take up a base."""
        self._bases[base.via] = base

    def connect(self, via: Via, base: Base) -> None:
        """Take up a connection that the base has accepted, or that was opened from it."""
        self._connections[via] = base

    def remove(self, via: Via) -> None:
        """A base is gone, or a connection. Those of a listener that is gone live on."""
        self._bases.pop(via, None)
        self._connections.pop(via, None)
