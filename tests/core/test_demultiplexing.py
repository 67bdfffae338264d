"""RFC 7983 §7, figure 3: the first byte of a datagram says whose it is."""

import pytest

from trio_webrtc.core.demultiplexing import BY_FIRST_BYTE, Protocol, protocol_of

RANGES = [
    (0, 3, Protocol.STUN),
    (4, 19, Protocol.UNKNOWN),  # 16 to 19 are ZRTP's
    (20, 63, Protocol.DTLS),
    (64, 79, Protocol.TURN_CHANNEL),
    (80, 127, Protocol.UNKNOWN),
    (128, 191, Protocol.RTP),
    (192, 255, Protocol.UNKNOWN),
]


@pytest.mark.parametrize(("first", "last", "protocol"), RANGES)
def test_first_bytes_belong_to_the_protocols_of_the_rfc(first, last, protocol):
    for byte in range(first, last + 1):
        assert protocol_of(bytes([byte, 0xFF])) is protocol


def test_the_ranges_leave_no_byte_out():
    assert [byte for first, last, _ in RANGES for byte in range(first, last + 1)] == list(range(256))
    assert len(BY_FIRST_BYTE) == 256


def test_an_empty_datagram_is_of_no_protocol():
    assert protocol_of(b"") is Protocol.UNKNOWN
