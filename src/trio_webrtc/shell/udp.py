"""Batches of datagrams to and from the kernel.

One system call moves a whole run where the kernel can do that (Linux: UDP_SEGMENT and UDP_GRO); elsewhere plain calls
do the same, datagram by datagram. A socket that is bound to a wildcard tells which local address a datagram was sent
to, and sends from the one it is told (RFC 3542 §6, ip(7)). Nothing is fragmented by IP where that can be asked for, so
that a large probe which arrives has really passed as it is.
"""

import errno
import ipaddress
import logging
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Final

import trio

from trio_webrtc.core.contract import Address, split_run
from trio_webrtc.shell.kernel_sockets import (
    SockAddr,
    open_socket,
    scoped,
    sockaddr_of,
    text_address,
    try_option,
    unmapped,
)
from trio_webrtc.shell.network import (
    DEFAULT_OPTIONS,
    NO_ROOM,
    NOT_NOW,
    PAUSE_FOR_MEMORY,
    SOCKET_LOST,
    Arrival,
    Interface,
    SocketOptions,
)
from trio_webrtc.shell.reporting import Reporter

_logger: Final = logging.getLogger(__name__)

MAX_READS_PER_BATCH: Final = 64
"""Calls that read, before what was read is worked on."""

MAX_BYTES_PER_BATCH: Final = 256 * 1024
"""Bytes read, before they are worked on."""

LEAST_COST: Final = 1024
"""Bytes that every datagram of a run counts for in this, however short: it is to be worked on all the same."""

SOCKET_BUFFER: Final = 2 * 1024 * 1024
"""Bytes asked for, in each direction; the kernel grants what its own limit allows."""

READ_SIZE: Final = 65_535
"""The largest datagram, and the largest run that the kernel joins. With less room, some or their borders are lost."""

MAX_KNOWN_ADDRESSES: Final = 4096
"""Addresses of peers that a socket remembers to be in order; with more than these, it begins anew."""

MAX_KNOWN_LOCAL_HOSTS: Final = 256
"""Local addresses whose text form a wildcard socket remembers."""

_LINUX: Final = sys.platform.startswith("linux")
_HAS_RECVMSG: Final = hasattr(socket.socket, "recvmsg")


def _constant(name: str, on_linux: int) -> int | None:
    """A constant of the socket module, which does not know all that Linux has."""
    return getattr(socket, name, on_linux if _LINUX else None)


_UDP_SEGMENT: Final = _constant("UDP_SEGMENT", 103)
_UDP_GRO: Final = _constant("UDP_GRO", 104)
_IP_MTU_DISCOVER: Final = _constant("IP_MTU_DISCOVER", 10)
_IP_PMTUDISC_PROBE: Final = _constant("IP_PMTUDISC_PROBE", 3)
_IPV6_MTU_DISCOVER: Final = _constant("IPV6_MTU_DISCOVER", 23)
_IP_PKTINFO: Final = _constant("IP_PKTINFO", 8)
_IPV6_RECVPKTINFO: Final = _constant("IPV6_RECVPKTINFO", 49)
_IPV6_PKTINFO: Final = _constant("IPV6_PKTINFO", 50)

_CUT_OFF: Final = int(socket.MSG_TRUNC | socket.MSG_CTRUNC)
"""What says that there was more than had room, as a number: members of an enum are slow to combine."""

_SEGMENT_SIZE: Final = struct.Struct("@H")
_GRO_SIZE: Final = struct.Struct("@i")
_IN_PKTINFO: Final = struct.Struct("@i4s4s")  # interface index, local address, destination address
_IN6_PKTINFO: Final = struct.Struct("@16si")  # destination address, interface index
_INDEX: Final = struct.Struct("@I")

_Ancillary = Iterable[tuple[int, int, bytes]]


