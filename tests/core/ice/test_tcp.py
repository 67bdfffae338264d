"""Ways by TCP (RFC 6544): connections come and go, and the session stays."""

import pytest

from trio_webrtc.core.ice import (
    BaseKind,
    ConnectionReleased,
    ConnectionWanted,
    GatheringCompleted,
    IceSettings,
    LocalCandidateGathered,
    PairSelected,
    PairState,
    parse_candidate,
)
from trio_webrtc.core.stun import MessageClass

ACTIVE_HOST, PASSIVE = "10.0.0.1", ("10.0.0.2", 443)
SERVER = ("10.0.0.2", 2002)


@pytest.fixture(params=["lite", "full"])
def meet_by_tcp(request, new_world):
    """A controlling side that opens connections, and one that accepts them, lite or full. No UDP."""

    def make(*, settings=None, controlling=True, **options):
        world = new_world(**options)
        active = world.side(controlling=controlling, settings=settings)
        passive = world.lite_side(settings) if request.param == "lite" else world.side(controlling=not controlling)
        active.may_connect(ACTIVE_HOST)
        passive.listen(*PASSIVE)
        return world, active, passive

    return make


def settled(world):
    world.run(0.5)


# Candidates


def lines_of(side):
    side.drain()
    return [event.candidate.to_sdp() for event in side.told(LocalCandidateGathered)]


def test_candidates_say_who_opens_the_connection(meet_by_tcp):
    _, active, passive = meet_by_tcp()
    (active_line,), (passive_line,) = lines_of(active), lines_of(passive)
    assert active_line.endswith("10.0.0.1 9 typ host tcptype active")
    assert passive_line.endswith("10.0.0.2 443 typ host tcptype passive")
    for line in (active_line, passive_line):
        assert parse_candidate(line).transport == "tcp"


def test_udp_comes_before_tcp_and_active_before_passive_unless_tcp_is_preferred(new_world):
    def ranking(preferred):
        side = new_world().side(controlling=True, settings=IceSettings(preferred_transport=preferred))
        side.listen(ACTIVE_HOST, 443, local_preference=65535)
        side.may_connect(ACTIVE_HOST, local_preference=65534)
        side.bind(ACTIVE_HOST, 1001, local_preference=65533)
        ranked = sorted(side.agent.local_candidates, key=lambda candidate: candidate.priority, reverse=True)
        assert len({candidate.priority for candidate in ranked}) == 3
        return [candidate.tcptype or "udp" for candidate in ranked]

    assert ranking("udp") == ["udp", "active", "passive"]
    assert ranking("tcp") == ["active", "passive", "udp"]


def test_priorities_of_tcp_follow_the_formula_and_the_order_of_preference(new_world):
    side = new_world().lite_side()
    side.listen("10.0.0.1", 443, local_preference=65535)
    side.listen("10.0.0.2", 443, local_preference=65534)
    side.listen("10.0.0.3", 443, local_preference=1)
    first, second, last = (candidate.priority for candidate in side.agent.local_candidates)
    assert first == (90 << 24) + (((4 << 13) + 8191) << 8) + 255
    assert second == first - (1 << 8)
    assert last == (90 << 24) + ((4 << 13) << 8) + 255


def test_what_is_announced_may_stand_beside_the_own_address_or_in_its_place(new_world):
    side = new_world().lite_side()
    side.listen("10.0.0.1", 443, announced=("203.0.113.5", "rtc.example", "2001:db8::1"))
    side.listen("10.0.0.2", 444, announced=("203.0.113.5",), beside_own=True)
    side.listen("10.0.0.3", 445, announced=("10.0.0.3",), beside_own=True)
    side.bind("10.0.0.4", 446, beside_own=True)
    shown = [(candidate.host, candidate.port) for candidate in side.agent.local_candidates]
    assert shown == [
        ("203.0.113.5", 443),
        ("rtc.example", 443),
        ("2001:db8::1", 443),
        ("203.0.113.5", 444),
        ("10.0.0.2", 444),
        ("10.0.0.3", 445),
        ("10.0.0.4", 446),
    ]
    priorities = [candidate.priority for candidate in side.agent.local_candidates[:3]]
    assert priorities == sorted(set(priorities), reverse=True)


def test_stun_servers_are_not_asked_from_tcp_bases(new_world):
    world = new_world()
    side = world.side(controlling=True)
    side.agent.add_stun_server(("10.0.0.99", 3478), world.now)
    side.may_connect(ACTIVE_HOST)
    side.listen(ACTIVE_HOST, 443)
    side.agent.end_of_local_bases(world.now)
    world.run(0.1)
    assert world.log == []
    assert len(side.told(GatheringCompleted)) == 1


