"""Finds the peer on ports that many share.

A check names whom it is for (the USERNAME of RFC 8445 §7.2.2), an answer whose question it answers (agents begin their
transaction ids with a prefix of their own), and all else comes from an address whose owner is known, because an
authenticated check or answer came from there. An authenticated check also moves an address to a new owner.

Whatever fits nowhere is counted and dropped: a flood of junk costs a lookup or two a datagram.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import trio

from trio_webrtc.core.contract import Address, MalformedPacketError, Received, Via, split_run
from trio_webrtc.core.ice import Credentials
from trio_webrtc.core.stun import Message
from trio_webrtc.core.stun.peeking import answered_transaction, is_binding_request, username_of
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

    def is_validated(self, via: Via, address: Address) -> bool:
        """Whether the peer has proved itself from there."""

    def forget_address(self, via: Via, address: Address, now: float) -> None:
        """Learn that somebody else has proved itself from there."""

    def add_connection(self, via: Via, base_via: Via, remote_address: Address, now: float) -> None:
        """Learn of a connection that the peer has made to a listening base."""


@dataclass(slots=True)
class Counters:
    """Datagrams that belonged to nobody."""

    unknown_ufrags: int = 0
    """Checks for a name that nobody has."""
    unknown_addresses: int = 0
    """Everything else that came from where nobody is known, junk for the most part."""


class Seat:
    """One peer's place at a switchboard, until it is closed."""

    def __init__(self, switchboard: "Switchboard", path: Path, core: SeatedCore) -> None:
        self.path = path
        self.core = core
        self.is_strangers = False
        """Whether the peer has chosen the password itself. It proves nothing then, and takes nobody's address away."""
        self.credentials: Sequence[Credentials] = ()
        self.addresses: dict[tuple[Via, Address], None] = {}
        self._switchboard = switchboard

    def know(self, credentials: Sequence[Credentials]) -> None:
        """From now on the peer may ask for this one by these names, and by no others."""
        self._switchboard.rename(self, credentials)

    def authenticates(self, datagram: bytes) -> bool:
        """Whether this is a check that knows one of our passwords."""
        try:
            check = Message.decode(datagram)
        except MalformedPacketError:
            return False
        return any(check.is_signed_with(own.key) for own in self.credentials)

    def close(self) -> None:
        """Leave: what comes from now on is for nobody. Harmless when repeated."""
        self._switchboard.remove(self)


