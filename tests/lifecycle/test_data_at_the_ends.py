"""No data is lost, mixed up or delivered twice where something opens, closes or starts afresh."""

import random
from collections.abc import Sequence

import pytest
import trio
import trio.testing

from trio_webrtc import DataChannel, open_peer_connection
from trio_webrtc.core.contract import Received
from trio_webrtc.core.peer import Secured
from trio_webrtc.core.sctp.packet import read_packet

from ..surface.conftest import RUNS, MakeWorld, World, negotiate

LATENCY = 0.02
RE_CONFIG = 130
HANDSHAKE = 22  # record type (RFC 5246 §6.2.1)


async def test_a_client_hello_in_the_batch_of_the_check_that_proves_its_sender_is_heard(world: World, autojump_clock):
    """D4: the first packet of an upper layer comes before, or with, what the lower layer needs to let it in."""
    async with (
        open_peer_connection(network=world.left) as caller,
        open_peer_connection(network=world.right) as callee,
    ):
        server, held = caller, []  # the offerer is the DTLS server here, for the answerer chooses to be the client
        receive = server._path.receive

        def hold_back(batch: Sequence[Received]) -> None:
            held.extend(batch)
            hellos = [received for received in held if received.data[0] == HANDSHAKE]
            if hellos:
                server._path.receive = receive
                receive([*hellos, *(received for received in held if received not in hellos)])

        # The client's checks are answered, so that it begins; what it sends is held back from the server's ICE.
        channel = caller.create_data_channel("chat")
        await negotiate(caller, callee)
        while callee._core.agent.selected_pair is None:
            await trio.sleep(LATENCY / 20)
        server._path.receive = hold_back
        began = trio.current_time()
        await channel.wait_open()
        assert {received.data[0] for received in held} >= {0, HANDSHAKE}
        assert trio.current_time() - began < 10 * LATENCY  # nothing had to be sent again


@pytest.mark.parametrize("seed", range(RUNS))
async def test_both_sides_may_send_and_receive_at_once_from_many_tasks(
    make_world: MakeWorld, autojump_clock, seed: int
):
    """D5, D8: of 20 tasks that send on one channel some are cancelled; each message arrives whole, and once."""
    world, rng = make_world(seed, loss=0.05, jitter=0.01), random.Random(seed)
    async with world.meet() as (_, _, near, far), trio.open_nursery() as nursery:

        async def send(channel: DataChannel, number: int) -> None:
            for part in range(5):
                with trio.CancelScope(deadline=trio.current_time() + rng.random() * 0.01) as scope:
                    await channel.send(bytes([number, part]) * rng.randrange(1, 4000))
                if scope.cancelled_caught:
                    await channel.send(bytes([number, part]))

        async def expect(channel: DataChannel) -> None:
            seen: list[tuple[int, int]] = []
            while len(seen) < 100:
                message = await channel.receive()
                assert len(set(zip(message[::2], message[1::2], strict=True))) == 1
                seen.append((message[0], message[1]))
            assert sorted(seen) == [(number, part) for number in range(20) for part in range(5)]
            assert all(seen.index((n, p)) < seen.index((n, p + 1)) for n in range(20) for p in range(4))

        for channel in (near, far):
            nursery.start_soon(expect, channel)
            for number in range(20):
                nursery.start_soon(send, channel, number)


@pytest.mark.parametrize("seed", range(RUNS))
async def test_an_id_that_is_used_again_carries_nothing_of_its_last_life(
    make_world: MakeWorld, autojump_clock, seed: int
):
    """D6: open, send, close, open: with RE-CONFIG lost, late and overtaken."""
    world = make_world(seed, latency=LATENCY, loss=0.1, reordering=0.2)
    ids = set()
    async with world.meet() as (caller, callee, _, _):
        for life in range(30):
            near = caller.create_data_channel(str(life), ordered=bool(life % 3))
            await near.send(f"{life} from the near side")
            far = await callee.incoming_data_channels.receive()
            assert far.label == str(life)
            await far.send(f"{life} from the far side")
            assert await far.receive() == f"{life} from the near side"
            assert await near.receive() == f"{life} from the far side"
            first, second = (near, far) if life % 2 else (far, near)
            await first.aclose()
            await second.wait_closed()
            await first.wait_closed()
            ids.add(near.id)
    assert len(ids) == 1