def test_a_lite_agent_opens_no_connections(new_world):
    side = new_world().lite_side()
    side.may_connect(ACTIVE_HOST)
    assert side.agent.local_candidates == ()


# Connecting


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("controlling", [True, False])
def test_active_meets_passive_and_they_stay_connected(meet_by_tcp, seed, controlling):
    world, active, passive = meet_by_tcp(seed=seed, controlling=controlling)
    world.connect()
    world.run(300)
    for side in (active, passive):
        assert side.agent.state.value == "completed"
        assert "disconnected" not in side.states
        assert len(side.told(PairSelected)) == 1
        assert side.connections == [side.agent.selected_pair.via]
    assert active.agent.selected_pair.via.other_end == passive.agent.selected_pair.via
    assert passive.agent.selected_pair.remote_address == active.connections[0].local
    assert len(active.told(ConnectionWanted)) == 1


def test_what_is_unknown_of_the_other_end_is_learnt_from_its_checks(meet_by_tcp):
    world, active, passive = meet_by_tcp()
    world.connect()
    world.run(1)
    pair = passive.agent.selected_pair
    assert (pair.remote.type, pair.remote.transport, pair.remote.tcptype) == ("prflx", "tcp", "active")
    assert (pair.local.tcptype, pair.local.port) == ("passive", 443)
    pair = active.agent.selected_pair
    assert (pair.local.type, pair.local.tcptype, pair.local.port) == ("host", "active", 9)
    assert str(pair) == "tcp 10.0.0.1:9 (host) -> 10.0.0.2:443 (host)"


def test_a_passive_side_leaves_active_candidates_alone(meet_by_tcp):
    world, _, passive = meet_by_tcp()
    for line in (
        "1 1 tcp 1518280447 10.0.0.1 9 typ host tcptype active",
        "2 1 TCP 1518280447 10.0.0.1 0 typ host tcptype active",
        "3 1 tcp 1518280447 10.0.0.1 5000 typ host tcptype so",
        "4 1 tcp 1518280447 10.0.0.1 5000 typ host tcptype passive",
        "5 1 tcp 1518280447 10.0.0.1 5000 typ host",
        "6 1 udp 1518280447 10.0.0.1 5000 typ host",
    ):
        passive.agent.add_remote_candidate(parse_candidate(line), world.now)
    assert passive.agent.pairs_snapshot() == ()
    assert len(passive.agent.remote_candidates) == 6


def test_an_active_side_connects_to_passive_candidates_of_its_family_only(new_world):
    world = new_world()
    active = world.side(controlling=True)
    active.may_connect(ACTIVE_HOST)
    for line in (
        "1 1 tcp 1518280447 10.0.0.2 9 typ host tcptype active",
        "2 1 tcp 1518280447 10.0.0.2 5000 typ host tcptype so",
        "3 1 tcp 1518280447 2001:db8::1 5000 typ host tcptype passive",
        "4 1 tcp 1518280447 name.local 5000 typ host tcptype passive",
        "5 1 udp 1518280447 10.0.0.2 5000 typ host",
        "6 1 TCP 1518280447 10.0.0.2 443 typ host tcptype passive",
    ):
        active.agent.add_remote_candidate(parse_candidate(line), world.now)
    (pair,) = active.agent.pairs_snapshot()
    assert pair.remote_address == PASSIVE


def test_a_check_by_tcp_is_not_repeated_and_is_given_up_all_the_same(new_world):
    world = new_world()
    active, mute = world.side(controlling=True), world.lite_side()
    active.may_connect(ACTIVE_HOST)
    mute.listen(*PASSIVE)
    mute.is_awake = False
    world.signal_candidates()
    world.exchange_credentials()
    world.run(10)
    (pair,) = active.agent.pairs_snapshot()
    assert pair.requests_sent == 1
    assert pair.state is PairState.IN_PROGRESS
    world.run(10)
    assert (pair.state, pair.last_error) == (PairState.FAILED, "no answer")


def test_consent_by_tcp_is_asked_for_and_its_lack_is_noticed(meet_by_tcp):
    world, active, passive = meet_by_tcp()
    world.connect()
    world.run(61)
    asked = active.agent.selected_pair.consent_requests_sent
    assert 10 <= asked <= 16
    passive.is_awake = False
    world.run(11)
    assert active.states[-1] == "disconnected"
    assert active.agent.selected_pair.consent_requests_sent - asked <= 4, "what TCP carries is not repeated"
    world.run(25)
    assert active.states[-1] == "failed"


