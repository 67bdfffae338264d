import random

import pytest

from trio_webrtc.core.ice.clock import STARVATION, FairClock


def test_time_passes_inside_as_outside_as_long_as_timers_fire_in_time():
    clock = FairClock()
    for now in (5.0, 5.5, 7.0):
        assert clock.read(now, due=now) == now
    assert clock.outside(9.0) == 9.0


def test_what_a_timer_is_late_by_has_not_passed():
    clock = FairClock()
    clock.read(10.0, due=None)
    assert clock.read(100.0, due=12.0) == 12.0
    assert clock.outside(13.0) == pytest.approx(101.0)
    assert clock.read(101.0, due=13.0) == pytest.approx(13.0)


def test_a_little_lateness_is_the_peers():
    clock = FairClock()
    assert clock.read(10.0 + STARVATION, due=10.0) == 10.0 + STARVATION


@pytest.mark.parametrize("seed", range(5))
def test_what_is_due_outside_is_due_inside(seed):
    """Else whoever asks when to come would come too early, for ever."""
    rng = random.Random(seed)
    clock = FairClock()
    clock.read(rng.random() * 1000, due=None)
    now = 2000 + rng.random()
    for _ in range(1000):
        clock.read(now + 10 * rng.random() + 2, due=clock.read(now, due=None))  # late: a part of the time gets lost
        due = clock.read(now, due=None) + rng.random()
        now = clock.outside(due)
        assert clock.read(now, due=due) >= due