async def test_closing_a_channel_from_both_ends_at_once_takes_few_words(world: World, autojump_clock):
    """D7: two ends that close do not tell each other so for ever."""
    async with world.meet() as (caller, callee, near, far):
        counts = [count_chunks(peer, RE_CONFIG) for peer in (caller, callee)]
        await near.aclose()
        await far.aclose()
        await near.wait_closed()
        await far.wait_closed()
        await trio.sleep(600)
        assert all(1 <= len(chunks) <= 4 for chunks in counts)


def count_chunks(peer, wanted: int) -> list[int]:
    """A list that grows by one for each chunk of a type that a peer receives."""
    chunks: list[int] = []
    stage = peer._core.stage
    assert isinstance(stage, Secured)
    receive = stage.association.receive_datagrams

    def receive_and_count(batch: Sequence[bytes], now: float) -> None:
        chunks.extend(type_ for packet in batch for type_, _, _ in read_packet(packet)[3] if type_ == wanted)
        receive(batch, now)

    stage.association.receive_datagrams = receive_and_count
    return chunks


async def test_channels_messages_and_ends_are_told_in_the_order_of_the_wire(world: World, autojump_clock):
    """D9: what one side does in an order is what the other hears in that order."""
    heard: list[str] = []

    async def listen(channel: DataChannel) -> None:
        async for message in channel:
            heard.append(f"{channel.label}: {message}")
        heard.append(f"{channel.label} ends")

    async with world.meet() as (caller, callee, near, far), trio.open_nursery() as nursery:
        nursery.start_soon(listen, far)

        async def accept() -> None:
            async for channel in callee.incoming_data_channels:
                heard.append(f"{channel.label} opens")
                nursery.start_soon(listen, channel)

        nursery.start_soon(accept)
        expected = []
        for number in range(20):
            channel = caller.create_data_channel(f"{number}")
            await channel.send("a")
            await near.send(f"{number}")
            await channel.aclose()
            await channel.wait_closed()
            expected.append([f"{number} opens", f"{number}: a", f"{number} ends"])
        await caller.aclose()
        await callee.wait_closed()
    for three in expected:
        assert [entry for entry in heard if entry in three] == three
    assert [entry for entry in heard if entry.startswith("chat: ")] == [f"chat: {number}" for number in range(20)]
    assert heard.index("19 opens") > heard.index("18 ends")


async def test_the_only_acknowledgement_is_lost_and_the_data_still_arrives_once(world: World, autojump_clock):
    """D10: somebody drives the timers."""
    async with world.meet() as (_, _, near, far):
        await near.drain()
        await trio.sleep(1)
        back = world.network.link(world.right, world.left)
        back.cut = True
        await near.send("once")
        assert await far.receive() == "once"
        await trio.sleep(0.2)
        assert near._core.channels.unacknowledged(near._channel)
        back.cut = False
        with trio.fail_after(5):
            await near.drain()
        with pytest.raises(trio.WouldBlock):
            far.receive_nowait()


async def test_many_messages_at_once_and_then_silence_all_arrive(world: World, autojump_clock):
    """D11: nobody has to touch the connection again for what waits to leave."""
    async with world.meet() as (_, _, near, far):
        for number in range(2000):
            near.send_nowait(f"{number} " + "x" * 300)
        with trio.fail_after(30):
            for number in range(2000):
                assert (await far.receive()).split()[0] == str(number)


async def test_a_waiting_reader_gets_what_came_before_the_end_and_then_the_end(world: World, autojump_clock):
    """D2: the queue is emptied first, also for who begins to read only when all is over."""
    async with world.meet() as (caller, callee, near, far):
        for number in range(10):
            await near.send(str(number))
        await near.drain()
        await caller.aclose()
        await callee.wait_closed()
        assert [message async for message in far] == [str(number) for number in range(10)]