# When to connect


def test_a_peer_that_udp_reaches_is_spared_connections(new_world):
    world = new_world(latency=0.05)
    full, lite = world.side(controlling=True), world.lite_side()
    full.bind("10.0.0.1", 1001)
    full.may_connect(ACTIVE_HOST)
    lite.bind(*SERVER)
    lite.listen(*PASSIVE)
    world.connect()
    world.run(60)
    assert full.told(ConnectionWanted) == []
    assert full.states[-1] == lite.states[-1] == "completed"


def test_where_udp_is_silent_tcp_takes_its_place_soon(new_world):
    world = new_world()
    full, lite = world.side(controlling=True), world.lite_side()
    full.bind("10.0.0.1", 1001)
    full.may_connect(ACTIVE_HOST)
    lite.bind(*SERVER)
    lite.listen(*PASSIVE)
    world.passes = lambda from_, to: SERVER not in (from_, to)
    world.connect(2)
    assert lite.agent.selected_pair.remote.transport == "tcp"


@pytest.mark.parametrize("latency", [0.0, 0.05, 0.15, 0.24])
@pytest.mark.parametrize("who_prefers_it", ["both", "the full agent", "the lite agent"])
def test_if_one_side_prefers_tcp_it_is_taken_though_udp_works(new_world, who_prefers_it, latency):
    world = new_world(latency=latency)
    prefer_tcp = IceSettings(preferred_transport="tcp")
    full = world.side(controlling=True, settings=None if who_prefers_it == "the lite agent" else prefer_tcp)
    lite = world.lite_side(None if who_prefers_it == "the full agent" else prefer_tcp)
    full.bind("10.0.0.1", 1001)
    full.may_connect(ACTIVE_HOST)
    lite.bind(*SERVER)
    lite.listen(*PASSIVE)
    world.connect(5)
    world.run(1)
    assert full.agent.selected_pair.remote_address == PASSIVE
    assert lite.agent.selected_pair.via == full.agent.selected_pair.via.other_end


def test_if_tcp_is_preferred_udp_is_taken_where_no_connection_comes_up(new_world):
    world = new_world(latency=0.05)
    full, lite = world.side(controlling=True), world.lite_side(IceSettings(preferred_transport="tcp"))
    full.bind("10.0.0.1", 1001)
    full.may_connect(ACTIVE_HOST)
    lite.bind(*SERVER)
    lite.listen(*PASSIVE)
    world.connect_tcp = lambda side, base_via, remote: None
    world.connect(2)
    assert full.agent.selected_pair.remote_address == SERVER


def test_only_a_few_connections_are_opened_at_once_and_one_every_tick(new_world):
    settings = IceSettings(max_connecting=3)
    world = new_world()
    active = world.side(controlling=True, settings=settings)
    world.side(controlling=False)
    active.may_connect(ACTIVE_HOST)
    for number in range(1, 31):
        line = f"{number} 1 tcp 1518280447 10.0.1.{number} 5000 typ host tcptype passive"
        active.agent.add_remote_candidate(parse_candidate(line), world.now)
    world.connect_tcp = lambda side, base_via, remote: None
    world.exchange_credentials()
    began = world.now
    world.run(0.12)
    assert len(active.told(ConnectionWanted)) == 3
    world.run(settings.connection_timeout - 0.2)
    assert len(active.told(ConnectionWanted)) == 3
    world.run(10 * settings.connection_timeout + 10)
    assert len(active.told(ConnectionWanted)) == 30
    assert all(pair.state is PairState.FAILED for pair in active.agent.pairs_snapshot())
    assert {pair.last_error for pair in active.agent.pairs_snapshot()} == {"no connection in time"}
    assert world.now - began < 10 * settings.connection_timeout + 20


def test_a_refused_connection_fails_its_pair_and_is_told_of(new_world):
    world = new_world()
    active, _ = world.side(controlling=True), world.lite_side()
    active.may_connect(ACTIVE_HOST)
    active.agent.add_remote_candidate(parse_candidate("1 1 tcp 1 10.0.0.2 443 typ host tcptype passive"), world.now)
    world.exchange_credentials()
    world.end_candidates()
    world.run(30)
    assert active.states[-1] == "failed"
    assert len(active.told(ConnectionWanted)) == 1
    assert "refused" in active.agent.describe_failure()


