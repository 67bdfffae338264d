"""A lite agent: who is visited, and never visits."""

import random

import pytest

from trio_webrtc.core.contract import Received
from trio_webrtc.core.ice import (
    ConsentLost,
    Credentials,
    CredentialsInUse,
    GatheringCompleted,
    IceSettings,
    LiteAgent,
    PairSelected,
    parse_candidate,
)
from trio_webrtc.core.stun import MessageClass
from trio_webrtc.core.stun.message import XOR_MAPPED_ADDRESS

FULL, LITE = ("10.0.0.1", 1001), ("10.0.0.2", 2002)
ELSEWHERE = ("10.0.0.8", 8008)


@pytest.fixture
def meet(new_world):
    """A controlling full agent and a lite one that has been offered to; they know nothing of each other yet."""

    def make(*, settings=None, controlling=True, **options):
        world = new_world(**options)
        full, lite = world.side(controlling=controlling), world.lite_side(settings)
        full.bind(*FULL)
        lite.bind(*LITE)
        return world, full, lite

    return make


@pytest.fixture
def visited(new_world, new_peer):
    """A lite side with a peer played by hand, which has not come yet."""

    def make(settings=None):
        world = new_world()
        lite = world.lite_side(settings)
        lite.bind(*LITE)
        peer = new_peer(lite)
        lite.agent.set_remote_credentials(peer.credentials, world.now)
        return world, lite, peer

    return make


def settled(world):
    world.run(0.05)


# Connecting


@pytest.mark.parametrize("seed", range(10))
def test_a_full_agent_connects_to_a_lite_one_and_stays_connected(meet, seed):
    world, full, lite = meet(seed=seed)
    world.connect()
    world.run(300)
    assert full.agent.state.value == lite.agent.state.value == "completed"
    assert lite.states == ["checking", "completed"]
    assert lite.agent.selected_pair.remote_address == FULL
    assert lite.agent.selected_pair.nominated
    assert len(lite.told(PairSelected)) == 1


@pytest.mark.parametrize("seed", range(20))
def test_a_full_agent_connects_to_a_lite_one_through_heavy_loss(meet, seed):
    world, full, _ = meet(seed=seed, loss=0.3, latency=0.05)
    world.connect(20)
    world.run(60)
    assert full.agent.state.value in {"completed", "disconnected"}


def test_a_lite_agent_asks_nothing_of_anybody(meet):
    world, _, lite = meet()
    world.servers[("10.0.0.99", 3478)] = lambda from_, data: pytest.fail("a STUN server was asked")
    lite.agent.add_stun_server(("10.0.0.99", 3478), world.now)
    world.connect()
    world.run(60)
    assert world.sent(MessageClass.REQUEST, from_=LITE) == []
    assert len(lite.told(GatheringCompleted)) == 1


def test_the_best_of_many_ways_is_taken_by_both(new_world):
    world = new_world()
    full, lite = world.side(controlling=True), world.lite_side()
    for number in range(1, 4):
        full.bind(f"10.0.{number}.1", 1001, local_preference=1000 - number)
        lite.bind(f"10.0.{number}.2", 2002, local_preference=1000 - number)
    world.connect()
    world.run(1)
    assert lite.agent.selected_pair.via == ("10.0.1.2", 2002)
    assert lite.agent.selected_pair.remote_address == full.agent.selected_pair.via == ("10.0.1.1", 1001)


def test_the_peer_that_believes_itself_controlled_learns_better(meet):
    world, full, lite = meet(controlling=False)
    world.signal_candidates()
    lite.agent.set_remote_credentials(full.agent.local_credentials, world.now)
    full.agent.set_remote_credentials(lite.agent.local_credentials, world.now)  # and is not told who is lite
    world.end_candidates()
    world.run(5)
    assert full.agent.controlling
    assert not lite.agent.controlling
    assert world.is_connected()


def test_a_lite_agent_never_takes_control_of_a_peer_that_checks(visited):
    world, lite, peer = visited()
    for number in (0, 1, 2**64 - 1):
        peer.check(LITE, controlled=number)
        settled(world)
        (answer,) = peer.receive(MessageClass.ERROR)
        assert answer.error_code == 487
    assert not lite.agent.controlling
    assert lite.agent.pairs_snapshot() == ()


