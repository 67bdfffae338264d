"""Why a WebSocket has ended, as a number (RFC 6455 §7.4.1, and the registry of its §11.7)."""

from typing import Final

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
