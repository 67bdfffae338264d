"""Asks the local network for the addresses of names, a few times each, and then gives up (RFC 6762 §5.2)."""

import re
from collections import deque
from dataclasses import dataclass
from typing import Final

from trio_webrtc.core.contract import Address, MalformedPacketError, TimerTable
from trio_webrtc.core.mdns.message import PORT, TYPE_A, TYPE_AAAA, encode_question, read_addresses

MAX_NAMES: Final = 32
"""Names that are asked for at a time. A browser has one for each of its host's addresses."""

INTERVALS: Final = (1.0, 2.0, 2.0)
"""Seconds between one asking and the next, the last of them before giving up. RFC 6762 §5.2: from a second upwards."""

_LOCAL_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,63}\.[Ll][Oo][Cc][Aa][Ll]")


def is_local_name(host: str) -> bool:
    """Whether that is a name to ask the local network for: one label, and "local"."""
    return _LOCAL_NAME.fullmatch(host) is not None


@dataclass(slots=True)
class _Search:
    questions: tuple[bytes, ...]
    times_asked: int = 0


class Querier:
    """The names asked for, and when to ask again."""

    def __init__(self) -> None:
        self.datagrams_dropped = 0
        self._searches: dict[str, _Search] = {}
        self._timers: TimerTable[str] = TimerTable()
        self._transmits: deque[bytes] = deque()
        self._answers: deque[tuple[str, str]] = deque()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being asked for."""
        return not self._searches

    def ask(self, name: str, now: float) -> None:
        """Find out the address of a name for which `is_local_name()`; beyond `MAX_NAMES` it is not asked for."""
        name = name.lower()
        if name in self._searches or len(self._searches) >= MAX_NAMES:
            return
        # Two messages: there are responders which understand one question each.
        self._searches[name] = _Search(tuple(encode_question(name, type_) for type_ in (TYPE_A, TYPE_AAAA)))
        self._ask(name, now)

    def receive_datagram(self, from_: Address, data: bytes) -> None:
        """Take what came to the group. Never raises for its contents; it is mostly other people's business."""
        if from_[1] != PORT:
            return  # RFC 6762 §6: a response from elsewhere is none
        try:
            found = read_addresses(data)
        except MalformedPacketError:
            self.datagrams_dropped += 1
            return
        for name, address in found:
            if self._searches.pop(name, None) is not None:
                self._timers.cancel(name)
                self._answers.append((name, address))

    def handle_timeout(self, now: float) -> None:
        """Ask again, or give up."""
        for name in self._timers.pop_expired(now):
            self._ask(name, now)

    def next_timeout(self) -> float | None:
        """When to ask again, or to give up."""
        return self._timers.earliest()

    def poll_transmit(self) -> bytes | None:
        """The next datagram for the group."""
        return self._transmits.popleft() if self._transmits else None

    def poll_answer(self) -> tuple[str, str] | None:
        """The next name, in lower case, that has been found, and its address."""
        return self._answers.popleft() if self._answers else None

    def _ask(self, name: str, now: float) -> None:
        search = self._searches[name]
        if search.times_asked == len(INTERVALS):
            del self._searches[name]
            return
        self._transmits.extend(search.questions)
        self._timers.set(name, now + INTERVALS[search.times_asked])
        search.times_asked += 1
