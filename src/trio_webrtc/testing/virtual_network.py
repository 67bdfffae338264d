"""A network in memory, for tests in virtual time: hosts, addresses, and links that delay, lose and reorder.

    network = VirtualNetwork(seed=1, latency=0.03, loss=0.2)
    left, right = network.add_host("10.0.0.1"), network.add_host("10.0.0.2", "fd00::2")
    async with open_peer_connection(network=left) as caller, open_peer_connection(network=right) as callee:
        ...
        network.cut(left, right)

It stands in for the kernel at the lowest boundary, so everything above is the real thing. It lives on Trio's clock
and has no tasks of its own: with `trio.testing.MockClock(autojump_threshold=0)` a minute passes in no time. The seed
fixes what happens to the n-th datagram from one host to another.

Behind a NAT there is a realm of its own, with private addresses; hosts and other NATs may be added to it. A NAT stands
next to the hosts behind it: it takes no time, and links are between hosts, whatever NATs there are on the way.

TCP connections go the same ways; what is lost or cut comes later. A NAT lets them out, and none in.

What it is not: there are no routers, and it never fragments.
"""

import errno
import ipaddress
import itertools
import random
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import trio

from trio_webrtc.core.contract import Address
from trio_webrtc.shell.network import DEFAULT_OPTIONS, Interface, SocketOptions, os_error
from trio_webrtc.testing.link import Fate, Link
from trio_webrtc.testing.log import DatagramSent, LogEntry, SocketClosed
from trio_webrtc.testing.nat import MAPPING_LIFETIME, PORT_RESTRICTED, Mapping, NatKind, Translator
from trio_webrtc.testing.virtual_socket import VirtualUdpSocket, header_size, is_wildcard
from trio_webrtc.testing.virtual_tcp import VirtualTcpListener, VirtualTcpSocket, connect

LOG_LENGTH: Final = 100_000
"""Entries of the log; the oldest make room for the newest."""

FIRST_FREE_PORT: Final = 49_152
"""The first of the ports that are given to sockets which ask for none (RFC 6335 §6)."""


VirtualSocket: TypeAlias = VirtualUdpSocket | VirtualTcpListener | VirtualTcpSocket
"""What a host may have open."""

_Bound = TypeVar("_Bound", VirtualUdpSocket, VirtualTcpListener)


class Realm:
    """Hosts that reach each other without translation, and NATs among them, behind each of which is another realm."""

    def __init__(self, network: "VirtualNetwork", name: str) -> None:
        self.name = name
        """The addresses of the NATs that it is behind, the outermost first; empty for the network itself."""
        self._network = network
        self._hosts: dict[str, VirtualHost] = {}
        self._nats: dict[str, VirtualNat] = {}

    def add_host(self, *addresses: str, name: str | None = None) -> "VirtualHost":
        """Add a host with these IP addresses. Other hosts find it by its name, too, if it has one."""
        host = VirtualHost(self._network, self, addresses, name)
        for address in addresses:
            self._refuse_if_taken(address)
        self._hosts.update(dict.fromkeys(addresses, host))
        return host

    def add_nat(
        self,
        address: str,
        kind: NatKind = PORT_RESTRICTED,
        *,
        mapping_lifetime: float = MAPPING_LIFETIME,
        preserve_ports: bool = False,
        hairpinning: bool = False,
    ) -> "VirtualNat":
        """Add a NAT with this IP address; what is behind it is added to the NAT.

        Args:
            address: What all hosts behind it look like from here.
            kind: How it behaves: `FULL_CONE`, `ADDRESS_RESTRICTED`, `PORT_RESTRICTED`, `SYMMETRIC`, or your own.
            mapping_lifetime: Seconds until it forgets a host from which nothing comes.
            preserve_ports: Whether it takes the host's own port where that is free (RFC 4787 §4.2.1), or any.
            hairpinning: Whether hosts behind it reach each other by its own address (RFC 4787 §6).
        """
        self._refuse_if_taken(address)
        seed = f"{self._network.seed} NAT {self.name}{address}"
        translator = Translator(
            address,
            kind,
            lifetime=mapping_lifetime,
            preserve_ports=preserve_ports,
            rng=random.Random(seed),
        )
        nat = self._nats[address] = VirtualNat(self._network, self, address, translator, hairpinning=hairpinning)
        return nat

    @property
    def hosts(self) -> "list[VirtualHost]":
        """The hosts here, and after them those behind NATs."""
        return [*self.neighbours, *(host for nat in self._nats.values() for host in nat.hosts)]

    @property
    def neighbours(self) -> "list[VirtualHost]":
        """The hosts here, which hear each other's multicasts."""
        return list(dict.fromkeys(self._hosts.values()))

    def find_host(self, host: str) -> "VirtualHost | None":
        """The host that has an address or name, if there is one."""
        named = (candidate for candidate in self._hosts.values() if candidate.name == host)
        return self._hosts.get(host) or next(named, None)

    def route(self, from_: Address, to: Address, now: float) -> "Route | None":
        """The way of a datagram that is sent here; None if there is none."""
        node = self._nats.get(to[0])
        if node is not None:
            return node.enter(from_, to, now)
        host = self._hosts.get(to[0])
        return None if host is None else Route(from_, to, host)

    def _refuse_if_taken(self, address: str) -> None:
        if address in self._hosts or address in self._nats:
            raise ValueError(f"{address} is the address of another host already")


