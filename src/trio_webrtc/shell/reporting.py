"""Log lines that a stranger can cause, as many as one can read.

Whoever may connect to a server may also make it complain. Of each kind of complaint a few are written, and then one
every now and then, which tells how many others there were. And since a complaint may repeat what a stranger has sent,
it is made short, and one line.
"""

import logging
from dataclasses import dataclass
from typing import Final

import trio

MAX_REPORTS_AT_ONCE: Final = 5
"""How many complaints of one kind are written before the first is left out."""

REPORT_INTERVAL: Final = 10.0
"""Seconds after which another complaint of a kind may be written."""

MAX_EXCERPT: Final = 200
"""Characters of a text that may hold what a stranger has sent."""


def excerpt(text: str) -> str:
    """The beginning of a text, as one line of what can be printed: no more of it can hide, forge or fill anything."""
    beginning = text[: MAX_EXCERPT + 1]
    line = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in beginning)
    return line if len(line) <= MAX_EXCERPT else line[: MAX_EXCERPT - 1] + "…"


@dataclass(slots=True)
class _Allowance:
    """What may still be written of one kind: a token bucket."""

    left: float
    as_of: float
    left_out: int = 0


class Reporter:
    """Writes to a logger, but of each kind of line no more than can be read.

    Args:
        logger: where the lines go.
        name: what stands before each of them.
    """

    def __init__(self, logger: logging.Logger, name: str) -> None:
        self._logger = logger
        self._name = name
        self._allowances: dict[str, _Allowance] = {}

    def report(self, kind: str, level: int, text: str, *, error: BaseException | None = None) -> None:
        """Write a line, or count it among those left out. `kind` is one of a few, never what a stranger has sent."""
        now = trio.current_time()
        allowance = self._allowances.setdefault(kind, _Allowance(MAX_REPORTS_AT_ONCE, now))
        gained = (now - allowance.as_of) / REPORT_INTERVAL
        allowance.left, allowance.as_of = min(MAX_REPORTS_AT_ONCE, allowance.left + gained), now
        if allowance.left < 1:
            allowance.left_out += 1
            return
        more = f" (and {allowance.left_out} more like it before)" if allowance.left_out else ""
        allowance.left, allowance.left_out = allowance.left - 1, 0
        self._logger.log(level, "%s: %s%s", self._name, excerpt(text), more, exc_info=error)
