"""Those who wait for room in a socket, and the one task that lets them have it in turn."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Protocol

import trio


class Sender(Protocol):
    """Waits its turn for room in a socket."""

    def use_room(self) -> None:
        """Send what was refused, and what stands behind it. Never waits; when refused again, queues again."""


class WaitingLine:
    """Senders in the order of their coming, and a socket's one writer, which exists only while it is called for."""

    def __init__(self) -> None:
        self._senders: dict[Sender, None] = {}
        self._is_called = False
        self._has_writer = False
        self._start: Callable[[], None] | None = None

    @contextmanager
    def served(self, nursery: trio.Nursery, make_room: Callable[[], Awaitable[None]]) -> Iterator[None]:
        """Have the writer run in a nursery, as long as the block lasts. Who comes before waits for that.

        Args:
            nursery: where it runs; to be cancelled after the block.
            make_room: waits until there is room, having written what was taken before if there is such a thing. Raises
                OSError or ClosedResourceError when there never will be, which ends the writer quietly: to tell of it is
                the reader's part.
        """
        self._start = partial(nursery.start_soon, self._write, make_room)
        self._start_writer()
        try:
            yield
        finally:
            self._start = None

    def join(self, sender: Sender) -> None:
        """Have `sender.use_room()` called when there is room and it is its turn."""
        self._senders[sender] = None
        self._start_writer()

    def leave(self, sender: Sender) -> None:
        """Undo `join`; harmless if there is nothing to undo."""
        self._senders.pop(sender, None)

    def call_writer(self) -> None:
        """Have room made, whether or not anybody stands in line."""
        self._is_called = True
        self._start_writer()

    def dismiss(self) -> None:
        """Forget all who wait."""
        self._senders.clear()

    @property
    def _has_work(self) -> bool:
        return self._is_called or bool(self._senders)

    def _start_writer(self) -> None:
        if self._has_work and self._start is not None and not self._has_writer:
            self._has_writer = True
            self._start()

    @trio.lowlevel.enable_ki_protection
    async def _write(self, make_room: Callable[[], Awaitable[None]]) -> None:
        try:
            while self._has_work:
                self._is_called = False
                await make_room()
                self._give_turns()
        except (OSError, trio.ClosedResourceError):
            pass
        finally:
            self._has_writer = False

    def _give_turns(self) -> None:
        """Let senders use the room in turn, until one of them finds that there is no more."""
        while self._senders:
            sender = next(iter(self._senders))
            del self._senders[sender]
            sender.use_room()
            if sender in self._senders:  # behind all others now
                break
