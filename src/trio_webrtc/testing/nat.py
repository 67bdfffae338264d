"""What a NAT remembers: which addresses behind it appear as which before it, and who may answer there.

RFC 4787 tells NATs apart by two answers to one question, "does it matter whom a host talks to?": for the mapping (which
port stands for the host) and for filtering (who may send to that port). The four kinds of RFC 3489 §5 are four of the
nine combinations. Like most NATs in homes, this one is kept open from inside only (RFC 4787 §4.3, REQ-6).

Where the packets go is not known here; see `virtual_network`.
"""

import enum
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from trio_webrtc.core.contract import Address

MAPPING_LIFETIME: Final = 300.0
"""Seconds for which a mapping outlives what was last sent through it (RFC 4787 §4.3, REQ-5)."""

_FIRST_PORT: Final = 1024
_LAST_PORT: Final = 65_535


class Dependence(enum.Enum):
    """What a behaviour depends on, in the words of RFC 4787 §4.1 and §5."""

    ENDPOINT_INDEPENDENT = 0
    """It is the same for everybody outside."""
    ADDRESS_DEPENDENT = 1
    """It is the same for all ports of one address outside."""
    ADDRESS_AND_PORT_DEPENDENT = 2
    """Every port outside is a case of its own."""

    def relevant(self, remote: Address) -> Sequence[str | int]:
        """The part of an address outside that matters."""
        return remote[: self.value]


@dataclass(frozen=True, slots=True)
class NatKind:
    """How a NAT behaves."""

    mapping: Dependence
    filtering: Dependence


FULL_CONE: Final = NatKind(Dependence.ENDPOINT_INDEPENDENT, Dependence.ENDPOINT_INDEPENDENT)
"""Whoever knows the mapped address may send there."""
ADDRESS_RESTRICTED: Final = NatKind(Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS_DEPENDENT)
"""Who has been sent something may answer, from any port."""
PORT_RESTRICTED: Final = NatKind(Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS_AND_PORT_DEPENDENT)
"""Who has been sent something may answer, from the same port."""
SYMMETRIC: Final = NatKind(Dependence.ADDRESS_AND_PORT_DEPENDENT, Dependence.ADDRESS_AND_PORT_DEPENDENT)
"""Everybody outside sees another mapped address: what a STUN server sees is of no use to anybody else."""


@dataclass(slots=True, kw_only=True, eq=False)
class Mapping:
    """A port of the NAT that stands for a socket behind it, as long as one of its permissions lasts."""

    inside: Address
    outside: Address
    filtering: Dependence
    _permitted_until: dict[Sequence[str | int], float] = field(default_factory=dict)

    def sent(self, remote: Address, expiry: float) -> None:
        """Something went out there: until `expiry`, what filtering takes for the same may come in."""
        self._permitted_until[self.filtering.relevant(remote)] = expiry

    def admits(self, remote: Address, now: float) -> bool:
        """Whether a datagram that arrives from there is let in."""
        return now < self._permitted_until.get(self.filtering.relevant(remote), now)

    def is_alive(self, now: float) -> bool:
        """Whether the NAT still remembers it."""
        return any(now < expiry for expiry in self._permitted_until.values())

    def forget(self) -> None:
        """Let nobody in any more, also those already on their way."""
        self._permitted_until.clear()


class Translator:
    """The table of one NAT."""

    def __init__(self, host: str, kind: NatKind, *, lifetime: float, preserve_ports: bool, rng: random.Random) -> None:
        self._host = host
        self._kind = kind
        self._lifetime = lifetime
        self._preserve_ports = preserve_ports
        self._rng = rng
        self._by_port: dict[int, Mapping] = {}
        self._by_use: dict[tuple[Address, Sequence[str | int]], Mapping] = {}

    def send(self, inside: Address, remote: Address, now: float) -> Mapping:
        """Something leaves: find the mapping that it takes, or make one, and keep it open."""
        use = inside, self._kind.mapping.relevant(remote)
        mapping = self._by_use.get(use)
        if mapping is None or not mapping.is_alive(now):
            outside = self._host, self._free_port(inside[1], now)
            mapping = Mapping(inside=inside, outside=outside, filtering=self._kind.filtering)
            self._by_use[use] = self._by_port[outside[1]] = mapping
        mapping.sent(remote, now + self._lifetime)
        return mapping

    def find(self, port: int, now: float) -> Mapping | None:
        """The mapping that a port stands for."""
        mapping = self._by_port.get(port)
        return mapping if mapping is not None and mapping.is_alive(now) else None

    def mappings(self, now: float) -> list[Mapping]:
        """Those that are remembered, in the order of their making."""
        return [mapping for mapping in self._by_use.values() if mapping.is_alive(now)]

    def forget_all(self) -> None:
        """Be as a NAT that was just switched on."""
        for mapping in self._by_use.values():
            mapping.forget()
        self._by_use.clear()
        self._by_port.clear()

    def _free_port(self, inside: int, now: float) -> int:
        port = inside if self._preserve_ports else self._rng.randint(_FIRST_PORT, _LAST_PORT)
        while self.find(port, now) is not None:
            port = self._rng.randint(_FIRST_PORT, _LAST_PORT)
        return port
