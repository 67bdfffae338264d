"""TCP in a virtual network: bytes arrive in order, late where the network lost or cut, and take a bounded room.

What a link does not carry is offered to it again a while later. That is found out when somebody looks, for there are
no tasks here.
"""

import errno
import math
from collections import deque
from typing import TYPE_CHECKING, Final

import trio

from trio_webrtc.core.contract import Address
from trio_webrtc.shell.network import os_error
from trio_webrtc.testing.log import LogEntry, SocketClosed, StreamEnded, StreamReset, StreamSent
from trio_webrtc.testing.waiter import Waiter

if TYPE_CHECKING:
    from trio_webrtc.testing.virtual_network import Route, VirtualHost

STREAM_BUFFER: Final = 128 * 1024
"""Bytes that one end has sent and the other has not yet received; there is no room for more."""

READ_SIZE: Final = 64 * 1024
"""Bytes that one call receives at most."""

SEGMENT_SIZE: Final = 1200
"""Bytes that travel together."""

HEADERS_SIZE: Final = 60
"""Bytes of IPv6 (RFC 8200 §3) and TCP (RFC 9293 §3.1) that travel with them."""

RETRANSMISSION_TIMEOUT: Final = 0.2
"""Seconds, after which what was lost is sent again."""

CONNECT_RETRY: Final = 1.0
"""Seconds, after which a connection that nobody answered is asked for again (RFC 6298 §2)."""

CONNECT_TIMEOUT: Final = 120.0
"""Seconds, after which nobody will answer any more."""

BACKLOG: Final = 128
"""Connections of one listener that wait to be accepted; who comes then has to ask again."""


class VirtualTcpSocket:
    """One end of a TCP connection in a virtual network. See `TcpSocket`."""

    def __init__(
        self,
        host: "VirtualHost",
        local_address: Address,
        remote_address: Address,
        incoming: "_Stream",
        outgoing: "_Stream",
    ) -> None:
        self.local_address = local_address
        self.remote_address = remote_address
        self.peer: VirtualTcpSocket
        """The other end, told by whoever makes the two."""
        self.host = host
        self._incoming = incoming
        self._outgoing = outgoing
        self._closed = False
        self._has_ended = False
        self._reset_at = math.inf
        self._reader = Waiter()
        self._writer = Waiter()

    def send(self, data: bytes | bytearray | memoryview) -> int:
        """Send what there is room for. See `TcpSocket.send`."""
        now = trio.current_time()
        if self._closed:
            raise os_error(errno.EBADF)
        if self._lost_at() <= now:
            raise os_error(errno.ECONNRESET)
        if self._has_ended:
            raise os_error(errno.EPIPE)
        sent = bytes(data[: 0 if self.host.blocked else self._outgoing.room(now)])
        if sent:
            self._log(StreamSent(now, self.local_address, self.remote_address, sent))
            self._outgoing.put(sent, now)
            self._look_around()
            self.peer._look_around()
        return len(sent)

    def receive(self, at_most: int = READ_SIZE) -> bytes | None:
        """Take what has arrived. See `TcpSocket.receive`."""
        now = trio.current_time()
        if self._closed:
            raise os_error(errno.EBADF)
        data = self._incoming.take(now, at_most)
        if data:
            self.peer._look_around()
        elif self._lost_at() <= now:
            raise os_error(errno.ECONNRESET)
        return data

    def end_sending(self) -> None:
        """Tell the peer that nothing more comes. Harmless twice, or when lost."""
        now = trio.current_time()
        if not (self._closed or self._has_ended or self._lost_at() <= now):
            self._has_ended = True
            self._log(StreamEnded(now, self.local_address, self.remote_address))
            self._outgoing.put(None, now)
            self.peer._look_around()

    async def wait_readable(self) -> None:
        """Wait until `receive` has something to tell. Cancelling it changes nothing."""
        await self._reader.wait(self._next_arrival)

    def _next_arrival(self) -> float:
        self._check_open()
        return min(self._incoming.next_arrival(trio.current_time()), self._lost_at())

    async def wait_writable(self) -> None:
        """Wait until half of the room is free, or nothing to wait for. Cancelling it changes nothing."""
        await self._writer.wait(self._next_room)

    def _next_room(self) -> float:
        self._check_open()
        if self._has_ended:
            return -math.inf
        room_at = math.inf if self.host.blocked else self._outgoing.next_room()
        return min(room_at, self._lost_at())

    def _lost_at(self) -> float:
        """When it learns that there is no connection any more, as far as that can be foreseen."""
        if self.peer._closed:  # which says so to whoever sends it something
            arrival = self._outgoing.next_arrival_of_bytes(trio.current_time())
            return min(self._reset_at, arrival + self._outgoing.latency_back)
        return self._reset_at

    def look_for_room(self) -> None:
        """Have who waits for room look again."""
        self._writer.look_at(-math.inf)

    def _look_around(self) -> None:
        """Have who waits look again at what there is to wait for."""
        if not self._closed:
            self._reader.look_at(self._next_arrival())
            self._writer.look_at(self._next_room())

    def close(self) -> None:
        """Free the socket, and wake who waits for it. What was sent arrives, unless something was left unread."""
        if self._incoming.has_unread_bytes(trio.current_time()):
            self.reset()
        else:
            self.end_sending()
            self._free()

    def reset(self) -> None:
        """Free the socket, and let the peer know if the network carries it there."""
        now = trio.current_time()
        if not self._closed and self._lost_at() > now:
            self._log(StreamReset(now, self.local_address, self.remote_address))
            self.peer._reset_at = self._outgoing.abandon(now)
        self._free()

    def _free(self) -> None:
        if not self._closed:
            self._closed = True
            del self.host.connections[self]
            self._log(SocketClosed(trio.current_time(), self.local_address))
            self._reader.look_at(-math.inf)
            self._writer.look_at(-math.inf)
            self.peer._look_around()

    def _log(self, entry: LogEntry) -> None:
        self.host.network.log.append(entry)

    def _check_open(self) -> None:
        if self._closed:
            raise trio.ClosedResourceError("this socket was closed")