class VirtualNat(Realm):
    """A NAT, and the realm behind it."""

    def __init__(
        self, network: "VirtualNetwork", outside: Realm, address: str, translator: Translator, *, hairpinning: bool
    ) -> None:
        super().__init__(network, f"{outside.name}{address}/")
        self.address = address
        self.hairpinning = hairpinning
        self._outside = outside
        self._translator = translator

    def __repr__(self) -> str:
        return f"<VirtualNat {self.address}>"

    @property
    def mappings(self) -> list[Mapping]:
        """What it remembers now."""
        return self._translator.mappings(trio.current_time())

    def rebind(self) -> None:
        """Forget everything, as NATs do that are restarted: hosts that go on sending appear at other ports.

        With `preserve_ports`, the first of them appears where it was, but nobody outside may send there before that.
        """
        self._translator.forget_all()

    def find_host(self, host: str) -> "VirtualHost | None":
        """The host behind this NAT that has an address or name, or one outside."""
        return super().find_host(host) or self._outside.find_host(host)

    def route(self, from_: Address, to: Address, now: float) -> "Route | None":
        """The way of a datagram that is sent behind this NAT."""
        if to[0] in self._hosts or to[0] in self._nats:
            return super().route(from_, to, now)
        if (":" in to[0]) != (":" in self.address) or (to[0] == self.address and not self.hairpinning):
            return None
        return self._outside.route(self._translator.send(from_, to, now).outside, to, now)

    def enter(self, from_: Address, to: Address, now: float) -> "Route | None":
        """The way of a datagram that comes from outside. Whether it is let in is seen when it arrives."""
        mapping = self._translator.find(to[1], now)
        route = None if mapping is None else super().route(from_, mapping.inside, now)
        if mapping is None or route is None:
            return None
        return route._replace(mappings=(mapping, *route.mappings))


class Route(NamedTuple):
    """Where a datagram goes, under which addresses it arrives, and which NATs it has to be let in by."""

    from_: Address
    to: Address
    receiver: "VirtualHost"
    mappings: tuple[Mapping, ...] = ()

    def is_open(self, now: float) -> bool:
        """Whether all NATs let it in."""
        return all(mapping.admits(self.from_, now) for mapping in self.mappings)


