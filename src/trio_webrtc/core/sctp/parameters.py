"""Parameters: type, length and value inside chunks (RFC 9260 §3.2.1). Error causes have the same form (§3.3.10)."""

import enum
import struct
from collections.abc import Container, Sequence
from typing import Final, NamedTuple

from trio_webrtc.core.contract import MalformedPacketError

_HEADER: Final = struct.Struct("!HH")


class ParameterType(enum.IntEnum):
    """The parameters that we know (RFC 9260 §3.3.2, RFC 5061 §4.2.7, RFC 3758 §3.1, RFC 6525 §4)."""

    HEARTBEAT_INFO = 1
    IPV4_ADDRESS = 5
    IPV6_ADDRESS = 6
    STATE_COOKIE = 7
    UNRECOGNIZED_PARAMETER = 8
    COOKIE_PRESERVATIVE = 9
    HOST_NAME_ADDRESS = 11
    SUPPORTED_ADDRESS_TYPES = 12
    OUTGOING_RESET_REQUEST = 13
    INCOMING_RESET_REQUEST = 14
    SSN_TSN_RESET_REQUEST = 15
    RECONFIG_RESPONSE = 16
    ADD_OUTGOING_STREAMS = 17
    ADD_INCOMING_STREAMS = 18
    SUPPORTED_EXTENSIONS = 0x8008
    FORWARD_TSN_SUPPORTED = 0xC000


class Parameter(NamedTuple):
    """A type, which may be one that we do not know, and the value, uninterpreted."""

    type: int
    value: bytes

    def encode(self) -> bytes:
        """The parameter with its header, without padding."""
        return _HEADER.pack(self.type, _HEADER.size + len(self.value)) + self.value


def split_parameters(body: bytes) -> tuple[Parameter, ...]:
    """Cut `body` into parameters."""
    parameters = []
    start, end = 0, len(body)
    while start < end:
        if end - start < _HEADER.size:
            raise MalformedPacketError("parameter header cut short")
        type_, length = _HEADER.unpack_from(body, start)
        if length < _HEADER.size or start + length > end:
            raise MalformedPacketError(f"parameter of type {type_} with a length of {length}")
        parameters.append(Parameter(type_, body[start + _HEADER.size : start + length]))
        start += (length + 3) & ~3
    return tuple(parameters)


def join_parameters(parameters: Sequence[Parameter]) -> bytes:
    """The inverse of `split_parameters`: padding stands between parameters, and none behind the last."""
    encoded = [parameter.encode() for parameter in parameters]
    return b"".join(item + bytes(-len(item) % 4) for item in encoded[:-1]) + (encoded[-1] if encoded else b"")


class Recognized(NamedTuple):
    """Parameters sorted by what RFC 9260 §3.2.1 wants done with them."""

    known: tuple[Parameter, ...]
    to_report: tuple[Parameter, ...]


def recognize(parameters: Sequence[Parameter], known_types: Container[int]) -> Recognized:
    """Sort out what we do not know, as the two highest bits of each type say: stop there or go on, report it or not."""
    known, to_report = [], []
    for parameter in parameters:
        if parameter.type in known_types:
            known.append(parameter)
            continue
        if parameter.type & 0x4000:
            to_report.append(parameter)
        if not parameter.type & 0x8000:
            break
    return Recognized(tuple(known), tuple(to_report))
