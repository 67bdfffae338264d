import pytest

from trio_webrtc.core.ice import GatheringCompleted, IceSettings, LocalCandidateGathered
from trio_webrtc.core.stun import Message, MessageClass
from trio_webrtc.core.stun.message import MAPPED_ADDRESS, XOR_MAPPED_ADDRESS

SERVER, OTHER = ("203.0.113.1", 3478), ("203.0.113.2", 3478)
HERE = ("10.0.0.1", 1001)


def nat(seen, attribute=XOR_MAPPED_ADDRESS):
    def answer(from_, data):
        message = Message.decode(data)
        return message.answer({attribute: seen}).encode() if message.message_class is MessageClass.REQUEST else None

    return answer


@pytest.fixture
def side(lone_side):
    return lone_side


def test_a_socket_is_offered_at_once(side):
    (event,) = side.told(LocalCandidateGathered)
    assert event.candidate.to_sdp() == "1 1 udp 2130706431 10.0.0.1 1001 typ host"
    assert event.url is None


def test_gathering_without_servers_completes_when_the_sockets_are_all_there(side):
    side.world.run(5)
    assert side.told(GatheringCompleted) == []
    side.agent.end_of_local_bases(side.world.now)
    side.drain()
    assert len(side.told(GatheringCompleted)) == 1


@pytest.mark.parametrize("attribute", [XOR_MAPPED_ADDRESS, MAPPED_ADDRESS])
def test_a_server_tells_how_we_look_from_outside(side, attribute):
    side.world.servers[SERVER] = nat(("198.51.100.7", 4242), attribute)
    side.agent.add_stun_server(SERVER, side.world.now, url="stun:stun.example")
    side.agent.end_of_local_bases(side.world.now)
    side.world.run(1)
    event = side.told(LocalCandidateGathered)[1]
    assert event.url == "stun:stun.example"
    assert event.candidate.to_sdp() == "2 1 udp 1694498815 198.51.100.7 4242 typ srflx raddr 10.0.0.1 rport 1001"
    assert isinstance(side.events[-1], GatheringCompleted)


def test_servers_are_asked_from_every_socket_of_their_family_now_and_later(side):
    side.world.servers[SERVER] = lambda from_, data: (
        Message.decode(data).answer({XOR_MAPPED_ADDRESS: ("198.51.100.7", from_[1])}).encode()
    )
    side.bind("127.0.0.1", 1002)
    side.bind("2001:db8::1", 1003)
    side.agent.add_stun_server(SERVER, side.world.now)
    side.bind("10.0.1.1", 1004)
    side.world.run(1)
    assert [from_ for _, from_, to, _ in side.world.log if to == SERVER] == [HERE, ("10.0.1.1", 1004)]
    assert side.candidates[-2:] == ["srflx 198.51.100.7", "srflx 198.51.100.7"]


def test_a_silent_server_delays_nothing_but_the_end_and_that_by_three_seconds(side):
    side.world.servers[OTHER] = nat(("198.51.100.7", 4242))
    side.agent.add_stun_server(SERVER, side.world.now, url="stun:silent.example")
    side.agent.add_stun_server(OTHER, side.world.now)
    side.agent.end_of_local_bases(side.world.now)
    side.world.run(0.1)
    assert "srflx 198.51.100.7" in side.candidates
    side.world.run(2.8)
    assert side.told(GatheringCompleted) == []
    side.world.run(0.2)
    assert len(side.told(GatheringCompleted)) == 1
    assert [t - 1000 for t, _, to, _ in side.world.log if to == SERVER] == [0, 0.5, 1.5]
    assert "STUN server stun:silent.example did not answer" in side.agent.describe_failure()


def test_a_server_that_refuses_ends_the_wait(side):
    side.world.servers[SERVER] = lambda from_, data: Message.decode(data).refuse(400).encode()
    side.agent.add_stun_server(SERVER, side.world.now)
    side.agent.end_of_local_bases(side.world.now)
    side.world.run(0.1)
    assert len(side.told(GatheringCompleted)) == 1
    assert "STUN server 203.0.113.1:3478 answered 400 Bad Request" in side.agent.describe_failure()


def test_a_server_that_answers_without_an_address_helps_nobody(side):
    side.world.servers[SERVER] = lambda from_, data: Message.decode(data).answer({}).encode()
    side.agent.add_stun_server(SERVER, side.world.now)
    side.agent.end_of_local_bases(side.world.now)
    side.world.run(0.1)
    assert side.candidates == ["host 10.0.0.1"]
    assert "without an address" in side.agent.describe_failure()


