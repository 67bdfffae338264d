"""A pair carries packets between two ends, and lets a test decide what becomes of each."""

import random

import pytest

from trio_webrtc.testing.pair import End, Pair


class Repeater:
    """Says what it is told to say, again every second until it hears `ok`, which it answers to everything else."""

    def __init__(self) -> None:
        self.outgoing, self.heard, self.batches = [], [], []
        self.due = None
        self.word = None

    def say(self, word, now) -> None:
        self.word, self.due = word, now + 1.0
        self.outgoing.append(word)

    def receive(self, batch, now) -> None:
        self.batches.append(len(batch))
        for word in batch:
            self.heard.append((now, word))
            if word == "ok":
                self.due = None
            else:
                self.outgoing.append("ok")

    def take(self, now):
        taken, self.outgoing = self.outgoing, []
        return taken

    def handle_timeout(self, now) -> None:
        if self.due is not None and self.due <= now:
            self.say(self.word, now)

    def end(self):
        return End(
            receive=self.receive,
            take_transmits=self.take,
            handle_timeout=self.handle_timeout,
            next_timeout=lambda: self.due,
        )


@pytest.fixture
def talkers():
    return Repeater(), Repeater()


@pytest.fixture
def pair(talkers):
    left, right = talkers
    return Pair(left=left.end(), right=right.end())


def test_what_is_delivered_arrives_and_is_answered(pair, talkers):
    left, right = talkers
    left.say("hello", pair.now)
    pair.drain()
    assert [item.packet for item in pair.in_flight] == ["hello"]
    pair.deliver()
    assert right.heard == [(0.0, "hello")]
    assert [item.packet for item in pair.in_flight] == ["ok"]


def test_a_duplicate_stays_on_its_way(pair, talkers):
    left, right = talkers
    left.say("hello", pair.now)
    pair.drain()
    pair.duplicate()
    pair.deliver(0)
    assert right.heard == [(0.0, "hello")] * 2


def test_what_is_lost_is_said_again_when_the_timer_fires(pair, talkers):
    left, right = talkers
    left.say("hello", pair.now)
    pair.drain()
    pair.lose()
    assert pair.fire_next_timer()
    pair.settle()
    assert right.heard == [(1.0, "hello")]
    assert not pair.fire_next_timer()


def test_exchange_lets_no_time_pass_and_delivers_in_batches(pair, talkers):
    left, right = talkers
    left.outgoing += ["one", "two", "three"]
    pair.exchange()
    assert (pair.now, right.batches, left.batches) == (0.0, [3], [3])


def test_a_run_is_decided_by_its_seed(talkers):
    def conversation(seed):
        left, right = Repeater(), Repeater()
        pair = Pair(left=left.end(), right=right.end())
        rng = random.Random(seed)
        left.say("hello", pair.now)
        pair.run(20.0, rng=rng, latency=0.1, jitter=0.05, loss=0.5)
        assert pair.now == 20.0
        return left.heard + right.heard

    assert conversation(1) == conversation(1)
    assert len({tuple(conversation(seed)) for seed in range(10)}) > 5


def test_a_run_stops_when_it_is_told_to(pair, talkers):
    left, _ = talkers
    left.say("hello", pair.now)
    assert pair.run(10.0, rng=random.Random(1), latency=0.25, until=lambda: bool(left.heard))
    assert pair.now == 0.5
    assert not pair.run(1.0, rng=random.Random(1), until=lambda: len(left.heard) > 1)


def test_two_ends_that_never_stop_talking_are_told_apart_from_a_slow_test():
    chatter = End(
        receive=lambda batch, now: None,
        take_transmits=lambda now: ["?"],
        handle_timeout=print,
        next_timeout=lambda: None,
    )
    with pytest.raises(AssertionError, match="still talking"):
        Pair(left=chatter, right=chatter).exchange()
