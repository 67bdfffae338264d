"""The oracle for what a scope leaves behind: nothing."""

import functools
import gc
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from OpenSSL import SSL

from trio_webrtc import DataChannel, PeerConnection, WebRtcServer
from trio_webrtc.core.dtls import Session
from trio_webrtc.core.ice import Agent, LiteAgent
from trio_webrtc.core.peer import PeerCore
from trio_webrtc.core.sctp import Association
from trio_webrtc.shell.accepting import Guest
from trio_webrtc.shell.path import Path
from trio_webrtc.shell.port import Port
from trio_webrtc.shell.switchboard import Seat
from trio_webrtc.shell.tcp import TcpConnection

WATCHED = (
    *(PeerConnection, DataChannel, PeerCore, Agent, LiteAgent, Session, SSL.Connection, Association),
    *(WebRtcServer, Seat, Guest, Path, Port, TcpConnection),
)


def tasks() -> int:
    """How many tasks there are in this event loop."""
    count, nurseries = 1, list(trio.lowlevel.current_root_task().child_nurseries)
    while nurseries:
        for task in nurseries.pop().child_tasks:
            count += 1
            nurseries.extend(task.child_nurseries)
    return count


def descriptors() -> set[str]:
    """The open descriptors of this process."""
    return set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()  # noqa: PTH112, PTH208


def watched_objects() -> list[weakref.ref]:
    return [weakref.ref(found) for found in gc.get_objects() if _is_watched(type(found))]


@functools.cache  # there are hundreds of thousands of objects, and abstract classes take their time to judge one
def _is_watched(kind: type) -> bool:
    return issubclass(kind, WATCHED)


@contextmanager
def no_objects_stay_behind() -> Iterator[None]:
    """Asserts that threads, descriptors and objects are afterwards what they were before."""
    gc.collect()
    threads, before = threading.active_count(), descriptors()
    known = {id(reference()) for reference in watched_objects()}
    yield
    gc.collect()
    left = [reference() for reference in watched_objects() if id(reference()) not in known]
    assert not left, f"left behind: {left}"
    assert descriptors() == before
    assert threading.active_count() <= threads  # Trio's idle worker threads end by themselves


@contextmanager
def no_objects_wait_for_the_collector() -> Iterator[None]:
    """Asserts that objects go with the last reference to them: no two of them keep each other."""
    gc.collect()
    gc.disable()
    try:
        known = {id(reference()) for reference in watched_objects()}
        yield
        left = [reference() for reference in watched_objects() if id(reference()) not in known]
        assert not left, f"left to the collector: {left}"
    finally:
        gc.enable()


@contextmanager
def nothing_stays_behind() -> Iterator[None]:
    """Asserts that tasks, too, are afterwards what they were before."""
    before = tasks()
    with no_objects_stay_behind():
        yield
    assert tasks() == before