def test_a_connection_that_comes_too_late_or_was_not_asked_for_is_let_go(new_world):
    world = new_world()
    active, _ = world.side(controlling=True), world.lite_side()
    base = active.may_connect(ACTIVE_HOST)
    for name, base_via in (("a stray", base), ("a foundling", "a base that never was")):
        active.agent.add_connection(name, base_via, PASSIVE, world.now)
        active.drain()
        assert active.told(ConnectionReleased)[-1].via == name
        assert not active.agent._listens_on(name)


# Connections that end


def two_connections(world, lite, new_peer):
    """A browser connects twice; it checks by both, and has chosen the first."""
    peers = [new_peer(lite, address=("10.0.0.9", port)) for port in (50001, 50002)]
    base = lite.listen(*PASSIVE)
    vias = ["first", "second"]
    for via, peer in zip(vias, peers, strict=True):
        lite.agent.add_connection(via, base, peer.address, world.now)
    lite.agent.set_remote_credentials(peers[0].credentials, world.now)
    return vias, peers


@pytest.fixture(params=[0, 1], ids=["the chosen one ends", "the other one ends"])
def ending(request):
    return request.param


def test_of_two_connections_one_may_end(new_world, new_peer, ending):
    """E10: a browser opens two connections and closes one; the session survives."""
    world = new_world()
    lite = world.lite_side()
    vias, peers = two_connections(world, lite, new_peer)
    world.owner_of |= dict.fromkeys(vias, lite)
    for via, peer, nominate in zip(vias, peers, (True, False), strict=True):
        peer.check(via, controlling=1, nominate=nominate)
        world.run(0.1)
    assert lite.agent.selected_pair.via == "first"
    lite.agent.remove_local_base(vias[ending], world.now)
    peers[1 - ending].check(vias[1 - ending], controlling=1)
    world.run(0.1)
    assert lite.agent.selected_pair.via == vias[1 - ending]
    assert lite.states[-1] == "connected"
    assert "failed" not in lite.states
    assert not lite.agent.is_validated(vias[ending], peers[ending].address)
    assert [candidate.port for candidate in lite.agent.local_candidates] == [443], "the listener is still offered"


def test_a_connection_that_ends_is_opened_again(meet_by_tcp):
    world, active, passive = meet_by_tcp()
    world.connect()
    world.run(3)
    lost = active.agent.selected_pair.via
    world.end_connection(lost.other_end)
    passive.agent.remove_local_base(lost.other_end, world.now)
    assert passive.agent.selected_pair is None
    world.run(3, until=lambda: world.is_connected() and active.agent.selected_pair.via != lost)
    world.run(10)
    assert active.agent.selected_pair.via.other_end == passive.agent.selected_pair.via != lost.other_end
    assert active.states[-1] == passive.states[-1] == "completed"
    assert not passive.agent.is_validated(lost.other_end, lost.local)


def test_a_peer_that_ends_every_connection_is_not_asked_for_one_without_end(new_world):
    world = new_world()
    active, fickle = world.side(controlling=True), world.lite_side()
    active.may_connect(ACTIVE_HOST)
    fickle.listen(*PASSIVE)
    world.signal_candidates()
    world.exchange_credentials()
    end = world.now + 20
    while world.now < end:
        world.run(end - world.now, until=lambda: active.agent.selected_pair is not None and bool(fickle.connections))
        for via in fickle.connections:
            world.end_connection(via)
            fickle.agent.remove_local_base(via, world.now)
        world.run(0.1)
    assert 10 <= len(active.told(ConnectionWanted)) <= 21


def test_a_connection_that_ends_before_its_check_is_answered_fails_the_pair(new_world):
    world = new_world()
    active, shy = world.side(controlling=True), world.lite_side()
    active.may_connect(ACTIVE_HOST)
    shy.listen(*PASSIVE)
    shy.is_awake = False
    world.signal_candidates()
    world.exchange_credentials()
    world.run(1)
    (via,) = active.connections
    world.end_connection(via.other_end)
    world.run(1)
    (pair,) = active.agent.pairs_snapshot()
    assert (pair.state, pair.last_error) == (PairState.FAILED, "the connection has ended")
    assert len(active.told(ConnectionWanted)) == 1


def test_where_none_is_left_the_dead_connection_is_let_go(meet_by_tcp):
    world, active, passive = meet_by_tcp()
    world.connect()
    world.run(3)
    dead = active.agent.selected_pair.via
    world.passes = lambda from_, to: False
    world.run(60)
    assert active.states[-1] == passive.states[-1] == "failed"
    assert [event.via for event in active.told(ConnectionReleased)] == [dead]
    assert active.connections == []


