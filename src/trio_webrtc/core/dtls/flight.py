"""The last flight of handshake messages, and when to send it again (RFC 6347 §4.2.4).

OpenSSL has a clock of its own, which runs on real time and cannot be moved. Here the flight is kept as the records
that OpenSSL wrote, and sent again in the caller's time.
"""

from collections.abc import Sequence

from trio_webrtc.core.dtls.context import DtlsSettings


class Flight:
    """The records sent last, until the next flight takes their place."""

    __slots__ = ("_gives_up_at", "_interval", "_settings", "due", "records")

    def __init__(self, settings: DtlsSettings) -> None:
        self.records: Sequence[bytes] = ()
        self.due: float | None = None
        """When the flight is to be sent again, or the handshake to be given up."""
        self._settings = settings
        self._interval = settings.first_retransmission
        self._gives_up_at: float | None = None

    def begin(self, now: float) -> None:
        """The time for the handshake runs from now on, if it did not yet: also for a peer that has the first word."""
        if self._gives_up_at is None:
            self._gives_up_at = self.due = now + self._settings.handshake_timeout

    def replace(self, records: Sequence[bytes], now: float) -> None:
        """Note what has been sent: the answer is expected from now on, and the intervals begin anew."""
        self.begin(now)
        self.records = records
        self._interval = self._settings.first_retransmission
        self._set_due(now)

    def is_hopeless(self, now: float) -> bool:
        """Whether the peer has had its time."""
        return self._gives_up_at is not None and now >= self._gives_up_at

    def back_off(self, now: float) -> None:
        """Wait twice as long for the answer as before."""
        self._interval = min(2 * self._interval, self._settings.longest_retransmission)
        self._set_due(now)

    def stop(self) -> None:
        """Expect no answer any more; the records stay, for a peer that has not seen them."""
        self.due = None

    def forget(self) -> None:
        """Expect no answer, and give none."""
        self.due = None
        self.records = ()

    def _set_due(self, now: float) -> None:
        self.due = now + self._interval if self._gives_up_at is None else min(now + self._interval, self._gives_up_at)
