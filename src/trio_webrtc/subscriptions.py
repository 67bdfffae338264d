"""What arrives, for any number of readers, each at its own pace: the latest of a value, or all of a list.

A reader who is slow or gone makes nothing grow: it has its place in what there is anyway.
"""

from typing import Generic, TypeVar

import trio

_Item = TypeVar("_Item")


class Subscription(trio.abc.ReceiveChannel[_Item]):
    """One reader's side."""

    def __init__(self, source: "Latest[_Item] | Replay[_Item]", *, position: int) -> None:
        self._source = source
        self._position = position
        self._closed = False

    async def receive(self) -> _Item:
        """Wait for what comes next.

        Cancelling loses nothing. Raises trio.EndOfChannel after the last, trio.ClosedResourceError after `aclose()`.
        """
        await trio.lowlevel.checkpoint()
        while not self._closed:
            if self._position < self._source.end_position:
                item, self._position = self._source.read(self._position)
                return item
            if self._source.ended:
                raise trio.EndOfChannel
            await self._source.news.park()
        raise trio.ClosedResourceError

    async def aclose(self) -> None:
        """Stop reading; other readers notice nothing."""
        self._closed = True
        self._source.news.unpark_all()
        await trio.lowlevel.checkpoint()


class Latest(Generic[_Item]):
    """A value that changes: a reader gets what it has not seen, leaving out those it was too slow for."""

    def __init__(self, value: _Item) -> None:
        self.value = value
        self.end_position = 0
        self.ended = False
        self.news = trio.lowlevel.ParkingLot()

    def set(self, value: _Item) -> None:
        """Have every reader get this value next."""
        self.value = value
        self.end_position += 1
        self.news.unpark_all()

    def end(self) -> None:
        """Have every reader end after the present value."""
        self.ended = True
        self.news.unpark_all()

    def read(self, position: int) -> tuple[_Item, int]:
        """The present value, and the position behind it."""
        return self.value, self.end_position

    def subscribe(self, *, skip_present: bool = False) -> Subscription[_Item]:
        """A new reader, which gets the present value first unless told to skip it."""
        return Subscription(self, position=self.end_position - (not skip_present))


class Replay(Generic[_Item]):
    """A list that grows to its end: a reader gets all of it."""

    def __init__(self) -> None:
        self._items: list[_Item] = []
        self.ended = False
        self.news = trio.lowlevel.ParkingLot()

    @property
    def end_position(self) -> int:
        """How many items there are."""
        return len(self._items)

    def append(self, item: _Item) -> None:
        """Have every reader get this item after those before it."""
        self._items.append(item)
        self.news.unpark_all()

    def end(self) -> None:
        """Have every reader end after the last item."""
        self.ended = True
        self.news.unpark_all()

    def read(self, position: int) -> tuple[_Item, int]:
        """The item at a position, and the position behind it."""
        return self._items[position], position + 1

    def subscribe(self) -> Subscription[_Item]:
        """A new reader, which gets every item from the first on."""
        return Subscription(self, position=0)
