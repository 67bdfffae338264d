"""Sessions with other WebRTC stacks, in processes of their own on this host, each as offerer and as answerer."""

import random

import pytest
import trio

from trio_webrtc import CloseReason

from .conftest import Peculiarity
from .peer_session import options, session, understood

SIZES = [0, 1, 1200, 16_384]
LARGEST = 262_144
"""What we announce; the other way it is this or the peer's own maximum."""
TEXTS = ["", "a", "Grüß Gott", "Здравствуй", "こんにちは", "مرحبا", "नमस्ते", "👩‍🔬🌍", "𓂀" * 300]

pytestmark = pytest.mark.parametrize("we", ["offer", "answer"])


async def test_binary_messages_of_every_size_arrive_in_both_directions(stack, we):
    content = random.Random(1)
    async with session(stack, we) as (_, channel, peer):
        largest = 65_535 if Peculiarity.KNOWS_NO_LARGE_MESSAGES in stack.peculiarities else LARGEST
        for size in [*SIZES, min(largest, channel.max_message_size or largest)]:
            message = content.randbytes(size)
            await channel.send(message)
            assert await peer.receive("talk") == understood(stack, message)
        for size in [*SIZES[Peculiarity.SENDS_NOTHING_EMPTY in stack.peculiarities :], largest]:
            message = content.randbytes(size)
            await peer.send("talk", message)
            assert await channel.receive() == message


async def test_texts_in_any_script_arrive_in_both_directions(stack, we):
    async with session(stack, we) as (_, channel, peer):
        for text in TEXTS:
            await channel.send(text)
            assert await peer.receive("talk") == understood(stack, text)
            if not text and Peculiarity.SENDS_NOTHING_EMPTY in stack.peculiarities:
                continue
            await peer.send("talk", text)
            assert await channel.receive() == text


async def test_either_side_may_open_more_channels_and_close_them(stack, we):
    async with session(stack, we) as (connection, channel, peer):
        ours = connection.create_data_channel("ours: größer", protocol="p", ordered=False, max_retransmits=3)
        await peer.event("open", label="ours: größer", **options(stack, protocol="p"))
        await ours.send("first")
        assert await peer.receive(ours.label) == "first"

        wanted = options(stack, protocol="q", ordered=False, maxRetransmits=2)
        await peer.tell("open", label="theirs", **wanted)
        theirs = await connection.incoming_data_channels.receive()
        assert theirs.label == "theirs"
        assert (theirs.protocol, theirs.max_retransmits) == (wanted.get("protocol", ""), wanted.get("maxRetransmits"))
        assert theirs.ordered is (Peculiarity.TELLS_NO_ORDER in stack.peculiarities or wanted.get("ordered", True))
        await peer.event("open", label="theirs")

        await ours.aclose()
        await peer.event("closed", label=ours.label)
        await ours.wait_closed()
        await peer.tell("close_channel", label="theirs")
        with pytest.raises(trio.EndOfChannel):
            await theirs.receive()
        await theirs.wait_closed()

        await channel.send("the first channel is still there")
        assert await peer.receive("talk") == "the first channel is still there"


async def test_what_was_sent_before_we_leave_arrives_before_the_end(stack, we):
    async with session(stack, we) as (connection, channel, peer):
        sent = [f"{number}" for number in range(100)]
        for message in sent:
            await channel.send(message)
        await connection.aclose()
        assert connection.close_reason is CloseReason.LOCAL
        if Peculiarity.KNOWS_NO_END in stack.peculiarities:
            assert [await peer.receive("talk") for _ in sent] == sent
            return
        received = await peer.receive_until_closed("talk")
        assert received == (sent[: len(received)] if Peculiarity.FORGETS_UNREAD in stack.peculiarities else sent)


async def test_what_arrived_before_the_peer_left_can_be_read_after_its_end(stack, we):
    async with session(stack, we) as (connection, channel, peer):
        await peer.tell("open", label="marker")
        marker = await connection.incoming_data_channels.receive()
        await peer.event("open", label="marker")
        for number in range(3):
            await peer.send("talk", f"{number}")
        await peer.send("marker", "sent last")
        assert await marker.receive() == "sent last"

        if Peculiarity.KNOWS_NO_END in stack.peculiarities:  # nor does it wait for what it has still to send
            assert [await channel.receive() for _ in range(3)] == ["0", "1", "2"]
            return
        await peer.tell("close")
        assert await connection.wait_closed() is CloseReason.REMOTE
        received, sent = [message async for message in channel], ["0", "1", "2"]
        assert received == (sent[: len(received)] if Peculiarity.FORGETS_UNSENT in stack.peculiarities else sent)
