"""Connectivity checks under way: asked, asked again, answered or given up (RFC 8445 §7.2)."""

from dataclasses import dataclass
from typing import Any

from trio_webrtc.core.contract import Received, TimerTable
from trio_webrtc.core.ice.credentials import Credentials
from trio_webrtc.core.ice.outbox import Outbox
from trio_webrtc.core.ice.pair import CandidatePair
from trio_webrtc.core.ice.role import Role
from trio_webrtc.core.stun.message import (
    PRIORITY,
    USE_CANDIDATE,
    USERNAME,
    Attribute,
    Message,
    MessageClass,
    Method,
    TransactionIds,
)
from trio_webrtc.core.stun.transaction import Retransmission, Transaction


@dataclass(slots=True, eq=False, kw_only=True)
class Check:
    """One check and all that is needed to understand its answer."""

    pair: CandidatePair
    remote: Credentials
    controlling: bool
    """The role in which it was sent."""
    nominating: bool
    transaction: Transaction
    abandoned: bool = False
    """It is not repeated, but a late answer still counts (RFC 8445 §7.3.1.4)."""


def encode_check(
    pair: CandidatePair, *, local: Credentials, remote: Credentials, role: Role, nominating: bool, transaction_id: bytes
) -> bytes:
    """The bytes of a check (RFC 8445 §7.1 and §7.2.2)."""
    attribute, tie_breaker = role.attribute
    attributes: dict[Attribute[Any], Any] = {
        USERNAME: f"{remote.ufrag}:{local.ufrag}",
        PRIORITY: pair.base.priority_of("prflx"),
        attribute: tie_breaker,
    }
    if nominating:
        attributes[USE_CANDIDATE] = None
    request = Message(
        method=Method.BINDING,
        message_class=MessageClass.REQUEST,
        transaction_id=transaction_id,
        attributes=attributes,
    )
    return request.encode(remote.key)


class Checks:
    """The checks of one generation that wait for an answer."""

    def __init__(self, *, outbox: Outbox, transaction_ids: TransactionIds, retransmission: Retransmission) -> None:
        self._outbox = outbox
        self._ids = transaction_ids
        self._retransmission = retransmission
        # RFC 8489 §6.2.2: what TCP carries is not repeated, only waited for, here as long as with UDP.
        self._one_request = Retransmission(timeout=retransmission.duration, requests=1, last_wait=1)
        self._by_id: dict[bytes, Check] = {}
        self._timers: TimerTable[bytes] = TimerTable()

    def start(
        self, pair: CandidatePair, *, local: Credentials, remote: Credentials, role: Role, nominating: bool, now: float
    ) -> None:
        """Send a check; one of the same pair under way is not repeated any more."""
        self.abandon(pair)
        transaction_id = self._ids.new()
        request = encode_check(
            pair, local=local, remote=remote, role=role, nominating=nominating, transaction_id=transaction_id
        )
        self._by_id[transaction_id] = Check(
            pair=pair,
            remote=remote,
            controlling=role.controlling,
            nominating=nominating,
            transaction=Transaction(
                request, schedule=self._retransmission if pair.base.is_udp else self._one_request, now=now
            ),
        )
        self._advance(transaction_id, now)

    def is_nominating(self, pair: CandidatePair | None = None) -> bool:
        """Whether a nomination (of `pair`, or of any) waits for its answer."""
        return any(
            check.nominating and not check.abandoned and (pair is None or check.pair is pair)
            for check in self._by_id.values()
        )

    def is_under_way(self, pair: CandidatePair) -> bool:
        """Whether a check of `pair` waits for its answer."""
        return any(check.pair is pair and not check.abandoned for check in self._by_id.values())

    def abandon(self, pair: CandidatePair) -> None:
        """Do not repeat the check of `pair` any more; its answer may still come (RFC 8445 §7.3.1.4)."""
        for transaction_id, check in self._by_id.items():
            if check.pair is pair and not check.abandoned:
                # Where a round trip takes longer than the first repetition, no check would ever be answered otherwise:
                # the two sides go on triggering each other's, and each abandons the one before.
                check.abandoned = True
                self._timers.set(transaction_id, check.transaction.first_sent + self._retransmission.duration)

    def forget_all(self) -> None:
        """No answer counts any more."""
        self._by_id.clear()
        self._timers.clear()

    def take_answer(self, message: Message) -> Check | None:
        """The check that this answers, which is over; None if there is none, or it is not signed as it must be."""
        check = self._by_id.get(message.transaction_id)
        if check is None:
            return None
        if not message.is_signed_with(check.remote.key):
            # RFC 8489 §9.1.4: as if it had never come, since anybody could have sent it. It may tell why nothing
            # works all the same.
            if message.message_class is MessageClass.ERROR:
                check.pair.last_error = f"unsigned answer {message.error_text}"
            return None
        del self._by_id[message.transaction_id]
        self._timers.cancel(message.transaction_id)
        return check

    def handle_timeout(self, now: float) -> list[Check]:
        """Repeat what is due to be repeated; return the checks given up."""
        expired = [self._advance(transaction_id, now) for transaction_id in self._timers.pop_expired(now)]
        return [check for check in expired if check is not None and not check.abandoned]

    def next_timeout(self) -> float | None:
        """When something is to be repeated or given up."""
        return self._timers.earliest()

    def _advance(self, transaction_id: bytes, now: float) -> Check | None:
        check = self._by_id[transaction_id]
        request = None if check.abandoned else check.transaction.poll_request(now)
        if request is None:
            del self._by_id[transaction_id]
            return check
        pair = check.pair
        pair.requests_sent += 1
        pair.last_check_at = now
        self._outbox.send(pair.via, pair.remote_address, request)
        self._timers.set(transaction_id, check.transaction.due)
        return None


def came_back(check: Check, received: Received) -> bool:
    """Whether an answer took the way of its check (RFC 8445 §7.2.5.2.1)."""
    return (received.via, received.from_) == (check.pair.via, check.pair.remote_address)
