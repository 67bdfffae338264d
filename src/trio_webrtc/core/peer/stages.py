"""What stands on top of ICE, stage by stage. Each stage has exactly the layers that exist in it.

A connection is `Negotiating` until both sides' descriptions agree, `Securing` until the DTLS handshake is complete, and
`Secured` from then on. Every stage takes records and time, and gives runs of datagrams; a transition makes the next.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar, Final, TypeAlias

from trio_webrtc.core import dtls, jsep, sctp
from trio_webrtc.core.address_validation import AmplificationLimit, Way
from trio_webrtc.core.contract import MAX_RUN_BYTES, Address, Received, Via, earliest
from trio_webrtc.core.peer.settings import Direction, PeerSettings

MAX_EARLY_DTLS: Final = 8
"""DTLS datagrams kept until the remote description says who the client is."""

MTU: Final = 1200
"""The largest datagram sent: what browsers send, and what IPv6 always passes (RFC 8200 §5: 1280 with headers)."""

PROBE_INTERVAL: Final = 0.1
"""Seconds between two questions whether the peer hears us by a way that is to be proved."""

Run: TypeAlias = tuple[bytes, int | None]
"""One datagram and None, or datagrams back to back and the size of all but the last."""


@dataclass(slots=True, kw_only=True)
class Limited:
    """What all stages have in common."""

    limit: AmplificationLimit | None = None
    """There if the peer's checks prove nothing; what it answers does."""

    def credit(self, batch: Sequence[Received], is_validated: Callable[[Via, Address], bool]) -> None:
        """As much as has come from an address may go there."""
        if self.limit is not None:
            for via, from_, data, _ in batch:
                if is_validated(via, from_):
                    self.limit.receive((via, from_), len(data))

    def _poll_admitted(self, session: dtls.Session, way: Way, now: float) -> Run | None:
        """What the session has to say, as far as it may be said by this way."""
        run = session.poll_run(now)
        if run is None or self.limit is None or self.limit.admits(way, len(run[0])):
            return run
        while run is not None:  # with what stands behind it, so that room gathers for when it is repeated
            run = session.poll_run(now)
        return None


@dataclass(slots=True, kw_only=True)
class Unsecured(Limited):
    """What the stages have in common in which the peer has not shown yet who it is."""

    has_unacknowledged: ClassVar = False

    settings: PeerSettings

    def _begin(self, remote: jsep.RemoteTransport, role: jsep.DtlsRole, now: float) -> "Securing":
        fingerprints: tuple[dtls.Fingerprint, ...] = ()  # which any certificate matches
        if self.settings.verify_remote_certificate:
            fingerprints = tuple(map(dtls.Fingerprint.parse, remote.fingerprints))
        session = dtls.Session(
            self.settings.dtls_context,
            is_client=role == "client",
            remote_fingerprints=fingerprints,
            mtu=MTU,
            now=now,
        )
        return Securing(session, remote, settings=self.settings, limit=self.limit)


@dataclass(slots=True)
class Negotiating(Unsecured):
    """It is not known yet who begins the DTLS handshake; what comes early is kept, a little of it."""

    remote_certificates: ClassVar[tuple[bytes, ...]] = ()

    early: deque[bytes] = field(default_factory=lambda: deque(maxlen=MAX_EARLY_DTLS))

    def agree(self, remote: jsep.RemoteTransport, role: jsep.DtlsRole, way: Way | None, now: float) -> "Securing":
        """Both sides are known now: begin, and answer by this way what has come early."""
        securing = self._begin(remote, role, now)
        if self.early and role == "server":  # a client is spoken to only when it has spoken
            securing.receive(list(self.early), way, now)
        return securing

    def receive(self, records: Sequence[bytes], way: Way | None, now: float) -> None:
        """Keep what has come."""
        self.early.extend(records)

    def handle_timeout(self, now: float) -> None:
        """Nothing is due."""

    def poll_run(self, way: Way, now: float) -> Run | None:
        """There is nothing to send."""
        return None

    def next_timeout(self) -> float | None:
        """Nothing will be due."""
        return None


