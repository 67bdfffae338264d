"""What the first byte of a datagram says about its protocol (RFC 7983 §7)."""

import enum


class Protocol(enum.Enum):
    """The protocols that share one port."""

    STUN = enum.auto()
    DTLS = enum.auto()
    TURN_CHANNEL = enum.auto()
    RTP = enum.auto()
    UNKNOWN = enum.auto()


def _classify(first_byte: int) -> Protocol:
    if first_byte <= 3:
        return Protocol.STUN
    if 20 <= first_byte <= 63:
        return Protocol.DTLS
    if 64 <= first_byte <= 79:
        return Protocol.TURN_CHANNEL
    if 128 <= first_byte <= 191:
        return Protocol.RTP
    return Protocol.UNKNOWN


BY_FIRST_BYTE: tuple[Protocol, ...] = tuple(_classify(first_byte) for first_byte in range(256))


def protocol_of(datagram: bytes) -> Protocol:
    """The protocol of a datagram; an empty one has none."""
    return BY_FIRST_BYTE[datagram[0]] if datagram else Protocol.UNKNOWN
