"""Addresses that a server listens at, and the ports and listeners that come of them."""

import errno
import ipaddress
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

from trio_webrtc.core.contract import Address, Via
from trio_webrtc.core.ice import BaseKind
from trio_webrtc.core.ice.addresses import parse_ip
from trio_webrtc.errors import UsageError
from trio_webrtc.shell.announcing import check_announced_host
from trio_webrtc.shell.gathering import choose_interfaces
from trio_webrtc.shell.network import Network, SocketOptions, TcpListener, UdpSocket
from trio_webrtc.shell.port import Port, Receiver

DEFAULT_OPTIONS: Final = SocketOptions()

_TAKEN: Final = frozenset((errno.EADDRINUSE, errno.EACCES))
"""Errors of binding after which the next port of a range may do."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where a server listens, and what it says of it to its peers.

    Raises UsageError, which names what to change, for what cannot be.

    Args:
        transport: "udp" or "tcp" (RFC 6544).
        host: a local IP address; "0.0.0.0" or "::" for all of them, answered from the one that was asked.
        port: a number, 0 for one that is free, or the first and last of a range, of which the first free one is taken.
        announced_hosts: IP addresses or names by which peers reach this address, where that is not its own: those of a
            one-to-one NAT or a container's host. Peers are told each of them as it stands, addresses of the other
            family too, since there are translators. A name is for the peer to look up, which this library does and
            others need not (RFC 8839 §5.1): announce addresses where peers may be any.
        announce_own: whether peers are told the own address besides, after those.
        options: sizes of buffers in bytes, whether "::" leaves IPv4 out, whether other programs may share the port.
    """

    transport: Literal["udp", "tcp"]
    host: str
    port: int | tuple[int, int] = 0
    announced_hosts: Sequence[str] = ()
    announce_own: bool = False
    options: SocketOptions = field(default=DEFAULT_OPTIONS)

    def __post_init__(self) -> None:
        if self.transport not in ("udp", "tcp"):
            raise UsageError(f'ListenAddress: {self.transport!r} is no transport; write "udp" or "tcp"')
        if not isinstance(self.host, str) or parse_ip(self.host) is None:
            raise UsageError(f"ListenAddress: {self.host!r} is not an IP address; give one of this host's")
        self._check_port()
        self._check_announced_hosts()

    def _check_port(self) -> None:
        match self.port:
            case int(port) if 0 <= port < 65536:
                pass
            case (int(first), int(last)) if 0 < first <= last < 65536:
                pass
            case _:
                raise UsageError(
                    f"ListenAddress: port {self.port!r}: give a number from 0 to 65535, or the ends of a range"
                )

    def _check_announced_hosts(self) -> None:
        if isinstance(self.announced_hosts, str) or not isinstance(self.announced_hosts, Iterable):
            raise UsageError(f"announced_hosts is a sequence; write announced_hosts=[{self.announced_hosts!r}]")
        object.__setattr__(self, "announced_hosts", tuple(self.announced_hosts))
        for host in self.announced_hosts:
            check_announced_host(host)

    @property
    def port_range(self) -> tuple[int, int]:
        """The first and the last port to try."""
        return (self.port, self.port) if isinstance(self.port, int) else self.port

    @property
    def is_wildcard(self) -> bool:
        """Whether it stands for all local addresses of its family."""
        return ipaddress.ip_address(self.host).is_unspecified

    def __str__(self) -> str:
        first, last = self.port_range
        return f"{self.transport} {self.host} port {first}" + (f" to {last}" if last > first else "")


def open_udp(network: Network, listen: ListenAddress) -> UdpSocket:
    """Bind to the first port that is free. Raises OSError, which names the address."""
    first, last = listen.port_range
    for port in range(first, last + 1):
        try:
            return network.open_udp((listen.host, port), listen.options)
        except OSError as error:
            _raise_unless_taken(error, listen, is_last=port == last)
    raise AssertionError


