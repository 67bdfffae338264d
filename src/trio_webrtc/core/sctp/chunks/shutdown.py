"""SHUTDOWN, SHUTDOWN ACK, SHUTDOWN COMPLETE: the graceful end (RFC 9260 §3.3.8, §3.3.9, §3.3.13)."""

import struct
from dataclasses import dataclass
from typing import ClassVar, Self

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.sctp.chunks.abort import REFLECTED_TAG
from trio_webrtc.core.sctp.packet import encode_chunk


@dataclass(slots=True)
class ShutdownChunk:
    """No more data will come from this side, and this much has arrived here."""

    TYPE: ClassVar = 7

    cumulative_tsn: int

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read what follows a chunk header."""
        if len(body) < 4:
            raise MalformedPacketError(f"SHUTDOWN chunk with a body of {len(body)} bytes")
        return cls(*struct.unpack_from("!I", body))

    def encode(self) -> bytes:
        """The whole chunk."""
        return encode_chunk(self.TYPE, 0, struct.pack("!I", self.cumulative_tsn))


@dataclass(slots=True)
class ShutdownAckChunk:
    """All has arrived in both directions."""

    TYPE: ClassVar = 8

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read what follows a chunk header."""
        return cls()

    def encode(self) -> bytes:
        """The whole chunk."""
        return encode_chunk(self.TYPE, 0, b"")


@dataclass(slots=True)
class ShutdownCompleteChunk:
    """The last word."""

    TYPE: ClassVar = 14

    reflected_tag: bool = False

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read what follows a chunk header."""
        return cls(bool(flags & REFLECTED_TAG))

    def encode(self) -> bytes:
        """The whole chunk."""
        return encode_chunk(self.TYPE, REFLECTED_TAG if self.reflected_tag else 0, b"")
