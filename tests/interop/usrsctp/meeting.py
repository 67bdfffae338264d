"""Our association and one of usrsctp's in a pair: the same clock for both, and a network that a seed decides."""

import random
from collections.abc import Callable, Iterable
from typing import Final

from trio_webrtc.core.sctp import Association, Message, SctpEvent, SctpSettings
from trio_webrtc.testing.pair import End, Pair

from .endpoint import Change, Endpoint, Received
from .stack import Stack

PACKET_SIZE: Final = 1200
BURST: Final = 1000


class Meeting(Pair[bytes]):
    """`ours` on the left, `theirs` on the right. What either side delivers is taken at once, unless it `reads` not."""

    def __init__(self, stack: Stack, *, seed: int = 0, settings: SctpSettings | None = None, **options: int) -> None:
        self.rng = random.Random(seed)
        stack.be_as_new(seed)
        self.settings = settings or SctpSettings()
        self.theirs = Endpoint(stack, **options)
        self.ours_reads = self.theirs_reads = True
        self.our_inbox: list[Message] = []
        """The messages that we have been given."""
        self.our_events: list[SctpEvent] = []
        """All else that we have been told, and the messages among it in their place."""
        super().__init__(
            left=self._begin(0.0),
            right=End(
                receive=self.theirs.receive,
                take_transmits=self.theirs.take_transmits,
                handle_timeout=self.theirs.handle_timeout,
                next_timeout=self.theirs.next_timeout,
            ),
        )

    def _begin(self, now: float) -> End[bytes]:
        self.ours = ours = Association(
            settings=self.settings, rng=random.Random(self.rng.random()), max_packet_size=PACKET_SIZE, now=now
        )
        return End(
            receive=ours.receive_datagrams,
            take_transmits=lambda now: ours.poll_transmits(now, BURST),
            handle_timeout=ours.handle_timeout,
            next_timeout=ours.next_timeout,
        )

    def we_begin_anew(self) -> None:
        """Our side is started again, and has forgotten everything."""
        self.left = self._begin(self.now)
        self.in_flight = [item for item in self.in_flight if item.to is self.right]

    def connect(self, *, from_: str = "ours") -> "Meeting":
        """Bring the association up: from `ours`, from `theirs`, or from `both` at once."""
        if from_ == "ours":
            self.theirs.listen()
        else:
            self.theirs.connect()
        if from_ != "theirs":
            self.ours.connect(self.now)
        assert self.pass_time(60.0, until=lambda: self.ours.is_established and self.theirs.notices == [Change.UP])
        return self

    def pass_time(
        self,
        seconds: float,
        *,
        until: Callable[[], bool] = lambda: False,
        loss: float = 0.0,
        jitter: float = 0.0,
    ) -> bool:
        """Let time pass, while both sides take what they are given; stop as soon as `until()` says so."""

        def step() -> bool:
            self.take()
            return until()

        return self.run(seconds, rng=self.rng, loss=loss, jitter=jitter, until=step)

    def take(self) -> None:
        """Take what either side has delivered."""
        if self.ours_reads:
            for event in iter(self.ours.poll_event, None):
                self.our_events.append(event)
                if isinstance(event, Message):
                    self.our_inbox.append(event)
                    self.ours.release(event.cost, self.now)
        if self.theirs_reads:
            self.theirs.read()

    def told(self, kind: type) -> list[SctpEvent]:
        """What we have been told of a kind."""
        return [event for event in self.our_events if isinstance(event, kind)]


def by_stream(messages: Iterable[Message | Received]) -> dict[int, list[bytes]]:
    """The contents of messages, in the order in which they came on each stream."""
    streams: dict[int, list[bytes]] = {}
    for message in messages:
        streams.setdefault(message.stream_id, []).append(message.data)
    return streams
