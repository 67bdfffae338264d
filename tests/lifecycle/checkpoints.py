"""Cancels a scope at an exact moment: when some task is about to take its n-th step."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

import trio_webrtc

Predicate = Callable[[trio.lowlevel.Task], bool]


class CancelAtStep(trio.abc.Instrument):
    """Counts the steps of the tasks that it watches, and cancels a scope just before the chosen one.

    A step is what a task does between two of its checkpoints, so that "before the n-th step" is "at the n-th
    checkpoint": a task that is cancelled before its step meets the cancellation at the end of it, and one that is
    blocked meets it where it waits. The watched task need not be the one that is cancelled.
    """

    def __init__(self, watches: Predicate, scope: trio.CancelScope, chosen: int | None) -> None:
        self.steps = 0
        self.latest: trio.lowlevel.Task | None = None
        """The task that took the latest of these steps."""
        self.scope = scope
        self._watches = watches
        self._chosen = chosen

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._watches(task):
            if self.steps == self._chosen:
                self.scope.cancel()
            self.steps += 1
            self.latest = task


@contextmanager
def cancel_at_step(watches: Predicate, chosen: int | None) -> Iterator[CancelAtStep]:
    """Cancel the body just before the chosen step; None: only count."""
    with trio.CancelScope() as scope:
        instrument = CancelAtStep(watches, scope, chosen)
        trio.lowlevel.add_instrument(instrument)
        try:
            yield instrument
        finally:
            trio.lowlevel.remove_instrument(instrument)


def own_steps() -> Predicate:
    """The steps of the task that calls this."""
    own = trio.lowlevel.current_task()
    return lambda task: task is own


def library_steps() -> Predicate:
    """The steps of the tasks that the library has started: those whose function is defined in it."""
    folder = str(Path(trio_webrtc.__file__).parent)
    return lambda task: (
        getattr(task.coro, "cr_code", None) is not None and task.coro.cr_code.co_filename.startswith(folder)
    )