def test_the_same_address_from_two_servers_or_without_nat_is_told_once(side):
    side.world.servers[SERVER] = side.world.servers[OTHER] = nat(("198.51.100.7", 4242))
    side.world.servers["203.0.113.3", 1] = nat(HERE)
    for server in (SERVER, OTHER, ("203.0.113.3", 1)):
        side.agent.add_stun_server(server, side.world.now)
    side.world.run(1)
    assert side.candidates == ["host 10.0.0.1", "srflx 198.51.100.7"]


def test_an_answer_from_another_address_than_the_servers_is_ignored(side):
    side.world.servers[SERVER] = lambda from_, data: side.world.carry(
        OTHER, from_, Message.decode(data).answer({XOR_MAPPED_ADDRESS: ("198.51.100.7", 1)}).encode()
    )
    side.agent.add_stun_server(SERVER, side.world.now)
    side.world.run(1)
    assert side.candidates == ["host 10.0.0.1"]


def test_announced_addresses_stand_in_for_the_sockets_own(new_world):
    side = new_world().side(controlling=False)
    side.bind("10.0.0.1", 1001, announced=("203.0.113.5", "rtc.example.org", "2001:DB8::5"))
    side.bind("192.168.0.1", 1003, announced=("2001:db8::6", "2001:DB8::6"))
    side.drain()
    assert side.candidates == [
        "host 203.0.113.5",
        "host rtc.example.org",
        "host 2001:db8::5",
        "host 2001:db8::6",
    ]
    assert len({c.priority for c in side.agent.local_candidates[:3]}) == 3


def test_a_peer_that_comes_by_an_announced_address_is_met_there(new_world):
    world = new_world()
    left, right = world.side(controlling=True), world.side(controlling=False)
    left.bind("10.0.0.1", 1001)
    right.bind("192.168.0.2", 2002, announced=("203.0.113.5",))
    inside, outside = ("192.168.0.2", 2002), ("203.0.113.5", 2002)
    world.translate(inside, outside)
    world.connect()
    assert left.agent.selected_pair.remote_address == outside
    assert left.agent.selected_pair.remote.type == "host"
    assert right.agent.selected_pair.local.host == "203.0.113.5"


def test_nat_bindings_are_kept_alive_until_a_pair_is_in_use(new_pair):
    world, left, _ = new_pair()
    world.servers[SERVER] = nat(("198.51.100.7", 4242))
    left.agent.add_stun_server(SERVER, world.now)
    world.run(40)
    kinds = [m.message_class for m in world.sent(MessageClass.INDICATION, to=SERVER)]
    assert len(kinds) == 2
    world.connect()
    world.log.clear()
    world.run(40)
    assert world.sent(MessageClass.INDICATION) == []


def test_a_retired_socket_is_not_waited_for(side):
    side.agent.add_stun_server(SERVER, side.world.now)
    side.agent.end_of_local_bases(side.world.now)
    side.agent.remove_local_base(HERE, side.world.now)
    side.drain()
    assert len(side.told(GatheringCompleted)) == 1
    assert side.agent.local_candidates == ()
    assert side.agent.next_timeout() is None


def test_a_query_that_cannot_be_sent_is_remembered(side):
    side.agent.add_stun_server(SERVER, side.world.now)
    side.agent.report_send_error(HERE, SERVER, "Network is unreachable", side.world.now)
    assert "Network is unreachable" in side.agent.describe_failure()


def test_a_mapped_address_that_only_the_peer_sees_becomes_a_candidate_that_nobody_is_told_of(new_pair):
    world, left, right = new_pair()
    inside, outside = ("10.0.0.1", 1001), ("198.51.100.7", 4242)
    world.translate(inside, outside)
    world.passes = lambda from_, to: to != inside
    world.connect()
    assert left.agent.selected_pair.local.type == "prflx"
    assert left.agent.selected_pair.local.host == "198.51.100.7"
    assert right.agent.selected_pair.remote.type == "prflx"
    assert left.candidates == ["host 10.0.0.1"]


def test_settings_bound_what_waits_to_be_sent(new_world):
    side = new_world().side(controlling=False, settings=IceSettings(max_queued=3))
    for index in range(5):
        side.bind("10.0.0.1", index + 1)
    side.agent.add_stun_server(SERVER, side.world.now)
    side.drain()
    assert len(side.world.log) == 3
