"""WebRtcServer: many peers on one UDP and one TCP port, born and ended in `open_webrtc_server()`."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, NamedTuple, final

import trio

from trio_webrtc.configuration import Configuration, ListenAddress
from trio_webrtc.errors import UsageError
from trio_webrtc.first_contact import FirstContact, FirstContacts
from trio_webrtc.peer_connection import PeerConnection, run_peer_connection
from trio_webrtc.shell.accepting import Reception, ReceptionLimits
from trio_webrtc.shell.admission import Admission
from trio_webrtc.shell.host import HOST_NETWORK
from trio_webrtc.shell.listening import ListeningVia, TcpPlace, UdpPlace
from trio_webrtc.shell.network import Network, TcpSocket
from trio_webrtc.shell.scope import scope
from trio_webrtc.shell.sharing import SharedPorts
from trio_webrtc.shell.switchboard import Stranger, Switchboard
from trio_webrtc.shell.unwrapping import UnwrappingNursery
from trio_webrtc.statistics import WebRtcServerStats

_protected = trio.lowlevel.enable_ki_protection


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What a server lets others make it hold. Raises UsageError for what cannot be.

    What one peer can make it hold is bounded by that peer's `Configuration`: above all `sctp.receive_buffer` and
    `high_water_mark` bytes of messages, `max_channels`, and `ice.max_validated` addresses.
    """

    max_peers: int = 10_000
    """Peer connections at a time; `open_peer_connection()` raises UsageError beyond."""
    max_connections: int = 20_000
    """TCP connections at a time that have said whom they are for."""
    max_connections_per_address: int = 1_000
    """The same for one remote IP address, behind which a NAT may hide many peers."""
    max_connections_per_peer: int = 16
    """TCP connections of one peer."""
    max_waiting_connections: int = 1_024
    """TCP connections that have not said whom they are for."""
    max_waiting_connections_per_address: int = 64
    """The same for one remote IP address."""
    first_check_timeout: float = 5.0
    """Seconds that a TCP connection has to say whom it is for."""
    max_unknown_ufrags: int = 128
    """First contacts that nobody has taken yet. The next one is dropped; peers repeat their checks."""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 < value < float("inf")):
                raise UsageError(f"ServerLimits: {name}={value!r}: give a positive number")


class ServerAddress(NamedTuple):
    """Where a server listens."""

    transport: Literal["udp", "tcp"]
    host: str
    port: int


@scope
async def open_webrtc_server(
    *listen_addresses: ListenAddress,
    configuration: Configuration | None = None,
    limits: ServerLimits | None = None,
    network: Network = HOST_NETWORK,
) -> AsyncIterator["WebRtcServer"]:
    """Own some ports, and the connections of all peers on them, from the first datagram to the last goodbye.

    Leaving the scope ends every peer connection of the server as `WebRtcServer.aclose()` does, all of them at once,
    and frees the ports last. An exception or a cancellation waits for no acknowledgements, but every peer is told.

    Args:
        listen_addresses: where to listen, the most preferred first.
        configuration: for the peer connections that are opened without one of their own.
        limits: what others may make the server hold; None for the defaults.
        network: the world outside; a `trio_webrtc.testing.VirtualHost` in tests.

    Raises:
        OSError: it is not possible to listen at one of the addresses, which the text names; none is in use then.
    """
    if not listen_addresses:
        raise UsageError('give at least one address to listen at, such as ListenAddress("udp", "0.0.0.0", 5000)')
    server = WebRtcServer(listen_addresses, configuration or Configuration(), limits or ServerLimits(), network)
    async with UnwrappingNursery() as nursery:
        nursery.start_soon(server._run)
        try:
            yield server
            await server.aclose()
        finally:
            server._tasks.cancel()


