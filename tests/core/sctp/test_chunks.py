"""Every chunk: bytes as the RFCs draw them, the way there and back, and whatever else may arrive."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.sctp.causes import describe
from trio_webrtc.core.sctp.chunks import (
    BY_TYPE,
    AbortChunk,
    CookieAckChunk,
    CookieEchoChunk,
    DataChunk,
    ErrorChunk,
    ForwardTsnChunk,
    HeartbeatAckChunk,
    HeartbeatChunk,
    InitAckChunk,
    InitChunk,
    ReconfigChunk,
    SackChunk,
    ShutdownAckChunk,
    ShutdownChunk,
    ShutdownCompleteChunk,
)
from trio_webrtc.core.sctp.chunks.reconfig import (
    AddIncomingStreams,
    AddOutgoingStreams,
    IncomingResetRequest,
    OutgoingResetRequest,
    ReconfigResponse,
    SsnTsnResetRequest,
)
from trio_webrtc.core.sctp.packet import PacketWriter, encode_chunk, read_packet, split_chunks
from trio_webrtc.core.sctp.parameters import Parameter, split_parameters

EXAMPLES = [
    # RFC 9260 §3.3.1: type 0, flags UBE, length 19, TSN, stream, sequence number, PPID, data, padding.
    ("00 07 0013 00000001 0002 0003 00000033 616263 00", DataChunk(7, 1, 2, 3, 51, b"abc")),
    # §3.3.2: type 1, tag, a_rwnd, streams out, streams in, TSN; parameter 0xC000 of length 4; 0x8008 with two types.
    (
        "01 00 001e 01020304 00010000 000a 0800 fffffffe c000 0004 8008 0006 82c0 0000",
        InitChunk(
            initiate_tag=0x01020304,
            a_rwnd=65_536,
            outbound_streams=10,
            inbound_streams=2_048,
            initial_tsn=0xFFFFFFFE,
            parameters=(Parameter(0xC000, b""), Parameter(0x8008, b"\x82\xc0")),
        ),
    ),
    # §3.3.3: type 2, and the state cookie is parameter 7.
    (
        "02 00 0019 00000001 00010000 0001 0001 00000005 0007 0005 aa 000000",
        InitAckChunk(
            initiate_tag=1,
            a_rwnd=65_536,
            outbound_streams=1,
            inbound_streams=1,
            initial_tsn=5,
            parameters=(Parameter(7, b"\xaa"),),
        ),
    ),
    # §3.3.4: type 3, cumulative TSN, a_rwnd, two gap blocks, one duplicate.
    (
        "03 00 001c 00000010 00001000 0002 0001 0002 0003 0005 0005 0000000f",
        SackChunk(16, 4_096, ((2, 3), (5, 5)), (15,)),
    ),
    # §3.3.5, §3.3.6: types 4 and 5, heartbeat information is parameter 1.
    ("04 00 000c 0001 0008 00112233", HeartbeatChunk(b"\x00\x11\x22\x33")),
    ("05 00 0009 0001 0005 00 000000", HeartbeatAckChunk(b"\x00")),
    # §3.3.7: type 6, the T bit, cause 12 with text.
    ("06 01 000a 000c 0006 6869 0000", AbortChunk((Parameter(12, b"hi"),), reflected_tag=True)),
    ("06 00 0004", AbortChunk()),
    # §3.3.8, §3.3.9, §3.3.13.
    ("07 00 0008 00000009", ShutdownChunk(9)),
    ("08 00 0004", ShutdownAckChunk()),
    ("0e 01 0004", ShutdownCompleteChunk(reflected_tag=True)),
    # §3.3.10: cause 3 (stale cookie) with its measure.
    ("09 00 000c 0003 0008 000003e8", ErrorChunk((Parameter(3, b"\x00\x00\x03\xe8"),))),
    # §3.3.11, §3.3.12.
    ("0a 00 0006 0102 0000", CookieEchoChunk(b"\x01\x02")),
    ("0b 00 0004", CookieAckChunk()),
    # RFC 3758 §3.2: type 192, new cumulative TSN, pairs of stream and sequence number.
    ("c0 00 0010 00000007 0001 0002 0003 0004", ForwardTsnChunk(7, ((1, 2), (3, 4)))),
    # RFC 6525 §4.1, §4.4: type 130, parameters 13 and 16, padding between them.
    (
        "82 00 0024 000d 0012 00000001 00000002 00000003 0005 0000 0010 000c 00000004 00000001",
        ReconfigChunk((OutgoingResetRequest(1, 2, 3, (5,)), ReconfigResponse(4, 1))),
    ),
    # RFC 6525 §4.2, §4.3, §4.5, §4.6.
    ("82 00 000e 000e 000a 00000001 0002 0000", ReconfigChunk((IncomingResetRequest(1, (2,)),))),
    ("82 00 000c 000f 0008 00000001", ReconfigChunk((SsnTsnResetRequest(1),))),
    ("82 00 0010 0011 000c 00000001 0002 0000", ReconfigChunk((AddOutgoingStreams(1, 2),))),
    ("82 00 0010 0012 000c 00000001 0002 0000", ReconfigChunk((AddIncomingStreams(1, 2),))),
]


def decode(encoded):
    ((type_, flags, body),) = split_chunks(encoded)
    return BY_TYPE[type_].decode(flags, body)


@pytest.mark.parametrize(("drawn", "chunk"), EXAMPLES, ids=lambda value: type(value).__name__)
def test_bytes_are_as_the_rfcs_draw_them(drawn, chunk):
    assert chunk.encode() == bytes.fromhex(drawn)
    decoded = decode(bytes.fromhex(drawn))
    assert decoded == chunk
    assert type(decoded) is type(chunk)


u16, u32, some_bytes = st.integers(0, 2**16 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=50)
parameters = st.lists(st.builds(Parameter, u16, some_bytes), max_size=4).map(tuple)
pairs = st.lists(st.tuples(u16, u16), max_size=8).map(tuple)
stream_ids = st.lists(u16, max_size=8).map(tuple)
inits = {
    "initiate_tag": u32,
    "a_rwnd": u32,
    "outbound_streams": u16,
    "inbound_streams": u16,
    "initial_tsn": u32,
    "parameters": parameters,
}
reconfigurations = st.one_of(
    st.builds(OutgoingResetRequest, u32, u32, u32, stream_ids),
    st.builds(IncomingResetRequest, u32, stream_ids),
    st.builds(SsnTsnResetRequest, u32),
    st.builds(ReconfigResponse, u32, u32),
    st.builds(AddOutgoingStreams, u32, u16),
    st.builds(AddIncomingStreams, u32, u16),
)
chunks = st.one_of(
    st.builds(DataChunk, st.integers(0, 15), u32, u16, u16, u32, st.binary(max_size=200)),
    st.builds(InitChunk, **inits),
    st.builds(InitAckChunk, **inits),
    st.builds(SackChunk, u32, u32, pairs, st.lists(u32, max_size=8).map(tuple)),
    st.builds(HeartbeatChunk, some_bytes),
    st.builds(HeartbeatAckChunk, some_bytes),
    st.builds(AbortChunk, parameters, st.booleans()),
    st.builds(ShutdownChunk, u32),
    st.builds(ShutdownAckChunk),
    st.builds(ShutdownCompleteChunk, st.booleans()),
    st.builds(ErrorChunk, parameters),
    st.builds(CookieEchoChunk, some_bytes),
    st.builds(CookieAckChunk),
    st.builds(ForwardTsnChunk, u32, pairs),
    st.builds(ReconfigChunk, st.lists(reconfigurations, min_size=1, max_size=2).map(tuple)),
)


@given(chunks)
def test_what_is_encoded_is_decoded_as_it_was(chunk):
    encoded = chunk.encode()
    assert len(encoded) % 4 == 0
    decoded = decode(encoded)
    assert decoded == chunk
    assert type(decoded) is type(chunk)


@given(st.lists(chunks, min_size=1, max_size=5), u16, u16, u32)
def test_packets_are_read_as_they_were_written(several, source_port, destination_port, tag):
    writer = PacketWriter(source_port=source_port, destination_port=destination_port, verification_tag=tag)
    packet = writer.write(b"".join(chunk.encode() for chunk in several))
    *header, raw = read_packet(packet)
    assert header == [source_port, destination_port, tag]
    assert [BY_TYPE[type_].decode(flags, body) for type_, flags, body in raw] == several


def test_the_checksum_is_little_endian():
    # A packet with no more than COOKIE ACK: CRC32c computed by hand with a bitwise implementation of RFC 9260 App. A.
    def crc32c(data):
        crc = 0xFFFFFFFF
        for byte in data:
            crc ^= byte
            for _ in range(8):
                crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        return crc ^ 0xFFFFFFFF

    header, chunk = bytes.fromhex("1388 1388 01020304"), bytes.fromhex("0b000004")
    checksum = struct.pack("<I", crc32c(header + bytes(4) + chunk))
    writer = PacketWriter(source_port=5000, destination_port=5000, verification_tag=0x01020304)
    assert writer.write(chunk) == header + checksum + chunk


@given(st.sampled_from(sorted(BY_TYPE)), st.integers(0, 255), st.binary(max_size=100))
def test_decoders_raise_nothing_but_malformed_packet_error(type_, flags, body):
    try:
        chunk = BY_TYPE[type_].decode(flags, body)
    except MalformedPacketError:
        return
    chunk.encode()
    if isinstance(chunk, AbortChunk | ErrorChunk):
        assert isinstance(describe(chunk.causes), str)


@given(chunks, st.data())
def test_mutated_chunks_raise_nothing_but_malformed_packet_error(chunk, data):
    mutated = bytearray(chunk.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    try:
        for type_, flags, body in split_chunks(bytes(mutated)):
            if type_ in BY_TYPE:
                BY_TYPE[type_].decode(flags, body)
    except MalformedPacketError:
        pass


@given(st.binary(max_size=200))
def test_packets_of_any_bytes_raise_nothing_but_malformed_packet_error(data):
    for candidate in (data, PacketWriter(source_port=1, destination_port=1, verification_tag=1).write(data)):
        try:
            read_packet(candidate)
        except MalformedPacketError:
            pass


@pytest.mark.parametrize("length", range(4))
def test_a_parameter_shorter_than_its_own_header_is_malformed(length):
    with pytest.raises(MalformedPacketError):
        split_parameters(struct.pack("!HH", 7, length) + bytes(8))


@pytest.mark.parametrize("length", [*range(4), 13, 65_535])
def test_a_chunk_with_a_lying_length_is_malformed(length):
    with pytest.raises(MalformedPacketError):
        split_chunks(struct.pack("!BBH", 0, 3, length) + bytes(8))


def test_padding_of_the_last_chunk_and_parameter_may_be_missing():
    assert split_chunks(encode_chunk(10, 0, b"abc")[:-1]) == [(10, 0, b"abc")]
    assert split_parameters(Parameter(7, b"abc").encode()) == (Parameter(7, b"abc"),)


def test_a_reason_of_any_bytes_can_be_told():
    assert describe((Parameter(13, b"\xff\xfe" * 1_000),)).startswith("protocol violation: ")
    assert describe((Parameter(999, b""), Parameter(4, b""))) == "cause 999; out of resource"
    assert describe(()) == "no reason given"
