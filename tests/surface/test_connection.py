"""Two whole peers of ours: they meet, talk and part."""

import pytest
import trio

from trio_webrtc import (
    CloseReason,
    Configuration,
    ConnectionFailedError,
    FailureReason,
    IceCandidate,
    SessionDescription,
    UsageError,
    open_peer_connection,
)

from .conftest import RUNS, MakeWorld, World, negotiate


async def test_messages_arrive_whole_in_order_and_in_their_kind(world: World, autojump_clock):
    messages = ["", b"", "a", b"\0", "grüß dich, 世界 🌍", b"x" * 1200, "y" * 16_384, bytes(range(256)) * 1024]
    async with world.meet() as (_, _, near, far):
        for message in messages:
            await near.send(message)
        assert [await far.receive() for _ in messages] == messages


async def test_both_sides_reach_the_connected_state(world: World, autojump_clock):
    async with world.meet() as (caller, callee, _, _):
        await caller.wait_connected()
        await callee.wait_connected()
        assert caller.connection_state == callee.connection_state == "connected"
        assert caller.signaling_state == "stable"
        assert caller.ice_gathering_state == "complete"


async def test_connection_states_shows_the_present_one_first_and_ends_after_closed(world: World, autojump_clock):
    """E4: nothing is told of a connection after its end."""
    seen = []

    async def watch(states):
        async for state in states:
            seen.append(state)

    async with trio.open_nursery() as nursery, world.meet() as (caller, _, _, _):
        nursery.start_soon(watch, caller.connection_states())
        await trio.testing.wait_all_tasks_blocked()
    assert seen == ["connected", "closed"]


