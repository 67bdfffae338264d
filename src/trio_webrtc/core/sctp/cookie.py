"""The state cookie: what INIT ACK would have us remember, given to the peer to carry, sealed (RFC 9260 §5.1.3, §5.1.5).

The key never leaves the association, so the form is ours alone.
"""

import hashlib
import hmac
import random
import struct
from dataclasses import dataclass
from typing import Final

from trio_webrtc.core.sctp.link import Terms

_FORM: Final = struct.Struct("!dIIIIIHHBII")
_MAC_SIZE: Final = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class StateCookie:
    """The terms, when they were offered, and which association there was then (the tie-tags; 0 and 0 for none)."""

    terms: Terms
    made_at: float
    local_tie_tag: int = 0
    peer_tie_tag: int = 0


class CookieJar:
    """Seals cookies, and opens those that it has sealed."""

    def __init__(self, rng: random.Random) -> None:
        self._key = rng.randbytes(_MAC_SIZE)

    def seal(self, cookie: StateCookie) -> bytes:
        """The cookie as it travels."""
        terms = cookie.terms
        body = _FORM.pack(
            cookie.made_at,
            terms.local_tag,
            terms.peer_tag,
            terms.local_initial_tsn,
            terms.peer_initial_tsn,
            terms.peer_window,
            terms.inbound_streams,
            terms.outbound_streams,
            terms.forward_tsn | terms.reconfig << 1,
            cookie.local_tie_tag,
            cookie.peer_tie_tag,
        )
        return body + self._mac(body)

    def open(self, sealed: bytes) -> StateCookie | None:
        """The cookie, or None if it is not one of ours."""
        body, mac = sealed[: _FORM.size], sealed[_FORM.size :]
        if len(body) != _FORM.size or not hmac.compare_digest(mac, self._mac(body)):
            return None
        (
            made_at,
            local_tag,
            peer_tag,
            local_initial_tsn,
            peer_initial_tsn,
            peer_window,
            inbound_streams,
            outbound_streams,
            extensions,
            local_tie_tag,
            peer_tie_tag,
        ) = _FORM.unpack(body)
        terms = Terms(
            local_tag=local_tag,
            peer_tag=peer_tag,
            local_initial_tsn=local_initial_tsn,
            peer_initial_tsn=peer_initial_tsn,
            peer_window=peer_window,
            inbound_streams=inbound_streams,
            outbound_streams=outbound_streams,
            forward_tsn=bool(extensions & 1),
            reconfig=bool(extensions & 2),
        )
        return StateCookie(terms, made_at, local_tie_tag, peer_tie_tag)

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")
