from trio_webrtc.core.ice import ConsentLost, Credentials, CredentialsInUse, GatheringCompleted, PairSelected

LEFT, RIGHT = ("10.0.0.1", 1001), ("10.0.0.2", 2002)


def restart_both(world, left, right):
    """Offer and answer: the left side restarts, and the right one follows."""
    left.untold.clear()
    right.untold.clear()
    left.agent.restart(world.now)
    right.agent.restart(world.now)


def test_data_keeps_its_way_until_the_new_generation_has_one(new_connected_pair):
    world, left, right = new_connected_pair()
    world.run(1)
    old = left.agent.selected_pair, left.agent.local_credentials
    restart_both(world, left, right)
    assert left.agent.local_credentials != old[1]
    world.run(12)
    assert left.agent.selected_pair is old[0]
    assert left.states[-1] == "connected", "consent is still given to the old credentials"
    world.connect()
    world.run(1, until=lambda: left.agent.selected_pair is not old[0])
    world.run(1)
    assert left.states[-1] == right.states[-1] == "completed"
    assert "disconnected" not in left.states
    assert len(left.told(PairSelected)) == len(right.told(PairSelected)) == 2


def test_candidates_are_told_again_and_gathering_completes_again(new_connected_pair):
    world, left, right = new_connected_pair()
    restart_both(world, left, right)
    world.run(1)
    assert left.candidates == ["host 10.0.0.1"] * 2
    assert len(left.told(GatheringCompleted)) == 2


def test_a_failed_connection_is_revived(new_connected_pair):
    world, left, right = new_connected_pair()
    world.passes = lambda from_, to: False
    world.run(60)
    assert left.states[-1] == right.states[-1] == "failed"
    world.passes = lambda from_, to: True
    restart_both(world, left, right)
    left.drain()
    assert left.states[-1] == "checking"
    world.connect()
    world.run(1)
    assert left.states[-1] == right.states[-1] == "completed"


def test_other_credentials_of_the_peer_restart_us_too(new_connected_pair):
    world, left, right = new_connected_pair()
    before = right.agent.local_credentials
    left.untold.clear()
    right.untold.clear()
    left.agent.restart(world.now)
    right.agent.set_remote_credentials(left.agent.local_credentials, now=world.now)
    assert right.agent.local_credentials != before
    left.agent.set_remote_credentials(right.agent.local_credentials, now=world.now)
    world.signal_candidates()
    world.run(1)
    assert len(left.told(PairSelected)) == len(right.told(PairSelected)) == 2


def test_the_same_credentials_again_change_nothing(new_connected_pair):
    world, left, right = new_connected_pair()
    before = left.agent.local_credentials
    left.agent.set_remote_credentials(right.agent.local_credentials, now=world.now)
    assert left.agent.local_credentials == before


def test_credentials_may_be_chosen(new_connected_pair):
    world, left, _ = new_connected_pair()
    chosen = Credentials("chosen", "a/fine/password/of/24+ch")
    left.agent.restart(world.now, chosen)
    assert left.agent.local_credentials == chosen
    assert left.agent.remote_credentials is None


def test_the_old_way_may_be_lost_while_the_new_one_is_sought(new_connected_pair):
    world, left, right = new_connected_pair()
    left.agent.restart(world.now)
    right.is_awake = False
    world.run(40)
    assert left.agent.selected_pair is None
    assert len(left.told(ConsentLost)) == 1
    assert left.states[-1] == "checking"


def test_a_hundred_restarts_leave_nothing_behind(new_connected_pair):
    world, left, right = new_connected_pair()
    for _ in range(100):
        restart_both(world, left, right)
        world.connect()
        world.run(0.2)
    assert left.agent.is_validated(LEFT, RIGHT)
    assert len(left.agent.local_candidates) == 1
    assert len(left.agent.pairs_snapshot()) == 1
    names = [event.credentials for event in left.told(CredentialsInUse)]
    assert max(map(len, names)) == 2, "B5: the old names are good until there is a way by the new ones"
    assert names[-1] == (left.agent.local_credentials,)


def test_a_socket_that_is_gone_takes_its_pairs_along_and_others_are_tried(new_world):
    world = new_world()
    left, right = world.side(controlling=True), world.side(controlling=False)
    left.bind("10.0.0.1", 1, local_preference=2000)
    left.bind("10.0.1.1", 1, local_preference=1000)
    right.bind("10.0.0.2", 2)
    world.connect()
    world.run(1)
    left.agent.remove_local_base(("10.0.0.1", 1), world.now)
    assert left.agent.selected_pair is None
    assert not left.agent.is_validated(("10.0.0.1", 1), ("10.0.0.2", 2))
    world.run(20, until=world.is_connected)
    world.run(13)
    assert left.agent.selected_pair.via == ("10.0.1.1", 1)
    assert right.agent.selected_pair.remote_address == ("10.0.1.1", 1), "followed once the other has gone silent"
    assert left.states[-1] == right.states[-1] == "completed"


def test_a_restart_that_is_taken_back_leaves_everything_as_it_was(new_connected_pair):
    world, left, right = new_connected_pair()
    pair, credentials = left.agent.selected_pair, left.agent.local_credentials
    left.agent.restart(world.now)
    world.run(8)
    left.agent.resume(world.now)
    world.run(8)
    assert (left.agent.selected_pair, left.agent.local_credentials) == (pair, credentials)
    assert left.agent.remote_credentials == right.agent.local_credentials
    assert left.states[-1] == "completed"
    assert len(left.told(PairSelected)) == len(right.told(PairSelected)) == 1


def test_while_a_restart_is_only_proposed_the_search_goes_on(new_pair):
    world, left, right = new_pair()
    world.exchange_credentials()
    right.agent.restart(world.now)
    world.signal_candidates()
    world.run(2)
    assert left.agent.selected_pair is not None
    assert right.agent.selected_pair is not None
    right.agent.resume(world.now)
    world.run(2)
    assert left.states[-1] == right.states[-1] == "connected"


def test_consent_that_is_lost_while_a_restart_is_proposed_stays_lost_when_it_is_taken_back(new_connected_pair):
    world, left, right = new_connected_pair()
    left.agent.restart(world.now)
    right.is_awake = False
    world.run(40)
    left.agent.resume(world.now)
    assert left.agent.selected_pair is None
    assert left.agent.state.value == "failed"


def test_there_is_nothing_to_take_back_once_the_peer_has_agreed(new_connected_pair):
    world, left, right = new_connected_pair()
    restart_both(world, left, right)
    world.exchange_credentials()
    agreed = left.agent.local_credentials
    left.agent.resume(world.now)
    assert left.agent.local_credentials == agreed


def test_another_peer_may_answer_in_the_place_of_one_that_was_told_of(new_pair):
    world, left, _ = new_pair()
    left.agent.set_remote_credentials(Credentials("early", "a/fine/password/of/24+ch"), now=world.now)
    own = left.agent.local_credentials
    left.agent.forget_remote(world.now)
    assert (left.agent.local_credentials, left.agent.remote_credentials) == (own, None)
    world.connect()
