"""What a DTLS session tells its owner."""

from dataclasses import dataclass
from typing import TypeAlias

from trio_webrtc.core.dtls.alerts import Alert
from trio_webrtc.errors import FailureReason


@dataclass(frozen=True, slots=True)
class HandshakeCompleted:
    """Both sides have finished the handshake, and the peer's certificate is the one that it announced."""


@dataclass(frozen=True, slots=True)
class RemoteClosed:
    """The peer sent close_notify: nothing more will come. What came before it can still be polled."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The session will never come up, or broke off; `alert` is the one that was received or, failing that, sent."""

    reason: FailureReason
    message: str
    alert: Alert | None = None


DtlsEvent: TypeAlias = HandshakeCompleted | RemoteClosed | Failed