@dataclass(slots=True)
class Securing(Unsecured):
    """The DTLS handshake is under way, or begins as soon as there is a way to the peer."""

    session: dtls.Session
    remote: jsep.RemoteTransport

    def agree(self, remote: jsep.RemoteTransport, role: jsep.DtlsRole, way: Way | None, now: float) -> "Securing":
        """Begin again, if what is agreed now is another handshake.

        It is with another endpoint than the one that answered provisionally; or our answer was lost, and now it is the
        peer that answers, in a role that it could not know to be ours.
        """
        is_other_role = self.session.is_client != (role == "client")
        if remote.changes_identity(self.remote) or (is_other_role and not self.session.has_heard):
            return self._begin(remote, role, now)
        return self

    def complete(self, rng: Random, now: float) -> "Secured":
        """The handshake is done: put an association on the session."""
        association = sctp.Association(
            settings=self.settings.sctp_settings,
            rng=rng,
            max_packet_size=MTU - self.session.record_overhead,
            local_port=jsep.DEFAULT_SCTP_PORT,
            remote_port=self.remote.sctp_port,
            now=now,
        )
        return Secured(self.session, association, on_packet=self.settings.on_packet, limit=self.limit)

    @property
    def remote_certificates(self) -> tuple[bytes, ...]:
        """The peer's certificate chain in DER."""
        return self.session.remote_certificate

    def receive(self, records: Sequence[bytes], way: Way | None, now: float) -> None:
        """Take records of the handshake, to be answered by this way."""
        if self.limit is None:
            self.session.receive_datagrams(records, now)
        elif way is not None:  # or there is nowhere to answer
            self.session.receive_datagrams(records, now, unproven_way=way)
            if self.session.proven_way is not None:
                self.limit.prove(self.session.proven_way)

    def handle_timeout(self, now: float) -> None:
        """Send the last flight again if its time has come."""
        self.session.handle_timeout(now)

    def poll_run(self, way: Way, now: float) -> Run | None:
        """What the handshake has to say; what is not sent now, it repeats."""
        return self._poll_admitted(self.session, way, now)

    def next_timeout(self) -> float | None:
        """When the last flight is due again."""
        return self.session.next_timeout()


@dataclass(slots=True)
class Secured(Limited):
    """DTLS is up, with an SCTP association on it."""

    session: dtls.Session
    association: sctp.Association
    on_packet: Callable[[Direction, bytes, float], None] | None = field(kw_only=True)
    probed: Way | None = field(default=None, init=False)
    """The way by which a question has gone that the peer has not answered yet."""
    probed_at: float = field(default=0.0, init=False)

    @property
    def remote_certificates(self) -> tuple[bytes, ...]:
        """The peer's certificate chain in DER."""
        return self.session.remote_certificate

    @property
    def has_unacknowledged(self) -> bool:
        """Whether the peer has yet to acknowledge something that was sent."""
        return self.association.unacknowledged_total > 0

    def receive(self, records: Sequence[bytes], way: Way | None, now: float) -> None:
        """Decrypt what has come."""
        self.session.receive_datagrams(records, now)

    def pass_packets_up(self, now: float) -> None:
        """Give the association the packets that have been decrypted."""
        if packets := self.session.poll_packets():
            self._show(Direction.IN, packets, now)
            self.association.receive_datagrams(packets, now)
            if self.limit is not None and self.probed is not None and self.association.is_probe_answered:
                self.limit.prove(self.probed)
                self.probed = None

    def handle_timeout(self, now: float) -> None:
        """Fire every timer that is due."""
        self.session.handle_timeout(now)
        self.association.handle_timeout(now)

    def poll_run(self, way: Way, now: float) -> Run | None:
        """What is encrypted already, else what the association has to say; behind the goodbyes it says nothing."""
        run = self._poll_admitted(self.session, way, now)
        if run is None and self.session.is_up:
            packets = self._poll_packets(way, now)
            if packets:
                self.send(packets, now)
                run = self._poll_admitted(self.session, way, now)
        return run

    def _poll_packets(self, way: Way, now: float) -> Sequence[bytes]:
        """What the association has to say; by a way that has to be proved first, only whether the peer hears this."""
        if self.limit is None or self.limit.is_proven(way) or not self.association.is_established:
            return self.association.poll_transmits(now, MAX_RUN_BYTES // MTU)
        is_asked = way == self.probed
        if is_asked and now < self.probed_at + PROBE_INTERVAL:
            return ()
        self.probed, self.probed_at = way, now
        return self.association.probe(now, anew=not is_asked)

    def send(self, packets: Sequence[bytes], now: float) -> None:
        """Encrypt packets of the association's."""
        self._show(Direction.OUT, packets, now)
        self.session.send(packets)

    def next_timeout(self) -> float | None:
        """When the next timer is due."""
        return earliest(self.session.next_timeout(), self.association.next_timeout())

    def _show(self, direction: Direction, packets: Sequence[bytes], now: float) -> None:
        if self.on_packet is not None:
            for packet in packets:
                self.on_packet(direction, packet, now)


Stage: TypeAlias = Negotiating | Securing | Secured
