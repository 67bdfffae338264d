"""ERROR: something went wrong that the association survives (RFC 9260 §3.3.10)."""

from dataclasses import dataclass
from typing import ClassVar, Self

from trio_webrtc.core.sctp.packet import encode_chunk
from trio_webrtc.core.sctp.parameters import Parameter, join_parameters, split_parameters


@dataclass(slots=True)
class ErrorChunk:
    """What went wrong."""

    TYPE: ClassVar = 9

    causes: tuple[Parameter, ...]

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read what follows a chunk header."""
        return cls(split_parameters(body))

    def encode(self) -> bytes:
        """The whole chunk, padded."""
        return encode_chunk(self.TYPE, 0, join_parameters(self.causes))
