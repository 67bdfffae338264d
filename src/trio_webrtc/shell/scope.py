"""Asynchronous context managers that Ctrl-C cannot leave half-way.

With `contextlib.asynccontextmanager` a KeyboardInterrupt that lands inside contextlib's own code, between the body's
end and the generator's `finally`, skips that `finally`: sockets and tasks stay behind.
"""

import contextlib
import functools
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Generic, ParamSpec, TypeVar

import trio

_T = TypeVar("_T")
_P = ParamSpec("_P")


class Scope(contextlib.AbstractAsyncContextManager[_T, bool | None], Generic[_T]):
    """What a function decorated with `scope` returns: for one `async with`."""

    def __init__(self, manager: contextlib.AbstractAsyncContextManager[_T, bool | None]) -> None:
        self._manager = manager

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> _T:
        return await self._manager.__aenter__()

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        return await self._manager.__aexit__(kind, error, traceback)  # noqa: ASYNC102 - it shields what has to be


def scope(function: Callable[_P, AsyncIterator[_T]]) -> Callable[_P, Scope[_T]]:
    """Make a context manager of a generator, as `contextlib.asynccontextmanager` does, protected from Ctrl-C.

    Only entering and leaving are protected; the body is not.
    """
    make_manager = contextlib.asynccontextmanager(function)

    @functools.wraps(function)
    def make_scope(*args: _P.args, **kwargs: _P.kwargs) -> Scope[_T]:
        return Scope(make_manager(*args, **kwargs))

    return make_scope
