"""Two agents and a small world between them, in virtual time and from a seed."""

import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from trio_webrtc.core.contract import Address, Received, Transmit
from trio_webrtc.core.ice import Agent, Credentials, IceSettings, LocalCandidateGathered, StateChanged, parse_candidate
from trio_webrtc.core.stun import Message, MessageClass, Method
from trio_webrtc.core.stun.message import ICE_CONTROLLED, ICE_CONTROLLING, PRIORITY, USE_CANDIDATE, USERNAME

START = 1000.0


class Side:
    """An agent, what it has told so far, and its sockets (a via is the socket's address itself)."""

    def __init__(self, world: "World", agent: Agent) -> None:
        self.world, self.agent = world, agent
        self.events: list[object] = []
        self.untold: list[LocalCandidateGathered] = []
        self.is_awake = True

    def bind(self, host: str, port: int, **options: object) -> Address:
        address = (host, port)
        self.world.owner_of[address] = self
        self.agent.add_local_base(address, address, now=self.world.now, **options)
        return address

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
            if isinstance(event, LocalCandidateGathered):
                self.untold.append(event)


class World:
    """Carries datagrams between sides: with latency, with loss from a seed, and through a filter."""

    def __init__(self, *, seed: int = 0, latency: float = 0.02, loss: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.now = START
        self.latency, self.loss = latency, loss
        self.sides: list[Side] = []
        self.owner_of: dict[Address, Side] = {}
        self.servers: dict[Address, Callable[[Address, bytes], bytes | None]] = {}
        self.passes: Callable[[Address, Address], bool] = lambda from_, to: True
        self.log: list[tuple[float, Address, Address, bytes]] = []
        self._outside_of: dict[Address, Address] = {}
        self._inside_of: dict[Address, Address] = {}
        self._in_flight: list[tuple[float, int, Address, Address, bytes]] = []
        self._number = itertools.count()

    def side(self, *, controlling: bool, settings: IceSettings | None = None, **options: object) -> Side:
        rng = random.Random(self.rng.random())
        side = Side(self, Agent(controlling=controlling, rng=rng, settings=settings, **options))
        self.sides.append(side)
        return side

    def send(self, transmit: Transmit) -> None:
        from_, to = transmit.via, transmit.to
        self.log.append((self.now, from_, to, transmit.data))
        if self.rng.random() >= self.loss and self.passes(from_, to):
            self.carry(from_, to, transmit.data)

    def translate(self, inside: Address, outside: Address) -> None:
        """Put a router before `inside` that makes it look like `outside`."""
        self._outside_of[inside], self._inside_of[outside] = outside, inside

    def carry(self, from_: Address, to: Address, data: bytes) -> None:
        """Have a datagram arrive after the latency of this world."""
        from_ = self._outside_of.get(from_, from_)
        heapq.heappush(self._in_flight, (self.now + self.latency, next(self._number), from_, to, data))

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
                self._deliver(*heapq.heappop(self._in_flight)[2:])
            for side in self.sides:
                if side.is_awake and (timeout := side.agent.next_timeout()) is not None and timeout <= self.now:
                    side.agent.handle_timeout(self.now)

    def exchange_credentials(self) -> None:
        left, right = self.sides
        left.agent.set_remote_credentials(right.agent.local_credentials, now=self.now)
        right.agent.set_remote_credentials(left.agent.local_credentials, now=self.now)

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
            transaction_id=self._number.to_bytes(12, "big"),
            attributes=attributes,
        )
        self.world.carry(self.address, to, request.encode(ours.key if key is None else key))
        return request.transaction_id

    def receive(self, kind: MessageClass) -> list[Message]:
        """What has come of a class since the last time; the rest stays."""
        messages = [Message.decode(data) for data in self.inbox]
        self.inbox = [
            data for data, message in zip(self.inbox, messages, strict=True) if message.message_class is not kind
        ]
        return [message for message in messages if message.message_class is kind]


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
