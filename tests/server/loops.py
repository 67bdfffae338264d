"""One event loop with a server and its peers, to be run beside others: in threads of a process, or as processes.

python -m tests.server.loops SEED PEERS

Prints a line with a number for each peer that has finished.
"""

import hashlib
import random
import sys
import threading
from dataclasses import dataclass, field

import trio
import trio.testing

from trio_webrtc.testing import VirtualNetwork

from .conftest import Joined, Site, connect

MESSAGES = 20
MAX_SIZE = 20_000


class Killed(Exception):
    """Raised in the middle of a loop that is to end so."""


@dataclass
class Outcome:
    """What became of one loop."""

    seed: int
    finished: int = 0
    """Peers whose messages came back as they were, in both directions."""
    threads: set[int] = field(default_factory=set)
    """Those on which the library was seen at work."""
    retransmitted: int = 0
    """Packets that only a timer or a gap report could bring: the reason why timers have to fire."""
    error: BaseException | None = None


def run_loop(seed: int, peers: int, outcome: Outcome, *, kill_after: int | None = None) -> None:
    """Run an event loop of its own, with a clock of its own, to the end; or to that of the peer `kill_after`."""
    try:
        trio.run(_serve, seed, peers, outcome, kill_after, clock=trio.testing.MockClock(autojump_threshold=0))
    except BaseException as error:
        outcome.error = error


async def _serve(seed: int, peers: int, outcome: Outcome, kill_after: int | None) -> None:
    network = VirtualNetwork(seed=seed, latency=0.02, jitter=0.02, loss=0.03)
    site = Site(network, network.add_host("10.0.0.1"), [])
    async with site.serve() as server, trio.open_nursery() as nursery:

        async def visit(number: int) -> None:
            rng = random.Random(f"{seed} {number}")
            async with connect(server, site.add_guest(), "tcp" if number % 2 else "udp") as joined:
                _watch_threads(joined, outcome)
                await _exchange(joined, rng)
                outcome.finished += 1
                print(outcome.finished, flush=True)
                outcome.retransmitted += joined.client._core.stage.association.counters.retransmitted_chunks
            if outcome.finished == kill_after:
                raise Killed

        for number in range(peers):
            nursery.start_soon(visit, number)


def _watch_threads(joined: Joined, outcome: Outcome) -> None:
    for connection in (joined.client, joined.peer):
        core = connection._core
        for name in ("receive_datagrams", "handle_timeout"):
            method = getattr(core, name)

            def watched(*args: object, method=method) -> None:
                outcome.threads.add(threading.get_ident())
                method(*args)

            setattr(core, name, watched)


async def _exchange(joined: Joined, rng: random.Random) -> None:
    """Send messages of random sizes and contents both ways at once; each side's digest has to be the other's."""

    async def send(channel, digest) -> None:
        for _ in range(MESSAGES):
            message = rng.randbytes(rng.randrange(MAX_SIZE))
            digest.update(message)
            await channel.send(message)

    async def receive(channel, digest) -> None:
        for _ in range(MESSAGES):
            digest.update(await channel.receive())

    digests = [hashlib.sha256() for _ in range(4)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, joined.near, digests[0])
        nursery.start_soon(receive, joined.far, digests[1])
        nursery.start_soon(send, joined.far, digests[2])
        nursery.start_soon(receive, joined.near, digests[3])
    assert digests[0].digest() == digests[1].digest()
    assert digests[2].digest() == digests[3].digest()


if __name__ == "__main__":
    outcome = Outcome(int(sys.argv[1]))
    run_loop(outcome.seed, int(sys.argv[2]), outcome)
    if outcome.error is not None:
        raise outcome.error
