"""PeerConnection: W3C's RTCPeerConnection with Trio's manners, born and ended in `open_peer_connection()`."""

import datetime
import logging
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Final, Literal, NoReturn, Protocol, assert_never, final

import trio

from trio_webrtc.configuration import Certificate, Configuration
from trio_webrtc.core import dtls, ice
from trio_webrtc.core.datachannel import (
    MAX_STREAM_ID,
    Channel,
    ChannelArrived,
    ChannelParameters,
    ChannelRefused,
    ChannelsChanged,
    ChannelState,
    WindowHeldShut,
)
from trio_webrtc.core.ice import (
    CandidatePair,
    ConnectionReleased,
    ConnectionWanted,
    CredentialsInUse,
    GatheringCompleted,
    LocalCandidateGathered,
)
from trio_webrtc.core.jsep import Kind, Which
from trio_webrtc.core.mdns import is_local_name
from trio_webrtc.core.peer import (
    ConnectionState,
    ConnectionStateChanged,
    Ended,
    PeerCore,
    PeerSettings,
)
from trio_webrtc.core.signalling import GatheringStarted, NameFound, NegotiationNeeded
from trio_webrtc.data_channel import PRIORITY_WEIGHTS, DataChannel, Priority
from trio_webrtc.descriptions import IceCandidate, SessionDescription
from trio_webrtc.errors import CloseReason, ConnectionFailedError, FailureReason, UsageError
from trio_webrtc.shell.capture import Capture, open_capture
from trio_webrtc.shell.connecting import connect
from trio_webrtc.shell.gathering import GatheringSettings, OwnSockets
from trio_webrtc.shell.holdings import Belonging
from trio_webrtc.shell.host import HOST_NETWORK
from trio_webrtc.shell.lookups import NameLookups
from trio_webrtc.shell.mdns import NameResolver
from trio_webrtc.shell.network import Network
from trio_webrtc.shell.path import Path, open_path
from trio_webrtc.shell.scope import scope
from trio_webrtc.statistics import StatsReport, collect
from trio_webrtc.subscriptions import Latest, Replay

ConnectionStateString = Literal["new", "connecting", "connected", "disconnected", "failed", "closed"]
GatheringStateString = Literal["new", "gathering", "complete"]

logger: Final = logging.getLogger(__name__)

MAX_LABEL_BYTES: Final = 65_535
"""RFC 8832 §5.1: the length of label and protocol is 16 bits on the wire."""

MAX_RETRANSMITS: Final = 65_535
"""W3C: an unsigned short."""

MAX_PACKET_LIFE_TIME: Final = 65.535
"""Seconds; W3C: an unsigned short of milliseconds."""

_protected = trio.lowlevel.enable_ki_protection


@scope
async def open_peer_connection(
    configuration: Configuration | None = None, *, network: Network = HOST_NETWORK
) -> AsyncIterator["PeerConnection"]:
    """Own one connection to one peer, from its first socket to its last goodbye.

    Leaving the scope ends the connection, however it is left. The clean way first waits, at most
    `configuration.linger` seconds, for the peer to acknowledge what was sent; an exception or a cancellation does not.
    Then the peer is told (SCTP SHUTDOWN or ABORT, DTLS close_notify), at most `configuration.close_timeout` seconds
    are spent on getting that out, shielded from cancellation, and every socket is freed.

    If the peer ends the connection, or it is lost, the body is not cancelled: its operations raise what the
    connection's end means for them. An exception in the body comes out as itself.

    Args:
        configuration: how to connect and how to end; None for the defaults.
        network: the world outside; a `trio_webrtc.testing.VirtualHost` in tests.
    """
    configuration = configuration or Configuration()
    make_ways = partial(OwnSockets, network, _gathering_settings(configuration), random.SystemRandom())
    async with run_peer_connection(configuration, network, make_ways) as connection:
        yield connection


