"""Two agents and a small world between them, in virtual time and from a seed."""

import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from trio_webrtc.core.contract import Address, Received, Transmit
from trio_webrtc.core.ice import Agent, Credentials, IceSettings, LocalCandidateGathered, parse_candidate


class Side:
    """An agent, what it has told so far, and its sockets (a via is the socket's address itself)."""

    def __init__(self, world: "World", agent: Agent) -> None:
        self.world, self.agent = world, agent
        self.events: list[object] = []
        self.gathered: list[LocalCandidateGathered] = []
        self.awake = True

    def bind(self, host: str, port: int, **options: object) -> Address:
        address = (host, port)
        self.world.owner_of[address] = self
        self.agent.add_local_base(address, address, now=self.world.now, **options)
        return address

    def told(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]

    def drain(self) -> None:
        while (transmit := self.agent.poll_transmits(self.world.now)) is not None:
            self.world.send(self, transmit)
        while (event := self.agent.poll_event()) is not None:
            self.events.append(event)
            if isinstance(event, LocalCandidateGathered):
                self.gathered.append(event)


class World:
    """Carries datagrams between sides: with latency, loss from a seed, and a filter."""

    def __init__(self, *, seed: int = 0, latency: float = 0.02, loss: float = 0.0) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.latency, self.loss = latency, loss
        self.sides: list[Side] = []
        self.owner_of: dict[Address, Side] = {}
        self.servers: dict[Address, Callable[[Address, bytes], bytes | None]] = {}
        self.passes: Callable[[Address, Address], bool] = lambda from_, to: True
        self.log: list[tuple[float, Address, Address, bytes]] = []
        self._in_flight: list[tuple[float, int, Address, Address, bytes]] = []
        self._number = itertools.count()

    def side(self, *, controlling: bool, settings: IceSettings | None = None, **options: object) -> Side:
        rng = random.Random(self.rng.random())
        side = Side(self, Agent(controlling=controlling, rng=rng, settings=settings or IceSettings(), **options))
        self.sides.append(side)
        return side

    def send(self, side: Side, transmit: Transmit) -> None:
        from_, to = transmit.via, transmit.to
        self.log.append((self.now, from_, to, transmit.data))
        if self.rng.random() >= self.loss and self.passes(from_, to):
            heapq.heappush(self._in_flight, (self.now + self.latency, next(self._number), from_, to, transmit.data))

    def deliver(self, from_: Address, to: Address, data: bytes) -> None:
        if (server := self.servers.get(to)) is not None:
            if (answer := server(from_, data)) is not None:
                heapq.heappush(self._in_flight, (self.now + self.latency, next(self._number), to, from_, answer))
        elif (side := self.owner_of.get(to)) is not None and side.awake:
            side.agent.receive_datagrams([Received(to, from_, data)], self.now)

    def run(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        """Let time pass, until something is so."""
        end = self.now + seconds
        while True:
            for side in self.sides:
                side.drain()
            if until():
                return
            due = [self._in_flight[0][0]] if self._in_flight else []
            for side in self.sides:
                if side.awake and (timeout := side.agent.next_timeout()) is not None:
                    due.append(timeout)
            moment = min(due, default=end)
            if moment > end:
                self.now = end
                return
            self.now = max(self.now, moment)
            while self._in_flight and self._in_flight[0][0] <= self.now:
                _, _, from_, to, data = heapq.heappop(self._in_flight)
                self.deliver(from_, to, data)
            for side in self.sides:
                if side.awake and (timeout := side.agent.next_timeout()) is not None and timeout <= self.now:
                    side.agent.handle_timeout(self.now)
            if not due:
                return

    def exchange_credentials(self) -> None:
        left, right = self.sides
        left.agent.set_remote_credentials(right.agent.local_credentials, now=self.now)
        right.agent.set_remote_credentials(left.agent.local_credentials, now=self.now)

    def signal_candidates(self) -> None:
        """Tell each side what the other has gathered since the last time."""
        left, right = self.sides
        for side, other in ((left, right), (right, left)):
            side.drain()
            for event in side.gathered:
                other.agent.add_remote_candidate(parse_candidate(event.candidate.to_sdp()), self.now)
            side.gathered.clear()

    def end_candidates(self) -> None:
        for side in self.sides:
            side.agent.end_of_local_bases(self.now)
            side.agent.end_of_remote_candidates(self.now)


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
        world.signal_candidates()
        world.exchange_credentials()
        world.end_candidates()
        world.run(10, until=lambda: left.agent.selected_pair is not None and right.agent.selected_pair is not None)
        assert left.agent.selected_pair is not None
        assert right.agent.selected_pair is not None
        return world, left, right

    return make


@pytest.fixture
def credentials() -> Credentials:
    return Credentials("ufrag", "a-password-nobody-uses".replace("-", "x"))
