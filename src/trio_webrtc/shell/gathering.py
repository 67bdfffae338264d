"""Finds this host's ways to the world: opens a socket on each useful address, looks up the STUN servers' names.

The decisions of ICE are the core's. This module only tells it which sockets there are, and whom to ask (RFC 8445
§5.1.1).
"""

import ipaddress
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import trio

from trio_webrtc.core.contract import Address, Via
from trio_webrtc.core.ice import DISCARD_PORT, BaseKind, Credentials
from trio_webrtc.shell.connecting import ActiveVia
from trio_webrtc.shell.network import Interface, Network, UdpSocket
from trio_webrtc.shell.path import Path
from trio_webrtc.shell.unwrapping import UnwrappingNursery

RESOLVE_TIMEOUT: Final = 3.0
"""How long to wait for the address of a STUN server. Nothing else waits for it."""

_logger = logging.getLogger(__name__)


class GatheringCore(Protocol):
    """What gathering needs of a core."""

    def add_local_base(
        self,
        via: Via,
        address: Address,
        *,
        local_preference: int,
        announced: Sequence[str],
        kind: BaseKind = BaseKind.UDP,
        now: float,
    ) -> None:
        """Use a socket, or an address from which TCP connections can be opened."""

    def add_stun_server(self, server: Address, now: float) -> None:
        """Ask a STUN server for the address that it sees."""

    def end_of_local_bases(self, now: float) -> None:
        """Learn that no socket and no server will be added any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatheringSettings:
    """What the application has to say about it."""

    stun_hosts: Sequence[tuple[str, int]] = ()
    """Names or addresses of STUN servers, with their ports."""
    interface_filter: Callable[[Interface], bool] | None = None
    """Says for each local address whether to use it. None: every useful one (loopback only where nothing else is)."""
    port_range: tuple[int, int] | None = None
    """First and last port to bind to. None: whatever the system gives."""
    announced_hosts: Sequence[str] = ()
    """Addresses to tell the peer in place of the local ones of the same family."""
    tcp: bool = False
    """Whether to open TCP connections to the peer."""


class OwnSockets:
    """The ways to the world of a peer that shares none: sockets of its own on this host's addresses."""

    def __init__(
        self, network: Network, settings: GatheringSettings, rng: random.Random, path: Path, core: GatheringCore
    ) -> None:
        self._network = network
        self._settings = settings
        self._rng = rng
        self._path = path
        self._core = core

    @trio.lowlevel.enable_ki_protection
    async def gather(self) -> None:
        """Open what there is to open; to be run by the path. See `gather`."""
        await gather(self._path, self._core, self._network, self._settings, self._rng)

    def know(self, credentials: Sequence[Credentials]) -> None:
        """Nobody else listens on these sockets: whatever comes is for this peer, or for nobody."""


@trio.lowlevel.enable_ki_protection
async def gather(
    path: Path, core: GatheringCore, network: Network, settings: GatheringSettings, rng: random.Random
) -> None:
    """Tell the core of every socket at once, of every STUN server as soon as its address is known, and of the end.

    To be run by `path.start_soon`. Sockets are the path's from the moment when they exist; cancelling is harmless.
    """
    await trio.lowlevel.checkpoint()  # the path may have ended before this task has had its first turn
    opened = 0
    for interfaces in choose_interfaces(network.interfaces(), settings.interface_filter):
        for preference, interface in _preferences(interfaces):
            socket = _open_socket(network, interface.address, settings.port_range, rng)
            if socket is not None:
                port = path.add_socket(socket)
                announced = _same_family(interface.address, settings.announced_hosts)
                path.tell(
                    core.add_local_base,
                    port.via(),
                    port.local_address,
                    local_preference=preference,
                    announced=announced,
                    now=trio.current_time(),
                )
                opened += 1
                if settings.tcp:  # a base with the port 9, from which nothing comes or goes itself (RFC 6544 §4.5)
                    path.tell(
                        core.add_local_base,
                        ActiveVia(interface.address),
                        (interface.address, DISCARD_PORT),
                        local_preference=preference,
                        announced=announced,
                        kind=BaseKind.TCP_ACTIVE,
                        now=trio.current_time(),
                    )
        if opened:
            break
    if opened:
        async with UnwrappingNursery() as nursery:
            for host, number in settings.stun_hosts:
                nursery.start_soon(_add_stun_server, path, core, network, host, number)
    path.tell(core.end_of_local_bases, trio.current_time())


def choose_interfaces(
    interfaces: Iterable[Interface], interface_filter: Callable[[Interface], bool] | None = None
) -> list[list[Interface]]:
    """The addresses to use, and those to fall back on if none of the former can be used.

    Loopback and link-local addresses are of no use to peers elsewhere, and RFC 8445 §5.1.1.1 leaves loopback out. They
    are better than nothing: a machine or a network namespace may have no others, and peers in it can meet there.
    """
    usable = []
    for interface in interfaces:
        address = ipaddress.ip_address(interface.address)
        if not (address.is_unspecified or address.is_multicast):
            usable.append((interface, address))
    if interface_filter is not None:
        return [[interface for interface, _ in usable if interface_filter(interface)]]
    useful: list[Interface] = []
    fallback: list[Interface] = []
    for interface, address in usable:
        (fallback if address.is_loopback or address.is_link_local else useful).append(interface)
    return [useful, fallback]


def _preferences(interfaces: Sequence[Interface]) -> list[tuple[int, Interface]]:
    """Local preferences (RFC 8445 §5.1.2.1): IPv6 first and the families interleaved (RFC 8421 §4)."""
    families: dict[bool, int] = {True: 0, False: 0}
    ranked = []
    for interface in interfaces:
        is_ipv6 = ":" in interface.address
        rank = families[is_ipv6] * 2 + (not is_ipv6)
        families[is_ipv6] += 1
        ranked.append((65_535 - rank, interface))
    return sorted(ranked, key=lambda item: item[0], reverse=True)


def _same_family(host: str, announced_hosts: Sequence[str]) -> tuple[str, ...]:
    return tuple(announced for announced in announced_hosts if (":" in announced) == (":" in host))


def _open_socket(
    network: Network, host: str, port_range: tuple[int, int] | None, rng: random.Random
) -> UdpSocket | None:
    """Bind to some port of the range, or to whatever the system gives; None if the address has none for us."""
    if port_range is None:
        candidates: Sequence[int] = (0,)
    else:
        low, high = port_range
        candidates = rng.sample(range(low, high + 1), high - low + 1)
    for number in candidates:
        try:
            return network.open_udp((host, number))
        except OSError as error:
            _logger.debug("cannot use %s port %d: %s", host, number, error)
    return None


@trio.lowlevel.enable_ki_protection
async def _add_stun_server(path: Path, core: GatheringCore, network: Network, host: str, number: int) -> None:
    """Look up a server, and have the core ask it: one address of each family."""
    addresses: Sequence[Address] = ()
    with trio.move_on_after(RESOLVE_TIMEOUT) as patience:
        try:
            addresses = await network.resolve(host, number)
        except OSError as error:
            _logger.debug("cannot look up STUN server %s: %s", host, error)
    if patience.cancelled_caught:
        _logger.debug("cannot look up STUN server %s: no answer in %.1f s", host, RESOLVE_TIMEOUT)
    first_of_family = {":" in address[0]: address for address in reversed(addresses)}
    for address in first_of_family.values():
        path.tell(core.add_stun_server, address, trio.current_time())