class VirtualNetwork(Realm):
    """Hosts, and the links between them. The keyword arguments after `seed` are those of every `Link`."""

    def __init__(self, *, seed: int, **conditions: Any) -> None:
        super().__init__(self, "")
        self.seed = seed
        self.log: deque[LogEntry] = deque(maxlen=LOG_LENGTH)
        """What was sent, and which sockets were closed, in this order."""
        self.counters: Counter[Fate] = Counter()
        """How many datagrams met which fate."""
        self.lookup_delay = 0.0
        """Seconds that it takes to look up a name."""
        self._conditions = conditions
        self._links: dict[tuple[VirtualHost, VirtualHost], Link] = {}
        self._cut_addresses: set[frozenset[str]] = set()
        self._sequence = itertools.count()
        Link(random=random.Random(0), **conditions)  # names a wrong argument here and not at the first datagram

    def link(self, from_: "VirtualHost", to: "VirtualHost") -> Link:
        """The way from one host to another, to be changed at any time."""
        link = self._links.get((from_, to))
        if link is None:
            seed = f"{self.seed} {from_.path} {to.path}"
            link = self._links[from_, to] = Link(random=random.Random(seed), **self._conditions)
        return link

    def cut(self, one: "VirtualHost", other: "VirtualHost") -> None:
        """Drop whatever is sent between two hosts from now on, in both directions."""
        self.link(one, other).cut = self.link(other, one).cut = True

    def heal(self, one: "VirtualHost", other: "VirtualHost") -> None:
        """Undo `cut`."""
        self.link(one, other).cut = self.link(other, one).cut = False

    def cut_addresses(self, one: str, other: str) -> None:
        """Drop whatever is sent between two addresses from now on, while other addresses of the hosts go on."""
        self._cut_addresses.add(frozenset((one, other)))

    def heal_addresses(self, one: str, other: str) -> None:
        """Undo `cut_addresses`."""
        self._cut_addresses.discard(frozenset((one, other)))

    @property
    def open_sockets(self) -> list[VirtualSocket]:
        """The sockets that nobody has closed yet."""
        return [socket for host in self.hosts for socket in host.open_sockets]

    def carry(self, sender: "VirtualHost", from_: Address, to: Address, data: bytes) -> None:
        """Let a datagram meet its fate. Called by sockets."""
        if ipaddress.ip_address(to[0]).is_multicast:
            for host in sender.realm.neighbours:
                for member in host.members.get(to, ()):
                    self._carry(sender, from_, to, data, Route(from_, to, host), member)
        else:
            route = sender.realm.route(from_, to, trio.current_time())
            socket = None if route is None else route.receiver.find_socket(route.to)
            self._carry(sender, from_, to, data, route, socket)

    def _carry(
        self,
        sender: "VirtualHost",
        from_: Address,
        to: Address,
        data: bytes,
        route: Route | None,
        socket: VirtualUdpSocket | None,
    ) -> None:
        now = trio.current_time()
        if route is None:
            fate = Fate.NOBODY_THERE
        else:
            cut = frozenset((from_[0], to[0])) in self._cut_addresses
            link = self.link(sender, route.receiver)
            fate, arrivals = link.carry(len(data) + header_size(to[0]), now, cut=cut)
            if socket is not None:
                for arrival in arrivals:
                    socket.put(arrival, next(self._sequence), route, data)
            elif fate is Fate.CARRIED:
                fate = Fate.NOBODY_THERE
        self.counters[fate] += 1
        self.log.append(DatagramSent(now, from_, to, data, fate))

    def carry_segment(
        self, sender: "VirtualHost", receiver: "VirtualHost", from_: Address, to: Address, packet_size: int, now: float
    ) -> float | None:
        """Let a part of a TCP stream meet its fate; say when it arrives, None if it does not. Called by sockets."""
        cut = frozenset((from_[0], to[0])) in self._cut_addresses
        fate, arrivals = self.link(sender, receiver).carry(packet_size, now, cut=cut)
        self.counters[fate] += 1
        return arrivals[0] if arrivals else None


