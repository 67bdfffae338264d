"""Gives a body's own exception back out of a nursery's ExceptionGroup.

A nursery wraps whatever leaves it in a group. That nurseries are at work inside a scope is no affair of the code that
uses the scope: `except ValueError` around it has to catch the ValueError raised in it.
"""

import contextlib
from types import TracebackType

import trio


class UnwrappingNursery(contextlib.AbstractAsyncContextManager[trio.Nursery, bool | None]):
    """`trio.open_nursery()`, but what its body or one of its tasks raised comes out as itself.

    That is, if there is nothing else in the group but `Cancelled`; otherwise the group comes out as it is.
    """

    def __init__(self) -> None:
        self._manager = trio.open_nursery()

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> trio.Nursery:
        return await self._manager.__aenter__()

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        try:
            return await self._manager.__aexit__(kind, error, traceback)  # noqa: ASYNC102 - as a nursery's own
        except BaseExceptionGroup as group:
            essence = _essence(group, error)
        if essence is error:
            return False  # which has Python go on raising it, as if there had been no nursery
        # Raised from within `__aexit__`, it would get the body's exception for its context.
        context = essence.__context__
        try:
            raise essence
        finally:
            essence.__context__ = context
            del essence, error, context  # the traceback refers to this frame: a cycle otherwise


def _essence(group: BaseExceptionGroup[BaseException], own: BaseException | None) -> BaseException:
    """The one exception that says what happened, or the group if there is none."""
    telling = [member for member in group.exceptions if not is_only_cancelled(member)]
    if len(telling) == 1:
        return telling[0]
    if not telling:
        return own or group.exceptions[0]
    return group


def is_only_cancelled(error: BaseException) -> bool:
    """Whether nothing but a cancellation is at work in this exception."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_only_cancelled(member) for member in error.exceptions)
    return isinstance(error, trio.Cancelled)
