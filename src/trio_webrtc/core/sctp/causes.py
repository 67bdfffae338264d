"""Error causes, which say in ABORT and ERROR chunks what went wrong (RFC 9260 §3.3.10)."""

import enum
import struct
from collections.abc import Sequence

from trio_webrtc.core.sctp.parameters import Parameter


class CauseCode(enum.IntEnum):
    """The causes of RFC 9260 §3.3.10."""

    INVALID_STREAM_IDENTIFIER = 1
    MISSING_MANDATORY_PARAMETER = 2
    STALE_COOKIE = 3
    OUT_OF_RESOURCE = 4
    UNRESOLVABLE_ADDRESS = 5
    UNRECOGNIZED_CHUNK_TYPE = 6
    INVALID_MANDATORY_PARAMETER = 7
    UNRECOGNIZED_PARAMETERS = 8
    NO_USER_DATA = 9
    COOKIE_RECEIVED_WHILE_SHUTTING_DOWN = 10
    RESTART_WITH_NEW_ADDRESSES = 11
    USER_INITIATED_ABORT = 12
    PROTOCOL_VIOLATION = 13


class AssociationError(Exception):
    """The peer did what leaves no gentler way than ABORT with this cause. Never leaves the association."""

    def __init__(self, cause: Parameter) -> None:
        super().__init__(describe((cause,)))
        self.cause = cause


def invalid_stream_identifier(stream_id: int) -> Parameter:
    """RFC 9260 §3.3.10.1."""
    return Parameter(CauseCode.INVALID_STREAM_IDENTIFIER, struct.pack("!HH", stream_id, 0))


def missing_mandatory_parameter(parameter_type: int) -> Parameter:
    """RFC 9260 §3.3.10.2."""
    return Parameter(CauseCode.MISSING_MANDATORY_PARAMETER, struct.pack("!IH", 1, parameter_type))


def stale_cookie(staleness: float) -> Parameter:
    """RFC 9260 §3.3.10.3: how long, in microseconds, the cookie has been past its lifetime."""
    return Parameter(CauseCode.STALE_COOKIE, struct.pack("!I", min(int(staleness * 1_000_000), 0xFFFFFFFF)))


def out_of_resource() -> Parameter:
    """RFC 9260 §3.3.10.4."""
    return Parameter(CauseCode.OUT_OF_RESOURCE, b"")


def unresolvable_address(parameter: bytes) -> Parameter:
    """RFC 9260 §3.3.10.5: with the address parameter, encoded."""
    return Parameter(CauseCode.UNRESOLVABLE_ADDRESS, parameter)


def unrecognized_chunk_type(chunk: bytes) -> Parameter:
    """RFC 9260 §3.3.10.6: with the chunk."""
    return Parameter(CauseCode.UNRECOGNIZED_CHUNK_TYPE, chunk)


def invalid_mandatory_parameter() -> Parameter:
    """RFC 9260 §3.3.10.7."""
    return Parameter(CauseCode.INVALID_MANDATORY_PARAMETER, b"")


def unrecognized_parameters(parameters: bytes) -> Parameter:
    """RFC 9260 §3.3.10.8: with the parameters, encoded."""
    return Parameter(CauseCode.UNRECOGNIZED_PARAMETERS, parameters)


def no_user_data(tsn: int) -> Parameter:
    """RFC 9260 §3.3.10.9."""
    return Parameter(CauseCode.NO_USER_DATA, struct.pack("!I", tsn))


def user_initiated_abort(reason: str) -> Parameter:
    """RFC 9260 §3.3.10.12."""
    return Parameter(CauseCode.USER_INITIATED_ABORT, reason.encode("utf-8", "replace")[:MAX_REASON_BYTES])


def protocol_violation(reason: str) -> Parameter:
    """RFC 9260 §3.3.10.13."""
    return Parameter(CauseCode.PROTOCOL_VIOLATION, reason.encode("utf-8", "replace")[:MAX_REASON_BYTES])


MAX_REASON_BYTES = 256
"""A reason longer than this is cut, sent or received: it is for people to read, and must fit into any packet."""


def describe(causes: Sequence[Parameter]) -> str:
    """A line for people: the names of the causes, and the text of those that carry one."""
    return "; ".join(_describe_one(cause) for cause in causes) or "no reason given"


def _describe_one(cause: Parameter) -> str:
    try:
        name = CauseCode(cause.type).name.replace("_", " ").lower()
    except ValueError:
        name = f"cause {cause.type}"
    if cause.type in (CauseCode.USER_INITIATED_ABORT, CauseCode.PROTOCOL_VIOLATION) and cause.value:
        return f"{name}: {cause.value[:MAX_REASON_BYTES].decode('utf-8', 'replace')}"
    return name
