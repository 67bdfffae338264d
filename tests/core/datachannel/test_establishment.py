"""The two messages that open a channel (RFC 8832 §5), byte by byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.datachannel.establishment import ACK_MESSAGE, OpenMessage

# The layout of RFC 8832 §5.1: type, channel type, priority, reliability parameter, two lengths, label, protocol.
WRITTEN_OUT = [
    (
        bytes.fromhex("03 00 0100 00000000 0004 0000") + b"chat",
        {"label": "chat"},
    ),
    (
        bytes.fromhex("03 80 0200 00000000 0000 0003") + b"sip",
        {"label": "", "protocol": "sip", "ordered": False, "priority": 512},
    ),
    (
        bytes.fromhex("03 01 0080 00000003 0006 0000") + "世界".encode(),
        {"label": "世界", "max_retransmits": 3, "priority": 128},
    ),
    (
        bytes.fromhex("03 81 0400 00000000 0001 0001") + b"ab",
        {"label": "a", "protocol": "b", "ordered": False, "max_retransmits": 0, "priority": 1024},
    ),
    (
        bytes.fromhex("03 02 0100 000005dc 0001 0000") + b"x",
        {"label": "x", "max_packet_life_time": 1.5},
    ),
    (
        bytes.fromhex("03 82 0100 00000001 0001 0000") + b"x",
        {"label": "x", "ordered": False, "max_packet_life_time": 0.001},
    ),
]


def open_message(**fields: object) -> OpenMessage:
    absent = {"protocol": "", "ordered": True, "max_retransmits": None, "max_packet_life_time": None, "priority": 256}
    return OpenMessage(**{**absent, **fields})


@pytest.mark.parametrize(("data", "fields"), WRITTEN_OUT)
def test_an_open_message_is_read_and_written_as_the_rfc_lays_it_out(data, fields):
    assert OpenMessage.decode(data) == open_message(**fields)
    assert open_message(**fields).encode() == data


def test_an_acknowledgement_is_one_byte():
    assert ACK_MESSAGE == b"\x02"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"", "0 bytes"),
        (bytes.fromhex("03 00 0100 00000000 0004 00"), "11 bytes"),
        (bytes.fromhex("03 00 0100 00000000 0004 0000") + b"cha", "lengths"),
        (bytes.fromhex("03 00 0100 00000000 0004 0000") + b"chats", "lengths"),
        (bytes.fromhex("03 00 0100 00000000 0000 ffff") + b"chat", "lengths"),
        (bytes.fromhex("03 03 0100 00000000 0000 0000"), "channel type 0x3"),
        (bytes.fromhex("03 ff 0100 00000000 0000 0000"), "channel type 0xff"),
        (bytes.fromhex("03 00 0100 00000000 0001 0000") + b"\xff", "UTF-8"),
        (bytes.fromhex("03 00 0100 00000000 0000 0002") + b"\xc3\x28", "UTF-8"),
        (bytes.fromhex("03 00 0100 00000000 0001 0001") + "ä".encode(), "UTF-8"),
    ],
)
def test_what_is_malformed_is_told_so(data, complaint):
    with pytest.raises(MalformedPacketError, match=complaint):
        OpenMessage.decode(data)


RELIABILITY = st.one_of(
    st.just({}),
    st.builds(lambda count: {"max_retransmits": count}, st.integers(0, 2**32 - 1)),
    st.builds(lambda milliseconds: {"max_packet_life_time": milliseconds / 1000}, st.integers(0, 2**32 - 1)),
)
OPEN_MESSAGES = st.builds(
    lambda reliability, **fields: open_message(**fields, **reliability),
    reliability=RELIABILITY,
    label=st.text(max_size=100),
    protocol=st.text(max_size=100),
    ordered=st.booleans(),
    priority=st.integers(0, 65_535),
)


@given(OPEN_MESSAGES)
def test_what_is_written_is_read_back(message):
    assert OpenMessage.decode(message.encode()) == message


@given(st.binary(max_size=64))
def test_arbitrary_bytes_are_read_or_told_to_be_malformed(data):
    _read(data)


@given(OPEN_MESSAGES, st.data())
def test_mutated_messages_are_read_or_told_to_be_malformed(message, data):
    mutated = bytearray(message.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    _read(bytes(mutated[: data.draw(st.integers(0, len(mutated)))]))


def _read(data: bytes) -> None:
    try:
        message = OpenMessage.decode(data)
    except MalformedPacketError:
        return
    assert OpenMessage.decode(message.encode()) == message
