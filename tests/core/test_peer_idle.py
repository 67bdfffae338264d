"""A week in which nobody says anything, at its true pace: without a loop above the cores, a day of it takes seconds.

The same week under Trio, which takes three times as long, is one of `tests/surface/test_long_runs.py`.
"""

import gc
import os
import random
import sys
from collections import deque

from .test_peer import PeerPair

DAY = 24 * 3600.0
DAYS = int(os.environ.get("TRIO_WEBRTC_IDLE_DAYS", "1"))

PER_DAY = range(38_000, 44_000)
"""Datagrams of one side: a check of consent every 5 s, an answer to each of the peer's, a heartbeat every 30 s, an
answer to each of the peer's, and some for those that were lost."""


def memory() -> int:
    """How many blocks of memory are in use."""
    gc.collect()
    return sys.getallocatedblocks()


def test_two_idle_peers_keep_asking_for_leave_to_send_at_their_pace_and_do_not_grow():
    pair, chance = PeerPair(), random.Random(1)
    peers = pair.a, pair.b
    near, far = pair.connect()

    def spend(seconds: float) -> None:
        pair.run(seconds, rng=chance, latency=0.02, jitter=0.01, loss=0.02)

    for peer in peers:
        peer.sent = deque(maxlen=0)
    spend(900)
    before = memory()
    for _ in range(DAYS):
        sent_before = [peer.core.traffic.datagrams_sent for peer in peers]
        spend(DAY)
        for peer, sent in zip(peers, sent_before, strict=True):
            assert peer.core.traffic.datagrams_sent - sent in PER_DAY
            assert peer.states == ["connecting", "connected"]
    assert memory() - before < 500
    pair.transfer(near, far, ["still there?"])
