"""The pair in use: how its consent is asked for and given."""

import random
from collections.abc import Callable
from functools import partial

from trio_webrtc.core.contract import Received
from trio_webrtc.core.ice.checks import encode_check
from trio_webrtc.core.ice.consent import Consent
from trio_webrtc.core.ice.generation import Generation
from trio_webrtc.core.ice.outbox import Outbox
from trio_webrtc.core.ice.pair import CandidatePair
from trio_webrtc.core.ice.role import Role
from trio_webrtc.core.ice.settings import IceSettings
from trio_webrtc.core.stun.message import Message, MessageClass, TransactionIds


class PairInUse:
    """A chosen pair, the generation whose credentials belong to it, and the leave to send on it.

    It outlives its generation: after an ICE restart data takes the old pair until there is a new one (RFC 8445 §9),
    and consent is still needed (RFC 7675 §5.1).
    """

    def __init__(
        self,
        pair: CandidatePair,
        generation: Generation,
        *,
        role: Role,
        outbox: Outbox,
        transaction_ids: TransactionIds,
        rng: random.Random,
        settings: IceSettings,
        now: float,
    ) -> None:
        self.pair = pair
        self.way = pair.via, pair.remote_address
        self.generation = generation
        send = partial(outbox.send, *self.way)
        self.consent = Consent(
            ask=partial(_ask, pair, generation, role, send),  # no method, or this and it would keep each other
            repeats=pair.base.is_udp,
            transaction_ids=transaction_ids,
            rng=rng,
            settings=settings,
            now=now,
        )

    def take_answer(self, message: Message, received: Received, now: float) -> bool:
        """Whether that is the peer's answer to a consent check; if it is, heed it."""
        remote = self.generation.remote
        if (
            not self.consent.awaits(message.transaction_id)
            or (received.via, received.from_) != self.way
            or remote is None
            or not message.is_signed_with(remote.key)
        ):
            return False
        self.pair.responses_received += 1
        if message.message_class is MessageClass.RESPONSE:
            self.pair.measured(self.consent.renew(message.transaction_id, now))
        elif message.error_code == 403:
            # RFC 7675 §5.2: the peer takes its consent back.
            self.consent.revoke(now)
        return True


def _ask(
    pair: CandidatePair, generation: Generation, role: Role, send: Callable[[bytes], None], transaction_id: bytes
) -> None:
    if generation.remote is None:
        return
    request = encode_check(
        pair,
        local=generation.local,
        remote=generation.remote,
        role=role,
        nominating=False,
        transaction_id=transaction_id,
    )
    pair.consent_requests_sent += 1
    send(request)
