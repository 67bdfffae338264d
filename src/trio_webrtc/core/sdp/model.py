"""What a session description consists of (RFC 8866 §5), in the order in which it is written.

Every part remembers the number of the line it was read from, so that whoever rejects its meaning can name the line;
the number is no part of what is compared.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Attribute:
    """`a=name` or `a=name:value` (§5.13); a flag has no value, which is not the same as an empty one."""

    name: str
    value: str | None = None
    line: int | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return self.name if self.value is None else f"{self.name}:{self.value}"


@dataclass(frozen=True, slots=True)
class Line:
    """A line that is kept but not looked into: `i=`, `b=`, `t=`, or of a type that no RFC knows."""

    type: str
    value: str
    line: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Origin:
    """`o=` (§5.2): who made the description, and which version of it this is."""

    username: str
    session_id: int
    session_version: int
    network_type: str = "IN"
    address_type: str = "IP4"
    address: str = "0.0.0.0"

    def __str__(self) -> str:
        return (
            f"{self.username} {self.session_id} {self.session_version} "
            f"{self.network_type} {self.address_type} {self.address}"
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """`c=` (§5.7): where media goes; a multicast address carries its TTL and count after slashes."""

    network_type: str = "IN"
    address_type: str = "IP4"
    address: str = "0.0.0.0"

    def __str__(self) -> str:
        return f"{self.network_type} {self.address_type} {self.address}"


class _HasAttributes:
    """Looking up attributes by name: they may be repeated, and their order among themselves matters."""

    __slots__ = ()
    attributes: tuple[Attribute, ...]

    def find_all(self, name: str) -> Iterator[Attribute]:
        """Every attribute of this name, in order."""
        return (attribute for attribute in self.attributes if attribute.name == name)

    def find(self, name: str) -> Attribute | None:
        """The first attribute of this name, or None."""
        return next(self.find_all(name), None)

    def has(self, name: str) -> bool:
        """Whether there is an attribute of this name."""
        return self.find(name) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Media(_HasAttributes):
    """A media section: `m=` (§5.14) and the lines that belong to it."""

    kind: str
    port: int
    port_count: int | None = None
    protocol: str
    formats: tuple[str, ...]
    connection: Connection | None = None
    lines: tuple[Line, ...] = ()
    """`i=`, further `c=` (layered multicast), `b=`, `k=` and unknown types, sorted in that order."""
    attributes: tuple[Attribute, ...] = ()
    line: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session(_HasAttributes):
    """A whole description: what holds for all of it, then its media sections."""

    origin: Origin
    name: str = "-"
    connection: Connection | None = None
    lines: tuple[Line, ...] = (Line("t", "0 0"),)
    """`i=`, `u=`, `e=`, `p=`, `b=`, `t=`, `r=`, `z=`, `k=` and unknown types, sorted as in `SESSION_ORDER`."""
    attributes: tuple[Attribute, ...] = ()
    media: tuple[Media, ...] = ()


SESSION_ORDER = ("i", "u", "e", "p", "b", "t", "r", "z", "k")
"""The order of a session's lines (RFC 8866 §9). `c=` stands before `b=`; `r=` keeps its place behind its `t=`."""

MEDIA_ORDER = ("i", "c", "b", "k")
"""The order of a media section's lines (RFC 8866 §9); the first `c=` is the section's `connection`."""


def session_rank(line: Line) -> int:
    """Where a line stands among those of a session."""
    return _SESSION_RANKS.get(line.type, len(SESSION_ORDER))


def media_rank(line: Line) -> int:
    """Where a line stands among those of a media section."""
    return _MEDIA_RANKS.get(line.type, len(MEDIA_ORDER))


_SESSION_RANKS: Final = {type_: SESSION_ORDER.index("t" if type_ == "r" else type_) for type_ in SESSION_ORDER}
_MEDIA_RANKS: Final = {type_: rank for rank, type_ in enumerate(MEDIA_ORDER)}