def test_of_two_lite_agents_the_one_that_offered_controls_and_both_fail_saying_why(new_world):
    world = new_world()
    left, right = world.lite_side(), world.lite_side()
    left.bind(*FULL)
    right.bind(*LITE)
    left.agent.set_controlling(True, world.now)
    world.exchange_credentials()
    assert (left.agent.controlling, right.agent.controlling) == (True, False)
    world.run(40)
    assert left.states[-1] == right.states[-1] == "failed"
    assert "Both sides are ICE-lite" in left.agent.describe_failure()


def test_checks_that_come_before_the_peers_description_count(new_world, new_peer):
    world = new_world()
    lite = world.lite_side()
    lite.bind(*LITE)
    peer = new_peer(lite)
    peer.check(LITE, controlling=1, nominate=True)
    settled(world)
    assert lite.states == ["connected"]
    assert lite.agent.selected_pair.remote_address == peer.address
    lite.agent.set_remote_credentials(peer.credentials, world.now)
    world.run(1)
    assert lite.states[-1] == "connected"


def test_a_socket_on_a_wildcard_may_be_heard_at_addresses_that_were_not_told(visited):
    world, lite, peer = visited()
    unknown = ("10.0.0.77", 2002)
    world.owner_of[unknown] = lite
    peer.check(unknown, controlling=1, nominate=True)
    settled(world)
    (answer,) = peer.receive(MessageClass.RESPONSE)
    assert answer.get(XOR_MAPPED_ADDRESS) == peer.address
    assert lite.agent.selected_pair.via == unknown
    assert lite.agent.selected_pair.local.host == LITE[0]
    assert lite.agent.is_validated(unknown, peer.address)
    assert not lite.agent.is_validated(LITE, peer.address)


# Choice, and choice again


def test_only_a_nomination_selects(visited):
    world, lite, peer = visited()
    peer.check(LITE, controlling=1)
    settled(world)
    assert lite.agent.is_validated(LITE, peer.address)
    assert lite.agent.selected_pair is None
    peer.check(LITE, controlling=1, nominate=True)
    settled(world)
    assert lite.agent.selected_pair.remote_address == peer.address


@pytest.mark.parametrize("priorities", [(1, 2), (2, 2), (2, 1)], ids=["higher", "equal", "lower"])
def test_the_latest_nomination_counts_whatever_its_priority(visited, new_peer, priorities):
    """E9: a peer renominates pairs of lower, equal and higher priority."""
    world, lite, peer = visited()
    other = new_peer(lite, address=ELSEWHERE)
    for who, priority in zip((peer, other), priorities, strict=True):
        who.check(LITE, controlling=1, nominate=True, priority=priority)
        settled(world)
        assert lite.agent.selected_pair.remote_address == who.address
    peer.check(LITE, controlling=1, nominate=True)
    settled(world)
    assert lite.agent.selected_pair.remote_address == peer.address
    assert len(lite.told(PairSelected)) == 3


def test_a_late_repetition_of_an_old_nomination_changes_nothing(visited, new_peer):
    world, lite, peer = visited()
    other = new_peer(lite, address=ELSEWHERE)
    peer.check(LITE, controlling=1, nominate=True)
    repetition = world._in_flight[-1][2]
    settled(world)
    other.check(LITE, controlling=1, nominate=True)
    settled(world)
    repetition()
    assert lite.agent.selected_pair.remote_address == ELSEWHERE


def test_a_nomination_that_is_sent_again_from_elsewhere_changes_nothing(visited):
    """Whoever listens to a check can repeat it from his own address, and knows no password."""
    world, lite, peer = visited()
    peer.check(LITE, controlling=1, nominate=True)
    _, _, overheard = world._in_flight[-1][2].args
    settled(world)
    for port in range(1, 4):
        world.carry(("10.0.0.7", port), LITE, overheard)
        settled(world)
    assert lite.agent.selected_pair.remote_address == peer.address
    assert len(lite.told(PairSelected)) == 1


def test_a_peer_whose_address_has_changed_is_followed_once_the_old_one_is_silent(visited, new_peer):
    world, lite, peer = visited()
    moved = new_peer(lite, address=ELSEWHERE)
    peer.check(LITE, controlling=1, nominate=True)
    world.run(5)
    moved.check(LITE, controlling=1)
    world.run(5)
    assert lite.agent.selected_pair.remote_address == peer.address
    moved.check(LITE, controlling=1)
    settled(world)
    assert lite.agent.selected_pair.remote_address == ELSEWHERE
    assert lite.states == ["checking", "connected"], "the peer was heard all the while"


