"""Why a WebSocket has ended, as a number (RFC 6455 §7.4.1, and the registry of its §11.7)."""

from typing import Final

from trio_webrtc.errors import UsageError

NORMAL_CLOSURE: Final = 1000

GOING_AWAY: Final = 1001

UNSUPPORTED_DATA: Final = 1003
"""A message of a kind that is not taken; here, one that is binary."""

NO_STATUS: Final = 1005
"""Never sent: the other side's close frame had no code."""

ABNORMAL_CLOSURE: Final = 1006
"""Never sent: the other side ended without a close frame."""

INVALID_DATA: Final = 1007
"""The data is not of the kind that it should be; here, no JSON."""

POLICY_VIOLATION: Final = 1008
"""A message that breaks the receiver's rules; here, JSON that is no signalling message."""

TOO_BIG: Final = 1009
"""A message too big to process."""

INTERNAL_ERROR: Final = 1011

SERVICE_RESTART: Final = 1012

TRY_AGAIN_LATER: Final = 1013

BAD_GATEWAY: Final = 1014

FIRST_OWN_CODE: Final = 3000
"""RFC 6455 §7.4.2: what this code and those above it mean is for applications to say."""

LAST_CODE: Final = 4999


def check_goodbye(code: int, reason: str) -> None:
    """Raise UsageError unless this is a close code (RFC 6455 §7.4.2), and a reason that can be said with it."""
    if not (isinstance(code, int) and NORMAL_CLOSURE <= code <= LAST_CODE):
        raise UsageError(f"a close code is a number from {NORMAL_CLOSURE} to {LAST_CODE}, not {code!r}")
    try:
        reason.encode()
    except UnicodeEncodeError:
        raise UsageError("the reason of a goodbye has to be Unicode text, without single surrogates") from None