class _Stream:
    """What one end sends to the other."""

    def __init__(self, sender: "VirtualHost", receiver: "VirtualHost", from_: Address, to: Address) -> None:
        self._sender = sender
        self._receiver = receiver
        self._addresses = from_, to
        self._unsent: deque[bytes | None] = deque()
        self._next_try = -math.inf
        self._arrivals: deque[tuple[float, bytes | None]] = deque()
        self._last_arrival = -math.inf
        self._occupied = 0
        self._freed: deque[tuple[float, int]] = deque()

    @property
    def latency_back(self) -> float:
        """Seconds until the sender hears what has become of something that arrived."""
        return self._sender.network.link(self._receiver, self._sender).latency

    def put(self, data: bytes | None, now: float) -> None:
        """Send bytes; None is the end."""
        if not self._unsent:
            self._next_try = now
        if data is None:
            self._unsent.append(None)
        else:
            self._occupied += len(data)
            self._unsent.extend(data[at : at + SEGMENT_SIZE] for at in range(0, len(data), SEGMENT_SIZE))

    def _advance(self, now: float) -> None:
        """Do what was to be done until now."""
        while self._unsent and self._next_try <= now:
            segment = self._unsent[0]
            arrival = self._carry(len(segment or b""), self._next_try)
            if arrival is None:
                self._next_try += RETRANSMISSION_TIMEOUT
            else:
                self._arrivals.append((arrival, self._unsent.popleft()))
        while self._freed and self._freed[0][0] <= now:
            self._occupied -= self._freed.popleft()[1]

    def _carry(self, size: int, now: float) -> float | None:
        arrival = self._sender.network.carry_segment(
            self._sender, self._receiver, *self._addresses, size + HEADERS_SIZE, now
        )
        if arrival is not None:
            arrival = self._last_arrival = max(arrival, self._last_arrival)
        return arrival

    def next_arrival(self, now: float) -> float:
        """When to look what has arrived."""
        self._advance(now)
        if self._arrivals:
            return self._arrivals[0][0]
        return self._next_try if self._unsent else math.inf

    def next_arrival_of_bytes(self, now: float) -> float:
        """When to look whether bytes have arrived."""
        self._advance(now)
        for arrival, data in self._arrivals:
            if data is not None:
                return arrival
        return self._next_try if self._unsent and self._unsent[0] is not None else math.inf

    def has_unread_bytes(self, now: float) -> bool:
        """Whether bytes have arrived."""
        self._advance(now)
        return bool(self._arrivals) and self._arrivals[0][0] <= now and self._arrivals[0][1] is not None

    def take(self, now: float, at_most: int) -> bytes | None:
        """Take what has arrived; None if nothing has, nothing if nothing more will."""
        self._advance(now)
        taken: list[bytes] = []
        room = at_most
        while room > 0 and self._arrivals and self._arrivals[0][0] <= now:
            segment = self._arrivals[0][1]
            if segment is None:
                break
            del self._arrivals[0]
            taken.append(segment[:room])
            if len(segment) > room:
                self._arrivals.appendleft((now, segment[room:]))
            room -= len(taken[-1])
        if taken:
            self._freed.append((now + self.latency_back, at_most - room))
            return b"".join(taken)
        return b"" if self._arrivals and self._arrivals[0][0] <= now else None

    def room(self, now: float) -> int:
        """How many bytes more may be put."""
        self._advance(now)
        return STREAM_BUFFER - self._occupied

    def next_room(self) -> float:
        """When half of the room is free, for what has been taken so far."""
        occupied, room_at = self._occupied, -math.inf
        for moment, size in self._freed:
            if occupied <= STREAM_BUFFER // 2:
                break
            occupied, room_at = occupied - size, moment
        return room_at if occupied <= STREAM_BUFFER // 2 else math.inf

    def abandon(self, now: float) -> float:
        """Forget what has not left yet; say when the other end learns of it, if it does."""
        self._advance(now)
        self._unsent.clear()
        arrival = self._carry(0, now)
        return math.inf if arrival is None else arrival


