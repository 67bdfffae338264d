"""Two whole peers and any order of offers, answers and second thoughts: they agree in the end, and lose nothing."""

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from trio_webrtc.core.jsep import Which
from trio_webrtc.core.peer import ConnectionState, Secured
from trio_webrtc.core.sdp import parse

from .test_peer import Peer, PeerPair

SIDES = st.sampled_from(["a", "b"])


class Signalling(RuleBasedStateMachine):
    """Every rule leaves both sides stable; what lies between is as mixed as signalling can make it."""

    @initialize(seed=st.integers(0, 1000))
    def begin(self, seed):
        self.pair = PeerPair(seed)
        self.rng = random.Random(seed)
        self.is_agreed = False
        self.sent = {"a": [], "b": []}
        self.received = {"a": [], "b": []}
        self.channels = {}
        self.near = self.pair.create(self.pair.a)
        self.pair.create(self.pair.b)  # so that its offers are of data, too

    def peer(self, side: str) -> Peer:
        return getattr(self.pair, side)

    def other(self, side: str) -> Peer:
        return self.peer("b" if side == "a" else "a")

    def offer(self, peer: Peer) -> str:
        peer.core.set_local_description("offer", None, self.pair.now)
        self.pair.drain()
        return peer.core.signalling.describe(Which.PENDING_LOCAL)[1]

    def take_offer(self, peer: Peer, sdp: str) -> None:
        peer.core.set_remote_description("offer", sdp, self.pair.now)
        self.pair.drain()

    def answer(self, answerer: Peer, offerer: Peer, *, provisional: int = 0, pause: float = 0.0) -> None:
        for _ in range(provisional):
            answerer.core.set_local_description("pranswer", None, self.pair.now)
            self.pair.drain()
            offerer.core.set_remote_description(*answerer.core.signalling.describe(Which.PENDING_LOCAL), self.pair.now)
            self.spend(pause)
        answerer.core.set_local_description("answer", None, self.pair.now)
        self.pair.drain()
        offerer.core.set_remote_description(*answerer.core.signalling.describe(Which.CURRENT_LOCAL), self.pair.now)
        self.pair.drain()
        self.is_agreed = True

    def spend(self, seconds: float) -> None:
        self.pair.run(seconds, rng=self.rng, latency=0.02)
        if self.pair.b.arrived and not self.channels:
            self.channels = {"a": self.near, "b": self.pair.b.arrived[0]}

    @rule(seconds=st.sampled_from([0.01, 0.1, 1.0, 6.0]))
    def time_passes(self, seconds):
        self.spend(seconds)

    @rule(side=SIDES)
    def restart(self, side):
        self.peer(side).core.restart_ice(self.pair.now)

    @rule(side=SIDES, provisional=st.integers(0, 2), pause=st.sampled_from([0.0, 0.03, 1.0]))
    def negotiate(self, side, provisional, pause):
        offerer, answerer = self.peer(side), self.other(side)
        self.take_offer(answerer, self.offer(offerer))
        self.spend(pause)
        self.answer(answerer, offerer, provisional=provisional, pause=pause)

    @rule(side=SIDES, pause=st.sampled_from([0.0, 0.03, 1.0]), times=st.integers(1, 2))
    def offer_and_take_it_back(self, side, pause, times):
        offerer = self.peer(side)
        for _ in range(times):
            self.offer(offerer)
            self.spend(pause)
        offerer.core.set_local_description("rollback", None, self.pair.now)
        self.pair.drain()

    @rule(side=SIDES, pause=st.sampled_from([0.0, 0.03, 1.0]))
    def have_an_offer_turned_down(self, side, pause):
        offerer, answerer = self.peer(side), self.other(side)
        self.take_offer(answerer, self.offer(offerer))
        self.spend(pause)
        answerer.core.set_remote_description("rollback", "", self.pair.now)
        self.spend(pause)
        offerer.core.set_local_description("rollback", None, self.pair.now)
        self.pair.drain()

    @rule(side=SIDES, pause=st.sampled_from([0.0, 0.03, 1.0]), restart=st.booleans())
    def replace_an_offer_that_was_delivered(self, side, pause, restart):
        offerer, answerer = self.peer(side), self.other(side)
        self.take_offer(answerer, self.offer(offerer))
        self.spend(pause)
        if restart:
            offerer.core.restart_ice(self.pair.now)
        self.take_offer(answerer, self.offer(offerer))
        self.spend(pause)
        self.answer(answerer, offerer)

    @rule(polite=SIDES, pause=st.sampled_from([0.0, 0.03, 1.0]), restarts=st.tuples(st.booleans(), st.booleans()))
    def offers_cross(self, polite, pause, restarts):
        yielding, insisting = self.peer(polite), self.other(polite)
        for peer, restart in zip((yielding, insisting), restarts, strict=True):
            if restart:
                peer.core.restart_ice(self.pair.now)
        self.offer(yielding)
        offer = self.offer(insisting)
        self.spend(pause)
        self.take_offer(yielding, offer)
        self.spend(pause)
        self.answer(yielding, insisting)

    @rule(side=SIDES, size=st.integers(1, 3000))
    def send(self, side, size):
        if self.channels:
            message = self.rng.randbytes(size)
            self.peer(side).core.channels.send(self.channels[side], message, self.pair.now)
            self.sent["b" if side == "a" else "a"].append(message)
            self.pair.drain()

    @invariant()
    def nothing_is_lost_and_nobody_fails(self):
        for side in ("a", "b"):
            peer = self.peer(side)
            assert peer.core.signalling.state.value == "stable"
            assert peer.core.connection_state not in (ConnectionState.FAILED, ConnectionState.CLOSED)
            if self.channels:
                self.received[side] += peer.take_all(self.channels[side], self.pair.now)
                assert self.received[side] == self.sent[side][: len(self.received[side])]
            if self.is_agreed:
                local = parse(peer.core.signalling.describe(Which.CURRENT_LOCAL)[1]).media[0]
                remote = parse(peer.core.signalling.describe(Which.CURRENT_REMOTE)[1]).media[0]
                assert local.find("ice-ufrag").value == peer.core.agent.local_credentials.ufrag
                assert remote.find("ice-ufrag").value == peer.core.agent.remote_credentials.ufrag
                lines = [found.value for found in local.find_all("candidate")]
                assert len(lines) == len(set(lines)) == 1

    def teardown(self):
        if hasattr(self, "pair"):
            self.negotiate("a", 0, 1.0)
            self.spend(3.0)
            assert self.channels
            self.send("a", 100)
            self.send("b", 100)
            self.spend(3.0)
            self.nothing_is_lost_and_nobody_fails()
            assert self.received == self.sent
            for peer in (self.pair.a, self.pair.b):
                assert peer.core.connection_state is ConnectionState.CONNECTED
                assert isinstance(peer.core.stage, Secured)


Signalling.TestCase.settings = settings(max_examples=60, stateful_step_count=12, deadline=None)
TestPeersAgreeAndLoseNothingWhateverIsOfferedAndTakenBack = Signalling.TestCase
