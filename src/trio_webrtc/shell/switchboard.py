"""Finds the peer on ports that many share.

A check names whom it is for (the USERNAME of RFC 8445 §7.2.2), an answer whose question it answers (agents begin their
transaction ids with a prefix of their own), and all else comes from an address whose owner is known, because an
authenticated check or answer came from there. An authenticated check also moves an address to a new owner.

Whatever fits nowhere is counted and dropped: a flood of junk costs a lookup or two a datagram, and one of checks that
name somebody an HMAC.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import trio

from trio_webrtc.core.contract import Address, Received, Via, split_run
from trio_webrtc.core.stun.peeking import answered_transaction, is_binding_request, username_of
from trio_webrtc.shell.address_book import AddressBook, Place
from trio_webrtc.shell.path import Path


class Stranger(NamedTuple):
    """A check for a name that nobody here has."""

    local_ufrag: str
    remote_ufrag: str
    check: Received


class SeatedCore(Protocol):
    """What a switchboard needs of a core."""

    @property
    def transaction_prefix(self) -> bytes:
        """What the ids of its STUN requests begin with."""

    def authenticates(self, datagram: bytes) -> bool:
        """Whether this is a check that knows one of its passwords."""

    def is_validated(self, via: Via, address: Address) -> bool:
        """Whether the peer has proved itself from there."""

    def has_answered(self) -> bool:
        """Whether the peer has shown that it hears us."""

    def forget_address(self, via: Via, address: Address, now: float) -> None:
        """Learn that somebody else has proved itself from there."""

    def add_connection(self, via: Via, base_via: Via, remote_address: Address, now: float) -> None:
        """Learn of a connection that the peer has made to a listening base."""


@dataclass(slots=True)
class Counters:
    """Datagrams that belonged to nobody."""

    unknown_ufrags: int = 0
    """Checks for a name that nobody has."""
    wrong_passwords: int = 0
    """Checks for somebody that prove nothing, and did not come from that peer's address."""
    unknown_addresses: int = 0
    """Everything else that came from where nobody is known, junk for the most part."""


class Seat:
    """One peer's place at a switchboard, until it is closed.

    Args:
        switchboard: Where it is.
        path: The peer's, by whose guard its core is asked, so that a bug in one core is nobody else's.
        core: The peer's.
        is_strangers: Whether the peer has chosen the password itself. It proves nothing then, and takes an address away
            only from one of its kind that has not answered.
    """

    def __init__(self, switchboard: "Switchboard", path: Path, core: SeatedCore, *, is_strangers: bool) -> None:
        self.path = path
        self.core = core
        self.is_strangers = is_strangers
        self.prefix = core.transaction_prefix
        self.ufrags: Sequence[str] = ()
        self._switchboard = switchboard

    def know(self, ufrags: Sequence[str]) -> None:
        """From now on the peer may ask for this one by these names, and by no others."""
        self._switchboard.rename(self, ufrags)

    def authenticates(self, datagram: bytes) -> bool:
        """Whether this is a check that knows one of our passwords."""
        return self.path.ask(self.core.authenticates, datagram) is True

    def is_validated(self, place: Place) -> bool:
        """Whether the peer has proved itself from there, as far as our core remembers."""
        return self.path.ask(self.core.is_validated, *place) is True

    def gives_way(self) -> bool:
        """Whether a stranger may have our peer's addresses: it is one itself, and they may be forged."""
        return self.is_strangers and not self.path.ask(self.core.has_answered)

    def close(self) -> None:
        """Leave: what comes from now on is for nobody. Harmless when repeated."""
        self._switchboard.remove(self)


