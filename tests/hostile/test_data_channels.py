"""What a peer with the right keys may say about data channels: one channel ends, or nothing happens."""

import logging
import struct

import pytest
import trio

from trio_webrtc import Configuration

from .conftest import OpenScene
from .test_sctp import hear_of_life, no_bug_is_met

__all__ = ["no_bug_is_met"]

ESTABLISHMENT, STRING, BINARY, EMPTY_STRING = 50, 51, 53, 56


def an_open(label: bytes = b"", protocol: bytes = b"", *, kind: int = 0, reliability: int = 0) -> bytes:
    return struct.pack("!BBHIHH", 3, kind, 0, reliability, len(label), len(protocol)) + label + protocol


async def test_a_second_open_on_a_live_id_ends_that_channel_and_no_other(open_scene: OpenScene, autojump_clock):
    async with open_scene() as scene:
        intruder = scene.intruder
        intruder.take_over()
        await intruder.say(
            intruder.packet(
                intruder.data(3, an_open(b"other"), ppid=ESTABLISHMENT),
                intruder.data(3, an_open(b"again"), ppid=ESTABLISHMENT),
            )
        )
        other = await scene.victim.incoming_data_channels.receive()
        assert other.label == "other"
        with pytest.raises(trio.BrokenResourceError, match="second time"):
            await other.send("?")
        await hear_of_life(scene)


@pytest.mark.parametrize("text", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
async def test_text_that_is_not_utf8_ends_its_channel_and_no_other(open_scene: OpenScene, autojump_clock, text: bytes):
    async with open_scene() as scene:
        intruder = scene.intruder
        intruder.take_over()
        await intruder.say(
            intruder.packet(intruder.data(5, an_open(), ppid=ESTABLISHMENT), intruder.data(5, text, ppid=STRING))
        )
        other = await scene.victim.incoming_data_channels.receive()
        with pytest.raises(trio.BrokenResourceError, match="UTF-8"):
            await other.receive()
        await hear_of_life(scene)


@pytest.mark.parametrize(
    "message",
    [
        an_open(b"\xff"),
        an_open(b"", b"\xff"),
        an_open(b"label")[:-1],
        an_open(b"label") + b"more",
        an_open(kind=0x7F),
        an_open()[:11],
        b"\x03",
        struct.pack("!BBHIHH", 3, 0, 0, 0, 0xFFFF, 0xFFFF),
    ],
)
async def test_an_open_that_lies_is_refused(open_scene: OpenScene, autojump_clock, message: bytes):
    async with open_scene() as scene:
        intruder = scene.intruder
        intruder.take_over()
        await intruder.say(intruder.packet(intruder.data(7, message, ppid=ESTABLISHMENT)))
        with trio.move_on_after(1) as patience:
            await scene.victim.incoming_data_channels.receive()
        assert patience.cancelled_caught
        await hear_of_life(scene)


async def test_what_means_nothing_is_passed_over(open_scene: OpenScene, autojump_clock):
    """An ACK nobody waits for, other establishment messages, other payloads, an OPEN with an id of ours."""
    async with open_scene() as scene:
        intruder = scene.intruder
        intruder.take_over()
        stream = scene.far.id
        await intruder.say(
            intruder.packet(
                intruder.data(stream, b"\x02", ppid=ESTABLISHMENT),
                intruder.data(9, b"\x02", ppid=ESTABLISHMENT),
                intruder.data(stream, b"\x00", ppid=ESTABLISHMENT),
                intruder.data(stream, b"\xff" * 10, ppid=ESTABLISHMENT),
                intruder.data(stream, b"?", ppid=0),
                intruder.data(stream, b"?", ppid=52),
                intruder.data(stream, b"?", ppid=0xFFFFFFFF),
                intruder.data(12, an_open(), ppid=ESTABLISHMENT),
                intruder.data(stream, b"not empty", ppid=EMPTY_STRING),
            )
        )
        assert await scene.far.receive() == ""
        await hear_of_life(scene)


async def test_a_message_that_is_too_large_ends_its_channel(open_scene: OpenScene, autojump_clock):
    async with open_scene(Configuration(max_message_size=2000)) as scene:
        await scene.intruder.connection.create_data_channel("other").wait_open()
        scene.intruder.connection._core.signalling.remote_max_message_size = 1_000_000
        await scene.near.send(b"x" * 20_000)
        with pytest.raises(trio.BrokenResourceError, match="too large"):
            await scene.far.receive()
        assert scene.victim.connection_state == "connected"


async def test_refusals_do_not_fill_the_log(open_scene: OpenScene, autojump_clock, caplog):
    caplog.set_level(logging.INFO)
    async with open_scene(Configuration(max_incoming_channels=1)) as scene:
        intruder = scene.intruder
        intruder.take_over()
        for stream_id in range(3, 603, 2):
            await intruder.say(intruder.packet(intruder.data(stream_id, an_open(b"l" * 500), ppid=ESTABLISHMENT)))
        refusals = [record for record in caplog.records if "refused" in record.getMessage()]
        assert len(refusals) == 1
        assert "l" * 500 not in refusals[0].getMessage()
        await hear_of_life(scene)
