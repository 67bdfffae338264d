"""First contacts: checks from peers that nobody has told the server about.

A peer that knows the server's address and certificate beforehand needs no signalling: it chooses a name for both sides
and begins. That is how libp2p's webrtc-direct works. What the server's application does with it is its own affair.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Literal

import trio

from trio_webrtc.core.contract import Address
from trio_webrtc.shell.switchboard import Stranger

_UFRAG: Final = re.compile(r"[A-Za-z0-9+/]{4,256}")
"""RFC 8839 §5.4. What is no name is not passed on: applications write names into descriptions."""


@dataclass(frozen=True, slots=True, eq=False)
class FirstContact:
    """Somebody asks for a name that no peer connection of the server has.

    The names are such as may stand in a description (RFC 8839 §5.4), whatever was in the check.
    """

    local_ufrag: str
    """The name that was asked for."""
    remote_ufrag: str
    """What the sender calls itself."""
    remote_address: Address
    transport: Literal["udp", "tcp"]
    stranger: Stranger = field(repr=False)


class FirstContacts(trio.abc.ReceiveChannel[FirstContact]):
    """A bounded queue of those who knock; whoever knocks twice, be it from two addresses, stands in it once."""

    def __init__(self, max_waiting: int) -> None:
        self.dropped = 0
        """Those for whom there was no room, which come again, as peers repeat their checks; and those with names that
        are none."""
        self._max_waiting: Final = max_waiting
        self._waiting: dict[str, FirstContact] = {}
        self._is_closed = False
        self._is_unwanted = False
        self._readers = trio.lowlevel.ParkingLot()

    def put(self, contact: FirstContact) -> None:
        """Let somebody stand in the queue, or drop them."""
        is_named = _UFRAG.fullmatch(contact.local_ufrag) and _UFRAG.fullmatch(contact.remote_ufrag)
        has_room = contact.local_ufrag in self._waiting or len(self._waiting) < self._max_waiting
        if self._is_closed or not is_named or not has_room:
            self.dropped += 1
            return
        self._waiting[contact.local_ufrag] = contact
        self._readers.unpark()

    def forget(self, local_ufrag: str) -> None:
        """This name is known now: nobody has to be told of those who ask for it."""
        self._waiting.pop(local_ufrag, None)

    async def receive(self) -> FirstContact:
        """The one that has waited longest. Cancelling loses nothing.

        Raises trio.EndOfChannel when the server has ended, and trio.ClosedResourceError after `aclose()`.
        """
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._is_unwanted:
                raise trio.ClosedResourceError
            if self._is_closed:
                raise trio.EndOfChannel
            await self._readers.park()
        return self._waiting.pop(next(iter(self._waiting)))

    def end(self) -> None:
        """Nobody will knock any more."""
        self._is_closed = True
        self._waiting.clear()
        self._readers.unpark_all()

    async def aclose(self) -> None:
        """Take no more."""
        self._is_unwanted = True
        self.end()
        await trio.lowlevel.checkpoint()
