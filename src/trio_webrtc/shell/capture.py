"""Writes down what a connection said, for whoever looks for a fault: decrypted packets, and the keys of the others.

The SCTP packets go to a pcapng file as they were before encryption and after decryption; the keys go to a text file in
the NSS key log format, with which Wireshark opens a capture of the encrypted datagrams. Both are secrets.
"""

import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Final

import trio

from trio_webrtc.core.peer import Direction

# draft-ietf-opsawg-pcapng §4: block types, the byte-order magic, and the link type for packets that begin with the
# SCTP common header.
_SECTION_HEADER: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_PACKET: Final = 6
_BYTE_ORDER: Final = 0x1A2B3C4D
_LINKTYPE_SCTP: Final = 248
_UNKNOWN_LENGTH: Final = 0xFFFF_FFFF_FFFF_FFFF
_OPTION_FLAGS: Final = 2
_FLAGS: Final = {Direction.IN: 1, Direction.OUT: 2}


class Capture:
    """Two files: `NAME.pcapng` with the decrypted packets, `NAME.keys` with the secrets of the DTLS sessions."""

    def __init__(self, packets: BinaryIO, keys: BinaryIO) -> None:
        self._packets = packets
        self._keys = keys
        # Trio's clock begins anywhere; Wireshark shows the time of day.
        self._epoch = time.time() - trio.current_time()
        packets.write(_block(_SECTION_HEADER, struct.pack("<IHHQ", _BYTE_ORDER, 1, 0, _UNKNOWN_LENGTH)))
        packets.write(_block(_INTERFACE, struct.pack("<HHI", _LINKTYPE_SCTP, 0, 0)))

    def write_packet(self, direction: Direction, packet: bytes, now: float) -> None:
        """Add a packet in an Enhanced Packet Block, with a flag that tells its direction."""
        moment = int((self._epoch + now) * 1e6)
        head = struct.pack("<IIIII", 0, moment >> 32, moment & 0xFFFF_FFFF, len(packet), len(packet))
        flags = struct.pack("<HHIHH", _OPTION_FLAGS, 4, _FLAGS[direction], 0, 0)
        self._packets.write(_block(_PACKET, head + _padded(packet) + flags))

    def write_secret(self, line: bytes) -> None:
        """Add a line of the key log."""
        self._keys.write(line + b"\n")


@contextmanager
def open_capture(folder: str | PathLike[str]) -> Iterator[Capture]:
    """Make the two files in a folder, under a name that is free. Raises OSError."""
    number = 1
    while True:
        name = Path(folder) / f"connection-{number}"
        try:
            packets = name.with_suffix(".pcapng").open("xb")
        except FileExistsError:
            number += 1
            continue
        with packets, name.with_suffix(".keys").open("wb") as keys:
            yield Capture(packets, keys)
        return


def _block(type_: int, body: bytes) -> bytes:
    length = 12 + len(body)
    return struct.pack("<II", type_, length) + body + struct.pack("<I", length)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