class Switchboard:
    """Knows the peers on some ports by their names and addresses. A `Receiver` for each of the ports."""

    def __init__(self, on_stranger: Callable[[Stranger], None]) -> None:
        self.counters = Counters()
        self._on_stranger = on_stranger
        self._seats: dict[Seat, None] = {}
        self._by_prefix: dict[bytes, Seat] = {}
        self._by_ufrag: dict[str, Seat] = {}
        self._by_address: dict[tuple[Via, Address], Seat] = {}
        self._awaited: dict[str, trio.lowlevel.ParkingLot] = {}

    @property
    def ufrags(self) -> Sequence[str]:
        """The names by which somebody here may be asked for."""
        return tuple(self._by_ufrag)

    @property
    def addresses(self) -> Sequence[Address]:
        """The peers' addresses, each as often as there are ways to it."""
        return tuple(address for _, address in self._by_address)

    # Who is there.

    def seat(self, path: Path, core: SeatedCore) -> Seat:
        """Give a peer a place. It is reached when it has said by which names it may be asked for."""
        seat = Seat(self, path, core)
        self._seats[seat] = None
        self._by_prefix.setdefault(core.transaction_prefix, seat)
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

    def rename(self, seat: Seat, credentials: Sequence[Credentials]) -> None:
        """See `Seat.know`."""
        for known in seat.credentials:
            if self._by_ufrag.get(known.ufrag) is seat:
                del self._by_ufrag[known.ufrag]
        seat.credentials = tuple(credentials)
        for new in credentials:
            self._by_ufrag.setdefault(new.ufrag, seat)
            if (awaited := self._awaited.get(new.ufrag)) is not None:
                awaited.unpark_all()

    def remove(self, seat: Seat) -> None:
        """See `Seat.close`."""
        self.rename(seat, ())
        for key in seat.addresses:
            del self._by_address[key]
        seat.addresses.clear()
        self._seats.pop(seat, None)
        if self._by_prefix.get(seat.core.transaction_prefix) is seat:
            del self._by_prefix[seat.core.transaction_prefix]

    # What arrives.

    @trio.lowlevel.enable_ki_protection
    def receive(self, batch: Sequence[Received]) -> None:
        """Give everybody what is theirs, in the order in which it came. Never waits."""
        deliveries: dict[Seat, list[Received]] = {}
        for received in batch:
            via, from_, data, segment_size = received
            owner = self._by_address.get((via, from_))
            if owner is not None and not _may_be_stun(data, segment_size):
                deliveries.setdefault(owner, []).append(received)
                continue
            for datagram in split_run(data, segment_size):
                one = received if segment_size is None else Received(via, from_, datagram)
                seat = self._find(one, self._by_address.get((via, from_)))
                if seat is not None:
                    deliveries.setdefault(seat, []).append(one)
        for seat, theirs in deliveries.items():
            seat.path.receive(theirs)
            self._learn_addresses(seat, theirs)

    @trio.lowlevel.enable_ki_protection
    def retire(self, via: Via) -> None:
        """Tell everybody that a port is lost."""
        for seat in list(self._seats):
            seat.path.retire(via)

    def _find(self, received: Received, owner: Seat | None) -> Seat | None:
        """Whom a datagram is for, judged by what it says, and else by where it comes from."""
        data = received.data
        if is_binding_request(data):
            return self._find_by_username(received, owner)
        transaction_id = answered_transaction(data) if data and data[0] <= 3 else None
        seat = owner if transaction_id is None else self._by_prefix.get(transaction_id[:4], owner)
        if seat is None:
            self.counters.unknown_addresses += 1
        return seat

    def _find_by_username(self, received: Received, owner: Seat | None) -> Seat | None:
        username = username_of(received.data)
        if username is None:
            self.counters.unknown_addresses += owner is None
            return owner  # who counts it, or tells the sender what is wrong with it
        seat = self._by_ufrag.get(username[0])
        if seat is None:
            self.counters.unknown_ufrags += 1
            self._on_stranger(Stranger(*username, received))
        elif seat is not owner and (owner is None or not seat.is_strangers) and seat.authenticates(received.data):
            self._move((received.via, received.from_), seat)
        return seat

    # Whose addresses are whose.

    def _move(self, key: tuple[Via, Address], seat: Seat) -> None:
        """An authenticated check came from there: it is this peer's address now."""
        before = self._by_address.get(key)
        self._by_address[key] = seat
        seat.addresses[key] = None
        if before is not None and before is not seat:
            del before.addresses[key]
            before.path.tell(before.core.forget_address, *key, trio.current_time())

    def _learn_addresses(self, seat: Seat, batch: Sequence[Received]) -> None:
        """An answer may have proved an address; and what is proved no more is forgotten."""
        spoken_from = {(via, from_) for via, from_, data, _ in batch if data and data[0] <= 3}
        if not spoken_from or seat not in self._seats:
            return
        for key in spoken_from:
            if key not in self._by_address and seat.core.is_validated(*key):
                self._by_address[key] = seat
                seat.addresses[key] = None
        for key in [known for known in seat.addresses if not seat.core.is_validated(*known)]:
            del seat.addresses[key], self._by_address[key]


def _may_be_stun(data: bytes, segment_size: int | None) -> bool:
    """Whether there is a datagram in a run that is not for whoever owns the address, as a matter of course."""
    if segment_size is None:
        return not data or data[0] <= 3
    return any(data[at] <= 3 for at in range(0, len(data), segment_size))
