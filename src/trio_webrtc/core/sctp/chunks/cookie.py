"""COOKIE ECHO and COOKIE ACK: the second half of the handshake (RFC 9260 §3.3.11, §3.3.12)."""

from dataclasses import dataclass
from typing import ClassVar, Self

from trio_webrtc.core.sctp.packet import encode_chunk


@dataclass(slots=True)
class CookieEchoChunk:
    """The state cookie, given back as it came."""

    TYPE: ClassVar = 10

    cookie: bytes

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read what follows a chunk header."""
        return cls(body)

    def encode(self) -> bytes:
        """The whole chunk, padded."""
        return encode_chunk(self.TYPE, 0, self.cookie)


@dataclass(slots=True)
class CookieAckChunk:
    """The cookie was good: the association is up on both sides."""

    TYPE: ClassVar = 11

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read what follows a chunk header."""
        return cls()

    def encode(self) -> bytes:
        """The whole chunk."""
        return encode_chunk(self.TYPE, 0, b"")
