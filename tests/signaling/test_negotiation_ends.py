"""negotiate(): what ends it, and what does not; and that a connection outlives it, to be taken up by the next."""

import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

import pytest
import trio

from trio_webrtc import CloseReason, IceCandidate, PeerConnection, SessionDescription, open_peer_connection
from trio_webrtc.shell.reporting import MAX_EXCERPT
from trio_webrtc.signaling import Bye, Negotiation, Signaling, SignalingMessage, negotiate, open_memory_signaling

from ..lifecycle.checkpoints import Predicate, cancel_at_step, library_steps, own_steps
from ..surface.conftest import RUNS, MakeWorld, World
from ..surface.quiescence import nothing_stays_behind, tasks
from .unruly import open_unruly_signaling

PATIENCE = 60.0
NUMBERS = count(1)
BATCH = 50
"""Lives between two looks at the garbage collector, which takes longer than a life does."""

STRIDE = max(1, 200 // RUNS)
"""One checkpoint out of so many is tried; in CI, each."""


@asynccontextmanager
async def open_peers(world: World) -> AsyncIterator[tuple[PeerConnection, PeerConnection]]:
    """Two peers with a channel of which each side has made its half."""
    async with open_peer_connection(network=world.left) as left, open_peer_connection(network=world.right) as right:
        yield left, right


async def talk(left: PeerConnection, right: PeerConnection) -> None:
    """See that messages pass on a new channel, whatever other channels there are."""
    channel = left.create_data_channel(f"talk {next(NUMBERS)}")
    with trio.fail_after(PATIENCE):
        await channel.send("anybody there?")
        async for arrived in right.incoming_data_channels:
            if arrived.label == channel.label:
                break
        assert await arrived.receive() == "anybody there?"
        await arrived.send("yes")
        assert await channel.receive() == "yes"


async def close_the_other_end(mine: Signaling, theirs: Signaling) -> None:
    await theirs.aclose(1001, "moved")


async def close_this_end(mine: Signaling, theirs: Signaling) -> None:
    await mine.aclose()


async def say_goodbye(mine: Signaling, theirs: Signaling) -> None:
    await theirs.send(Bye("that was nice"))


ENDINGS = {
    close_the_other_end: "the other side has ended the signalling (1001: moved)",
    close_this_end: "the signalling was closed on this side",
    say_goodbye: "the peer said goodbye: that was nice",
}


@pytest.mark.parametrize(("ending", "reason"), ENDINGS.items())
async def test_losing_the_signalling_ends_the_negotiation_and_not_the_connection(
    world: World, autojump_clock, ending, reason: str
):
    left_end, right_end = open_memory_signaling()
    async with open_peers(world) as (left, right):
        async with negotiate(left, left_end, polite=True) as negotiation:
            async with negotiate(right, right_end, polite=False):
                await talk(left, right)
                assert (negotiation.reason, negotiation.signaling_lost.is_set()) == (None, False)
            await ending(left_end, right_end)
            with trio.fail_after(1):
                await negotiation.signaling_lost.wait()
            assert negotiation.reason == reason
            assert negotiation.bye == (Bye("that was nice") if ending is say_goodbye else None)
            await talk(left, right)
        await talk(right, left)


async def test_a_goodbye_neither_fills_the_log_nor_forges_a_line_of_it(world: World, autojump_clock, caplog):
    caplog.set_level(logging.INFO, logger="trio_webrtc")
    goodbye = Bye("\n2038-01-19 CRITICAL root: the end\x1b[2J" + "x" * 200_000)
    near, far = open_memory_signaling()
    async with open_peer_connection(network=world.left) as left, negotiate(left, near, polite=True) as negotiation:
        await far.send(goodbye)
        await negotiation.signaling_lost.wait()
        assert negotiation.bye == goodbye
        assert negotiation.reason.startswith("the peer said goodbye: \\n2038")
        assert negotiation.reason.isprintable()
        assert len(negotiation.reason) <= MAX_EXCERPT
    assert not caplog.records


async def test_what_arrived_before_the_end_of_the_signalling_is_followed(world: World, autojump_clock):
    """The answer is the last that the other side says before it leaves, and what we send meets nobody."""
    left_end, right_end = open_memory_signaling()
    async with open_peers(world) as (left, right):
        left.create_data_channel("any")
        await left.set_local_description()
        await left.wait_gathering_complete()
        await right.set_remote_description(left.local_description)
        await right.set_local_description()
        await right.wait_gathering_complete()
        await left.set_local_description(SessionDescription("rollback"))
        async with negotiate(left, left_end, polite=True) as negotiation:
            assert (await right_end.receive()).type == "offer"
            await right_end.send(right.local_description)
            await right_end.aclose()
            await negotiation.signaling_lost.wait()
            assert left.signaling_state == "stable"
            await left.wait_connected()


OFFER_WITHOUT_FINGERPRINT = "\r\n".join(
    [
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=-",
        "t=0 0",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "c=IN IP4 0.0.0.0",
        "a=mid:0",
        "a=sctp-port:5000",
        "",
    ]
)

WRONG_MESSAGES = {
    "an offer that is no SDP": SessionDescription("offer", "hello"),
    "an offer without a fingerprint": SessionDescription("offer", OFFER_WITHOUT_FINGERPRINT),
    "a candidate that is none": IceCandidate("candidate:hello", "0"),
    "a candidate of a section that does not exist": IceCandidate(
        "candidate:1 1 udp 1 10.0.0.9 9 typ host", sdp_m_line_index=7
    ),
}


@pytest.mark.parametrize("message", WRONG_MESSAGES.values(), ids=WRONG_MESSAGES)
@pytest.mark.parametrize("polite", [True, False], ids=["polite", "impolite"])
async def test_a_message_that_cannot_be_followed_ends_the_negotiation_with_a_reason(
    world: World, autojump_clock, caplog, message: SignalingMessage, polite: bool
):
    left_end, right_end = open_memory_signaling()
    async with open_peers(world) as (left, right), negotiate(left, left_end, polite=polite) as negotiation:
        async with negotiate(right, right_end, polite=not polite):
            await talk(left, right)
        await right_end.send(message)
        with trio.fail_after(1):
            await negotiation.signaling_lost.wait()
            goodbye = await right_end.receive()
            while not isinstance(goodbye, Bye):
                goodbye = await right_end.receive()
        assert goodbye.reason
        assert negotiation.reason == f"the peer sent what cannot be followed: {goodbye.reason}"
        await talk(left, right)
    assert not caplog.records


async def test_a_peer_that_does_not_read_its_bye_does_not_hold_up_the_end(world: World, autojump_clock):
    class Deaf(Stub):
        async def send(self, value: SignalingMessage) -> None:
            await trio.sleep_forever()

    async with open_peer_connection(network=world.left) as peer:
        deaf = Deaf([SessionDescription("offer", "hello")])
        with trio.fail_after(1.5):
            async with negotiate(peer, deaf, polite=True) as negotiation:
                await negotiation.signaling_lost.wait()


@pytest.mark.parametrize("kind", ["answer", "pranswer", "rollback"])
async def test_an_answer_that_nobody_waits_for_and_a_rollback_are_ignored(world: World, autojump_clock, kind: str):
    left_end, right_end = open_memory_signaling()
    async with open_peers(world) as (left, right), negotiate(left, left_end, polite=True) as negotiation:
        async with negotiate(right, right_end, polite=False):
            await talk(left, right)
        await right_end.send(SessionDescription(kind, right.local_description.sdp))
        left.restart_ice()
        await trio.sleep(1)
        await right_end.send(SessionDescription("rollback"))
        await trio.sleep(1)
        assert left.signaling_state == "have-local-offer"
        assert negotiation.reason is None


async def test_the_impolite_side_ignores_candidates_of_an_offer_that_it_ignores(world: World, autojump_clock):
    """Whatever section they are of, and whether or not they say of which generation."""
    left_end, right_end = open_memory_signaling()
    async with open_peers(world) as (left, right), negotiate(left, left_end, polite=False) as negotiation:
        async with negotiate(right, right_end, polite=True):
            await talk(left, right)
        left.restart_ice()
        await trio.sleep(0.1)
        assert left.signaling_state == "have-local-offer"
        present = next(line for line in right.local_description.sdp.splitlines() if line.startswith("a=ice-ufrag:"))
        await right_end.send(SessionDescription("offer", right.local_description.sdp))
        for fragment in (present.partition(":")[2], "next", None):
            await right_end.send(IceCandidate("candidate:1 1 udp 1 10.0.0.9 9 typ host", "7", 7, fragment))
            await right_end.send(IceCandidate("candidate:nonsense", "0", 0, fragment))
        await trio.sleep(1)
        assert negotiation.reason is None
        async with negotiate(right, right_end, polite=True):
            await talk(left, right)
        assert negotiation.reason is None


async def test_no_more_early_candidates_are_kept_than_have_room(world: World, autojump_clock):
    left_end, right_end = open_memory_signaling()
    async with open_peers(world) as (left, right), negotiate(left, left_end, polite=False) as negotiation:
        for port in range(1000, 1200):
            await right_end.send(IceCandidate(f"candidate:1 1 udp 1 10.0.0.9 {port} typ host", "0", 0, "later"))
        async with negotiate(right, right_end, polite=True):
            await talk(left, right)
        assert len(negotiation._early_candidates) == 64


async def test_the_end_of_the_connection_ends_the_negotiation(world: World, autojump_clock):
    left_end, right_end = open_memory_signaling()
    async with open_peers(world) as (left, right):
        async with negotiate(left, left_end, polite=True) as here, negotiate(right, right_end, polite=False) as there:
            await talk(left, right)
            await left.aclose()
            assert await right.wait_closed() is CloseReason.REMOTE
            await trio.sleep(0.1)
            assert here.reason == there.reason == "the connection has ended"
            assert not here.signaling_lost.is_set()
            assert not there.signaling_lost.is_set()
        async with negotiate(left, left_end, polite=True) as late:
            await trio.sleep(0.1)
            assert late.reason == "the connection has ended"


class Stub(Signaling):
    """Signalling on which some messages arrive and then nothing, or an error."""

    close_code = close_reason = remote_address = None

    def __init__(self, messages: list[SignalingMessage], error: Exception | None = None) -> None:
        self._messages, self._error = messages, error

    async def send(self, value: SignalingMessage) -> None:
        await trio.lowlevel.checkpoint()

    async def receive(self) -> SignalingMessage:
        await trio.lowlevel.checkpoint()
        if self._messages:
            return self._messages.pop(0)
        if self._error is not None:
            raise self._error
        await trio.sleep_forever()

    async def aclose(self, code: int = 1000, reason: str = "") -> None:
        await trio.lowlevel.checkpoint()


async def test_a_bug_in_the_signalling_comes_out_as_itself(world: World, autojump_clock):
    async with open_peer_connection(network=world.left) as peer:
        with pytest.raises(ZeroDivisionError):
            async with negotiate(peer, Stub([], ZeroDivisionError()), polite=True):
                await trio.sleep_forever()


async def test_what_the_body_raises_comes_out_as_itself(world: World, autojump_clock):
    async with open_peer_connection(network=world.left) as peer:
        with pytest.raises(LookupError) as caught:
            async with negotiate(peer, Stub([]), polite=True):
                raise LookupError
        assert caught.value.__context__ is None


async def live(peers: tuple[PeerConnection, PeerConnection], *, leaver_is_polite: bool, rng: random.Random) -> None:
    """Glare, a restart from either side, and another glare."""
    leaver, stayer = peers
    async with (
        open_unruly_signaling(rng) as (mine, theirs),
        negotiate(stayer, theirs, polite=not leaver_is_polite),
        negotiate(leaver, mine, polite=leaver_is_polite),
    ):
        await talk(leaver, stayer)
        for restarters in ((leaver,), (stayer,), (leaver, stayer)):
            for one in restarters:
                one.restart_ice()
            await trio.sleep(0.5)


@pytest.mark.parametrize("steps_of", [own_steps, library_steps])
@pytest.mark.parametrize("leaver_is_polite", [True, False], ids=["polite", "impolite"])
async def test_a_negotiation_cancelled_at_any_checkpoint_is_taken_up_by_the_next(
    make_world: MakeWorld, autojump_clock, steps_of: Callable[[], Predicate], leaver_is_polite: bool
):
    """Wherever it stood, and whatever was lost with the signalling: over new signalling the two agree again."""

    async def leave_at(chosen: int | None) -> int:
        world = make_world()
        before = tasks()
        rng = random.Random(chosen)
        async with open_peers(world) as (leaver, stayer):
            stayer.create_data_channel("from the start")
            with cancel_at_step(steps_of(), chosen) as instrument:
                await live((leaver, stayer), leaver_is_polite=leaver_is_polite, rng=rng)
            with trio.fail_after(PATIENCE):
                await live((leaver, stayer), leaver_is_polite=leaver_is_polite, rng=rng)
            assert leaver.connection_state == stayer.connection_state == "connected"
            assert leaver.signaling_state == stayer.signaling_state == "stable"
        assert tasks() == before
        return instrument.steps

    steps = await leave_at(None)
    for first in range(0, steps, BATCH * STRIDE):
        with nothing_stays_behind():
            for chosen in range(first, min(first + BATCH * STRIDE, steps), STRIDE):
                print(f"step {chosen} of {steps}")
                await leave_at(chosen)


def test_a_negotiation_says_how_it_stands():
    async def main() -> Negotiation:
        async with open_peer_connection() as peer, negotiate(peer, Stub([Bye("enough")]), polite=True) as negotiation:
            assert repr(negotiation) == "<Negotiation under way>"
            await negotiation.signaling_lost.wait()
            return negotiation

    assert repr(trio.run(main)) == "<Negotiation the peer said goodbye: enough>"
