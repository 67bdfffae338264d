"""What `PeerConnection.get_stats()` returns: frozen records with W3C's identifiers in snake_case.

The identifiers, and what each of them counts, are those of W3C's "Identifiers for WebRTC's Statistics API"; durations
are seconds, sizes are bytes, and `timestamp` is on Trio's clock. An identifier that is not here is not measured.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, assert_never

from trio_webrtc.core.contract import Address
from trio_webrtc.core.datachannel import Channel
from trio_webrtc.core.dtls import Fingerprint
from trio_webrtc.core.ice import Candidate, CandidatePair
from trio_webrtc.core.peer import Negotiating, PeerCore, Secured, Securing
from trio_webrtc.core.sctp import Association


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """What every record has (W3C's RTCStats)."""

    type: ClassVar[str]
    id: str
    timestamp: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConnectionStats(Stats):
    """The connection as a whole (RTCPeerConnectionStats)."""

    type: ClassVar[str] = "peer-connection"
    data_channels_opened: int
    data_channels_closed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChannelStats(Stats):
    """One data channel (RTCDataChannelStats)."""

    type: ClassVar[str] = "data-channel"
    label: str
    protocol: str
    data_channel_identifier: int | None
    state: str
    messages_sent: int
    bytes_sent: int
    messages_received: int
    bytes_received: int
    unread_messages: int
    """Messages that have arrived and were not taken (this library's own)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SctpTransportStats(Stats):
    """The SCTP association (RTCSctpTransportStats)."""

    type: ClassVar[str] = "sctp-transport"
    transport_id: str
    state: str
    smoothed_round_trip_time: float | None
    congestion_window: int
    receiver_window: int
    """What the peer can take (W3C's receiverWindow)."""
    una_data: int
    """Bytes sent or to be sent, and not acknowledged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportStats(Stats):
    """The DTLS session and the ICE transport below it (RTCTransportStats)."""

    type: ClassVar[str] = "transport"
    packets_sent: int
    packets_received: int
    bytes_sent: int
    bytes_received: int
    ice_role: str
    ice_local_username_fragment: str
    ice_state: str
    dtls_state: str
    dtls_cipher: str | None
    tls_version: str | None
    selected_candidate_pair_id: str | None
    local_certificate_id: str
    remote_certificate_id: str | None
    dropped_datagrams: int
    """Datagrams from addresses that have proved nothing, or of no protocol known here (this library's own)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateStats(Stats):
    """A certificate of either side (RTCCertificateStats)."""

    type: ClassVar[str] = "certificate"
    fingerprint: str
    fingerprint_algorithm: str
    base64_certificate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IceCandidateStats(Stats):
    """A candidate (RTCIceCandidateStats); `type` is "local-candidate" or "remote-candidate"."""

    type: str  # type: ignore[misc]  # two names for one shape, as in W3C's dictionary
    transport_id: str
    address: str
    port: int
    protocol: str
    candidate_type: str
    priority: int
    foundation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IceCandidatePairStats(Stats):
    """A pair of candidates (RTCIceCandidatePairStats)."""

    type: ClassVar[str] = "candidate-pair"
    transport_id: str
    local_candidate_id: str
    remote_candidate_id: str
    state: str
    nominated: bool
    requests_sent: int
    requests_received: int
    responses_sent: int
    responses_received: int
    consent_requests_sent: int
    total_round_trip_time: float
    current_round_trip_time: float | None
    last_error: str | None
    """Why the last check or datagram on this pair failed (this library's own)."""


StatsRecord = (
    PeerConnectionStats
    | DataChannelStats
    | SctpTransportStats
    | TransportStats
    | CertificateStats
    | IceCandidateStats
    | IceCandidatePairStats
)

StatsReport = dict[str, StatsRecord]
"""Every record under its id (W3C's RTCStatsReport)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebRtcServerStats:
    """What a server holds and what it has turned away (this library's own)."""

    addresses: Sequence[tuple[str, str, int]]
    """Transport, host and port of each place where it listens."""
    peers: int
    """Peer connections that have not ended."""
    ufrags: Sequence[str]
    """The names by which they may be asked for; two for a peer that restarts ICE."""
    remote_addresses: Sequence[Address]
    """The UDP addresses from which they have proved themselves, each as often as there are ways to it."""
    tcp_connections: int
    tcp_connections_waiting: int
    """Those besides that have not said whom they are for."""
    tcp_connections_refused: Mapping[str, int]
    """How many were not served, by reason."""
    checks_for_unknown_ufrags: int
    first_contacts_dropped: int
    """Checks for unknown names that found the queue of first contacts full, and those for names that are none."""
    checks_with_wrong_passwords: int
    """Those for a peer's name, from elsewhere than that peer's own address. Nobody answers them."""
    datagrams_from_unknown_addresses: int
    """Junk for the most part."""


def collect(core: PeerCore, now: float) -> StatsReport:
    """Make the records of everything there is in a peer's core."""
    records: list[StatsRecord] = [
        PeerConnectionStats(
            id="P",
            timestamp=now,
            data_channels_opened=core.channels.opened,
            data_channels_closed=core.channels.closed,
        ),
        _transport(core, now),
        _certificate(_LOCAL_CERTIFICATE_ID, core.certificate.der, now),
        *(_channel(channel, now) for channel in core.channels),
        *_candidates(core, now),
        *(_pair(pair, now) for pair in core.agent.pairs_snapshot()),
    ]
    if core.stage.remote_certificates:
        records.append(_certificate(_REMOTE_CERTIFICATE_ID, core.stage.remote_certificates[0], now))
    match core.stage:
        case Secured(association=association):
            records.append(_association(association, now))
        case Negotiating() | Securing():
            pass
        case _:
            assert_never(core.stage)
    return {record.id: record for record in records}


_TRANSPORT_ID: Final = "T"
_LOCAL_CERTIFICATE_ID: Final = "CL"
_REMOTE_CERTIFICATE_ID: Final = "CR"


def _transport(core: PeerCore, now: float) -> TransportStats:
    session = None if isinstance(core.stage, Negotiating) else core.stage.session
    selected = core.agent.selected_pair
    return TransportStats(
        id=_TRANSPORT_ID,
        timestamp=now,
        packets_sent=core.traffic.datagrams_sent,
        packets_received=core.traffic.datagrams_received,
        bytes_sent=core.traffic.bytes_sent,
        bytes_received=core.traffic.bytes_received,
        ice_role="controlling" if core.agent.controlling else "controlled",
        ice_local_username_fragment=core.agent.local_credentials.ufrag,
        ice_state=core.agent.state.value,
        dtls_state="new" if session is None else session.state.value,
        dtls_cipher=None if session is None else session.cipher,
        tls_version=None if session is None else session.version,
        selected_candidate_pair_id=None if selected is None else _pair_id(selected),
        local_certificate_id=_LOCAL_CERTIFICATE_ID,
        remote_certificate_id=_REMOTE_CERTIFICATE_ID if core.stage.remote_certificates else None,
        dropped_datagrams=core.traffic.datagrams_dropped,
    )


def _certificate(id_: str, der: bytes, now: float) -> CertificateStats:
    fingerprint = Fingerprint.of(der, "sha-256")
    return CertificateStats(
        id=id_,
        timestamp=now,
        fingerprint=str(fingerprint).split(" ", 1)[1],
        fingerprint_algorithm=fingerprint.algorithm,
        base64_certificate=base64.b64encode(der).decode(),
    )


def _channel(channel: Channel, now: float) -> DataChannelStats:
    return DataChannelStats(
        id=f"D{id(channel):x}" if channel.id is None else f"D{channel.id}",
        timestamp=now,
        label=channel.parameters.label,
        protocol=channel.parameters.protocol,
        data_channel_identifier=channel.id,
        state=channel.state.value,
        messages_sent=channel.messages_sent,
        bytes_sent=channel.bytes_sent,
        messages_received=channel.messages_received,
        bytes_received=channel.bytes_received,
        unread_messages=len(channel.inbox),
    )


def _association(association: Association, now: float) -> SctpTransportStats:
    return SctpTransportStats(
        id="S",
        timestamp=now,
        transport_id=_TRANSPORT_ID,
        state="connected" if association.is_established else "connecting",
        smoothed_round_trip_time=association.srtt,
        congestion_window=association.cwnd,
        receiver_window=association.peer_rwnd,
        una_data=association.unacknowledged_total,
    )


def _candidates(core: PeerCore, now: float) -> Iterator[IceCandidateStats]:
    pairs = core.agent.pairs_snapshot()
    local = dict.fromkeys((*core.agent.local_candidates, *(pair.local for pair in pairs)))
    remote = dict.fromkeys((*core.agent.remote_candidates, *(pair.remote for pair in pairs)))
    for type_, candidates in (("local-candidate", local), ("remote-candidate", remote)):
        for candidate in candidates:
            yield IceCandidateStats(
                type=type_,
                id=_candidate_id(type_, candidate),
                timestamp=now,
                transport_id=_TRANSPORT_ID,
                address=candidate.host,
                port=candidate.port,
                protocol=candidate.transport.lower(),
                candidate_type=candidate.type,
                priority=candidate.priority,
                foundation=candidate.foundation,
            )


def _candidate_id(type_: str, candidate: Candidate) -> str:
    return f"I{type_[0].upper()}{candidate.type}/{candidate.transport}/{candidate.host}/{candidate.port}"


def _pair_id(pair: CandidatePair) -> str:
    return f"{_candidate_id('local', pair.local)}-{_candidate_id('remote', pair.remote)}"


def _pair(pair: CandidatePair, now: float) -> IceCandidatePairStats:
    return IceCandidatePairStats(
        id=_pair_id(pair),
        timestamp=now,
        transport_id=_TRANSPORT_ID,
        local_candidate_id=_candidate_id("local", pair.local),
        remote_candidate_id=_candidate_id("remote", pair.remote),
        state=pair.state.value,
        nominated=pair.nominated,
        requests_sent=pair.requests_sent,
        requests_received=pair.requests_received,
        responses_sent=pair.responses_sent,
        responses_received=pair.responses_received,
        consent_requests_sent=pair.consent_requests_sent,
        total_round_trip_time=pair.total_round_trip_time,
        current_round_trip_time=pair.round_trip_time,
        last_error=pair.last_error,
    )
