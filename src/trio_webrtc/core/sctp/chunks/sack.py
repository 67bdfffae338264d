"""SACK: what has arrived, and how much more may be sent (RFC 9260 §3.3.4)."""

import struct
from dataclasses import dataclass
from typing import ClassVar, Self

from trio_webrtc.core.contract import MalformedPacketError


@dataclass(slots=True)
class SackChunk:
    """The cumulative TSN, the receiver's window, blocks that arrived beyond the first gap, and TSNs that came twice."""

    TYPE: ClassVar = 3
    HEADER: ClassVar = struct.Struct("!IIHH")

    cumulative_tsn: int
    a_rwnd: int
    gap_blocks: tuple[tuple[int, int], ...] = ()
    """Offsets from the cumulative TSN: the first and the last TSN of each block."""
    duplicates: tuple[int, ...] = ()

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read what follows a chunk header."""
        if len(body) < cls.HEADER.size:
            raise MalformedPacketError(f"SACK chunk with a body of {len(body)} bytes")
        cumulative_tsn, a_rwnd, block_count, duplicate_count = cls.HEADER.unpack_from(body)
        if not block_count and not duplicate_count:
            return cls(cumulative_tsn, a_rwnd)
        if len(body) < cls.HEADER.size + 4 * (block_count + duplicate_count):
            raise MalformedPacketError("SACK chunk shorter than its counts say")
        borders = struct.unpack_from(f"!{2 * block_count}H", body, cls.HEADER.size)
        duplicates = struct.unpack_from(f"!{duplicate_count}I", body, cls.HEADER.size + 4 * block_count)
        return cls(cumulative_tsn, a_rwnd, tuple(zip(borders[::2], borders[1::2], strict=True)), duplicates)

    def encode(self) -> bytes:
        """The whole chunk: always a multiple of four bytes."""
        blocks, duplicates = self.gap_blocks, self.duplicates
        length = 4 + self.HEADER.size + 4 * (len(blocks) + len(duplicates))
        return b"".join(
            (
                struct.pack("!BBH", self.TYPE, 0, length),
                self.HEADER.pack(self.cumulative_tsn, self.a_rwnd, len(blocks), len(duplicates)),
                struct.pack(f"!{2 * len(blocks)}H", *(border for block in blocks for border in block)),
                struct.pack(f"!{len(duplicates)}I", *duplicates),
            )
        )
