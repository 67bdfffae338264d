"""A peer of ours that has the right keys and no manners: it says inside DTLS, and beside it, whatever it is told to."""

from collections import Counter
from collections.abc import Sequence

import trio

from trio_webrtc import PeerConnection
from trio_webrtc.core.contract import Address
from trio_webrtc.core.peer import Secured
from trio_webrtc.core.sctp.chunks.data import BEGINS, ENDS, UNORDERED, encode_data
from trio_webrtc.core.sctp.packet import PacketWriter, RawChunk, read_packet

BREATH = 0.05
"""Seconds that everything takes to arrive, and the answer to come back."""


class Intruder:
    """Speaks through a connected peer, whose own association it may silence."""

    def __init__(self, connection: PeerConnection) -> None:
        stage = connection._core.stage
        assert isinstance(stage, Secured)
        self.connection = connection
        self.session, self.association = stage.session, stage.association
        self.heard: list[RawChunk] = []
        """What the victim has said since `take_over`, chunk by chunk."""
        link = self.association._lifecycle.link
        self.writer = PacketWriter(source_port=5000, destination_port=5000, verification_tag=link.terms.peer_tag)
        self.next_tsn = link.sender.outstanding.next_tsn & 0xFFFFFFFF
        self.next_request = link.resetter._next_request_seq
        self.victims_tsn = link.receiver.cumulative_tsn & 0xFFFFFFFF
        """The last TSN that the victim has used before `take_over`."""
        self._next_seq = Counter({stream.id: stream.next_seq for stream in self.association._queue.streams.values()})

    def take_over(self) -> None:
        """From now on the association neither hears nor speaks by itself."""
        self.association.receive_datagrams = self._listen
        self.association.poll_transmits = lambda now, limit: []
        self.association.handle_timeout = lambda now: None
        self.association.next_timeout = lambda: None

    def _listen(self, packets: Sequence[bytes], now: float) -> None:
        for packet in packets:
            self.heard.extend(read_packet(packet)[3])

    async def say(self, *packets: bytes) -> None:
        """Send SCTP packets inside DTLS, and wait until the victim has had time to answer."""
        self.say_at_once(*packets)
        await trio.sleep(BREATH)

    def say_at_once(self, *packets: bytes) -> None:
        self.session.send(packets)
        self.connection._path.touched()

    def packet(self, *chunks: bytes) -> bytes:
        """A packet under the right tag and with a good checksum."""
        return self.writer.write(b"".join(chunks))

    def data(self, stream_id: int, payload: bytes, *, ppid: int = 51, flags: int = BEGINS | ENDS) -> bytes:
        """A DATA chunk with the next TSN, and the next number of its stream."""
        tsn, self.next_tsn = self.next_tsn, (self.next_tsn + 1) & 0xFFFFFFFF
        seq = self._next_seq[stream_id] & 0xFFFF
        if flags & (ENDS | UNORDERED) == ENDS:
            self._next_seq[stream_id] += 1
        return encode_data(flags, tsn, stream_id, seq, ppid, payload)

    async def send_datagrams(self, *datagrams: bytes, to: Address | None = None) -> None:
        """Send something from the very socket that the victim has validated, outside of DTLS."""
        via, address = self.connection._core._way
        for datagram in datagrams:
            via.port.socket.send(to or address, datagram, None, None)
        await trio.sleep(BREATH)

    def count(self, chunk_type: int) -> int:
        """How many chunks of a type the victim has sent."""
        return sum(type_ == chunk_type for type_, _, _ in self.heard)
