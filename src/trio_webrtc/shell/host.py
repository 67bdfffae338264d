"""The kernel's network, as the rest of the package sees it."""

import socket
import sys
from collections.abc import Sequence
from functools import partial
from typing import Final

import trio

from trio_webrtc.core.contract import Address
from trio_webrtc.shell.interfaces import list_interfaces
from trio_webrtc.shell.kernel_sockets import text_address
from trio_webrtc.shell.network import DEFAULT_OPTIONS, Interface, Network, SocketOptions
from trio_webrtc.shell.tcp_sockets import KernelTcpListener, KernelTcpSocket, connect
from trio_webrtc.shell.udp import KernelUdpSocket


class HostNetwork:
    """The network of the host that this program runs on. Has no state."""

    def interfaces(self) -> Sequence[Interface]:
        """Every local address that a socket could be bound to, in the system's order."""
        return list_interfaces()

    def open_udp(self, address: Address, options: SocketOptions = DEFAULT_OPTIONS) -> KernelUdpSocket:
        """Bind a UDP socket, with port 0 to one that is free. Raises OSError."""
        return KernelUdpSocket(address, options)

    def listen_tcp(self, address: Address, options: SocketOptions = DEFAULT_OPTIONS) -> KernelTcpListener:
        """Listen for TCP connections, with port 0 on one that is free. Raises OSError."""
        return KernelTcpListener(address, options)

    async def connect_tcp(self, local_host: str | None, remote: Address) -> KernelTcpSocket:
        """Open a TCP connection. Raises OSError. If cancelled, nothing is left behind."""
        return await connect(local_host, remote)

    def open_multicast(self, group: Address, interface: Interface) -> KernelUdpSocket:
        """Join a multicast group on an interface, sharing its port with others. Raises OSError."""
        host, port = group
        is_ipv6 = ":" in host
        if sys.platform == "win32":
            bound = "::" if is_ipv6 else "0.0.0.0"
        else:  # bound to the group, a socket hears nothing else
            bound = f"{host}%{interface.name}" if is_ipv6 else host
        opened = KernelUdpSocket((bound, port), shared=True)
        try:
            opened.join(host, interface)
        except BaseException:
            opened.close()
            raise
        return opened

    async def resolve(self, host: str, port: int, *, limiter: trio.CapacityLimiter | None = None) -> Sequence[Address]:
        """Ask Trio's resolver, or in one of the limiter's threads the system's. Raises OSError.

        If cancelled, the thread's answer is dropped when it comes, and the limiter has it back no sooner.
        """
        if limiter is None:
            found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        else:
            ask = partial(socket.getaddrinfo, host.encode("ascii"), port, type=socket.SOCK_DGRAM)
            found = await trio.to_thread.run_sync(ask, limiter=limiter, abandon_on_cancel=True)
        return [text_address(sockaddr) for _, _, _, _, sockaddr in found]


HOST_NETWORK: Final[Network] = HostNetwork()
