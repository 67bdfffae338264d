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

LONGEST_SILENCE: Final = 20.0
"""Seconds after which somebody who has not repeated a check is gone. A peer that waits for an answer pauses for 16 s at
most, between the last two of its requests (RFC 8489 §6.2.1, which begins with the 0.5 s of RFC 8445 §14.3)."""

FORMER_NAME_LIFETIME: Final = 60.0
"""Seconds for which checks may come that are for somebody who has left. A peer that has not heard the goodbye goes on
for the 30 s of RFC 7675 §5.1, and then for as long as an application takes to hear of it."""

MAX_FORMER_NAMES: Final = 16_384
"""Names of those who have left that a server remembers: more than it has peers, with the default of `max_peers`."""


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
    """A bounded queue of those who knock; whoever knocks twice, be it from two addresses, stands in it once.

    Who knocks no more leaves it; and who asks for somebody that has left is late, and no first contact.
    """

    def __init__(self, max_waiting: int) -> None:
        self.dropped = 0
        """Those for whom there was no room, which come again, as peers repeat their checks; and those with names that
        are none."""
        self._max_waiting: Final = max_waiting
        self._waiting: dict[str, FirstContact] = {}
        self._heard = _RecentNames(LONGEST_SILENCE, max_waiting)
        """Those of them that wait."""
        self._left = _RecentNames(FORMER_NAME_LIFETIME, MAX_FORMER_NAMES)
        """Those that peers of the server had until a while ago."""
        self._is_closed = False
        self._is_unwanted = False
        self._readers = trio.lowlevel.ParkingLot()

    def put(self, contact: FirstContact) -> None:
        """Let somebody stand in the queue, or drop them."""
        self._let_go_of_who_has_gone()
        name = contact.local_ufrag
        if name in self._left:
            return  # late
        is_named = _UFRAG.fullmatch(name) and _UFRAG.fullmatch(contact.remote_ufrag)
        has_room = name in self._waiting or len(self._waiting) < self._max_waiting
        if self._is_closed or not is_named or not has_room:
            self.dropped += 1
            return
        self._waiting[name] = contact
        self._heard.note(name)
        self._readers.unpark()

    def forget(self, local_ufrag: str) -> None:
        """This name is known now: nobody has to be told of those who ask for it."""
        self._waiting.pop(local_ufrag, None)
        self._heard.discard(local_ufrag)

    def take_leave(self, local_ufrag: str) -> None:
        """This name is known no more: who asks for it in the next while has not heard of that."""
        self._left.note(local_ufrag)

    async def receive(self) -> FirstContact:
        """The one that has waited longest, of those who still do. Cancelling loses nothing.

        Raises trio.EndOfChannel when the server has ended, and trio.ClosedResourceError after `aclose()`.
        """
        await trio.lowlevel.checkpoint()
        self._let_go_of_who_has_gone()
        while not self._waiting:
            if self._is_unwanted:
                raise trio.ClosedResourceError
            if self._is_closed:
                raise trio.EndOfChannel
            await self._readers.park()
        contact = next(iter(self._waiting.values()))
        self.forget(contact.local_ufrag)
        return contact

    def _let_go_of_who_has_gone(self) -> None:
        for name in self._heard.pop_old():
            self._waiting.pop(name, None)

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


class _RecentNames:
    """Names that were noted within so many seconds, by Trio's clock, and so many of them at most: the latest."""

    def __init__(self, lifetime: float, at_most: int) -> None:
        self._lifetime = lifetime
        self._at_most = at_most
        self._noted_at: dict[str, float] = {}
        """The one that was noted longest ago comes first."""

    def __contains__(self, name: str) -> bool:
        self.pop_old()
        return name in self._noted_at

    def note(self, name: str) -> None:
        self.pop_old()
        self.discard(name)
        if len(self._noted_at) == self._at_most:
            self._pop_first()
        self._noted_at[name] = trio.current_time()

    def discard(self, name: str) -> None:
        self._noted_at.pop(name, None)

    def pop_old(self) -> list[str]:
        """Take out those whose time is over."""
        names, latest = [], trio.current_time() - self._lifetime
        while self._noted_at and next(iter(self._noted_at.values())) <= latest:
            names.append(self._pop_first())
        return names

    def _pop_first(self) -> str:
        name = next(iter(self._noted_at))
        del self._noted_at[name]
        return name
