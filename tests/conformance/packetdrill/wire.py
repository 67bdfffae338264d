"""SCTP in bytes, as RFC 9260 §3 has it, as far as the scripts go. Written apart from the library on purpose."""

import ipaddress
import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import google_crc32c

from .notation import Item, Value

PORT = 5000


class Form(NamedTuple):
    """The type of a chunk, parameter or cause, and the numbers that it begins with."""

    type: int
    numbers: str = "!"
    names: tuple[str, ...] = ()


_INIT = ("tag", "a_rwnd", "os", "is", "tsn")
CHUNKS = {
    "DATA": Form(0, "!IHHI", ("tsn", "sid", "ssn", "ppid")),
    "INIT": Form(1, "!IIHHI", _INIT),
    "INIT_ACK": Form(2, "!IIHHI", _INIT),
    "SACK": Form(3, "!II", ("cum_tsn", "a_rwnd")),
    "HEARTBEAT": Form(4),
    "HEARTBEAT_ACK": Form(5),
    "ABORT": Form(6),
    "SHUTDOWN": Form(7, "!I", ("cum_tsn",)),
    "SHUTDOWN_ACK": Form(8),
    "ERROR": Form(9),
    "COOKIE_ECHO": Form(10),
    "COOKIE_ACK": Form(11),
    "SHUTDOWN_COMPLETE": Form(14),
}
WITH_ITEMS = {"INIT", "INIT_ACK", "HEARTBEAT", "HEARTBEAT_ACK", "ABORT", "ERROR"}
ITEMS = {
    # Parameters (RFC 9260 §3.3.2, §3.3.3, §3.3.5)
    "HEARTBEAT_INFORMATION": Form(1),
    "IPV4_ADDRESS": Form(5),
    "IPV6_ADDRESS": Form(6),
    "STATE_COOKIE": Form(7),
    "UNRECOGNIZED_PARAMETER": Form(8),
    "COOKIE_PRESERVATIVE": Form(9, "!I", ("incr",)),
    "HOSTNAME_ADDRESS": Form(11),
    "SUPPORTED_ADDRESS_TYPES": Form(12),
    # Error causes (§3.3.10)
    "INVALID_STREAM_IDENTIFIER": Form(1, "!HH", ("sid", "reserved")),
    "MISSING_MANDATORY_PARAMETER": Form(2, "!I", ("count",)),
    "STALE_COOKIE_ERROR": Form(3, "!I", ("staleness",)),
    "UNRESOLVABLE_ADDRESS": Form(5),
    "UNRECOGNIZED_CHUNK_TYPE": Form(6),
    "INVALID_MANDATORY_PARAMETER": Form(7),
    "UNRECOGNIZED_PARAMETERS": Form(8),
    "NO_USER_DATA": Form(9, "!I", ("tsn",)),
    "PROTOCOL_VIOLATION": Form(13),
}
_WORDS = {"IPv4": 5, "IPv6": 6, **{name: form.type for name, form in CHUNKS.items()}}
STATE_COOKIE = ITEMS["STATE_COOKIE"].type

_FLAGS = {"E": 1, "B": 2, "U": 4, "I": 8, "T": 1}

EXTENSIONS = {0x8008, 0xC000}
"""Parameters that say which extensions there are (RFC 5061, RFC 3758). The scripts know of none, or turn them off."""


# -- out of the notation into bytes ----------------------------------------------------------------------------------


def encode_packet(chunks: list[Item] | bytes, tag: int, *, bad_checksum: bool = False) -> bytes:
    body = chunks if isinstance(chunks, bytes) else b"".join(map(encode_chunk, chunks))
    header = struct.pack("!HHI", PORT, PORT, tag)
    checksum = google_crc32c.value(header + bytes(4) + body) ^ bad_checksum
    return header + struct.pack("<I", checksum) + body


def encode_chunk(chunk: Item) -> bytes:
    """A chunk, padded. What is `...` in it becomes zeros."""
    form = CHUNKS.get(chunk.name) or Form(_number(chunk.fields["type"]))
    body = _body(chunk, form)
    return _pad(struct.pack("!BBH", form.type, flags(chunk.fields["flgs"]), 4 + len(body)) + body)


def encode_item(item: Item) -> bytes:
    """A parameter or a cause, without padding."""
    form = ITEMS.get(item.name) or Form(_number(item.fields["type"]))
    body = _body(item, form)
    return struct.pack("!HH", form.type, 4 + len(body)) + body


def flags(value: Value) -> int:
    return sum(_FLAGS[letter] for letter in value) if isinstance(value, str) else _number(value)


