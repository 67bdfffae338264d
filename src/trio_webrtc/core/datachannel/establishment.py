"""The Data Channel Establishment Protocol: the two messages that open a channel (RFC 8832 §5)."""

import enum
import struct
from dataclasses import dataclass
from typing import ClassVar, Self

from trio_webrtc.core.contract import MalformedPacketError


class PayloadProtocol(enum.IntEnum):
    """The SCTP payload protocol identifiers of WebRTC (RFC 8831 §8)."""

    ESTABLISHMENT = 50
    STRING = 51
    BINARY = 53
    EMPTY_STRING = 56
    EMPTY_BINARY = 57


class MessageType(enum.IntEnum):
    """The first byte of an establishment message (RFC 8832 §8.2.1)."""

    ACK = 0x02
    OPEN = 0x03


_UNORDERED = 0x80
_RELIABLE, _PARTIAL_RETRANSMIT, _PARTIAL_LIFETIME = range(3)
_MILLISECONDS = 1000


@dataclass(slots=True, kw_only=True)
class OpenMessage:
    """DATA_CHANNEL_OPEN (RFC 8832 §5.1): type, channel type, priority, reliability, two lengths, label, protocol."""

    HEADER: ClassVar = struct.Struct("!BBHIHH")
    label: str
    protocol: str
    ordered: bool
    max_retransmits: int | None
    max_packet_life_time: float | None
    """Seconds; whole milliseconds on the wire."""
    priority: int

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read an OPEN message; raises MalformedPacketError if it is none."""
        if len(data) < cls.HEADER.size:
            raise MalformedPacketError(f"DATA_CHANNEL_OPEN of {len(data)} bytes")
        _, channel_type, priority, reliability, label_length, protocol_length = cls.HEADER.unpack_from(data)
        label_end = cls.HEADER.size + label_length
        if len(data) != label_end + protocol_length:
            raise MalformedPacketError(f"DATA_CHANNEL_OPEN of {len(data)} bytes with lengths that need another size")
        kind = channel_type & ~_UNORDERED
        if kind > _PARTIAL_LIFETIME:
            raise MalformedPacketError(f"DATA_CHANNEL_OPEN for an unknown channel type {channel_type:#x}")
        try:
            label = data[cls.HEADER.size : label_end].decode()
            protocol = data[label_end:].decode()
        except UnicodeDecodeError as error:
            raise MalformedPacketError("DATA_CHANNEL_OPEN with a label or protocol that is not UTF-8") from error
        return cls(
            label=label,
            protocol=protocol,
            ordered=not channel_type & _UNORDERED,
            max_retransmits=reliability if kind == _PARTIAL_RETRANSMIT else None,
            max_packet_life_time=reliability / _MILLISECONDS if kind == _PARTIAL_LIFETIME else None,
            priority=priority,
        )

    def encode(self) -> bytes:
        """The message as it travels."""
        if self.max_retransmits is not None:
            kind, reliability = _PARTIAL_RETRANSMIT, self.max_retransmits
        elif self.max_packet_life_time is not None:
            kind, reliability = _PARTIAL_LIFETIME, round(self.max_packet_life_time * _MILLISECONDS)
        else:
            kind, reliability = _RELIABLE, 0
        label, protocol = self.label.encode(), self.protocol.encode()
        return (
            self.HEADER.pack(
                MessageType.OPEN,
                kind if self.ordered else kind | _UNORDERED,
                self.priority,
                reliability,
                len(label),  # RFC 8832 §5.1: bytes, not characters
                len(protocol),
            )
            + label
            + protocol
        )


ACK_MESSAGE = bytes([MessageType.ACK])
"""DATA_CHANNEL_ACK (RFC 8832 §5.2) is its type alone."""
