"""One DTLS session: datagrams, packets and time in; datagrams, packets and events out."""

import enum
import secrets
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from trio_webrtc.core.address_validation import Way
from trio_webrtc.core.contract import MalformedPacketError
from trio_webrtc.core.dtls.alerts import Alert, describe, known_alert, with_description
from trio_webrtc.core.dtls.context import Context
from trio_webrtc.core.dtls.engine import Engine, Outcome
from trio_webrtc.core.dtls.events import DtlsEvent, Failed, HandshakeCompleted, RemoteClosed
from trio_webrtc.core.dtls.fingerprint import Fingerprint, is_announced
from trio_webrtc.core.dtls.flight import Flight
from trio_webrtc.core.dtls.records import (
    MAX_JOINED_LENGTH,
    Numbering,
    is_handshake,
    is_payload,
    may_belong_to_handshake,
    pack,
    runs_of,
    split_records,
)
from trio_webrtc.core.dtls.witness import Witness
from trio_webrtc.errors import FailureReason, UsageError

MAX_EARLY_RECORDS: Final = 8
"""How many records wait for the end of the handshake that they have overtaken."""

MAX_UNVERIFIED_PACKETS: Final = 8
"""How many packets wait for the fingerprint that vouches for their sender. SCTP sends the others again."""

MAX_COOKIES: Final = 4
"""Ways by which a client may be asked for a cookie, until it brings one; the oldest is forgotten for another."""

COOKIE_LENGTH: Final = 32

MIN_REPEAT_INTERVAL: Final = 0.1
"""Seconds between two answers to a repeated flight: it may come in several datagrams, and one answer is enough."""


class SessionState(enum.Enum):
    """W3C's words for the states of a DTLS transport."""

    NEW = "new"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    CLOSED = "closed"
    FAILED = "failed"


@dataclass(slots=True)
class DtlsCounters:
    """What a session has seen and done, besides what it was asked for."""

    malformed_datagrams: int = 0
    """Cut short, or with a record header that lies about its length."""
    ignored_records: int = 0
    """Of no use in the state the session was in."""
    flights_repeated: int = 0
    packets_sent: int = 0
    packets_received: int = 0


