import pytest

from trio_webrtc.core.ice import Credentials, RoleSwitched
from trio_webrtc.core.stun import Message, MessageClass
from trio_webrtc.core.stun.message import USE_CANDIDATE, XOR_MAPPED_ADDRESS


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_a_role_conflict_is_settled_by_one_side_giving_way(new_pair, both, seed):
    world, left, right = new_pair(controlling=(both, both), seed=seed)
    world.connect()
    world.run(1)
    assert left.agent.controlling != right.agent.controlling
    assert sorted(len(side.told(RoleSwitched)) for side in (left, right)) == [0, 1]
    switched = left if left.told(RoleSwitched) else right
    assert switched.told(RoleSwitched)[-1].controlling == switched.agent.controlling


@pytest.mark.parametrize("seed", range(20))
def test_a_role_conflict_is_settled_in_spite_of_loss(new_pair, seed):
    world, left, right = new_pair(controlling=(True, True), seed=seed, loss=0.2)
    world.connect(20)
    assert left.agent.controlling != right.agent.controlling


def test_the_smaller_tie_breaker_is_told_to_give_way(lone_side, new_peer):
    peer = new_peer(lone_side)
    lone_side.agent.set_controlling(True, lone_side.world.now)
    peer.check(("10.0.0.1", 1001), controlling=0)
    lone_side.world.run(1)
    (refusal,) = peer.receive(MessageClass.ERROR)
    assert refusal.error_code == 487
    assert refusal.is_signed_with(lone_side.agent.local_credentials.key)
    assert lone_side.agent.controlling


def test_the_larger_tie_breaker_makes_us_give_way(lone_side, new_peer):
    peer = new_peer(lone_side)
    lone_side.agent.set_controlling(True, lone_side.world.now)
    peer.check(("10.0.0.1", 1001), controlling=2**64 - 1)
    lone_side.world.run(1)
    assert len(peer.receive(MessageClass.RESPONSE)) == 1
    assert not lone_side.agent.controlling
    assert lone_side.told(RoleSwitched) == [RoleSwitched(False)]


def test_two_controlled_sides_agree_by_the_same_number(lone_side, new_peer):
    peer = new_peer(lone_side)
    peer.check(("10.0.0.1", 1001), controlled=2**64 - 1)
    lone_side.world.run(1)
    assert peer.receive(MessageClass.ERROR)[0].error_code == 487
    peer.check(("10.0.0.1", 1001), controlled=0)
    lone_side.world.run(1)
    assert lone_side.agent.controlling


def test_whoever_meets_a_lite_agent_controls(lone_side, new_peer):
    peer = new_peer(lone_side)
    lone_side.agent.set_remote_credentials(peer.credentials, lite=True, now=lone_side.world.now)
    lone_side.drain()
    assert lone_side.told(RoleSwitched) == [RoleSwitched(True)]


def test_a_lite_peer_that_only_answers_is_connected_to(new_pair):
    world, left, right = new_pair(controlling=(False, False))
    right.is_awake = False
    replies = []

    def lite(from_, data):
        # What a lite agent does: answer checks, and nothing else.

        message = Message.decode(data)
        replies.append(USE_CANDIDATE in message.attributes)
        return message.answer({XOR_MAPPED_ADDRESS: from_}).encode(credentials.key)

    credentials = Credentials("LITE", "PasswordOfTheLiteAgent")
    world.servers["10.0.0.2", 2002] = lite
    right.drain()
    left.agent.add_remote_candidate(right.untold[0].candidate, world.now)
    left.agent.set_remote_credentials(credentials, lite=True, now=world.now)
    world.run(1)
    assert left.agent.selected_pair is not None
    assert replies[:2] == [False, True]


def test_the_role_may_be_set_before_anything_has_happened(new_pair):
    world, left, right = new_pair(controlling=(True, True))
    right.agent.set_controlling(False, world.now)
    world.connect()
    assert left.told(RoleSwitched) == right.told(RoleSwitched) == []
