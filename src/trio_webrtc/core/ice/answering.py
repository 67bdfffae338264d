"""The server's side of checks: who asks, may they, and what do they get (RFC 8445 §7.3, RFC 8489 §9.1.3).

Whether a check proves anything is found out first, from its bytes: only one that does is worth being taken apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from trio_webrtc.core.contract import Received
from trio_webrtc.core.ice.addresses import without_scope
from trio_webrtc.core.ice.credentials import Credentials
from trio_webrtc.core.ice.role import Role, Verdict
from trio_webrtc.core.stun.integrity import is_signed_with
from trio_webrtc.core.stun.message import PRIORITY, USE_CANDIDATE, USERNAME, XOR_MAPPED_ADDRESS, Message
from trio_webrtc.core.stun.peeking import username_of


@dataclass(slots=True, kw_only=True)
class PeerCheck:
    """An authenticated check from the peer."""

    received: Received
    priority: int
    """What the sender's address is worth, should we not know it yet."""
    nominating: bool


@dataclass(slots=True, kw_only=True)
class Accepted:
    """A check that gets a success response."""

    check: PeerCheck
    addressed_to: Credentials
    """Those of our credentials that were used."""
    transaction_id: bytes
    response: bytes
    role_switched: bool


@dataclass(slots=True, kw_only=True)
class Refused:
    """A check that gets an error response."""

    response: bytes


def authenticate(check: bytes, credentials: Sequence[Credentials]) -> Credentials | None:
    """Which of our credentials the sender of a Binding request has shown to know."""
    # RFC 8445 §7.3: only what stands before the colon is ours to judge; the rest is the peer's own name for itself.
    ufrag, _ = username_of(check) or (None, None)
    ours = next((own for own in credentials if own.ufrag == ufrag), None)
    return ours if ours is not None and is_signed_with(check, ours.key) else None


def answer_request(request: Message, received: Received, ours: Credentials, role: Role) -> Accepted | Refused:
    """Decide on an authenticated Binding request. It may switch our role, but nothing else."""
    key = ours.key
    if request.not_understood:
        return Refused(response=request.refuse(420).encode(key))
    priority = request.get(PRIORITY)
    if priority is None:
        return Refused(response=request.refuse(400).encode(key))
    verdict = role.judge(request)
    if verdict is Verdict.REFUSE:
        return Refused(response=request.refuse(487).encode(key))
    if verdict is Verdict.SWITCH:
        role.switch()
    host, port = received.from_
    return Accepted(
        check=PeerCheck(
            received=received,
            priority=priority,
            nominating=USE_CANDIDATE in request.attributes,
        ),
        addressed_to=ours,
        transaction_id=request.transaction_id,
        response=request.answer({XOR_MAPPED_ADDRESS: (without_scope(host), port)}).encode(key),
        role_switched=verdict is Verdict.SWITCH,
    )


def refuse_stranger(request: Message, received: Received) -> bytes | None:
    """What to say to somebody who has proved nothing: an error response, or nothing.

    Departs from RFC 8489 §9.1.3, which has every one of them answered: an answer that is larger than its request would
    help whoever means to flood the address that stands on it. The checks of ICE are larger than their refusals.
    """
    code = 401 if request.is_signed and request.get(USERNAME) is not None else 400
    response = request.refuse(code).encode()
    return response if len(response) <= len(received.data) else None
