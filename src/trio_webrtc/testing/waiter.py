"""How a task waits for a socket of a virtual network: for a moment that may come to be another."""

from collections.abc import Callable

import trio


class Waiter:
    """One task at a time that waits for a moment, which may come to be another."""

    def __init__(self) -> None:
        self._nap: trio.CancelScope | None = None

    async def wait(self, moment: Callable[[], float]) -> None:
        """Sleep until the moment has come. At least one turn of the event loop.

        `moment` may raise when there is nothing to wait for any more.
        """
        due = moment()
        if self._nap is not None:
            raise trio.BusyResourceError("another task waits for this socket already")
        try:
            while True:
                with trio.CancelScope(deadline=due) as self._nap:
                    await trio.sleep_forever()
                due = moment()
                if due <= trio.current_time():
                    return
        finally:
            self._nap = None

    def look_at(self, moment: float) -> None:
        """Wake at this moment, if it is earlier than what was known of."""
        if self._nap is not None and moment < self._nap.deadline:
            self._nap.deadline = moment