class Session:
    """A DTLS session with one peer. After any input, drain `poll_run`, `poll_packets` and `poll_event`.

    Args:
        context: the certificate to present, and the settings.
        is_client: whether this side says the first word.
        remote_fingerprints: what the peer's certificate must match. None: not known yet; the handshake may go on,
            but completes only when `set_remote_fingerprints` has brought them. Empty: any certificate will do.
        mtu: no datagram of the handshake is larger; those of application data are as large as what is sent.
        now: seconds, on any monotonic clock.
    """

    __slots__ = (
        "__weakref__",
        "_answered_repeat_at",
        "_early",
        "_engine",
        "_events",
        "_flight",
        "_handshake_is_done",
        "_has_said_goodbye",
        "_is_verified",
        "_mtu",
        "_numbering",
        "_outbox",
        "_packets",
        "_state",
        "_witness",
        "counters",
        "has_heard",
        "is_client",
        "remote_certificate",
    )

    def __init__(
        self,
        context: Context,
        *,
        is_client: bool,
        remote_fingerprints: Sequence[Fingerprint] | None,
        mtu: int = 1200,
        now: float,
    ) -> None:
        self.counters = DtlsCounters()
        self.remote_certificate: tuple[bytes, ...] = ()
        """The peer's certificate chain in DER, its own first; empty before the handshake is done."""
        self.is_client = is_client
        self.has_heard = False
        """Whether a record of the peer's handshake has come, be it good or bad, with the cookie if one is asked for."""
        self._mtu = mtu
        self._state = SessionState.NEW
        self._handshake_is_done = False
        self._is_verified = False
        self._has_said_goodbye = False
        self._answered_repeat_at = now - MIN_REPEAT_INTERVAL
        self._witness = Witness(remote_fingerprints)
        self._engine = Engine(context, self._witness, is_client=is_client, mtu=mtu)
        self._flight = Flight(context.settings)
        self._numbering = Numbering()
        self._outbox: deque[tuple[bytes, int | None]] = deque()
        self._early: list[bytes] = []
        self._packets: list[bytes] = []
        self._events: deque[DtlsEvent] = deque()

    # What it is

    @property
    def state(self) -> SessionState:
        """The state, in W3C's words."""
        return self._state

    @property
    def is_up(self) -> bool:
        """Whether packets can be sent: the handshake is complete, the peer verified, and nobody has said goodbye."""
        return self._state is SessionState.CONNECTED

    @property
    def proven_way(self) -> Way | None:
        """Where a client was asked for the cookie that it has brought; None if it was not, or has not."""
        return self._witness.proven_way

    @property
    def record_overhead(self) -> int:
        """How many bytes a record adds to a packet; 0 before the handshake is done."""
        return self._engine.record_overhead

    @property
    def cipher(self) -> str | None:
        """IANA's name of the cipher suite; None before one is agreed."""
        return self._engine.cipher

    @property
    def version(self) -> str:
        """The protocol version, as in "DTLSv1.2"."""
        return self._engine.version

    def export_keying_material(self, label: bytes, length: int, context: bytes | None = None) -> bytes:
        """Keys for another protocol, derived from this session's (RFC 5705).

        Raises:
            UsageError: the session is not up.
        """
        if not self.is_up:
            raise UsageError("keying material can be exported only while the DTLS session is up")
        return self._engine.export_keying_material(label, length, context)

    # In

    def start(self, now: float) -> None:
        """Begin: a client says its ClientHello, a server listens for one."""
        if self._state is not SessionState.NEW:
            return
        self._state = SessionState.CONNECTING
        if self.is_client:
            self._shake_hands(b"", now)
        else:
            self._flight.begin(now)

    def set_remote_fingerprints(self, fingerprints: Sequence[Fingerprint], now: float) -> None:
        """Say what the peer's certificate must match; one that was taken on trust is judged now."""
        self._witness.fingerprints = fingerprints
        if self._state is SessionState.CONNECTING and self._handshake_is_done:
            self._verify()

    def receive_datagrams(self, batch: Sequence[bytes], now: float, unproven_way: Way | None = None) -> None:
        """Take what has arrived. Never raises for its contents: a bad datagram is counted and dropped.

        The usual datagram is one record of application data. Such records are joined, up to `MAX_JOINED_LENGTH`
        bytes, and decrypted together; one too short to be protected at all would upset some versions of OpenSSL.

        A client that would be answered by an `unproven_way` is asked for a cookie first, which it knows only if it
        receives what is sent there (RFC 6347 §4.2.1). `proven_way` tells where it was asked for the one that it brings:
        it may be heard elsewhere by then, and brings it only once.
        """
        if not self._is_listening():
            return
        joined: list[bytes] = []
        size = 0
        for datagram in batch:
            try:
                records = split_records(datagram)
            except MalformedPacketError:
                self.counters.malformed_datagrams += 1
                continue
            for record in records:
                if not self._handshake_is_done:
                    self._receive_handshake(record, now, unproven_way)
                elif is_payload(record) and len(record) > self._engine.record_overhead:
                    if size + len(record) > MAX_JOINED_LENGTH:
                        self._decrypt(joined)
                        joined, size = [], 0
                    joined.append(record)
                    size += len(record)
                else:
                    self._receive_late_handshake(record, now)
        if joined:
            self._decrypt(joined)

    def handle_timeout(self, now: float) -> None:
        """Send the last flight again, if its time has come. Harmless when called early or twice."""
        if self._flight.due is None or now < self._flight.due:
            return
        if self._flight.is_hopeless(now):
            self._fail(FailureReason.DTLS_FAILED, "the peer did not complete the DTLS handshake in time")
            return
        self._flight.back_off(now)
        self._repeat_flight()

    def send(self, packets: Sequence[bytes]) -> None:
        """Queue application data, each packet as one record in one datagram. Ignored unless the session is up.

        Packets of one size next to each other leave as runs. Empty ones cannot be sent, and are left out.
        """
        if self._state is SessionState.CONNECTED:
            self._encrypt(packets)

    def queue_close_notify(self) -> None:
        """Say goodbye, behind all that is queued. Final; safe in any state, and silent before there are keys.

        It is also the answer that a peer's close_notify asks for (RFC 5246 §7.2.1): none is given without this call.
        """
        if self._state is SessionState.FAILED or self._has_said_goodbye:
            return
        self._flight.forget()
        self._state = SessionState.CLOSED
        if self._handshake_is_done:
            self._has_said_goodbye = True
            self._engine.close_notify()
            self._queue_output()
        else:
            self._outbox.clear()

    def repeat_goodbye(self, packets: Sequence[bytes] = ()) -> None:
        """Say goodbye again, in fresh records and behind `packets`, to a peer that may have missed the first one."""
        if self._has_said_goodbye:
            self._engine.reopen()
            self._encrypt(packets)
            self._engine.close_notify()
            self._queue_output()

    # Out

    def poll_run(self, now: float) -> tuple[bytes, int | None] | None:
        """The next datagram (and None), or run of datagrams back to back (and the size of all but the last)."""
        return self._outbox.popleft() if self._outbox else None

    def poll_packets(self) -> list[bytes]:
        """The application data that has arrived, one packet per record; none before its sender is verified."""
        if not self._packets or not self._is_verified:
            return []
        packets, self._packets = self._packets, []
        return packets

    def poll_event(self) -> DtlsEvent | None:
        """The next event. Packets that came before a `RemoteClosed` can be polled before and after it."""
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        """When `handle_timeout` is to be called."""
        return self._flight.due

    # The handshake

    def _is_listening(self) -> bool:
        if self._state is SessionState.NEW:
            return not self.is_client
        return self._state is SessionState.CONNECTING or self._state is SessionState.CONNECTED

    def _receive_handshake(self, record: bytes, now: float, unproven_way: Way | None) -> None:
        if is_payload(record) and len(self._early) < MAX_EARLY_RECORDS:
            # It has overtaken the end of the handshake. OpenSSL would keep it, but not every version finds it again.
            self._early.append(record)
        elif not may_belong_to_handshake(record) or not self._is_listening():
            self.counters.ignored_records += 1
        elif unproven_way is None or self.is_client or self.has_heard:
            self._go_on(record, now)
        elif self._brings_cookie(record, unproven_way):
            self._go_on(b"", now)  # OpenSSL has the record already

    def _brings_cookie(self, record: bytes, way: Way) -> bool:
        cookies = self._witness.cookies
        cookies[way] = cookies.pop(way, b"") or secrets.token_bytes(COOKIE_LENGTH)
        if len(cookies) > MAX_COOKIES:
            del cookies[next(iter(cookies))]
        is_proven = self._engine.listen(record)
        request = self._engine.take_output()
        if not self._outbox:  # which this bounds
            self._queue_records(split_records(request))  # not a flight: only a repeated ClientHello has it repeated
        return is_proven

    def _go_on(self, record: bytes, now: float) -> None:
        self._state = SessionState.CONNECTING
        self._flight.begin(now)
        self.has_heard = True
        self._shake_hands(record, now)

    def _shake_hands(self, record: bytes, now: float) -> None:
        outcome = self._engine.handshake(record)
        self._queue_flight(now)
        match outcome:
            case Outcome.WAITING:
                pass
            case Outcome.COMPLETE:
                self._handshake_is_done = True
                self._end_flights()
                self.remote_certificate = self._engine.certificate_chain()
                self._verify()
                for early in self._early:
                    self._decrypt([early])
                self._early.clear()
            case Outcome.CLOSED | Outcome.BROKEN:
                self._judge(outcome)

    def _queue_flight(self, now: float) -> None:
        """Queue what OpenSSL has written, and keep it for repetition if it is (or repeats) a flight."""
        records = split_records(self._engine.take_output())
        if self._witness.has_refused_certificate:
            # RFC 8122 §6.2 asks for this alert. OpenSSL, which knows nothing of fingerprints, has chosen another.
            records = [with_description(record, Alert.BAD_CERTIFICATE) for record in records]
        self._queue_records(records)
        if any(map(is_handshake, records)):
            self._flight.replace([record for record in records if is_handshake(record)], now)

    def _queue_records(self, records: Iterable[bytes]) -> None:
        renumbered = map(self._numbering.renumber, records)
        self._outbox.extend((datagram, None) for datagram in pack(renumbered, self._mtu))

    def _end_flights(self) -> None:
        # RFC 6347 §4.2.4: whoever sent the last flight keeps it, for a peer that asks by repeating its own. That is
        # the server, as sessions are never resumed. If the client answered as well, they would never stop.
        if self.is_client:
            self._flight.forget()
        else:
            self._flight.stop()

    def _repeat_flight(self) -> None:
        # What has not left yet need not be repeated: this also bounds the outbox.
        if self._flight.records and not self._outbox:
            self.counters.flights_repeated += 1
            self._queue_records(self._flight.records)

    def _receive_late_handshake(self, record: bytes, now: float) -> None:
        """Answer a peer that has not seen the end of the handshake.

        OpenSSL never sees such records: it would answer by itself, give the session up when that had happened a
        dozen times, or begin to renegotiate.
        """
        self.counters.ignored_records += 1
        if is_handshake(record) and now - self._answered_repeat_at >= MIN_REPEAT_INTERVAL:
            self._answered_repeat_at = now
            self._repeat_flight()

    def _verify(self) -> None:
        """Come up, if the peer's certificate is the one that was announced; wait, if that is not known yet."""
        fingerprints = self._witness.fingerprints
        if fingerprints is None or self._state is not SessionState.CONNECTING:
            return
        if fingerprints and not any(is_announced(der, fingerprints) for der in self.remote_certificate[:1]):
            # The handshake has no more room for an alert; close_notify tells the peer at least that this is the end.
            self._witness.has_refused_certificate = True
            self._engine.close_notify()
            self._queue_output()
            self._fail_with_reason()
        else:
            self._is_verified = True
            self._state = SessionState.CONNECTED
            self._events.append(HandshakeCompleted())

    # Application data

    def _encrypt(self, packets: Sequence[bytes]) -> None:
        for run in runs_of(packets):
            records = self._engine.encrypt(run)
            segment_size = len(run[0]) + self._engine.record_overhead
            self._outbox.append((records, segment_size if len(run) > 1 else None))
            self.counters.packets_sent += len(run)

    def _decrypt(self, records: Sequence[bytes]) -> None:
        if not self._is_listening():
            return
        before = len(self._packets)
        outcome = self._engine.decrypt(b"".join(records), len(records), self._packets)
        self.counters.packets_received += len(self._packets) - before
        if not self._is_verified:
            del self._packets[MAX_UNVERIFIED_PACKETS:]
        self._judge(outcome)

    # The end

    def _judge(self, outcome: Outcome) -> None:
        if outcome is Outcome.CLOSED:
            self._flight.forget()
            self._state = SessionState.CLOSED
            self._events.append(RemoteClosed())
        elif outcome is Outcome.BROKEN:
            self._queue_output()
            self._fail_with_reason()

    def _fail_with_reason(self) -> None:
        """Fail for the best reason that is known."""
        witness = self._witness
        if witness.has_refused_certificate:
            message = "the peer's certificate matches none of the fingerprints it announced"
            self._fail(FailureReason.FINGERPRINT_MISMATCH, message, Alert.BAD_CERTIFICATE)
        elif witness.alert_received is not None:
            message = f"the peer ended the DTLS session with {describe(witness.alert_received)}"
            self._fail(FailureReason.DTLS_FAILED, message, witness.alert_received)
        else:
            self._fail(FailureReason.DTLS_FAILED, f"DTLS failed: {self._engine.error}", witness.alert_sent)

    def _fail(self, reason: FailureReason, message: str, alert: int | None = None) -> None:
        self._flight.forget()
        self._state = SessionState.FAILED
        self._events.append(Failed(reason, message, known_alert(alert)))

    def _queue_output(self) -> None:
        self._queue_records(split_records(self._engine.take_output()))
