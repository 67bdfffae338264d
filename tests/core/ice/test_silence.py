"""The selected way dies without a word, while others between the same two peers still work."""

import pytest

from trio_webrtc.core.ice import PairSelected, PairState
from trio_webrtc.core.stun import MessageClass

LEFT, OTHER_LEFT = ("10.0.0.1", 1001), ("10.0.1.1", 1001)
RIGHT, OTHER_RIGHT = ("10.0.0.2", 2002), ("10.0.1.2", 2002)

ROLES = pytest.mark.parametrize("controlling", [(True, False), (False, True)], ids=["left controls", "right controls"])


@pytest.fixture
def new_roomy_pair(new_pair):
    """Two connected sides with two addresses each."""

    def make(**options):
        world, left, right = new_pair(**options)
        left.bind(*OTHER_LEFT, local_preference=1)
        right.bind(*OTHER_RIGHT, local_preference=1)
        world.connect()
        world.run(2)
        assert path(left) == (LEFT, RIGHT)
        return world, left, right

    return make


def path(side):
    pair = side.agent.selected_pair
    return pair and (pair.via, pair.remote_address)


def cut(world, *ways):
    world.passes = lambda from_, to: {from_, to} not in [set(way) for way in ways]


@ROLES
def test_another_pair_that_works_is_taken_long_before_consent_expires(new_roomy_pair, controlling):
    world, left, right = new_roomy_pair(controlling=controlling)
    cut(world, (LEFT, RIGHT))
    world.run(15)
    assert path(left) != (LEFT, RIGHT)
    assert path(left) == path(right)[::-1]
    assert left.states[-1] in {"connected", "completed"}
    assert "failed" not in left.states + right.states
    assert [len(side.told(PairSelected)) for side in (left, right)] == [2, 2]


@ROLES
def test_of_the_other_pairs_one_that_works_is_found(new_roomy_pair, controlling):
    world, left, right = new_roomy_pair(controlling=controlling)
    cut(world, (LEFT, RIGHT), (LEFT, OTHER_RIGHT), (OTHER_LEFT, RIGHT))
    world.run(15)
    assert path(left) == path(right)[::-1] == (OTHER_LEFT, OTHER_RIGHT)
    world.run(60)
    assert "failed" not in left.states + right.states


@ROLES
def test_nothing_else_is_taken_where_the_selected_pair_comes_back_first(new_roomy_pair, controlling):
    world, left, right = new_roomy_pair(controlling=controlling)
    world.passes = lambda from_, to: False
    world.run(15)
    assert left.states[-1] == "disconnected"
    world.passes = lambda from_, to: {from_, to} == {LEFT, RIGHT}
    world.run(5)
    assert path(left) == path(right)[::-1] == (LEFT, RIGHT)
    assert left.states[-1] in {"connected", "completed"}
    assert all(pair.state is not PairState.IN_PROGRESS for pair in left.agent.pairs_snapshot())
    world.log.clear()
    world.run(30)
    assert (
        world.sent(MessageClass.REQUEST, from_=OTHER_LEFT) == world.sent(MessageClass.REQUEST, from_=OTHER_RIGHT) == []
    )


def test_a_way_may_die_again_and_again(new_roomy_pair):
    world, left, right = new_roomy_pair()
    for _ in range(10):
        cut(world, path(left), path(right))
        world.run(20)
        assert path(left) == path(right)[::-1]
    assert "failed" not in left.states + right.states
    assert len(left.told(PairSelected)) == 11
