"""A bound on what is done for people who have proved nothing."""


class Ration:
    """So many of something in every second, and no more."""

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._since = -1.0
        self._left = 0

    def take(self, now: float) -> bool:
        """Take one, if there is one left."""
        if now - self._since >= 1:
            self._since, self._left = now, self._per_second
        if self._left == 0:
            return False
        self._left -= 1
        return True
