"""A network that only this process and those that it starts meanwhile can see (network_namespaces(7))."""

import ctypes
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import trio

ADDRESS = "10.9.0.1"
"""Firefox neither gathers loopback addresses nor connects to them."""

CLONE_NEWNET = 0x40000000
PATIENCE = 10.0
_OWN = "/proc/thread-self/ns/net"
_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def own_network() -> Iterator[None]:
    """Be on a network of one's own, whose one address is `ADDRESS`, besides loopback.

    To be entered outside of `trio.run()`. Raises OSError or CalledProcessError where that is not permitted.
    """
    before = os.open(_OWN, os.O_RDONLY)
    try:
        if _libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
        try:
            _build()
            here = os.open(_OWN, os.O_RDONLY)
            try:
                _move_worker_threads(here)
            finally:
                os.close(here)
            yield
        finally:
            _enter(before)
            _move_worker_threads(before)
    finally:
        os.close(before)


def _build() -> None:
    for command in (
        "link set lo up",
        "link add near type veth peer name far",
        f"address add {ADDRESS}/24 dev near",
        "link set near up",
        "link set far up",
        "route add default dev near",  # without one Firefox gathers nothing
    ):
        subprocess.run(["ip", *command.split()], check=True, capture_output=True)


def _enter(namespace: int) -> None:
    if _libc.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns()")


def _move_worker_threads(namespace: int) -> None:
    """A thread has its own network. Trio keeps threads for a while after their work, and starts processes in them."""
    count = threading.active_count()  # there are no more of them than this
    all_are_at_work = threading.Barrier(count)

    def move() -> None:
        all_are_at_work.wait(PATIENCE)
        _enter(namespace)

    async def move_all() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(partial(trio.to_thread.run_sync, move, limiter=trio.CapacityLimiter(1)))

    trio.run(move_all)
