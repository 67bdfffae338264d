"""What agents of both kinds have in common: sockets and candidates, a role, and a way to be spoken with."""

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence
from typing import ClassVar

from trio_webrtc.core.contract import Address, MalformedPacketError, Received, Transmit, Via
from trio_webrtc.core.ice.answering import Accepted, Refused, answer_request, authenticate, refuse_stranger
from trio_webrtc.core.ice.base import Base, BaseKind
from trio_webrtc.core.ice.candidate import Candidate
from trio_webrtc.core.ice.clock import FairClock
from trio_webrtc.core.ice.counters import Counters
from trio_webrtc.core.ice.credentials import Credentials
from trio_webrtc.core.ice.events import AgentState, CredentialsInUse, IceEvent, StateChanged
from trio_webrtc.core.ice.gathering import Gatherer
from trio_webrtc.core.ice.outbox import Outbox
from trio_webrtc.core.ice.ration import Ration
from trio_webrtc.core.ice.role import Role
from trio_webrtc.core.ice.settings import IceSettings
from trio_webrtc.core.stun.message import Message, MessageClass, Method, TransactionIds
from trio_webrtc.core.stun.peeking import answered_transaction, is_binding_request


class Endpoint(ABC):
    """One end of the way to a peer. What kind of agent it is shows in what it does with the peer's checks."""

    is_lite: ClassVar[bool]

    def __init__(self, *, role: Role, rng: random.Random, settings: IceSettings | None) -> None:
        self.counters = Counters()
        self.state = AgentState.NEW
        self._settings = settings or IceSettings()
        self._rng = rng
        self._role = role
        self._transaction_ids = TransactionIds(rng)
        self._outbox = Outbox(limit=self._settings.max_queued, counters=self.counters)
        self._refusals = Ration(self._settings.max_refusals)
        self._events: deque[IceEvent] = deque()
        self._clock = FairClock()
        self._gatherer = Gatherer(
            outbox=self._outbox, events=self._events, transaction_ids=self._transaction_ids, settings=self._settings
        )
        self._told_credentials: tuple[Credentials, ...] = ()

    @property
    def controlling(self) -> bool:
        """Whether it is we who nominate."""
        return self._role.controlling

    @property
    def transaction_prefix(self) -> bytes:
        """Four bytes with which the ids of all our requests begin, so that answers find us on a shared port."""
        return self._transaction_ids.prefix

    @property
    def local_candidates(self) -> tuple[Candidate, ...]:
        """All of this generation, also those that the peer is not told of (peer-reflexive)."""
        return tuple(self._gatherer.candidates())

    def add_local_base(
        self,
        via: Via,
        address: Address,
        now: float,
        *,
        local_preference: int = 65535,
        announced: Sequence[str] = (),
        kind: BaseKind = BaseKind.UDP,
        beside_own: bool = False,
    ) -> None:
        """Offer a socket to the peer: under its own address, or those announced for it, or both (`beside_own`).

        Active TCP bases are left alone by a lite agent.
        """
        if self._is_closed or via in self._gatherer.bases:
            return
        now = self._read_clock(now)
        base = self._new_base(
            via,
            address,
            kind=kind,
            local_preference=local_preference,
            announced=announced,
            beside_own=beside_own,
        )
        self._take_up(base, now)
        self._settle(now)

    def end_of_local_bases(self, now: float) -> None:
        """There will be no more: gathering is complete when the STUN servers have answered, or had their time."""
        if self._is_closed:
            return
        self._gatherer.end()
        self._settle(self._read_clock(now))

    # In

    def receive_datagrams(self, batch: Sequence[Received], now: float) -> None:
        """Take STUN datagrams. Never raises for their contents."""
        if self._is_closed:
            return
        now = self._read_clock(now)
        for received in batch:
            if not self._listens_on(received.via):
                self.counters.unexpected += 1
                continue
            try:
                if is_binding_request(received.data):
                    self._take_check(received, now)
                else:
                    self._take_other(received, now)
            except MalformedPacketError:
                self.counters.malformed += 1
        self._settle(now)

    def authenticates(self, datagram: bytes) -> bool:
        """Whether this is a check that proves to know a password of ours. It changes nothing."""
        return is_binding_request(datagram) and authenticate(datagram, self._credentials) is not None

    def _take_check(self, received: Received, now: float) -> None:
        ours = authenticate(received.data, self._credentials)
        if ours is None:
            self._refuse_stranger(received, now)
            return
        answer = answer_request(Message.decode(received.data), received, ours, self._role)
        self._outbox.send(received.via, received.from_, answer.response)
        if isinstance(answer, Refused):
            self.counters.refused += 1
        else:
            self._welcome(answer, now)

    def _refuse_stranger(self, received: Received, now: float) -> None:
        """Say so, if there is nothing better to say.

        Departs from RFC 8489 §9.1.3, which has every one of them answered. A refusal is unsigned, so that who asks in
        earnest must not believe it (§9.1.4) and at most learns why nothing works. Anybody who knows our name can ask
        for thousands of them, and they must not stand before what our peer is to hear, nor take our time.
        """
        self.counters.refused += 1
        if self._outbox.is_empty and self._refusals.take(now):
            refusal = refuse_stranger(Message.decode(received.data), received)
            if refusal is not None:
                self._outbox.send(received.via, received.from_, refusal)

    def _take_other(self, received: Received, now: float) -> None:
        transaction_id = answered_transaction(received.data)
        if transaction_id is not None and not transaction_id.startswith(self.transaction_prefix):
            self.counters.unexpected += 1  # whatever it is, it answers nothing that we have asked
            return
        message = Message.decode(received.data)
        if message.method is not Method.BINDING:
            self.counters.unexpected += 1
        elif message.message_class is MessageClass.INDICATION:
            pass  # a keepalive (RFC 8445 §11): to arrive was all it was for
        elif not self._take_answer(message, received, now):
            self.counters.unexpected += 1

    # Out

    def poll_transmits(self, now: float) -> Transmit | None:
        """The next datagram to send."""
        return self._outbox.poll()

    def poll_event(self) -> IceEvent | None:
        """The next thing to tell."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is to be called."""
        return self._clock.outside(None if self._is_closed else self._next_due())

    # What each kind does in its own way

    @abstractmethod
    def _take_up(self, base: Base, now: float) -> None:
        """Use a new base."""

    @abstractmethod
    def _listens_on(self, via: Via) -> bool:
        """Whether what comes by this way is for us."""

    @property
    @abstractmethod
    def _credentials(self) -> tuple[Credentials, ...]:
        """By what names and passwords the peer may speak with us."""

    @abstractmethod
    def _welcome(self, answer: Accepted, now: float) -> None:
        """The peer has shown itself by a check, which is answered already."""

    @abstractmethod
    def _take_answer(self, message: Message, received: Received, now: float) -> bool:
        """Take a well-formed answer; say whether it was one to something that was asked."""

    @abstractmethod
    def _settle(self, now: float) -> None:
        """After any input: do what has become possible, and tell what has become of it."""

    @abstractmethod
    def _next_due(self) -> float | None:
        """When the earliest timer fires, in the agent's own time."""

    # What both do alike

    @property
    def _is_closed(self) -> bool:
        return self.state is AgentState.CLOSED

    def _read_clock(self, now: float) -> float:
        return self._clock.read(now, None if self._is_closed else self._next_due())

    def _new_base(
        self,
        via: Via,
        address: Address,
        *,
        kind: BaseKind,
        local_preference: int,
        announced: Sequence[str] = (),
        beside_own: bool = False,
    ) -> Base:
        transport = "udp" if kind is BaseKind.UDP else "tcp"
        return Base(
            via=via,
            address=address,
            kind=kind,
            local_preference=local_preference,
            announced=tuple(announced),
            beside_own=beside_own,
            is_preferred=transport == self._settings.preferred_transport,
        )

    def _set_state(self, state: AgentState) -> None:
        if state is not self.state:
            self.state = state
            self._events.append(StateChanged(state))

    def _tell_credentials(self) -> None:
        credentials = self._credentials
        if credentials != self._told_credentials:
            self._told_credentials = credentials
            self._events.append(CredentialsInUse(credentials))
