"""What can be told of a STUN message without taking it apart: who is meant by it.

A port that many agents share has to know that of every datagram, junk too, before anybody may be troubled with it. So
nothing is allocated or verified here; whoever is meant does that.
"""

from typing import Final

from trio_webrtc.core.stun.integrity import MESSAGE_INTEGRITY

_HEADER_LENGTH: Final = 20
_COOKIE: Final = b"\x21\x12\xa4\x42"
_BINDING_REQUEST: Final = b"\x00\x01"
_ANSWER_BIT: Final = 0x01
"""In the first byte: a success or an error, and not a request or an indication."""
_USERNAME: Final = 0x0006
_MAX_ATTRIBUTES: Final = 16
"""How far into a message USERNAME is looked for. Checks have it among the first."""


def is_binding_request(data: bytes) -> bool:
    """Whether this looks like a Binding request (RFC 8489 §5)."""
    return data[:2] == _BINDING_REQUEST and data[4:8] == _COOKIE


def answered_transaction(data: bytes) -> bytes | None:
    """The id of the transaction that a response belongs to; None if this is no response (RFC 8489 §5)."""
    if len(data) < _HEADER_LENGTH or data[4:8] != _COOKIE or not data[0] & _ANSWER_BIT:
        return None
    return data[8:_HEADER_LENGTH]


def username_of(data: bytes) -> tuple[str, str] | None:
    """The two halves of the USERNAME of a check: the name of whom it is for, and the sender's (RFC 8445 §7.2.2)."""
    at, end = _HEADER_LENGTH, len(data)
    for _ in range(_MAX_ATTRIBUTES):
        if at + 4 > end:
            return None
        kind, length = int.from_bytes(data[at : at + 2]), int.from_bytes(data[at + 2 : at + 4])
        at += 4
        if kind == _USERNAME:
            value = data[at : at + length]
            if len(value) != length or not value.isascii():
                return None
            local, colon, remote = value.decode().partition(":")
            return (local, remote) if colon else None
        if kind == MESSAGE_INTEGRITY:  # RFC 8489 §14.5: what follows is ignored
            return None
        at += (length + 3) & ~3
    return None
