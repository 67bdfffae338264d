import itertools

import pytest

from trio_webrtc.core.ice import ConsentLost
from trio_webrtc.core.ice.clock import FairClock
from trio_webrtc.core.stun import Message, MessageClass
from trio_webrtc.core.stun.message import ERROR_CODE

LEFT, RIGHT = ("10.0.0.1", 1001), ("10.0.0.2", 2002)


def test_consent_is_asked_for_every_four_to_six_seconds(new_connected_pair):
    world, left, _ = new_connected_pair()
    world.log.clear()
    world.run(120)
    times = [time for time, from_, _, data in world.log if from_ == LEFT and data[:2] == b"\0\1"]
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(4 <= gap <= 6.05 for gap in gaps)
    assert max(gaps) - min(gaps) > 0.5, "so that peers do not fall in step"
    assert left.states[-1] == "completed"
    assert left.agent.selected_pair.consent_requests_sent == len(times)
    assert left.agent.selected_pair.round_trip_time == pytest.approx(0.04)


def test_a_peer_that_vanishes_is_disconnected_within_eleven_seconds_and_failed_after_thirty(new_connected_pair):
    world, left, right = new_connected_pair()
    world.run(5)
    gone = world.now
    right.is_awake = False
    world.run(12, until=lambda: left.states[-1] == "disconnected")
    assert 5 <= world.now - gone <= 11.1
    assert left.agent.selected_pair is not None, "it may come back"
    world.run(40, until=lambda: left.states[-1] == "failed")
    assert 24 <= world.now - gone <= 30.1
    assert left.agent.selected_pair is None
    assert [round(event.silent_for) for event in left.told(ConsentLost)] == [30]
    assert "has not answered for 30 s" in left.agent.describe_failure()
    world.log.clear()
    world.run(60)
    assert [from_ for _, from_, _, _ in world.log if from_ == LEFT] == [], "RFC 7675: nothing more is sent"


def test_a_peer_that_comes_back_is_connected_again(new_connected_pair):
    world, left, right = new_connected_pair()
    world.run(1)
    world.passes = lambda from_, to: False
    world.run(15)
    assert left.states[-1] == right.states[-1] == "disconnected"
    world.passes = lambda from_, to: True
    world.run(1.5)
    assert left.states[-1] == right.states[-1] == "completed"


def test_a_peer_whose_address_has_changed_is_followed_once_the_old_one_is_silent(new_connected_pair):
    """As when its NAT forgets: what it sends comes from elsewhere, and nothing gets through to the old address."""
    world, left, right = new_connected_pair()
    world.run(1)
    world.translate(RIGHT, ("198.51.100.7", 4242))
    world.passes = lambda from_, to: to != RIGHT
    world.run(20)
    assert left.agent.selected_pair.remote_address == ("198.51.100.7", 4242)
    assert left.states == ["checking", "completed", "disconnected", "completed"]
    assert right.states == ["checking", "completed"]


def test_one_way_silence_is_silence(new_connected_pair):
    world, left, right = new_connected_pair()
    world.passes = lambda from_, to: from_ == LEFT
    world.run(60)
    assert left.states[-1] == right.states[-1] == "failed"


@pytest.mark.parametrize("seed", range(10))
def test_a_lossy_way_is_not_taken_for_a_lost_peer(new_connected_pair, seed):
    world, left, right = new_connected_pair(seed=seed, loss=0.15)
    world.run(600)
    for side in (left, right):
        assert "disconnected" not in side.states


def test_consent_does_not_expire_because_our_own_loop_was_late(new_connected_pair):
    world, left, _ = new_connected_pair()
    world.run(5)
    left.is_awake = False
    world.run(300)
    left.is_awake = True
    world.run(20)
    assert "disconnected" not in left.states
    assert left.states[-1] == "completed"


def test_a_loop_that_is_late_again_and_again_still_notices_a_peer_that_is_gone(new_connected_pair):
    world, left, right = new_connected_pair()
    right.is_awake = False
    for _ in range(60):
        left.is_awake = False
        world.run(10)
        left.is_awake = True
        world.run(2)
    assert left.states[-1] == "failed"


def test_a_datagram_that_is_read_late_counts_as_little_as_a_timer(new_connected_pair):
    """After a pause the reader may run before the timers do."""
    world, left, _ = new_connected_pair()
    world.run(5)
    left.is_awake = False
    world.run(300)
    left.is_awake = True
    left.agent.receive_datagrams([], world.now)
    left.drain()
    assert left.states[-1] == "completed"
    left.agent.handle_timeout(world.now)
    world.run(5)
    assert left.states[-1] == "completed"


def test_an_answer_that_is_not_the_peers_renews_nothing(new_connected_pair):
    world, left, _ = new_connected_pair()

    def forge(from_, data):
        return Message.decode(data).answer({}).encode(b"forged")

    del world.owner_of[RIGHT]
    world.servers[RIGHT] = forge
    world.run(40)
    assert left.states[-1] == "failed"


def test_a_peer_may_take_its_consent_back(new_connected_pair):
    world, left, right = new_connected_pair()

    def forbid(from_, data):
        message = Message.decode(data)
        if message.message_class is not MessageClass.REQUEST:
            return None
        refusal = Message(
            method=message.method,
            message_class=MessageClass.ERROR,
            transaction_id=message.transaction_id,
            attributes={ERROR_CODE: (403, "Forbidden")},
        )
        return refusal.encode(right.agent.local_credentials.key)

    world.servers[RIGHT] = forbid
    world.run(7)
    assert left.states[-1] == "failed"


def test_a_fair_clock_stands_still_while_it_is_not_read():
    clock = FairClock()
    assert clock.read(10.0, due=None) == 10.0
    assert clock.read(10.9, due=10.0) == 10.9, "a little late is no pause"
    assert clock.read(50.0, due=11.0) == 11.0
    assert clock.outside(12.0) == 51.0
    assert clock.read(50.5, due=12.0) == 11.5


def test_a_fair_clock_never_goes_back():
    clock = FairClock()
    assert clock.read(10.9, due=10.0) == 10.9
    assert clock.read(11.5, due=10.0) == 10.9
