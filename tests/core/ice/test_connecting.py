import itertools

import pytest

from trio_webrtc.core.contract import Received
from trio_webrtc.core.ice import (
    AgentState,
    GatheringCompleted,
    PairSelected,
    PairState,
    StateChanged,
    parse_candidate,
)
from trio_webrtc.core.stun import MessageClass
from trio_webrtc.core.stun.message import USE_CANDIDATE


def test_two_agents_connect_in_three_round_trips_and_do_not_wait_for_any_tick(new_connected_pair):
    world, left, right = new_connected_pair(latency=0.001)
    assert world.now - 1000 <= 3 * 0.002
    assert left.agent.selected_pair.remote_address == ("10.0.0.2", 2002)
    assert right.agent.selected_pair.remote_address == ("10.0.0.1", 1001)


def test_the_states_and_events_come_in_order(new_connected_pair):
    world, left, right = new_connected_pair()
    world.run(20)
    for side in (left, right):
        assert side.states == ["checking", "completed"]
        kinds = [type(event) for event in side.events if not isinstance(event, GatheringCompleted)]
        assert kinds[-2:] == [PairSelected, StateChanged]
        assert side.agent.selected_pair.nominated


def test_two_agents_that_check_at_once_do_not_check_twice(new_connected_pair):
    world, _, _ = new_connected_pair(latency=0.01)
    ordinary = [m for m in world.sent(MessageClass.REQUEST) if USE_CANDIDATE not in m.attributes]
    assert len(ordinary) == 2


@pytest.mark.parametrize("seed", range(50))
def test_agents_connect_through_heavy_loss(new_connected_pair, seed):
    world, left, right = new_connected_pair(seed=seed, loss=0.3, latency=0.05)
    world.run(60)
    assert {left.agent.state, right.agent.state} <= {AgentState.COMPLETED, AgentState.DISCONNECTED}


@pytest.mark.parametrize("seed", range(10))
def test_many_addresses_on_both_sides_end_in_the_best_pair(new_world, seed):
    world = new_world(seed=seed)
    left, right = world.side(controlling=True), world.side(controlling=False)
    for index in range(1, 5):
        left.bind(f"10.0.{index}.1", 1001, local_preference=1000 - index)
        right.bind(f"10.0.{index}.2", 2002, local_preference=1000 - index)
        left.bind(f"2001:db8::{index}:1", 1001, local_preference=2000 - index)
        right.bind(f"2001:db8::{index}:2", 2002, local_preference=2000 - index)
    world.connect()
    assert left.agent.selected_pair.remote_address == ("2001:db8::1:2", 2002)
    assert len(left.agent.pairs_snapshot()) == 32, "only addresses of one family are paired"


def test_a_dead_best_pair_costs_little_time(new_world):
    world = new_world(latency=0.01)
    left, right = world.side(controlling=True), world.side(controlling=False)
    for side, host in ((left, 1), (right, 2)):
        side.bind(f"2001:db8::{host}", 1000, local_preference=2000)
        side.bind(f"10.0.0.{host}", 1000, local_preference=1000)
    world.passes = lambda from_, to: ":" not in to[0]
    world.connect()
    assert world.now - 1000 < 0.5
    assert left.agent.selected_pair.remote_address == ("10.0.0.2", 1000)


def test_checks_that_nobody_asked_for_are_paced(new_world):
    world = new_world()
    left = world.side(controlling=True)
    other = world.side(controlling=False)
    left.bind("10.0.0.1", 1001)
    for index in range(10):
        other.bind(f"10.0.1.{index}", 2002)
    world.passes = lambda from_, to: False
    world.signal_candidates()
    left.agent.set_remote_credentials(other.agent.local_credentials, now=world.now)
    world.run(0.44)
    times = [time for time, from_, _, _ in world.log if from_ == ("10.0.0.1", 1001)]
    assert times[0] == 1000, "the first goes at once"
    assert all(later - earlier >= 0.05 - 1e-9 for earlier, later in itertools.pairwise(times))
    assert len(times) == 9


