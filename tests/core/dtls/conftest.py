"""Two DTLS sessions and a network between them, in virtual time."""

import datetime
import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from trio_webrtc.core.address_validation import Way
from trio_webrtc.core.contract import split_run
from trio_webrtc.core.dtls import Certificate, Context, DtlsEvent, Session

LATENCY = 0.02
BIRTHDAY = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


class Pair:
    """A client and a server; the seed decides what becomes of the n-th datagram."""

    def __init__(
        self,
        client: Session,
        server: Session,
        *,
        seed: int = 0,
        loss: float = 0.0,
        duplication: float = 0.0,
        reordering: float = 0.0,
        client_way: Way | None = None,
        server_way: Way | None = None,
    ) -> None:
        self.client, self.server = client, server
        # Where each would be answered, if that has not been proved to the other.
        self.unproven = {client: server_way, server: client_way}
        self.now = 0.0
        self.events: dict[Session, list[DtlsEvent]] = {client: [], server: []}
        self.packets: dict[Session, list[bytes]] = {client: [], server: []}
        self.sent: dict[Session, list[bytes]] = {client: [], server: []}
        self._loss, self._duplication, self._reordering = loss, duplication, reordering
        self._rng = random.Random(seed)
        self._in_flight: list[tuple[float, int, Session, bytes]] = []
        self._serial = itertools.count()

    def start(self) -> None:
        self.server.start(self.now)
        self.client.start(self.now)
        self.collect()

    def connect(self) -> None:
        """Run until the handshake is over on both sides and nothing is under way."""
        self.start()
        self.settle()
        assert self.client.is_up, self.events
        assert self.server.is_up, self.events

    def settle(self, until: float = 60.0) -> None:
        """Let time pass until nothing is under way and no timer is set, or until then."""
        while self.step(until):
            pass

    def step(self, until: float = 60.0) -> bool:
        """Let time pass until the next thing happens, if anything does."""
        moments = [self.client.next_timeout(), self.server.next_timeout()]
        moments += [self._in_flight[0][0]] if self._in_flight else []
        moment = min((moment for moment in moments if moment is not None), default=None)
        if moment is None or moment > until:
            return False
        self.now = max(self.now, moment)
        batches: dict[Session, list[bytes]] = {self.client: [], self.server: []}
        while self._in_flight and self._in_flight[0][0] <= self.now:
            _, _, receiver, datagram = heapq.heappop(self._in_flight)
            batches[receiver].append(datagram)
        for session, batch in batches.items():
            if batch:
                session.receive_datagrams(batch, self.now, self.unproven[session])
            session.handle_timeout(self.now)
        self.collect()
        return True

    def collect(self) -> None:
        """Drain the outputs of both, and throw their datagrams into the network."""
        for session, peer in ((self.client, self.server), (self.server, self.client)):
            for datagram in drain(session, self.now):
                self.sent[session].append(datagram)
                self._throw(peer, datagram)
            self.packets[session] += session.poll_packets()
            while (event := session.poll_event()) is not None:
                self.events[session].append(event)

    def heal(self) -> None:
        """From now on the network does its duty."""
        self._loss = self._duplication = self._reordering = 0.0

    def _throw(self, receiver: Session, datagram: bytes) -> None:
        if self._rng.random() < self._loss:
            return
        for _ in range(2 if self._rng.random() < self._duplication else 1):
            delay = self._rng.uniform(0.0, 0.5) if self._rng.random() < self._reordering else 0.0
            heapq.heappush(self._in_flight, (self.now + LATENCY + delay, next(self._serial), receiver, datagram))


def drain(session: Session, now: float = 0.0) -> list[bytes]:
    """All datagrams that a session has to send, one by one."""
    datagrams: list[bytes] = []
    while (run := session.poll_run(now)) is not None:
        datagrams += split_run(*run)
    return datagrams


@pytest.fixture(name="drain")
def drain_fixture() -> Callable[..., list[bytes]]:
    return drain


@pytest.fixture(scope="session")
def ecdsa() -> Context:
    return Context(Certificate.generate(now=BIRTHDAY))


@pytest.fixture(scope="session")
def rsa() -> Context:
    return Context(Certificate.generate(now=BIRTHDAY, key="rsa-2048"))


@pytest.fixture(scope="session")
def stranger() -> Certificate:
    """A certificate that nobody presents."""
    return Certificate.generate(now=BIRTHDAY)


@pytest.fixture
def make_pair(ecdsa) -> Callable[..., Pair]:
    """Make a `Pair` of two sessions that trust each other, unless told otherwise."""

    def make(*, client=ecdsa, server=ecdsa, mtu=1200, client_trusts=..., server_trusts=..., **network) -> Pair:
        trusted = {
            "client": server.certificate.fingerprints() if client_trusts is ... else client_trusts,
            "server": client.certificate.fingerprints() if server_trusts is ... else server_trusts,
        }
        return Pair(
            Session(client, is_client=True, remote_fingerprints=trusted["client"], mtu=mtu, now=0.0),
            Session(server, is_client=False, remote_fingerprints=trusted["server"], mtu=mtu, now=0.0),
            **network,
        )

    return make


@pytest.fixture
def pair(make_pair) -> Pair:
    """Two sessions that are up, over a network that does its duty."""
    pair = make_pair()
    pair.connect()
    return pair
