"""A client's side of one STUN request over an unreliable transport (RFC 8489 §6.2.1), in virtual time."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Retransmission:
    """How often and how long a request is repeated."""

    timeout: float = 0.5
    """RTO: seconds from the first request to the second; each interval doubles."""
    longest: float = math.inf
    """Where the intervals stop doubling."""
    requests: int = 7
    """Rc: how many requests are sent in all."""
    last_wait: float = 16
    """Rm: how long an answer to the last request is waited for, in multiples of `timeout`."""

    @property
    def duration(self) -> float:
        """Seconds from the first request until the last wait is over."""
        intervals = (min(self.timeout * 2.0**number, self.longest) for number in range(self.requests - 1))
        return sum(intervals) + self.timeout * self.last_wait


class Transaction:
    """One request, sent again and again until its owner hears the answer and forgets it, or it expires."""

    __slots__ = ("_request", "_schedule", "due", "expired", "first_sent", "requests_sent")

    def __init__(self, request: bytes, *, schedule: Retransmission, now: float) -> None:
        self._request = request
        self._schedule = schedule
        self.requests_sent = 0
        self.first_sent = now
        self.due = now
        """When something is to be done: send, or give up."""
        self.expired = False

    def poll_request(self, now: float) -> bytes | None:
        """The request, if it is to be sent now; once the last wait is over, None and `expired` is set."""
        if self.expired or now < self.due:
            return None
        if self.requests_sent == self._schedule.requests:
            self.expired = True
            return None
        self.requests_sent += 1
        if self.requests_sent == self._schedule.requests:
            wait = self._schedule.timeout * self._schedule.last_wait
        else:
            wait = min(self._schedule.timeout * 2 ** (self.requests_sent - 1), self._schedule.longest)
        self.due = now + wait
        return self._request

    def round_trip_time(self, now: float) -> float | None:
        """Seconds since the request; None if it was sent more than once, so that nobody can tell which was answered."""
        return now - self.first_sent if self.requests_sent == 1 else None
