"""ABORT: the association is over at once (RFC 9260 §3.3.7)."""

from dataclasses import dataclass
from typing import ClassVar, Final, Self

from trio_webrtc.core.sctp.packet import encode_chunk
from trio_webrtc.core.sctp.parameters import Parameter, join_parameters, split_parameters

REFLECTED_TAG: Final = 0x01
"""The T bit: the packet carries the receiver's view of its peer's tag, for its sender knows no other (§8.5.1)."""


@dataclass(slots=True)
class AbortChunk:
    """Why it is over."""

    TYPE: ClassVar = 6

    causes: tuple[Parameter, ...] = ()
    reflected_tag: bool = False

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read what follows a chunk header."""
        return cls(split_parameters(body), bool(flags & REFLECTED_TAG))

    def encode(self) -> bytes:
        """The whole chunk, padded."""
        return encode_chunk(self.TYPE, REFLECTED_TAG if self.reflected_tag else 0, join_parameters(self.causes))
