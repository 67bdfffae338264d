"""Accepting connections from strangers, so that none of them can end it or take what others need.

A listening socket has one `Reception`. It accepts, and looks after each connection until somebody else does: what goes
wrong with one of them is that one's trouble, who says nothing in time goes, and those who wait are only so many. What
a connection has to say to be welcome is not known here; `attend` knows, and says so to the connection's `Guest`.
"""

import errno
import ipaddress
import logging
import math
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, fields
from typing import Final, Generic, Protocol, TypeVar

import trio

from trio_webrtc.core.contract import Address
from trio_webrtc.errors import PeerError, UsageError
from trio_webrtc.shell.reporting import Reporter
from trio_webrtc.shell.unwrapping import UnwrappingNursery

_logger = logging.getLogger(__name__)

_T_co = TypeVar("_T_co", bound="Accepted", covariant=True)
_T = TypeVar("_T", bound="Accepted")

LISTENER_LOST: Final = frozenset((errno.EBADF, errno.ENOTSOCK, errno.EINVAL))
"""Errors of accept(2) which say that the listening socket itself is of no use any more."""

EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ENOSPC))
"""Errors which say that the process or the system has no room for one more connection now: those of accept(2), and of
epoll_ctl(2) on the way there."""

CONNECTION_LOST: Final = frozenset(
    number
    for name in (
        *("ECONNRESET", "ECONNABORTED", "ECONNREFUSED", "EPIPE", "ENOTCONN", "ESHUTDOWN", "ETIMEDOUT"),
        *("EHOSTDOWN", "EHOSTUNREACH", "ENETDOWN", "ENETRESET", "ENETUNREACH"),
    )
    if (number := getattr(errno, name, None)) is not None
)
"""Errors that say of a connection that it is over. All others of `attend` are taken for faults of a program."""

EXHAUSTION_PAUSE: Final = 0.25
"""Seconds from one attempt to the next while there is no room: the listener is readable all along, and no news."""

MAX_FAILURES_IN_A_ROW: Final = 100
"""How many connections may fail in being accepted, one right after the other, before each of them costs a pause."""


class Accepted(Protocol):
    """A connection that has been accepted."""

    @property
    def remote_address(self) -> Address:
        """The peer's address as accept(2) told it; reading it never raises."""

    def close(self) -> None:
        """Free it. Harmless when it is freed already."""


class Listener(Protocol[_T_co]):
    """A listening socket."""

    @property
    def local_address(self) -> Address:
        """The address that it listens at."""

    async def accept(self) -> _T_co:
        """Wait for a connection.

        Raises OSError as accept(2) fails, and ClosedResourceError once it is closed.
        """

    def close(self) -> None:
        """Free it. Harmless when it is freed already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptionLimits:
    """How much strangers may have of a server.

    An address is one IPv4 address or one IPv6 network of 64 bits, of which anybody has as many addresses as he likes.
    Raises UsageError for a limit that is not positive.

    Args:
        deadline: seconds that a connection has to prove itself.
        max_waiting: how many may be about to, at one time.
        max_waiting_per_address: how many of these may come from one address.
        max_connections: how many there may be that have proved themselves.
        max_connections_per_address: how many of these may come from one address.
    """

    deadline: float = 5.0
    max_waiting: int = 1024
    max_waiting_per_address: int = 64
    max_connections: int | None = None
    max_connections_per_address: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not value > 0:
                raise UsageError(f"ReceptionLimits: {field.name}={value}: give a positive number")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptionStats:
    """What a reception has to do, and has done."""

    waiting: int
    """Connections that have yet to prove themselves."""
    connections: int
    """Connections that have proved themselves, and are open."""
    accepted: int
    """How many have ever been accepted."""
    refused: Mapping[str, int]
    """How many were not welcome or did not last, by reason."""
    exhausted: bool
    """Whether it accepts nothing at present, for lack of descriptors or memory."""


class RefusedError(Exception):
    """What `attend` raises to send a connection away. The reason is one of a few words, by which they are counted."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class FaultError(Exception):
    """What `attend` raises for a fault of the program's, which may look as if the connection had been lost."""

    def __init__(self, fault: Exception) -> None:
        super().__init__(repr(fault))
        self.fault = fault