def test_the_way_in_use_is_kept_as_long_as_the_peer_checks_it(visited, new_peer):
    world, lite, peer = visited()
    other = new_peer(lite, address=ELSEWHERE)
    peer.check(LITE, controlling=1, nominate=True)
    for _ in range(10):
        world.run(5)
        other.check(LITE, controlling=1)
        peer.check(LITE, controlling=1)
    assert lite.agent.selected_pair.remote_address == peer.address
    assert len(lite.told(PairSelected)) == 1


def test_an_attribute_for_renomination_is_nothing_to_stumble_over(visited):
    """E9: NOMINATION (0xC001) with a lower, an equal and a higher value."""
    world, lite, peer = visited()
    for value in (7, 3, 7, 9):
        peer.check(LITE, controlling=1, nominate=True, extra=b"\xc0\x01\x00\x04" + value.to_bytes(4, "big"))
        settled(world)
        assert peer.receive(MessageClass.RESPONSE), value
        assert lite.agent.selected_pair.remote_address == peer.address


# Silence


def test_a_peer_that_stays_out_is_disconnected_and_then_failed(visited):
    """E3, B2: a transport without traffic times out, and says so."""
    world, lite, peer = visited()
    peer.check(LITE, controlling=1, nominate=True)
    settled(world)
    settings = IceSettings()
    world.run(settings.lite_silence - 1)
    assert lite.states[-1] == "connected"
    world.run(2)
    assert lite.states[-1] == "disconnected"
    world.run(settings.consent_lifetime - settings.lite_silence - 3)
    assert lite.states[-1] == "disconnected"
    world.run(4)
    assert lite.states[-1] == "failed"
    assert lite.agent.selected_pair is None
    (lost,) = lite.told(ConsentLost)
    assert lost.silent_for == pytest.approx(30, abs=0.1)
    assert "has not checked any way to here for 30 s" in lite.agent.describe_failure()
    assert lite.agent.next_timeout() is None


def test_a_peer_that_never_comes_fails_the_connection(visited):
    world, lite, _ = visited()
    world.run(29)
    assert lite.states == ["checking"]
    world.run(2)
    assert lite.states == ["checking", "failed"]
    assert "has not come" in lite.agent.describe_failure()


def test_a_peer_that_comes_but_never_chooses_fails_the_connection_when_it_stops_coming(visited):
    world, lite, peer = visited()
    for _ in range(10):
        peer.check(LITE, controlling=1)
        world.run(5)
    assert lite.states == ["checking"]
    world.run(30)
    assert lite.states == ["checking", "failed"]
    assert "chosen none" in lite.agent.describe_failure()


def test_a_peer_that_shows_itself_again_revives_the_connection(visited):
    world, lite, peer = visited()
    peer.check(LITE, controlling=1, nominate=True)
    world.run(60)
    assert lite.states[-1] == "failed"
    peer.check(LITE, controlling=1)
    settled(world)
    assert lite.states[-1] == "connected"
    assert len(lite.told(PairSelected)) == 2


def test_no_time_passes_while_our_own_loop_does_not_run(meet):
    world, full, lite = meet()
    world.connect()
    world.run(1)
    lite.is_awake = False
    full.is_awake = False
    world.run(100)
    lite.is_awake = full.is_awake = True
    world.run(10)
    assert lite.states[-1] == "completed"
    assert lite.told(ConsentLost) == []


# Restarts


def restart_both(world, full, lite):
    full.untold.clear()
    lite.untold.clear()
    full.agent.restart(world.now)
    lite.agent.restart(world.now)


def test_data_keeps_its_way_through_a_restart_and_old_credentials_hold_until_the_new_ones_are_used(meet):
    world, full, lite = meet()
    world.connect()
    world.run(1)
    pair, old = lite.agent.selected_pair, lite.agent.local_credentials
    restart_both(world, full, lite)
    world.run(12)
    assert lite.agent.selected_pair is pair
    assert lite.states[-1] != "disconnected", "the peer's checks still name the old credentials"
    assert lite.told(CredentialsInUse)[-1].credentials == (lite.agent.local_credentials, old)
    world.connect()
    world.run(1)
    assert lite.told(CredentialsInUse)[-1].credentials == (lite.agent.local_credentials,)
    assert lite.states[-1] == full.states[-1] == "completed"


