"""negotiate(): whoever begins, and whatever overtakes what, both sides are connected in the end."""

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

import pytest
import trio

from trio_webrtc import (
    Configuration,
    DataChannel,
    IceCandidate,
    IceServer,
    PeerConnection,
    SessionDescription,
    open_peer_connection,
)
from trio_webrtc.signaling import (
    Signaling,
    SignalingFailedError,
    SignalingMessage,
    keep_signaling_open,
    negotiate,
    open_memory_signaling,
)
from trio_webrtc.testing import PORT_RESTRICTED, VirtualNetwork, serve_stun

from ..surface.conftest import RUNS, MakeWorld, World
from .unruly import open_unruly_signaling

PATIENCE = 60.0
"""Seconds of virtual time for a connection to come up."""

PAUSE = 1.0
"""Seconds between two restarts, on average."""

SILENT_STUN = Configuration(ice_servers=[IceServer("stun:10.0.0.9")])
"""There is nobody at that address: gathering takes three seconds."""


def ufrag(description: SessionDescription | None) -> str:
    assert description is not None
    return next(line for line in description.sdp.splitlines() if line.startswith("a=ice-ufrag:"))


def descriptions(messages: Sequence[SignalingMessage]) -> list[str]:
    return [message.type for message in messages if isinstance(message, SessionDescription)]


async def greet(peer: PeerConnection, channel: DataChannel, words: str) -> None:
    """Say something on our own channel, and hear what the other side says on its own."""
    await channel.send(words)
    arrived = await peer.incoming_data_channels.receive()
    assert await arrived.receive() == f"from the {arrived.label}"


async def wait_agreed(*peers: PeerConnection) -> None:
    """Wait until nothing is pending, and ICE has its pair."""
    while {(peer.signaling_state, peer.ice_connection_state) for peer in peers} != {("stable", "completed")}:
        await trio.sleep(0.01)


