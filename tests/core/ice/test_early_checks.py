from trio_webrtc.core.stun import MessageClass
from trio_webrtc.core.stun.message import XOR_MAPPED_ADDRESS

HERE = ("10.0.0.1", 1001)


def test_a_check_before_the_credentials_is_answered_at_once(lone_side, new_peer):
    peer = new_peer(lone_side)
    peer.check(HERE, controlling=1)
    lone_side.world.run(0.1)
    (answer,) = peer.receive(MessageClass.RESPONSE)
    assert answer.is_signed_with(lone_side.agent.local_credentials.key)
    assert answer.get(XOR_MAPPED_ADDRESS) == peer.address
    assert lone_side.agent.is_validated(HERE, peer.address)
    assert lone_side.agent.pairs_snapshot() == ()


def test_early_checks_are_followed_when_the_credentials_come(lone_side, new_peer):
    peer = new_peer(lone_side)
    peer.check(HERE, controlling=1)
    peer.check(HERE, controlling=1, nominate=True)
    lone_side.world.run(0.1)
    lone_side.agent.set_remote_credentials(peer.credentials, lone_side.world.now)
    lone_side.world.run(0.1)
    (check,) = peer.receive(MessageClass.REQUEST)
    lone_side.world.carry(peer.address, HERE, check.answer({XOR_MAPPED_ADDRESS: HERE}).encode(peer.credentials.key))
    lone_side.world.run(0.1)
    assert lone_side.agent.selected_pair.remote_address == peer.address


def test_a_side_that_learns_the_credentials_late_connects_within_a_round_trip_of_that(new_pair):
    world, left, right = new_pair(latency=0.01)
    world.signal_candidates()
    left.agent.set_remote_credentials(right.agent.local_credentials, now=world.now)
    world.run(2)
    right.agent.set_remote_credentials(left.agent.local_credentials, now=world.now)
    start = world.now
    world.run(2, until=world.is_connected)
    assert world.now - start <= 0.021


def test_only_so_many_early_checks_are_remembered(lone_side, new_peer):
    peers = [new_peer(lone_side, address=("10.0.0.9", port)) for port in range(1, 101)]
    for peer in peers:
        peer.check(HERE, controlling=1)
    lone_side.world.run(0.1)
    lone_side.agent.set_remote_credentials(peers[0].credentials, lone_side.world.now)
    assert len(lone_side.agent.pairs_snapshot()) == 32
