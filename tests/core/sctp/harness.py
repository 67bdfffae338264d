"""Two associations in a pair, and what one wants to see of them."""

import random
from collections.abc import Callable
from weakref import WeakKeyDictionary

from trio_webrtc.core.sctp import Association, Message, SctpEvent, SctpSettings
from trio_webrtc.core.sctp.packet import PacketWriter, read_packet
from trio_webrtc.testing.pair import End, Pair

PACKET_SIZE = 1200
BURST = 1000


def end_of(association: Association, burst: int = BURST) -> End[bytes]:
    return End(
        receive=association.receive_datagrams,
        take_transmits=lambda now: association.poll_transmits(now, burst),
        handle_timeout=association.handle_timeout,
        next_timeout=association.next_timeout,
    )


class SctpPair(Pair[bytes]):
    """A left and a right association. Not connected yet."""

    def __init__(self, *, seed=0, settings=None, left_settings=None, right_settings=None, packet_size=PACKET_SIZE):
        settings = settings or SctpSettings()
        self.a = self._make(left_settings or settings, seed * 2 + 1, packet_size)
        self.b = self._make(right_settings or settings, seed * 2 + 2, packet_size)
        super().__init__(left=end_of(self.a), right=end_of(self.b))

    @staticmethod
    def _make(settings, seed, packet_size):
        return Association(settings=settings, rng=random.Random(seed), max_packet_size=packet_size, now=0.0)

    def connect(self) -> "SctpPair":
        self.a.connect(self.now)
        self.exchange()
        assert self.a.is_established
        assert self.b.is_established
        events(self.a), events(self.b)
        self.left_tag, self.right_tag = tag_of(self.a), tag_of(self.b)
        return self

    def replace_left(self, *, seed=1000, settings=None) -> Association:
        """The left peer is started again, and has forgotten everything."""
        self.a = self._make(settings or SctpSettings(), seed, PACKET_SIZE)
        self.left = end_of(self.a)
        self.in_flight.clear()
        return self.a


def connected(**arguments) -> SctpPair:
    return SctpPair(**arguments).connect()


_untaken: WeakKeyDictionary[Association, list[SctpEvent]] = WeakKeyDictionary()


def _take(association: Association, kinds: Callable[[SctpEvent], bool]) -> list[SctpEvent]:
    """Take some of what an association tells, and leave the rest for another call."""
    told = _untaken.pop(association, []) + list(iter(association.poll_event, None))
    _untaken[association] = [event for event in told if not kinds(event)]
    return [event for event in told if kinds(event)]


def events(association: Association) -> list[SctpEvent]:
    """Take all that is told but messages."""
    return _take(association, lambda event: not isinstance(event, Message))


def messages(association: Association, now: float | None = 0.0) -> list[Message]:
    """Take what has been delivered; release it, unless `now` is None."""
    taken = _take(association, lambda event: isinstance(event, Message))
    if now is not None:
        for message in taken:
            association.release(message.cost, now)
    return taken


def payloads(association: Association, now: float | None = 0.0) -> list[bytes]:
    return [message.data for message in messages(association, now)]


def chunk_types(packet: bytes) -> list[int]:
    return [type_ for type_, _, _ in read_packet(packet)[3]]


def packet_of(tag: int, *chunks, ports=(5000, 5000)) -> bytes:
    writer = PacketWriter(source_port=ports[0], destination_port=ports[1], verification_tag=tag)
    return writer.write(b"".join(chunk if isinstance(chunk, bytes) else chunk.encode() for chunk in chunks))


def tag_of(association: Association) -> int:
    """The tag that packets to this association carry."""
    return association.state.link.terms.local_tag
