"""Whose addresses are whose on some ports: each is one's at most, and everybody may have several."""

from collections.abc import Sequence
from typing import Generic, TypeAlias, TypeVar

from trio_webrtc.core.contract import Address, Via

Place: TypeAlias = tuple[Via, Address]
"""Where somebody is: at an address, as seen by one of our ways."""

_Owner = TypeVar("_Owner")


class AddressBook(Generic[_Owner]):
    """Keeps both directions in step: from an address to its owner, and from an owner to all addresses."""

    def __init__(self) -> None:
        self.owners: dict[Place, _Owner] = {}
        """To be read by others, for every datagram."""
        self._of: dict[_Owner, dict[Place, None]] = {}

    def of(self, owner: _Owner) -> Sequence[Place]:
        """All addresses of one owner."""
        return tuple(self._of.get(owner, ()))

    def assign(self, place: Place, owner: _Owner) -> None:
        """From now on this is the address of `owner`, and of nobody else."""
        self.remove(place)
        self.owners[place] = owner
        self._of.setdefault(owner, {})[place] = None

    def remove(self, place: Place) -> None:
        """This is nobody's address any more; harmless if it was nobody's."""
        owner = self.owners.pop(place, None)
        if owner is not None:
            theirs = self._of[owner]
            del theirs[place]
            if not theirs:
                del self._of[owner]
