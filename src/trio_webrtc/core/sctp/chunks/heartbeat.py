"""HEARTBEAT and HEARTBEAT ACK: is the peer still there, and how far is it? (RFC 9260 §3.3.5, §3.3.6)."""

from dataclasses import dataclass
from typing import ClassVar, Self

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.sctp.packet import encode_chunk
from trio_webrtc.core.sctp.parameters import Parameter, ParameterType, split_parameters


@dataclass(slots=True)
class HeartbeatChunk:
    """Some bytes that only their sender understands, to be given back as they are."""

    TYPE: ClassVar = 4

    info: bytes

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read what follows a chunk header."""
        for parameter in split_parameters(body):
            if parameter.type == ParameterType.HEARTBEAT_INFO:
                return cls(parameter.value)
        raise MalformedPacketError("HEARTBEAT chunk without heartbeat information")

    def encode(self) -> bytes:
        """The whole chunk, padded."""
        return encode_chunk(self.TYPE, 0, Parameter(ParameterType.HEARTBEAT_INFO, self.info).encode())


class HeartbeatAckChunk(HeartbeatChunk):
    """The answer, with the same bytes."""

    __slots__ = ()
    TYPE: ClassVar = 5
