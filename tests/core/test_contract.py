"""What all cores share: timers, runs, and the earliest of some moments."""

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from trio_webrtc.core.contract import TimerTable, earliest, split_run

NAMES = st.sampled_from("abcd")
MOMENTS = st.integers(0, 8).map(float)


class TimersLikeADictionary(RuleBasedStateMachine):
    """A table of timers tells what a dictionary of moments would, searched anew each time."""

    def __init__(self):
        super().__init__()
        self.table: TimerTable[str] = TimerTable()
        self.model: dict[str, float] = {}

    @rule(timer=NAMES, when=MOMENTS)
    def set(self, timer, when):
        self.table.set(timer, when)
        self.model[timer] = when

    @rule(timer=NAMES, when=MOMENTS)
    def set_if_off(self, timer, when):
        self.table.set_if_off(timer, when)
        self.model.setdefault(timer, when)

    @rule(timer=NAMES)
    def cancel(self, timer):
        self.table.cancel(timer)
        self.model.pop(timer, None)

    @rule()
    def clear(self):
        self.table.clear()
        self.model.clear()

    @rule(now=MOMENTS)
    def pop_expired(self, now):
        expired = self.table.pop_expired(now)
        assert sorted(expired) == sorted(timer for timer, when in self.model.items() if when <= now)
        moments = [self.model.pop(timer) for timer in expired]
        assert moments == sorted(moments)

    @invariant()
    def tells_the_same(self):
        assert self.table.earliest() == min(self.model.values(), default=None)
        for timer in "abcd":
            assert (timer in self.table) == (timer in self.model)
            assert self.table.due(timer) == self.model.get(timer)


TestTimersLikeADictionary = TimersLikeADictionary.TestCase


@given(st.binary(max_size=100), st.integers(1, 40))
def test_a_run_is_cut_into_pieces_of_one_size_and_a_shorter_last_one(data, size):
    pieces = split_run(data, size)
    assert b"".join(pieces) == data
    assert all(len(piece) == size for piece in pieces[:-1])
    assert len(pieces[-1]) <= size


def test_a_single_datagram_is_not_cut():
    assert split_run(b"abc", None) == [b"abc"]
    assert split_run(b"", None) == [b""]


def test_never_is_later_than_any_moment():
    assert earliest(None, 3.0, None, 2.0) == 2.0
    assert earliest(0.0, None) == 0.0
    assert earliest(None, None) is earliest() is None
