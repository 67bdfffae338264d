import pytest

from trio_webrtc.core.ice import PairState, parse_candidate
from trio_webrtc.core.stun import MessageClass
from trio_webrtc.core.stun.message import XOR_MAPPED_ADDRESS

LEFT, RIGHT = ("10.0.0.1", 1001), ("10.0.0.2", 2002)


def test_checks_that_nobody_answers_fail_within_sixteen_seconds(new_pair):
    world, left, _ = new_pair()
    world.passes = lambda from_, to: False
    world.signal_candidates()
    world.exchange_credentials()
    world.end_candidates()
    world.run(60, until=lambda: "failed" in left.states)
    assert 15 <= world.now - 1000 <= 16
    assert left.agent.next_timeout() is None
    assert left.agent.describe_failure() == (
        "Pairs tried: 10.0.0.1:1001 (host) -> 10.0.0.2:2002 (host) failed after 15 request(s), no answer."
    )


def test_without_the_end_of_candidates_hope_lasts_longer(new_pair):
    world, left, _ = new_pair()
    world.passes = lambda from_, to: False
    world.signal_candidates()
    world.exchange_credentials()
    world.run(60, until=lambda: "failed" in left.states)
    assert world.now - 1000 == pytest.approx(30)


def test_without_any_candidate_the_peers_checks_are_waited_for(new_pair):
    world, left, right = new_pair()
    left.agent.set_remote_credentials(right.agent.local_credentials, now=world.now)
    left.agent.end_of_remote_candidates(world.now)
    left.agent.end_of_local_bases(world.now)
    world.run(14)
    assert left.states == ["checking"]
    left.drain()
    right.agent.add_remote_candidate(left.untold[0].candidate, world.now)
    right.agent.set_remote_credentials(left.agent.local_credentials, now=world.now)
    world.run(1)
    assert left.states[-1] == "completed"


def test_without_any_candidate_or_check_there_is_an_end(new_pair):
    world, left, right = new_pair()
    left.agent.set_remote_credentials(right.agent.local_credentials, now=world.now)
    left.agent.end_of_remote_candidates(world.now)
    left.agent.end_of_local_bases(world.now)
    world.run(16)
    assert left.states[-1] == "failed"
    assert "no pair of addresses to try" in left.agent.describe_failure()


def test_before_the_credentials_nothing_fails(new_pair):
    world, left, _ = new_pair()
    world.run(3600)
    assert left.states == []
    assert "credentials are not known" in left.agent.describe_failure()


def test_a_peer_that_answers_but_never_nominates_is_given_up(lone_side, new_peer):
    peer = new_peer(lone_side)
    lone_side.agent.set_remote_credentials(peer.credentials, lone_side.world.now)
    peer.check(LEFT, controlling=1)
    lone_side.world.run(0.1)
    (request,) = peer.receive(MessageClass.REQUEST)
    answer = request.answer({XOR_MAPPED_ADDRESS: LEFT}).encode(peer.credentials.key)
    lone_side.world.carry(peer.address, LEFT, answer)
    lone_side.world.run(29)
    assert lone_side.states[-1] == "checking"
    lone_side.world.run(2)
    assert lone_side.states[-1] == "failed"


def test_a_send_error_is_the_pairs_last_error_and_not_its_end(new_pair):
    world, left, _ = new_pair()
    world.signal_candidates()
    world.exchange_credentials()
    left.agent.report_send_error(LEFT, RIGHT, "[Errno 101] Network is unreachable", world.now)
    (pair,) = left.agent.pairs_snapshot()
    assert pair.state is PairState.IN_PROGRESS
    assert "Network is unreachable" in left.agent.describe_failure()
    world.run(1)
    assert pair.state is PairState.SUCCEEDED
    assert pair.last_error is None


def test_a_send_error_for_nobody_is_harmless(lone_side):
    lone_side.agent.report_send_error("who", ("10.9.9.9", 9), "error", lone_side.world.now)


def test_the_description_of_a_failure_has_an_end(new_pair):
    world, left, right = new_pair()
    for index in range(1, 91):
        left.agent.add_remote_candidate(parse_candidate(f"1 1 udp 1 10.9.0.{index} 9 typ host"), world.now)
    left.agent.set_remote_credentials(right.agent.local_credentials, now=world.now)
    text = left.agent.describe_failure()
    assert "and 80 more" in text
    assert len(text) < 1500


def test_a_check_of_the_peers_revives_a_pair_that_had_failed(new_pair):
    world, left, right = new_pair()
    world.passes = lambda from_, to: False
    world.signal_candidates()
    left.agent.set_remote_credentials(right.agent.local_credentials, now=world.now)
    world.run(20)
    (pair,) = left.agent.pairs_snapshot()
    assert pair.state is PairState.FAILED
    world.passes = lambda from_, to: True
    right.agent.set_remote_credentials(left.agent.local_credentials, now=world.now)
    world.run(1)
    assert left.states[-1] == "connected"