class VirtualHost:
    """A host of a virtual network: give it to `open_peer_connection(network=...)`."""

    def __init__(self, network: VirtualNetwork, realm: Realm, addresses: Sequence[str], name: str | None) -> None:
        self.network = network
        self.realm = realm
        """The hosts that it reaches without translation."""
        self.addresses = tuple(addresses)
        self.name = name
        self.mtu = 1500
        """The largest IP packet that this host's own interfaces take; senders of larger ones get an error."""
        self.bandwidth: float | None = None
        """Bytes per second that leave this host; None: no bottleneck. Its sockets refuse what they have no room for."""
        self.sockets: dict[Address, VirtualUdpSocket] = {}
        self.members: dict[Address, list[VirtualUdpSocket]] = {}
        """The sockets that have joined a multicast group."""
        self.listeners: dict[Address, VirtualTcpListener] = {}
        self.connections: dict[VirtualTcpSocket, None] = {}
        self._blocked = False
        self._busy_until = 0.0
        self._free_ports = itertools.count(FIRST_FREE_PORT)

    def __repr__(self) -> str:
        return f"<VirtualHost {self.name or self.addresses[0]}>"

    @property
    def path(self) -> str:
        """Its first address, behind those of the NATs that it is behind."""
        return f"{self.realm.name}{self.addresses[0]}"

    @property
    def blocked(self) -> bool:
        """Whether this host's sockets have no room for anything."""
        return self._blocked

    @blocked.setter
    def blocked(self, blocked: bool) -> None:
        self._blocked = blocked
        for socket in self.sockets.values():
            socket.look_for_room()
        for connection in self.connections:
            connection.look_for_room()

    @property
    def open_sockets(self) -> list[VirtualSocket]:
        """The sockets that nobody has closed yet."""
        members = (member for group in self.members.values() for member in group)
        return [*self.sockets.values(), *members, *self.listeners.values(), *self.connections]

    def interfaces(self) -> Sequence[Interface]:
        """The addresses of this host, in the order of their making."""
        return [Interface(f"veth{index}", address) for index, address in enumerate(self.addresses)]

    def open_udp(self, address: Address, options: SocketOptions = DEFAULT_OPTIONS) -> VirtualUdpSocket:
        """Bind a socket, with port 0 to one that is free. Raises OSError."""
        bound = self._bind(self.sockets, address, options)
        socket = self.sockets[bound] = VirtualUdpSocket(self, bound, ipv6_only=options.ipv6_only)
        return socket

    def listen_tcp(self, address: Address, options: SocketOptions = DEFAULT_OPTIONS) -> VirtualTcpListener:
        """Listen for connections, with port 0 on one that is free. Raises OSError."""
        bound = self._bind(self.listeners, address, options)
        listener = self.listeners[bound] = VirtualTcpListener(self, bound, ipv6_only=options.ipv6_only)
        return listener

    def _bind(self, bound: dict[Address, _Bound], address: Address, options: SocketOptions) -> Address:
        """The address for one more socket of a kind."""
        host, port = address
        if options.reuse_port:
            raise os_error(errno.ENOPROTOOPT)  # like a system that gives a port to one socket only
        if host not in self.addresses and not is_wildcard(host):
            raise os_error(errno.EADDRNOTAVAIL)
        taken = set(bound)
        taken |= {("0.0.0.0", number) for (other, number), socket in bound.items() if not socket.ipv6_only}
        wanted = (host,) if host != "::" or options.ipv6_only else ("::", "0.0.0.0")
        if port == 0:
            port = next(port for port in self._free_ports if not taken.intersection((name, port) for name in wanted))
        if taken.intersection((name, port) for name in wanted):
            raise os_error(errno.EADDRINUSE)
        return host, port

    async def connect_tcp(self, local_host: str | None, remote: Address) -> VirtualTcpSocket:
        """Open a TCP connection. Raises OSError. If cancelled, nothing is left behind."""
        if local_host is not None and local_host not in self.addresses:
            raise os_error(errno.EADDRNOTAVAIL)
        local_address = local_host or self.default_source(remote[0]), next(self._free_ports)
        return await connect(self, local_address, remote)

    def open_multicast(self, group: Address, interface: Interface) -> VirtualUdpSocket:
        """Join a multicast group; every host of the network that has joined it hears what is sent there."""
        socket = VirtualUdpSocket(self, group, source=interface.address)
        self.members.setdefault(group, []).append(socket)
        return socket

    async def resolve(self, host: str, port: int, *, limiter: trio.CapacityLimiter | None = None) -> Sequence[Address]:
        """Look up a host of the same network by its name or one of its addresses, without a thread. Raises OSError."""
        await trio.sleep(self.network.lookup_delay)
        found = self.realm.find_host(host)
        if found is None:
            raise OSError(f"no host of this network is called {host}")
        return [(host, port)] if host in found.addresses else [(address, port) for address in found.addresses]

    def find_socket(self, address: Address) -> VirtualUdpSocket | None:
        """The socket that gets what is sent to an address."""
        return _find(self.sockets, address)

    def find_listener(self, address: Address) -> VirtualTcpListener | None:
        """The listener that gets connections to an address."""
        return _find(self.listeners, address)

    def default_source(self, to: str) -> str:
        """This host's first address of a family, whatever is answered to: as the kernel does it."""
        for address in self.addresses:
            if (":" in address) == (":" in to):
                return address
        raise os_error(errno.ENETUNREACH)

    def forget_socket(self, closed: VirtualUdpSocket) -> None:
        """A socket of this host has been closed."""
        members = self.members.get(closed.local_address, [])
        if closed in members:
            members.remove(closed)
        else:
            del self.sockets[closed.local_address]
        self.network.log.append(SocketClosed(trio.current_time(), closed.local_address))

    def time_on_wire(self, packet_size: int, now: float) -> float:
        """Occupy the host's way out; say when the packet has left it."""
        if self.bandwidth is None:
            return now
        self._busy_until = max(now, self._busy_until) + packet_size / self.bandwidth
        return self._busy_until


def _find(bound: dict[Address, _Bound], address: Address) -> _Bound | None:
    """Of the sockets of a kind, the one that an address leads to."""
    host, port = address
    if ":" in host:
        return bound.get(address) or bound.get(("::", port))
    both = bound.get(("::", port))
    return bound.get(address) or bound.get(("0.0.0.0", port)) or (None if both is None or both.ipv6_only else both)
