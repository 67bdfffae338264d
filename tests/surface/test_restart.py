"""ICE restarts of whole peers that are busy: megabytes in both directions, on a way that loses."""

import hashlib
import random

import pytest
import trio

from trio_webrtc import PeerConnection

from .conftest import RUNS, MakeWorld, negotiate

RESTARTS = 10
MESSAGE_SIZE = 60_000
MESSAGES = 50
"""With their size: 3 MB in each direction."""


@pytest.mark.parametrize("restarter", ["offerer", "answerer", "each in turn"])
@pytest.mark.parametrize("run", range(max(1, RUNS // 20)))
async def test_megabytes_in_both_directions_outlive_ten_restarts_on_a_lossy_way(
    make_world: MakeWorld, autojump_clock, restarter: str, run: int
):
    world = make_world(run, loss=0.02, bandwidth=250_000)
    async with world.meet() as (caller, callee, near, far):
        turns = {"offerer": (caller,), "answerer": (callee,), "each in turn": (caller, callee)}[restarter]
        seen: set[str] = set()
        done: list[None] = []

        async def transfer(sender, receiver, seed):
            messages = [random.Random(seed + number).randbytes(MESSAGE_SIZE) for number in range(MESSAGES)]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_all, sender, messages)
                for message in messages:
                    assert digest(await receiver.receive()) == digest(message)
            done.append(None)

        with trio.fail_after(600):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transfer, near, far, 0)
                nursery.start_soon(transfer, far, near, MESSAGES)
                for number in range(RESTARTS):
                    await trio.sleep(0.5)
                    one = turns[number % len(turns)]
                    other = callee if one is caller else caller
                    one.restart_ice()
                    await negotiate(one, other)
                    assert not done, "the restarts come while data flows"
                    fragments = {ufrag(caller), ufrag(callee)}
                    assert fragments.isdisjoint(seen)
                    seen |= fragments
        assert caller.connection_state == callee.connection_state == "connected"
        assert len(seen) == 2 * RESTARTS


async def send_all(channel, messages):
    for message in messages:
        await channel.send(message)


def digest(message: bytes) -> str:
    """Short enough to be shown where two differ."""
    return hashlib.sha256(message).hexdigest()


def ufrag(peer: PeerConnection) -> str:
    return next(line for line in peer.local_description.sdp.splitlines() if line.startswith("a=ice-ufrag"))
