import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.mdns import encode_question, is_local_name, read_addresses
from trio_webrtc.core.mdns.message import TYPE_A, TYPE_AAAA

NAME = "727f789b-05c1-4cde-8322-5dbde693cc5a.local"
CHROMIUMS_ANSWER = (
    b"\x00\x00\x84\x00\x00\x00\x00\x01\x00\x00\x00\x01"
    b"$727f789b-05c1-4cde-8322-5dbde693cc5a\x05local\x00\x00\x01\x80\x01\x00\x00\x00x\x00\x04\xc0\x00\x02\x02"
    b"$727f789b-05c1-4cde-8322-5dbde693cc5a\x05local\x00\x00/\x80\x01\x00\x00\x00x\x00\x05\xc0F\x00\x01@"
)
HEADER = struct.pack("!6H", 0, 0x8400, 0, 1, 0, 0)
IPV6 = bytes.fromhex("fd00000000000000000000000000abcd")


def record(name: bytes, type_: int, data: bytes, *, class_: int = 0x8001, ttl: int = 120) -> bytes:
    return name + struct.pack("!HHIH", type_, class_, ttl, len(data)) + data


def test_chromiums_answer_is_understood():
    assert read_addresses(CHROMIUMS_ANSWER) == [(NAME, "192.0.2.2")]


def test_a_question_is_as_on_the_wire():
    assert encode_question("a-b.local", TYPE_AAAA) == bytes(5) + b"\1" + bytes(6) + b"\3a-b\5local\0\0\x1c\0\1"
    assert read_addresses(encode_question(NAME, TYPE_A)) == []


@pytest.mark.parametrize("name", ["", "a..local", "x" * 64 + ".local", ".".join(["x" * 60] * 5)])
def test_what_fits_no_message_is_no_name(name):
    assert not is_local_name(name)
    with pytest.raises(ValueError, match="not a name"):
        encode_question(name, TYPE_A)


def test_names_are_compressed_and_their_case_does_not_matter():
    question = b"\3ABC\5Local\0" + struct.pack("!HH", TYPE_AAAA, 1)
    message = struct.pack("!6H", 0, 0x8400, 1, 0, 0, 2) + question
    message += record(b"\xc0\x0c", TYPE_AAAA, IPV6) + record(b"\1d\xc0\x10", TYPE_A, b"\1\2\3\4")
    assert read_addresses(message) == [("abc.local", "fd00::abcd"), ("d.local", "1.2.3.4")]


@pytest.mark.parametrize(
    "message",
    [
        HEADER + record(b"\1a\5local\0", TYPE_A, b"\1\2\3\4", ttl=0),
        HEADER + record(b"\1a\5local\0", TYPE_A, b"\1\2\3"),
        HEADER + record(b"\1a\5local\0", TYPE_A, b"\1\2\3\4", class_=3),
        HEADER + record(b"\1a\5local\0", 16, b"\1\2\3\4"),
        HEADER.replace(b"\x84", b"\x04") + record(b"\1a\5local\0", TYPE_A, b"\1\2\3\4"),
        HEADER.replace(b"\x84\0", b"\x84\3") + record(b"\1a\5local\0", TYPE_A, b"\1\2\3\4"),
    ],
    ids=["taken back", "cut short", "of another class", "of another type", "of a query", "an error"],
)
def test_what_gives_a_name_no_address_is_left_out(message):
    assert read_addresses(message) == []


@pytest.mark.parametrize(
    "message",
    [
        b"",
        HEADER,
        HEADER + b"\xc0\x0c",
        HEADER + b"\xc0\xff",
        HEADER + b"\xc0",
        HEADER + b"\x80\0",
        HEADER + b"\1a\xc0\x0c" + bytes(10),
        HEADER + b"\x3f" * 400,
        HEADER + record(b"\1a\0", TYPE_A, b"\1\2\3\4")[:-1],
        HEADER + b"\1a\0\0\1",
    ],
)
def test_a_broken_message_is_malformed(message):
    with pytest.raises(MalformedPacketError):
        read_addresses(message)


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_read_or_malformed(data, with_header):
    try:
        read_addresses(HEADER + data if with_header else data)
    except MalformedPacketError:
        pass


@given(st.integers(0, len(CHROMIUMS_ANSWER) - 1), st.integers(0, 255))
def test_a_damaged_answer_is_read_or_malformed(place, value):
    damaged = bytearray(CHROMIUMS_ANSWER)
    damaged[place] = value
    try:
        read_addresses(bytes(damaged))
    except MalformedPacketError:
        pass
