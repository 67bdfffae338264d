"""DNS messages (RFC 1035 §4.1) as Multicast DNS has them (RFC 6762 §18): one question, the addresses in answers."""

import ipaddress
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from trio_webrtc.core.contract import MalformedPacketError

GROUP_IPV4: Final = "224.0.0.251"
GROUP_IPV6: Final = "ff02::fb"
PORT: Final = 5353

TYPE_A: Final = 1
TYPE_AAAA: Final = 28

_HEADER: Final = struct.Struct("!6H")
_QUESTION: Final = struct.Struct("!HH")
_RECORD: Final = struct.Struct("!HHIH")
_IN: Final = 1
_CLASS_MASK: Final = 0x7FFF  # RFC 6762 §10.2: the top bit of a class says "flush your cache", and is no part of it
_IS_RESPONSE: Final = 0x8000
_OPCODE_AND_RCODE: Final = 0x780F  # RFC 6762 §18.3, §18.11: messages with others than 0 are ignored
_MAX_LABEL: Final = 63
_MAX_NAME: Final = 255
_ADDRESS_SIZES: Final = {TYPE_A: 4, TYPE_AAAA: 16}


def encode_question(name: str, type_: int) -> bytes:
    """Ask everybody for the records of a name; they answer to everybody (RFC 6762 §5.4 tells of the other way).

    Raises:
        ValueError: no name on the wire looks like this.
    """
    labels = [label.encode() for label in name.split(".")]
    if not all(0 < len(label) <= _MAX_LABEL for label in labels) or sum(map(len, labels)) + len(labels) >= _MAX_NAME:
        raise ValueError(f"not a name of the local network: {name!r}")
    encoded = b"".join(bytes([len(label)]) + label for label in labels)
    return _HEADER.pack(0, 0, 1, 0, 0, 0) + encoded + b"\0" + _QUESTION.pack(type_, _IN)


def read_addresses(data: bytes) -> list[tuple[str, str]]:
    """The names, in lower case, and the addresses that a response gives them; nothing from what is no response.

    Raises:
        MalformedPacketError: it breaks the grammar.
    """
    if len(data) < _HEADER.size:
        raise MalformedPacketError(f"DNS message of {len(data)} bytes")
    _, flags, questions, *records = _HEADER.unpack_from(data)
    if not flags & _IS_RESPONSE or flags & _OPCODE_AND_RCODE:
        return []
    offset = _HEADER.size
    for _ in range(questions):
        _, offset = _read_name(data, offset)
        offset += _QUESTION.size
    return [
        (record.name.lower(), str(ipaddress.ip_address(record.data)))
        for record in _read_records(data, offset, sum(records))
        # RFC 6762 §10.1: with a TTL of 0 a name is taken back.
        if record.class_ == _IN and record.ttl and len(record.data) == _ADDRESS_SIZES.get(record.type)
    ]


class _Record(NamedTuple):
    name: str
    type: int
    class_: int
    ttl: int
    data: bytes


def _read_records(data: bytes, offset: int, count: int) -> Iterator[_Record]:
    for _ in range(count):
        name, offset = _read_name(data, offset)
        if offset + _RECORD.size > len(data):
            raise MalformedPacketError("DNS record that is cut off")
        type_, class_, ttl, size = _RECORD.unpack_from(data, offset)
        offset += _RECORD.size
        if offset + size > len(data):
            raise MalformedPacketError("DNS record that is cut off")
        yield _Record(name, type_, class_ & _CLASS_MASK, ttl, data[offset : offset + size])
        offset += size


def _read_name(data: bytes, offset: int) -> tuple[str, int]:
    """A name, and where it ends. It may end in a pointer to an earlier one (RFC 1035 §4.1.4)."""
    labels: list[bytes] = []
    size, end, start = 0, None, offset
    while True:
        if offset >= len(data):
            raise MalformedPacketError("DNS name that is cut off")
        length = data[offset]
        if length > _MAX_LABEL:
            target = _read_pointer(data, offset)
            if target >= start:  # each leads further back than the last, so that there is an end to it
                raise MalformedPacketError("DNS name that points forward")
            end = end or offset + 2
            offset = start = target
            continue
        offset += 1 + length
        size += 1 + length
        if size > _MAX_NAME:
            raise MalformedPacketError(f"DNS name of more than {_MAX_NAME} bytes")
        if length == 0:
            return b".".join(labels).decode("utf-8", "replace"), end or offset
        labels.append(data[offset - length : offset])


def _read_pointer(data: bytes, offset: int) -> int:
    if data[offset] < 0xC0 or offset + 2 > len(data):
        raise MalformedPacketError("DNS name with a label of an unknown kind")
    return (data[offset] & 0x3F) << 8 | data[offset + 1]
