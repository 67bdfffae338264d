"""One association of usrsctp's, through its socket: commands go in, messages and notices come out."""

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple, TypeAlias

from . import bindings as c
from .stack import TICK, Stack

READ_SIZE: Final = 300_000


class Received(NamedTuple):
    """A whole message."""

    stream_id: int
    ppid: int
    data: bytes
    unordered: bool


class Change(Enum):
    """What became of the association (RFC 6458 §6.1.1)."""

    UP = 1
    LOST = 2
    RESTARTED = 3
    SHUT_DOWN = 4
    CANNOT_START = 5


@dataclass(frozen=True)
class StreamsReset:
    """Streams start afresh, or may not (RFC 6525 §6.1.1)."""

    incoming: bool
    refused: bool
    stream_ids: tuple[int, ...]


class ShuttingDown:
    """The peer has sent SHUTDOWN."""


Notice: TypeAlias = Change | StreamsReset | type[ShuttingDown]


class Endpoint:
    """As libwebrtc and libdatachannel used it: one-to-one sockets over AF_CONN, notifications on, Nagle off."""

    def __init__(
        self,
        stack: Stack,
        *,
        port: int = 5000,
        peer_port: int = 5000,
        streams: int = 1024,
        receive_buffer: int = 1_048_576,
        send_buffer: int = 1_048_576,
        path_mtu: int = 1200,
        rto_min: float = 0.4,
    ) -> None:
        self.inbox: list[Received] = []
        self.notices: list[Notice] = []
        self._stack, self._c = stack, stack.library
        self._address = stack.open_address()
        self._here = c.SockaddrConn(c.AF_CONN, socket.htons(port), self._address)
        self._there = c.SockaddrConn(c.AF_CONN, socket.htons(peer_port), self._address)
        self._streams, self._path_mtu, self._rto_min = streams, path_mtu, rto_min
        self._receive_buffer, self._send_buffer = receive_buffer, send_buffer
        self._listening: int | None = None
        self._buffer = ctypes.create_string_buffer(READ_SIZE)
        self._partial = bytearray()
        self._socket: int | None = None
        self._open_socket()

    # -- its life ------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Begin an association."""
        result = self._c.usrsctp_connect(self._socket, self._there, ctypes.sizeof(self._there))
        if result and ctypes.get_errno() != errno.EINPROGRESS:
            raise self._error()

    def listen(self) -> None:
        """Wait for the peer to begin one."""
        self._check(self._c.usrsctp_listen(self._socket, 1))
        self._listening, self._socket = self._socket, None

    def shutdown(self) -> None:
        """End gracefully."""
        self._check(self._c.usrsctp_shutdown(self._socket, socket.SHUT_WR))

    def abort(self) -> None:
        """End at once: RFC 6458 §4.1.4 makes this of closing a socket that does not linger."""
        if self._socket is not None:
            self._c.usrsctp_close(self._socket)
            self._socket = None

    def begin_anew(self) -> None:
        """Be as after a crash: the association is forgotten, and the peer is not told."""
        self._close_sockets()
        self._stack.packets(self._address).clear()
        self._open_socket()

    def close(self) -> None:
        """Give everything back."""
        self._close_sockets()
        self._stack.close_address(self._address)

    # -- commands ------------------------------------------------------------------------------------------------

    def send(
        self,
        stream_id: int,
        data: bytes,
        *,
        ppid: int = 51,
        unordered: bool = False,
        max_retransmits: int | None = None,
        lifetime: float | None = None,
        ends: bool = True,
    ) -> bool:
        """Send a message, or a part of it where ends are explicit; False if there is no room for it now."""
        how = c.SendParameters(valid=c.SEND_SNDINFO_VALID, stream_id=stream_id, ppid=socket.htonl(ppid))
        how.flags = (c.SND_UNORDERED if unordered else 0) | (c.SND_EOR if ends else 0)
        if max_retransmits is not None:
            how.valid |= c.SEND_PRINFO_VALID
            how.policy, how.policy_value = c.PR_RETRANSMITS, max_retransmits
        elif lifetime is not None:
            how.valid |= c.SEND_PRINFO_VALID
            how.policy, how.policy_value = c.PR_LIFETIME, int(lifetime * 1000)
        sent = self._c.usrsctp_sendv(
            self._socket, data, len(data), None, 0, ctypes.byref(how), ctypes.sizeof(how), c.SENDV_SPA, 0
        )
        if sent < 0 and ctypes.get_errno() == errno.EWOULDBLOCK:
            return False
        if sent != len(data):
            raise self._error()
        return True

    def set_explicit_ends(self) -> None:
        """From now on, `send` takes messages in parts."""
        self._set(c.EXPLICIT_EOR, ctypes.c_int(1))

    def reset_streams(self, *stream_ids: int, incoming: bool = False) -> None:
        """Start streams afresh; `incoming` asks the peer to do it with its own. No number means all."""
        direction = c.RESET_INCOMING if incoming else c.RESET_OUTGOING
        request = struct.pack(f"=IHH{len(stream_ids)}H", 0, direction, len(stream_ids), *stream_ids)
        self._set(c.RESET_STREAMS, ctypes.create_string_buffer(request, len(request)))

    # -- what a pair of cores wants of it ------------------------------------------------------------------------

    def receive(self, batch: Sequence[bytes], now: float) -> None:
        self._stack.advance(now)
        for packet in batch:
            self._c.usrsctp_conninput(self._address, packet, len(packet), 0)

    def take_transmits(self, now: float) -> list[bytes]:
        self._stack.advance(now)
        packets = self._stack.packets(self._address)
        return [packets.popleft() for _ in range(len(packets))]

    def handle_timeout(self, now: float) -> None:
        self._stack.advance(now)

    def next_timeout(self) -> float:
        return self._stack.now + TICK

    # -- what comes out ------------------------------------------------------------------------------------------

    def read(self, limit: int | None = None) -> None:
        """Take messages into `inbox`, and notices into `notices`: all there are, or so many reads."""
        if self._socket is None:
            accepted = None if self._listening is None else self._c.usrsctp_accept(self._listening, None, None)
            if not accepted:
                return
            self._socket = accepted
            self._check(self._c.usrsctp_set_non_blocking(accepted, 1))
        while limit is None or limit > 0:
            if not self._read_once():
                break
            limit = None if limit is None else limit - 1

    def _read_once(self) -> bool:
        info, flags = c.ReceiveInfo(), ctypes.c_int()
        sender, sender_size = c.SockaddrConn(), ctypes.c_uint32(ctypes.sizeof(c.SockaddrConn))
        info_size, info_type = ctypes.c_uint32(ctypes.sizeof(info)), ctypes.c_uint()
        size = self._c.usrsctp_recvv(
            self._socket,
            self._buffer,
            READ_SIZE,
            sender,
            sender_size,
            ctypes.byref(info),
            info_size,
            info_type,
            flags,
        )
        if size <= 0:
            return False
        data = self._buffer[:size]
        if flags.value & c.MSG_NOTIFICATION:
            self._take_notification(data)
            return True
        self._partial += data
        if flags.value & socket.MSG_EOR:
            unordered = bool(info.flags & c.SND_UNORDERED)
            self.inbox.append(Received(info.stream_id, socket.ntohl(info.ppid), bytes(self._partial), unordered))
            self._partial.clear()
        return True

    def _take_notification(self, data: bytes) -> None:
        (type_,) = struct.unpack_from("=H", data)
        if type_ == c.ASSOCIATION_CHANGE:
            self.notices.append(Change(c.AssociationChange.from_buffer_copy(data).state))
        elif type_ == c.SHUTDOWN_EVENT:
            self.notices.append(ShuttingDown)
        elif type_ == c.STREAM_RESET_EVENT:
            event = c.StreamResetEvent.from_buffer_copy(data)
            listed = data[ctypes.sizeof(event) : event.length]
            stream_ids = struct.unpack(f"={len(listed) // 2}H", listed)
            self.notices.append(StreamsReset(bool(event.flags & 1), bool(event.flags & 0xC), stream_ids))

    # -- its socket ----------------------------------------------------------------------------------------------

    def _open_socket(self) -> None:
        library = self._c
        opened = library.usrsctp_socket(c.AF_CONN, socket.SOCK_STREAM, c.IPPROTO_SCTP, None, None, 0, None)
        if not opened:
            raise self._error()
        self._socket = opened
        self._check(library.usrsctp_set_non_blocking(opened, 1))
        self._set(socket.SO_LINGER, c.Linger(1, 0), socket.SOL_SOCKET)
        self._set(socket.SO_RCVBUF, ctypes.c_int(self._receive_buffer), socket.SOL_SOCKET)
        self._set(socket.SO_SNDBUF, ctypes.c_int(self._send_buffer), socket.SOL_SOCKET)
        self._set(c.NODELAY, ctypes.c_int(1))
        self._set(c.RECVRCVINFO, ctypes.c_int(1))
        self._set(c.FRAGMENT_INTERLEAVE, ctypes.c_int(0))
        self._set(c.ENABLE_STREAM_RESET, c.AssociationValue(0, c.ENABLE_RESET_STREAM_REQUESTS))
        self._set(c.INITMSG, c.InitMsg(self._streams, self._streams))
        self._set(c.RTOINFO, c.RtoInfo(0, 1000, 10_000, int(self._rto_min * 1000)))
        self._set(c.PEER_ADDR_PARAMS, c.PeerAddressParameters(path_mtu=self._path_mtu, flags=c.PMTUD_DISABLE))
        for event in (c.ASSOCIATION_CHANGE, c.SHUTDOWN_EVENT, c.STREAM_RESET_EVENT):
            self._set(c.EVENT, c.EventSubscription(0, event, 1))
        self._check(library.usrsctp_bind(opened, self._here, ctypes.sizeof(self._here)))

    def _close_sockets(self) -> None:
        self.abort()
        if self._listening is not None:
            self._c.usrsctp_close(self._listening)
            self._listening = None

    def _set(
        self,
        option: int,
        value: ctypes._SimpleCData | ctypes.Structure | ctypes.Array,
        level: int = c.IPPROTO_SCTP,
    ) -> None:
        size = ctypes.sizeof(value)
        self._check(self._c.usrsctp_setsockopt(self._socket, level, option, ctypes.byref(value), size))

    def _check(self, result: int) -> None:
        if result:
            raise self._error()

    @staticmethod
    def _error() -> OSError:
        number = ctypes.get_errno()
        return OSError(number, os.strerror(number))