class VirtualTcpListener:
    """A listening TCP socket in a virtual network. See `TcpListener`."""

    def __init__(self, host: "VirtualHost", address: Address, *, ipv6_only: bool = True) -> None:
        self.local_address = address
        self.ipv6_only = ipv6_only
        self.host = host
        self._closed = False
        self._backlog: deque[VirtualTcpSocket] = deque()
        self._waiter = Waiter()

    @property
    def has_room(self) -> bool:
        """Whether one more connection may wait to be accepted."""
        return len(self._backlog) < BACKLOG

    def put(self, connection: VirtualTcpSocket) -> None:
        """Have a connection wait to be accepted."""
        self._backlog.append(connection)
        self._waiter.look_at(-math.inf)

    async def accept(self) -> VirtualTcpSocket:
        """Wait for the next connection. See `TcpListener.accept`."""
        await self._waiter.wait(self._next_connection)
        return self._backlog.popleft()

    def _next_connection(self) -> float:
        if self._closed:
            raise trio.ClosedResourceError("this socket was closed")
        return -math.inf if self._backlog else math.inf

    def close(self) -> None:
        """Free the socket, and wake who waits for it. Connections that nobody has accepted are reset."""
        if not self._closed:
            self._closed = True
            del self.host.listeners[self.local_address]
            self.host.network.log.append(SocketClosed(trio.current_time(), self.local_address))
            while self._backlog:
                self._backlog.popleft().reset()
            self._waiter.look_at(-math.inf)


async def connect(host: "VirtualHost", local_address: Address, remote: Address) -> VirtualTcpSocket:
    """Open a TCP connection. See `Network.connect_tcp`."""
    give_up_at = trio.current_time() + CONNECT_TIMEOUT
    while (asked_at := trio.current_time()) < give_up_at:
        connection = await _ask(host, local_address, remote)
        if connection is not None:
            return connection
        await trio.sleep_until(min(asked_at + CONNECT_RETRY, give_up_at))
    raise os_error(errno.ETIMEDOUT)


async def _ask(host: "VirtualHost", local_address: Address, remote: Address) -> VirtualTcpSocket | None:
    """Ask for a connection once. None if nobody answers; OSError if nobody listens."""
    network, now = host.network, trio.current_time()
    route = host.realm.route(local_address, remote, now)
    if route is None or route.mappings:  # a NAT lets no connection in
        return None
    arrival = network.carry_segment(host, route.receiver, local_address, remote, HEADERS_SIZE, now)
    if arrival is None:
        return None
    await trio.sleep_until(arrival)
    answered_at = arrival + network.link(route.receiver, host).latency
    listener = route.receiver.find_listener(route.to)
    if listener is None:
        await trio.sleep_until(answered_at)
        raise os_error(errno.ECONNREFUSED)
    if not listener.has_room:
        return None
    here, there = _make_connection(host, local_address, remote, route)
    listener.put(there)
    try:
        await trio.sleep_until(answered_at)
    except BaseException:
        here.reset()
        raise
    return here


def _make_connection(
    host: "VirtualHost", local_address: Address, remote: Address, route: "Route"
) -> tuple[VirtualTcpSocket, VirtualTcpSocket]:
    to, back = (
        _Stream(host, route.receiver, local_address, remote),
        _Stream(route.receiver, host, route.to, route.from_),
    )
    here = VirtualTcpSocket(host, local_address, remote, back, to)
    there = VirtualTcpSocket(route.receiver, route.to, route.from_, to, back)
    for end, peer in ((here, there), (there, here)):
        end.peer = peer
        end.host.connections[end] = None
    return here, there
