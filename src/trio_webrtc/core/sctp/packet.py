"""SCTP packets: one common header, a CRC32c, and chunks behind it (RFC 9260 §3, Appendix A).

The checksum alone is little-endian on the wire. This module knows where chunks begin and end, not what they mean.
"""

import struct
from typing import Final, TypeAlias

import google_crc32c

from trio_webrtc.core.contract import MalformedPacketError

COMMON_HEADER: Final = struct.Struct("!HHI")
CHECKSUM: Final = struct.Struct("<I")
CHUNK_HEADER: Final = struct.Struct("!BBH")

COMMON_HEADER_SIZE: Final = 12
CHUNK_HEADER_SIZE: Final = 4
SMALLEST_PACKET: Final = COMMON_HEADER_SIZE + CHUNK_HEADER_SIZE

RawChunk: TypeAlias = tuple[int, int, bytes]
"""A chunk's type, its flags, and what follows its header, padding excluded."""


class PacketWriter:
    """Puts a common header before chunks. The header is the same for every packet of an association, so is its CRC."""

    def __init__(self, *, source_port: int, destination_port: int, verification_tag: int) -> None:
        self._header = COMMON_HEADER.pack(source_port, destination_port, verification_tag)
        self._header_crc: int = google_crc32c.value(self._header + bytes(CHECKSUM.size))

    def write(self, chunks: bytes) -> bytes:
        """A whole packet. `chunks` are encoded chunks back to back, each padded to a multiple of four bytes."""
        return self._header + CHECKSUM.pack(google_crc32c.extend(self._header_crc, chunks)) + chunks


def read_packet(data: bytes) -> tuple[int, int, int, list[RawChunk]]:
    """Check a packet's form and checksum; return source port, destination port, verification tag and its chunks."""
    if len(data) < SMALLEST_PACKET:
        raise MalformedPacketError(f"SCTP packet of {len(data)} bytes")
    source_port, destination_port, verification_tag = COMMON_HEADER.unpack_from(data)
    (checksum,) = CHECKSUM.unpack_from(data, COMMON_HEADER.size)
    covered = data[: COMMON_HEADER.size] + bytes(CHECKSUM.size) + data[COMMON_HEADER_SIZE:]
    if google_crc32c.value(covered) != checksum:
        raise MalformedPacketError("SCTP packet with a wrong checksum")
    return source_port, destination_port, verification_tag, split_chunks(data, COMMON_HEADER_SIZE)


def split_chunks(data: bytes, start: int = 0) -> list[RawChunk]:
    """Cut `data` into chunks, from `start` on."""
    chunks: list[RawChunk] = []
    end = len(data)
    while start < end:
        if end - start < CHUNK_HEADER_SIZE:
            raise MalformedPacketError("chunk header cut short")
        type_, flags, length = CHUNK_HEADER.unpack_from(data, start)
        if length < CHUNK_HEADER_SIZE or start + length > end:
            raise MalformedPacketError(f"chunk of type {type_} with a length of {length}")
        chunks.append((type_, flags, data[start + CHUNK_HEADER_SIZE : start + length]))
        # RFC 9260 §3.2: padding is not counted in the length; the last chunk's may be missing.
        start += (length + 3) & ~3
    return chunks


def encode_chunk(type_: int, flags: int, body: bytes) -> bytes:
    """A chunk with its header before it and its padding behind it."""
    length = CHUNK_HEADER_SIZE + len(body)
    return CHUNK_HEADER.pack(type_, flags, length) + body + bytes(-length % 4)
