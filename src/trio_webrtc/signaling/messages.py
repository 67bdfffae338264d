"""The messages of signalling and their JSON, in the shapes that browsers make.

    {"type": "offer", "sdp": "v=0..."}                  JSON.stringify(pc.localDescription)
    {"candidate": {"candidate": "candidate:...", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "x"}}
                                                        JSON.stringify({candidate: event.candidate})
    {"candidate": null}                                 the same, after the last candidate
    {"bye": "why"}                                      the sender ends the session

What arrives is looked at closely: whatever is not exactly one of these is an InvalidMessageError, and nothing else.
Further members beside these are ignored, so that applications may add their own.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn, TypeAlias

from trio_webrtc.descriptions import IceCandidate, SessionDescription
from trio_webrtc.errors import FailureReason, InvalidDescriptionError, PeerError, UsageError
from trio_webrtc.shell.reporting import excerpt
from trio_webrtc.signaling.close_codes import INVALID_DATA, POLICY_VIOLATION, TOO_BIG

MAX_MESSAGE_SIZE: Final = 256 * 1024
"""Bytes of UTF-8 in one message. A description with data channels has about 1 KiB, one of a large conference 100."""


@dataclass(frozen=True, slots=True)
class Bye:
    """The sender ends the session, with a reason for people to read.

    Raises:
        UsageError: the reason is no string.
    """

    reason: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str):
            raise UsageError(f"the reason of a Bye is a string, not {type(self.reason).__name__}")


SignalingMessage: TypeAlias = SessionDescription | IceCandidate | Bye
"""What travels: `IceCandidate("")` says that no more candidates follow."""


class InvalidMessageError(PeerError):
    """The other side sent something that is no signalling message; the text says what is wrong with it.

    `close_code` is the WebSocket close code (RFC 6455 §7.4.1) that says the same: 1003, 1007, 1008 or 1009.
    """

    def __init__(self, message: str, *, close_code: int = POLICY_VIOLATION) -> None:
        super().__init__(message, FailureReason.PROTOCOL_VIOLATION)
        self.close_code = close_code


def bye_because_of(error: InvalidMessageError) -> Bye:
    """What to answer to what is no message. It can be sent, whatever the error quotes of what came."""
    return Bye(excerpt(str(error)))


def encode_message(message: SignalingMessage) -> str:
    """The JSON text of a message.

    Raises:
        UsageError: it is none of the messages, larger than MAX_MESSAGE_SIZE, or has text that is no Unicode.
    """
    check_message(message)
    # Browsers take ASCII as well; but then a label in Greek would be three times as long.
    text = json.dumps(_members(message), ensure_ascii=False, separators=(",", ":"))
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise UsageError("a message has to be Unicode text, without single surrogates") from None
    if size > MAX_MESSAGE_SIZE:
        raise UsageError(f"a message of {size} bytes is too large: {MAX_MESSAGE_SIZE} is the most")
    return text


def _members(message: SignalingMessage) -> dict[str, object]:
    match message:
        case SessionDescription():
            return {**message.as_dict()}
        case IceCandidate():
            return {"candidate": message.as_dict()}
        case Bye():
            return {"bye": message.reason}


def check_message(message: object) -> None:
    """Raise UsageError if this is no message that signalling carries."""
    if not isinstance(message, SignalingMessage):
        raise UsageError(f"signalling carries descriptions, candidates and Bye, not {type(message).__name__}")


def decode_message(text: str) -> SignalingMessage:
    """The message in a JSON text.

    Raises:
        InvalidMessageError: it holds no message; nothing else is raised, whatever the text.
    """
    members = _parse(text)
    kinds = [kind for kind in ("type", "candidate", "bye") if kind in members]
    try:
        match kinds:
            case ["type"]:
                return SessionDescription.from_dict(members)
            case ["candidate"] if members["candidate"] is None:
                # W3C: `event.candidate` is null when gathering is complete, which to all generations means the same.
                return IceCandidate("")
            case ["candidate"]:
                return IceCandidate.from_dict(members["candidate"])
            case ["bye"] if isinstance(members["bye"], str):
                return Bye(members["bye"])
            case ["bye"]:
                raise InvalidMessageError("the member 'bye' is the reason, which is a string")
            case _:
                raise InvalidMessageError("a message has one of the members 'type', 'candidate' and 'bye'")
    except InvalidDescriptionError as error:
        raise InvalidMessageError(str(error)) from error


def _parse(text: str) -> Mapping[str, Any]:
    try:
        if len(text) > MAX_MESSAGE_SIZE or len(text.encode()) > MAX_MESSAGE_SIZE:
            raise InvalidMessageError(f"a message has at most {MAX_MESSAGE_SIZE} bytes", close_code=TOO_BIG)
        value = json.loads(text, parse_constant=_refuse_constant)
        # JSON can spell half a character ("\\ud800"), which no text that it goes into could be sent or written with.
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError as error:
        raise InvalidMessageError(f"a message is JSON: {error}", close_code=INVALID_DATA) from None
    except RecursionError:
        raise InvalidMessageError("a message is JSON of little depth", close_code=INVALID_DATA) from None
    if not isinstance(value, dict):
        raise InvalidMessageError("a message is a JSON object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")  # RFC 8259 §6, though Python would take it
