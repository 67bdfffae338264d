"""Gathering: which addresses of ours the peer should try (RFC 8445 §5.1).

Gathering is a stream: each candidate is told of as soon as it is known, and STUN servers are asked side by side, so
that one that does not answer delays nothing but the end. Sockets and names are opened and resolved elsewhere.
"""

import enum
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from trio_webrtc.core.contract import Address, Received, TimerTable, Via
from trio_webrtc.core.ice.addresses import may_ask, without_scope
from trio_webrtc.core.ice.base import Base, Bases
from trio_webrtc.core.ice.candidate import Candidate, Foundations, host_candidate, reflexive_candidate
from trio_webrtc.core.ice.events import GatheringCompleted, IceEvent, LocalCandidateGathered
from trio_webrtc.core.ice.outbox import Outbox
from trio_webrtc.core.ice.settings import IceSettings
from trio_webrtc.core.stun.message import (
    MAPPED_ADDRESS,
    XOR_MAPPED_ADDRESS,
    Message,
    MessageClass,
    Method,
    TransactionIds,
)
from trio_webrtc.core.stun.transaction import Transaction


@dataclass(frozen=True, slots=True)
class StunServer:
    """A server to ask, and the URL by which the application knows it."""

    address: Address
    url: str | None


class _Timer(enum.Enum):
    KEEPALIVE = enum.auto()


@dataclass(slots=True, eq=False)
class _Query:
    base: Base
    server: StunServer
    transaction: Transaction


