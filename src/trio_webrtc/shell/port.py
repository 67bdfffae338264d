"""One socket: its one reader, and whoever waits for room in it.

A port knows nothing of protocols. What it reads it hands to its receiver as one batch: a path, or, where many peers
share the port, whoever tells them apart.
"""

import errno
import logging
from collections.abc import Sequence
from typing import Final, Protocol
from weakref import WeakValueDictionary

import trio

from trio_webrtc.core.contract import Address, Received, Transmit, Via
from trio_webrtc.shell.network import UdpSocket
from trio_webrtc.shell.reporting import Reporter
from trio_webrtc.shell.unwrapping import UnwrappingNursery
from trio_webrtc.shell.waiting_line import Sender, WaitingLine

_logger: Final = logging.getLogger(__name__)

MAX_FRUITLESS_READS: Final = 100
"""How often in a row a readable socket may have nothing to read, before each time costs a pause: some error stays."""

FRUITLESS_PAUSE: Final = 0.05
"""Seconds."""

_GONE: Final = frozenset((errno.EBADF, errno.ENOTSOCK))
"""Errors of a send which say that there is no socket any more."""


class Receiver(Protocol):
    """Takes what a port reads. It guards itself: nothing that goes wrong in a peer's core may come out of it."""

    def receive(self, batch: Sequence[Received]) -> None:
        """Take one batch. Never waits."""

    def retire(self, via: Via) -> None:
        """Learn that nothing will come or go by `via` any more."""


class UdpVia:
    """One way out of this host: a UDP port and, where it is bound to a wildcard, one of its local addresses."""

    __slots__ = ("__weakref__", "_from_host", "port")

    def __init__(self, port: "Port", from_host: str | None) -> None:
        self.port = port
        self._from_host = from_host

    def __repr__(self) -> str:
        host, number = self.port.local_address
        return f"<UdpVia {self._from_host or host} port {number}>"

    @property
    def local_address(self) -> Address:
        """The address that the peer sees, if nobody translates it on the way."""
        host, number = self.port.local_address
        return self._from_host or host, number

    def send(self, run: Transmit) -> int:
        """Send a run; say how many bytes of it were taken. Raises OSError like `UdpSocket.send`."""
        try:
            return self.port.socket.send(run.to, run.data, run.segment_size, self._from_host)
        except OSError as error:
            self.port.note_failure(run.to, error)
            raise

    def queue_for_room(self, sender: Sender) -> None:
        """Have `sender.use_room()` called when there is room and it is its turn."""
        self.port.line.join(sender)

    def leave_queue(self, sender: Sender) -> None:
        """Undo `queue_for_room`; harmless if there is nothing to undo."""
        self.port.line.leave(sender)

    async def wait_for_room(self) -> None:
        """Wait until there is room to send. Any number of tasks may. Cancelling it changes nothing."""
        await self.port.wait_for_room()


class Port:
    """Owns one bound socket from its making until `close()`."""

    def __init__(self, socket: UdpSocket, receiver: Receiver) -> None:
        self.socket = socket
        self.local_address = socket.local_address
        self._receiver: Receiver | None = receiver
        self._vias: WeakValueDictionary[str | None, UdpVia] = WeakValueDictionary()
        """Those that somebody uses: strangers choose by which they come, and whole prefixes may lead here."""
        self.line = WaitingLine()
        """Who waits for room."""
        self._writability = trio.Lock()
        self._loss: OSError | None = None
        self._until_loss = trio.CancelScope()
        host, number = self.local_address
        self._reporter = Reporter(_logger, f"UDP at {host} port {number}")

    def via(self, from_host: str | None = None) -> UdpVia:
        """The way out by this port; by one of its local addresses, if it is bound to a wildcard."""
        via = self._vias.get(from_host)
        if via is None:
            via = self._vias[from_host] = UdpVia(self, from_host)
        return via

    @trio.lowlevel.enable_ki_protection
    async def serve(self) -> None:
        """Read, and let those write who wait for room. Ends when the socket is closed or lost."""
        async with UnwrappingNursery() as nursery:
            try:
                with self.line.served(nursery, self.wait_for_room), self._until_loss:
                    await self._read()
            except trio.ClosedResourceError:
                pass  # by `close()`
            except OSError as error:
                self._note_loss(error)
            nursery.cancel_scope.cancel()
        if self._loss is not None:
            self._retire(self._loss)

    async def _read(self) -> None:
        socket = self.socket
        fruitless = 0
        while True:
            await socket.wait_readable()
            if self._receiver is None:
                raise trio.ClosedResourceError  # closed in the turn in which we were woken
            arrivals = socket.receive()
            if not arrivals:
                fruitless += 1
                if fruitless > MAX_FRUITLESS_READS:
                    await trio.sleep(FRUITLESS_PAUSE)
            else:
                fruitless = 0
                vias = self._vias
                self._receiver.receive(
                    [
                        Received(vias.get(host) or self.via(host), from_, data, segment_size)
                        for host, from_, data, segment_size in arrivals
                    ]
                )

    def note_failure(self, to: Address, error: OSError) -> None:
        """Learn that something could not be sent. If the socket is lost, its reader will find that out as well.

        A device that is gone (ENODEV) may be one of several by which a wildcard is reached, and no loss to the others.
        """
        if error.errno in _GONE:
            self._note_loss(error)
        else:
            host, number = to
            kind = errno.errorcode.get(error.errno or 0, "")
            self._reporter.report(kind, logging.INFO, f"could not send to {host} port {number}: {error.strerror}")

    def _note_loss(self, error: OSError) -> None:
        if self._loss is None:
            self._loss = OSError(error.errno, error.strerror)  # without the traceback, which leads back here
            self._until_loss.cancel()

    def _retire(self, loss: OSError) -> None:
        self._reporter.report("lost", logging.WARNING, f"the socket is lost: {loss}")
        for via in list(self._vias.values()):
            if self._receiver is not None:
                self._receiver.retire(via)

    async def wait_for_room(self) -> None:
        """Wait until there is room to send. Raises ClosedResourceError when there never will be.

        Any number of tasks may. Cancelling it changes nothing.
        """
        try:
            async with self._writability:  # the kernel lets one task at a time wait for a socket
                await self.socket.wait_writable()
        except OSError as error:
            self._note_loss(error)
            raise trio.ClosedResourceError("this socket is lost") from error

    def close(self) -> None:
        """Free the socket. Harmless when it is freed already."""
        self._receiver = None
        self.line.dismiss()
        self.socket.close()
