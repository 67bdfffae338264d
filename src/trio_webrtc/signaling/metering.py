"""How many WebSocket frames a client may send that bring the application next to nothing.

Every ping has to be answered with a pong (RFC 6455 §5.5.2), which costs the server a hundred times what it costs the
client; and small fragments fill trio-websocket's list of fragments, which is bounded by content only: each costs the
server some 90 bytes, and as much time as a large one. Messages need no such limit: who does not receive them stops the
sender.
"""

from typing import Final

import trio

MAX_IDLE_FRAMES_AT_ONCE: Final = 100
"""How many may come one right after the other."""

IDLE_FRAMES_PER_SECOND: Final = 10
"""How many may come for as long as one likes. Who keeps a connection alive sends one every now and then."""

MIN_FRAGMENT_SIZE: Final = 128
"""Bytes in a fragment that is not its message's last; one with less brings next to nothing."""


class FrameMeter:
    """Counts, in the bytes that a client sends, the frames that bring the application next to nothing.

    It knows no more of frames than where they begin (RFC 6455 §5.2); what is wrong with them is for others to say.
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._left_of_payload = 0

    def feed(self, data: bytes | bytearray) -> int:
        """How many such frames have their header's last byte in these bytes, which follow those of the last call."""
        count, position = 0, 0
        while position < len(data):
            if self._left_of_payload:
                skipped = min(self._left_of_payload, len(data) - position)
                self._left_of_payload -= skipped
                position += skipped
                continue
            self._header.append(data[position])
            position += 1
            if len(self._header) == self._header_size():
                self._left_of_payload = self._payload_size()
                count += self._is_idle()
                self._header.clear()
        return count

    def _header_size(self) -> int:
        if len(self._header) < 2:
            return 2
        is_masked, length = self._header[1] & 0x80, self._header[1] & 0x7F
        return 2 + {126: 2, 127: 8}.get(length, 0) + (4 if is_masked else 0)

    def _payload_size(self) -> int:
        length = self._header[1] & 0x7F
        match length:
            case 126:
                return int.from_bytes(self._header[2:4], "big")
            case 127:
                return int.from_bytes(self._header[2:10], "big")
            case _:
                return length

    def _is_idle(self) -> bool:
        is_control = self._header[0] & 0x08
        is_last_fragment = self._header[0] & 0x80
        return bool(is_control or not (is_last_fragment or self._left_of_payload >= MIN_FRAGMENT_SIZE))


class ClientStream(trio.abc.Stream):
    """What trio-websocket reads of a client, and writes to it: first the head of a request that is here already.

    When the client has sent too many frames that bring next to nothing, `flooded` is set, and what it sends from then
    on is thrown away until somebody closes the stream.
    """

    def __init__(self, stream: trio.abc.Stream, *, head: bytes) -> None:
        self.flooded = trio.Event()
        self._stream = stream
        self._head = head
        self._meter = FrameMeter()
        self._allowance = float(MAX_IDLE_FRAMES_AT_ONCE)
        self._allowance_as_of = trio.current_time()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        """What comes next; b"" at the end. If cancelled, nothing is lost."""
        if self._head:
            await trio.lowlevel.checkpoint()
            head, self._head = self._head, b""
            return head
        data = await self._stream.receive_some(max_bytes)
        if not self._allows(self._meter.feed(data)):
            self.flooded.set()
            while data:
                data = await self._stream.receive_some(max_bytes)
        return data

    def _allows(self, idle_frames: int) -> bool:
        now = trio.current_time()
        gained = (now - self._allowance_as_of) * IDLE_FRAMES_PER_SECOND
        self._allowance = min(MAX_IDLE_FRAMES_AT_ONCE, self._allowance + gained) - idle_frames
        self._allowance_as_of = now
        return self._allowance >= 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send. If cancelled, some of it may have been sent."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until there is room to send. Cancelling it changes nothing."""
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        """Close the stream below. Harmless when it is closed already."""
        await self._stream.aclose()
