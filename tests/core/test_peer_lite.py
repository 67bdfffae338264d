"""Whole peers of which one is ICE-lite, or that meet by TCP: a server and its clients."""

import random

import pytest

from trio_webrtc.core import jsep
from trio_webrtc.core.contract import Address, Received, Via, split_run
from trio_webrtc.core.ice import BaseKind, ConnectionReleased, ConnectionWanted, Credentials, CredentialsInUse
from trio_webrtc.core.peer import Ended
from trio_webrtc.errors import CloseReason, FailureReason
from trio_webrtc.statistics import IceCandidatePairStats, TransportStats, collect

from .test_peer import Peer, PeerPair

CREDENTIALS = Credentials("SERVER", "a/fine/password/of/24+ch")


@pytest.fixture
def pair() -> PeerPair:
    """A full peer and a lite one."""
    return PeerPair(b=Peer("10.0.0.2", 2, ice_lite=True, credentials=CREDENTIALS))


def described(peer: Peer) -> str:
    return peer.core.signalling.describe(jsep.Which.CURRENT_LOCAL)[1]


@pytest.mark.parametrize("offerer", ["a", "b"])
def test_whoever_offers_the_full_peer_controls_and_data_passes(pair, offerer):
    near, far = pair.create(pair.a), pair.create(pair.b)
    pair.negotiate(getattr(pair, offerer))
    assert pair.spend(5, lambda: bool(pair.a.arrived and pair.b.arrived))
    assert pair.a.core.agent.controlling
    assert not pair.b.core.agent.controlling
    pair.transfer(near, pair.b.arrived[0])
    pair.transfer(pair.a.arrived[0], far)
    pair.spend(120)
    assert pair.a.states == pair.b.states == ["connecting", "connected"]


def test_only_the_descriptions_of_a_lite_peer_say_so(pair):
    pair.connect()
    assert "a=ice-lite\r\n" in described(pair.b)
    assert "a=ice-lite" not in described(pair.a)
    assert "a=ice-ufrag:SERVER\r\n" in described(pair.b)


def test_two_lite_peers_learn_that_neither_looks_for_the_other():
    pair = PeerPair(a=Peer("10.0.0.1", 1, ice_lite=True), b=Peer("10.0.0.2", 2, ice_lite=True))
    pair.create(pair.a)
    pair.negotiate()
    assert pair.a.core.agent.controlling
    assert not pair.b.core.agent.controlling
    pair.spend(60)
    for peer in (pair.a, pair.b):
        (ended,) = peer.told(Ended)
        assert ended.error.reason is FailureReason.NO_USABLE_PAIR
        assert "Both sides are ICE-lite" in str(ended.error)


@pytest.mark.parametrize("closer", ["a", "b"])
def test_the_goodbyes_are_heard(pair, closer):
    pair.connect()
    getattr(pair, closer).core.close(pair.now)
    pair.spend(1)
    other = pair.b if closer == "a" else pair.a
    assert [ended.reason for ended in other.told(Ended)] == [CloseReason.REMOTE]


def test_a_client_that_vanishes_ends_the_connection(pair):
    """E3, B2: nobody says goodbye, and the server notices all the same."""
    pair.connect()
    pair.a.core.close(pair.now)
    pair.lose_all()
    pair.left.take_transmits(pair.now)
    pair.spend(60)
    (ended,) = pair.b.told(Ended)
    assert ended.error.reason is FailureReason.CONSENT_EXPIRED
    assert pair.b.states[-3:] == ["disconnected", "failed", "closed"]
    assert pair.b.core.next_timeout() is None


