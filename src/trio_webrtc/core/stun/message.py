"""STUN messages (RFC 8489): aioice's codec behind one error type, and what it leaves out.

The one place that imports `aioice.stun`. It parses and packs attributes, and computes FINGERPRINT. What is added here:
the magic cookie and the borders of every attribute are checked, attributes that we ought to understand but do not are
reported, UNKNOWN-ATTRIBUTES exists, and only `MalformedPacketError` gets out. Signatures are `integrity`'s.
What a message means is not known here.
"""

import random
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

from aioice import stun as codec

from trio_webrtc.core.contract import Address, MalformedPacketError
from trio_webrtc.core.stun.integrity import MAX_ATTRIBUTES, MESSAGE_INTEGRITY, is_signed_with, signature

Method: TypeAlias = codec.Method
MessageClass: TypeAlias = codec.Class

_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)  # equal if identical: a message looks them up often, and hashing by name is slow
class Attribute(Generic[_T]):
    """The name of an attribute in the RFCs, and in its type what a message holds under it. There is one of each."""

    name: str


USERNAME: Final = Attribute[str]("USERNAME")
ERROR_CODE: Final = Attribute[tuple[int, str]]("ERROR-CODE")
UNKNOWN_ATTRIBUTES: Final = Attribute[tuple[int, ...]]("UNKNOWN-ATTRIBUTES")
MAPPED_ADDRESS: Final = Attribute[Address]("MAPPED-ADDRESS")
XOR_MAPPED_ADDRESS: Final = Attribute[Address]("XOR-MAPPED-ADDRESS")
PRIORITY: Final = Attribute[int]("PRIORITY")
USE_CANDIDATE: Final = Attribute[None]("USE-CANDIDATE")
ICE_CONTROLLED: Final = Attribute[int]("ICE-CONTROLLED")
ICE_CONTROLLING: Final = Attribute[int]("ICE-CONTROLLING")
_BY_NAME: Final[Mapping[str, Attribute[Any]]] = {
    attribute.name: attribute
    for attribute in (
        *(USERNAME, ERROR_CODE, MAPPED_ADDRESS, XOR_MAPPED_ADDRESS),
        *(PRIORITY, USE_CANDIDATE, ICE_CONTROLLED, ICE_CONTROLLING),
    )
}

REASONS: Final = {400: "Bad Request", 401: "Unauthenticated", 420: "Unknown Attribute", 487: "Role Conflict"}
"""The reason phrases of the errors that we answer with (RFC 8489 §14.8, RFC 8445 §16.2)."""

_TYPE_AND_LENGTH: Final = struct.Struct("!HH")
_UNKNOWN_ATTRIBUTES: Final = 0x000A
_FINGERPRINT: Final = 0x8028
_COMPREHENSION_OPTIONAL: Final = 0x8000
_COOKIE: Final = codec.COOKIE.to_bytes(4, "big")


class TransactionIds:
    """Makes the ids of one client's requests, which all begin alike.

    Departs from RFC 8489 §5, which has all 96 bits drawn anew: 32 of them are drawn once, so that where many clients
    share a port it can be told whose answer has come. The other 64 are what nobody guesses.
    """

    def __init__(self, rng: random.Random) -> None:
        self.prefix = rng.randbytes(4)
        self._rng = rng

    def new(self) -> bytes:
        """An id that was not there before."""
        return self.prefix + self._rng.randbytes(8)


