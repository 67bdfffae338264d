"""INIT and INIT ACK: what each side proposes (RFC 9260 §3.3.2, §3.3.3). The two differ in type and parameters only."""

import struct
from dataclasses import dataclass
from typing import ClassVar, Self

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.sctp.packet import encode_chunk
from trio_webrtc.core.sctp.parameters import Parameter, join_parameters, split_parameters


@dataclass(slots=True, kw_only=True)
class InitChunk:
    """The sender's tag, window, streams and first TSN, and parameters."""

    TYPE: ClassVar = 1
    HEADER: ClassVar = struct.Struct("!IIHHI")

    initiate_tag: int
    a_rwnd: int
    outbound_streams: int
    inbound_streams: int
    initial_tsn: int
    parameters: tuple[Parameter, ...] = ()

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read what follows a chunk header."""
        if len(body) < cls.HEADER.size:
            raise MalformedPacketError(f"INIT chunk with a body of {len(body)} bytes")
        initiate_tag, a_rwnd, outbound_streams, inbound_streams, initial_tsn = cls.HEADER.unpack_from(body)
        return cls(
            initiate_tag=initiate_tag,
            a_rwnd=a_rwnd,
            outbound_streams=outbound_streams,
            inbound_streams=inbound_streams,
            initial_tsn=initial_tsn,
            parameters=split_parameters(body[cls.HEADER.size :]),
        )

    def encode(self) -> bytes:
        """The whole chunk, padded."""
        header = self.HEADER.pack(
            self.initiate_tag, self.a_rwnd, self.outbound_streams, self.inbound_streams, self.initial_tsn
        )
        return encode_chunk(self.TYPE, 0, header + join_parameters(self.parameters))

    def parameter(self, type_: int) -> bytes | None:
        """The value of the first parameter of that type."""
        return next((parameter.value for parameter in self.parameters if parameter.type == type_), None)


class InitAckChunk(InitChunk):
    """The answer to INIT: the same, and the state cookie is among the parameters."""

    __slots__ = ()
    TYPE: ClassVar = 2