@pytest.mark.parametrize("restarter", ["a", "b"])
def test_data_passes_through_a_restart_and_the_names_in_use_are_told(pair, restarter):
    """B5: at most two names at once, one as soon as the peer has used the new one."""
    near, far = pair.connect()
    for _ in range(10):
        getattr(pair, restarter).core.restart_ice(pair.now)
        pair.negotiate(getattr(pair, restarter))
        pair.transfer(near, far, ("through",))
    told = [event.credentials for event in pair.b.told(CredentialsInUse)]
    assert told[0] == (CREDENTIALS,)
    assert max(map(len, told)) == 2
    assert told[-1] == (pair.b.core.agent.local_credentials,)
    assert pair.b.states == ["connecting", "connected"]


def test_the_names_in_use_are_known_from_the_beginning(pair):
    for peer in (pair.a, pair.b):
        assert peer.core.poll_event() == CredentialsInUse((peer.core.agent.local_credentials,))


def test_each_peer_has_a_prefix_of_its_own_for_what_it_asks(pair):
    pair.connect()
    prefix = pair.a.core.transaction_prefix
    assert len(prefix) == 4
    assert prefix != pair.b.core.transaction_prefix
    requests = [datagram for datagram in pair.a.sent if datagram[:2] == b"\x00\x01"]
    assert {datagram[8:12] for datagram in requests} == {prefix}


def test_nothing_is_sent_to_an_address_that_is_somebody_elses_now(pair):
    near, far = pair.connect()
    assert pair.b.core.is_validated(pair.b.address, pair.a.address)
    pair.b.core.forget_address(pair.b.address, pair.a.address, pair.now)
    assert not pair.b.core.is_validated(pair.b.address, pair.a.address)
    pair.b.sent.clear()
    pair.b.core.channels.send(far, "for the peer only", pair.now)
    pair.drain()
    assert pair.b.sent == []
    pair.spend(10)
    assert pair.a.take_all(near, pair.now) == ["for the peer only"], "the peer's next check shows where it is"


def test_statistics_tell_of_a_lite_peer(pair):
    pair.connect()
    records = collect(pair.b.core, pair.now).values()
    (way,) = (record for record in records if isinstance(record, IceCandidatePairStats))
    (transport,) = (record for record in records if isinstance(record, TransportStats))
    assert transport.selected_candidate_pair_id == way.id
    assert (transport.ice_role, transport.ice_state) == ("controlled", "completed")
    assert (way.state, way.nominated, way.requests_sent) == ("succeeded", True, 0)
    assert way.requests_received == way.responses_sent > 0


# By TCP


class Meeting(PeerPair):
    """A client that opens TCP connections and a server that accepts them; a `via` is a number and a side."""

    LISTENER: Address = ("10.0.0.2", 443)

    def __init__(self, *, lite: bool) -> None:
        self.opened = 0
        self.wires: dict[Via, tuple[Via, Address]] = {}
        """For each end of a connection the other one, and the address that this one has."""
        super().__init__(a=Client("10.0.0.1", 1), b=Server("10.0.0.2", 2, ice_lite=lite))
        self.a.wires = self.b.wires = self.wires

    def drain(self) -> None:
        super().drain()
        while (wanted := next((e for e in self.a.events if isinstance(e, ConnectionWanted)), None)) is not None:
            self.a.events.remove(wanted)
            self.opened += 1
            left, right, address = f"left {self.opened}", f"right {self.opened}", ("10.0.0.1", 50_000 + self.opened)
            self.wires |= {left: (right, address), right: (left, self.LISTENER)}
            self.b.core.add_connection(right, "listener", address, self.now)
            self.a.core.add_connection(left, "host", self.LISTENER, self.now)
            super().drain()

    def end(self, number: int) -> None:
        """Both sides learn that a connection is no more."""
        for core, via in ((self.a.core, f"left {number}"), (self.b.core, f"right {number}")):
            self.wires.pop(via, None)
            core.retire(via, self.now)
        self.drain()


class OverTcp(Peer):
    wires: dict[Via, tuple[Via, Address]]

    def _take_transmits(self, now: float) -> list[Received]:
        self.events += iter(self.core.poll_event, None)
        received = []
        for via, _, data, size in iter(lambda: self.core.poll_transmits(now), None):
            if via in self.wires:
                other_end, address = self.wires[via]
                received += [Received(other_end, address, datagram) for datagram in split_run(data, size)]
        return received


