"""A lite agent held against a few lines that say what it has to do, whatever the peer and signalling do."""

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from trio_webrtc.core.contract import Received
from trio_webrtc.core.ice import AgentState, Credentials, CredentialsInUse, IceSettings, LiteAgent
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.message import ICE_CONTROLLED, ICE_CONTROLLING, PRIORITY, USE_CANDIDATE, USERNAME

SETTINGS = IceSettings(max_validated=4, max_retired=2)
PLACES = st.tuples(st.sampled_from(["udp", "other udp", "tcp"]), st.integers(1, 4).map(lambda n: (f"10.0.0.{n}", n)))


class LiteModel(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.agent = LiteAgent(rng=random.Random(1), settings=SETTINGS)
        self.now = 0.0
        self.number = 0
        self.told = ()
        self.current, self.former = self.agent.local_credentials, None
        self.is_agreed = False
        self.selected, self.has_chosen = None, False
        self.last_check_there, self.last_check = 0.0, 0.0
        self.retired = []

    @initialize()
    def begin(self):
        self.agent.add_local_base("udp", ("10.0.0.99", 99), self.now)

    # What the peer does

    @rule(place=PLACES, nominate=st.booleans(), old=st.booleans())
    def check(self, place, nominate, old):
        used = self.former if old and self.former is not None else self.current
        answer = self.ask(place, used, {ICE_CONTROLLING: 5} | ({USE_CANDIDATE: None} if nominate else {}))
        if place[0] in self.retired:
            assert answer is None
            return
        assert answer.message_class is MessageClass.RESPONSE
        assert answer.is_signed_with(used.key)
        self.last_check = self.now
        is_lost = self.selected is None or self.now - self.last_check_there >= SETTINGS.lite_silence
        if nominate or place == self.selected or (self.has_chosen and is_lost):
            self.selected, self.last_check_there, self.has_chosen = place, self.now, True
        if used is self.current:
            self.former = None

    @rule(place=PLACES, username=st.sampled_from(["{}:x", "{}", "nobody:x"]), knows_password=st.booleans())
    def be_a_stranger(self, place, username, knows_password):
        if knows_password and username == "{}:x":
            return
        guess = self.current.key if knows_password else b"a guess"
        answer = self.ask(place, self.current, {}, username=username, key=guess)
        assert answer is None or answer.error_code == 401

    @rule(place=PLACES, number=st.integers(0, 2**64 - 1))
    def claim_to_be_controlled(self, place, number):
        answer = self.ask(place, self.current, {ICE_CONTROLLED: number})
        assert answer is None or answer.error_code == 487

    def ask(self, place, credentials, attributes, *, username="{}:x", key=None):
        via, address = place
        self.number += 1
        request = Message(
            method=Method.BINDING,
            message_class=MessageClass.REQUEST,
            transaction_id=self.number.to_bytes(12, "big"),
            attributes={USERNAME: username.format(credentials.ufrag), PRIORITY: 1, **attributes},
        )
        self.agent.receive_datagrams([Received(via, address, request.encode(key or credentials.key))], self.now)
        transmit = self.agent.poll_transmits(self.now)
        assert self.agent.poll_transmits(self.now) is None
        if transmit is None:
            return None
        assert (transmit.via, transmit.to) == place
        return Message.decode(transmit.data)

    # What signalling and the sockets do

    @rule()
    def restart(self):
        self.agent.restart(self.now)
        if self.is_agreed:
            self.former = self.current
        self.current, self.is_agreed = self.agent.local_credentials, False
        self.has_chosen = self.selected is not None

    @precondition(lambda self: not self.is_agreed)
    @rule()
    def agree(self):
        self.number += 1
        self.agent.set_remote_credentials(Credentials.generate(random.Random(self.number)), self.now)
        self.is_agreed = True

    @rule()
    def take_back(self):
        self.agent.resume(self.now)
        if self.former is not None and not self.is_agreed:
            self.current, self.former, self.is_agreed = self.former, None, True

    @rule(place=PLACES)
    def forget(self, place):
        self.agent.forget_address(*place, self.now)
        assert not self.agent.is_validated(*place)
        self.selected = None if self.selected == place else self.selected

    @rule(via=st.sampled_from(["other udp", "tcp"]))
    def retire(self, via):
        self.agent.remove_local_base(via, self.now)
        self.retired = [*(known for known in self.retired if known != via), via][-SETTINGS.max_retired :]
        self.selected = None if self.selected is not None and self.selected[0] == via else self.selected

    @rule()
    def connect(self):
        self.agent.add_connection("tcp", "a listener", ("10.0.0.1", 1), self.now)
        self.retired = [known for known in self.retired if known != "tcp"]

    @rule(seconds=st.sampled_from([0.5, 3.0, 10.0]))
    def time_passes(self, seconds):
        end = self.now + seconds
        while (due := self.agent.next_timeout()) is not None and due <= end:
            self.now = max(self.now, due)
            self.agent.handle_timeout(self.now)
        self.now = end
        if self.now - self.last_check >= SETTINGS.consent_lifetime:
            self.selected = None

    # What is always so

    @invariant()
    def data_goes_where_the_peer_wants_it(self):
        pair = self.agent.selected_pair
        assert (None if pair is None else (pair.via, pair.remote_address)) == self.selected
        assert self.selected is None or self.agent.is_validated(*self.selected)
        is_up = self.agent.state in {AgentState.CONNECTED, AgentState.COMPLETED}
        is_disconnected = self.agent.state is AgentState.DISCONNECTED  # silent there, or that way is gone
        assert is_up <= (self.selected is not None) <= (is_up or is_disconnected)

    @invariant()
    def the_names_in_use_are_told(self):
        for event in iter(self.agent.poll_event, None):
            if isinstance(event, CredentialsInUse):
                self.told = event.credentials
        assert self.told == ((self.current,) if self.former is None else (self.current, self.former))

    @invariant()
    def little_is_remembered(self):
        assert len(self.agent.pairs_snapshot()) <= SETTINGS.max_validated

    def teardown(self):
        self.agent.close()
        assert self.agent.next_timeout() is None
        assert self.agent.poll_transmits(self.now) is None


LiteModel.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestLiteModel = LiteModel.TestCase