def test_a_hundred_restarts_leave_nothing_behind(meet):
    """B5: at most two names at once, and one from the first check with the new one."""
    world, full, lite = meet()
    world.connect()
    for _ in range(100):
        restart_both(world, full, lite)
        world.connect()
        world.run(0.2)
        assert lite.told(CredentialsInUse)[-1].credentials == (lite.agent.local_credentials,)
    assert max(len(event.credentials) for event in lite.told(CredentialsInUse)) == 2
    assert len(lite.agent.pairs_snapshot()) == 1
    assert len(lite.agent.local_candidates) == len(lite.agent.remote_candidates) == 1


def test_old_credentials_are_refused_once_the_new_ones_were_used(visited):
    world, lite, peer = visited()
    peer.check(LITE, controlling=1, nominate=True)
    settled(world)
    old = lite.agent.local_credentials
    lite.agent.restart(world.now)
    lite.agent.set_remote_credentials(peer.credentials, world.now)

    def check_with(ours):
        peer.check(LITE, controlling=1, username=f"{ours.ufrag}:PEER", key=ours.key)
        settled(world)
        return not peer.receive(MessageClass.ERROR)

    assert check_with(old)
    assert check_with(lite.agent.local_credentials)
    assert not check_with(old)


def test_the_ways_of_the_generation_before_are_forgotten_but_for_the_one_that_data_have_just_left(visited, new_peer):
    """What the peer has sent before it had the answer to its choice is still to come, by the old way."""
    world, lite, peer = visited()
    idle, later, latest = (new_peer(lite, address=("10.0.0.8", port)) for port in (1, 2, 3))
    idle.check(LITE, controlling=1)
    peer.check(LITE, controlling=1, nominate=True)
    settled(world)
    for generation, chosen in enumerate((later, latest)):
        lite.agent.restart(world.now)
        lite.agent.set_remote_credentials(Credentials(f"NEW{generation}", "PasswordOfThePlayedPeer"), world.now)
        assert lite.agent.is_validated(LITE, peer.address)
        chosen.check(LITE, controlling=1, nominate=True)
        settled(world)
        assert not lite.agent.is_validated(LITE, idle.address)
        assert lite.agent.is_validated(LITE, peer.address) == (chosen is later)
    assert lite.agent.is_validated(LITE, later.address)


def test_a_restart_that_is_taken_back_leaves_everything_as_it_was(meet):
    world, full, lite = meet()
    world.connect()
    pair, credentials = lite.agent.selected_pair, lite.agent.local_credentials
    lite.agent.restart(world.now)
    world.run(8)
    lite.agent.resume(world.now)
    world.run(20)
    assert (lite.agent.selected_pair, lite.agent.local_credentials) == (pair, credentials)
    assert lite.agent.remote_credentials == full.agent.local_credentials
    assert lite.told(CredentialsInUse)[-1].credentials == (credentials,)
    assert lite.states[-1] == "completed"


def test_other_credentials_of_the_peer_restart_a_lite_agent_too(visited):
    world, lite, _ = visited()
    before = lite.agent.local_credentials
    lite.agent.set_remote_credentials(Credentials("NEWPEER", "PasswordOfThePlayedPeer"), world.now)
    assert lite.agent.local_credentials != before


def test_credentials_are_told_of_first_of_all(meet):
    _, full, lite = meet()
    for side in (full, lite):
        side.drain()
        assert side.events[0] == CredentialsInUse((side.agent.local_credentials,))


# Ways that are lost


def test_an_address_that_is_somebody_elses_now_is_forgotten(visited, new_peer):
    world, lite, peer = visited()
    other = new_peer(lite, address=ELSEWHERE)
    peer.check(LITE, controlling=1, nominate=True)
    settled(world)
    lite.agent.forget_address(LITE, peer.address, world.now)
    lite.agent.forget_address(LITE, peer.address, world.now)
    settled(world)
    assert not lite.agent.is_validated(LITE, peer.address)
    assert lite.agent.selected_pair is None
    assert lite.states[-1] == "disconnected"
    other.check(LITE, controlling=1)
    settled(world)
    assert lite.agent.selected_pair.remote_address == ELSEWHERE


def test_what_comes_late_by_a_way_that_is_gone_is_not_for_us(visited):
    """E8: a tuple is removed, and then STUN arrives for it."""
    world, lite, peer = visited()
    peer.check(LITE, controlling=1, nominate=True)
    settled(world)
    lite.agent.remove_local_base(LITE, world.now)
    peer.receive(MessageClass.RESPONSE)
    peer.check(LITE, controlling=1, nominate=True)
    settled(world)
    assert peer.inbox == []
    assert lite.agent.selected_pair is None
    assert not lite.agent.is_validated(LITE, peer.address)
    assert lite.agent.counters.unexpected == 1
    lite.bind(*LITE)
    peer.check(LITE, controlling=1, nominate=True)
    settled(world)
    assert lite.agent.selected_pair is not None


