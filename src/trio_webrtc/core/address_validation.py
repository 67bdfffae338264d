"""How much may be sent to an address before it is sure that somebody there has asked for it.

Whoever forges the sender of a datagram has the answer sent to somebody else. A peer that has its password from
signalling is known; of one that has chosen the password itself, a check proves nothing. Until such a peer has shown
that it receives what is sent to its address, no more goes there than has come from there: QUIC's rule (RFC 9000 §8.1),
with 1 for its 3. ICE's own checks and answers are not counted: they are what RFC 8445 §19.5 allows.
"""

from typing import Final, TypeAlias

from trio_webrtc.core.contract import Address, Via

Way: TypeAlias = tuple[Via, Address]

MAX_WAYS: Final = 64
"""Ways that are kept account of; the oldest makes room."""


class AmplificationLimit:
    """The account of one peer's ways."""

    __slots__ = ("_proven", "_room")

    def __init__(self) -> None:
        self._room: dict[Way, int] = {}
        self._proven: Way | None = None

    def receive(self, way: Way, size: int) -> None:
        """So many bytes have come by this way."""
        if self.is_proven(way):
            return
        if way not in self._room and len(self._room) >= MAX_WAYS:
            del self._room[next(iter(self._room))]
        self._room[way] = self._room.get(way, 0) + size

    def prove(self, way: Way) -> None:
        """Whoever is there receives what is sent there."""
        self._proven = way

    def is_proven(self, way: Way) -> bool:
        """Whether that has been said of this way, and of no other since."""
        return way == self._proven

    def admits(self, way: Way, size: int) -> bool:
        """Whether so many bytes may go by this way; if so, they count."""
        if self.is_proven(way):
            return True
        room = self._room.get(way, 0)
        if room < size:
            return False
        self._room[way] = room - size
        return True
