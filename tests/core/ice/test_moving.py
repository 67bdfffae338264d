"""A peer behind a NAT that gives it another address again and again, as one on a journey has."""

import pytest

HOME = ("10.0.0.2", 2002)
HERE = ("10.0.0.1", 1001)


def move(world, number):
    """From now on the right side is seen at another address, and reached there only."""
    outside = (f"198.51.{number // 250}.{number % 250 + 1}", 4000)
    world.translate(HOME, outside)
    world.passes = lambda from_, to: to in (HERE, outside)
    return outside


def is_followed_to(left, outside):
    selected = left.agent.selected_pair
    return selected is not None and selected.remote_address == outside and left.agent.is_validated(HERE, outside)


@pytest.mark.parametrize("controlling", [(True, False), (False, True)], ids=["controlling", "controlled"])
def test_a_peer_is_followed_to_its_new_address_within_consents_lifetime(new_connected_pair, controlling):
    world, left, _ = new_connected_pair(controlling=controlling)
    outside = move(world, 0)
    world.run(30, until=lambda: is_followed_to(left, outside))
    assert is_followed_to(left, outside)
    world.run(60)
    assert left.states[-1] in {"connected", "completed"}
    assert "failed" not in left.states


@pytest.mark.parametrize("controlling", [(True, False), (False, True)], ids=["controlling", "controlled"])
def test_a_peer_may_move_more_often_than_there_is_room_for_pairs(new_connected_pair, controlling):
    world, left, _ = new_connected_pair(controlling=controlling)
    for number in range(250):
        outside = move(world, number)
        world.run(30, until=lambda outside=outside: is_followed_to(left, outside))
        assert is_followed_to(left, outside), number
    assert len(left.agent.pairs_snapshot()) <= 100
