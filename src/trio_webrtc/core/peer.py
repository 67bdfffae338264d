"""One peer: ICE, DTLS, SCTP and data channels composed into one synchronous core.

Datagrams are told apart on their way in (RFC 7983), and the goodbyes are ordered on their way out: each layer pushes
its goodbye on one stack when it comes up, so that they leave innermost first, however the connection ends.
"""

import enum
import random
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, assert_never

from trio_webrtc.core import datachannel, dtls, ice, jsep, sctp
from trio_webrtc.core.address_validation import AmplificationLimit, Way
from trio_webrtc.core.contract import (
    MAX_RUN_BYTES,
    Address,
    Received,
    TimerTable,
    Transmit,
    Via,
    earliest,
    split_run,
)
from trio_webrtc.core.demultiplexing import Protocol, protocol_of
from trio_webrtc.core.signalling import Signalling, SignallingEvent
from trio_webrtc.errors import (
    CloseReason,
    ConnectionFailedError,
    FailureReason,
    PeerError,
)

MAX_EARLY_DTLS: Final = 8
"""DTLS datagrams kept until the remote description says who the client is."""

MTU: Final = 1200
"""The largest datagram sent: what browsers send, and what IPv6 always passes (RFC 8200 §5: 1280 with headers)."""

GOODBYE_PACKETS: Final = 4
"""SCTP packets that may leave before the connection closes; ABORT or SHUTDOWN is the last of them."""


class ConnectionState(enum.Enum):
    """W3C's RTCPeerConnectionState."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    FAILED = "failed"
    CLOSED = "closed"


class Direction(enum.Enum):
    """Which way a packet travels."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerSettings:
    """What a peer core needs to know of its application's wishes."""

    dtls_context: dtls.Context
    credentials: ice.Credentials | None = None
    ice_lite: bool = False
    """Only answer the peer's checks (RFC 8445 §2.5): for who can be reached by everybody."""
    verify_remote_certificate: bool = True
    restart_timeout: float = 15.0
    max_channels: int = 1024
    """Data channels at a time, whoever opened them."""
    on_packet: Callable[[Direction, bytes, float], None] | None = None
    """Told of every SCTP packet, in the clear."""
    ice_settings: ice.IceSettings = field(default_factory=ice.IceSettings)
    sctp_settings: sctp.SctpSettings = field(default_factory=sctp.SctpSettings)


