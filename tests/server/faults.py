"""System calls that fail, on a server's own sockets and on nobody else's."""

import _socket
import errno
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Faults:
    """Has system calls fail on the sockets with a certain local port: a server's, and those that it has accepted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch

    @contextmanager
    def on(
        self,
        port: int,
        *calls: str,
        error: str,
        times: int | None = None,
        only: Callable[[socket.socket, tuple[Any, ...]], bool] = lambda failing, arguments: True,
    ) -> Iterator[list[str]]:
        """Have calls fail, a number of times or always; tells which have."""
        failed: list[str] = []
        with self._monkeypatch.context() as patch:
            for call in calls:
                patch.setattr(socket.socket, call, _failing(call, port, getattr(errno, error), times, only, failed))
            yield failed


def _failing(call, port, number, times, only, failed):
    whole = getattr(socket.socket, call)

    def fail(self: socket.socket, *arguments):
        is_due = times is None or len(failed) < times
        if is_due and self.fileno() != -1 and _local_port(self) == port and only(self, arguments):
            failed.append(call)
            raise OSError(number, os.strerror(number))
        return whole(self, *arguments)

    return fail


def _local_port(of: socket.socket) -> int | None:
    return _socket.socket.getsockname(of)[1] if of.family in (socket.AF_INET, socket.AF_INET6) else None


def sending_to(address: tuple[str, int]) -> Callable[[socket.socket, tuple[Any, ...]], bool]:
    """Whether a call of sendto(2) or sendmsg(2) is for somebody."""
    return lambda failing, arguments: arguments[-1] == address


def connected_to(address: tuple[str, int]) -> Callable[[socket.socket, tuple[Any, ...]], bool]:
    """Whether a socket is that of a connection to somebody."""

    def is_connected(failing: socket.socket, arguments: tuple[Any, ...]) -> bool:
        try:
            return _socket.socket.getpeername(failing) == address
        except OSError:
            return False

    return is_connected
