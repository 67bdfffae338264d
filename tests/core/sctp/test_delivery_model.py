"""Whatever the network does to any packet, both sides keep their word."""

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trio_webrtc.core.sctp import IncomingStreamsReset, OutgoingStreamsReset, SctpSettings
from trio_webrtc.testing.pair import Pair

from .harness import connected, events, messages

ORDERED, UNORDERED, RESETTABLE, FLEETING = 1, 2, 3, 4
SMALL_AND_WRAPPING = SctpSettings(
    initial_tsn=2**32 - 8, receive_buffer=30_000, max_message_size=6_000, max_retransmits=10_000
)


class Delivery(RuleBasedStateMachine):
    """Ordered messages arrive once each and in order, unordered ones once each; a reset comes after what was sent
    before it; messages that may be lost are whole if they arrive, and in order; and all of it settles."""

    def __init__(self):
        super().__init__()
        self.pair = connected(settings=SMALL_AND_WRAPPING)
        self.sides = (self.pair.a, self.pair.b)
        self.sent = {side: {ORDERED: [], UNORDERED: [], RESETTABLE: [], FLEETING: []} for side in self.sides}
        self.received = {side: {ORDERED: [], UNORDERED: [], RESETTABLE: [], FLEETING: []} for side in self.sides}
        self.resetting = dict.fromkeys(self.sides, False)
        self.serial = 0

    def other(self, side):
        return self.pair.b if side is self.pair.a else self.pair.a

    sides_of_pair = st.sampled_from([0, 1])
    sizes = st.one_of(st.integers(4, 40), st.integers(4, 6_000))

    def message(self, size):
        self.serial += 1
        return self.serial.to_bytes(4, "big") * (size // 4)

    @rule(which=sides_of_pair, size=sizes)
    def send_ordered(self, which, size):
        self._send(self.sides[which], ORDERED, size)

    @rule(which=sides_of_pair, size=sizes)
    def send_unordered(self, which, size):
        self._send(self.sides[which], UNORDERED, size, unordered=True)

    @rule(which=sides_of_pair, size=sizes, contract=st.sampled_from([{"max_retransmits": 0}, {"lifetime": 0.3}]))
    def send_fleeting(self, which, size, contract):
        self._send(self.sides[which], FLEETING, size, **contract)

    @rule(which=sides_of_pair, size=sizes)
    def send_resettable(self, which, size):
        if not self.resetting[self.sides[which]]:
            self._send(self.sides[which], RESETTABLE, size)

    @rule(which=sides_of_pair)
    def reset(self, which):
        side = self.sides[which]
        if not self.resetting[side]:
            self.resetting[side] = True
            self.sent[side][RESETTABLE].append("reset")
            side.reset_streams([RESETTABLE], self.pair.now)
            self.pair.drain()

    def _send(self, side, stream_id, size, **contract):
        data = self.message(size)
        self.sent[side][stream_id].append(data)
        side.send(stream_id, 51, data, now=self.pair.now, **contract)
        self.pair.drain()

    @precondition(lambda self: self.pair.in_flight)
    @rule(data=st.data(), fate=st.sampled_from([Pair.deliver, Pair.duplicate, Pair.lose]))
    def network_acts(self, data, fate):
        fate(self.pair, data.draw(st.integers(0, len(self.pair.in_flight) - 1)))

    @rule()
    def time_passes(self):
        self.pair.fire_next_timer()

    @invariant()
    def both_keep_their_word(self):
        self._take()
        for side in self.sides:
            sent, received = self.sent[self.other(side)], self.received[side]
            for stream_id in (ORDERED, RESETTABLE):
                assert received[stream_id] == sent[stream_id][: len(received[stream_id])]
            assert len(set(received[UNORDERED])) == len(received[UNORDERED])
            assert set(received[UNORDERED]) <= set(sent[UNORDERED])
            fleeting = iter(sent[FLEETING])
            assert all(message in fleeting for message in received[FLEETING]), "out of order, twice or never sent"

    def _take(self):
        for side in self.sides:
            for message in messages(side, self.pair.now):
                self.received[side][message.stream_id].append(message.data)
            for event in events(side):
                if isinstance(event, IncomingStreamsReset):
                    self.received[side][RESETTABLE].append("reset")
                elif isinstance(event, OutgoingStreamsReset):
                    self.resetting[side] = False
        self.pair.drain()

    def teardown(self):
        """The network heals: everything must come through."""
        for _ in range(1_000):
            self.pair.exchange()
            self.both_keep_their_word()
            if not self.pair.in_flight and not any(side.unacknowledged_total for side in self.sides):
                break
            self.pair.fire_next_timer()
        self.pair.settle()
        self.both_keep_their_word()
        for side in self.sides:
            sent, received = self.sent[self.other(side)], self.received[side]
            assert received[ORDERED] == sent[ORDERED]
            assert received[RESETTABLE] == sent[RESETTABLE]
            assert sorted(received[UNORDERED]) == sorted(sent[UNORDERED])
            assert side.unacknowledged_total == side.buffered_amount(ORDERED) == 0
            assert not self.resetting[side]


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
