"""A failure in words: what was tried, and what came of it."""

from collections.abc import Sequence
from typing import Final

from trio_webrtc.core.ice.pair import CandidatePair

MAX_PAIRS_SHOWN: Final = 10


def describe(
    pairs: Sequence[CandidatePair],
    *,
    silent_for: float | None,
    remote_known: bool,
    remote_candidates: int,
    stun_error: str | None,
) -> str:
    """One paragraph that tells why there is no way to the peer."""
    parts = []
    if silent_for is not None:
        parts.append(f"The peer has not answered for {silent_for:.0f} s.")
    if not remote_known:
        parts.append("The peer's ICE credentials are not known.")
    elif not pairs:
        parts.append(f"There is no pair of addresses to try; the peer has named {remote_candidates} candidate(s).")
    else:
        shown = "; ".join(_describe_pair(pair) for pair in pairs[:MAX_PAIRS_SHOWN])
        more = f"; and {len(pairs) - MAX_PAIRS_SHOWN} more" if len(pairs) > MAX_PAIRS_SHOWN else ""
        parts.append(f"Pairs tried: {shown}{more}.")
    if stun_error is not None:
        parts.append(f"Last STUN error: {stun_error}.")
    return " ".join(parts)


def _describe_pair(pair: CandidatePair) -> str:
    error = f", {pair.last_error}" if pair.last_error else ""
    return f"{pair} {pair.state.value} after {pair.requests_sent} request(s){error}"
