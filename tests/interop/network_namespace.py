"""A network that only this thread and the processes it starts in it can see (network_namespaces(7))."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

ADDRESS = "10.9.0.1"
"""Firefox neither gathers loopback addresses nor connects to them."""

CLONE_NEWNET = 0x40000000
_OWN = "/proc/thread-self/ns/net"


@contextmanager
def own_network() -> Iterator[None]:
    """Have this thread's sockets on a network of its own, whose one address is `ADDRESS`, besides loopback.

    Raises OSError or CalledProcessError where that is not permitted.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open(_OWN, os.O_RDONLY)
    try:
        if libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNET)")
        try:
            _ip("link", "set", "lo", "up")
            _ip("link", "add", "near", "type", "veth", "peer", "name", "far")
            _ip("address", "add", f"{ADDRESS}/24", "dev", "near")
            _ip("link", "set", "near", "up")
            _ip("link", "set", "far", "up")
            _ip("route", "add", "default", "dev", "near")  # without one Firefox gathers nothing
            yield
        finally:
            if libc.setns(before, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns()")
    finally:
        os.close(before)


def enter_command() -> list[str]:
    """What to put before a command for it to run on this thread's network, whichever thread starts it."""
    return ["nsenter", f"--net=/proc/{os.getpid()}/ns/net", "--"]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
