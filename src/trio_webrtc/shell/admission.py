"""Finds the peer that an accepted TCP connection is from (RFC 6544 §6.3).

Until its first frame, a check that proves to know somebody's password, it belongs to the loop that accepted it, with a
deadline; from then on to that peer's path, with which it ends.
"""

import logging
from typing import Final

import trio

from trio_webrtc.core.contract import Received
from trio_webrtc.core.stun.peeking import is_binding_request, username_of
from trio_webrtc.shell.accepting import Guest, RefusedError
from trio_webrtc.shell.framing import HEADER_LENGTH, Deframer
from trio_webrtc.shell.listening import TcpPlace
from trio_webrtc.shell.network import TcpSocket
from trio_webrtc.shell.reporting import Reporter
from trio_webrtc.shell.switchboard import Seat, Stranger, Switchboard
from trio_webrtc.shell.tcp import TcpConnection

_logger: Final = logging.getLogger(__name__)

MAX_FIRST_FRAME: Final = 1500
"""Bytes. Checks have a few hundred at most."""


class _Admitted(TcpConnection):
    """A connection that the reception still counts."""

    def __init__(self, socket: TcpSocket, guest: Guest, reporter: Reporter, *, unread: bytes) -> None:
        super().__init__(socket, unread=unread)
        self._guest = guest
        self._reporter = reporter

    def close(self) -> None:
        if self.loss is not None and not self._is_closed:
            host, port = self.remote_address
            self._reporter.report("lost", logging.INFO, f"the connection of {host} port {port} was lost: {self.loss}")
        super().close()
        self._guest.leave()


class Admission:
    """Shows accepted connections to their peers' paths."""

    def __init__(self, switchboard: Switchboard, *, max_connections_per_peer: int) -> None:
        self._switchboard = switchboard
        self._max_connections_per_peer = max_connections_per_peer
        self._reporter = Reporter(_logger, "ICE-TCP")

    @trio.lowlevel.enable_ki_protection
    async def attend(self, place: TcpPlace, socket: TcpSocket, guest: Guest) -> None:
        """Read the first check, and hand the connection over; or raise RefusedError.

        The caller sets a deadline, and frees the socket unless it was handed over.
        """
        try:
            read, frame = await _read_first_frame(socket)
        except OSError as error:  # whatever it is, it is no fault of this program's
            raise trio.BrokenResourceError(str(error)) from error
        via = place.via(socket.local_address[0])
        check = Received(via, socket.remote_address, frame)
        seat = await self._find(check)
        if not seat.authenticates(frame):
            raise RefusedError("wrong password")
        if seat.path.connections >= self._max_connections_per_peer and not seat.path.give_up_a_connection():
            raise RefusedError("too many of one peer")
        guest.hand_over()
        connection = _Admitted(socket, guest, self._reporter, unread=read)
        seat.path.adopt(connection)  # closes it, if the path is at its end
        seat.path.tell(seat.core.add_connection, connection, via, socket.remote_address, trio.current_time())

    async def _find(self, check: Received) -> Seat:
        username = username_of(check.data) if is_binding_request(check.data) else None
        if username is None:
            raise RefusedError("not a check", "its first frame is something else")
        if self._switchboard.seat_of(username[0]) is None:
            self._switchboard.announce(Stranger(*username, check))
        return await self._switchboard.wait_for(username[0])


async def _read_first_frame(socket: TcpSocket) -> tuple[bytes, bytes]:
    """All that was read until the first frame was whole, and that frame. What comes behind it stays with the system."""
    read = b""
    while True:
        if (arrived := socket.receive(MAX_FIRST_FRAME + HEADER_LENGTH - len(read))) is not None:
            if not arrived:
                raise RefusedError("ended", "it said nothing, or not enough")
            read += arrived
            if frames := Deframer().feed(read):
                return read, frames[0]
            if len(read) == MAX_FIRST_FRAME + HEADER_LENGTH:
                raise RefusedError("not a check", "its first frame is too long for one")
        await socket.wait_readable()