@dataclass(frozen=True, slots=True)
class ConnectionStateChanged:
    """The connection as a whole is in another state."""

    state: ConnectionState


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is over."""

    reason: CloseReason
    error: PeerError | None


PeerEvent = (
    ConnectionStateChanged
    | SignallingEvent
    | ice.CredentialsInUse
    | ice.ConnectionWanted
    | ice.ConnectionReleased
    | datachannel.ChannelArrived
    | datachannel.ChannelRefused
    | datachannel.ChannelsChanged
    | datachannel.WindowHeldShut
    | Ended
)


# What stands on top of ICE. Each stage has exactly the layers that exist in it.


@dataclass(slots=True)
class Negotiating:
    """It is not known yet who begins the DTLS handshake; what comes early is kept, a little of it."""

    early: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_EARLY_DTLS))


@dataclass(slots=True)
class Securing:
    """The DTLS handshake is under way, or begins as soon as there is a way to the peer."""

    session: dtls.Session
    remote: jsep.RemoteTransport


@dataclass(slots=True)
class Secured:
    """DTLS is up, with an SCTP association on it."""

    session: dtls.Session
    association: sctp.Association


Stage = Negotiating | Securing | Secured


class _Timer(enum.Enum):
    RESTART_DEADLINE = enum.auto()


class PeerCore:
    """Everything between the datagrams of one peer and its application."""

    def __init__(self, *, settings: PeerSettings, rng: random.Random, now: float) -> None:
        self.closed = False
        self.close_reason: CloseReason | None = None
        self.error: PeerError | None = None
        """Why the connection is lost, or about to be."""
        self.connection_state = ConnectionState.NEW
        self.channels = datachannel.DataChannels(max_channels=settings.max_channels)
        self.agent = _make_agent(settings, rng)
        self.signalling = Signalling(
            self.agent,
            fingerprints=tuple(map(str, settings.dtls_context.certificate.fingerprints())),
            max_message_size=settings.sctp_settings.max_message_size,
            max_candidates=settings.ice_settings.max_remote_candidates,
            rng=rng,
        )
        self.stage: Stage = Negotiating()
        self.traffic = Traffic()
        self._settings = settings
        self._rng = rng
        self._goodbyes = ExitStack()
        self._now = now
        self._may_shut_down = False
        self._last_words: list[bytes] = []
        self._way: Way | None = None
        self._amplification_limit: AmplificationLimit | None = None
        """There until the handshake is done, if the peer's checks prove nothing."""
        self._timers: TimerTable[_Timer] = TimerTable()
        self._events: deque[PeerEvent] = deque()
        self._follow_ice(now)

    # -- in: the network and the clock ---------------------------------------------------------------------------

    def receive_datagrams(self, batch: Sequence[Received], now: float) -> None:
        """Take what has arrived. Never raises for its contents: a bad datagram is counted and dropped."""
        if self.closed:
            return
        checks: list[Received] = []
        secured: dict[Way, list[bytes]] = {}
        for via, from_, data, segment_size in batch:
            records: list[bytes] = []
            datagrams = split_run(data, segment_size)
            self.traffic.received(len(datagrams), len(data))
            for datagram in datagrams:
                protocol = protocol_of(datagram)
                if protocol is Protocol.DTLS:
                    records.append(datagram)
                elif protocol is Protocol.STUN:
                    checks.append(Received(via, from_, datagram))
                else:
                    self.traffic.datagrams_dropped += 1
            if records:
                secured.setdefault((via, from_), []).extend(records)
        # Checks first: the one that proves an address may share its batch with the first record from there.
        if checks:
            self.agent.receive_datagrams(checks, now)
        if self._amplification_limit is not None:
            for via, from_, data, _ in batch:
                if self.agent.is_validated(via, from_):
                    self._amplification_limit.receive((via, from_), len(data))
        for way, records in secured.items():
            self._receive_records(way, records, now)
        self._advance(now)

    def _receive_records(self, way: Way, records: list[bytes], now: float) -> None:
        if not self.agent.is_validated(*way):
            self.traffic.datagrams_dropped += len(records)
            return
        if self._way is None and self.agent.state is not ice.AgentState.FAILED:
            self._way = way  # ICE may still prefer another, but the peer hears us on this one
        match self.stage:
            case Negotiating(early):
                early.extend(records)
            case Securing(session):
                self._receive_handshake(session, records, now)
            case Secured(session):
                session.receive_datagrams(records, now)

    def _receive_handshake(self, session: dtls.Session, records: Sequence[bytes], now: float) -> None:
        limit, way = self._amplification_limit, self._way
        if limit is None:
            session.receive_datagrams(records, now)
        elif way is not None:  # or there is nowhere to answer
            session.receive_datagrams(records, now, unproven_address=repr(way[1]).encode())
            if session.has_heard and not limit.has_proof:
                limit.prove(way)

    def handle_timeout(self, now: float) -> None:
        """Fire every timer that is due. Harmless when called early or twice."""
        self.agent.handle_timeout(now)
        match self.stage:
            case Negotiating():
                pass
            case Securing(session):
                session.handle_timeout(now)
            case Secured(session, association):
                session.handle_timeout(now)
                association.handle_timeout(now)
        self.channels.handle_timeout(now)
        for timer in self._timers.pop_expired(now):
            match timer:
                case _Timer.RESTART_DEADLINE:
                    self._end(CloseReason.FAILED, self.error, now)
        self._advance(now)

    def report_send_error(self, via: Via, to: Address, error: str, now: float) -> None:
        """A datagram was lost on its way out, for this reason."""
        self.agent.report_send_error(via, to, error, now)

    def lower_mtu(self, via: Via, to: Address, now: float) -> None:
        """A datagram was larger than this way takes: send smaller ones."""
        if (via, to) == self._way and isinstance(self.stage, Secured):
            self.stage.association.reduce_packet_size()

    def retire(self, via: Via, now: float) -> None:
        """Nothing will come or go by this way any more."""
        self.agent.remove_local_base(via, now)
        if self._way is not None and self._way[0] == via:
            self._way = None  # what is to be sent waits until there is another
        self._advance(now)

    @property
    def transaction_prefix(self) -> bytes:
        """What the ids of our STUN requests begin with: four bytes."""
        return self.agent.transaction_prefix

    def limit_amplification(self) -> None:
        """Take no check for a proof that the peer is where it comes from: it has chosen the password itself."""
        self._amplification_limit = AmplificationLimit()

    def is_validated(self, via: Via, address: Address) -> bool:
        """Whether the peer has proved itself from there."""
        return self.agent.is_validated(via, address)

    def forget_address(self, via: Via, address: Address, now: float) -> None:
        """Somebody else has proved to be there."""
        self.agent.forget_address(via, address, now)
        if self._way == (via, address):
            self._way = None
        self._advance(now)

    # -- out -----------------------------------------------------------------------------------------------------

    def poll_transmits(self, now: float) -> Transmit | None:
        """The next datagram, or run of datagrams, that is to go out."""
        transmit = self.poll_checks(now)
        if transmit is None and (transmit := self._poll_secured(now)) is not None:
            size = transmit.segment_size or len(transmit.data)
            self.traffic.sent(-(-len(transmit.data) // size), len(transmit.data))
        return transmit

    def poll_checks(self, now: float) -> Transmit | None:
        """The next datagram of ICE's that is to go out."""
        check = self.agent.poll_transmits(now)
        if check is not None:
            self.traffic.sent(1, len(check.data))
        return check

    def uses(self, via: Via) -> bool:
        """Whether data goes by this way."""
        return self._way is not None and self._way[0] == via

    def _poll_secured(self, now: float) -> Transmit | None:
        if self._way is None or isinstance(self.stage, Negotiating):
            return None
        session = self.stage.session
        run = session.poll_run(now)
        if self._amplification_limit is not None:
            while run is not None and not self._amplification_limit.admits(self._way, len(run[0])):
                run = session.poll_run(now)  # what is not sent now, the handshake repeats
        if run is None and isinstance(self.stage, Secured) and not self.closed:
            packets = self.stage.association.poll_transmits(now, MAX_RUN_BYTES // MTU)
            if packets:
                self._send_packets(session, packets, now)
                run = session.poll_run(now)
        return None if run is None else Transmit(*self._way, *run)

    def _send_packets(self, session: dtls.Session, packets: Sequence[bytes], now: float) -> None:
        if self._settings.on_packet is not None:
            for packet in packets:
                self._settings.on_packet(Direction.OUT, packet, now)
        session.send(packets)

    def poll_event(self) -> PeerEvent | None:
        """The next event, or None."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is next wanted."""
        if self.closed:
            return None
        above: tuple[float | None, ...] = ()
        match self.stage:
            case Negotiating():
                pass
            case Securing(session):
                above = (session.next_timeout(),)
            case Secured(session, association):
                above = session.next_timeout(), association.next_timeout()
        return earliest(self.agent.next_timeout(), *above, self.channels.next_timeout(), self._timers.earliest())

    # -- commands: sockets and STUN servers ----------------------------------------------------------------------

    def add_local_base(
        self,
        via: Via,
        address: Address,
        *,
        local_preference: int,
        announced: Sequence[str],
        kind: ice.BaseKind = ice.BaseKind.UDP,
        beside_own: bool = False,
        now: float,
    ) -> None:
        """Use a socket; the peer is told of its address, or of those announced for it, or of both (`beside_own`)."""
        self.agent.add_local_base(
            via,
            address,
            now,
            local_preference=local_preference,
            announced=announced,
            kind=kind,
            beside_own=beside_own,
        )
        self._advance(now)

    def add_connection(self, via: Via, base_via: Via, remote_address: Address, now: float) -> None:
        """Use a TCP connection, accepted by a passive base or opened because of a `ConnectionWanted`."""
        self.agent.add_connection(via, base_via, remote_address, now)
        self._advance(now)

    def report_connection_failure(self, base_via: Via, remote_address: Address, error: str, now: float) -> None:
        """A connection that was wanted could not be opened, for this reason."""
        self.agent.report_connection_failure(base_via, remote_address, error, now)
        self._advance(now)

    def add_stun_server(self, server: Address, now: float) -> None:
        """Ask this server for our addresses as others see them."""
        self.agent.add_stun_server(server, now)
        self._advance(now)

    def end_of_local_bases(self, now: float) -> None:
        """There are no more sockets and no more servers."""
        self.agent.end_of_local_bases(now)
        self._advance(now)

    # -- commands: offer and answer ------------------------------------------------------------------------------

    def set_local_description(self, type_: str | None, sdp: str | None, now: float) -> None:
        """Apply our own description; None means the one that is due. Raises UsageError."""
        self._follow_agreement(self.signalling.set_local_description(type_, sdp, now), now)
        self._advance(now)

    def set_remote_description(self, type_: str, sdp: str, now: float) -> None:
        """Apply the peer's description. Raises InvalidDescriptionError and UsageError."""
        self._follow_agreement(self.signalling.set_remote_description(type_, sdp, now), now)
        self._advance(now)

    def add_remote_candidate(
        self, line: str, mid: str | None, index: int | None, ufrag: str | None, now: float
    ) -> None:
        """Take a candidate of the peer's; "" ends them. Raises InvalidDescriptionError and UsageError."""
        self.signalling.add_remote_candidate(line, mid, index, ufrag, now)
        self._advance(now)

    def resolve_name(self, name: str, host: str, now: float) -> None:
        """Learn the address behind a name that a candidate of the peer's has."""
        self.signalling.resolve_name(name, host, now)
        self._advance(now)

    def restart_ice(self, now: float) -> None:
        """Have the next offer bring new credentials."""
        self.signalling.restart_ice()
        self._advance(now)

    @property
    def remote_max_message_size(self) -> int:
        """The largest message that the peer takes, in bytes; 0: any."""
        return self.signalling.remote_max_message_size

    def _follow_agreement(self, applied: jsep.Applied, now: float) -> None:
        """Begin the handshake when both sides are known; end where the data section is taken away."""
        is_stable = applied.signaling_state is jsep.SignalingState.STABLE
        match self.stage:
            case Negotiating(early) if applied.remote is not None and applied.dtls_role is not None:
                self._begin_securing(applied.remote, applied.dtls_role, early, now)
            case Securing(session, remote) if applied.remote is not None and applied.dtls_role is not None:
                is_other_role = session.is_client != (applied.dtls_role == "client")
                # Another endpoint than the one that answered provisionally; or our answer was lost, and now it is the
                # peer that answers, in a role that it could not know to be ours.
                if applied.remote.changes_identity(remote) or (is_other_role and not session.has_heard):
                    self._begin_securing(applied.remote, applied.dtls_role, (), now)
            case Securing() | Secured() if is_stable and not applied.data_negotiated:
                # RFC 8841 ends the association with its section, and that is all that the connection is for.
                self._end(CloseReason.REMOTE, None, now)
            case _:
                pass

    def _begin_securing(
        self, remote: jsep.RemoteTransport, role: jsep.DtlsRole, early: Sequence[bytes], now: float
    ) -> None:
        session = dtls.Session(
            self._settings.dtls_context,
            is_client=role == "client",
            remote_fingerprints=self._expected_fingerprints(remote),
            mtu=MTU,
            now=now,
        )
        self.stage = Securing(session, remote)
        self.channels.choose_ids(is_dtls_client=role == "client")
        if early and role == "server":  # a client is spoken to only when it has spoken
            self._receive_handshake(session, list(early), now)

    def _expected_fingerprints(self, remote: jsep.RemoteTransport) -> tuple[dtls.Fingerprint, ...]:
        if not self._settings.verify_remote_certificate:
            return ()
        return tuple(dtls.Fingerprint.parse(text) for text in remote.fingerprints)

    # -- commands: data channels ---------------------------------------------------------------------------------

    def create_channel(
        self, parameters: datachannel.ChannelParameters, stream_id: int | None, now: float
    ) -> datachannel.Channel:
        """Make a data channel, which opens when the association is up. Raises UsageError."""
        channel = self.channels.create(parameters, stream_id, now)
        self.signalling.request_data()
        self._advance(now)
        return channel

    @property
    def has_unacknowledged(self) -> bool:
        """Whether the peer has yet to acknowledge something that was sent."""
        return not self.closed and isinstance(self.stage, Secured) and self.stage.association.unacknowledged_total > 0

    @property
    def certificate(self) -> dtls.Certificate:
        """Our own certificate."""
        return self._settings.dtls_context.certificate

    @property
    def remote_certificates(self) -> tuple[bytes, ...]:
        """The peer's certificate chain in DER."""
        return () if isinstance(self.stage, Negotiating) else self.stage.session.remote_certificate

    # -- the end -------------------------------------------------------------------------------------------------

    def finish_lingering(self) -> None:
        """All that was sent has been acknowledged: take leave with SHUTDOWN, which says so, instead of ABORT.

        If more is sent before the end, it is an ABORT all the same.
        """
        self._may_shut_down = not self.has_unacknowledged

    def close(self, now: float) -> None:
        """End for good: drop what has not begun, queue the goodbyes, innermost first. Harmless when repeated."""
        self._end(CloseReason.LOCAL, None, now)

    def _end(self, reason: CloseReason, error: PeerError | None, now: float) -> None:
        if self.closed:
            return
        self.closed, self.close_reason, self.error, self._now = True, reason, error, now
        self._goodbyes.close()
        self.signalling.close()
        self.agent.close()
        self.channels.end(None if error is None else str(error))
        self._timers.clear()
        self._pass_on_channel_events(now)
        if error is not None:
            self._enter(ConnectionState.FAILED)
        self._enter(ConnectionState.CLOSED)
        self._events.append(Ended(reason, error))

    def _leave_association(self) -> None:
        assert isinstance(self.stage, Secured)
        session, association = self.stage.session, self.stage.association
        if self._may_shut_down and association.unacknowledged_total == 0:
            association.shutdown(self._now)  # which would say nothing before the last acknowledgement
        else:
            association.abort("", self._now)
        self._last_words = association.poll_transmits(self._now, GOODBYE_PACKETS)
        self._send_packets(session, self._last_words, self._now)

    def _leave_session(self) -> None:
        assert not isinstance(self.stage, Negotiating)
        self.stage.session.queue_close_notify()
        if isinstance(self.stage, Secured) and self.stage.association.has_seen_loss:
            # Nobody acknowledges a goodbye. Where packets are lost, saying it twice makes it likelier to be heard.
            self.stage.session.repeat_goodbye(self._last_words)

    # -- how one layer follows another ---------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Pass on what each layer has to say, from the lowest to the highest."""
        if self.closed:
            return
        self._follow_ice(now)
        if isinstance(self.stage, Securing):
            self._follow_handshake(self.stage, now)
        if isinstance(self.stage, Secured) and not self.closed:
            self._follow_session(self.stage, now)
        if not self.closed:
            self._update_state()
            while (event := self.signalling.poll_event()) is not None:
                self._events.append(event)

    def _follow_ice(self, now: float) -> None:
        while (event := self.agent.poll_event()) is not None:
            match event:
                case ice.LocalCandidateGathered() | ice.GatheringCompleted():
                    self.signalling.take_gathered(event)
                case ice.PairSelected(pair):
                    self._way = pair.via, pair.remote_address
                    if isinstance(self.stage, Securing):
                        self.stage.session.start(now)
                case ice.StateChanged(state):
                    self._on_ice_state(state, now)
                case ice.CredentialsInUse() | ice.ConnectionWanted() | ice.ConnectionReleased():
                    self._events.append(event)
                case ice.RoleSwitched() | ice.ConsentLost():
                    pass
                case _:
                    assert_never(event)

    def _on_ice_state(self, state: ice.AgentState, now: float) -> None:
        match state:
            case ice.AgentState.FAILED:
                was_connected = isinstance(self.stage, Secured)
                cause = FailureReason.CONSENT_EXPIRED if was_connected else FailureReason.NO_USABLE_PAIR
                self.error = ConnectionFailedError(self.agent.describe_failure(), cause)
                self._timers.set_if_off(_Timer.RESTART_DEADLINE, now + self._settings.restart_timeout)
                self._way = None  # RFC 7675 §5.1: nothing more may be sent there, be it a goodbye
            case ice.AgentState.CONNECTED | ice.AgentState.COMPLETED:
                self.error = None
                self._timers.cancel(_Timer.RESTART_DEADLINE)
            case _:
                pass

    def _follow_handshake(self, stage: Securing, now: float) -> None:
        session = stage.session
        if self._way is not None and self.agent.selected_pair is not None:
            session.start(now)
        while (event := session.poll_event()) is not None:
            match event:
                case dtls.HandshakeCompleted():
                    self.signalling.keep_identity()
                    self._goodbyes.callback(self._leave_session)
                    self._begin_association(stage, now)
                case dtls.RemoteClosed():
                    self._end(CloseReason.REMOTE, None, now)
                case dtls.Failed(reason, message):
                    self._end(CloseReason.FAILED, PeerError(message, reason), now)
                case _:
                    assert_never(event)

    def _begin_association(self, stage: Securing, now: float) -> None:
        self._amplification_limit = None  # the peer has answered what was sent to it
        association = sctp.Association(
            settings=self._settings.sctp_settings,
            rng=self._rng,
            max_packet_size=MTU - stage.session.record_overhead,
            local_port=jsep.DEFAULT_SCTP_PORT,
            remote_port=stage.remote.sctp_port,
            now=now,
        )
        self.stage = Secured(stage.session, association)
        self.channels.attach(association)
        association.connect(now)

    def _follow_session(self, stage: Secured, now: float) -> None:
        session, association = stage.session, stage.association
        if packets := session.poll_packets():
            if self._settings.on_packet is not None:
                for packet in packets:
                    self._settings.on_packet(Direction.IN, packet, now)
            association.receive_datagrams(packets, now)
        self.channels.process(now)
        self._pass_on_channel_events(now)
        # The end comes last: what arrived in front of it has been delivered.
        while not self.closed and (event := session.poll_event()) is not None:
            match event:
                case dtls.RemoteClosed():
                    self._end(CloseReason.REMOTE, None, now)
                case dtls.Failed(reason, message):
                    self._end(CloseReason.FAILED, PeerError(message, reason), now)
                case dtls.HandshakeCompleted():
                    pass
                case _:
                    assert_never(event)

    def _pass_on_channel_events(self, now: float) -> None:
        while (event := self.channels.poll_event()) is not None:
            match event:
                case datachannel.AssociationEstablished():
                    self._goodbyes.callback(self._leave_association)
                case datachannel.AssociationEnded(problem):
                    # One association is all that the connection is for: its end is the connection's.
                    if problem is None:
                        self._end(CloseReason.REMOTE, None, now)
                    else:
                        self._end(CloseReason.FAILED, PeerError(problem, FailureReason.SCTP_FAILED), now)
                case _:
                    self._events.append(event)

    def _update_state(self) -> None:
        match self.agent.state:
            case ice.AgentState.CLOSED:
                pass
            case ice.AgentState.FAILED:
                self._enter(ConnectionState.FAILED)
            case ice.AgentState.DISCONNECTED:
                self._enter(ConnectionState.DISCONNECTED)
            case ice.AgentState.NEW:
                self._enter(ConnectionState.NEW)
            case ice.AgentState.CHECKING:
                self._enter(ConnectionState.CONNECTING)
            case ice.AgentState.CONNECTED | ice.AgentState.COMPLETED:
                is_secured = isinstance(self.stage, Secured)
                self._enter(ConnectionState.CONNECTED if is_secured else ConnectionState.CONNECTING)

    def _enter(self, state: ConnectionState) -> None:
        if state is not self.connection_state:
            self.connection_state = state
            self._events.append(ConnectionStateChanged(state))


def _make_agent(settings: PeerSettings, rng: random.Random) -> ice.AnyAgent:
    if settings.ice_lite:
        return ice.LiteAgent(credentials=settings.credentials, rng=rng, settings=settings.ice_settings)
    return ice.Agent(controlling=True, credentials=settings.credentials, rng=rng, settings=settings.ice_settings)


@dataclass(slots=True)
class Traffic:
    """How much has passed below DTLS, in datagrams and bytes."""

    datagrams_sent: int = 0
    datagrams_received: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    datagrams_dropped: int = 0
    """Of no protocol known here, or from an address that has proved nothing."""

    def sent(self, datagrams: int, size: int) -> None:
        """Count what goes out."""
        self.datagrams_sent += datagrams
        self.bytes_sent += size

    def received(self, datagrams: int, size: int) -> None:
        """Count what comes in."""
        self.datagrams_received += datagrams
        self.bytes_received += size
