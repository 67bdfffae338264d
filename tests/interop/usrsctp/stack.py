"""usrsctp itself: one per process, its state in global variables, its clock set by a test, its chance seeded."""

import ctypes
import math
import random
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from . import bindings as c
from .imports import redirect

TICK: Final = 0.01
"""How often its timers want to be looked at. It cannot tell when the next one is due."""

EPOCH: Final = 1_600_000_000
"""The time of day at which its life begins."""


class Timeval(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("microseconds", ctypes.c_long)]


class Stack:
    """Owns the clock, the random numbers, and the addresses under which associations send packets."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self.library = library
        self.random = random.Random(0)
        self.now = 0.0
        """Seconds since its latest birthday."""
        self._birthday = EPOCH
        self._outgoing: dict[int, deque[bytes]] = {}
        self._last_address = 0
        self._ticks = 0
        # Kept alive: usrsctp calls them for as long as the process lives.
        self._output = c.OutputCallback(self._on_output)
        self._clock = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Timeval), ctypes.c_void_p)(self._on_gettimeofday)
        self._chance = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)(self._on_read_random)

    @contextmanager
    def running(self) -> Iterator["Stack"]:
        """Starts usrsctp without threads; ends it, which it refuses while anything of it is still in use."""
        redirect(c.LIBRARY, {"gettimeofday": self._clock, "read_random": self._chance})
        self.library.usrsctp_init_nothreads(0, self._output, None)
        yield self
        assert self.library.usrsctp_finish() == 0, "usrsctp still has sockets or associations"

    # -- time ----------------------------------------------------------------------------------------------------

    def advance(self, now: float) -> None:
        """Let time pass until `now`, and fire the timers that are due."""
        self.now = max(self.now, now)
        while (elapsed := int(self.now * 1000) - self._ticks) > 0:
            step = min(elapsed, int(TICK * 1000))
            self._ticks += step
            self.library.usrsctp_handle_timers(step)

    def be_as_new(self, seed: int) -> None:
        """Begin to count time from 0 again, and chance from `seed`, so that what follows does not hang on what was."""
        whole_seconds = math.ceil(self.now)
        self.advance(whole_seconds)
        self._birthday += whole_seconds
        self.now, self._ticks = 0.0, 0
        self.random.seed(seed)

    def _on_gettimeofday(self, into, _zone) -> int:
        into[0] = Timeval(self._birthday + int(self.now), int(self.now % 1 * 1_000_000))
        return 0

    def _on_read_random(self, into: int, size: int) -> None:
        ctypes.memmove(into, self.random.randbytes(size), size)

    # -- packets -------------------------------------------------------------------------------------------------

    def open_address(self) -> int:
        """A new address to send from and to; what is sent under it collects there."""
        self._last_address += 1
        self._outgoing[self._last_address] = deque()
        self.library.usrsctp_register_address(self._last_address)
        return self._last_address

    def close_address(self, address: int) -> None:
        """Nothing more is sent under this address."""
        self.library.usrsctp_deregister_address(address)
        del self._outgoing[address]

    def packets(self, address: int) -> deque[bytes]:
        """What was sent under this address and has not been taken."""
        return self._outgoing[address]

    def _on_output(self, address: int, packet: int, size: int, _tos: int, _dont_fragment: int) -> int:
        if address in self._outgoing:
            self._outgoing[address].append(ctypes.string_at(packet, size))
        return 0
