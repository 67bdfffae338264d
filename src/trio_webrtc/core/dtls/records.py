"""DTLS records from outside (RFC 6347 §4.1): where each begins and ends, and how they share datagrams.

Nothing here decrypts anything. A record is kept as its bytes, header included.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from trio_webrtc.core.contract import MAX_RUN_BYTES, MAX_RUN_SEGMENTS, MalformedPacketError
from trio_webrtc.errors import UsageError

HEADER_LENGTH: Final = 13
"""Type (1), version (2), epoch (2), sequence number (6), length (2)."""

CHANGE_CIPHER_SPEC: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23

UNPROTECTED_EPOCH: Final = b"\x00\x00"
PROTECTED_EPOCH: Final = b"\x00\x01"
"""The only two epochs there are without renegotiation, as they stand in bytes 3 and 4."""

MAX_PLAINTEXT_LENGTH: Final = 1 << 14
"""RFC 5246 §6.2.1."""

MAX_RECORD_OVERHEAD: Final = HEADER_LENGTH + 8 + 16
"""Header, explicit nonce and tag of AES-GCM, the widest of the cipher suites in use (RFC 5288 §3)."""

MAX_JOINED_LENGTH: Final = HEADER_LENGTH + MAX_PLAINTEXT_LENGTH + 256
"""How much OpenSSL's read buffer is sure to hold: a record of full length, with room for its protection.

OpenSSL fills it once from its BIO; a record that is cut off there is lost without a word.
"""


def split_records(datagram: bytes) -> Sequence[bytes]:
    """Cut a datagram into its records. RFC 6347 §4.1.1: they may share a datagram, and never span two.

    Raises:
        MalformedPacketError: a record header lies about its length. OpenSSL would drop all that is joined behind it.
    """
    size = len(datagram)
    if size > HEADER_LENGTH and size == HEADER_LENGTH + (datagram[11] << 8 | datagram[12]) <= MAX_JOINED_LENGTH:
        return (datagram,)
    records = []
    start = 0
    while start < size:
        if size - start <= HEADER_LENGTH:
            raise MalformedPacketError(f"{size - start} bytes where a record should be")
        end = start + HEADER_LENGTH + (datagram[start + 11] << 8 | datagram[start + 12])
        if end > size or end - start > MAX_JOINED_LENGTH:
            raise MalformedPacketError(f"a record of {end - start} bytes in a datagram of {size}")
        records.append(datagram[start:end])
        start = end
    return records


def epoch_of(record: bytes) -> bytes:
    """The epoch of a record: which keys protect it."""
    return record[3:5]


def is_handshake(record: bytes) -> bool:
    """Whether a record is part of a flight: a handshake message or ChangeCipherSpec."""
    return record[0] in (HANDSHAKE, CHANGE_CIPHER_SPEC)


def is_payload(record: bytes) -> bool:
    """Whether a record belongs behind the handshake: application data or an alert, protected."""
    return record[0] in (APPLICATION_DATA, ALERT) and epoch_of(record) == PROTECTED_EPOCH


def may_belong_to_handshake(record: bytes) -> bool:
    """Whether a record can be of use before the handshake is done.

    Unprotected application data would be taken for a violation that ends the handshake, and anybody could send it.
    """
    kind, epoch = record[0], epoch_of(record)
    return (kind in (HANDSHAKE, CHANGE_CIPHER_SPEC) and epoch in (UNPROTECTED_EPOCH, PROTECTED_EPOCH)) or (
        kind == ALERT and epoch == UNPROTECTED_EPOCH
    )


def pack(records: Iterable[bytes], mtu: int) -> Iterator[bytes]:
    """Fill datagrams of up to `mtu` bytes with whole records, in order."""
    datagram = b""
    for record in records:
        if datagram and len(datagram) + len(record) > mtu:
            yield datagram
            datagram = b""
        datagram += record
    if datagram:
        yield datagram


class Numbering:
    """Gives every unprotected record that leaves a sequence number of its own.

    A record sent again under its old number is swallowed by the peer's replay window (RFC 6347 §4.1.2.6) if the first
    one arrived, even when OpenSSL had to drop what was in it. Nothing authenticates the number in epoch 0, so that it
    can be changed here; a protected record goes as it is, for it can only have been taken by a peer that used it.
    """

    __slots__ = ("_next",)

    def __init__(self) -> None:
        self._next = 0

    def renumber(self, record: bytes) -> bytes:
        """`record` under the next number, if it is unprotected."""
        if epoch_of(record) != UNPROTECTED_EPOCH:
            return record
        number = self._next
        self._next += 1
        return record[:5] + number.to_bytes(6, "big") + record[11:]


def runs_of(packets: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Group packets into runs that can leave in one call: equal sizes, the last may be shorter, none is empty.

    Raises:
        UsageError: a packet is larger than a record can be.
    """
    run: list[bytes] = []
    segment_size = room = 0
    for packet in packets:
        size = len(packet)
        if run and (size > segment_size or len(run[-1]) < segment_size or len(run) == room):
            yield run
            run = []
        if not run:
            if size > MAX_PLAINTEXT_LENGTH:
                raise UsageError(f"a packet of {size} bytes does not fit into one DTLS record")
            segment_size = size
            room = min(MAX_RUN_SEGMENTS, max(1, MAX_RUN_BYTES // (size + MAX_RECORD_OVERHEAD)))
        if size:
            run.append(packet)
    if run:
        yield run