@final
class WebRtcServer:
    """Many peers on shared ports; made by `open_webrtc_server()`.

    A datagram finds its peer by the name in a check, and from then on by the address that the check came from.
    """

    def __init__(
        self,
        listen_addresses: tuple[ListenAddress, ...],
        configuration: Configuration,
        limits: ServerLimits,
        network: Network,
    ) -> None:
        self._configuration = configuration
        self._limits = limits
        self._network = network
        self._switchboard = Switchboard(self._on_stranger)
        self._reception = Reception[TcpSocket](
            name="ICE-TCP",
            limits=ReceptionLimits(
                deadline=limits.first_check_timeout,
                max_waiting=limits.max_waiting_connections,
                max_waiting_per_address=limits.max_waiting_connections_per_address,
                max_connections=limits.max_connections,
                max_connections_per_address=limits.max_connections_per_address,
            ),
        )
        self._admission = Admission(self._switchboard, max_connections_per_peer=limits.max_connections_per_peer)
        self._contacts = FirstContacts(limits.max_unknown_ufrags)
        self._peers: dict[PeerConnection, None] = {}
        self._places: list[UdpPlace | TcpPlace] = []
        self._tasks = trio.CancelScope()
        self._is_closing = False
        self._freed = trio.Event()
        self._bind(listen_addresses)

    def __repr__(self) -> str:
        return f"<WebRtcServer at {', '.join(f'{a.transport} {a.host} port {a.port}' for a in self.addresses)}>"

    @property
    def addresses(self) -> tuple[ServerAddress, ...]:
        """Where it listens, in the order in which it was told to."""
        return tuple(ServerAddress(place.listen.transport, *place.local_address) for place in self._places)

    @property
    def unknown_ufrags(self) -> trio.abc.ReceiveChannel[FirstContact]:
        """Those who ask for a name that nobody here has; ends with the server. Unread, it keeps the first few only."""
        return self._contacts

    def get_stats(self) -> WebRtcServerStats:
        """What the server holds now, and what it has turned away."""
        return WebRtcServerStats(
            addresses=self.addresses,
            peers=len(self._peers),
            ufrags=self._switchboard.ufrags,
            remote_addresses=self._switchboard.addresses,
            tcp_connections=self._reception.stats.connections,
            tcp_connections_waiting=self._reception.stats.waiting,
            tcp_connections_refused=dict(self._reception.stats.refused),
            checks_for_unknown_ufrags=self._switchboard.counters.unknown_ufrags,
            first_contacts_dropped=self._contacts.dropped,
            checks_with_wrong_passwords=self._switchboard.counters.wrong_passwords,
            datagrams_from_unknown_addresses=self._switchboard.counters.unknown_addresses,
        )

    # -- peers ---------------------------------------------------------------------------------------------------

    @scope
    async def open_peer_connection(
        self,
        configuration: Configuration | None = None,
        *,
        ice_lite: bool | None = None,
        first_contact: FirstContact | None = None,
    ) -> AsyncIterator[PeerConnection]:
        """Own one connection to one peer on the server's ports; else the same as `trio_webrtc.open_peer_connection()`.

        If the server is closed meanwhile, so is the connection; the body is not cancelled, but its operations raise
        trio.ClosedResourceError.

        Args:
            configuration: how to connect and how to end; None for the server's.
            ice_lite: whether to leave it to the peer to find the way (RFC 8445 §2.5), which takes a server that its
                peers can reach; True if not given.
            first_contact: who has asked for this one. Its check is answered as soon as the connection is open (with
                `ice_lite=False` it is the peer's next one that is), so `configuration.ice_credentials` has to have the
                name asked for. Where nobody has told of the peer's certificate yet, set
                `verify_remote_certificate=False`, and check `remote_certificates` or whatever else proves who the peer
                is.

        Raises:
            UsageError: the server has `max_peers` already, or `ice_credentials` are not possible, which a stranger can
                bring about where they are taken from a first contact: catch it there.
            trio.ClosedResourceError: the server is closed.
        """
        configuration = configuration or self._configuration
        configuration = replace(configuration, ice_lite=ice_lite is None or ice_lite)
        self._check_admissible(configuration, first_contact)
        is_strangers = first_contact is not None
        membership = _Membership(self._peers, self._contacts)
        make_ways = partial(SharedPorts, self._switchboard, self._places, is_strangers, membership.take_leave)
        async with run_peer_connection(configuration, self._network, make_ways) as connection:
            self._check_admissible(configuration, first_contact)  # again: others have had their turns meanwhile
            membership.begin(connection)
            if first_contact is not None:
                self._contacts.forget(first_contact.local_ufrag)
                if first_contact.transport == "udp":
                    self._switchboard.receive([first_contact.stranger.check])
            yield connection

    def _check_admissible(self, configuration: Configuration, first_contact: FirstContact | None) -> None:
        if self._is_closing:
            raise trio.ClosedResourceError("the server is closed")
        if len(self._peers) >= self._limits.max_peers:
            raise UsageError(f"the server has {self._limits.max_peers} peers already; close some or raise max_peers")
        ufrag = None if configuration.ice_credentials is None else configuration.ice_credentials[0]
        if ufrag is not None and self._switchboard.seat_of(ufrag) is not None:
            raise UsageError(f"ice_credentials: a peer of this server has the name {ufrag!r} already; choose another")
        if first_contact is not None and ufrag != first_contact.local_ufrag:
            raise UsageError(f"ice_credentials: give the name that was asked for, {first_contact.local_ufrag!r}")

    def _on_stranger(self, stranger: Stranger) -> None:
        self._contacts.put(
            FirstContact(
                local_ufrag=stranger.local_ufrag,
                remote_ufrag=stranger.remote_ufrag,
                remote_address=stranger.check.from_,
                transport="tcp" if isinstance(stranger.check.via, ListeningVia) else "udp",
                stranger=stranger,
            )
        )

    # -- ports ---------------------------------------------------------------------------------------------------

    def _bind(self, listen_addresses: tuple[ListenAddress, ...]) -> None:
        try:
            for listen in listen_addresses:
                if listen.transport == "udp":
                    self._places.append(UdpPlace(self._network, listen, self._switchboard))
                else:
                    self._places.append(TcpPlace(self._network, listen))
        except BaseException:
            self._free_ports()
            raise

    def _free_ports(self) -> None:
        for place in self._places:
            place.close()

    @_protected
    async def _run(self) -> None:
        """Read and accept, at all places, until cancelled; then end, however that came about."""
        try:
            with self._tasks:
                async with UnwrappingNursery() as nursery:
                    for place in self._places:
                        nursery.start_soon(self._serve_at, place)
                    await trio.sleep_forever()
        finally:
            await self._hang_up_and_free()  # noqa: ASYNC102 - shields itself, within the peers' `close_timeout`

    @_protected
    async def _serve_at(self, place: UdpPlace | TcpPlace) -> None:
        """Serve there until cancelled. If the place is lost before, it is told to no peer any more."""
        if isinstance(place, UdpPlace):
            await place.serve()
        else:
            try:
                await self._reception.serve(place.listener, partial(self._admission.attend, place))
            except OSError:
                pass  # which the reception has written down
        self._places.remove(place)
        place.close()

    # -- the end -------------------------------------------------------------------------------------------------

    @_protected
    async def aclose(self) -> None:
        """End every peer connection, all at once, as its own `aclose()` does; then free the ports.

        May be called twice, from several tasks, and from those that read from a peer. Takes as long as the slowest
        peer, which is bounded by its `linger` and `close_timeout`. If cancelled, it does not wait for acknowledgements,
        but every peer is told all the same.
        """
        self._is_closing = True
        try:
            await self._of_all_peers(PeerConnection.aclose)
        finally:
            self._tasks.cancel()
            with trio.CancelScope(shield=True):  # bounded: `_run()` frees within the peers' `close_timeout`
                await self._freed.wait()

    async def _hang_up_and_free(self) -> None:
        """Have every peer told, then free the ports."""
        self._is_closing = True
        try:
            with trio.CancelScope(shield=True):  # bounded: every path ends within its `close_timeout`
                await self._of_all_peers(PeerConnection._hang_up)
        finally:
            self._free_ports()
            self._contacts.end()
            self._freed.set()

    async def _of_all_peers(self, act: Callable[[PeerConnection], Awaitable[None]]) -> None:
        async with UnwrappingNursery() as nursery:
            for peer in self._peers:
                nursery.start_soon(act, peer)


class _Membership:
    """A peer's entry in its server's list, from when it is admitted until its path has ended."""

    def __init__(self, peers: dict[PeerConnection, None], contacts: FirstContacts) -> None:
        self._peers = peers
        self._contacts = contacts
        self._peer: PeerConnection | None = None
        self._has_begun = False

    def begin(self, peer: PeerConnection) -> None:
        """Admit the peer, which answers to its names from now on."""
        self._has_begun = True
        self._peer = peer
        self._peers[peer] = None
        peer._enlist(self)

    def take_leave(self, former_name: str) -> None:
        """Who asks for the peer by this name from now on is late. One that was not admitted has had none."""
        if self._has_begun:
            self._contacts.take_leave(former_name)

    def close(self) -> None:
        if self._peer is not None:
            self._peers.pop(self._peer, None)
            self._peer = None
