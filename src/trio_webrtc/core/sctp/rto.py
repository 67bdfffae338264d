"""The retransmission timeout: how long to wait for an answer (RFC 9260 §6.3)."""

from typing import Final

from trio_webrtc.core.sctp.settings import SctpSettings

_ALPHA: Final = 1 / 8
_BETA: Final = 1 / 4


class RetransmissionTimeout:
    """Learns from round trips."""

    def __init__(self, settings: SctpSettings) -> None:
        self._min, self._max = settings.rto_min, settings.rto_max
        self.value = settings.rto_initial
        """The timeout of DATA, which doubles when an answer stays out."""
        self._learnt = settings.rto_initial
        self.srtt: float | None = None
        """The smoothed round-trip time, or None before the first measurement."""
        self._variation = 0.0

    @property
    def round_trip(self) -> float:
        """The smoothed round-trip time; before the first measurement, the timeout stands for it."""
        return self.value if self.srtt is None else self.srtt

    def measured(self, round_trip: float) -> None:
        """Take a measurement, made on something that was sent once only (Karn's rule, RFC 9260 §6.3.1 C5)."""
        if self.srtt is None:
            # RFC 9260 §6.3.1 C2.
            self.srtt = round_trip
            self._variation = round_trip / 2
        else:
            # RFC 9260 §6.3.1 C3: the variation first, for it is about the old estimate.
            self._variation += _BETA * (abs(self.srtt - round_trip) - self._variation)
            self.srtt += _ALPHA * (round_trip - self.srtt)
        self.value = self._learnt = min(max(self.srtt + 4 * self._variation, self._min), self._max)

    def after(self, timeouts: int) -> float:
        """The timeout of something that has run into so many already, whatever became of DATA meanwhile."""
        return min(self._learnt * 2.0**timeouts, self._max)

    def confirmed(self, round_trip: float) -> None:
        """Something that was sent again was answered, so long after it was sent the last time.

        Departs from RFC 9260 §6.3.1 C5, which leaves a doubled timeout as it is until something sent once only is
        answered: where much is lost, that can take long, and every loss meanwhile costs twice as much. An answer as
        prompt as the round trip that was known shows that the network is no slower; a late one shows nothing.
        """
        if self.srtt is not None and round_trip <= 2 * self.srtt:
            self.value = self._learnt

    def back_off(self) -> None:
        """Wait twice as long next time (RFC 9260 §6.3.3 E2)."""
        self.value = min(self.value * 2, self._max)
