"""The small parts, each by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.sctp import SctpSettings
from trio_webrtc.core.sctp.congestion import CongestionWindow
from trio_webrtc.core.sctp.rto import RetransmissionTimeout
from trio_webrtc.core.sctp.tsn_ranges import TsnSet, subtract


def as_ranges(numbers):
    ranges = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def as_numbers(ranges):
    return {number for first, last in ranges for number in range(first, last + 1)}


numbers = st.sets(st.integers(1, 60))


@given(numbers, numbers)
def test_ranges_are_subtracted_as_sets_are(some, others):
    difference = list(subtract(as_ranges(some), as_ranges(others)))
    assert as_numbers(difference) == some - others
    assert difference == sorted(difference)


@given(st.lists(st.integers(1, 60), unique=True), st.integers(0, 70))
def test_a_tsn_set_holds_what_was_put_in(added, cumulative):
    tsns = TsnSet()
    for number in added:
        assert number not in tsns
        tsns.add(number)
    assert tsns.first(100) == as_ranges(added)
    assert [number for number in range(70) if number in tsns] == sorted(added)
    assert tsns.highest == max(added, default=None)
    expected = cumulative
    while expected + 1 in added:
        expected += 1
    assert tsns.take_prefix(cumulative) == expected
    assert tsns.first(100) == as_ranges(number for number in added if number > expected)


def test_a_prompt_answer_to_what_was_sent_again_ends_the_doubling_and_a_late_one_does_not():
    rto = RetransmissionTimeout(SctpSettings(rto_initial=1.0, rto_min=0.1, rto_max=5.0))
    rto.measured(0.05)
    learnt = rto.value
    for _ in range(4):
        rto.back_off()
    rto.confirmed(0.2)  # the first transmission may have been answered, by a network that has become slow
    assert rto.value == 16 * learnt
    rto.confirmed(0.06)
    assert rto.value == learnt


def test_a_stream_reset_doubles_its_own_timeout_and_not_that_of_data():
    rto = RetransmissionTimeout(SctpSettings(rto_initial=1.0, rto_min=0.1, rto_max=5.0))
    rto.back_off()
    assert [rto.after(timeouts) for timeouts in range(4)] == [1.0, 2.0, 4.0, 5.0]
    assert rto.value == 2.0


def test_the_timeout_follows_the_round_trip_and_doubles_without_answers():
    rto = RetransmissionTimeout(SctpSettings(rto_initial=1.0, rto_min=0.1, rto_max=5.0))
    assert rto.value == 1.0
    rto.measured(0.2)
    assert (rto.srtt, rto.value) == (0.2, pytest.approx(0.2 + 4 * 0.1))
    for _ in range(100):
        rto.measured(0.2)
    assert rto.value == pytest.approx(0.2, abs=0.01)
    for expected in (0.4, 0.8, 1.6, 3.2, 5.0, 5.0):
        rto.back_off()
        assert rto.value == pytest.approx(expected, rel=0.01)
    for _ in range(100):
        rto.measured(0.001)
    assert rto.value == 0.1


def test_congestion_avoidance_adds_one_packet_per_window():
    window = CongestionWindow(SctpSettings(), 1_000)
    window.timed_out(0)
    assert (window.size, window.threshold) == (1_000, 5_000)
    while window.size <= window.threshold:
        window.sent(window.size)
        window.acknowledged(window.size, True, 0, 0)
    size = window.size
    for _ in range(size // 1_000):
        assert window.size == size
        window.sent(size)
        window.acknowledged(1_000, True, size - 1_000, 0)
    assert window.size == size + 1_000


def test_a_window_that_is_not_used_does_not_grow():
    window = CongestionWindow(SctpSettings(), 1_000)
    for _ in range(100):
        window.sent(2_000)
        window.acknowledged(2_000, True, 0, 0)
    assert window.size == 10_000


def test_a_recovery_shrinks_the_window_once_unless_something_is_lost_again():
    window = CongestionWindow(SctpSettings(), 1_000)
    window.size = 100_000
    assert window.lost(50, again=False)
    assert not window.lost(60, again=False)
    assert window.size == window.threshold == 50_000
    assert window.lost(60, again=True)
    assert window.size == 25_000
    assert window.in_recovery
    window.acknowledged(1_000, True, 10_000, 59)
    assert window.in_recovery
    window.acknowledged(1_000, True, 10_000, 60)
    assert not window.in_recovery


@pytest.mark.parametrize("wrong", [{"max_message_size": 600_000}, {"streams": 0}, {"streams": 65_536}])
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ValueError, match=r"half|streams"):
        SctpSettings(**wrong)
