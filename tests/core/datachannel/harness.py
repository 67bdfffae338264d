"""Two peers with data channels on a pair of associations: no DTLS, no Trio, no clock but a number."""

import random
from collections.abc import Sequence

from trio_webrtc.core.datachannel import (
    AssociationEnded,
    Channel,
    ChannelArrived,
    ChannelEvent,
    ChannelParameters,
    ChannelRefused,
    DataChannels,
    WindowHeldShut,
)
from trio_webrtc.core.sctp import Association, SctpSettings
from trio_webrtc.testing.pair import End, Pair

PACKET_SIZE = 1200
BURST = 1000


class Side:
    """One association with its channels, and what they have told."""

    def __init__(self, *, is_dtls_client: bool | None, seed: int, settings: SctpSettings, max_channels: int) -> None:
        self.association = Association(settings=settings, rng=random.Random(seed), max_packet_size=PACKET_SIZE, now=0.0)
        self.channels = DataChannels(max_channels=max_channels)
        self.told: list[ChannelEvent] = []
        self.now = 0.0
        if is_dtls_client is not None:
            self.channels.choose_ids(is_dtls_client=is_dtls_client)
        self.channels.attach(self.association)

    def end(self) -> End[bytes]:
        return End(
            receive=self._receive,
            take_transmits=lambda now: self.association.poll_transmits(now, BURST),
            handle_timeout=self._handle_timeout,
            next_timeout=self._next_timeout,
        )

    def _receive(self, batch: Sequence[bytes], now: float) -> None:
        self.association.receive_datagrams(batch, now)
        self.process(now)

    def _handle_timeout(self, now: float) -> None:
        self.association.handle_timeout(now)
        self.channels.handle_timeout(now)
        self.process(now)

    def _next_timeout(self) -> float | None:
        due = [self.association.next_timeout(), self.channels.next_timeout()]
        return min((moment for moment in due if moment is not None), default=None)

    def process(self, now: float) -> None:
        self.now = now
        self.channels.process(now)
        self.told += iter(self.channels.poll_event, None)

    # -- what an application does --------------------------------------------------------------------------------

    def create(self, label: str = "", *, id: int | None = None, **parameters: object) -> Channel:
        return self.channels.create(ChannelParameters(label=label, **parameters), id, self.now)

    def send(self, channel: Channel, *messages: str | bytes) -> None:
        for message in messages:
            self.channels.send(channel, message, self.now)

    def close(self, channel: Channel) -> None:
        self.channels.close(channel, self.now)

    def take_all(self, channel: Channel) -> list[str | bytes]:
        return list(iter(lambda: self.channels.take(channel, self.now), None))

    # -- what it was told ----------------------------------------------------------------------------------------

    @property
    def arrived(self) -> list[Channel]:
        return [event.channel for event in self.told if isinstance(event, ChannelArrived)]

    @property
    def refused(self) -> list[tuple[int, str]]:
        return [(event.id, event.reason) for event in self.told if isinstance(event, ChannelRefused)]

    @property
    def warnings(self) -> list[Channel]:
        return [event.channel for event in self.told if isinstance(event, WindowHeldShut)]

    @property
    def ends(self) -> list[str | None]:
        return [event.error for event in self.told if isinstance(event, AssociationEnded)]


class ChannelsPair(Pair[bytes]):
    """A left peer, which is the DTLS client, and a right one, which is the server. Not connected yet."""

    def __init__(
        self,
        *,
        seed: int = 0,
        settings: SctpSettings | None = None,
        right_settings: SctpSettings | None = None,
        max_channels: int = 65_534,
    ) -> None:
        settings = settings or SctpSettings()
        self._make = lambda **options: Side(max_channels=max_channels, **options)
        self.a = self._make(is_dtls_client=True, seed=2 * seed + 1, settings=settings)
        self.b = self._make(is_dtls_client=False, seed=2 * seed + 2, settings=right_settings or settings)
        super().__init__(left=self.a.end(), right=self.b.end())

    def connect(self) -> "ChannelsPair":
        self.a.association.connect(self.now)
        self.settle()
        assert self.a.association.is_established
        assert self.b.association.is_established
        return self

    def settle(self, quiet: float = 25.0) -> None:
        super().settle(quiet)
        self.a.process(self.now)
        self.b.process(self.now)

    def open(self, label: str = "chat", **parameters: object) -> tuple[Channel, Channel]:
        """A channel that the left side has opened: both ends of it."""
        near = self.a.create(label, **parameters)
        self.settle()
        return near, self.b.arrived[-1]

    def restart_left(self) -> None:
        """The left peer forgets everything, and begins again."""
        self.a = self._make(is_dtls_client=True, seed=1000, settings=SctpSettings())
        self.left = self.a.end()
        self.in_flight.clear()
        self.a.now = self.now
        self.a.association.connect(self.now)
        self.settle()


def connected(**arguments: object) -> ChannelsPair:
    return ChannelsPair(**arguments).connect()