class Guest:
    """One accepted connection, in the eyes of its reception."""

    def __init__(self, remote_address: Address, register: "_Register", deadline: float) -> None:
        self.remote_address = remote_address
        self._register = register
        self._neighbourhood = _neighbourhood(remote_address[0])
        self._scope = trio.CancelScope(deadline=deadline)
        self._dismissed_for: str | None = None
        self._handed_over = False

    def admit(self) -> None:
        """Say that it has proved itself: it has no deadline any more, and no place among those who wait.

        From now on it counts as a connection; it is closed when `attend` returns. Harmless when said twice.

        Raises:
            RefusedError: there are as many connections as there may be, in all or from its address.
        """
        if self._dismissed_for is not None:  # another has its place already
            raise RefusedError(self._dismissed_for)
        self._register.admit(self)
        self._scope.deadline = math.inf

    def hand_over(self) -> None:
        """Admit it, and say that somebody else will close it and then call `leave()`; `attend` may return.

        Raises:
            RefusedError: there are as many connections as there may be, in all or from its address.
        """
        self.admit()
        self._handed_over = True

    def leave(self) -> None:
        """Say that it is closed, and counts no longer. Harmless when said twice."""
        self._register.leave(self)


class _Register:
    """Who waits, who has been admitted, and from where."""

    def __init__(self, limits: ReceptionLimits) -> None:
        self.waiting = _Crowd(limits.max_waiting, limits.max_waiting_per_address)
        self.admitted = _Crowd(limits.max_connections, limits.max_connections_per_address)

    def enter(self, guest: Guest) -> Guest | None:
        """Give a newcomer a place among those who wait; the one who loses it, if nobody's was free, is returned."""
        loser = self.waiting.first_in_the_way_of(guest)
        if loser is not None:
            self.waiting.remove(loser)
        self.waiting.add(guest)
        return loser

    def admit(self, guest: Guest) -> None:
        if guest in self.waiting:
            if self.admitted.first_in_the_way_of(guest) is not None:
                raise RefusedError("too many connections")
            self.waiting.remove(guest)
            self.admitted.add(guest)

    def leave(self, guest: Guest) -> None:
        self.waiting.remove(guest)
        self.admitted.remove(guest)


class _Crowd:
    """Guests in the order of their coming, bounded in all and per address."""

    def __init__(self, most: int | None, most_per_address: int | None) -> None:
        self._most = math.inf if most is None else most
        self._most_per_address = math.inf if most_per_address is None else most_per_address
        self._all: dict[Guest, None] = {}
        self._from: dict[str, dict[Guest, None]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, guest: Guest) -> bool:
        return guest in self._all

    def first_in_the_way_of(self, newcomer: Guest) -> Guest | None:
        """Who has been here longest of those who have to go before there is a place for one more."""
        neighbours = self._from.get(newcomer._neighbourhood, {})
        if len(neighbours) >= self._most_per_address:
            return next(iter(neighbours))
        return next(iter(self._all)) if len(self._all) >= self._most else None

    def add(self, guest: Guest) -> None:
        self._all[guest] = None
        self._from.setdefault(guest._neighbourhood, {})[guest] = None

    def remove(self, guest: Guest) -> None:
        """Harmless when it is not here."""
        if guest in self._all:
            del self._all[guest]
            neighbours = self._from[guest._neighbourhood]
            del neighbours[guest]
            if not neighbours:
                del self._from[guest._neighbourhood]


@dataclass(slots=True)
class _Exhaustion:
    """A time without room for more connections."""

    began: float
    last_seen: float