def test_a_peer_that_names_no_address_is_found_by_its_checks(new_pair):
    world, left, right = new_pair()
    right.drain()
    right.untold.clear()
    world.connect()
    assert left.agent.selected_pair.remote.type == "prflx"
    assert left.agent.selected_pair.remote_address == ("10.0.0.2", 2002)
    assert [c.type for c in left.agent.remote_candidates] == ["prflx"]


def test_mdns_and_tcp_candidates_are_kept_but_not_tried(new_pair):
    world, left, right = new_pair()
    for line in (
        "1 1 udp 2113937151 5b7b2d8e-0e5c-4f5e-8a57-27b9cd0ab6a3.local 5000 typ host",
        "2 1 tcp 1518280447 10.0.0.2 9 typ host tcptype active",
        "3 2 udp 2113937151 10.0.0.2 2003 typ host",
        "4 1 udp 2113937151 224.0.0.251 5353 typ host",
        "5 1 udp 2113937151 0.0.0.0 5353 typ host",
        "6 1 udp 2113937151 255.255.255.255 5353 typ host",
        "7 1 udp 2113937151 ::ffff:10.0.0.2 5353 typ host",
        "8 1 udp 2113937151 10.0.0.2 0 typ host",
    ):
        left.agent.add_remote_candidate(parse_candidate(line), world.now)
    assert len(left.agent.remote_candidates) == 8
    assert left.agent.remote_candidates[1].tcptype == "active"
    assert left.agent.pairs_snapshot() == ()
    right.drain()
    right.untold.clear()
    world.connect()


def test_the_path_of_the_selected_pair_is_validated_on_both_sides_and_no_other(new_connected_pair):
    _, left, right = new_connected_pair()
    here, there = ("10.0.0.1", 1001), ("10.0.0.2", 2002)
    assert left.agent.is_validated(here, there)
    assert right.agent.is_validated(there, here)
    assert not left.agent.is_validated(here, ("10.0.0.2", 2003))
    assert not left.agent.is_validated(there, there)


def test_link_local_addresses_are_paired_with_their_like_and_keep_our_zone(new_pair):
    world, left, _ = new_pair()
    left.bind("fe80::1%eth0", 1001)
    left.bind("2001:db8::1", 1001)
    assert left.agent.local_candidates[1].host == "fe80::1"
    left.agent.add_remote_candidate(parse_candidate("1 1 udp 1 fe80::2 7 typ host"), world.now)
    left.agent.add_remote_candidate(parse_candidate("1 1 udp 1 2001:db8::2 7 typ host"), world.now)
    paths = {(pair.via[0], pair.remote_address[0]) for pair in left.agent.pairs_snapshot()}
    assert paths == {("fe80::1%eth0", "fe80::2%eth0"), ("2001:db8::1", "2001:db8::2")}


def test_a_peer_on_this_host_that_gathers_no_loopback_is_reached_from_there(new_world):
    world = new_world()
    left, right = world.side(controlling=False), world.side(controlling=True)
    left.bind("127.0.0.1", 1001)
    right.bind("192.168.1.5", 2002)
    world.connect()
    assert left.agent.selected_pair.remote_address == ("192.168.1.5", 2002)


def test_an_answer_from_elsewhere_fails_the_pair(new_pair):
    world, left, _ = new_pair()
    world.signal_candidates()
    world.exchange_credentials()
    world.run(0.025)
    answer = next(data for _, from_, _, data in world.log if from_ == ("10.0.0.2", 2002) and data[0] == 1)
    left.agent.receive_datagrams([Received(("10.0.0.1", 1001), ("10.0.0.3", 3), answer)], world.now)
    (pair,) = left.agent.pairs_snapshot()
    assert pair.state is PairState.FAILED
    assert pair.last_error == "answered from 10.0.0.3:3 instead"


def test_after_close_an_agent_is_quiet(new_connected_pair):
    world, left, _ = new_connected_pair()
    left.agent.close()
    left.agent.close()
    assert left.agent.next_timeout() is None
    world.log.clear()
    world.run(60)
    assert not [from_ for _, from_, _, _ in world.log if from_ == ("10.0.0.1", 1001)]
    assert left.states[-1] == "closed"
    assert not left.agent.is_validated(("10.0.0.1", 1001), ("10.0.0.2", 2002))