class Ways(Protocol):
    """Where the ways of one peer to the world come from."""

    async def gather(self) -> None:
        """Tell the core of every local address, and of the end of them. To be run by the path."""

    def know(self, credentials: Sequence[ice.Credentials]) -> None:
        """Learn by which names the peer may ask for us, and with which passwords."""


@scope
async def run_peer_connection(
    configuration: Configuration, network: Network, make_ways: Callable[[Path, PeerCore], Ways]
) -> AsyncIterator["PeerConnection"]:
    """What `open_peer_connection()` is, on whatever ports."""
    with ExitStack() as resources:
        capture = None
        if configuration.capture_folder is not None:
            capture = resources.enter_context(open_capture(configuration.capture_folder))
        connection = PeerConnection(configuration, network, capture, make_ways)
        async with open_path(connection._path):
            yield connection
            await connection._linger()


def _gathering_settings(configuration: Configuration) -> GatheringSettings:
    return GatheringSettings(
        stun_hosts=[host for server in configuration.ice_servers for host in server.stun_hosts],
        interface_filter=configuration.interface_filter,
        port_range=configuration.port_range,
        announced_hosts=configuration.announced_hosts,
        tcp=configuration.ice_tcp and not configuration.ice_lite,
    )


def _peer_settings(configuration: Configuration, capture: Capture | None) -> PeerSettings:
    if configuration.certificates:
        certificate = configuration.certificates[0]
    else:
        certificate = Certificate.generate(now=datetime.datetime.now(datetime.UTC))
    return PeerSettings(
        dtls_context=dtls.Context(
            certificate, settings=configuration.dtls, on_secret=None if capture is None else capture.write_secret
        ),
        credentials=ice.Credentials(*configuration.ice_credentials) if configuration.ice_credentials else None,
        ice_lite=configuration.ice_lite,
        verify_remote_certificate=configuration.verify_remote_certificate,
        restart_timeout=configuration.restart_timeout,
        max_channels=configuration.max_channels,
        on_packet=None if capture is None else capture.write_packet,
        ice_settings=configuration.ice,
        sctp_settings=replace(configuration.sctp, max_message_size=configuration.max_message_size),
    )


