"""RE-CONFIG: requests to reset or add streams, and the answers (RFC 6525 §3.1, §4)."""

import enum
import struct
from dataclasses import dataclass
from typing import ClassVar, Final, Self, TypeAlias

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.sctp.packet import encode_chunk
from trio_webrtc.core.sctp.parameters import Parameter, ParameterType, join_parameters, split_parameters


class ResetResult(enum.IntEnum):
    """What became of a request (RFC 6525 §4.4)."""

    NOTHING_TO_DO = 0
    PERFORMED = 1
    DENIED = 2
    WRONG_STREAM_SEQUENCE = 3
    ALREADY_IN_PROGRESS = 4
    BAD_SEQUENCE_NUMBER = 5
    IN_PROGRESS = 6


@dataclass(slots=True)
class OutgoingResetRequest:
    """The sender starts its streams afresh: all of them, if none is named (RFC 6525 §4.1)."""

    TYPE: ClassVar = ParameterType.OUTGOING_RESET_REQUEST

    request_seq: int
    response_seq: int
    last_assigned_tsn: int
    stream_ids: tuple[int, ...] = ()

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read what follows a parameter header."""
        request_seq, response_seq, last_assigned_tsn = _unpack("!III", value)
        return cls(request_seq, response_seq, last_assigned_tsn, _stream_ids(value[12:]))

    def encode(self) -> bytes:
        """What follows the parameter header."""
        return struct.pack(
            f"!III{len(self.stream_ids)}H",
            self.request_seq,
            self.response_seq,
            self.last_assigned_tsn,
            *self.stream_ids,
        )


@dataclass(slots=True)
class IncomingResetRequest:
    """The sender asks the receiver to reset its outgoing streams (RFC 6525 §4.2)."""

    TYPE: ClassVar = ParameterType.INCOMING_RESET_REQUEST

    request_seq: int
    stream_ids: tuple[int, ...] = ()

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read what follows a parameter header."""
        (request_seq,) = _unpack("!I", value)
        return cls(request_seq, _stream_ids(value[4:]))

    def encode(self) -> bytes:
        """What follows the parameter header."""
        return struct.pack(f"!I{len(self.stream_ids)}H", self.request_seq, *self.stream_ids)


@dataclass(slots=True)
class SsnTsnResetRequest:
    """The sender wants all streams and all TSNs reset (RFC 6525 §4.3)."""

    TYPE: ClassVar = ParameterType.SSN_TSN_RESET_REQUEST

    request_seq: int

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read what follows a parameter header."""
        return cls(*_unpack("!I", value))

    def encode(self) -> bytes:
        """What follows the parameter header."""
        return struct.pack("!I", self.request_seq)


@dataclass(slots=True)
class ReconfigResponse:
    """What became of a request (RFC 6525 §4.4). The optional TSNs belong to requests that we never make."""

    TYPE: ClassVar = ParameterType.RECONFIG_RESPONSE

    response_seq: int
    result: int

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read what follows a parameter header."""
        return cls(*_unpack("!II", value))

    def encode(self) -> bytes:
        """What follows the parameter header."""
        return struct.pack("!II", self.response_seq, self.result)


@dataclass(slots=True)
class AddOutgoingStreams:
    """The sender wants to send on more streams (RFC 6525 §4.5)."""

    TYPE: ClassVar = ParameterType.ADD_OUTGOING_STREAMS

    request_seq: int
    count: int

    @classmethod
    def decode(cls, value: bytes) -> Self:
        """Read what follows a parameter header."""
        request_seq, count, _reserved = _unpack("!IHH", value)
        return cls(request_seq, count)

    def encode(self) -> bytes:
        """What follows the parameter header."""
        return struct.pack("!IHH", self.request_seq, self.count, 0)


class AddIncomingStreams(AddOutgoingStreams):
    """The sender wants the receiver to send on more streams (RFC 6525 §4.6)."""

    __slots__ = ()
    TYPE: ClassVar = ParameterType.ADD_INCOMING_STREAMS


Reconfiguration: TypeAlias = (
    OutgoingResetRequest
    | IncomingResetRequest
    | SsnTsnResetRequest
    | ReconfigResponse
    | AddOutgoingStreams
    | AddIncomingStreams
)

_DECODERS: Final = {
    cls.TYPE: cls.decode
    for cls in (
        OutgoingResetRequest,
        IncomingResetRequest,
        SsnTsnResetRequest,
        ReconfigResponse,
        AddOutgoingStreams,
        AddIncomingStreams,
    )
}

MAX_PARAMETERS = 2
"""A RE-CONFIG chunk holds one parameter or two (RFC 6525 §3.1)."""


@dataclass(slots=True)
class ReconfigChunk:
    """One request or response, or two of them."""

    TYPE: ClassVar = 130

    parameters: tuple[Reconfiguration, ...]

    @classmethod
    def decode(cls, flags: int, body: bytes) -> Self:
        """Read what follows a chunk header."""
        parameters = split_parameters(body)
        if not 1 <= len(parameters) <= MAX_PARAMETERS:
            raise MalformedPacketError(f"RE-CONFIG chunk with {len(parameters)} parameters")
        return cls(tuple(_decode_parameter(parameter) for parameter in parameters))

    def encode(self) -> bytes:
        """The whole chunk, padded."""
        parameters = [Parameter(parameter.TYPE, parameter.encode()) for parameter in self.parameters]
        return encode_chunk(self.TYPE, 0, join_parameters(parameters))


def _decode_parameter(parameter: Parameter) -> Reconfiguration:
    if parameter.type not in _DECODERS:
        raise MalformedPacketError(f"RE-CONFIG chunk with a parameter of type {parameter.type}")
    return _DECODERS[ParameterType(parameter.type)](parameter.value)


def _unpack(form: str, value: bytes) -> tuple[int, ...]:
    if len(value) < struct.calcsize(form):
        raise MalformedPacketError(f"re-configuration parameter of {len(value)} bytes")
    return struct.unpack_from(form, value)


def _stream_ids(value: bytes) -> tuple[int, ...]:
    if len(value) % 2:
        raise MalformedPacketError("half a stream identifier")
    return struct.unpack(f"!{len(value) // 2}H", value)
