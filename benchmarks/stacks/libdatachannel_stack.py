"""libdatachannel, by its Python binding, behind the line protocol of `README.md` in this folder.

Needs Python 3.12 or later, for which alone the binding has wheels. Its callbacks come from threads of libdatachannel.
"""

import json
import platform
import queue
import sys
import threading
from importlib.metadata import version
from time import perf_counter

from libdatachannel import Configuration, DataChannel, Description, PeerConnection

HIGH_WATER_MARK = 1_048_576


def tell(event: str, **members: object) -> None:
    """Report an event."""
    print(json.dumps({"event": event, **members}), flush=True)


class Peer:
    """A connection whose descriptions carry every candidate."""

    def __init__(self) -> None:
        configuration = Configuration()
        configuration.disable_auto_negotiation = True
        self.connection = PeerConnection(configuration)
        self.opened = threading.Event()
        self.echoes: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.channel: DataChannel | None = None
        self._gathered = threading.Event()
        self._messages = self._size = 0
        self._began = 0.0
        self.connection.on_data_channel(self._count)
        self.connection.on_gathering_state_change(self._on_gathering_state)

    def _on_gathering_state(self, state: PeerConnection.GatheringState) -> None:
        if state is PeerConnection.GatheringState.Complete:
            self._gathered.set()

    def open_channel(self) -> None:
        """Open the channel that everything is sent on."""
        self.channel = self.connection.create_data_channel("benchmark")
        self.channel.on_open(self.opened.set)
        self.channel.on_message(lambda data: None, self.echoes.put)

    def describe(self, kind: Description.Type) -> str:
        """Make a description."""
        self.connection.set_local_description(kind)
        return self.description()

    def description(self) -> str:
        """The description that was made, when it is complete."""
        self._gathered.wait()
        return str(self.connection.local_description())

    def take(self, sdp: str, kind: Description.Type) -> None:
        """Take the other side's description."""
        self.connection.set_remote_description(Description(sdp, kind))

    def _count(self, channel: DataChannel) -> None:
        self.channel = channel
        channel.on_message(self._on_binary, self._on_text)

    def _on_binary(self, data: bytes) -> None:
        if not self._messages:
            self._began = perf_counter()
        self._messages += 1
        self._size += len(data)

    def _on_text(self, text: str) -> None:
        if text == "end":
            tell("received", messages=self._messages, bytes=self._size, seconds=perf_counter() - self._began)
            self._messages = self._size = 0
        else:
            self.channel.send(text)


def send(channel: DataChannel, seconds: float, size: int) -> None:
    """Send as fast as the channel takes it."""
    room = threading.Event()
    channel.set_buffered_amount_low_threshold(HIGH_WATER_MARK // 2)
    channel.on_buffered_amount_low(room.set)
    message, end = bytes(size), perf_counter() + seconds
    while perf_counter() < end:
        while channel.buffered_amount() >= HIGH_WATER_MARK:
            room.wait(0.01)  # it may have been low again before we looked
            room.clear()
        channel.send(message)
    channel.send("end")


def ping(peer: Peer, count: int) -> None:
    """Measure round trips, one after the other."""
    round_trips = []
    for number in range(count):
        began = perf_counter()
        peer.channel.send(f"ping {number}")
        peer.echoes.get()
        round_trips.append(perf_counter() - began)
    tell("pinged", seconds=round_trips)


def connect(pairs: int) -> list[Peer]:
    """Connect pairs of peers of this process, all at once."""
    began = perf_counter()
    lefts, rights = [Peer() for _ in range(pairs)], [Peer() for _ in range(pairs)]
    for left in lefts:
        left.open_channel()
    # One step of all after the other: many threads here and those of libdatachannel may end up waiting for each other.
    for kind, speakers, listeners in (
        (Description.Type.Offer, lefts, rights),
        (Description.Type.Answer, rights, lefts),
    ):
        for speaker in speakers:
            speaker.connection.set_local_description(kind)
        for speaker, listener in zip(speakers, listeners, strict=True):
            listener.take(speaker.description(), kind)
    for left in lefts:
        left.opened.wait()
    tell("connected", seconds=perf_counter() - began)
    return lefts + rights


def main() -> None:
    """Do as told, until standard input ends."""
    stack = f"libdatachannel-py {version('libdatachannel-py')}"
    tell("ready", name=f"{stack}, {platform.python_implementation()} {platform.python_version()}")
    peer = Peer()
    kept = [peer]
    for line in sys.stdin:
        match json.loads(line):
            case {"do": "offer"}:
                peer.open_channel()
                tell("description", sdp=peer.describe(Description.Type.Offer))
            case {"do": "answer", "sdp": sdp}:
                peer.take(sdp, Description.Type.Offer)
                tell("description", sdp=peer.describe(Description.Type.Answer))
            case {"do": "accept", "sdp": sdp}:
                peer.take(sdp, Description.Type.Answer)
                peer.opened.wait()
                tell("open")
            case {"do": "send", "seconds": seconds, "size": size}:
                send(peer.channel, seconds, size)
            case {"do": "ping", "count": count}:
                ping(peer, count)
            case {"do": "connect", "pairs": pairs}:
                kept += connect(pairs)
    for member in kept:
        member.connection.close()


main()