# Strangers and floods


@pytest.mark.parametrize(
    "forgery",
    [{"key": b"a guess"}, {"username": "nobody:PEER"}, {"username": "no colon"}, {"username": ""}],
    ids=str,
)
def test_who_does_not_know_the_password_is_refused_and_remembered_by_nothing(visited, forgery):
    world, lite, peer = visited()
    peer.check(LITE, controlling=1, nominate=True, **forgery)
    settled(world)
    (answer,) = peer.receive(MessageClass.ERROR)
    assert answer.error_code == 401
    assert lite.agent.pairs_snapshot() == ()
    assert not lite.agent.is_validated(LITE, peer.address)
    assert lite.agent.counters.refused == 1
    assert lite.agent.state.value == "checking"


def test_answers_and_indications_that_nobody_asked_for_change_nothing(visited):
    world, lite, peer = visited()
    peer.check(LITE, controlling=1)
    settled(world)
    (answer,) = peer.inbox
    for kind in (b"\x01\x01", b"\x01\x11", b"\x00\x11"):
        lite.agent.receive_datagrams([Received(LITE, ELSEWHERE, kind + answer[2:])], world.now)
    assert not lite.agent.is_validated(LITE, ELSEWHERE)
    assert lite.agent.poll_transmits(world.now) is None


def test_a_peer_that_comes_from_ever_new_addresses_fills_a_bounded_memory(visited, new_peer):
    world, lite, peer = visited(IceSettings(max_validated=10))
    peer.check(LITE, controlling=1, nominate=True)
    settled(world)
    for port in range(1, 100):
        new_peer(lite, address=("10.0.0.7", port)).check(LITE, controlling=1)
        settled(world)
    assert len(lite.agent.pairs_snapshot()) == 10
    assert lite.agent.selected_pair.remote_address == peer.address, "the way in use is not forgotten for others"
    assert lite.agent.is_validated(LITE, peer.address)


def test_an_agent_that_may_remember_one_way_only_answers_on_others_and_goes_over_to_them(visited, new_peer):
    world, lite, peer = visited(IceSettings(max_validated=1))
    peer.check(LITE, controlling=1, nominate=True)
    settled(world)
    for port in range(1, 10):
        other = new_peer(lite, address=("10.0.0.7", port))
        other.check(LITE, controlling=1)
        settled(world)
        assert other.receive(MessageClass.RESPONSE)
        assert lite.agent.selected_pair.remote_address == peer.address
    assert len(lite.agent.pairs_snapshot()) <= 2, "the one in use, and the latest"
    other.check(LITE, controlling=1, nominate=True)
    settled(world)
    assert lite.agent.selected_pair.remote_address == other.address


def test_candidates_of_the_peer_are_kept_for_statistics_up_to_a_bound(visited):
    world, lite, _ = visited(IceSettings(max_remote_candidates=10))
    for port in range(1, 100):
        lite.agent.add_remote_candidate(parse_candidate(f"1 1 udp 1 10.0.0.7 {port} typ host"), world.now)
    assert len(lite.agent.remote_candidates) == 10
    assert lite.agent.counters.candidates_refused == 89


def test_a_check_from_a_candidate_that_was_told_is_paired_with_it(meet):
    world, _, lite = meet()
    world.connect()
    assert lite.agent.selected_pair.remote.type == "host"


def test_after_close_a_lite_agent_is_quiet(meet):
    world, _, lite = meet()
    world.connect()
    lite.agent.close()
    lite.agent.close()
    world.run(1)
    world.log.clear()
    world.run(60)
    assert [from_ for _, from_, _, _ in world.log if from_ == LITE] == []
    assert lite.agent.next_timeout() is None
    assert lite.states[-1] == "closed"
    assert not lite.agent.is_validated(LITE, FULL)


def test_both_kinds_of_agent_have_the_same_public_names():
    from trio_webrtc.core.ice import Agent

    def public(kind):
        made = kind(rng=random.Random(1), **({} if kind is LiteAgent else {"controlling": True}))
        return {name for name in dir(made) if not name.startswith("_")}

    assert public(Agent) == public(LiteAgent)
