"""DATA: a message, or a fragment of one (RFC 9260 §3.3.1)."""

import struct
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from trio_webrtc.core.contract import MalformedPacketError

DATA: Final = 0
DATA_HEADER_SIZE: Final = 16
"""What a DATA chunk has before its user data, the chunk header included."""

ENDS: Final = 0x01
BEGINS: Final = 0x02
UNORDERED: Final = 0x04
IMMEDIATE: Final = 0x08
"""The flags E, B, U and I: plain integers, for they are tested once per packet."""

_WHOLE_HEADER: Final = struct.Struct("!BBHIHHI")
_HEADER: Final = struct.Struct("!IHHI")


@dataclass(slots=True)
class DataChunk:
    """Flags, TSN, stream, sequence number, payload protocol identifier, then user data."""

    TYPE: ClassVar = DATA

    flags: int
    tsn: int
    stream_id: int
    stream_seq: int
    ppid: int
    payload: bytes

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read what follows a chunk header."""
        if len(body) < _HEADER.size:
            raise MalformedPacketError(f"DATA chunk with a body of {len(body)} bytes")
        tsn, stream_id, stream_seq, ppid = _HEADER.unpack_from(body)
        return cls(flags & 0x0F, tsn, stream_id, stream_seq, ppid, body[_HEADER.size :])

    def encode(self) -> bytes:
        """The whole chunk, padded."""
        return encode_data(self.flags, self.tsn, self.stream_id, self.stream_seq, self.ppid, self.payload)


def encode_data(flags: int, tsn: int, stream_id: int, stream_seq: int, ppid: int, payload: bytes) -> bytes:
    """A whole DATA chunk, padded, from its parts: the sender makes one per packet, and needs no object for it."""
    length = DATA_HEADER_SIZE + len(payload)
    header = _WHOLE_HEADER.pack(DATA, flags, length, tsn, stream_id, stream_seq, ppid)
    if length & 3:
        return b"".join((header, payload, bytes(-length & 3)))
    return header + payload