class Gatherer:
    """Our bases, the STUN servers that are asked from them, and the candidates that come of it."""

    def __init__(
        self, *, outbox: Outbox, events: deque[IceEvent], transaction_ids: TransactionIds, settings: IceSettings
    ) -> None:
        self.bases = Bases()
        self.servers: list[StunServer] = []
        self.is_complete = False
        self.last_error: str | None = None
        """What the last STUN server that did not help has answered."""
        self._outbox = outbox
        self._events = events
        self._ids = transaction_ids
        self._settings = settings
        self._foundations = Foundations()
        self._ended = False
        self._queries: dict[bytes, _Query] = {}
        self._bindings: list[tuple[Base, StunServer]] = []
        self._timers: TimerTable[bytes | _Timer] = TimerTable()

    def candidates(self) -> Iterator[Candidate]:
        """The candidates of this generation, the peer-reflexive ones among them."""
        for base in self.bases:
            yield from base.candidates

    def add_base(self, base: Base, now: float) -> None:
        """Offer a socket to the peer, under the names that are announced for it if there are any."""
        self.bases.add(base)
        self._offer(base, now)

    def remove_base(self, via: Via) -> None:
        """A socket is gone."""
        base = self.bases.of(via)
        self.bases.remove(via)
        for transaction_id in [key for key, query in self._queries.items() if query.base is base]:
            del self._queries[transaction_id]
            self._timers.cancel(transaction_id)
        self._bindings = [(other, server) for other, server in self._bindings if other is not base]

    def add_server(self, server: StunServer, now: float) -> None:
        """Ask another server, from every base that can reach it."""
        self.servers.append(server)
        for base in self.bases:
            self._ask(base, server, now)

    def end(self) -> None:
        """There will be no more bases."""
        self._ended = True

    def restart(self, now: float) -> None:
        """A new generation: everything is found and told of again (RFC 8445 §9)."""
        self._queries.clear()
        self._bindings.clear()
        self._timers.clear()
        self.is_complete = False
        for base in self.bases:
            base.candidates.clear()
            self._offer(base, now)

    def add_peer_reflexive(self, base: Base, seen: Address) -> Candidate:
        """A candidate that only the peer's answers tell of; the peer knows it already (RFC 8445 §7.2.5.3.1)."""
        if len(base.candidates) >= self._settings.max_local_candidates:
            return base.candidates[0]
        candidate = reflexive_candidate(
            "prflx",
            seen,
            related=base.address,
            priority=base.priority_of("prflx"),
            foundation=self._foundations.of("prflx", base.address[0], *_transport_of(base)),
            tcp_type=base.tcp_type,
        )
        base.candidates.append(candidate)
        return candidate

    def take_answer(self, message: Message, received: Received) -> bool:
        """Whether that is a server's answer; if it is, use it."""
        query = self._queries.get(message.transaction_id)
        if query is None or (received.via, received.from_) != (query.base.via, query.server.address):
            return False
        del self._queries[message.transaction_id]
        self._timers.cancel(message.transaction_id)
        seen = message.get(XOR_MAPPED_ADDRESS) or message.get(MAPPED_ADDRESS)
        if message.message_class is MessageClass.ERROR:
            self._note(query, f"answered {message.error_text}")
        elif seen is None:
            self._note(query, "answered without an address")
        else:
            self._discovered(query.base, query.server, seen)
        return True

    def note_send_error(self, via: Via, to: Address, error: str) -> None:
        """A query could not be sent; it will be repeated all the same."""
        for query in self._queries.values():
            if (query.base.via, query.server.address) == (via, to):
                self._note(query, error)
                return

    def handle_timeout(self, now: float) -> None:
        """Repeat what is due to be repeated, or give up."""
        for timer in self._timers.pop_expired(now):
            if isinstance(timer, _Timer):
                self._keep_bindings()
            else:
                self._advance(timer, now)

    def next_timeout(self) -> float | None:
        """When something is to be repeated or given up."""
        return self._timers.earliest()

    def settle(self, *, still_searching: bool, now: float) -> None:
        """Tell of the end, once and when it has come; keep NAT bindings alive while they may be needed."""
        if not still_searching:
            self._timers.cancel(_Timer.KEEPALIVE)
        elif self._bindings:
            self._timers.set_if_off(_Timer.KEEPALIVE, now + self._settings.keepalive_interval)
        if self._ended and not self._queries and not self.is_complete:
            self.is_complete = True
            self._events.append(GatheringCompleted())

    def _offer(self, base: Base, now: float) -> None:
        for index, name in enumerate(base.names()):
            candidate = host_candidate(
                name,
                base.announced_port,
                # RFC 8445 §5.1.2.1: the priorities of one agent's candidates differ.
                priority=base.priority_of("host", below=index),
                foundation=self._foundations.of("host", base.address[0], *_transport_of(base)),
                tcp_type=base.tcp_type,
            )
            base.candidates.append(candidate)
            self._events.append(LocalCandidateGathered(candidate, None))
        for server in self.servers:
            self._ask(base, server, now)

    def _ask(self, base: Base, server: StunServer, now: float) -> None:
        if not base.is_udp or not may_ask(base.address, server.address):
            return
        transaction_id = self._ids.new()
        request = Message(
            method=Method.BINDING, message_class=MessageClass.REQUEST, transaction_id=transaction_id
        ).encode()
        schedule = self._settings.stun_server_retransmission
        self._queries[transaction_id] = _Query(base, server, Transaction(request, schedule=schedule, now=now))
        self._advance(transaction_id, now)

    def _advance(self, transaction_id: bytes, now: float) -> None:
        query = self._queries[transaction_id]
        request = query.transaction.poll_request(now)
        if request is None:
            del self._queries[transaction_id]
            self._note(query, "did not answer")
            return
        self._outbox.send(query.base.via, query.server.address, request)
        self._timers.set(transaction_id, query.transaction.due)

    def _keep_bindings(self) -> None:
        """An indication is enough to keep a NAT from forgetting (RFC 8445 §5.1.1.4)."""
        for base, server in self._bindings:
            indication = Message(
                method=Method.BINDING,
                message_class=MessageClass.INDICATION,
                transaction_id=self._ids.new(),
            )
            self._outbox.send(base.via, server.address, indication.encode())

    def _discovered(self, base: Base, server: StunServer, seen: Address) -> None:
        # RFC 8445 §5.1.3: an address that leads to the same base is redundant, be it from another server or our own.
        if base.candidate_at(seen) is not None or seen == (without_scope(base.address[0]), base.address[1]):
            return
        candidate = reflexive_candidate(
            "srflx",
            seen,
            related=base.address,
            priority=base.priority_of("srflx"),
            foundation=self._foundations.of("srflx", base.address[0], server.address[0]),
        )
        base.candidates.append(candidate)
        self._bindings.append((base, server))
        self._events.append(LocalCandidateGathered(candidate, server.url))

    def _note(self, query: _Query, error: str) -> None:
        host, port = query.server.address
        self.last_error = f"STUN server {query.server.url or f'{host}:{port}'} {error}"


def _transport_of(base: Base) -> tuple[str, ...]:
    """What makes foundations of TCP differ from those of UDP (RFC 8445 §5.1.1.3), and of one direction from another."""
    return () if base.tcp_type is None else ("tcp", base.tcp_type)
