"""Datagrams over a stream: each has its length before it, in two bytes (RFC 4571 §2)."""

from typing import Final

from trio_webrtc.core.contract import split_run

MAX_DATAGRAM: Final = 65_535
"""The largest datagram whose length can be told."""

HEADER_LENGTH: Final = 2
"""Bytes that stand before each datagram."""


def frame(datagram: bytes) -> bytes:
    """A datagram as it stands in a stream. Raises OverflowError if it is larger than `MAX_DATAGRAM`."""
    return len(datagram).to_bytes(HEADER_LENGTH, "big") + datagram


def frame_run(data: bytes, segment_size: int | None) -> bytes:
    """The datagrams of a run as they stand in a stream. Raises OverflowError like `frame`."""
    if segment_size is None or len(data) <= segment_size:
        return frame(data)
    return b"".join([frame(datagram) for datagram in split_run(data, segment_size)])


class Deframer:
    """Cuts a stream into its datagrams. Between two calls it holds less than one frame."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take what comes next in the stream; give the datagrams that it completes, without the empty ones."""
        if self._rest:
            data = self._rest + data
        datagrams = []
        frame_at, end = 0, len(data)
        while frame_at + HEADER_LENGTH <= end:
            at = frame_at + HEADER_LENGTH
            next_at = at + (data[frame_at] << 8 | data[frame_at + 1])
            if next_at > end:
                break
            if next_at > at:  # there are null packets (RFC 4571 §2), which say nothing
                datagrams.append(data[at:next_at])
            frame_at = next_at
        self._rest = data[frame_at:]
        return datagrams