async def test_candidates_trickle_in_both_directions(world: World, autojump_clock):
    async def trickle(source, sink):
        async for candidate in source.local_candidates():
            await sink.add_ice_candidate(candidate)
        await sink.add_ice_candidate(None)

    async with (
        open_peer_connection(network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
        trio.open_nursery() as nursery,
    ):
        channel = caller.create_data_channel("late")
        offer = await caller.create_offer()
        assert "a=candidate" not in offer.sdp
        await caller.set_local_description(offer)
        await callee.set_remote_description(offer)
        answer = await callee.create_answer()
        await callee.set_local_description(answer)
        await caller.set_remote_description(answer)
        nursery.start_soon(trickle, caller, callee)
        nursery.start_soon(trickle, callee, caller)
        await channel.wait_open()


async def test_each_reader_of_local_candidates_gets_all_of_them(world: World, autojump_clock):
    async with open_peer_connection(network=world.left) as peer:
        peer.create_data_channel("any")
        early = peer.local_candidates()
        await peer.set_local_description()
        await peer.wait_gathering_complete()
        first = [candidate async for candidate in early]
        second = [candidate async for candidate in peer.local_candidates()]
        assert first == second
        assert {candidate.candidate.split()[4] for candidate in first} == {"10.0.0.1", "fd00::1"}
        assert all(candidate.sdp_mid == "0" and candidate.sdp_m_line_index == 0 for candidate in first)


async def test_candidates_that_come_before_the_description_are_kept(world: World, autojump_clock):
    async with (
        open_peer_connection(network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
    ):
        channel = caller.create_data_channel("early")
        offer = await caller.create_offer()
        await caller.set_local_description(offer)
        async for candidate in caller.local_candidates():
            await callee.add_ice_candidate(candidate)
        await callee.set_remote_description(offer)
        await callee.set_local_description()
        await callee.wait_gathering_complete()
        await caller.set_remote_description(callee.local_description)
        await channel.wait_open()


async def test_a_negotiated_channel_opens_on_both_sides_under_its_id(world: World, autojump_clock):
    async with (
        open_peer_connection(network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
    ):
        near = caller.create_data_channel("agreed", negotiated=True, id=7)
        far = callee.create_data_channel("agreed", negotiated=True, id=7)
        await negotiate(caller, callee)
        await near.send("hello")
        assert await far.receive() == "hello"
        await far.send("back")
        assert await near.receive() == "back"


async def test_a_message_for_a_negotiated_channel_waits_until_it_is_created(world: World, autojump_clock):
    async with (
        open_peer_connection(network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
    ):
        near = caller.create_data_channel("agreed", negotiated=True, id=3)
        await negotiate(caller, callee)
        await near.send("early")
        await near.drain()
        far = callee.create_data_channel("agreed", negotiated=True, id=3)
        assert await far.receive() == "early"


async def test_parameters_of_a_channel_reach_the_peer(world: World, autojump_clock):
    async with world.meet() as (caller, callee, _, _):
        label, protocol = "標籤 ярлык", "протокол/1"
        wishes = [
            {"ordered": False, "max_retransmits": 3, "priority": "high"},
            {"ordered": True, "max_packet_life_time": 0.25, "priority": "very-low"},
            {"ordered": False, "priority": "medium"},
        ]
        for wish in wishes:
            near = caller.create_data_channel(label, protocol=protocol, **wish)
            far = await callee.incoming_data_channels.receive()
            assert (far.label, far.protocol) == (label, protocol)
            for name in ("id", "ordered", "max_retransmits", "max_packet_life_time", "priority", "negotiated"):
                assert getattr(far, name) == getattr(near, name)


async def test_closing_a_channel_ends_it_for_the_peer_after_all_that_was_sent(world: World, autojump_clock):
    """D9: the end comes behind what was sent before it."""
    async with world.meet() as (_, _, near, far):
        for number in range(100):
            await near.send(str(number))
        await near.aclose()
        assert [message async for message in far] == [str(number) for number in range(100)]
        with pytest.raises(trio.BrokenResourceError):
            await far.send("too late")
        with pytest.raises(trio.ClosedResourceError):
            await near.send("too late")
        await near.wait_closed()
        await far.wait_closed()


async def test_a_channel_closed_before_the_connection_is_up_just_ends(world: World, autojump_clock):
    """E2: closing while connecting."""
    async with open_peer_connection(network=world.left) as peer:
        channel = peer.create_data_channel("never")
        await channel.aclose()
        await channel.wait_closed()
        with pytest.raises(trio.ClosedResourceError):
            await channel.receive()


async def test_ids_are_used_again_when_both_directions_are_reset(world: World, autojump_clock):
    """D6: no sooner, so that no channel gets the data of another."""
    async with world.meet() as (caller, callee, _, _):
        ids = set()
        for number in range(300):
            near = caller.create_data_channel(str(number))
            far = await callee.incoming_data_channels.receive()
            assert far.label == str(number)
            await near.send("x")
            await far.aclose() if number % 2 else await near.aclose()
            await near.wait_closed()
            await far.wait_closed()
            ids.add(near.id)
        assert len(ids) <= 3


async def test_the_ends_of_a_connection(world: World, autojump_clock):
    """D2: the peer's goodbye: first all the data, then the end; who closed it gets ClosedResourceError."""
    async with world.meet() as (caller, callee, near, far):
        await near.send("last words")
        await caller.aclose()
        assert await callee.wait_closed() is CloseReason.REMOTE
        assert await caller.wait_closed() is CloseReason.LOCAL
        assert await far.receive() == "last words"
        with pytest.raises(trio.EndOfChannel):
            await far.receive()
        with pytest.raises(trio.BrokenResourceError):
            await far.send("?")
        with pytest.raises(trio.ClosedResourceError):
            await near.receive()
        assert [channel async for channel in callee.incoming_data_channels] == []
        with pytest.raises(trio.ClosedResourceError):
            await callee.create_offer()


async def test_the_peer_hears_of_the_end_within_one_way(make_world: MakeWorld, autojump_clock):
    """A8, E1: the goodbye leaves before what carries it is closed, and is understood as one."""
    world = make_world(latency=0.1)
    async with world.meet() as (caller, callee, _, _):
        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(caller.aclose)
            await callee.wait_closed()
        assert trio.current_time() - start < 0.2 + 0.05


async def test_an_error_of_the_peers_offer_names_the_line(world: World):
    async with open_peer_connection(network=world.left) as peer:
        with pytest.raises(Exception, match="line 2"):
            await peer.set_remote_description(SessionDescription("offer", "v=0\r\nnonsense\r\n"))


@pytest.mark.parametrize("latency", [0.1, 0.3, 1.0])
async def test_a_round_trip_longer_than_the_first_repetition_of_a_check_connects(
    make_world: MakeWorld, autojump_clock, latency: float
):
    with trio.fail_after(60):
        async with make_world(latency=latency).meet() as (_, _, near, far):
            await near.send("slowly")
            assert await far.receive() == "slowly"


async def test_no_way_to_the_peer_is_a_failure_that_names_the_pairs(world: World, autojump_clock):
    """E3: nobody answers, and the application is told in time."""
    world.network.cut(world.left, world.right)
    async with (
        open_peer_connection(Configuration(restart_timeout=1.0), network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
    ):
        channel = caller.create_data_channel("none")
        await negotiate(caller, callee)
        with pytest.raises(ConnectionFailedError, match=r"10\.0\.0\.2") as failure:
            await caller.wait_connected()
        assert failure.value.reason is FailureReason.NO_USABLE_PAIR
        with pytest.raises(trio.BrokenResourceError, match=r"10\.0\.0\.2"):
            await channel.send("nobody hears")
        assert await caller.wait_closed() is CloseReason.FAILED


async def test_a_vanished_peer_is_disconnected_then_failed_then_the_channels_break(world: World, autojump_clock):
    """E3, E5: a peer that falls silent is noticed."""
    async with world.meet() as (caller, _, near, _):
        world.network.cut(world.left, world.right)
        states = [state async for state in caller.connection_states()]
        assert states == ["connected", "disconnected", "failed", "closed"]
        with pytest.raises(trio.BrokenResourceError):
            await near.receive()
        assert await caller.wait_closed() is CloseReason.FAILED


async def test_a_way_that_comes_back_is_connected_again(world: World, autojump_clock):
    async with world.meet() as (caller, _, near, far):
        world.network.cut(world.left, world.right)
        await trio.sleep(15)
        assert caller.connection_state == "disconnected"
        await near.send("patience")
        world.network.heal(world.left, world.right)
        assert await far.receive() == "patience"
        await trio.sleep(5)
        assert caller.connection_state == "connected"


async def test_a_certificate_other_than_announced_fails_with_that_reason(world: World, autojump_clock):
    """E5: a handshake that fails is a state, and has a reason."""
    async with (
        open_peer_connection(network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
    ):
        caller.create_data_channel("none")
        await caller.set_local_description()
        await caller.wait_gathering_complete()
        await callee.set_remote_description(caller.local_description)
        await callee.set_local_description()
        await callee.wait_gathering_complete()
        answer = callee.local_description
        line = next(line for line in answer.sdp.splitlines() if line.startswith("a=fingerprint"))
        forged = line[:-2] + ("00" if line[-2:] != "00" else "01")
        await caller.set_remote_description(SessionDescription("answer", answer.sdp.replace(line, forged)))
        with pytest.raises(ConnectionFailedError) as failure:
            await caller.wait_connected()
        assert failure.value.reason is FailureReason.FINGERPRINT_MISMATCH


async def test_audio_and_video_are_declined_and_data_is_taken(world: World, autojump_clock):
    async with (
        open_peer_connection(network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
    ):
        caller.create_data_channel("data")
        offer = await caller.create_offer()
        session, data = offer.sdp.split("m=application", 1)
        audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\na=rtpmap:111 opus/48000/2\r\n"
        attributes = [line for line in data.splitlines() if line.startswith(("a=ice", "a=fingerprint", "a=setup"))]
        audio += "\r\n".join([*attributes, "a=rtcp-mux", ""])
        session = session.replace("a=group:BUNDLE 0", "a=group:BUNDLE a 0")
        await callee.set_remote_description(SessionDescription("offer", f"{session}{audio}m=application{data}"))
        answer = await callee.create_answer()
        assert "m=audio 0 " in answer.sdp
        assert "m=application 9 " in answer.sdp
        assert "a=group:BUNDLE 0\r\n" in answer.sdp


async def test_a_message_that_the_peer_does_not_take_is_refused_by_name(world: World, autojump_clock):
    async with world.meet(right=Configuration(max_message_size=1000)) as (_, _, near, far):
        assert near.max_message_size == 1000
        with pytest.raises(UsageError, match="1000"):
            await near.send(b"x" * 1001)
        with pytest.raises(UsageError, match="1000"):
            near.send_nowait("é" * 501)
        await near.send("é" * 500)
        assert await far.receive() == "é" * 500


async def test_a_slow_reader_slows_the_sender_and_nothing_grows(world: World, autojump_clock):
    async with world.meet() as (_, callee, near, far):
        sent = 0
        with trio.move_on_after(60):
            while True:
                await near.send(b"x" * 10_000)
                sent += 1
        unread = next(r for r in callee.get_stats().values() if r.type == "data-channel").unread_messages
        assert unread * 10_000 <= 1_048_576
        assert sent * 10_000 <= 2 * 1_048_576 + 100_000
        for _ in range(sent):
            assert await far.receive() == b"x" * 10_000


async def test_what_cannot_be_asked_for_is_said_in_a_sentence(world: World):
    async with open_peer_connection(network=world.left) as peer:
        for wrong in (
            {"max_retransmits": 1, "max_packet_life_time": 1.0},
            {"max_retransmits": -1},
            {"max_packet_life_time": 100.0},
            {"negotiated": True},
            {"id": 3},
            {"negotiated": True, "id": 65_535},
            {"priority": "urgent"},
            {"protocol": "x" * 70_000},
        ):
            with pytest.raises(UsageError):
                peer.create_data_channel("wrong", **wrong)
        with pytest.raises(UsageError):
            await peer.create_answer()
        with pytest.raises(UsageError):
            await peer.add_ice_candidate(IceCandidate("candidate:1 1 udp 1 10.0.0.9 9 typ host"))
            await peer.set_remote_description(SessionDescription("answer", "v=0"))


@pytest.mark.parametrize("seed", range(RUNS))
async def test_every_reliable_message_arrives_over_a_bad_network(make_world: MakeWorld, autojump_clock, seed: int):
    world = make_world(seed, loss=0.2, duplication=0.05, reordering=0.1)
    with trio.fail_after(600):
        async with world.meet() as (_, _, near, far):
            messages = [bytes([number % 256]) * (number * 97 % 5000) for number in range(60)]

            async def send_all():
                for message in messages:
                    await near.send(message)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(send_all)
                assert [await far.receive() for _ in messages] == messages