@dataclass(slots=True, kw_only=True)
class Message:
    """One STUN message. `encode` signs it and adds a FINGERPRINT; `decode` and `is_signed_with` check them."""

    method: Method
    message_class: MessageClass
    transaction_id: bytes
    attributes: Mapping[Attribute[Any], Any] = field(default_factory=dict)
    not_understood: tuple[int, ...] = ()
    """Types of attributes that the sender wants understood, and that we do not know (RFC 8489 §14)."""
    is_signed: bool = field(default=False, compare=False)
    """Whether a received message has a MESSAGE-INTEGRITY, be it right or wrong."""
    _received: bytes = field(default=b"", repr=False, compare=False)

    def get(self, attribute: Attribute[_T]) -> _T | None:
        """The value of `attribute`, or None if the message has none."""
        value: _T | None = self.attributes.get(attribute)
        return value

    def is_signed_with(self, key: bytes) -> bool:
        """Whether a received message has the MESSAGE-INTEGRITY that `key` gives it."""
        return is_signed_with(self._received, key)

    @property
    def error_code(self) -> int | None:
        """The code of an error response."""
        error = self.get(ERROR_CODE)
        return error[0] if error is not None else None

    @property
    def error_text(self) -> str:
        """The code and the reason of an error response, fit to be shown."""
        code, reason = self.get(ERROR_CODE) or (0, "")
        return ascii(f"{code} {reason[:80]}".strip())[1:-1]

    def answer(self, attributes: Mapping[Attribute[Any], Any]) -> "Message":
        """A success response to this request."""
        return Message(
            method=self.method,
            message_class=MessageClass.RESPONSE,
            transaction_id=self.transaction_id,
            attributes=attributes,
        )

    def refuse(self, code: int) -> "Message":
        """An error response to this request; a 420 names what was not understood (RFC 8489 §6.3.1)."""
        attributes: dict[Attribute[Any], Any] = {ERROR_CODE: (code, REASONS[code])}
        if code == 420:
            attributes[UNKNOWN_ATTRIBUTES] = self.not_understood
        return Message(
            method=self.method,
            message_class=MessageClass.ERROR,
            transaction_id=self.transaction_id,
            attributes=attributes,
        )

    def encode(self, key: bytes | None = None) -> bytes:
        """The bytes of this message, signed with `key` if there is one, and with a FINGERPRINT."""
        known = {a.name: value for a, value in self.attributes.items() if a != UNKNOWN_ATTRIBUTES}
        data = bytes(codec.Message(self.method, self.message_class, self.transaction_id, known))
        if (unknown := self.get(UNKNOWN_ATTRIBUTES)) is not None:
            data += _pack_attribute(_UNKNOWN_ATTRIBUTES, struct.pack(f"!{len(unknown)}H", *unknown))
        if key is not None:
            data += _pack_attribute(MESSAGE_INTEGRITY, signature(data, key))
        data += _pack_attribute(_FINGERPRINT, codec.message_fingerprint(data).to_bytes(4, "big"))
        return codec.set_body_length(data, len(data) - codec.HEADER_LENGTH)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Parse a datagram.

        Raises:
            MalformedPacketError: It is not a well-formed STUN message, or its FINGERPRINT is wrong.
        """
        if len(data) < codec.HEADER_LENGTH or data[0] > 3 or data[4:8] != _COOKIE:
            raise MalformedPacketError("not a STUN message")
        not_understood: list[int] = []
        attributes: dict[Attribute[Any], Any] = {}
        # RFC 8489 §14.5: what follows MESSAGE-INTEGRITY is not protected by it, and ignored.
        protected = True
        for kind, value in _attributes(data):
            if kind == MESSAGE_INTEGRITY:
                protected = False
            elif protected and kind == _UNKNOWN_ATTRIBUTES:
                attributes[UNKNOWN_ATTRIBUTES] = struct.unpack(f"!{len(value) // 2}H", value[: len(value) // 2 * 2])
            elif protected and kind < _COMPREHENSION_OPTIONAL and kind not in codec.ATTRIBUTES_BY_TYPE:
                not_understood.append(kind)
        try:
            decoded = codec.parse_message(data)
        except Exception as error:
            # ValueError, struct.error and UnicodeDecodeError are known to come out; a codec that is not ours may
            # have others, and none of them is worth more than a dropped datagram.
            raise MalformedPacketError(f"STUN message: {error}") from error
        for name, value in decoded.attributes.items():
            if (attribute := _BY_NAME.get(name)) is not None:
                attributes[attribute] = value
        return cls(
            method=decoded.message_method,
            message_class=decoded.message_class,
            transaction_id=decoded.transaction_id,
            attributes=attributes,
            not_understood=tuple(not_understood),
            is_signed=not protected,
            _received=data,
        )


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Walk the attributes of a message, whose borders aioice does not check; nothing may follow FINGERPRINT."""
    at, end = codec.HEADER_LENGTH, len(data)
    kind, room = None, MAX_ATTRIBUTES
    while at < end:
        if room == 0:
            raise MalformedPacketError(f"STUN message with more than {MAX_ATTRIBUTES} attributes")
        room -= 1
        if kind == _FINGERPRINT:
            raise MalformedPacketError("STUN attribute after FINGERPRINT")
        if end - at < _TYPE_AND_LENGTH.size:
            raise MalformedPacketError("STUN attribute cut off")
        kind, length = _TYPE_AND_LENGTH.unpack_from(data, at)
        at += _TYPE_AND_LENGTH.size
        if at + length > end:
            raise MalformedPacketError("STUN attribute longer than its message")
        yield kind, data[at : at + length]
        at += length + codec.padding_length(length)


def _pack_attribute(kind: int, value: bytes) -> bytes:
    return _TYPE_AND_LENGTH.pack(kind, len(value)) + value + bytes(codec.padding_length(len(value)))