class KernelUdpSocket:
    """A bound UDP socket of the kernel's, which never blocks. If `shared`, others may bind to the same address."""

    def __init__(self, address: Address, options: SocketOptions = DEFAULT_OPTIONS, *, shared: bool = False) -> None:
        host = address[0]
        self._ipv6 = ":" in host
        self._ipv6_only = options.ipv6_only
        self._known_addresses: dict[Address, SockAddr] = {}
        self._known_local_hosts: dict[bytes, str] = {}
        self._lacks_memory = False
        self._socket = open_socket(host, socket.SOCK_DGRAM, options, default_buffer=SOCKET_BUFFER)
        try:
            if shared:
                self._share()
            self._socket.bind(self._sockaddr(address))
            self._configure(wildcard=ipaddress.ip_address(host.partition("%")[0]).is_unspecified)
            self.local_address: Address = text_address(self._socket.getsockname())
        except BaseException:
            self._socket.close()
            raise
        self._reporter = Reporter(_logger, f"UDP at {self.local_address[0]} port {self.local_address[1]}")

    def _share(self) -> None:
        for option in (socket.SO_REUSEADDR, getattr(socket, "SO_REUSEPORT", None)):
            try_option(self._socket, socket.SOL_SOCKET, option, 1)

    def join(self, group: str, interface: Interface) -> None:
        """Receive what is sent to a multicast group on an interface, and send to groups there. Raises OSError."""
        packed = ipaddress.ip_address(group).packed
        if self._ipv6:
            index = socket.if_nametoindex(interface.name)
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, packed + _INDEX.pack(index))
            self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        else:
            own = ipaddress.IPv4Address(interface.address).packed
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, packed + own)
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, own)

    def _configure(self, *, wildcard: bool) -> None:
        if self._ipv6:
            try_option(self._socket, socket.IPPROTO_IPV6, _IPV6_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
        if not (self._ipv6 and self._ipv6_only):
            try_option(self._socket, socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_PROBE)
        self._tells_local_host = wildcard and _HAS_RECVMSG and self._ask_for_packet_info()
        self.segments = _HAS_RECVMSG and try_option(self._socket, socket.IPPROTO_UDP, _UDP_SEGMENT, 0)
        """Whether runs go out in one call. Turned off for good when the kernel turns a run down."""
        self.coalesces = _HAS_RECVMSG and try_option(self._socket, socket.IPPROTO_UDP, _UDP_GRO, 1)
        """Whether the kernel may join what it receives to runs."""
        self._ancillary_room = 0
        if self._tells_local_host or self.coalesces:
            self._ancillary_room = socket.CMSG_SPACE(_IN6_PKTINFO.size) + socket.CMSG_SPACE(_GRO_SIZE.size)

    def _ask_for_packet_info(self) -> bool:
        if self._ipv6:
            return try_option(self._socket, socket.IPPROTO_IPV6, _IPV6_RECVPKTINFO, 1)
        return try_option(self._socket, socket.IPPROTO_IP, _IP_PKTINFO, 1)

    def send(self, to: Address, data: bytes, segment_size: int | None, from_host: str | None) -> int:
        """Send one datagram or a run of them; say how many bytes were taken. See `UdpSocket.send`."""
        sockaddr = self._sockaddr(to)
        ancillary = () if from_host is None else self._source(from_host)
        if segment_size is None or segment_size >= len(data):
            return len(data) if self._send_one(sockaddr, data, ancillary) else 0
        if self.segments:
            try:
                segmentation = (socket.IPPROTO_UDP, _UDP_SEGMENT or 0, _SEGMENT_SIZE.pack(segment_size))
                return len(data) if self._send_one(sockaddr, data, (*ancillary, segmentation)) else 0
            except OSError as error:
                if error.errno not in (errno.EIO, errno.EINVAL):
                    raise
            # EIO: the device cannot compute checksums of segments. EINVAL: the kernel dislikes this run; or its source
            # or destination, in which case it dislikes single datagrams as well, and nothing is learnt about runs.
            taken = self._send_each(sockaddr, data, segment_size, ancillary)
            self.segments = False
            return taken
        return self._send_each(sockaddr, data, segment_size, ancillary)

    def _send_each(self, sockaddr: SockAddr, data: bytes, segment_size: int, ancillary: _Ancillary) -> int:
        taken = 0
        for datagram in split_run(data, segment_size):
            if not self._send_one(sockaddr, datagram, ancillary):
                break
            taken += len(datagram)
        return taken

    def _send_one(self, sockaddr: SockAddr, data: bytes, ancillary: _Ancillary) -> bool:
        """One system call. False if there is no room."""
        try:
            if ancillary:
                self._socket.sendmsg((data,), ancillary, 0, sockaddr)
            else:
                self._socket.sendto(data, sockaddr)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            self._lacks_memory = error.errno not in NOT_NOW
            return False
        return True

    def receive(self) -> list[Arrival]:
        """Take what has arrived, as much of it as makes one batch. See `UdpSocket.receive`."""
        arrivals: list[Arrival] = []
        room = MAX_BYTES_PER_BATCH
        for _ in range(MAX_READS_PER_BATCH):
            try:
                arrival = self._receive_one()
            except OSError as error:
                if error.errno in NOT_NOW:
                    break
                if error.errno in SOCKET_LOST:
                    raise
                # Often news of a datagram sent earlier, such as ECONNREFUSED: its sender hears by silence.
                self._reporter.report(
                    errno.errorcode.get(error.errno or 0, ""), logging.INFO, f"reading failed: {error}"
                )
                continue
            if arrival is not None:
                arrivals.append(arrival)
                size = arrival.segment_size or LEAST_COST
                room -= len(arrival.data) * max(LEAST_COST, size) // size
                if room <= 0:
                    break
        return arrivals

    def _receive_one(self) -> Arrival | None:
        """One system call. None if something came that is not whole."""
        if not self._ancillary_room:
            data, sockaddr = self._socket.recvfrom(READ_SIZE)
            return Arrival(None, text_address(sockaddr) if self._ipv6 else sockaddr, data, None)
        data, ancillary, flags, sockaddr = self._socket.recvmsg(READ_SIZE, self._ancillary_room)
        if flags & _CUT_OFF:
            return None
        local_host = segment_size = None
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_UDP and kind == _UDP_GRO:
                (segment_size,) = _GRO_SIZE.unpack_from(value)
            elif level == socket.IPPROTO_IP or level == socket.IPPROTO_IPV6:
                local_host = self._known_local_hosts.get(value) or self._local_host(value)
        if segment_size is not None and segment_size >= len(data):
            segment_size = None
        return Arrival(local_host, text_address(sockaddr) if self._ipv6 else sockaddr, data, segment_size)

    def _local_host(self, packet_info: bytes) -> str:
        if self._ipv6:
            packed, interface = _IN6_PKTINFO.unpack_from(packet_info)
            local_host = scoped(unmapped(socket.inet_ntop(socket.AF_INET6, packed)), interface)
        else:
            _, packed, _ = _IN_PKTINFO.unpack_from(packet_info)
            local_host = str(ipaddress.IPv4Address(packed))
        if len(self._known_local_hosts) < MAX_KNOWN_LOCAL_HOSTS and "%" not in local_host:
            self._known_local_hosts[packet_info] = local_host
        return local_host

    def _source(self, from_host: str) -> tuple[tuple[int, int, bytes], ...]:
        """The ancillary data that choose the source address, where the kernel takes them."""
        if not self._tells_local_host:
            return ()
        if self._ipv6:
            host, _, _, interface = self._sockaddr((from_host, 0))
            packet_info = _IN6_PKTINFO.pack(socket.inet_pton(socket.AF_INET6, host), interface)
            return ((socket.IPPROTO_IPV6, _IPV6_PKTINFO or 0, packet_info),)
        packet_info = _IN_PKTINFO.pack(0, socket.inet_aton(from_host), bytes(4))
        return ((socket.IPPROTO_IP, _IP_PKTINFO or 0, packet_info),)

    def _sockaddr(self, address: Address) -> SockAddr:
        known = self._known_addresses.get(address)
        return known if known is not None else self._check(address)

    def _check(self, address: Address) -> SockAddr:
        sockaddr = sockaddr_of(address, self._socket.family, ipv6_only=self._ipv6_only)
        if "%" in address[0]:
            return sockaddr  # for now: an interface that goes and comes back has another number
        if len(self._known_addresses) == MAX_KNOWN_ADDRESSES:
            self._known_addresses.clear()
        self._known_addresses[address] = sockaddr
        return sockaddr

    async def wait_readable(self) -> None:
        """Wait until there is something to receive. Cancelling it changes nothing."""
        self._check_open()
        await trio.lowlevel.wait_readable(self._socket)

    async def wait_writable(self) -> None:
        """Wait until there is room to send. Cancelling it changes nothing."""
        if self._lacks_memory:  # which is no matter of this socket's room: nothing tells when it is over
            self._lacks_memory = False
            await trio.sleep(PAUSE_FOR_MEMORY)
        self._check_open()
        await trio.lowlevel.wait_writable(self._socket)

    def _check_open(self) -> None:
        if self._socket.fileno() == -1:
            raise trio.ClosedResourceError("this socket was closed")

    def close(self) -> None:
        """Free the socket, and wake who waits for it."""
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()