class Reception(Generic[_T]):
    """Accepts connections and looks after each until it has proved itself, or for as long as it lasts.

    When too many wait, the one that has waited longest makes room: the newcomer may be better, and a flood of silent
    connections then shuts nobody out for as long as the deadline.

    Args:
        name: what log lines begin with, such as "signalling server".
        limits: how much strangers may have.
    """

    def __init__(self, *, name: str, limits: ReceptionLimits) -> None:
        self._register = _Register(limits)
        self._limits = limits
        self._reporter = Reporter(_logger, name)
        self._accepted = 0
        self._refused: Counter[str] = Counter()
        self._exhaustion: _Exhaustion | None = None

    @property
    def stats(self) -> ReceptionStats:
        """What there is to do at present, and what was done."""
        return ReceptionStats(
            waiting=len(self._register.waiting),
            connections=len(self._register.admitted),
            accepted=self._accepted,
            refused=dict(self._refused),
            exhausted=self._is_exhausted,
        )

    @property
    def _is_exhausted(self) -> bool:
        """Whether the last attempt failed for lack of room; where nobody comes any more, nothing tells of new room."""
        return self._exhaustion is not None and trio.current_time() < self._exhaustion.last_seen + 2 * EXHAUSTION_PAUSE

    @trio.lowlevel.enable_ki_protection
    async def serve(self, listener: Listener[_T], attend: Callable[[_T, Guest], Awaitable[None]]) -> None:
        """Accept connections, and run `attend` for each in a task of its own.

        Returns when the listener is closed and the last task has ended. Any number of listeners may be served at one
        time; they share the limits. What `attend` raises ends its own connection only. Cancelling it cancels them all.

        Raises:
            OSError: the listening socket is lost (EBADF, ENOTSOCK, EINVAL).
        """
        async with UnwrappingNursery() as nursery:
            failures_in_a_row = 0
            while True:
                try:
                    connection = await listener.accept()
                except trio.ClosedResourceError:
                    break
                except OSError as error:
                    failures_in_a_row += 1
                    await self._bear(error, listener, failures_in_a_row)
                else:
                    failures_in_a_row = 0
                    self._accepted += 1
                    self._note_room()
                    nursery.start_soon(self._look_after, connection, self._welcome(connection), attend)

    async def _bear(self, error: OSError, listener: Listener[_T], failures_in_a_row: int) -> None:
        """Do what an error of accept(2) calls for: wait for room, or go on at once, or give up."""
        if error.errno in LISTENER_LOST:
            text = f"the socket that listens at {_text(listener.local_address)} is lost: {error}"
            self._reporter.report("listener lost", logging.ERROR, text)
            raise error
        if error.errno in EXHAUSTED:
            self._note_exhaustion(error)
            await trio.sleep(EXHAUSTION_PAUSE)
            return
        # An error that was pending on the new connection, or of a firewall: accept(2) says that a server goes on.
        self._refuse("accept failed", f"a connection could not be accepted: {error}")
        if failures_in_a_row < MAX_FAILURES_IN_A_ROW:
            await trio.lowlevel.checkpoint()
        else:
            await trio.sleep(EXHAUSTION_PAUSE)

    def _note_exhaustion(self, error: OSError) -> None:
        now = trio.current_time()
        if self._exhaustion is None:
            self._exhaustion = _Exhaustion(began=now, last_seen=now)
            kept = f"connections kept: {len(self._register.admitted)}"
            text = f"accepts nothing until there is room again ({os.strerror(error.errno or 0)}); {kept}"
            self._reporter.report("exhausted", logging.WARNING, text)
        self._exhaustion.last_seen = now

    def _note_room(self) -> None:
        if self._exhaustion is not None:
            lasted = self._exhaustion.last_seen - self._exhaustion.began
            self._exhaustion = None
            self._reporter.report("recovered", logging.WARNING, f"accepts again; there was no room for {lasted:.1f} s")

    def _welcome(self, connection: _T) -> Guest:
        """Give a connection a place among those who wait, if need be another's."""
        deadline = trio.current_time() + self._limits.deadline
        guest = Guest(connection.remote_address, self._register, deadline)
        loser = self._register.enter(guest)
        if loser is not None:
            loser._dismissed_for = "too many waiting"
            loser._scope.cancel()
        return guest

    @trio.lowlevel.enable_ki_protection
    async def _look_after(self, connection: _T, guest: Guest, attend: Callable[[_T, Guest], Awaitable[None]]) -> None:
        """Run `attend`, and let nothing out of it but what is everybody's concern."""
        try:
            with guest._scope:
                await attend(connection, guest)
            if guest._scope.cancelled_caught:
                reason = guest._dismissed_for or "deadline"
                self._refuse(reason, f"{_text(guest.remote_address)} did not prove itself: {reason}")
        except* Exception as group:
            self._blame(guest, group)
        finally:
            if not guest._handed_over:
                connection.close()
                guest.leave()

    def _blame(self, guest: Guest, group: ExceptionGroup[Exception]) -> None:
        """Write down why a connection did not last."""
        address, error = _text(guest.remote_address), _only(group)
        if is_fault := isinstance(error, FaultError):
            error = _only(error.fault)
        match error:
            case RefusedError():
                self._refuse(error.reason, f"{address} was refused: {error}")
            case PeerError():
                self._refuse("lost", f"the connection of {address} was lost: {error!r}")
            case _ if not is_fault and _tells_of_loss(error):
                self._refuse("lost", f"the connection of {address} was lost: {error!r}")
            case _:
                self._refused["failed"] += 1
                text = f"what was done for {address} failed: {error!r}"
                self._reporter.report("failed", logging.ERROR, text, error=error)

    def _refuse(self, reason: str, text: str) -> None:
        self._refused[reason] += 1
        self._reporter.report(reason, logging.INFO, text)


def _tells_of_loss(error: BaseException) -> bool:
    match error:
        case trio.BrokenResourceError() | trio.ClosedResourceError() | trio.EndOfChannel():
            return True
        case OSError(errno=number):
            return number in CONNECTION_LOST
        case _:
            return False


def _only(group: BaseException) -> BaseException:
    """The one exception of a group, or the group itself."""
    while isinstance(group, BaseExceptionGroup) and len(group.exceptions) == 1:
        group = group.exceptions[0]
    return group


def _neighbourhood(host: str) -> str:
    """What limits per address count together: an IPv4 address, or an IPv6 network such as one subscriber has."""
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv4Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), 64), strict=False))


def _text(address: Address) -> str:
    host, port = address
    return f"{host} port {port}"