def _body(item: Item, form: Form) -> bytes:
    fields = item.fields
    if item.name == "MISSING_MANDATORY_PARAMETER":
        fields = fields | {"count": len(fields["types"])}
    body = struct.pack(form.numbers, *(_number(fields.get(name, 0)) for name in form.names))
    for name, value in fields.items():
        match name, value:
            case "val", (list() | bytes()):
                body += bytes(value)
            case "gaps", _:
                body += struct.pack("!HH", len(value), len(fields["dups"]))
                body += b"".join(struct.pack("!HH", *map(int, block.split(":"))) for block in value)
            case "dups", _:
                body += struct.pack(f"!{len(value)}I", *value)
            case "types", _:
                body += struct.pack(f"!{len(value)}H", *map(_number, value))
            case "params", _:
                body += _join(value)
            case "param", _:
                body += encode_item(value)
            case "chk", _:
                body += encode_chunk(value)
            case "addr", _:
                is_name = item.name == "HOSTNAME_ADDRESS"
                body += value.encode() + b"\0" if is_name else ipaddress.ip_address(value).packed
    body += _join(item.items)
    return body if fields.get("len", ...) is ... else body.ljust(fields["len"] - 4, b"\0")


def _join(items: list[Item]) -> bytes:
    """Padding stands between items and not behind the last: it does not count for the length of what they are in."""
    *others, last = [encode_item(item) for item in items] or [b""]
    return b"".join(map(_pad, others)) + last


def _pad(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _number(value: Value) -> int:
    return 0 if value is ... else _WORDS[value] if isinstance(value, str) else value


# -- out of bytes, to be compared with the notation ------------------------------------------------------------------


@dataclass
class SeenChunk:
    """A chunk that has been sent: all that a script may ask about it."""

    name: str
    fields: dict[str, Value]
    items: list[tuple[int, bytes]] = field(default_factory=list)
    """Types and contents of the parameters or causes."""


def decode_packet(data: bytes) -> tuple[int, list[SeenChunk]]:
    """The verification tag and the chunks."""
    tag, checksum = struct.unpack_from("!I", data, 4)[0], struct.unpack_from("<I", data, 8)[0]
    assert checksum == google_crc32c.value(data[:8] + bytes(4) + data[12:]), "wrong checksum"
    names = {form.type: name for name, form in CHUNKS.items()}
    return tag, [_decode_chunk(names[type_], *rest) for type_, *rest in _split(data[12:], "!BBH")]


def _decode_chunk(name: str, flags: int, body: bytes) -> SeenChunk:
    form = CHUNKS[name]
    numbers = dict(zip(form.names, struct.unpack_from(form.numbers, body), strict=True))
    seen = SeenChunk(name, {"flgs": flags, "len": 4 + len(body), **numbers})
    rest = body[struct.calcsize(form.numbers) :]
    if name in WITH_ITEMS:
        seen.items = [item for item in _split(rest, "!HH") if item[0] not in EXTENSIONS]
    elif name == "SACK":
        blocks, duplicates = struct.unpack_from("!HH", rest)
        edges = struct.unpack_from(f"!{2 * blocks}H", rest, 4)
        seen.fields["gaps"] = [f"{first}:{last}" for first, last in zip(edges[::2], edges[1::2], strict=True)]
        seen.fields["dups"] = list(struct.unpack_from(f"!{duplicates}I", rest, 4 + 4 * blocks))
    elif name == "COOKIE_ECHO":
        seen.fields["val"] = list(rest)
    return seen


def _split(data: bytes, header: str) -> list[tuple]:
    parts = []
    while data:
        *head, length = struct.unpack_from(header, data)
        parts.append((*head, data[4:length]))
        data = data[-(-length // 4) * 4 :]
    return parts


def differences(expected: Item, seen: SeenChunk) -> list[str]:
    """Where what was sent is not what the script says; empty if it is."""
    if expected.name != seen.name:
        return [f"{seen.name} instead of {expected.name}"]
    wrong = [
        f"{seen.name} with {name}={seen.fields[name]} instead of {value}"
        for name, value in expected.fields.items()
        if value is not ... and seen.fields[name] != (flags(value) if name == "flgs" else value)
    ]
    if len(expected.items) > len(seen.items) or (len(expected.items) < len(seen.items) and not expected.is_open):
        wrong.append(f"{seen.name} with {len(seen.items)} parameters or causes instead of {len(expected.items)}")
    for item, (type_, body) in zip(expected.items, seen.items, strict=False):
        wild = ... in item.fields.values()
        encoded = encode_item(item)
        if type_ != ITEMS[item.name].type or not (wild or _pad(body) == _pad(encoded[4:])):
            wrong.append(f"{seen.name} with {type_}: {body.hex(' ')} instead of {encoded.hex(' ')}")
    return wrong
