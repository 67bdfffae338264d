"""Sets of TSNs as sorted, disjoint ranges. TSNs are unwrapped here: plain integers that only grow."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TypeAlias

TsnRange: TypeAlias = tuple[int, int]
"""The first and the last TSN of a range, both included."""


def subtract(ranges: Sequence[TsnRange], holes: Sequence[TsnRange]) -> Iterator[TsnRange]:
    """What of `ranges` is not in `holes`; both are sorted and disjoint."""
    position = 0
    for first, last in ranges:
        while position < len(holes) and holes[position][1] < first:
            position += 1
        index = position
        while index < len(holes) and holes[index][0] <= last:
            if first < holes[index][0]:
                yield first, holes[index][0] - 1
            first = holes[index][1] + 1
            index += 1
        if first <= last:
            yield first, last


class TsnSet:
    """TSNs that have arrived out of order."""

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __contains__(self, tsn: int) -> bool:
        index = bisect_right(self._firsts, tsn) - 1
        return index >= 0 and tsn <= self._lasts[index]

    def __len__(self) -> int:
        """How many ranges there are."""
        return len(self._firsts)

    @property
    def highest(self) -> int | None:
        """The highest TSN in the set."""
        return self._lasts[-1] if self._lasts else None

    def add(self, tsn: int) -> None:
        """Put in a TSN that is not there yet."""
        index = bisect_right(self._firsts, tsn)
        joins_before = index > 0 and self._lasts[index - 1] == tsn - 1
        joins_after = index < len(self._firsts) and self._firsts[index] == tsn + 1
        if joins_before and joins_after:
            self._lasts[index - 1] = self._lasts.pop(index)
            del self._firsts[index]
        elif joins_before:
            self._lasts[index - 1] = tsn
        elif joins_after:
            self._firsts[index] = tsn
        else:
            self._firsts.insert(index, tsn)
            self._lasts.insert(index, tsn)

    def take_prefix(self, cumulative: int) -> int:
        """Drop what is not above `cumulative` or follows it without a gap; return where that ends."""
        while self._firsts and self._firsts[0] <= cumulative + 1:
            cumulative = max(cumulative, self._lasts.pop(0))
            del self._firsts[0]
        return cumulative

    def first(self, count: int) -> list[TsnRange]:
        """The `count` lowest ranges."""
        return list(zip(self._firsts[:count], self._lasts[:count], strict=True))