class Switchboard:
    """Knows the peers on some ports by their names and addresses. A `Receiver` for each of the ports."""

    def __init__(self, on_stranger: Callable[[Stranger], None]) -> None:
        self.counters = Counters()
        self._on_stranger = on_stranger
        self._seats: dict[Seat, None] = {}
        self._by_prefix: dict[bytes, tuple[Seat, ...]] = {}
        """Nearly always one seat each; but two peers that draw the same four bytes are both to hear their answers."""
        self._by_ufrag: dict[str, Seat] = {}
        self._places: AddressBook[Seat] = AddressBook()
        self._awaited: dict[str, trio.lowlevel.ParkingLot] = {}

    @property
    def ufrags(self) -> Sequence[str]:
        """The names by which somebody here may be asked for."""
        return tuple(self._by_ufrag)

    @property
    def addresses(self) -> Sequence[Address]:
        """The peers' addresses, each as often as there are ways to it."""
        return tuple(address for _, address in self._places.owners)

    # Who is there.

    def seat(self, path: Path, core: SeatedCore, *, is_strangers: bool = False) -> Seat:
        """Give a peer a place. It is reached when it has said by which names it may be asked for."""
        seat = Seat(self, path, core, is_strangers=is_strangers)
        self._seats[seat] = None
        self._by_prefix[seat.prefix] = (*self._by_prefix.get(seat.prefix, ()), seat)
        return seat

    def seat_of(self, ufrag: str) -> Seat | None:
        """Whom this name is for."""
        return self._by_ufrag.get(ufrag)

    async def wait_for(self, ufrag: str) -> Seat:
        """Wait until this name is somebody's. Cancelling changes nothing."""
        await trio.lowlevel.checkpoint()
        while (seat := self._by_ufrag.get(ufrag)) is None:
            lot = self._awaited.setdefault(ufrag, trio.lowlevel.ParkingLot())
            try:
                await lot.park()
            finally:
                if not lot and self._awaited.get(ufrag) is lot:
                    del self._awaited[ufrag]
        return seat

    def announce(self, stranger: Stranger) -> None:
        """Tell of a check for a name that nobody has."""
        self.counters.unknown_ufrags += 1
        self._on_stranger(stranger)

    def rename(self, seat: Seat, ufrags: Sequence[str]) -> None:
        """See `Seat.know`."""
        for known in seat.ufrags:
            if self._by_ufrag.get(known) is seat:
                del self._by_ufrag[known]
        seat.ufrags = tuple(ufrags)
        for new in ufrags:
            self._by_ufrag.setdefault(new, seat)
            if (awaited := self._awaited.get(new)) is not None:
                awaited.unpark_all()

    def remove(self, seat: Seat) -> None:
        """See `Seat.close`."""
        if seat not in self._seats:
            return
        del self._seats[seat]
        self.rename(seat, ())
        for place in self._places.of(seat):
            self._places.remove(place)
        others = tuple(other for other in self._by_prefix.pop(seat.prefix) if other is not seat)
        if others:
            self._by_prefix[seat.prefix] = others

    # What arrives.

    @trio.lowlevel.enable_ki_protection
    def receive(self, batch: Sequence[Received]) -> None:
        """Give everybody what is theirs, in the order in which it came. Never waits."""
        deliveries: dict[Seat, list[Received]] = {}
        owners = self._places.owners
        for received in batch:
            via, from_, data, segment_size = received
            owner = owners.get((via, from_))
            if owner is not None and not _may_be_stun(data, segment_size):
                deliveries.setdefault(owner, []).append(received)
                continue
            for datagram in split_run(data, segment_size):
                one = received if segment_size is None else Received(via, from_, datagram)
                for seat in self._find(one, owners.get((via, from_))):
                    deliveries.setdefault(seat, []).append(one)
        for seat, theirs in deliveries.items():
            seat.path.receive(theirs)
            self._learn_places(seat, theirs)

    @trio.lowlevel.enable_ki_protection
    def retire(self, via: Via) -> None:
        """Tell everybody that a port is lost."""
        for seat in list(self._seats):
            seat.path.retire(via)
        for place in [place for place in self._places.owners if place[0] is via]:
            self._places.remove(place)

    def _find(self, received: Received, owner: Seat | None) -> tuple[Seat, ...]:
        """Whom a datagram is for, judged by what it says, and else by where it comes from."""
        data = received.data
        if is_binding_request(data):
            username = username_of(data)
            if username is not None:
                return self._find_by_name(username, received, owner)
        elif data and data[0] <= 3:
            transaction_id = answered_transaction(data)
            if transaction_id is not None and (askers := self._by_prefix.get(transaction_id[:4])) is not None:
                return askers
        if owner is None:
            self.counters.unknown_addresses += 1
            return ()
        return (owner,)  # who counts it, or tells the sender what is wrong with it

    def _find_by_name(self, username: tuple[str, str], received: Received, owner: Seat | None) -> tuple[Seat, ...]:
        """Whom a check is for. One from elsewhere than its peer's own address has to know the password.

        Who knows a name and no more is done with here, and does not reach the peer that has it. Departs from RFC 8489
        §9.1.3, which has them answered: that would help floods, and nobody who is right.
        """
        seat = self._by_ufrag.get(username[0])
        if seat is None:
            self.announce(Stranger(*username, received))
            return ()
        if seat is not owner:
            if not seat.authenticates(received.data):
                self.counters.wrong_passwords += 1
                return ()
            if owner is None or not seat.is_strangers or owner.gives_way():
                self._move((received.via, received.from_), owner, seat)
        return (seat,)

    # Whose addresses are whose.

    def _move(self, place: Place, before: Seat | None, seat: Seat) -> None:
        """An authenticated check came from there: it is this peer's address now."""
        self._places.assign(place, seat)
        if before is not None:
            before.path.tell(before.core.forget_address, *place, trio.current_time())

    def _learn_places(self, seat: Seat, batch: Sequence[Received]) -> None:
        """An answer may have proved an address; and what is proved no more is forgotten."""
        spoken_from = {(via, from_) for via, from_, data, _ in batch if data and data[0] <= 3}
        if not spoken_from or seat not in self._seats:
            return
        for place in spoken_from:
            if place not in self._places.owners and seat.is_validated(place):
                self._places.assign(place, seat)
        for place in self._places.of(seat):
            if not seat.is_validated(place):
                self._places.remove(place)


def _may_be_stun(data: bytes, segment_size: int | None) -> bool:
    """Whether there is a datagram in a run that is not for whoever owns the address, as a matter of course."""
    if segment_size is None:
        return not data or data[0] <= 3
    return any(data[at] <= 3 for at in range(0, len(data), segment_size))
