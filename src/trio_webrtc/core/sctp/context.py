"""What the rooms of one association share: settings, chance, timers, the way out, events and counters."""

import enum
import random
from collections import deque
from dataclasses import dataclass, field

from trio_webrtc.core.contract import TimerTable
from trio_webrtc.core.sctp.chunks import Chunk
from trio_webrtc.core.sctp.counters import Counters
from trio_webrtc.core.sctp.events import SctpEvent
from trio_webrtc.core.sctp.packet import PacketWriter
from trio_webrtc.core.sctp.rto import RetransmissionTimeout
from trio_webrtc.core.sctp.settings import SctpSettings


class Timer(enum.Enum):
    """The timers of an association (RFC 9260 §5.1, §6.2, §6.3.2, §8.3, §9.2; RFC 6525 §5.1.1)."""

    T1_INIT = enum.auto()
    T1_COOKIE = enum.auto()
    T2_SHUTDOWN = enum.auto()
    T5_SHUTDOWN_GUARD = enum.auto()
    T3_RTX = enum.auto()
    SACK = enum.auto()
    HEARTBEAT = enum.auto()
    RECONFIG = enum.auto()


MAX_WAITING_PACKETS = 64
"""Answers that may wait to be polled, beside data: a flood of what wants answers gets no more than these at a time."""


@dataclass(slots=True, kw_only=True)
class Outbox:
    """Control chunks and whole packets that wait to be polled."""

    source_port: int
    destination_port: int
    packets: deque[bytes] = field(default_factory=deque)
    """Whole packets: those with another tag than the association's, and those that must stand alone."""
    chunks: deque[bytes] = field(default_factory=deque)
    """Chunks to be bundled, before any data, under the tag of the association."""

    def send(self, chunk: Chunk) -> None:
        """Bundle a chunk with whatever leaves next."""
        if len(self.chunks) < MAX_WAITING_PACKETS:
            self.chunks.append(chunk.encode())

    def send_alone(self, tag: int, *chunks: Chunk) -> None:
        """Send a packet of these chunks, and no others, under `tag`."""
        if len(self.packets) < MAX_WAITING_PACKETS:
            self.packets.append(self.writer(tag).write(b"".join([chunk.encode() for chunk in chunks])))

    def writer(self, tag: int) -> PacketWriter:
        """A writer of packets with `tag`."""
        return PacketWriter(source_port=self.source_port, destination_port=self.destination_port, verification_tag=tag)

    def clear(self) -> None:
        """Forget what has not left."""
        self.packets.clear()
        self.chunks.clear()


@dataclass(slots=True, kw_only=True)
class Context:
    """One per association, handed to each of its rooms."""

    settings: SctpSettings
    rng: random.Random
    outbox: Outbox
    rto: RetransmissionTimeout
    packet_size: int
    """The largest packet, a multiple of four so that full packets are all of one size."""
    began_at: float
    """When the association was made. What tells the peer a time counts from here, for our clock is not its business."""
    timers: TimerTable[Timer] = field(default_factory=TimerTable)
    events: deque[SctpEvent] = field(default_factory=deque)
    """What is to be told, in order; the messages among it are bounded by the receive window."""
    counters: Counters = field(default_factory=Counters)
