from trio_webrtc.core.ice import parse_candidate


def test_candidates_that_come_late_are_tried_at_once(new_pair):
    world, left, _ = new_pair()
    world.exchange_credentials()
    world.run(10)
    assert left.states == ["checking"]
    world.signal_candidates()
    start = world.now
    world.run(10, until=world.is_connected)
    assert world.now - start < 0.2


def test_candidates_may_come_before_the_credentials(new_pair):
    world, _, _ = new_pair()
    world.signal_candidates()
    world.run(5)
    assert world.log == [], "there is no name to ask with"
    world.exchange_credentials()
    start = world.now
    world.run(10, until=world.is_connected)
    assert world.now - start < 0.2


def test_candidates_on_one_side_alone_are_enough(new_pair):
    world, left, right = new_pair()
    world.exchange_credentials()
    right.drain()
    left.agent.add_remote_candidate(right.untold[0].candidate, world.now)
    world.run(10, until=world.is_connected)
    assert right.agent.selected_pair.remote.type == "prflx"


def test_sockets_may_come_after_everything_else(new_world):
    world = new_world()
    left, right = world.side(controlling=True), world.side(controlling=False)
    right.bind("10.0.0.2", 2)
    world.signal_candidates()
    world.exchange_credentials()
    world.run(1)
    left.bind("10.0.0.1", 1)
    world.run(1, until=world.is_connected)
    assert world.is_connected()


def test_a_candidate_learnt_from_a_check_takes_its_place_when_it_is_named(new_pair):
    world, left, right = new_pair()
    world.exchange_credentials()
    left.drain()
    right.agent.add_remote_candidate(left.untold[0].candidate, world.now)
    world.run(10, until=world.is_connected)
    pair = left.agent.selected_pair
    assert pair.remote.type == "prflx"
    right.drain()
    left.agent.add_remote_candidate(right.untold[0].candidate, world.now)
    assert pair.remote.type == "host"
    assert left.agent.pairs_snapshot() == (pair,)
    assert [c.type for c in left.agent.remote_candidates] == ["host"]


def test_completed_waits_for_the_end_of_candidates(new_pair):
    world, left, right = new_pair()
    world.signal_candidates()
    world.exchange_credentials()
    world.run(1)
    assert left.states[-1] == "connected"
    left.agent.end_of_remote_candidates(world.now)
    left.agent.end_of_local_bases(world.now)
    world.run(1)
    assert left.states[-1] == "completed"
    assert right.states[-1] == "connected"


def test_candidates_beyond_the_bound_are_refused_and_counted(new_pair):
    world, left, _ = new_pair()
    for index in range(150):
        left.agent.add_remote_candidate(parse_candidate(f"1 1 udp 1 10.9.0.{index} 9 typ host"), world.now)
    assert len(left.agent.remote_candidates) == 100
    assert left.agent.counters.candidates_refused == 50


def test_a_candidate_told_twice_counts_once(new_pair):
    world, left, _ = new_pair()
    for _ in range(2):
        left.agent.add_remote_candidate(parse_candidate("1 1 udp 1 10.9.0.1 9 typ host"), world.now)
    assert len(left.agent.pairs_snapshot()) == 1
