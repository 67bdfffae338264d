"""The core of one peer: composes ICE, DTLS, SCTP and data channels, each of which follows the one below it."""

import enum
import random
from collections import deque
from collections.abc import Sequence
from typing import assert_never

from trio_webrtc.core import datachannel, dtls, ice, jsep
from trio_webrtc.core.address_validation import AmplificationLimit, Way
from trio_webrtc.core.contract import Address, Received, TimerTable, Transmit, Via, earliest
from trio_webrtc.core.peer.arrivals import tell_apart
from trio_webrtc.core.peer.connection_state import ConnectionState, overall_state
from trio_webrtc.core.peer.events import ConnectionStateChanged, Ended, PeerEvent
from trio_webrtc.core.peer.goodbyes import Goodbyes
from trio_webrtc.core.peer.settings import PeerSettings
from trio_webrtc.core.peer.stages import Negotiating, Secured, Securing, Stage
from trio_webrtc.core.peer.traffic import Traffic
from trio_webrtc.core.signalling import Signalling
from trio_webrtc.errors import CloseReason, ConnectionFailedError, FailureReason, PeerError


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
        self.certificate = settings.dtls_context.certificate
        """Our own."""
        self.channels = datachannel.DataChannels(max_channels=settings.max_channels)
        self.agent = _make_agent(settings, rng)
        self.signalling = Signalling(
            self.agent,
            fingerprints=tuple(map(str, self.certificate.fingerprints())),
            max_message_size=settings.sctp_settings.max_message_size,
            max_candidates=settings.ice_settings.max_remote_candidates,
            rng=rng,
        )
        self.stage: Stage = Negotiating(settings=settings)
        self.traffic = Traffic()
        self._rng = rng
        self._restart_timeout = settings.restart_timeout
        self._way: Way | None = None
        """Where everything goes but ICE's checks."""
        self._goodbyes = Goodbyes()
        self._timers: TimerTable[_Timer] = TimerTable()
        self._events: deque[PeerEvent] = deque()
        self._follow_ice(now)

    # -- in: the network and the clock ---------------------------------------------------------------------------

    def receive_datagrams(self, batch: Sequence[Received], now: float) -> None:
        """Take what has arrived. Never raises for its contents: a bad datagram is counted and dropped."""
        if self.closed:
            return
        checks, records_of = tell_apart(batch, self.traffic)
        # Checks first: the one that proves an address may share its batch with the first record from there.
        if checks:
            self.agent.receive_datagrams(checks, now)
        self.stage.credit(batch, self.agent.is_validated)
        for way, records in records_of.items():
            self._receive_records(way, records, now)
        self._advance(now)

    def _receive_records(self, way: Way, records: Sequence[bytes], now: float) -> None:
        if not self.agent.is_validated(*way):
            self.traffic.datagrams_dropped += len(records)
            return
        if self._way is None and self.agent.state is not ice.AgentState.FAILED:
            self._way = way  # ICE may still prefer another, but the peer hears us on this one
        self.stage.receive(records, self._way, now)

    def handle_timeout(self, now: float) -> None:
        """Fire every timer that is due. Harmless when called early or twice."""
        self.agent.handle_timeout(now)
        self.stage.handle_timeout(now)
        self.channels.handle_timeout(now)
        for timer in self._timers.pop_expired(now):
            match timer:
                case _Timer.RESTART_DEADLINE:
                    self._end(CloseReason.FAILED, self.error, now)
        self._advance(now)

    # -- how one layer follows another ---------------------------------------------------------------------------

    def _advance(self, now: float) -> None:
        """Pass on what each layer has to say, from the lowest to the highest."""
        if self.closed:
            return
        self._follow_ice(now)
        if isinstance(self.stage, Securing):
            if self._way is not None and self.agent.selected_pair is not None:
                self.stage.session.start(now)
            self._follow_session(self.stage, now)
        if isinstance(self.stage, Secured) and not self.closed:
            self.stage.pass_packets_up(now)
            self.channels.process(now)
            self._follow_channels(now)
            # The end comes last: what arrived in front of it has been delivered.
            self._follow_session(self.stage, now)
        if not self.closed:
            self._enter(overall_state(self.agent.state, is_secured=isinstance(self.stage, Secured)))
            while (event := self.signalling.poll_event()) is not None:
                self._events.append(event)

    def _follow_ice(self, now: float) -> None:
        while (event := self.agent.poll_event()) is not None:
            match event:
                case ice.LocalCandidateGathered() | ice.GatheringCompleted():
                    self.signalling.take_gathered(event)
                case ice.PairSelected(pair):
                    self._way = pair.via, pair.remote_address
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
                self._timers.set_if_off(_Timer.RESTART_DEADLINE, now + self._restart_timeout)
                self._way = None  # RFC 7675 §5.1: nothing more may be sent there, be it a goodbye
            case ice.AgentState.CONNECTED | ice.AgentState.COMPLETED:
                self.error = None
                self._timers.cancel(_Timer.RESTART_DEADLINE)
            case _:
                pass

    def _follow_session(self, stage: Securing | Secured, now: float) -> None:
        while not self.closed and (event := stage.session.poll_event()) is not None:
            match event:
                case dtls.HandshakeCompleted():
                    if isinstance(stage, Securing):
                        self._begin_association(stage, now)
                case dtls.RemoteClosed():
                    self._end(CloseReason.REMOTE, None, now)
                case dtls.Failed(reason, message):
                    self._end(CloseReason.FAILED, PeerError(message, reason), now)
                case _:
                    assert_never(event)

    def _begin_association(self, stage: Securing, now: float) -> None:
        self.signalling.keep_identity()
        self.stage = secured = stage.complete(self._rng, now)
        self._goodbyes.push_session(secured)
        self.channels.attach(secured.association)
        secured.association.connect(now)

    def _follow_channels(self, now: float) -> None:
        while (event := self.channels.poll_event()) is not None:
            match event:
                case datachannel.AssociationEstablished():
                    if isinstance(self.stage, Secured):
                        self._goodbyes.push_association(self.stage)
                case datachannel.AssociationEnded(problem):
                    # One association is all that the connection is for: its end is the connection's.
                    if problem is None:
                        self._end(CloseReason.REMOTE, None, now)
                    else:
                        self._end(CloseReason.FAILED, PeerError(problem, FailureReason.SCTP_FAILED), now)
                case _:
                    self._events.append(event)

    def _enter(self, state: ConnectionState) -> None:
        if state is not self.connection_state:
            self.connection_state = state
            self._events.append(ConnectionStateChanged(state))

    # -- out -----------------------------------------------------------------------------------------------------

    def poll_transmits(self, now: float) -> Transmit | None:
        """The next datagram, or run of datagrams, that is to go out."""
        if (check := self.poll_checks(now)) is not None:
            return check
        if self._way is None or (run := self.stage.poll_run(self._way, now)) is None:
            return None
        data, segment_size = run
        self.traffic.sent(1 if segment_size is None else -(-len(data) // segment_size), len(data))
        return Transmit(*self._way, data, segment_size)

    def poll_checks(self, now: float) -> Transmit | None:
        """The next datagram of ICE's that is to go out."""
        check = self.agent.poll_transmits(now)
        if check is not None:
            self.traffic.sent(1, len(check.data))
        return check

    def poll_event(self) -> PeerEvent | None:
        """The next event, or None."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is next wanted."""
        if self.closed:
            return None
        return earliest(
            self.agent.next_timeout(),
            self.stage.next_timeout(),
            self.channels.next_timeout(),
            self._timers.earliest(),
        )

    # -- the ways to the peer ------------------------------------------------------------------------------------

    @property
    def transaction_prefix(self) -> bytes:
        """What the ids of our STUN requests begin with: four bytes."""
        return self.agent.transaction_prefix

    def authenticates(self, datagram: bytes) -> bool:
        """Whether this is a check that knows one of our passwords. It changes nothing."""
        return self.agent.authenticates(datagram)

    def limit_amplification(self) -> None:
        """Take no check for a proof that the peer is where it comes from: it has chosen the password itself.

        To be said before anything is negotiated.
        """
        assert isinstance(self.stage, Negotiating)
        self.stage.limit = AmplificationLimit()

    def uses(self, via: Via) -> bool:
        """Whether data goes by this way."""
        return self._way is not None and self._way[0] == via

    def is_validated(self, via: Via, address: Address) -> bool:
        """Whether the peer has proved itself from there."""
        return self.agent.is_validated(via, address)

    def has_answered(self) -> bool:
        """Whether the peer has shown that it hears us: its DTLS handshake is complete."""
        return isinstance(self.stage, Secured)

    def forget_address(self, via: Via, address: Address, now: float) -> None:
        """Somebody else has proved to be there."""
        self.agent.forget_address(via, address, now)
        if self._way == (via, address):
            self._way = None
        self._advance(now)

    def retire(self, via: Via, now: float) -> None:
        """Nothing will come or go by this way any more."""
        self.agent.remove_local_base(via, now)
        if self.uses(via):
            self._way = None  # what is to be sent waits until there is another
        self._advance(now)

    def report_send_error(self, via: Via, to: Address, error: str, now: float) -> None:
        """A datagram was lost on its way out, for this reason."""
        self.agent.report_send_error(via, to, error, now)

    def lower_mtu(self, via: Via, to: Address, now: float) -> None:
        """A datagram was larger than this way takes: send smaller ones."""
        if (via, to) == self._way and isinstance(self.stage, Secured):
            self.stage.association.reduce_packet_size()

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

    def _follow_agreement(self, applied: jsep.Applied, now: float) -> None:
        """Begin the handshake when both sides are known; end where the data section is taken away."""
        remote, role = applied.remote, applied.dtls_role
        is_stable = applied.signaling_state is jsep.SignalingState.STABLE
        match self.stage:
            case Negotiating() | Securing() if remote is not None and role is not None:
                self.stage = securing = self.stage.agree(remote, role, self._way, now)
                self.channels.choose_ids(is_dtls_client=securing.session.is_client)
            case Securing() | Secured() if is_stable and not applied.data_negotiated:
                # RFC 8841 ends the association with its section, and that is all that the connection is for.
                self._end(CloseReason.REMOTE, None, now)
            case _:
                pass

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
        return not self.closed and self.stage.has_unacknowledged

    # -- the end -------------------------------------------------------------------------------------------------

    def finish_lingering(self) -> None:
        """All that was sent has been acknowledged: take leave with SHUTDOWN, which says so, instead of ABORT.

        If more is sent before the end, it is an ABORT all the same.
        """
        self._goodbyes.may_shut_down = not self.has_unacknowledged

    def close(self, now: float) -> None:
        """End for good: drop what has not begun, queue the goodbyes, innermost first. Harmless when repeated."""
        self._end(CloseReason.LOCAL, None, now)

    def _end(self, reason: CloseReason, error: PeerError | None, now: float) -> None:
        if self.closed:
            return
        self.closed, self.close_reason, self.error = True, reason, error
        self._goodbyes.say(now)
        self.signalling.close()
        self.agent.close()
        self.channels.end(None if error is None else str(error))
        self._timers.clear()
        self._follow_channels(now)
        if error is not None:
            self._enter(ConnectionState.FAILED)
        self._enter(ConnectionState.CLOSED)
        self._events.append(Ended(reason, error))


def _make_agent(settings: PeerSettings, rng: random.Random) -> ice.AnyAgent:
    if settings.ice_lite:
        return ice.LiteAgent(credentials=settings.credentials, rng=rng, settings=settings.ice_settings)
    return ice.Agent(controlling=True, credentials=settings.credentials, rng=rng, settings=settings.ice_settings)
