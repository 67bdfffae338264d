"""Messages on open channels: what they become, what they count, and what is done about those that are bad."""

import pytest

from trio_webrtc.core.datachannel import ChannelState
from trio_webrtc.core.datachannel.channels import WINDOW_PATIENCE
from trio_webrtc.core.datachannel.establishment import PayloadProtocol
from trio_webrtc.core.sctp import SctpSettings

from .harness import connected

MESSAGES = ["", b"", "a", b"\0", "grüß dich, 世界 🌍", b"x" * 1200, "y" * 16_384, bytes(range(256)) * 1024]
SMALL_WINDOW = SctpSettings(receive_buffer=20_000, max_message_size=8_000)


def test_messages_arrive_in_order_and_in_their_kind():
    pair = connected()
    near, far = pair.open()
    pair.a.send(near, *MESSAGES)
    pair.settle()
    assert pair.b.take_all(far) == MESSAGES


def test_bytes_are_counted_as_they_are_meant_and_not_as_they_travel():
    pair = connected()
    near, far = pair.open()
    pair.a.send(near, "", b"", "世界", b"12")
    pair.settle()
    assert (near.messages_sent, near.bytes_sent) == (4, 8)
    assert (far.messages_received, far.bytes_received) == (4, 8)


def test_text_that_is_not_utf8_closes_its_channel_and_no_other():
    pair = connected()
    near, far = pair.open("bad")
    other, other_far = pair.open("good")
    pair.a.association.send(near.id, PayloadProtocol.STRING, b"\xff\xfe", now=pair.now)
    pair.a.send(near, "behind")
    pair.settle()
    assert far.error == "the peer sent text that is not UTF-8"
    assert near.state is far.state is ChannelState.CLOSED
    assert pair.b.take_all(far) == []
    pair.a.send(other, "well")
    pair.settle()
    assert pair.b.take_all(other_far) == ["well"]
    assert pair.b.association.state.link.receiver.window == SctpSettings().receive_buffer


def test_a_message_that_is_too_large_closes_its_channel_and_no_other():
    pair = connected(settings=SMALL_WINDOW)
    near, far = pair.open("large")
    other, other_far = pair.open("small")
    pair.a.send(near, bytes(SMALL_WINDOW.max_message_size + 1))
    pair.a.send(other, "well")
    pair.settle()
    assert "too large" in far.error
    assert near.state is far.state is ChannelState.CLOSED
    assert pair.b.take_all(other_far) == ["well"]


def test_messages_of_an_unknown_kind_are_ignored():
    pair = connected()
    near, far = pair.open()
    for ppid in (0, 52, 54, 58, 2**32 - 1):
        pair.a.association.send(near.id, ppid, b"?", now=pair.now)
    pair.a.send(near, "known")
    pair.settle()
    assert pair.b.take_all(far) == ["known"]
    assert pair.b.association.state.link.receiver.window == SctpSettings().receive_buffer


def test_messages_take_up_the_window_until_they_are_taken():
    pair = connected(settings=SMALL_WINDOW)
    near, far = pair.open()
    sent = [bytes([number]) * 1000 for number in range(100)]
    pair.a.send(near, *sent)
    pair.settle(quiet=1.0)
    assert len(far.inbox) < 20
    assert pair.a.channels.unacknowledged(near) > 80_000
    taken = []
    while len(taken) < len(sent):
        before = len(taken)
        taken += pair.b.take_all(far)
        pair.settle(quiet=1.0)
        assert len(taken) > before
    assert taken == sent


def fill(pair, near, size=1000):
    """Send more than the other side takes, and let it notice."""
    pair.a.send(near, *[bytes(size) for _ in range(40_000 // size)])
    pair.exchange()


def pass_time(pair, seconds):
    until = pair.now + seconds
    while (due := min(pair.left.next_timeout() or until, pair.right.next_timeout() or until)) <= until:
        if due >= until:
            break
        pair.fire_next_timer()
        pair.exchange()
    pair.now = until
    pair.right.handle_timeout(until)
    pair.exchange()


def test_a_window_that_is_held_shut_is_told_once_naming_the_channel():
    pair = connected(settings=SMALL_WINDOW)
    many_small, far_small = pair.open("small")
    few_large, far_large = pair.open("large")
    pair.a.send(many_small, *["x"] * 10)
    pair.settle()
    fill(pair, few_large, size=6_000)
    assert len(far_large.inbox) < len(far_small.inbox)
    pass_time(pair, WINDOW_PATIENCE - 0.1)
    assert pair.b.warnings == []
    pass_time(pair, 0.2)
    assert pair.b.warnings == [far_large]
    pass_time(pair, 20)
    pair.b.take_all(far_large)
    pair.exchange()
    pass_time(pair, 20)
    assert pair.b.warnings == [far_large]


@pytest.mark.parametrize("size", [1, 500, 1000, 1100, 6000])
@pytest.mark.parametrize("unread", range(0, 12, 3))
def test_a_reader_that_takes_nothing_for_ten_minutes_ends_nothing(size, unread):
    pair = connected(settings=SMALL_WINDOW)
    near, far = pair.open()
    sent = [*["x"] * unread, *[bytes(size)] * (100_000 // (size + 128))]
    pair.a.send(near, *sent)
    pair.exchange()
    pass_time(pair, 600)
    assert pair.a.ends == pair.b.ends == []
    taken = pair.b.take_all(far)
    for _ in range(100):
        pass_time(pair, 10)
        taken += pair.b.take_all(far)
    assert taken == sent


def test_a_window_that_is_opened_in_time_is_not_told():
    pair = connected(settings=SMALL_WINDOW)
    near, far = pair.open()
    pair.a.send(near, *[bytes(1000)] * 17)
    pair.exchange()
    pass_time(pair, WINDOW_PATIENCE - 1)
    assert pair.b.association.is_window_shut
    for _ in range(16):  # one stays unread
        pair.b.channels.take(far, pair.now)
    pass_time(pair, 2)
    assert pair.b.warnings == []


def test_messages_that_a_closed_channel_left_unread_are_told_too():
    pair = connected(settings=SMALL_WINDOW)
    near, far = pair.open("gone")
    pair.a.send(near, *[bytes(1000)] * 16)
    pair.a.close(near)
    pair.exchange()
    pass_time(pair, 1)
    assert far.state is ChannelState.CLOSED
    other, _ = pair.open("waits")
    fill(pair, other)
    pass_time(pair, WINDOW_PATIENCE + 1)
    assert pair.b.warnings == [far]
    assert len(pair.b.take_all(far)) == 16


@pytest.mark.parametrize("side", ["a", "b"])
def test_an_end_without_goodbye_leaves_what_arrived_and_tells_what_was_lost(side):
    pair = connected()
    near, far = pair.open()
    quiet, _ = pair.open("quiet")
    pair.b.send(far, "arrived")
    pair.settle()
    pair.a.send(near, *[bytes(100_000)] * 20)
    pair.drain()
    pair.lose_all()
    if side == "a":
        pair.a.channels.end("the way to the peer was lost")
    else:
        pair.b.association.abort("enough", pair.now)
        pair.exchange()
        assert pair.a.ends == [None]
        pair.a.channels.end(None)
    assert near.lost_data
    assert not quiet.lost_data
    assert near.error == ("the way to the peer was lost" if side == "a" else None)
    assert near.state is ChannelState.CLOSED
    assert pair.a.take_all(near) == ["arrived"]
    assert pair.a.channels.buffered_amount(near) == pair.a.channels.unacknowledged(near) == 0
