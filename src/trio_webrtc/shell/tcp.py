"""One TCP connection as a way for datagrams, each in a frame of its own (RFC 4571, RFC 6544).

A frame is sent whole or not at all, whatever is cancelled meanwhile: sending is synchronous, and of a frame that the
kernel took a part of, the rest stands first in line. So a peer that does not read costs a bounded amount of memory, and
a connection whose frames cannot all leave ends in a reset instead of a frame cut short.
"""

import errno
from collections.abc import Sequence
from typing import Final

import trio

from trio_webrtc.core.contract import Received, Transmit
from trio_webrtc.shell.framing import Deframer, frame_run
from trio_webrtc.shell.network import TcpSocket, os_error
from trio_webrtc.shell.port import Receiver
from trio_webrtc.shell.unwrapping import UnwrappingNursery
from trio_webrtc.shell.waiting_line import Sender, WaitingLine

MAX_UNSENT: Final = 64 * 1024
"""Bytes that were taken and that the kernel has no room for; with so many, nothing more is taken."""

MAX_BYTES_PER_BATCH: Final = 256 * 1024
"""Bytes read, before they are worked on."""

MAX_FRAMES_PER_BATCH: Final = 1024
"""Frames handed on, before others get their turn."""


class TcpConnection:
    """Owns one open connection until `close()`. It is the `via` of all that comes and goes by it.

    Args:
        socket: The connection.
        unread: What somebody else has read from it already, from its first byte on.
    """

    def __init__(self, socket: TcpSocket, *, unread: bytes = b"") -> None:
        self.local_address = socket.local_address
        self.remote_address = socket.remote_address
        self._socket = socket
        self._unread = unread
        self._deframer = Deframer()
        self._peer_has_ended = False
        self._unsent = bytearray()
        self._failure: OSError | None = None
        self.loss: OSError | None = None
        """Why it was lost, if it was, and not ended."""
        self._is_closed = False
        self._until_failure = trio.CancelScope()
        self._line = WaitingLine()
        self._writability = trio.Lock()

    def __repr__(self) -> str:
        (local_host, local_port), (host, port) = self.local_address, self.remote_address
        return f"<TcpConnection {local_host} port {local_port} to {host} port {port}>"

    # Reading.

    @trio.lowlevel.enable_ki_protection
    async def serve(self, receiver: Receiver) -> None:
        """Hand on what comes, and write what waits.

        When the peer has ended its sending, or the connection is lost, retires the connection and ends. Ends quietly
        when the connection is closed.
        """
        async with UnwrappingNursery() as nursery:
            try:
                with self._line.served(nursery, self._write_all):
                    await self._read(receiver)
            except trio.ClosedResourceError:
                pass  # by `close()`
            nursery.cancel_scope.cancel()
        if not self._is_closed:
            receiver.retire(self)

    async def _read(self, receiver: Receiver) -> None:
        unread, self._unread = self._unread, b""
        await self._hand_on(receiver, self._deframer.feed(unread))
        while not self._peer_has_ended:
            with trio.CancelScope() as self._until_failure:
                await self._wait_readable()
            await self._hand_on(receiver, self._receive_frames())

    async def _wait_readable(self) -> None:
        if self._failure is not None:  # though nothing can be sent, what the peer has said before is worth hearing
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._socket.wait_readable()
        except OSError as error:  # epoll_ctl(2) lacks memory, or may not watch one more descriptor
            self._lose(error)

    def _receive_frames(self) -> list[bytes]:
        """Take what has arrived, as much of it as makes one batch."""
        frames: list[bytes] = []
        room = MAX_BYTES_PER_BATCH
        while room > 0 and len(frames) < MAX_FRAMES_PER_BATCH:
            try:
                data = self._socket.receive()
            except OSError as error:
                self._note_loss(error)
                data = b""
            if data is None and self._failure is None:
                break
            if not data:
                self._peer_has_ended = True
                break
            frames += self._deframer.feed(data)
            room -= len(data)
        return frames

    async def _hand_on(self, receiver: Receiver, frames: Sequence[bytes]) -> None:
        for start in range(0, len(frames), MAX_FRAMES_PER_BATCH):
            if start:
                await trio.lowlevel.checkpoint()  # many small frames are much work: others first
            if not self._is_closed:
                batch = frames[start : start + MAX_FRAMES_PER_BATCH]
                receiver.receive([Received(self, self.remote_address, frame) for frame in batch])

    # Writing.

    def send(self, run: Transmit) -> int:
        """Take a run, or nothing of it if too much waits already; say how many of its bytes were taken.

        Raises OSError when the connection is lost, and (EMSGSIZE) for datagrams that no frame has room for.
        """
        self._check_not_lost()
        if len(self._unsent) >= MAX_UNSENT:
            return 0
        try:
            frames = frame_run(run.data, run.segment_size)
        except OverflowError:
            raise os_error(errno.EMSGSIZE) from None
        taken = 0 if self._unsent else self._give(frames)
        if taken < len(frames):
            self._unsent += frames[taken:]
            self._line.call_writer()
        return len(run.data)

    def _give(self, data: bytes | bytearray) -> int:
        """Give the kernel as much as it has room for. Raises OSError when the connection is lost."""
        try:
            return self._socket.send(data)
        except OSError as error:
            self._lose(error)
            raise

    def _lose(self, error: OSError) -> None:
        """Nothing can be sent any more: have the reader take what there still is, and end.

        What is unsent stays so, for `close()` to know: the peer may be there, and wait for the rest of a frame.
        """
        self._failure = self._note_loss(error)
        self._until_failure.cancel()

    def _check_not_lost(self) -> None:
        if self._failure is not None:
            raise OSError(self._failure.errno, self._failure.strerror)

    def _note_loss(self, error: OSError) -> OSError:
        if self.loss is None:
            self.loss = OSError(error.errno, error.strerror)  # without the traceback, which leads back here
        return self.loss

    async def _write_until(self, at_most: int) -> None:
        """Have frames leave until no more bytes than these wait. Raises OSError when the connection is lost."""
        async with self._writability:  # the kernel lets one task at a time wait for a socket
            while len(self._unsent) > at_most:
                self._check_not_lost()
                try:
                    await self._socket.wait_writable()
                except OSError as error:  # as with reading
                    self._lose(error)
                    raise
                taken = self._give(self._unsent)
                del self._unsent[:taken]

    async def _write_all(self) -> None:
        await self._write_until(0)

    async def wait_for_room(self) -> None:
        """Wait until there is room to send. Raises ClosedResourceError when there never will be.

        Any number of tasks may. Cancelling it changes nothing.
        """
        try:
            await self._write_until(MAX_UNSENT - 1)
        except OSError as error:
            raise trio.ClosedResourceError("this connection is lost") from error
        if self._is_closed or self._failure is not None:
            raise trio.ClosedResourceError("this connection was closed or lost")

    def queue_for_room(self, sender: Sender) -> None:
        """Have `sender.use_room()` called when there is room and it is its turn."""
        self._line.join(sender)

    def leave_queue(self, sender: Sender) -> None:
        """Undo `queue_for_room`; harmless if there is nothing to undo."""
        self._line.leave(sender)

    # The end.

    @trio.lowlevel.enable_ki_protection
    async def finish(self) -> None:
        """Have all that was taken leave, tell the peer that this was all, and read on until it says the same.

        What comes meanwhile is thrown away: left unread, it would reset the connection when that is closed, and the
        peer would lose what it has not yet got (RFC 1122 §4.2.2.13). Waits as long as the peer likes; whoever calls it
        sets a deadline. If cancelled, `close()` does what can still be done. Not to be called while `serve` runs.
        """
        async with UnwrappingNursery() as nursery:
            nursery.start_soon(self._discard_input)  # at once: a peer that waits for room may not read before it has it
            try:
                await self._write_all()
                self._socket.end_sending()
            except (OSError, trio.ClosedResourceError):
                nursery.cancel_scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def _discard_input(self) -> None:
        try:
            while not self._peer_has_ended and self._failure is None:
                await self._wait_readable()
                self._receive_frames()
        except trio.ClosedResourceError:
            pass  # by `close()`

    def close(self) -> None:
        """Free the connection. With frames that could not leave, it is reset. Harmless when it is closed already."""
        self._is_closed = True
        self._line.dismiss()
        if self._unsent:
            self._unsent.clear()
            self._socket.reset()
        else:
            self._socket.close()
