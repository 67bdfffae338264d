"""What the kernel's UDP and TCP sockets have in common: how they are made, and how addresses are told.

Outside of here an address is text and a port. A link-local one has the name of its interface in its text
("fe80::1%eth0"), and on a socket for both families IPv4 looks like IPv4, though the kernel calls it "::ffff:192.0.2.1"
(RFC 4291 §2.5.5.2).
"""

import errno
import ipaddress
import logging
import socket
from typing import Any, Final, TypeAlias

from trio_webrtc.core.contract import Address
from trio_webrtc.shell.network import SocketOptions

_logger: Final = logging.getLogger(__name__)

SockAddr: TypeAlias = tuple[Any, ...]
"""An address as the socket module takes and gives it."""

_MAPPED: Final = "::ffff:"


def open_socket(
    host: str, kind: socket.SocketKind, options: SocketOptions, *, default_buffer: int | None = None
) -> socket.socket:
    """Make a socket that never blocks, for an address of this host to be bound to. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, kind)
    try:
        made.setblocking(False)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(options.ipv6_only))
        if options.reuse_port:
            _share_port(made)
        for option, size in (
            (socket.SO_RCVBUF, options.receive_buffer or default_buffer),
            (socket.SO_SNDBUF, options.send_buffer or default_buffer),
        ):
            if size is not None:
                try_option(made, socket.SOL_SOCKET, option, size)
    except BaseException:
        made.close()
        raise
    return made


def _share_port(made: socket.socket) -> None:
    reuse_port = getattr(socket, "SO_REUSEPORT", None)
    if reuse_port is None:
        raise OSError(errno.ENOPROTOOPT, "this system gives a port to one socket only")
    made.setsockopt(socket.SOL_SOCKET, reuse_port, 1)


def try_option(of: socket.socket, level: int, option: int | None, value: int | None) -> bool:
    """Set an option that not every kernel has, or None if not even Python knows it; say whether it is set now."""
    if option is None or value is None:
        return False
    try:
        of.setsockopt(level, option, value)
    except OSError as error:
        has_it = error.errno != errno.ENOPROTOOPT
        text = "a socket does without option %d of level %d: %s"
        _logger.log(logging.INFO if has_it else logging.DEBUG, text, option, level, error)
        return False
    return True


def sockaddr_of(address: Address, family: int, *, ipv6_only: bool = True) -> SockAddr:
    """What the socket module is told, such that it neither looks up a name nor raises anything but OSError."""
    host, port = address
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        version = None
    if version is None or not 0 <= port <= 65_535:
        raise OSError(errno.EINVAL, f"{host} port {port} is no address")
    if version == 4 and family == socket.AF_INET6 and not ipv6_only:
        return f"{_MAPPED}{host}", port, 0, 0
    if (version == 6) != (family == socket.AF_INET6):
        raise OSError(errno.EAFNOSUPPORT, f"{host} is of the other family")
    return address if version == 4 else _unscoped(host, port)


def text_address(sockaddr: SockAddr) -> Address:
    """The address that the socket module tells."""
    host, port = str(sockaddr[0]), int(sockaddr[1])
    if len(sockaddr) == 4:
        host = scoped(host, int(sockaddr[3])) if sockaddr[3] else unmapped(host)
    return host, port


def unmapped(host: str) -> str:
    """An IPv6 address that stands for an IPv4 address, as the latter; any other as it is."""
    return host.removeprefix(_MAPPED) if "." in host else host


def _unscoped(host: str, port: int) -> tuple[str, int, int, int]:
    """The sockaddr of an IPv6 address: its scope id, if it has one, is the number of an interface."""
    host, _, scope = host.partition("%")
    if not scope:
        return host, port, 0, 0
    try:
        return host, port, 0, int(scope) if scope.isdecimal() else socket.if_nametoindex(scope)
    except OSError:  # which has no number in it
        raise OSError(errno.ENXIO, f"there is no interface {scope}") from None


def scoped(host: str, interface: int) -> str:
    """An address with the name of its interface, if it means nothing without."""
    if ":" not in host or "%" in host or not ipaddress.IPv6Address(host).is_link_local:
        return host
    try:
        return f"{host}%{socket.if_indextoname(interface)}"
    except OSError:
        return f"{host}%{interface}"