def test_a_connection_that_comes_when_another_pair_was_chosen_is_let_go_unused(new_world):
    world = new_world(latency=0.05)
    active, lite = world.side(controlling=True), world.lite_side()
    base = active.may_connect(ACTIVE_HOST)
    lite.listen(*PASSIVE)
    slow = ("10.0.0.3", 443)
    active.agent.add_remote_candidate(parse_candidate("9 1 tcp 1 10.0.0.3 443 typ host tcptype passive"), world.now)
    connect = world.connect_tcp
    world.connect_tcp = lambda side, via, remote: connect(side, via, remote) if remote != slow else None
    world.connect(2)
    world.run(1)
    assert [event.remote_address for event in active.told(ConnectionWanted)] == [PASSIVE, slow]
    world.log.clear()
    active.agent.add_connection("late", base, slow, world.now)
    world.run(1)
    assert [event.via for event in active.told(ConnectionReleased)] == ["late"]
    assert [via for _, via, _, _ in world.log if via == "late"] == []


def test_a_connection_that_is_dead_without_a_word_is_replaced(meet_by_tcp):
    world, active, passive = meet_by_tcp()
    world.connect()
    world.run(3)
    dead = active.agent.selected_pair.via
    world.passes = lambda from_, to: dead.local not in (from_, to)
    world.run(40)
    assert active.agent.selected_pair.via != dead
    assert active.agent.selected_pair.via.other_end == passive.agent.selected_pair.via
    assert active.states[-1] == passive.states[-1] == "completed"
    assert "failed" not in active.states + passive.states
    assert active.connections == [active.agent.selected_pair.via], "the dead one is let go"


def test_after_a_restart_the_old_connection_is_let_go(meet_by_tcp):
    world, active, passive = meet_by_tcp()
    world.connect()
    for _ in range(20):
        for side in (active, passive):
            side.untold.clear()
            side.agent.restart(world.now)
        before = active.agent.selected_pair.via
        world.connect()
        world.run(2)
        assert active.agent.selected_pair.via != before
    assert len(active.connections) == len(passive.connections) == 1
    assert active.states[-1] == passive.states[-1] == "completed"


def test_an_address_that_is_somebody_elses_now_is_forgotten_by_a_full_agent(new_connected_pair):
    world, left, right = new_connected_pair()
    world.run(1)
    here, there = ("10.0.0.1", 1001), ("10.0.0.2", 2002)
    left.agent.forget_address(here, there, world.now)
    assert not left.agent.is_validated(here, there)
    assert left.agent.selected_pair is None
    assert left.agent.pairs_snapshot() == ()
    right.is_awake = False
    world.run(60)
    assert left.states[-1] == "failed"


def test_a_listener_that_is_gone_leaves_its_connections(meet_by_tcp):
    world, _, passive = meet_by_tcp()
    world.connect()
    world.run(1)
    listener = next(iter(passive.agent._gatherer.bases)).via
    passive.agent.remove_local_base(listener, world.now)
    world.run(30)
    assert passive.agent.selected_pair is not None
    assert passive.states[-1] == "completed"
    assert passive.agent.local_candidates == ()


def test_nothing_is_opened_after_the_end(meet_by_tcp):
    world, active, _ = meet_by_tcp()
    world.signal_candidates()
    world.exchange_credentials()
    active.drain()
    active.agent.close()
    world.run(10)
    active.agent.report_connection_failure("late", PASSIVE, "refused", world.now)
    assert len(active.told(ConnectionWanted)) == 1
    assert world.log == []
    assert active.agent.next_timeout() is None


# Both agents are given the messages of one kind only


def test_a_passive_full_agent_triggers_no_second_check_while_its_own_is_under_way(new_world):
    world = new_world(latency=0.2)
    active, passive = world.side(controlling=True), world.side(controlling=False)
    active.may_connect(ACTIVE_HOST)
    passive.listen(*PASSIVE)
    world.connect()
    assert len(world.sent(MessageClass.REQUEST)) == 3, "one each, and the nomination"


def test_kinds_of_bases_differ_in_their_foundations(new_world):
    side = new_world().side(controlling=True)
    side.bind(ACTIVE_HOST, 1)
    side.may_connect(ACTIVE_HOST)
    side.listen(ACTIVE_HOST, 2)
    assert len({candidate.foundation for candidate in side.agent.local_candidates}) == len(BaseKind)
