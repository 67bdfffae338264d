"""The server's side of checks: who asks, may they, and what do they get (RFC 8445 §7.3, RFC 8489 §9.1.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

from trio_webrtc.core.contract import Received
from trio_webrtc.core.ice.addresses import without_scope
from trio_webrtc.core.ice.credentials import Credentials
from trio_webrtc.core.ice.role import Role, Verdict
from trio_webrtc.core.stun.message import PRIORITY, USE_CANDIDATE, USERNAME, XOR_MAPPED_ADDRESS, Message


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
    response: bytes
    role_switched: bool


@dataclass(slots=True, kw_only=True)
class Refused:
    """A request that gets an error response, or none."""

    code: int
    response: bytes | None


def answer_request(
    request: Message, received: Received, credentials: Sequence[Credentials], role: Role
) -> Accepted | Refused:
    """Decide on a Binding request. It may switch our role, but nothing else."""
    username = request.get(USERNAME)
    if username is None or not request.is_signed:
        return _refuse_stranger(400, request, received)
    # RFC 8445 §7.3: only what stands before the colon is ours to judge; the rest is the peer's own name for itself.
    ufrag, colon, _ = username.partition(":")
    ours = next((own for own in credentials if own.ufrag == ufrag), None)
    if ours is None or not colon or not request.is_signed_with(ours.key):
        return _refuse_stranger(401, request, received)
    key = ours.key
    if request.not_understood:
        return Refused(code=420, response=request.refuse(420).encode(key))
    priority = request.get(PRIORITY)
    if priority is None:
        return Refused(code=400, response=request.refuse(400).encode(key))
    verdict = role.judge(request)
    if verdict is Verdict.REFUSE:
        return Refused(code=487, response=request.refuse(487).encode(key))
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
        response=request.answer({XOR_MAPPED_ADDRESS: (without_scope(host), port)}).encode(key),
        role_switched=verdict is Verdict.SWITCH,
    )


def _refuse_stranger(code: int, request: Message, received: Received) -> Refused:
    """Refuse a request that anybody may have sent, in anybody's name.

    Departs from RFC 8489 §9.1.3, which has every one of them answered: an answer that is larger than its request would
    help whoever means to flood the address that stands on it. The checks of ICE are larger than their refusals.
    """
    response = request.refuse(code).encode()
    return Refused(code=code, response=response if len(response) <= len(received.data) else None)
