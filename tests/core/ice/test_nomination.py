from trio_webrtc.core.ice import PairSelected, PairState, parse_candidate
from trio_webrtc.core.stun import MessageClass
from trio_webrtc.core.stun.message import USE_CANDIDATE, XOR_MAPPED_ADDRESS

HERE = ("10.0.0.1", 1001)


def answer_all(peer, side):
    """Have the played peer answer every check that has come."""
    for request in peer.receive(MessageClass.REQUEST):
        data = request.answer({XOR_MAPPED_ADDRESS: HERE}).encode(peer.credentials.key)
        side.world.carry(peer.address, HERE, data)


def aggressive_peers(side, new_peer):
    """Two addresses of one peer that nominates whatever it checks; the second has the higher priority."""
    low, high = new_peer(side, address=("10.0.0.8", 8)), new_peer(side, address=("10.0.0.9", 9))
    side.agent.set_remote_credentials(low.credentials, side.world.now)
    return low, high


def nominate(peer, side, priority):
    peer.check(HERE, controlling=1, nominate=True, priority=priority)
    side.world.run(0.1)
    answer_all(peer, side)
    side.world.run(0.1)


def test_the_controlling_side_nominates_one_pair_only(new_connected_pair):
    world, _, _ = new_connected_pair()
    world.run(30)
    nominations = [m for m in world.sent(MessageClass.REQUEST) if USE_CANDIDATE in m.attributes]
    assert len(nominations) == 1


def test_an_aggressive_peer_is_followed_to_better_pairs(lone_side, new_peer):
    low, high = aggressive_peers(lone_side, new_peer)
    nominate(low, lone_side, priority=100 << 24)
    assert lone_side.agent.selected_pair.remote_address == low.address
    nominate(high, lone_side, priority=120 << 24)
    assert lone_side.agent.selected_pair.remote_address == high.address
    assert len(lone_side.told(PairSelected)) == 2


def test_an_aggressive_peer_is_not_followed_to_worse_pairs(lone_side, new_peer):
    low, high = aggressive_peers(lone_side, new_peer)
    nominate(high, lone_side, priority=120 << 24)
    nominate(low, lone_side, priority=100 << 24)
    assert lone_side.agent.selected_pair.remote_address == high.address


def test_a_peer_that_moves_to_a_worse_pair_is_followed_once_the_better_one_is_silent(lone_side, new_peer):
    low, high = aggressive_peers(lone_side, new_peer)
    nominate(high, lone_side, priority=120 << 24)
    lone_side.world.run(12)
    assert lone_side.states[-1] == "disconnected"
    nominate(low, lone_side, priority=100 << 24)
    assert lone_side.agent.selected_pair.remote_address == low.address
    assert lone_side.states[-1] == "connected"


def test_a_nomination_takes_effect_only_when_our_own_check_is_answered(lone_side, new_peer):
    peer = new_peer(lone_side)
    lone_side.agent.set_remote_credentials(peer.credentials, lone_side.world.now)
    peer.check(HERE, controlling=1, nominate=True)
    lone_side.world.run(0.1)
    assert lone_side.agent.selected_pair is None
    assert lone_side.agent.pairs_snapshot()[0].state is PairState.IN_PROGRESS
    answer_all(peer, lone_side)
    lone_side.world.run(0.1)
    assert lone_side.agent.selected_pair.nominated


def test_a_controlling_side_does_not_heed_the_peers_nominations(lone_side, new_peer):
    peer = new_peer(lone_side)
    lone_side.agent.set_controlling(True, lone_side.world.now)
    lone_side.agent.set_remote_credentials(peer.credentials, lone_side.world.now)
    peer.check(HERE, controlled=1, nominate=True)
    lone_side.world.run(0.1)
    (check,) = peer.receive(MessageClass.REQUEST)
    assert USE_CANDIDATE not in check.attributes


def test_a_nomination_that_fails_is_followed_by_that_of_the_next_best_pair(new_world):
    world = new_world(latency=0.01)
    left, right = world.side(controlling=True), world.side(controlling=False)
    left.bind("10.0.0.1", 1)
    right.bind("10.0.0.2", 2, local_preference=1000)
    right.bind("10.0.0.3", 3, local_preference=500)
    world.signal_candidates()
    world.exchange_credentials()
    best, second = left.agent.pairs_snapshot()
    world.run(0.06, until=lambda: PairState.SUCCEEDED in (best.state,))
    world.passes = lambda from_, to: "10.0.0.2" not in (from_[0], to[0])
    world.run(0.1)
    assert left.agent.selected_pair is None
    world.run(30, until=lambda: left.agent.selected_pair is not None)
    assert left.agent.selected_pair is second
    assert best.state is PairState.FAILED


def test_checks_below_the_selected_pair_stop(new_world):
    world = new_world(latency=0.001)
    left, right = world.side(controlling=True), world.side(controlling=False)
    left.bind("10.0.0.1", 1)
    right.bind("10.0.0.2", 2)
    for index in range(20):
        left.agent.add_remote_candidate(
            parse_candidate(f"{index} 1 udp {index + 1} 10.1.0.{index + 1} 9 typ host"), world.now
        )
    world.connect()
    before = len(world.log)
    world.run(3)
    assert len(world.log) == before
    assert left.agent.state.value == "completed"
