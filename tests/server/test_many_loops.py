"""Several event loops at once, each with its own server: nothing is shared, so nothing of one is seen in another."""

import signal
import subprocess
import sys
import threading
from pathlib import Path

from ..test_globals import snapshot
from .conftest import RUNS
from .loops import Killed, Outcome, run_loop

LOOPS, PEERS = (8, 10) if RUNS >= 100 else (4, 4)
PROJECT = Path(__file__).parents[2]


def test_loops_in_threads_share_nothing_and_outlive_one_that_is_killed():
    """Founding case 3, C11, G1, G2: data is whole, timers fire on their threads, also when another loop has died."""
    before = snapshot()
    outcomes = [Outcome(seed) for seed in range(LOOPS)]
    threads = [
        threading.Thread(target=run_loop, args=(o.seed, PEERS, o), kwargs={"kill_after": 1 if o.seed == 0 else None})
        for o in outcomes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert not any(thread.is_alive() for thread in threads)

    killed, *others = outcomes
    assert isinstance(killed.error, ExceptionGroup)
    assert killed.error.subgroup(Killed) is not None
    assert killed.error.split(Killed)[1] is None, "nothing else went wrong in the loop that was killed"
    for outcome in others:
        assert outcome.error is None
        assert outcome.finished == PEERS
        assert outcome.retransmitted > 0
    assert all(len(outcome.threads) == 1 for outcome in outcomes)
    assert len(set().union(*(outcome.threads for outcome in outcomes))) == LOOPS
    assert snapshot() == before


def test_loops_in_processes_outlive_one_that_is_killed():
    """The same as in threads, where even the interpreter is not shared; and nobody can clean up after who is killed."""
    victim, *others = [start_process(seed, PEERS * (1 if seed else 3)) for seed in range(3)]
    with victim:
        assert victim.stdout.readline() == b"1\n", "it has served one of many, as the others have by now"
        victim.kill()
    assert victim.returncode == -signal.SIGKILL
    for process in others:
        output, _ = process.communicate(timeout=300)
        assert output.splitlines()[-1:] == [b"%d" % PEERS]
        assert process.returncode == 0


def start_process(seed: int, peers: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.server.loops", str(seed), str(peers)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE)