@final
class PeerConnection:
    """One connection to one peer; made by `open_peer_connection()`.

    What arrives is a `trio.abc.ReceiveChannel`; what takes time can be cancelled. The states are W3C's strings.
    """

    def __init__(
        self,
        configuration: Configuration,
        network: Network,
        capture: Capture | None,
        make_ways: Callable[[Path, PeerCore], Ways],
    ) -> None:
        self._configuration = configuration
        self._network = network
        settings = _peer_settings(configuration, capture)
        self._core = PeerCore(settings=settings, rng=random.SystemRandom(), now=trio.current_time())
        self._path = Path(self._core, deliver=self._deliver, close_timeout=configuration.close_timeout)
        self._ways = make_ways(self._path, self._core)
        self._is_gathering = False
        self._has_refused = False
        found = partial(_tell_of_name, self._path, self._core)  # no method, or this and they would keep each other
        self._local_names = NameResolver(network, configuration.interface_filter, found)
        self._lookups = NameLookups(network, found)
        self._channels: dict[Channel, DataChannel] = {}
        self._arriving, self.incoming_data_channels = trio.open_memory_channel[DataChannel](
            configuration.max_incoming_channels
        )
        self._candidates: Replay[IceCandidate] = Replay()
        self._offers_due: Latest[None] = Latest(None)
        self._state: Latest[ConnectionStateString] = Latest("new")
        self._gathering_state: GatheringStateString = "new"
        self._news = trio.lowlevel.ParkingLot()

    def __repr__(self) -> str:
        return f"<PeerConnection {self.connection_state}>"

    # -- states --------------------------------------------------------------------------------------------------

    @property
    def connection_state(self) -> ConnectionStateString:
        """W3C's RTCPeerConnectionState: the connection as a whole."""
        return self._core.connection_state.value

    @property
    def ice_connection_state(self) -> str:
        """W3C's RTCIceConnectionState."""
        return self._core.agent.state.value

    @property
    def ice_gathering_state(self) -> GatheringStateString:
        """W3C's RTCIceGatheringState."""
        return self._gathering_state

    @property
    def signaling_state(self) -> str:
        """W3C's RTCSignalingState."""
        return self._core.signalling.state.value

    @property
    def close_reason(self) -> CloseReason | None:
        """Why the connection has ended; None while it has not."""
        return self._core.close_reason

    def connection_states(self) -> trio.abc.ReceiveChannel[ConnectionStateString]:
        """The present state, then every later one; a slow reader sees the latest; ends after "closed"."""
        return self._state.subscribe()

    # -- offer and answer (RFC 9429) -----------------------------------------------------------------------------

    @property
    def local_description(self) -> SessionDescription | None:
        """What we last described, be it pending or current, with the candidates gathered so far."""
        return self.pending_local_description or self.current_local_description

    @property
    def remote_description(self) -> SessionDescription | None:
        """What the peer last described, be it pending or current."""
        return self.pending_remote_description or self.current_remote_description

    @property
    def current_local_description(self) -> SessionDescription | None:
        """Our part of the last completed exchange, with the candidates gathered so far."""
        return _description(self._core.signalling.describe(Which.CURRENT_LOCAL))

    @property
    def pending_local_description(self) -> SessionDescription | None:
        """Our part of an exchange under way, with the candidates gathered so far."""
        return _description(self._core.signalling.describe(Which.PENDING_LOCAL))

    @property
    def current_remote_description(self) -> SessionDescription | None:
        """The peer's part of the last completed exchange."""
        return _description(self._core.signalling.describe(Which.CURRENT_REMOTE))

    @property
    def pending_remote_description(self) -> SessionDescription | None:
        """The peer's part of an exchange under way."""
        return _description(self._core.signalling.describe(Which.PENDING_REMOTE))

    async def create_offer(self) -> SessionDescription:
        """An offer of what this side wants; changes nothing until `set_local_description()`.

        Raises UsageError while an answer is being waited for or owed. Cancelling changes nothing.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        return SessionDescription("offer", self._core.signalling.create_offer())

    async def create_answer(self) -> SessionDescription:
        """An answer to the peer's offer; changes nothing until `set_local_description()`.

        Raises UsageError where there is no offer to answer. Cancelling changes nothing.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        return SessionDescription("answer", self._core.signalling.create_answer())

    async def set_local_description(self, description: SessionDescription | None = None) -> None:
        """Apply our own description, and start gathering candidates; None makes the offer or answer that is due.

        Raises UsageError if the description does not fit the signalling state. If cancelled, nothing was applied.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        type_, sdp = (description.type, description.sdp) if description is not None else (None, None)
        self._apply(partial(self._core.set_local_description, type_, sdp))
        if self._core.signalling.wants_candidates and not self._is_gathering:
            self._is_gathering = True
            self._gathering_state = "gathering"
            self._path.start_soon(self._ways.gather)

    async def set_remote_description(self, description: SessionDescription) -> None:
        """Apply the peer's description.

        Raises InvalidDescriptionError if it breaks the grammar (naming the line) or the rules, and UsageError if it
        does not fit the signalling state; nothing was applied then, nor if cancelled.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        self._apply(partial(self._core.set_remote_description, description.type, description.sdp))

    async def add_ice_candidate(self, candidate: IceCandidate | None) -> None:
        """Take a candidate of the peer's (trickle ICE, RFC 8838); None says that no more will follow.

        Candidates may come before the remote description. Those of a generation that is over are ignored. Raises
        InvalidDescriptionError for a candidate that is none, and UsageError for one of a media section that does not
        exist. If cancelled, nothing was added.
        """
        await trio.lowlevel.checkpoint()
        self._check_open()
        if candidate is None:
            candidate = IceCandidate("")
        self._apply(
            partial(
                self._core.add_remote_candidate,
                candidate.candidate,
                candidate.sdp_mid,
                candidate.sdp_m_line_index,
                candidate.username_fragment,
            )
        )

    def restart_ice(self) -> None:
        """Have the next offer look for a new way to the peer; data flows on the old one meanwhile (RFC 8445 §9)."""
        self._check_open()
        self._apply(self._core.restart_ice)

    def negotiation_needed(self) -> trio.abc.ReceiveChannel[None]:
        """A None whenever an offer should be made; those that nobody has taken yet count as one."""
        return self._offers_due.subscribe(skip_present=not self._core.signalling.needs_negotiation)

    # -- candidates ----------------------------------------------------------------------------------------------

    def local_candidates(self) -> trio.abc.ReceiveChannel[IceCandidate]:
        """Our candidates for the peer, as they are found; each call gives all of this generation, and ends with it."""
        return self._candidates.subscribe()

    async def wait_gathering_complete(self) -> None:
        """Wait until `local_description` has every candidate.

        That is at most a few seconds after `set_local_description()`, whatever STUN servers do, and at once if there is
        nothing in the description that candidates could be for. Cancelling changes nothing. Raises
        trio.ClosedResourceError if the connection ends before.
        """
        await trio.lowlevel.checkpoint()
        while self._gathering_state != "complete" and not self._has_nothing_to_gather_for:
            self._check_open()
            await self._news.park()

    def _resolve(self, name: str) -> None:
        """Find out the address behind a name of the peer's. A lite agent has no use for it: the peer comes to it."""
        is_local = is_local_name(name)
        asks = self._configuration.resolve_local_names if is_local else self._configuration.resolve_names
        resolver = self._local_names if is_local else self._lookups
        if asks and not self._configuration.ice_lite and not self._core.closed and resolver.ask(name):
            self._path.start_soon(resolver.run)

    def _connect(self, wanted: ConnectionWanted) -> None:
        if not self._core.closed:
            self._path.start_soon(connect, self._path, self._core, self._network, wanted)

    @property
    def _has_nothing_to_gather_for(self) -> bool:
        return not self._core.signalling.wants_candidates and self.local_description is not None

    # -- data channels -------------------------------------------------------------------------------------------

    def create_data_channel(
        self,
        label: str,
        *,
        ordered: bool = True,
        max_retransmits: int | None = None,
        max_packet_life_time: float | None = None,
        protocol: str = "",
        negotiated: bool = False,
        id: int | None = None,
        priority: Priority = "low",
    ) -> DataChannel:
        """Make a data channel, which opens when the connection is up (RFC 8831, RFC 8832).

        Args:
            label: any text up to 65,535 bytes of UTF-8.
            ordered: whether messages arrive in the order in which they were sent.
            max_retransmits: how often a lost message is sent again before it is given up.
            max_packet_life_time: seconds after which a message is given up.
            protocol: the application's subprotocol.
            negotiated: whether the peer's application makes the same channel by itself, with the same `id`.
            id: the SCTP stream, 0 to 65534, for a negotiated channel.
            priority: how the channel stands to the others.

        Raises:
            UsageError: what is asked for contradicts itself, or the id is in use.
            trio.ClosedResourceError: the connection has ended.
        """
        self._check_open()
        for name, text in (("label", label), ("protocol", protocol)):
            if len(text.encode()) > MAX_LABEL_BYTES:
                raise UsageError(f"the {name} has more than {MAX_LABEL_BYTES} bytes; choose a shorter one")
        if max_retransmits is not None and max_packet_life_time is not None:
            raise UsageError("give max_retransmits or max_packet_life_time, not both")
        if max_retransmits is not None and not 0 <= max_retransmits <= MAX_RETRANSMITS:
            raise UsageError(f"max_retransmits is a number from 0 to {MAX_RETRANSMITS}")
        if max_packet_life_time is not None and not 0 <= max_packet_life_time <= MAX_PACKET_LIFE_TIME:
            raise UsageError(f"max_packet_life_time is a number of seconds from 0 to {MAX_PACKET_LIFE_TIME}")
        if priority not in PRIORITY_WEIGHTS:
            raise UsageError(f"priority is one of {', '.join(PRIORITY_WEIGHTS)}")
        if negotiated is (id is None):
            raise UsageError("a negotiated channel needs an id, and only a negotiated channel takes one")
        if id is not None and not 0 <= id <= MAX_STREAM_ID:
            raise UsageError(f"id is a number from 0 to {MAX_STREAM_ID}")
        parameters = ChannelParameters(
            label=label,
            protocol=protocol,
            ordered=ordered,
            max_retransmits=max_retransmits,
            max_packet_life_time=max_packet_life_time,
            negotiated=negotiated,
            priority=PRIORITY_WEIGHTS[priority],
        )
        return self._create_data_channel(parameters, id)

    @_protected
    def _create_data_channel(self, parameters: ChannelParameters, stream_id: int | None) -> DataChannel:
        channel = self._hold(self._core.create_channel(parameters, stream_id, trio.current_time()))
        self._path.touched()
        return channel

    def _hold(self, channel: Channel) -> DataChannel:
        held = self._channels[channel] = DataChannel(
            channel, self._core, self._path, high_water_mark=self._configuration.high_water_mark
        )
        return held

    # -- the connection as a whole -------------------------------------------------------------------------------

    async def wait_connected(self) -> None:
        """Wait until the way to the peer is found and secured.

        Cancelling changes nothing. Raises ConnectionFailedError, whose text tells the pairs tried, if there is none,
        and trio.ClosedResourceError if the connection was closed on this side.
        """
        await trio.lowlevel.checkpoint()
        while (state := self._core.connection_state) is not ConnectionState.CONNECTED:
            if state in (ConnectionState.FAILED, ConnectionState.CLOSED):
                self._raise_why_ended()
            await self._news.park()

    async def wait_closed(self) -> CloseReason:
        """Wait until the connection has ended and all it had is freed, and return why. Cancelling changes nothing."""
        await self._path.freed.wait()
        assert self._core.close_reason is not None
        return self._core.close_reason

    @_protected
    async def aclose(self) -> None:
        """End the connection as leaving its scope cleanly does; whoever waits on it gets trio.ClosedResourceError.

        May be called twice, from several tasks, and from those that read from it. If cancelled, it does not wait for
        acknowledgements, but says goodbye all the same, within `close_timeout`.
        """
        try:
            await self._linger()
        finally:
            await self._hang_up()  # noqa: ASYNC102 - shields itself, for `close_timeout` at most

    @property
    def selected_candidate_pair(self) -> CandidatePair | None:
        """The pair of candidates that data travels between, or None."""
        return self._core.agent.selected_pair

    @property
    def remote_certificates(self) -> tuple[bytes, ...]:
        """The peer's certificate chain in DER, its own first; empty before the DTLS handshake."""
        return self._core.stage.remote_certificates

    def get_stats(self) -> StatsReport:
        """What has been counted and measured so far: W3C's records, each under its id."""
        return collect(self._core, trio.current_time())

    async def _linger(self) -> None:
        with trio.move_on_after(self._configuration.linger):
            while self._core.has_unacknowledged:
                await self._news.park()
            self._core.finish_lingering()

    def _check_open(self) -> None:
        if self._core.closed:
            raise trio.ClosedResourceError("the peer connection has ended")

    def _raise_why_ended(self) -> NoReturn:
        if self._core.close_reason is CloseReason.LOCAL:
            raise trio.ClosedResourceError
        if self._core.error is not None:
            raise ConnectionFailedError(str(self._core.error), self._core.error.reason) from self._core.error
        raise ConnectionFailedError("the peer closed the connection before it was up", FailureReason.CLOSED_BY_PEER)

    # -- what its server asks of it ------------------------------------------------------------------------------

    @_protected
    def _enlist(self, membership: Belonging) -> None:
        """Answer to one's names from now on, and close the membership at the connection's end."""
        self._path.own(membership)
        self._path.touched()  # which delivers the names

    @_protected
    async def _hang_up(self) -> None:
        """End the connection without waiting for acknowledgements, within `close_timeout`; cancelled or not."""
        await self._path.aclose()

    # -- the core's news -----------------------------------------------------------------------------------------

    @_protected
    def _apply(self, command: Callable[[float], None]) -> None:
        """Give the core a command, then pass on what came of it."""
        command(trio.current_time())
        self._deliver()  # at once, where `touched()` may leave it to a flush that is due: states and candidates follow
        self._path.touched()

    @_protected
    def _deliver(self) -> None:
        """Pass on what the core has to tell; called by the path after anything has touched the core."""
        while (event := self._core.poll_event()) is not None:
            match event:
                case ChannelsChanged(channels):
                    for channel in channels:
                        if (held := self._channels.get(channel)) is not None:
                            held.wake()
                            if channel.state is ChannelState.CLOSED:
                                del self._channels[channel]
                case ChannelArrived(channel):
                    self._accept(channel)
                case ChannelRefused(stream_id, reason):
                    self._log_refusal(stream_id, reason)
                case WindowHeldShut(channel):
                    logger.warning(
                        "messages on data channel %r are not being read, which stops all channels of its connection",
                        channel.parameters.label,
                    )
                case LocalCandidateGathered(candidate):
                    self._candidates.append(IceCandidate(*self._core.signalling.describe_candidate(candidate)))
                case GatheringCompleted():
                    self._candidates.end()
                    self._gathering_state = "complete"
                case GatheringStarted():
                    self._candidates.end()
                    self._candidates = Replay()
                    self._gathering_state = "gathering"
                case ConnectionStateChanged(state):
                    self._state.set(state.value)
                case NameFound(name):
                    self._resolve(name)
                case NegotiationNeeded():
                    self._offers_due.set(None)
                case Ended():
                    self._end()
                case CredentialsInUse(credentials):
                    self._ways.know(credentials)
                case ConnectionWanted():
                    self._connect(event)
                case ConnectionReleased(via):
                    self._path.release(via)
                case _:
                    assert_never(event)
        self._news.unpark_all()

    def _accept(self, channel: Channel) -> None:
        try:
            self._arriving.send_nowait(self._hold(channel))
        except trio.WouldBlock:
            self._refuse(channel, f"{self._configuration.max_incoming_channels} wait in incoming_data_channels already")
        except trio.BrokenResourceError:
            # Whoever read them has closed `incoming_data_channels`: no more are wanted.
            self._refuse(channel, "no channels are accepted any more")

    def _refuse(self, channel: Channel, reason: str) -> None:
        del self._channels[channel]
        self._core.channels.refuse(channel, reason, trio.current_time())
        assert channel.id is not None
        self._log_refusal(channel.id, reason)

    def _log_refusal(self, stream_id: int, reason: str) -> None:
        """The first as a warning, the others for who wants details: no peer may fill the log."""
        level = logging.DEBUG if self._has_refused else logging.WARNING
        self._has_refused = True
        logger.log(level, "refused the peer's data channel %d: %s", stream_id, reason)

    def _end(self) -> None:
        """Everything that arrives ends, and everybody who waits is told."""
        self._arriving.close()
        self._candidates.end()
        self._state.end()
        self._offers_due.end()


def _tell_of_name(path: Path, core: PeerCore, name: str, host: str) -> None:
    path.tell(core.resolve_name, name, host, trio.current_time())


def _description(kind_and_text: tuple[Kind, str] | None) -> SessionDescription | None:
    return None if kind_and_text is None else SessionDescription(*kind_and_text)
