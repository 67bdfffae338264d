"""Ctrl-C at a random moment: the goodbyes leave, everything is freed, and KeyboardInterrupt comes out as itself."""

import gc
import random
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio
import trio.testing

from trio_webrtc.testing import DatagramSent, SocketClosed, VirtualNetwork

from .conftest import RUNS, World
from .quiescence import watched_objects

LIFE = 0.03
"""Real seconds that one connection's life takes here, roughly; the interrupt lands somewhere in it."""


@contextmanager
def alarms_interrupt() -> Iterator[None]:
    """Make Ctrl-C of an alarm, at whatever instruction the program is by then.

    Python drops what is raised in callbacks of the garbage collector, of which Hypothesis has one. Who presses Ctrl-C
    in vain presses it again.
    """
    report_unraisable = sys.unraisablehook

    def press_again(dropped: "sys.UnraisableHookArgs") -> None:
        if isinstance(dropped.exc_value, KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.001)
        else:
            report_unraisable(dropped)

    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    sys.unraisablehook = press_again
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        sys.unraisablehook = report_unraisable


def test_a_ctrl_c_that_python_drops_is_pressed_again():
    def drop(phase: str, _: object) -> None:
        gc.callbacks.remove(drop)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt), alarms_interrupt():
        gc.callbacks.append(drop)
        gc.collect()
        time.sleep(5)


async def live(world: World, seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)  # not before: Trio's own start is not what is tested
    async with world.meet() as (_, _, near, far):
        while True:
            await near.send("ping")
            await far.send(await far.receive())
            await near.receive()


@pytest.mark.parametrize("seed", range(RUNS))
def test_ctrl_c_lets_the_goodbyes_leave_and_leaves_nothing_behind(seed: int):
    moment = random.Random(seed).uniform(0.001, LIFE)
    network = VirtualNetwork(seed=seed, latency=0.02)
    world = World(network, network.add_host("10.0.0.1"), network.add_host("10.0.0.2"))
    known = {id(reference()) for reference in watched_objects()}
    with pytest.raises(KeyboardInterrupt), alarms_interrupt():
        trio.run(live, world, moment, clock=trio.testing.MockClock(autojump_threshold=0))
    gc.collect()
    assert not network.open_sockets
    assert not [reference() for reference in watched_objects() if id(reference()) not in known]
    for host in (world.left, world.right):
        own = [
            entry
            for entry in network.log
            if (entry.address if isinstance(entry, SocketClosed) else entry.from_)[0] in host.addresses
        ]
        records = [entry.data[0] for entry in own if isinstance(entry, DatagramSent) and 20 <= entry.data[0] <= 63]
        if 23 in records:  # application data: DTLS was up
            assert records[-1] == 21, "the last record is the close_notify"
        assert all(
            isinstance(entry, SocketClosed) for entry in own[len([e for e in own if isinstance(e, DatagramSent)]) :]
        )
