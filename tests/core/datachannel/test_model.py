"""Whatever becomes of any packet, channels open, deliver in order, end behind their data, and give back their ids."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from trio_webrtc.core.datachannel import Channel, ChannelState
from trio_webrtc.core.sctp import SctpSettings
from trio_webrtc.testing.pair import Pair

from .harness import Side, connected

MAX_CHANNELS = 6
SIDES = st.sampled_from("ab")


class TwoSides(RuleBasedStateMachine):
    """Both sides open, send, close and take as they like; labels tell which channel belongs to which."""

    def __init__(self):
        super().__init__()
        self.pair = connected(settings=SctpSettings(max_retransmits=10_000))  # it may be long until a packet arrives
        self.ends: dict[str, dict[str, Channel]] = {"a": {}, "b": {}}
        self.sent: dict[tuple[str, str], list[str | bytes]] = {}
        self.taken: dict[tuple[str, str], list[str | bytes]] = {}
        self.closed: set[tuple[str, str]] = set()

    def side(self, name: str) -> Side:
        return getattr(self.pair, name)

    def advance(self) -> None:
        """What a connection does after any command: tell, and send."""
        for name in "ab":
            side = self.side(name)
            side.process(self.pair.now)
            for channel in side.arrived:
                self.ends[name].setdefault(channel.parameters.label, channel)
        self.pair.drain()

    # -- the applications ----------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.ends["a"]) + len(self.ends["b"]) < 2 * MAX_CHANNELS)
    @rule(name=SIDES, ordered=st.booleans())
    def open(self, name, ordered):
        label = f"{name}{len(self.ends[name])}{'' if ordered else ' unordered'}"
        self.ends[name][label] = self.side(name).create(label, ordered=ordered)
        self.advance()

    @rule(name=SIDES, data=st.data(), message=st.text(max_size=3) | st.integers(0, 5000).map(bytes))
    def send(self, name, data, message):
        open_ones = [label for label, channel in self.ends[name].items() if self.side(name).channels.can_send(channel)]
        if open_ones:
            label = data.draw(st.sampled_from(open_ones))
            self.side(name).send(self.ends[name][label], message)
            self.sent.setdefault((name, label), []).append(message)
            self.advance()

    @rule(name=SIDES, data=st.data())
    def close(self, name, data):
        if self.ends[name]:
            label = data.draw(st.sampled_from(sorted(self.ends[name])))
            self.side(name).close(self.ends[name][label])
            self.closed.add((name, label))
            self.advance()

    @rule(name=SIDES)
    def take(self, name):
        for label, channel in self.ends[name].items():
            self.taken.setdefault((name, label), []).extend(self.side(name).take_all(channel))
        self.advance()

    # -- the network ---------------------------------------------------------------------------------------------

    @precondition(lambda self: self.pair.in_flight)
    @rule(data=st.data(), fate=st.sampled_from([Pair.deliver, Pair.deliver, Pair.duplicate, Pair.lose]))
    def network_acts(self, data, fate):
        fate(self.pair, data.draw(st.integers(0, len(self.pair.in_flight) - 1)))
        self.advance()

    @rule()
    def time_passes(self):
        self.pair.fire_next_timer()
        self.advance()

    # -- what holds ----------------------------------------------------------------------------------------------

    @invariant()
    def what_arrives_was_sent(self):
        for (name, label), taken in self.taken.items():
            sent = self.sent.get(("b" if name == "a" else "a", label), [])
            if label.endswith("unordered"):
                assert all(taken.count(message) <= sent.count(message) for message in taken)
            else:
                assert taken == sent[: len(taken)]

    @invariant()
    def nothing_goes_wrong(self):
        for name in "ab":
            assert self.side(name).refused == []
            assert self.side(name).ends == []
            assert [channel.error for channel in self.ends[name].values() if channel.error] == []

    def teardown(self):
        self.advance()
        self.pair.settle()
        self.advance()
        self.take("a")
        self.take("b")
        self.pair.settle()
        for (name, label), sent in self.sent.items():
            other = "b" if name == "a" else "a"
            if (other, label) not in self.closed:
                assert sorted(self.taken[other, label], key=repr) == sorted(sent, key=repr)
        for label in {label for _, label in self.closed}:
            states = [ends[label].state for ends in self.ends.values() if label in ends]
            assert set(states) == {ChannelState.CLOSED}
        self.what_arrives_was_sent()
        self.nothing_goes_wrong()


TestTwoSides = TwoSides.TestCase
TestTwoSides.settings = settings(max_examples=30, stateful_step_count=40, deadline=None)
