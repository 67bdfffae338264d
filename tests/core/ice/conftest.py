"""Two agents and a small world between them, in virtual time and from a seed."""

import heapq
import itertools
import random
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
from aioice import stun as codec

from trio_webrtc.core.contract import Address, Received, Transmit
from trio_webrtc.core.ice import (
    Agent,
    AnyAgent,
    BaseKind,
    ConnectionReleased,
    ConnectionWanted,
    Credentials,
    IceSettings,
    LiteAgent,
    LocalCandidateGathered,
    StateChanged,
    parse_candidate,
)
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.message import ICE_CONTROLLED, ICE_CONTROLLING, PRIORITY, USE_CANDIDATE, USERNAME

START = 1000.0


class Listener(NamedTuple):
    """The via of a passive TCP base."""

    address: Address


class Host(NamedTuple):
    """The via of an active TCP base."""

    host: str


class Connection(NamedTuple):
    """The via of one end of a TCP connection."""

    local: Address
    remote: Address

    @property
    def other_end(self) -> "Connection":
        return Connection(self.remote, self.local)


class Side:
    """An agent, what it has told so far, and its sockets (a UDP socket's via is its address itself)."""

    def __init__(self, world: "World", agent: AnyAgent) -> None:
        self.world, self.agent = world, agent
        self.events: list[object] = []
        self.untold: list[LocalCandidateGathered] = []
        self.is_awake = True

    def bind(self, host: str, port: int, **options: object) -> Address:
        address = (host, port)
        self.world.owner_of[address] = self
        self.agent.add_local_base(address, address, now=self.world.now, **options)
        return address

    def listen(self, host: str, port: int, **options: object) -> Listener:
        via = Listener((host, port))
        self.world.owner_of[via] = self
        self.agent.add_local_base(via, via.address, now=self.world.now, kind=BaseKind.TCP_PASSIVE, **options)
        return via

    def may_connect(self, host: str, **options: object) -> Host:
        via = Host(host)
        self.agent.add_local_base(via, (host, 0), now=self.world.now, kind=BaseKind.TCP_ACTIVE, **options)
        return via

    @property
    def connections(self) -> list[Connection]:
        return [via for via, side in self.world.owner_of.items() if side is self and isinstance(via, Connection)]

    def told(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def states(self) -> list[str]:
        return [event.state.value for event in self.told(StateChanged)]

    @property
    def candidates(self) -> list[str]:
        return [f"{event.candidate.type} {event.candidate.host}" for event in self.told(LocalCandidateGathered)]

    def drain(self) -> None:
        while (transmit := self.agent.poll_transmits(self.world.now)) is not None:
            self.world.send(transmit)
        while (event := self.agent.poll_event()) is not None:
            self.events.append(event)
            match event:
                case LocalCandidateGathered():
                    self.untold.append(event)
                case ConnectionWanted(base_via, remote_address):
                    self.world.connect_tcp(self, base_via, remote_address)
                case ConnectionReleased(via):
                    self.world.end_connection(via)


class World:
    """Carries datagrams between sides: with latency, with loss from a seed, and through a filter."""

    def __init__(self, *, seed: int = 0, latency: float = 0.02, loss: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.now = START
        self.latency, self.loss = latency, loss
        self.sides: list[Side] = []
        self.owner_of: dict[Address | Listener | Connection, Side] = {}
        self.servers: dict[Address, Callable[[Address, bytes], bytes | None]] = {}
        self.passes: Callable[[Address, Address], bool] = lambda from_, to: True
        self.log: list[tuple[float, Address, Address, bytes]] = []
        self._outside_of: dict[Address, Address] = {}
        self._inside_of: dict[Address, Address] = {}
        self._in_flight: list[tuple[float, int, Callable[[], None]]] = []
        self._ports = itertools.count(50_000)
        self._number = itertools.count()

    def side(self, *, controlling: bool, settings: IceSettings | None = None, **options: object) -> Side:
        rng = random.Random(self.rng.random())
        side = Side(self, Agent(controlling=controlling, rng=rng, settings=settings, **options))
        self.sides.append(side)
        return side

    def lite_side(self, settings: IceSettings | None = None, **options: object) -> Side:
        rng = random.Random(self.rng.random())
        side = Side(self, LiteAgent(rng=rng, settings=settings, **options))
        self.sides.append(side)
        return side

    def send(self, transmit: Transmit) -> None:
        from_, to = transmit.via, transmit.to
        if isinstance(from_, Connection):
            self.log.append((self.now, from_, to, transmit.data))
            self._later(partial(self._deliver_by_tcp, from_, transmit.data))
            return
        assert not isinstance(from_, Listener | Host), "nothing can be sent by these"
        self.log.append((self.now, from_, to, transmit.data))
        if self.rng.random() >= self.loss and self.passes(from_, to):
            self.carry(from_, to, transmit.data)

    def translate(self, inside: Address, outside: Address) -> None:
        """Put a router before `inside` that makes it look like `outside`."""
        self._outside_of[inside], self._inside_of[outside] = outside, inside

    def carry(self, from_: Address, to: Address, data: bytes) -> None:
        """Have a datagram arrive after the latency of this world."""
        self._later(partial(self._deliver, self._outside_of.get(from_, from_), to, data))

    def connect_tcp(self, side: Side, base_via: Host, remote: Address) -> None:
        """Open a connection: a round trip until this side knows, half of one until the other does."""
        local = (base_via.host, next(self._ports))
        self._later(partial(self._accept, side, base_via, Connection(local, remote)))

    def end_connection(self, via: Connection) -> None:
        """One end closes; the other learns of it later."""
        if self.owner_of.pop(via, None) is not None:
            self._later(partial(self._lose, via.other_end))

    def _accept(self, opener: Side, base_via: Host, end: Connection) -> None:
        listener = self.owner_of.get(Listener(end.remote))
        if listener is None or not self.passes(end.local, end.remote):
            refuse = partial(opener.agent.report_connection_failure, base_via, end.remote, "refused")
            self._later(lambda: refuse(self.now))
            return
        self.owner_of[end.other_end] = listener
        listener.agent.add_connection(end.other_end, Listener(end.remote), end.local, self.now)
        self._later(partial(self._connected, opener, base_via, end))

    def _connected(self, opener: Side, base_via: Host, end: Connection) -> None:
        if end.other_end in self.owner_of:
            self.owner_of[end] = opener
            opener.agent.add_connection(end, base_via, end.remote, self.now)

    def _lose(self, via: Connection) -> None:
        side = self.owner_of.pop(via, None)
        if side is not None:
            side.agent.remove_local_base(via, self.now)

    def _deliver_by_tcp(self, from_: Connection, data: bytes) -> None:
        side = self.owner_of.get(from_.other_end)
        if side is not None and side.is_awake and self.passes(from_.local, from_.remote):
            side.agent.receive_datagrams([Received(from_.other_end, from_.local, data)], self.now)

    def _later(self, act: Callable[[], None]) -> None:
        heapq.heappush(self._in_flight, (self.now + self.latency, next(self._number), act))

    def sent(self, kind: MessageClass, *, from_: Address | None = None, to: Address | None = None) -> list[Message]:
        """The messages of a class that were sent (whether or not they arrived)."""
        messages = (
            Message.decode(data)
            for _, source, target, data in self.log
            if from_ in (None, source) and to in (None, target)
        )
        return [message for message in messages if message.message_class is kind]

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, until something is so."""
        end = self.now + seconds
        while True:
            for side in self.sides:
                side.drain()
            if until():
                return
            moment = min((self._in_flight[0][0] if self._in_flight else end, *self._timeouts()), default=end)
            if moment > end or moment == end == self.now:
                self.now = end
                return
            self.now = max(self.now, moment)
            while self._in_flight and self._in_flight[0][0] <= self.now:
                heapq.heappop(self._in_flight)[2]()
            for side in self.sides:
                if side.is_awake and (timeout := side.agent.next_timeout()) is not None and timeout <= self.now:
                    side.agent.handle_timeout(self.now)

    def exchange_credentials(self) -> None:
        left, right = self.sides
        for side, other in ((left, right), (right, left)):
            credentials, lite = other.agent.local_credentials, other.agent.is_lite
            side.agent.set_remote_credentials(credentials, now=self.now, lite=lite)

    def signal_candidates(self) -> None:
        """Tell each side what the other has gathered since the last time."""
        left, right = self.sides
        for side, other in ((left, right), (right, left)):
            side.drain()
            for event in side.untold:
                other.agent.add_remote_candidate(parse_candidate(event.candidate.to_sdp()), self.now)
            side.untold.clear()

    def end_candidates(self) -> None:
        for side in self.sides:
            side.agent.end_of_local_bases(self.now)
            side.agent.end_of_remote_candidates(self.now)

    def connect(self, seconds: float = 10) -> None:
        """Signal all there is, and run until both sides have selected a pair."""
        self.signal_candidates()
        self.exchange_credentials()
        self.end_candidates()
        self.run(seconds, until=self.is_connected)
        assert self.is_connected(), [side.agent.describe_failure() for side in self.sides]

    def is_connected(self) -> bool:
        return all(side.agent.selected_pair is not None for side in self.sides)

    def _timeouts(self) -> list[float]:
        timeouts = (side.agent.next_timeout() for side in self.sides if side.is_awake)
        return [timeout for timeout in timeouts if timeout is not None]

    def _deliver(self, from_: Address, to: Address, data: bytes) -> None:
        to = self._inside_of.get(to, to)
        if (server := self.servers.get(to)) is not None:
            if (answer := server(from_, data)) is not None:
                self.carry(to, from_, answer)
        elif (side := self.owner_of.get(to)) is not None and side.is_awake:
            side.agent.receive_datagrams([Received(to, from_, data)], self.now)


class Peer:
    """A peer played by hand, with its own address and credentials."""

    def __init__(self, side: Side, *, address: Address = ("10.0.0.9", 9009)) -> None:
        self.side, self.world, self.address = side, side.world, address
        self.credentials = Credentials("PEER", "PasswordOfThePlayedPeer")
        self.inbox: list[bytes] = []
        self.world.servers[address] = self._take
        self._number = 0

    def _take(self, from_: Address, data: bytes) -> None:
        self.inbox.append(data)

    def check(
        self,
        to: Address,
        *,
        controlling: int | None = None,
        controlled: int | None = None,
        nominate: bool = False,
        username: str | None = None,
        key: bytes | None = None,
        priority: int | None = 110 << 24,
        extra: bytes = b"",
    ) -> bytes:
        """Send a check; return its transaction id."""
        ours = self.side.agent.local_credentials
        attributes = {USERNAME: f"{ours.ufrag}:{self.credentials.ufrag}" if username is None else username}
        if priority is not None:
            attributes[PRIORITY] = priority
        if controlling is not None:
            attributes[ICE_CONTROLLING] = controlling
        if controlled is not None:
            attributes[ICE_CONTROLLED] = controlled
        if nominate:
            attributes[USE_CANDIDATE] = None
        self._number += 1
        request = Message(
            method=Method.BINDING,
            message_class=MessageClass.REQUEST,
            transaction_id=f"{self._number:06}{self.address[1]:06}".encode(),
            attributes=attributes,
        )
        key = ours.key if key is None else key
        self.world.carry(self.address, to, with_attribute(request.encode(key), extra, key))
        return request.transaction_id

    def receive(self, kind: MessageClass) -> list[Message]:
        """What has come of a class since the last time; the rest stays."""
        messages = [Message.decode(data) for data in self.inbox]
        self.inbox = [
            data for data, message in zip(self.inbox, messages, strict=True) if message.message_class is not kind
        ]
        return [message for message in messages if message.message_class is kind]


def with_attribute(message: bytes, attribute: bytes, key: bytes) -> bytes:
    """A signed message with one more attribute, signed again."""
    data = message[:-INTEGRITY_AND_FINGERPRINT] + attribute
    data += b"\x00\x08\x00\x14" + codec.message_integrity(data, key)
    data += b"\x80\x28\x00\x04" + codec.message_fingerprint(data).to_bytes(4, "big")
    return codec.set_body_length(data, len(data) - codec.HEADER_LENGTH)


INTEGRITY_AND_FINGERPRINT = 24 + 8


@pytest.fixture
def new_world() -> Callable[..., World]:
    return World


@pytest.fixture
def new_pair() -> Callable[..., tuple[World, Side, Side]]:
    """A world with a controlling side at 10.0.0.1 and a controlled one at 10.0.0.2, neither of which has begun."""

    def make(
        *, controlling: tuple[bool, bool] = (True, False), settings: IceSettings | None = None, **options: object
    ) -> tuple[World, Side, Side]:
        world = World(**options)
        left, right = (world.side(controlling=role, settings=settings) for role in controlling)
        left.bind("10.0.0.1", 1001)
        right.bind("10.0.0.2", 2002)
        return world, left, right

    return make


@pytest.fixture
def new_connected_pair(new_pair: Callable[..., tuple[World, Side, Side]]) -> Callable[..., tuple[World, Side, Side]]:
    """The same, connected."""

    def make(**options: object) -> tuple[World, Side, Side]:
        world, left, right = new_pair(**options)
        world.connect()
        return world, left, right

    return make


@pytest.fixture
def new_peer() -> Callable[..., Peer]:
    return Peer


@pytest.fixture
def lone_side() -> Side:
    """A controlled side at 10.0.0.1 in a world of its own."""
    side = World().side(controlling=False)
    side.bind("10.0.0.1", 1001)
    side.drain()
    return side
