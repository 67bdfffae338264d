"""From text to the model (RFC 8866 §5, §9).

Strict where the grammar is broken: the error names the line and says what was expected. Lenient where products in use
are: lines may end in LF alone, empty lines may follow the last one, `s=` and `t=` may be missing or stand elsewhere
among the session's lines, fields may be separated by several spaces, and lines of unknown type are kept.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import NoReturn

from trio_webrtc.core.sdp.model import (
    Attribute,
    Connection,
    Line,
    Media,
    Origin,
    Session,
    media_rank,
    session_rank,
)
from trio_webrtc.errors import InvalidDescriptionError

MAX_DESCRIPTION_LENGTH = 1 << 19
"""Characters. A conference of a hundred and fifty video tracks fits; what is longer is not looked at."""

# RFC 8866 §9: "token", and "proto" as tokens with slashes between them.
_TOKEN = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")
_PROTOCOL = re.compile(r"[!#$%&'*+\-./0-9A-Z^_`a-z{|}~]+")
_NUMBER = re.compile(r"[0-9]{1,20}")
_FORBIDDEN = re.compile(r"[\0\r\n]")


def parse(text: str) -> Session:
    """Read a description.

    Raises:
        InvalidDescriptionError: the text breaks the grammar; `line` says where.
    """
    if len(text) > MAX_DESCRIPTION_LENGTH:
        raise InvalidDescriptionError(f"expected at most {MAX_DESCRIPTION_LENGTH} characters, not {len(text)}")
    lines = _split_lines(text)
    starts = [index for index, line in enumerate(lines) if line.type == "m"]
    borders = [*starts, len(lines)]
    session = _read_session(lines[: borders[0]])
    return replace(session, media=tuple(_read_media(lines[start:end]) for start, end in pairwise(borders)))


def _split_lines(text: str) -> list[Line]:
    lines = []
    for number, raw in enumerate(text.rstrip("\r\n").split("\n"), start=1):
        content = raw.removesuffix("\r")
        if content[1:2] != "=" or not (content[0].isascii() and content[0].isalpha()):
            _expected("a letter, an equals sign and a value", content, number)
        if _FORBIDDEN.search(content):
            _expected("no NUL or carriage return within a line", content, number)
        lines.append(Line(content[0], content[2:], number))
    return lines


def _read_session(lines: list[Line]) -> Session:
    if not lines or (lines[0].type, lines[0].value.strip(" ")) != ("v", "0"):
        raise InvalidDescriptionError("expected the description to begin with v=0", line=1)
    origin: Origin | None = None
    name: str | None = None
    connection: Connection | None = None
    kept: list[Line] = []
    attributes: list[Attribute] = []
    for line in lines[1:]:
        match line.type:
            case "v":
                _expected("one v= line only", line.value, line.line)
            case "o":
                _expect_first(origin, line)
                origin = _read_origin(line)
            case "s":
                _expect_first(name, line)
                name = line.value
            case "c":
                _expect_first(connection, line)
                connection = _read_connection(line)
            case "a":
                attributes.append(_read_attribute(line))
            case "t":
                kept.append(_read_timing(line))
            case _:
                kept.append(line)
    if origin is None:
        raise InvalidDescriptionError("expected an o= line before the first media section")
    if not any(line.type == "t" for line in kept):
        kept.append(Line("t", "0 0"))
    return Session(
        origin=origin,
        name="-" if name is None else name,
        connection=connection,
        lines=_sorted(kept, session_rank),
        attributes=tuple(attributes),
    )


def _read_media(lines: list[Line]) -> Media:
    media = _read_media_line(lines[0])
    connection: Connection | None = None
    kept: list[Line] = []
    attributes: list[Attribute] = []
    for line in lines[1:]:
        match line.type:
            case "v" | "o" | "s":
                _expected(f"{line.type}= before the first media section", line.value, line.line)
            case "c" if connection is None:
                connection = _read_connection(line)
            case "a":
                attributes.append(_read_attribute(line))
            case _:
                kept.append(line)
    return replace(media, connection=connection, lines=_sorted(kept, media_rank), attributes=tuple(attributes))


def _read_media_line(line: Line) -> Media:
    kind, port, protocol, *formats = _fields(line, 4, "m=<media> <port> <protocol> <format> ...")
    number, _, count = port.partition("/")
    if not _NUMBER.fullmatch(number) or int(number) > 65535 or ("/" in port and not _NUMBER.fullmatch(count)):
        _expected("a port from 0 to 65535", port, line.line)
    if not _PROTOCOL.fullmatch(protocol):
        _expected("a transport protocol such as UDP/DTLS/SCTP", protocol, line.line)
    for word in (kind, *formats):
        _expect_token("a media type and formats without special characters", word, line.line)
    return Media(
        kind=kind,
        port=int(number),
        port_count=int(count) if count else None,
        protocol=protocol,
        formats=tuple(formats),
        line=line.line,
    )


def _read_origin(line: Line) -> Origin:
    shape = "o=<username> <session id> <version> <network> <address type> <address>"
    username, session_id, version, network_type, address_type, address = _fields(line, 6, shape, exactly=True)
    if not _NUMBER.fullmatch(session_id) or not _NUMBER.fullmatch(version):
        _expected("a session id and version of at most 20 digits each", line.value, line.line)
    return Origin(username, int(session_id), int(version), network_type, address_type, address)


def _read_connection(line: Line) -> Connection:
    return Connection(*_fields(line, 3, "c=<network> <address type> <address>", exactly=True))


def _read_timing(line: Line) -> Line:
    start, stop = _fields(line, 2, "t=<start> <stop>", exactly=True)
    if not _NUMBER.fullmatch(start) or not _NUMBER.fullmatch(stop):
        _expected("two times in digits", line.value, line.line)
    return line


def _read_attribute(line: Line) -> Attribute:
    name, colon, value = line.value.partition(":")
    _expect_token("an attribute's name", name, line.line)
    return Attribute(name, value if colon else None, line.line)


def _fields(line: Line, count: int, shape: str, *, exactly: bool = False) -> list[str]:
    fields = [field for field in line.value.split(" ") if field]
    if len(fields) < count or (exactly and len(fields) != count):
        _expected(shape, f"{line.type}={line.value}", line.line)
    return fields


def _expect_token(what: str, word: str, number: int | None) -> None:
    if not _TOKEN.fullmatch(word):
        _expected(what, word, number)


def _expect_first(seen: object, line: Line) -> None:
    if seen is not None:
        _expected(f"one {line.type}= line only", line.value, line.line)


def _sorted(lines: list[Line], rank: Callable[[Line], int]) -> tuple[Line, ...]:
    return tuple(sorted(lines, key=rank))


def _expected(what: str, found: str, number: int | None) -> NoReturn:
    shown = found if len(found) <= 60 else f"{found[:60]}…"
    raise InvalidDescriptionError(f"expected {what}, found {shown!r}", line=number)