@pytest.mark.parametrize("run", range(RUNS * 5 // 2))
async def test_both_sides_start_at_once(make_world: MakeWorld, autojump_clock, run: int):
    """Five hundred times where there is time for it: either side is polite, and candidates overtake descriptions."""
    rng = random.Random(run)
    world = make_world(run, latency=rng.uniform(0.001, 0.1))
    async with (
        open_unruly_signaling(rng) as (left_end, right_end),
        open_peer_connection(network=world.left) as left,
        open_peer_connection(network=world.right) as right,
    ):
        near, far = left.create_data_channel("left"), right.create_data_channel("right")
        left_is_polite = rng.random() < 0.5
        with trio.fail_after(PATIENCE):
            async with (
                negotiate(left, left_end, polite=left_is_polite),
                negotiate(right, right_end, polite=not left_is_polite),
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(greet, left, near, "from the left")
                nursery.start_soon(greet, right, far, "from the right")
                await wait_agreed(left, right)
        polite, impolite = (left_end, right_end) if left_is_polite else (right_end, left_end)
        assert descriptions(polite.said) == ["offer", "answer"]  # its own offer was ignored
        assert descriptions(impolite.said) == ["offer"]
        assert left.current_local_description.type == ("answer" if left_is_polite else "offer")
        assert isinstance(polite.said[-1], SessionDescription), "all candidates are in the answer"


@pytest.mark.parametrize("run", range(RUNS))
async def test_both_sides_start_and_restart_when_they_like(make_world: MakeWorld, autojump_clock, run: int):
    """Restarts at any time, also while candidates of the last one are still gathered and on their way."""
    rng = random.Random(run)
    world = make_world(run)
    async with (
        open_unruly_signaling(rng) as (left_end, right_end),
        open_peer_connection(SILENT_STUN if rng.random() < 0.5 else None, network=world.left) as left,
        open_peer_connection(SILENT_STUN if rng.random() < 0.5 else None, network=world.right) as right,
    ):
        near = left.create_data_channel("chat", negotiated=True, id=0)
        far = right.create_data_channel("chat", negotiated=True, id=0)

        async def act(peer: PeerConnection) -> None:
            for _ in range(rng.randrange(1, 6)):
                await trio.sleep(rng.expovariate(1 / PAUSE))
                peer.restart_ice()

        with trio.fail_after(PATIENCE):
            async with negotiate(left, left_end, polite=True), negotiate(right, right_end, polite=False):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(act, left)
                    nursery.start_soon(act, right)
                await trio.sleep(PAUSE)
                await wait_agreed(left, right)
                await near.send("ping")
                assert await far.receive() == "ping"
                await far.send("pong")
                assert await near.receive() == "pong"
        assert left.connection_state == right.connection_state == "connected"


async def test_one_side_alone_offers_and_the_other_need_not_have_a_channel(world: World, autojump_clock):
    left_end, right_end = open_memory_signaling()
    async with (
        open_peer_connection(network=world.left) as left,
        open_peer_connection(network=world.right) as right,
        negotiate(left, left_end, polite=True),
        negotiate(right, right_end, polite=False),
    ):
        await trio.sleep(5)
        assert right.local_description is None, "there is nothing to negotiate about yet"
        channel = left.create_data_channel("late")
        with trio.fail_after(PATIENCE):
            await channel.send("found")
            assert await (await right.incoming_data_channels.receive()).receive() == "found"


@pytest.mark.parametrize("run", range(RUNS))
async def test_candidates_that_are_found_late_are_told_once_and_after_them_the_end(
    make_world: MakeWorld, autojump_clock, run: int
):
    """Behind these two NATs only what the STUN server tells connects, and it takes its time."""
    network = VirtualNetwork(seed=run, latency=0.02)
    server = network.add_host("198.51.100.1", name="stun.test")
    hosts = [network.add_nat(f"203.0.113.{n}", PORT_RESTRICTED).add_host("192.168.0.2") for n in (1, 2)]
    for host in hosts:
        network.link(server, host).latency = 0.5
    configuration = Configuration(ice_servers=[IceServer("stun:stun.test")])
    async with (
        open_unruly_signaling(random.Random(run)) as ends,
        open_peer_connection(configuration, network=hosts[0]) as left,
        open_peer_connection(configuration, network=hosts[1]) as right,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(serve_stun, server)
        left.create_data_channel("left")
        right.create_data_channel("right")
        async with negotiate(left, ends[0], polite=True), negotiate(right, ends[1], polite=False):
            for peer in (left, right):
                with trio.fail_after(PATIENCE):
                    await wait_agreed(left, right)
                peer.restart_ice()
            await trio.sleep(PATIENCE)
        assert left.connection_state == right.connection_state == "connected"
        nursery.cancel_scope.cancel()
    for said in (end.said for end in ends):
        candidates = [message for message in said if isinstance(message, IceCandidate)]
        assert set(Counter(candidates).values()) == {1}
        assert any("srflx" in candidate.candidate for candidate in candidates)
        assert not candidates[-1].candidate
        for generation in {candidate.username_fragment for candidate in candidates}:
            own = [candidate.candidate for candidate in candidates if candidate.username_fragment == generation]
            assert all(own[:-1]), "nothing follows the end"


async def test_a_connection_that_has_failed_restarts_by_itself(world: World, autojump_clock):
    left_end, right_end = open_memory_signaling()
    patient = Configuration(restart_timeout=PATIENCE)
    async with (
        open_peer_connection(patient, network=world.left) as left,
        open_peer_connection(patient, network=world.right) as right,
        negotiate(left, left_end, polite=True),
        negotiate(right, right_end, polite=False),
    ):
        near = left.create_data_channel("chat")
        with trio.fail_after(PATIENCE):
            await near.send("before")
            far = await right.incoming_data_channels.receive()
            assert await far.receive() == "before"
        before = ufrag(left.local_description)
        world.network.cut(world.left, world.right)
        with trio.fail_after(PATIENCE):
            while ufrag(left.local_description) == before:
                await trio.sleep(0.1)
        near.send_nowait("while it was lost")
        await trio.sleep(5)
        world.network.heal(world.left, world.right)
        with trio.fail_after(PATIENCE):
            assert await far.receive() == "while it was lost"
            await wait_agreed(left, right)


class Rendezvous(Signaling):
    """Signalling that holds nothing: a message is sent when it is received."""

    close_code = close_reason = remote_address = None

    def __init__(self, outgoing, incoming) -> None:
        self._outgoing, self._incoming = outgoing, incoming

    async def send(self, value: SignalingMessage) -> None:
        await self._outgoing.send(value)

    async def receive(self) -> SignalingMessage:
        return await self._incoming.receive()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        self._outgoing.close()
        self._incoming.close()


@pytest.mark.parametrize("run", range(RUNS))
async def test_two_sides_that_wait_to_be_heard_still_hear_each_other(make_world: MakeWorld, autojump_clock, run: int):
    world = make_world(run)
    to_right, from_left = trio.open_memory_channel[SignalingMessage](0)
    to_left, from_right = trio.open_memory_channel[SignalingMessage](0)
    async with (
        open_peer_connection(network=world.left) as left,
        open_peer_connection(network=world.right) as right,
        negotiate(left, Rendezvous(to_right, from_right), polite=True),
        negotiate(right, Rendezvous(to_left, from_left), polite=False),
    ):
        channels = [peer.create_data_channel("chat", negotiated=True, id=0) for peer in (left, right)]
        for _ in range(3):
            left.restart_ice()
            right.restart_ice()
            with trio.fail_after(PATIENCE):
                await trio.sleep(0.1)
                await wait_agreed(left, right)
                await channels[0].send("here")
                assert await channels[1].receive() == "here"


class Gated(Signaling):
    """Signalling on which nothing gets away until it is opened."""

    close_code = close_reason = remote_address = None

    def __init__(self, inner: Signaling) -> None:
        self.said: list[str] = []
        self.open = trio.Event()
        self._inner = inner

    async def send(self, value: SignalingMessage) -> None:
        await self.open.wait()
        self.said.append(value.type if isinstance(value, SessionDescription) else "other")
        await self._inner.send(value)

    async def receive(self) -> SignalingMessage:
        return await self._inner.receive()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        await self._inner.aclose(code, reason)


async def test_an_answer_is_said_before_an_offer_that_was_made_after_it(world: World, autojump_clock):
    left_end, right_end = open_memory_signaling()
    gated = Gated(left_end)
    async with (
        open_peer_connection(network=world.left) as left,
        open_peer_connection(network=world.right) as right,
        negotiate(left, gated, polite=True),
        negotiate(right, right_end, polite=False),
    ):
        right.create_data_channel("any")
        await trio.sleep(0.1)
        left.restart_ice()
        await trio.sleep(0.1)
        gated.open.set()
        with trio.fail_after(PATIENCE):
            await wait_agreed(left, right)
        assert [kind for kind in gated.said if kind != "other"] == ["answer", "offer"]


class Relay:
    """A server that only passes messages on. The left side may lose it and come back; the right one notices nothing."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.passed: list[str] = []
        self.is_down = False
        self.right_end, self._own_right_end = open_memory_signaling()
        self._own_left_end: Signaling | None = None
        self._nursery = nursery
        nursery.start_soon(self._pass_on_to_the_left)

    def connect(self) -> Signaling:
        if self.is_down:
            raise SignalingFailedError("the relay is down")
        left_end, self._own_left_end = open_memory_signaling()
        self._nursery.start_soon(self._pass_on_to_the_right, self._own_left_end)
        return left_end

    async def lose(self) -> None:
        await self._own_left_end.aclose(1001)

    async def _pass_on_to_the_right(self, source: Signaling) -> None:
        with suppress(trio.ClosedResourceError):
            async for message in source:
                await self._pass_on("left", message, self._own_right_end)

    async def _pass_on_to_the_left(self) -> None:
        async for message in self._own_right_end:
            await self._pass_on("right", message, self._own_left_end)

    async def _pass_on(self, side: str, message: SignalingMessage, sink: Signaling) -> None:
        if isinstance(message, SessionDescription):
            self.passed.append(f"{message.type} from the {side}")
        await sink.send(message)


async def test_signalling_that_comes_back_by_itself_is_taken_up_with_an_ice_restart(world: World, autojump_clock):
    async with (
        trio.open_nursery() as nursery,
        open_peer_connection(network=world.left) as left,
        open_peer_connection(network=world.right) as right,
    ):
        relay = Relay(nursery)
        async with (
            keep_signaling_open(relay.connect, rng=random.Random(1)) as signaling,
            negotiate(left, signaling, polite=True),
            negotiate(right, relay.right_end, polite=False),
        ):
            left.create_data_channel("any")
            with trio.fail_after(PATIENCE):
                await wait_agreed(left, right)
            before = ufrag(left.local_description)
            await relay.lose()
            with trio.fail_after(PATIENCE):
                while ufrag(left.local_description) == before:
                    await trio.sleep(0.1)
                await wait_agreed(left, right)
            assert relay.passed == ["offer from the left", "answer from the right"] * 2
        nursery.cancel_scope.cancel()


async def test_an_offer_that_waits_for_the_signalling_to_come_back_is_not_made_anew(world: World, autojump_clock):
    """The peer would answer both, and the first answer would be taken for the second."""
    async with (
        trio.open_nursery() as nursery,
        open_peer_connection(network=world.left) as left,
        open_peer_connection(network=world.right) as right,
    ):
        relay = Relay(nursery)
        async with (
            keep_signaling_open(relay.connect, rng=random.Random(1)) as signaling,
            negotiate(left, signaling, polite=True),
            negotiate(right, relay.right_end, polite=False),
        ):
            left.create_data_channel("any")
            with trio.fail_after(PATIENCE):
                await wait_agreed(left, right)
            relay.is_down = True
            await relay.lose()
            left.restart_ice()
            await trio.sleep(5)
            assert left.signaling_state == "have-local-offer"
            relay.is_down = False
            await trio.sleep(60)  # it comes back, later and later, in 30 seconds at the most
            with trio.fail_after(PATIENCE):
                await wait_agreed(left, right)
            assert relay.passed == ["offer from the left", "answer from the right"] * len(relay.passed[::2])
        nursery.cancel_scope.cancel()


async def test_a_new_negotiation_of_an_old_connection_restarts_ice(world: World, autojump_clock):
    """As behind a server that keeps its sessions: it makes a new negotiation of the same connection."""
    server_ends, client_ends = trio.open_memory_channel[Signaling](1)

    async def serve(peer: PeerConnection) -> None:
        async for end in client_ends:
            async with end, negotiate(peer, end, polite=False) as negotiation:
                await negotiation.signaling_lost.wait()

    def connect() -> Signaling:
        mine, theirs = open_memory_signaling()
        wires.append(theirs)
        server_ends.send_nowait(theirs)
        return mine

    wires: list[Signaling] = []
    async with (
        trio.open_nursery() as nursery,
        open_peer_connection(network=world.left) as client,
        open_peer_connection(network=world.right) as server,
        keep_signaling_open(connect, rng=random.Random(1)) as signaling,
        negotiate(client, signaling, polite=True) as negotiation,
    ):
        nursery.start_soon(serve, server)
        channel = client.create_data_channel("chat")
        with trio.fail_after(PATIENCE):
            await channel.send("hello")
            await wait_agreed(client, server)
        seen = {ufrag(client.local_description)}
        for count in range(2, 5):
            await wires[-1].aclose(1001)
            with trio.fail_after(PATIENCE):
                while len(wires) < count or ufrag(client.local_description) in seen:
                    await trio.sleep(0.1)
                await wait_agreed(client, server)
            seen.add(ufrag(client.local_description))
            await channel.send(f"still there after {count}")
        arrived = await server.incoming_data_channels.receive()
        assert [await arrived.receive() for _ in range(4)] == ["hello", *(f"still there after {n}" for n in (2, 3, 4))]
        assert client.connection_state == "connected"
        assert not negotiation.signaling_lost.is_set()
        nursery.cancel_scope.cancel()
