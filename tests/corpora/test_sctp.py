"""SCTP packets of other implementations and of their fuzzers, in every state of an association."""

import pytest

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.sctp.chunks import BY_TYPE
from trio_webrtc.core.sctp.packet import PacketWriter, read_packet, split_chunks
from trio_webrtc.core.sctp.parameters import split_parameters

from .associations import STATES, in_state
from .frugal import check_is_frugal, files_of

FOLDERS = ("libwebrtc-fuzz/sctp-packet-corpus", "usrsctp-fuzz", "aiortc-vectors/aiortc")
MAX_PACKET = 1 << 14
"""What fits into one DTLS record; longer files are cut into packets of that size."""
MAX_FILE = 1 << 16
"""Two files are of a million bytes; their ends are like their beginnings."""


@pytest.fixture(scope="module")
def packets(corpora):
    return [
        (f"{path.name}[{start}:]", data[start : start + MAX_PACKET])
        for folder in FOLDERS
        for path in files_of(corpora / folder)
        if folder != "aiortc-vectors/aiortc" or path.name.startswith("sctp")
        for data in [path.read_bytes()[:MAX_FILE]]
        for start in range(0, len(data), MAX_PACKET)
    ]


def variants(data, tag):
    """A file as it is; and what may be chunks in it, under a right checksum and the right tag, or none."""
    yield data
    for chunks in (data, data[1:], data[12:]):
        for under in {0, tag}:
            writer = PacketWriter(source_port=5000, destination_port=5000, verification_tag=under)
            yield writer.write(chunks[: MAX_PACKET - 12])


def survive(association, packet):
    association.receive_datagrams([packet], 0.0)
    assert len(association.poll_transmits(0.0, 1_000)) < 1_000
    for _ in range(3):
        if (due := association.next_timeout()) is not None:
            association.handle_timeout(due)
            association.poll_transmits(due, 1_000)
    while association.poll_event() is not None:
        pass


def read_or_refuse(read, data):
    try:
        read(data)
    except MalformedPacketError:
        pass


def read_chunks(data, start):
    for type_, flags, body in split_chunks(data, start):
        if type_ in BY_TYPE:
            BY_TYPE[type_].decode(flags, body)


READERS = (
    read_packet,
    split_parameters,
    *(lambda data, start=start: read_chunks(data, start) for start in (0, 1, 12)),
    *(
        lambda data, decode=chunk_class.decode: decode(data[1] if len(data) > 1 else 0, data[4:])
        for chunk_class in BY_TYPE.values()
    ),
)


def test_every_decoder_takes_every_file_or_finds_it_malformed(packets):
    for name, data in packets:
        for read in READERS:
            check_is_frugal(name, lambda: None, lambda _, read=read, data=data: read_or_refuse(read, data))


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_an_association_in_every_state_survives_every_file(packets, state):
    tag = in_state(state).tag
    for name, data in packets:
        for packet in variants(data, tag):
            check_is_frugal(
                name, lambda: in_state(state).left, lambda association, packet=packet: survive(association, packet)
            )


def test_the_packets_that_aiortc_records_are_read(corpora):
    folder = corpora / "aiortc-vectors" / "aiortc"
    bad = {"sctp_init_bad_verification.bin", "sctp_data_truncated.bin", "sctp_data_zero_length.bin"}
    for path in folder.glob("sctp_*"):
        try:
            chunks = read_packet(path.read_bytes())[3]
            for type_, flags, body in chunks:
                assert BY_TYPE[type_].decode(flags, body).encode()
        except MalformedPacketError:
            assert path.name in bad, path.name
