"""FORWARD TSN: the sender has given up on some messages; do not wait for them (RFC 3758 §3.2)."""

import struct
from dataclasses import dataclass
from typing import ClassVar, Self

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.sctp.packet import encode_chunk


@dataclass(slots=True)
class ForwardTsnChunk:
    """The TSN up to which all counts as received, and the last sequence number skipped in each ordered stream."""

    TYPE: ClassVar = 192

    new_cumulative_tsn: int
    skipped: tuple[tuple[int, int], ...] = ()
    """Pairs of stream identifier and stream sequence number."""

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read what follows a chunk header."""
        if len(body) < 4 or len(body) % 4:
            raise MalformedPacketError(f"FORWARD TSN chunk with a body of {len(body)} bytes")
        (new_cumulative_tsn,) = struct.unpack_from("!I", body)
        numbers = struct.unpack_from(f"!{(len(body) - 4) // 2}H", body, 4)
        return cls(new_cumulative_tsn, tuple(zip(numbers[::2], numbers[1::2], strict=True)))

    def encode(self) -> bytes:
        """The whole chunk."""
        numbers = [number for pair in self.skipped for number in pair]
        return encode_chunk(self.TYPE, 0, struct.pack(f"!I{len(numbers)}H", self.new_cumulative_tsn, *numbers))
