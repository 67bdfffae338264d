"""Two whole peers in virtual time: no sockets, no Trio. What each layer adds is tested with the layer."""

import datetime
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trio_webrtc.core import dtls, jsep
from trio_webrtc.core.contract import Received, split_run
from trio_webrtc.core.datachannel import Channel, ChannelArrived, ChannelParameters, ChannelState
from trio_webrtc.core.demultiplexing import Protocol, protocol_of
from trio_webrtc.core.peer import (
    MAX_EARLY_DTLS,
    ConnectionState,
    ConnectionStateChanged,
    Ended,
    PeerCore,
    PeerSettings,
    Secured,
)
from trio_webrtc.core.stun.message import USE_CANDIDATE, Message, MessageClass
from trio_webrtc.errors import CloseReason, FailureReason
from trio_webrtc.testing.pair import End, Pair

CONTEXT = dtls.Context(dtls.Certificate.generate(now=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)))
STRANGER = dtls.Certificate.generate(now=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
APPLICATION_DATA, ALERT = 23, 21


class Peer:
    """A core with one socket, whose `via` is its address, and what the core has told so far."""

    def __init__(self, host: str, seed: int, **settings: object) -> None:
        self.address = (host, 5000)
        self.core = PeerCore(settings=PeerSettings(dtls_context=CONTEXT, **settings), rng=random.Random(seed), now=0.0)
        self.events: list[object] = []
        self.sent: list[bytes] = []
        self.add_bases()

    def add_bases(self) -> None:
        self.core.add_local_base(self.address, self.address, local_preference=65535, announced=(), now=0.0)
        self.core.end_of_local_bases(0.0)

    def end(self) -> End[Received]:
        return End(
            receive=self.core.receive_datagrams,
            take_transmits=self._take_transmits,
            handle_timeout=self.core.handle_timeout,
            next_timeout=self.core.next_timeout,
        )

    def _take_transmits(self, now: float) -> list[Received]:
        self.events += iter(self.core.poll_event, None)
        received = []
        for _, to, data, size in iter(lambda: self.core.poll_transmits(now), None):
            for datagram in split_run(data, size):
                self.sent.append(datagram)
                received.append(Received(to, self.address, datagram))
        return received

    def take_all(self, channel: Channel, now: float) -> list[str | bytes]:
        return list(iter(lambda: self.core.channels.take(channel, now), None))

    def told(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def states(self) -> list[str]:
        return [event.state.value for event in self.told(ConnectionStateChanged)]

    @property
    def arrived(self) -> list[Channel]:
        return [event.channel for event in self.told(ChannelArrived)]


def unchanged(sdp: str) -> str:
    return sdp


class PeerPair(Pair[Received]):
    """Two peers that have not exchanged descriptions yet."""

    def __init__(self, seed: int = 0, *, a: Peer | None = None, b: Peer | None = None) -> None:
        self.a, self.b = a or Peer("10.0.0.1", 2 * seed + 1), b or Peer("10.0.0.2", 2 * seed + 2)
        super().__init__(left=self.a.end(), right=self.b.end())

    def create(self, peer: Peer, label: str = "chat", **parameters: object) -> Channel:
        return peer.core.create_channel(ChannelParameters(label=label, **parameters), None, self.now)

    def offer(self, offerer: Peer, answerer: Peer, change=unchanged) -> None:
        offerer.core.set_local_description("offer", None, self.now)
        self.drain()
        _, sdp = offerer.core.signalling.describe(jsep.Which.PENDING_LOCAL)
        answerer.core.set_remote_description("offer", change(sdp), self.now)

    def answer(self, offerer: Peer, answerer: Peer, change=unchanged) -> None:
        answerer.core.set_local_description("answer", None, self.now)
        self.drain()
        _, sdp = answerer.core.signalling.describe(jsep.Which.CURRENT_LOCAL)
        offerer.core.set_remote_description("answer", change(sdp), self.now)

    def negotiate(self, offerer: Peer | None = None, change=unchanged) -> None:
        offerer = offerer or self.a
        answerer = self.b if offerer is self.a else self.a
        self.offer(offerer, answerer, change)
        self.answer(offerer, answerer)

    def spend(self, seconds: float, until=lambda: False) -> bool:
        return self.run(seconds, rng=random.Random(0), latency=0.02, until=until)

    def connect(self) -> tuple[Channel, Channel]:
        near = self.create(self.a)
        self.negotiate()
        assert self.spend(5, lambda: bool(self.b.arrived))
        self.spend(1)
        return near, self.b.arrived[0]

    def transfer(self, near: Channel, far: Channel, messages=("hello", b"\0" * 20_000)) -> None:
        """Both ways, and whole."""
        for message in messages:
            self.a.core.channels.send(near, message, self.now)
            self.b.core.channels.send(far, message, self.now)
        self.spend(3)
        for peer, channel in ((self.a, near), (self.b, far)):
            assert peer.take_all(channel, self.now) == list(messages)


@pytest.fixture
def pair() -> PeerPair:
    return PeerPair()


@pytest.fixture
def connected(pair: PeerPair) -> tuple[PeerPair, Channel, Channel]:
    return pair, *pair.connect()


def goodbyes(peer: Peer) -> list[int]:
    """The types of the DTLS records that closing puts on the way."""
    return [datagram[0] for datagram in peer.sent]


# -- connecting --------------------------------------------------------------------------------------------------


def test_two_peers_connect_and_talk(connected):
    pair, near, far = connected
    pair.transfer(near, far, ["hello", b"", "", "世界", bytes(100_000)])
    assert pair.a.states == pair.b.states == ["connecting", "connected"]


@pytest.mark.parametrize("offerer", ["a", "b"])
@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
def test_either_may_offer_and_take_either_dtls_role(pair, offerer, setup):
    near = pair.create(pair.a)
    pair.create(pair.b, "only so that it may offer")
    pair.negotiate(getattr(pair, offerer), lambda sdp: sdp.replace("a=setup:actpass", f"a=setup:{setup}"))
    pair.spend(3)
    assert near.state is ChannelState.OPEN
    answerer_is_client = setup != "active"
    a_is_client = answerer_is_client == (offerer == "b")
    assert near.id == (0 if a_is_client else 1)


def test_a_remote_that_says_it_is_ice_lite_is_controlled(pair):
    near = pair.create(pair.a)
    pair.offer(pair.a, pair.b, lambda sdp: sdp.replace("t=0 0\r\n", "t=0 0\r\na=ice-lite\r\n"))
    assert pair.b.core.agent.controlling
    pair.answer(pair.a, pair.b)
    pair.spend(5)
    assert near.state is ChannelState.OPEN


@pytest.mark.parametrize("seed", range(5))
def test_peers_connect_and_deliver_over_a_lossy_network(seed):
    pair = PeerPair(seed)
    near = pair.create(pair.a)
    messages = [bytes([number]) * 3000 for number in range(30)]
    pair.negotiate()
    sent, received = list(messages), []

    def is_done() -> bool:
        while sent and pair.a.core.channels.can_send(near):
            pair.a.core.channels.send(near, sent.pop(0), pair.now)
        for channel in pair.b.arrived:
            received.extend(pair.b.take_all(channel, pair.now))
        return len(received) == len(messages)

    assert pair.run(120, rng=random.Random(seed), latency=0.02, jitter=0.03, loss=0.2, until=is_done)
    assert received == messages


def test_nothing_but_checks_is_sent_before_the_peer_has_described_itself(pair):
    pair.create(pair.a)
    pair.offer(pair.a, pair.b)
    pair.spend(3)
    assert {protocol_of(datagram) for datagram in pair.a.sent + pair.b.sent} <= {Protocol.STUN}


def test_the_client_hello_leaves_with_the_answer_to_the_check_that_nominates(pair):
    pair.create(pair.a)
    pair.negotiate()
    pair.drain()
    for _ in range(20):
        nominating = [
            index
            for index, item in enumerate(pair.in_flight)
            if protocol_of(item.packet.data) is Protocol.STUN
            and USE_CANDIDATE in Message.decode(item.packet.data).attributes
        ]
        if nominating:
            break
        if pair.in_flight:
            pair.deliver()
        else:
            pair.fire_next_timer()
    before = len(pair.b.sent)
    pair.deliver(nominating[0])
    answer, *hello = pair.b.sent[before:]
    assert Message.decode(answer).message_class is MessageClass.RESPONSE
    assert hello
    assert all(protocol_of(datagram) is Protocol.DTLS for datagram in hello)


def test_a_record_may_share_its_batch_with_the_check_that_proves_its_address(pair):
    pair.create(pair.a)
    pair.offer(pair.a, pair.b)
    pair.b.core.set_local_description("answer", None, pair.now)
    pair.drain()
    check = next(item.packet for item in pair.in_flight if item.to is pair.left)
    record = Received(pair.a.address, pair.b.address, bytes([22, 254, 253]) + bytes(20))
    pair.a.core.receive_datagrams([record, check], pair.now)
    assert [*pair.a.core.stage.early] == [record.data]
    assert pair.a.core.traffic.datagrams_dropped == 0


def test_records_that_come_before_the_answer_are_kept_and_answered_when_it_is_there(pair):
    pair.create(pair.a)
    pair.offer(pair.a, pair.b)
    pair.b.core.set_local_description("answer", None, pair.now)
    pair.spend(1)  # the checks of the right side have proved its address
    hello = client_hello(pair)
    pair.a.core.receive_datagrams([Received(pair.a.address, pair.b.address, hello)], pair.now)
    assert [*pair.a.core.stage.early] == [hello]
    pair.a.sent.clear()
    _, sdp = pair.b.core.signalling.describe(jsep.Which.CURRENT_LOCAL)
    pair.a.core.set_remote_description("answer", sdp, pair.now)
    pair.drain()
    assert Protocol.DTLS in {protocol_of(datagram) for datagram in pair.a.sent}  # its answer to that very hello


def client_hello(pair: PeerPair) -> bytes:
    """What the right side would say if it did not wait for a nomination."""
    session = dtls.Session(CONTEXT, is_client=True, remote_fingerprints=(), now=pair.now)
    session.start(pair.now)
    hello, _ = session.poll_run(pair.now)
    return hello


def test_no_more_early_records_are_kept_than_the_bound_says(pair):
    pair.create(pair.a)
    pair.offer(pair.a, pair.b)
    pair.b.core.set_local_description("answer", None, pair.now)
    pair.spend(1)
    assert pair.a.core.agent.is_validated(pair.a.address, pair.b.address)
    record = bytes([22, 254, 253]) + bytes(20)
    pair.a.core.receive_datagrams([Received(pair.a.address, pair.b.address, record)] * 100, pair.now)
    assert len(pair.a.core.stage.early) == MAX_EARLY_DTLS


def test_candidates_may_come_before_the_description_and_bad_ones_harm_nothing(pair):
    near = pair.create(pair.a)

    def without_candidates(sdp: str) -> str:
        lines = sdp.splitlines(keepends=True)
        return "".join(line for line in lines if not line.startswith(("a=candidate", "a=end-of-candidates")))

    line = "candidate:1 1 udp 2130706431 10.0.0.1 5000 typ host"
    pair.b.core.add_remote_candidate(line, "no such mid", None, None, pair.now)
    pair.b.core.add_remote_candidate(line, None, 99, None, pair.now)
    pair.b.core.add_remote_candidate(line, "0", 0, None, pair.now)
    pair.offer(pair.a, pair.b, without_candidates)
    pair.answer(pair.a, pair.b, without_candidates)
    assert pair.spend(5, lambda: near.state is ChannelState.OPEN)


# -- who is heard ------------------------------------------------------------------------------------------------


def test_what_comes_from_elsewhere_is_counted_and_dropped(connected):
    pair, near, far = connected
    pair.a.core.channels.send(near, "genuine", pair.now)
    pair.drain()
    genuine = pair.in_flight[-1].packet
    stranger = genuine._replace(from_=("10.6.6.6", 666))
    before = pair.b.core.traffic.datagrams_dropped
    pair.b.core.receive_datagrams([stranger], pair.now)
    assert pair.b.core.traffic.datagrams_dropped == before + 1
    assert not far.inbox
    pair.spend(1)
    assert far.inbox


def test_what_is_of_no_known_protocol_is_counted_and_dropped(connected):
    pair, _, _ = connected
    before = pair.b.core.traffic.datagrams_dropped
    junk = [b"", b"\x80rtp", b"\x40turn", b"\xffwhat"]
    pair.b.core.receive_datagrams([Received(pair.b.address, pair.a.address, data) for data in junk], pair.now)
    assert pair.b.core.traffic.datagrams_dropped == before + len(junk)


@pytest.mark.parametrize("deceived", ["a", "b"])
def test_no_data_passes_to_a_peer_whose_certificate_was_not_announced(pair, deceived):
    pair.create(pair.a)
    pair.create(pair.b)
    right, wrong = str(CONTEXT.certificate.fingerprints()[0]), str(STRANGER.fingerprints()[0])

    def forge(sdp: str) -> str:
        assert right in sdp
        return sdp.replace(right, wrong)

    pair.offer(pair.a, pair.b, forge if deceived == "b" else unchanged)
    pair.answer(pair.a, pair.b, forge if deceived == "a" else unchanged)
    pair.spend(5)
    victim = getattr(pair, deceived)
    assert not isinstance(victim.core.stage, Secured)
    assert victim.core.error.reason is FailureReason.FINGERPRINT_MISMATCH
    assert victim.told(Ended)[0].reason is CloseReason.FAILED
    assert pair.a.arrived == pair.b.arrived == []


# -- the end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lingered", [False, True])
def test_goodbyes_leave_innermost_first(connected, lingered):
    pair, near, far = connected
    pair.a.sent.clear()
    if lingered:
        pair.a.core.finish_lingering()
    pair.a.core.close(pair.now)
    pair.drain()
    assert goodbyes(pair.a) == [APPLICATION_DATA, ALERT]
    pair.exchange()
    assert pair.b.told(Ended) == [Ended(CloseReason.REMOTE, None)]
    assert pair.a.told(Ended) == [Ended(CloseReason.LOCAL, None)]
    assert near.state is far.state is ChannelState.CLOSED
    assert pair.a.core.next_timeout() is pair.b.core.next_timeout() is None


def test_who_sends_again_after_lingering_says_goodbye_all_the_same(connected):
    """A server lingers with all its peers at once, and ends them when the slowest is done; some go on meanwhile."""
    pair, near, _ = connected
    pair.a.core.finish_lingering()
    pair.a.core.channels.send(near, "not acknowledged any more", pair.now)
    pair.drain()
    pair.a.sent.clear()
    pair.a.core.close(pair.now)
    pair.drain()
    assert goodbyes(pair.a) == [APPLICATION_DATA, ALERT]


def test_data_in_front_of_the_goodbye_is_delivered(connected):
    pair, near, far = connected
    pair.a.core.channels.send(near, "last words", pair.now)
    pair.drain()
    pair.a.core.close(pair.now)
    pair.drain()
    items, pair.in_flight = pair.in_flight, []
    pair.b.core.receive_datagrams([item.packet for item in items], pair.now)
    assert pair.b.core.closed
    assert pair.b.core.channels.take(far, pair.now) == "last words"


def test_a_goodbye_before_dtls_is_up_is_silence(pair):
    pair.create(pair.a)
    pair.negotiate()
    pair.drain()
    pair.a.sent.clear()
    pair.a.core.close(pair.now)
    pair.drain()
    assert pair.a.sent == []
    assert pair.a.states[-1] == "closed"


def test_a_goodbye_between_dtls_and_sctp_is_close_notify(pair):
    pair.create(pair.a)
    pair.negotiate()
    assert pair.spend(5, lambda: isinstance(pair.a.core.stage, Secured) or isinstance(pair.b.core.stage, Secured))
    first = pair.a if isinstance(pair.a.core.stage, Secured) else pair.b
    assert not first.core.stage.association.is_established
    pair.drain()
    first.sent.clear()
    first.core.close(pair.now)
    pair.drain()
    assert goodbyes(first) == [ALERT]


def test_a_bug_in_one_goodbye_keeps_no_other_from_being_said(connected, monkeypatch):
    pair, _, _ = connected

    def break_down(*_: object) -> None:
        raise RuntimeError("a bug")

    pair.a.sent.clear()
    monkeypatch.setattr(pair.a.core.stage.association, "abort", break_down)
    with pytest.raises(RuntimeError, match="a bug"):
        pair.a.core.close(pair.now)
    pair.drain()
    assert goodbyes(pair.a) == [ALERT]


def test_closing_is_harmless_when_repeated(connected):
    pair, _, _ = connected
    pair.a.core.close(pair.now)
    pair.a.core.close(pair.now)
    pair.a.core.handle_timeout(pair.now + 100)
    pair.a.core.receive_datagrams([Received(pair.a.address, pair.b.address, b"\x16junk")], pair.now)
    pair.drain()
    assert len(pair.a.told(Ended)) == 1
    assert isinstance(pair.a.events[-1], Ended)


def test_a_peer_that_vanishes_is_disconnected_then_failed_and_then_the_end(connected):
    pair, near, _ = connected
    vanish(pair, lambda: pair.a.core.closed)
    assert pair.a.states[-4:] == ["connected", "disconnected", "failed", "closed"]
    (ended,) = pair.a.told(Ended)
    assert ended.reason is CloseReason.FAILED
    assert ended.error.reason is FailureReason.CONSENT_EXPIRED
    assert near.error is not None
    assert 30 + 15 <= pair.now <= 30 + 15 + 10


def test_a_peer_that_is_never_reached_fails_naming_what_was_tried(pair):
    pair.create(pair.a)
    pair.negotiate()
    vanish(pair, lambda: pair.a.core.closed)
    (ended,) = pair.a.told(Ended)
    assert ended.error.reason is FailureReason.NO_USABLE_PAIR
    assert "10.0.0.2" in str(ended.error)


def test_a_goodbye_goes_to_a_silent_peer_but_not_to_one_whose_consent_has_expired(connected):
    pair, _, _ = connected
    vanish(pair, lambda: pair.a.core.connection_state is ConnectionState.DISCONNECTED)
    pair.a.sent.clear()
    pair.a.core.close(pair.now)
    pair.drain()
    assert goodbyes(pair.a) == [APPLICATION_DATA, ALERT]
    other = PeerPair()
    near, _ = other.connect()
    vanish(other, lambda: other.a.core.connection_state is ConnectionState.FAILED)
    other.a.sent.clear()
    other.a.core.channels.send(near, "nobody may hear this", other.now)
    other.drain()
    other.a.core.close(other.now)
    other.drain()
    assert other.a.sent == []


def vanish(pair: PeerPair, until, seconds: float = 120) -> None:
    """All that is sent is lost, until something is so."""
    end = pair.now + seconds
    while not until():
        assert pair.now < end
        pair.drain()
        pair.lose_all()
        assert pair.fire_next_timer()
    pair.lose_all()


# -- ICE restarts ------------------------------------------------------------------------------------------------


def ufrag(peer: Peer) -> str:
    return peer.core.agent.local_credentials.ufrag


@pytest.mark.parametrize("restarter", ["a", "b"])
def test_ice_restarts_from_either_side_while_data_flows(connected, restarter):
    pair, near, far = connected
    before = ufrag(pair.a), ufrag(pair.b)
    peer = getattr(pair, restarter)
    peer.core.restart_ice(pair.now)
    assert peer.core.signalling.needs_negotiation
    pair.a.core.channels.send(near, bytes(100_000), pair.now)
    pair.drain()
    pair.negotiate(peer)
    pair.a.core.channels.send(near, "after", pair.now)
    pair.spend(3)
    assert not peer.core.signalling.needs_negotiation
    assert {ufrag(pair.a), ufrag(pair.b)}.isdisjoint(before)
    assert [len(message) for message, _ in far.inbox] == [100_000, 5]
    assert pair.a.core.agent.selected_pair is not None
    assert "disconnected" not in pair.a.states + pair.b.states
    pair.spend(60)  # consent goes on under the new credentials
    assert pair.a.states[-1] == pair.b.states[-1] == "connected"


def test_a_failed_connection_lives_on_after_a_restart_in_time(connected):
    pair, near, far = connected
    vanish(pair, lambda: pair.a.core.connection_state is pair.b.core.connection_state is ConnectionState.FAILED)
    pair.a.core.restart_ice(pair.now)
    pair.negotiate()
    pair.spend(10)
    assert pair.a.states[-1] == pair.b.states[-1] == "connected"
    assert pair.a.core.error is None
    pair.transfer(near, far)
    pair.spend(30)
    assert not pair.a.core.closed


def test_an_answer_to_an_offer_that_restarts_nothing_restarts_nothing(connected):
    pair, near, far = connected
    before = ufrag(pair.a), ufrag(pair.b)
    pair.a.core.restart_ice(pair.now)
    pair.negotiate(pair.b)
    assert (ufrag(pair.a), ufrag(pair.b)) == before
    assert pair.a.core.signalling.needs_negotiation
    pair.transfer(near, far)
    pair.negotiate(pair.a)
    pair.spend(3)
    assert {ufrag(pair.a), ufrag(pair.b)}.isdisjoint(before)
    pair.transfer(near, far)


@pytest.mark.parametrize("both_restart", [False, True])
def test_offers_that_cross_leave_the_connection_whole(connected, both_restart):
    pair, near, far = connected
    pair.a.core.restart_ice(pair.now)
    if both_restart:
        pair.b.core.restart_ice(pair.now)
    pair.a.core.set_local_description("offer", None, pair.now)
    pair.drain()
    pair.negotiate(pair.b)  # the left side gives way
    pair.spend(5)
    pair.transfer(near, far)
    if pair.a.core.signalling.needs_negotiation:
        pair.negotiate(pair.a)
    pair.spend(60)
    assert not pair.a.core.signalling.needs_negotiation
    assert pair.a.states[-1] == pair.b.states[-1] == "connected"
    pair.transfer(near, far)


def test_a_repeated_offer_to_restart_still_restarts(connected):
    pair, near, far = connected
    before = ufrag(pair.b)
    pair.a.core.restart_ice(pair.now)
    pair.offer(pair.a, pair.b)
    pair.offer(pair.a, pair.b)
    pair.answer(pair.a, pair.b)
    pair.spend(60)
    assert ufrag(pair.b) != before
    pair.transfer(near, far)


# -- hostile datagrams -------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_datagram_raises_or_stops_delivery(data):
    pair = PeerPair()
    near, far = pair.connect()
    pair.a.core.channels.send(near, bytes(3000), pair.now)
    recorded = pair.a.sent[-20:]
    for _ in range(data.draw(st.integers(1, 10), label="how many")):
        datagram = data.draw(st.binary(max_size=60) | mutations.map(lambda it: mutate(recorded, *it)), label="datagram")
        from_ = data.draw(st.sampled_from([pair.a.address, ("10.6.6.6", 666)]), label="from")
        pair.b.core.receive_datagrams([Received(pair.b.address, from_, datagram)], pair.now)
        pair.drain()
    pair.spend(3)
    pair.b.core.channels.take(far, pair.now)
    pair.transfer(near, far)


def mutate(datagrams: list[bytes], which: int, changes: list[tuple[int, int]], length: int, tail: bytes) -> bytes:
    """One of the datagrams with some bytes replaced, cut, and with something behind it.

    All numbers wrap around: OpenSSL's signatures vary in length, and what is drawn must not depend on that.
    """
    mutated = bytearray(datagrams[which % len(datagrams)])
    for position, value in changes:
        mutated[position % len(mutated)] = value
    return bytes(mutated[: length % (len(mutated) + 1)]) + tail


positions = st.integers(0, 1500)
mutations = st.tuples(
    st.integers(0, 100),
    st.lists(st.tuples(positions, st.integers(0, 255)), min_size=1, max_size=4),
    positions,
    st.binary(max_size=20),
)
