"""How much may be under way at once: slow start, congestion avoidance, recovery (RFC 9260 §7.2)."""

from typing import Final

from trio_webrtc.core.sctp.settings import SctpSettings

MIN_WINDOW_PACKETS: Final = 4
"""RFC 9260 §7.2.3: neither the threshold nor the window after a fast retransmit falls below four packets."""

MAX_GROWTH_PACKETS: Final = 64
"""Slow start grows by at most so much per SACK. Departs from RFC 9260 §7.2.1, whose limit of one packet supposes a SACK
for every second packet: a receiver that reads in batches sends one per batch (RFC 3465 discusses the limit L)."""


class CongestionWindow:
    """Counts bytes of user data. Knows nothing of chunks."""

    def __init__(self, settings: SctpSettings, packet_size: int) -> None:
        self.packet_size = packet_size
        self._initial = settings.initial_window_packets * packet_size
        self._burst = settings.max_burst * packet_size
        self.size = self._initial
        self.threshold = 1 << 30  # RFC 9260 §7.2.1: arbitrarily high at first
        self._ceiling = max(self._initial, self._burst)
        self._clocked_out = 0
        self._in_full_use = False
        self._partial_bytes_acked = 0
        self._recovery_exit: int | None = None

    def has_room(self, flight_size: int) -> bool:
        """Whether something more may leave (RFC 9260 §6.1 B: the window may be overrun by less than a packet)."""
        return flight_size < self.size and flight_size < self._ceiling

    def sent(self, flight_size: int) -> None:
        """Data has left; so much is in flight now."""
        # Only a window in full use may grow (RFC 9260 §7.2.1). Whether it was is seen when sending: SACKs of one batch
        # are taken one after the other, and the first of them empties the window for those behind it.
        self._in_full_use = flight_size >= self.size
        self._clocked_out = 0

    @property
    def in_recovery(self) -> bool:
        """Whether a fast retransmit is still being repaired (RFC 9260 §7.2.4)."""
        return self._recovery_exit is not None

    def acknowledged(self, acked: int, advanced: bool, flight_size: int, cumulative: int) -> None:
        """A SACK newly acknowledged `acked` bytes, gap blocks included; `advanced` if the cumulative TSN moved."""
        if self._recovery_exit is not None:
            if cumulative >= self._recovery_exit:
                self._recovery_exit = None
        elif not advanced:
            pass  # RFC 9260 §7.2.1: no growth before the cumulative TSN moves
        elif self.size <= self.threshold:
            if self._in_full_use:
                self.size += min(acked, MAX_GROWTH_PACKETS * self.packet_size)
        else:
            # RFC 9260 §7.2.2: one packet per window's worth of acknowledged bytes, if it was in full use.
            self._partial_bytes_acked += acked
            if self._partial_bytes_acked >= self.size and self._in_full_use:
                self._partial_bytes_acked -= self.size
                self.size += self.packet_size
        if not flight_size:
            self._partial_bytes_acked = 0
        # RFC 9260 §6.1 D, Max.Burst: what has not been clocked out by acknowledgements leaves in small bursts. Twice
        # the bytes acknowledged lets slow start double.
        self._clocked_out += 2 * acked
        self._ceiling = flight_size + max(self._clocked_out, self._burst)

    def lost(self, highest_tsn: int, again: bool) -> bool:
        """Chunks are taken for lost; say whether that begins a recovery (RFC 9260 §7.2.4).

        What is lost `again` was sent within the recovery, with the window already halved: that begins another one.
        """
        if self._recovery_exit is not None and not again:
            return False
        self._shrink()
        self.size = self.threshold
        self._recovery_exit = highest_tsn
        return True

    def timed_out(self, flight_size: int) -> None:
        """T3-rtx has expired (RFC 9260 §7.2.3)."""
        self._shrink()
        self.size = self.packet_size
        self._recovery_exit = None
        self._ceiling = flight_size + self._burst

    def idle_for(self, timeouts: int) -> None:
        """Nothing was sent for so many RTOs: what the window knew is old (RFC 9260 §7.2.1)."""
        if self.size > self._initial:
            self.size = max(self.size >> min(timeouts, 30), self._initial)
        self._ceiling = self._burst

    def _shrink(self) -> None:
        self.threshold = max(self.size // 2, MIN_WINDOW_PACKETS * self.packet_size)
        self._partial_bytes_acked = 0