class Client(OverTcp):
    def add_bases(self) -> None:
        self.core.add_local_base(
            "host", ("10.0.0.1", 0), local_preference=65535, announced=(), kind=BaseKind.TCP_ACTIVE, now=0.0
        )
        self.core.end_of_local_bases(0.0)


class Server(OverTcp):
    def add_bases(self) -> None:
        self.core.add_local_base(
            "listener", Meeting.LISTENER, local_preference=65535, announced=(), kind=BaseKind.TCP_PASSIVE, now=0.0
        )
        self.core.end_of_local_bases(0.0)


@pytest.fixture(params=["lite", "full"])
def meeting(request) -> Meeting:
    return Meeting(lite=request.param == "lite")


def test_peers_meet_by_tcp_alone(meeting):
    near, far = meeting.connect()
    meeting.transfer(near, far)
    assert meeting.opened == 1
    assert "tcptype passive" in described(meeting.b)
    assert " 9 typ host tcptype active" in described(meeting.a)
    meeting.spend(100)
    assert meeting.a.states == meeting.b.states == ["connecting", "connected"]


def test_what_was_sent_without_a_connection_goes_by_the_next_one(meeting):
    near, far = meeting.connect()
    for number in range(1, 6):
        meeting.end(number)
        meeting.a.core.channels.send(near, f"a{number}", meeting.now)
        meeting.b.core.channels.send(far, f"b{number}", meeting.now)
        meeting.spend(6)
        assert meeting.b.take_all(far, meeting.now) == [f"a{number}"]
        assert meeting.a.take_all(near, meeting.now) == [f"b{number}"]
    assert meeting.opened == 6
    assert "failed" not in meeting.a.states + meeting.b.states


def test_of_two_connections_one_may_end_while_data_flows():
    """E10: a browser opens two connections and closes one."""
    meeting = Meeting(lite=True)
    near, far = meeting.connect()
    meeting.wires |= {"left 2": ("right 2", ("10.0.0.1", 50_002)), "right 2": ("left 2", Meeting.LISTENER)}
    meeting.b.core.add_connection("right 2", "listener", ("10.0.0.1", 50_002), meeting.now)
    meeting.b.core.retire("right 2", meeting.now)
    meeting.transfer(near, far)
    assert meeting.opened == 1
    assert meeting.b.core.agent.selected_pair.via == "right 1"


def test_a_restart_opens_a_new_connection_and_lets_the_old_one_go(meeting):
    near, far = meeting.connect()
    for number in range(1, 5):
        meeting.a.core.restart_ice(meeting.now)
        meeting.negotiate()
        meeting.spend(2)
        assert [event.via for event in meeting.a.told(ConnectionReleased)] == [
            f"left {n}" for n in range(1, number + 1)
        ]
        meeting.end(number)
        meeting.transfer(near, far, ("through",))
    assert meeting.a.core.agent.selected_pair.via == "left 5"


def test_no_connection_is_wanted_of_a_core_that_is_closed(meeting):
    meeting.connect()
    meeting.a.core.close(meeting.now)
    meeting.end(1)
    meeting.a.core.add_connection("late", "host", Meeting.LISTENER, meeting.now)
    meeting.a.core.report_connection_failure("host", Meeting.LISTENER, "refused", meeting.now)
    meeting.spend(30)
    assert meeting.opened == 1


def test_whatever_the_chance_peers_that_meet_by_tcp_come_together():
    for seed in range(20):
        meeting = Meeting(lite=bool(seed % 2))
        meeting.create(meeting.a)
        meeting.negotiate()
        rng = random.Random(seed)
        arrived = meeting.run(
            10, rng=rng, latency=0.01, jitter=0.0, until=lambda meeting=meeting: bool(meeting.b.arrived)
        )
        assert arrived, f"seed {seed}"
