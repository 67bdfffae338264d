"""A UDP socket of a virtual network: to the shell what the kernel's is, with its buffers, waiting and errors."""

import errno
import heapq
import math
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from trio_webrtc.core.contract import MAX_RUN_BYTES, MAX_RUN_SEGMENTS, Address, split_run
from trio_webrtc.shell.network import Arrival, os_error
from trio_webrtc.testing.link import Fate
from trio_webrtc.testing.waiter import Waiter

if TYPE_CHECKING:
    from trio_webrtc.testing.virtual_network import Route, VirtualHost

RECEIVE_BUFFER: Final = 2 * 1024 * 1024
"""Bytes that arrived and nobody has read yet, for each socket; what comes then is dropped."""

SEND_BUFFER: Final = 256 * 1024
"""Bytes accepted for sending and not yet on the wire, for each socket; what comes then is refused."""


class VirtualUdpSocket:
    """A bound UDP socket of a virtual host."""

    def __init__(
        self, host: "VirtualHost", address: Address, *, source: str | None = None, ipv6_only: bool = True
    ) -> None:
        self.local_address = address
        self.ipv6_only = ipv6_only
        self._source = source
        self._host = host
        self._closed = False
        self._in_flight: list[_InFlight] = []
        self._leaving: deque[tuple[float, int]] = deque()
        self._leaving_bytes = 0
        self._reader = Waiter()
        self._writer = Waiter()

    def send(self, to: Address, data: bytes, segment_size: int | None, from_host: str | None) -> int:
        """Send one datagram or a run of them; say how many bytes were taken. See `UdpSocket.send`."""
        if self._closed:
            raise os_error(errno.EBADF)
        host, port = self.local_address
        is_ipv4 = ":" not in to[0]
        if is_ipv4 != (":" not in host) and not (is_ipv4 and not self.ipv6_only):
            raise os_error(errno.EAFNOSUPPORT)
        if self._source is not None:
            host = self._source
        elif is_wildcard(host):
            host = from_host or self._host.default_source(to[0])
        taken, now = 0, trio.current_time()
        for datagram in split_run(data, segment_size):
            packet_size = len(datagram) + header_size(host)
            if packet_size > self._host.mtu:
                raise os_error(errno.EMSGSIZE)
            if not self._has_room_for(packet_size, now):
                break
            self._leaving.append((self._host.time_on_wire(packet_size, now), packet_size))
            self._leaving_bytes += packet_size
            self._host.network.carry(self._host, (host, port), to, datagram)
            taken += len(datagram)
        return taken

    def _has_room_for(self, packet_size: int, now: float) -> bool:
        while self._leaving and self._leaving[0][0] <= now:
            self._leaving_bytes -= self._leaving.popleft()[1]
        return not self._host.blocked and (not self._leaving or self._leaving_bytes + packet_size <= SEND_BUFFER)

    def put(self, arrival: float, sequence: int, route: "Route", data: bytes) -> None:
        """Have a datagram arrive in the future; of those that arrive together, the first in sequence is the first."""
        heapq.heappush(self._in_flight, _InFlight(arrival, sequence, route, data))
        self._reader.look_at(self._in_flight[0].arrival)

    def receive(self) -> list[Arrival]:
        """Take what has arrived, as much of it as makes one batch. See `UdpSocket.receive`."""
        if self._closed:
            raise os_error(errno.EBADF)
        arrivals: list[Arrival] = []
        now, room = trio.current_time(), RECEIVE_BUFFER
        wildcard = is_wildcard(self.local_address[0])
        while self._in_flight and self._in_flight[0].arrival <= now:
            arrived_at, _, route, data = heapq.heappop(self._in_flight)
            if not route.is_open(arrived_at):
                self._host.network.counters[Fate.FILTERED] += 1
                continue
            room -= len(data)
            if room < 0:
                self._host.network.counters[Fate.UNREAD] += 1
                continue
            arrival = Arrival(route.to[0] if wildcard else None, route.from_, data, None)
            joined = _join(arrivals[-1], arrival) if arrivals else None
            if joined is None:
                arrivals.append(arrival)
            else:
                arrivals[-1] = joined
        return arrivals

    async def wait_readable(self) -> None:
        """Wait until a datagram has arrived. Cancelling it changes nothing."""
        await self._reader.wait(self._next_arrival)

    def _next_arrival(self) -> float:
        if self._closed:
            raise trio.ClosedResourceError("this socket was closed")
        return self._in_flight[0].arrival if self._in_flight else math.inf

    async def wait_writable(self) -> None:
        """Wait until half of the room to send is free. Cancelling it changes nothing."""
        await self._writer.wait(self._next_room)

    def _next_room(self) -> float:
        if self._closed:
            raise trio.ClosedResourceError("this socket was closed")
        if self._host.blocked:
            return math.inf
        leaving = self._leaving_bytes
        room_at = -math.inf
        for left_at, packet_size in self._leaving:
            if leaving <= SEND_BUFFER // 2:
                break
            room_at = left_at
            leaving -= packet_size
        return room_at

    def look_for_room(self) -> None:
        """Have who waits for room look again."""
        self._writer.look_at(-math.inf)

    def close(self) -> None:
        """Free the socket, and wake who waits for it. What is on its way to it is lost."""
        if not self._closed:
            self._closed = True
            self._in_flight.clear()
            self._host.forget_socket(self)
            self._reader.look_at(-math.inf)
            self._writer.look_at(-math.inf)


class _InFlight(NamedTuple):
    arrival: float
    sequence: int
    route: "Route"
    data: bytes


def _join(run: Arrival, next_: Arrival) -> Arrival | None:
    """A run with one more datagram, as the kernel joins them with UDP_GRO; None if it does not fit."""
    size = run.segment_size or len(run.data)
    count, rest = divmod(len(run.data), size) if size else (0, 0)
    if run[:2] != next_[:2] or rest or not 0 < len(next_.data) <= size:
        return None
    if count == MAX_RUN_SEGMENTS or len(run.data) + len(next_.data) > MAX_RUN_BYTES:
        return None
    return Arrival(run.local_host, run.from_, run.data + next_.data, size)


def is_wildcard(host: str) -> bool:
    """Whether that stands for all addresses of a host."""
    return host in ("0.0.0.0", "::")


def header_size(host: str) -> int:
    """The size of the headers of IPv4 (RFC 791 §3.1) or IPv6 (RFC 8200 §3), and of UDP (RFC 768)."""
    return (40 if ":" in host else 20) + 8
