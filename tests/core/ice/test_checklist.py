import pytest

from trio_webrtc.core.ice import PairState, parse_candidate
from trio_webrtc.core.ice.base import Base
from trio_webrtc.core.ice.checklist import Checklist
from trio_webrtc.core.ice.pair import CandidatePair

BASE = Base(via="via", address=("10.0.0.1", 1), local_preference=1)
LOCAL = parse_candidate("1 1 udp 2130706431 10.0.0.1 1 typ host")


def new_pair(port, *, priority=None, foundation=None):
    remote = parse_candidate(f"{foundation or port} 1 udp {priority or port} 10.0.0.2 {port} typ host")
    pair = CandidatePair(base=BASE, local=LOCAL, remote=remote, remote_address=("10.0.0.2", port))
    pair.prioritize(controlling=True)
    return pair


@pytest.fixture
def checklist():
    return Checklist(max_pairs=3)


def test_pairs_are_checked_in_the_order_of_their_priorities(checklist):
    for port in (2, 3, 1):
        checklist.add(new_pair(port))
    order = []
    while (pair := checklist.next_ordinary()) is not None:
        order.append(pair.remote.port)
        pair.state = PairState.IN_PROGRESS
    assert order == [3, 2, 1]


def test_the_priority_of_a_pair_follows_the_formula():
    pair = new_pair(5, priority=100)
    assert pair.priority == (100 << 32) + 2 * 2130706431 + 1
    pair.prioritize(controlling=False)
    assert pair.priority == (100 << 32) + 2 * 2130706431


def test_triggered_checks_go_first_and_not_before_their_time(checklist):
    for port in (1, 2):
        checklist.add(new_pair(port))
    low = checklist.pairs[1]
    checklist.trigger(low, not_before=5.0)
    assert checklist.next_triggered() == 5.0
    assert checklist.pop_triggered(4.9) is None
    assert checklist.pop_triggered(5.0) is low
    assert checklist.pop_triggered(5.0) is None


def test_of_pairs_that_share_a_foundation_one_goes_ahead(checklist):
    first, second = new_pair(2, foundation="same"), new_pair(1, foundation="same")
    checklist.add(first)
    checklist.add(second)
    assert (first.state, second.state) == (PairState.WAITING, PairState.FROZEN)
    first.state = PairState.IN_PROGRESS
    assert checklist.next_ordinary() is None
    checklist.unfreeze(first)
    assert checklist.next_ordinary() is second


def test_a_frozen_pair_thaws_when_the_one_ahead_has_failed(checklist):
    first, second = new_pair(2, foundation="same"), new_pair(1, foundation="same")
    checklist.add(first)
    checklist.add(second)
    first.state = PairState.FAILED
    assert checklist.next_ordinary() is second


def test_a_full_list_keeps_the_best(checklist):
    for port in (1, 2, 3):
        assert checklist.add(new_pair(port))
    assert checklist.add(new_pair(4))
    assert [pair.remote.port for pair in checklist.pairs] == [4, 3, 2]
    assert not checklist.add(new_pair(1))
    assert checklist.at("via", ("10.0.0.2", 1)) is None


def test_a_full_list_has_room_for_a_pair_from_which_the_peer_has_checked(checklist):
    for port in (2, 3, 4):
        checklist.add(new_pair(port))
    checklist.pairs[2].state = PairState.SUCCEEDED
    assert checklist.add(new_pair(1), proven=True)
    assert [pair.remote.port for pair in checklist.pairs] == [4, 2, 1]


def test_nothing_is_dropped_for_a_full_list_of_pairs_under_way(checklist):
    for port in (2, 3, 4):
        checklist.add(new_pair(port))
        checklist.at("via", ("10.0.0.2", port)).state = PairState.IN_PROGRESS
    assert not checklist.add(new_pair(5), proven=True)


def test_only_better_pairs_than_a_choice_that_may_change_are_still_checked(checklist):
    low, middle, high = (new_pair(port) for port in (1, 2, 3))
    for pair in (low, middle, high):
        checklist.add(pair)
        pair.state = PairState.IN_PROGRESS
    middle.state = PairState.SUCCEEDED
    assert checklist.conclude(middle, for_good=False) == [low]
    assert checklist.is_wanted(high)
    assert not checklist.is_wanted(low)
    assert checklist.conclude(middle, for_good=True) == [high]
    assert not checklist.has_unfinished()