def listen_tcp(network: Network, listen: ListenAddress) -> TcpListener:
    """Listen at the first port that is free. Raises OSError, which names the address."""
    first, last = listen.port_range
    for port in range(first, last + 1):
        try:
            return network.listen_tcp((listen.host, port), listen.options)
        except OSError as error:
            _raise_unless_taken(error, listen, is_last=port == last)
    raise AssertionError


def _raise_unless_taken(error: OSError, listen: ListenAddress, *, is_last: bool) -> None:
    if is_last or error.errno not in _TAKEN:
        reason = os.strerror(error.errno) if error.errno is not None else str(error)
        raise OSError(error.errno, f"cannot listen at {listen}: {reason}") from error


class ListeningVia(NamedTuple):
    """The `via` of a passive TCP candidate, by which nothing comes but connections (RFC 6544 §4.5)."""

    listener: TcpListener
    host: str


class LocalBase(NamedTuple):
    """One local address of a listening socket, as a core is told of it."""

    via: Via
    address: Address
    announced: Sequence[str]
    beside_own: bool
    kind: BaseKind


class UdpPlace:
    """A UDP port that many peers share."""

    def __init__(self, network: Network, listen: ListenAddress, receiver: Receiver) -> None:
        self.listen = listen
        self._network = network
        self._port = Port(open_udp(network, listen), receiver)
        self.local_address = self._port.local_address

    def bases(self) -> Iterator[LocalBase]:
        """The local addresses at which it can be reached."""
        for host, announced in _hosts(self.listen, self.local_address[0], self._network):
            via = self._port.via(host if self.listen.is_wildcard else None)
            yield LocalBase(via, via.local_address, announced, self.listen.announce_own, BaseKind.UDP)

    async def serve(self) -> None:
        """Read until it is closed or lost."""
        await self._port.serve()

    def close(self) -> None:
        """Free the socket."""
        self._port.close()


class TcpPlace:
    """A TCP port whose connections find their peers (RFC 6544)."""

    def __init__(self, network: Network, listen: ListenAddress) -> None:
        self.listen = listen
        self.listener = listen_tcp(network, listen)
        self.local_address = self.listener.local_address
        self._network = network

    def bases(self) -> Iterator[LocalBase]:
        """The local addresses at which it can be reached."""
        for host, announced in _hosts(self.listen, self.local_address[0], self._network):
            address = host, self.local_address[1]
            yield LocalBase(self.via(host), address, announced, self.listen.announce_own, BaseKind.TCP_PASSIVE)

    def via(self, host: str) -> ListeningVia:
        """What stands for this port at one of its local addresses."""
        return ListeningVia(self.listener, host)

    def close(self) -> None:
        """Free the socket. Connections that it has brought stay."""
        self.listener.close()


def _hosts(listen: ListenAddress, own: str, network: Network) -> Iterator[tuple[str, Sequence[str]]]:
    """The local addresses that a listen address stands for, each with what is announced for it.

    On a wildcard, what is announced leads to one of them, and nobody can tell to which: it stands for the first of its
    family. A name stands for the first of all, and so does an address of a family that has no other.
    """
    if not listen.is_wildcard:
        yield own, listen.announced_hosts
        return
    wants_ipv4 = ":" not in listen.host or not listen.options.ipv6_only
    wants_ipv6 = ":" in listen.host
    for interfaces in choose_interfaces(network.interfaces()):
        hosts = [i.address for i in interfaces if (wants_ipv6 if ":" in i.address else wants_ipv4)]
        if hosts:
            announced: dict[str, list[str]] = {host: [] for host in hosts}
            for name in listen.announced_hosts:
                announced[next((host for host in hosts if _may_stand_for(name, host)), hosts[0])].append(name)
            for host, names in announced.items():
                if names or not listen.announced_hosts or listen.announce_own:
                    yield host, names
            return


def _may_stand_for(name: str, host: str) -> bool:
    """Whether what is announced may lead to a local address: to one of its own family, or to any if it is a name."""
    return parse_ip(name) is None or (":" in name) == (":" in host)
