"""Looks up the names that a peer's candidates have in the place of addresses, by this host's resolver.

A peer chooses what is asked for, and may have chosen a name that is answered slowly or never. Each connection looks up
one at a time, and the first that takes too long is its last. The resolver goes on with that one all the same, in a
thread that nobody can end; so all connections of an event loop have a few threads for names, and take no others.
"""

import logging
from collections.abc import Callable
from typing import Final

import trio

from trio_webrtc.shell.announcing import is_name
from trio_webrtc.shell.network import Network

LOOKUP_TIMEOUT: Final = 5.0
"""Seconds that a name is given, in which it may have to wait for a thread."""

MAX_LOOKUP_THREADS: Final = 8
"""Threads of an event loop in which names of peers are looked up, those included whose answers nobody waits for now."""

MAX_WAITING_NAMES: Final = 8
"""Names that wait for their turn; others are left alone."""

_threads: Final = trio.lowlevel.RunVar[trio.CapacityLimiter]("trio_webrtc.shell.lookups")

_logger = logging.getLogger(__name__)


class NameLookups:
    """Asks for names, and tells `found` each that is answered, with one address of each family.

    One address, as a name with many may stand for as many hosts, and only one of them knows of this connection.
    """

    def __init__(self, network: Network, found: Callable[[str, str], None]) -> None:
        self._network = network
        self._found = found
        self._waiting: dict[str, None] = {}
        self._is_running = False
        self._has_given_up = False

    def ask(self, name: str) -> bool:
        """Find out the addresses of a name; says whether `run()` has to be started for that."""
        # What ends in .local is for the local network alone to know (RFC 6762 §3).
        is_local = name.lower().rstrip(".").endswith(".local")
        if self._has_given_up or is_local or not is_name(name) or len(self._waiting) >= MAX_WAITING_NAMES:
            return False
        self._waiting[name] = None
        is_running, self._is_running = self._is_running, True
        return not is_running

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Look up names until there is none left to ask for. Cancelling it drops what is still answered."""
        try:
            while self._waiting and not self._has_given_up:
                name = next(iter(self._waiting))
                del self._waiting[name]
                await self._look_up(name)
        finally:
            self._waiting.clear()
            self._is_running = False

    async def _look_up(self, name: str) -> None:
        with trio.move_on_after(LOOKUP_TIMEOUT) as patience:
            try:
                addresses = await self._network.resolve(name, 0, limiter=_threads_of_this_loop())
            except OSError as error:
                _logger.debug("cannot look up the peer's name %s: %s", name, error)
                return
            for host in {":" in host: host for host, _ in reversed(addresses)}.values():
                self._found(name, host)
        if patience.cancelled_caught:
            self._has_given_up = True
            _logger.debug("cannot look up the peer's name %s: no answer in %.1f s", name, LOOKUP_TIMEOUT)


def _threads_of_this_loop() -> trio.CapacityLimiter:
    """Not Trio's own: what else of the program needs a thread would wait for the names that peers have chosen."""
    try:
        limiter = _threads.get()
    except LookupError:
        limiter = trio.CapacityLimiter(MAX_LOOKUP_THREADS)
        _threads.set(limiter)
    return limiter
