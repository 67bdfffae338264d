"""How channels and their association end (RFC 8831 §6.7), and how ids come free again."""

import pytest

from trio_webrtc.core.datachannel import ChannelState

from .harness import connected


def test_a_channel_ends_behind_all_that_was_sent_on_it():
    pair = connected()
    near, far = pair.open()
    sent = [bytes([number]) * 10_000 for number in range(30)]
    pair.a.send(near, *sent)
    pair.a.close(near)
    pair.settle()
    assert near.state is far.state is ChannelState.CLOSED
    assert far.incoming_ended
    assert pair.b.take_all(far) == sent
    assert near.error is far.error is None
    assert not near.lost_data


def test_what_the_peer_had_sent_when_it_heard_of_the_end_arrives_as_well():
    pair = connected()
    near, far = pair.open()
    pair.b.send(far, *[bytes(10_000)] * 5)
    pair.a.close(near)
    pair.settle()
    assert near.state is far.state is ChannelState.CLOSED
    assert pair.b.channels.unacknowledged(far) == 0
    assert not far.lost_data
    assert pair.a.take_all(near) == []  # this side has said that it wants no more


def test_both_sides_may_close_at_once():
    pair = connected()
    near, far = pair.open()
    pair.a.send(near, "unread")
    pair.b.send(far, "unread")
    pair.a.close(near)
    pair.b.close(far)
    pair.settle()
    assert near.state is far.state is ChannelState.CLOSED
    assert near.error is far.error is None
    assert near.id not in {channel.id for side in (pair.a, pair.b) for channel in side.channels}


def test_a_channel_that_never_opened_closes_without_a_word():
    pair = connected()
    unborn = pair.a.channels.create(pair.a.create().parameters, None, pair.now)
    pair.settle()
    assert unborn.state is ChannelState.OPEN
    lone = connected().a
    lone.channels.close(unopened := lone.create("x"), 0.0)
    assert unopened.state is ChannelState.CLOSING


def test_closing_twice_is_harmless():
    pair = connected()
    near, far = pair.open()
    pair.a.close(near)
    pair.a.close(near)
    pair.settle()
    pair.a.close(near)
    pair.settle()
    assert near.state is far.state is ChannelState.CLOSED
    assert pair.a.channels.closed == pair.b.channels.closed == 1


@pytest.mark.parametrize("closer", ["a", "b"])
def test_an_id_is_used_again_by_a_new_channel(closer):
    pair = connected()
    for turn in range(50):
        near, far = pair.open(f"turn {turn}")
        assert near.id == far.id == 0
        pair.a.send(near, f"message {turn}")
        pair.settle()
        assert pair.b.take_all(far) == [f"message {turn}"]
        side, channel = (pair.a, near) if closer == "a" else (pair.b, far)
        side.close(channel)
        pair.settle()
        assert near.state is far.state is ChannelState.CLOSED
    assert pair.b.refused == []


def test_an_id_may_be_used_again_in_the_packet_that_confirms_its_end():
    pair = connected()
    near, far = pair.open("old")
    pair.b.close(far)
    opened = []

    def reopen() -> None:
        if near.state is ChannelState.CLOSED and not opened:
            opened.append(pair.a.create("new"))
            pair.a.send(opened[0], "on the new one")

    receive = pair.a._receive

    def receive_and_reopen(batch, now):
        receive(batch, now)
        reopen()

    object.__setattr__(pair.left, "receive", receive_and_reopen)
    pair.settle()
    assert [channel.parameters.label for channel in pair.b.arrived] == ["old", "new"]
    assert opened[0].id == near.id
    assert opened[0].state is ChannelState.OPEN
    assert pair.b.take_all(pair.b.arrived[1]) == ["on the new one"]


def test_a_peer_that_knows_first_of_the_end_may_use_the_id_again_at_once():
    """The answer to our reset is lost: the peer's next channel comes on a stream that, for us, is still being reset."""
    pair = connected()
    near, far = pair.open("first")
    pair.a.close(near)
    pair.drain()
    while near.state is not ChannelState.CLOSED:
        pair.deliver()
    pair.lose_all()
    assert far.state is ChannelState.CLOSING
    again = pair.a.create("second")
    assert again.id == near.id
    pair.a.send(again, "on the second")
    pair.a.close(again)
    pair.exchange()
    assert pair.b.arrived == [far]
    pair.settle()
    assert far.state is again.state is ChannelState.CLOSED
    second = pair.b.arrived[1]
    assert second.parameters.label == "second"
    assert pair.b.take_all(second) == ["on the second"]
    assert pair.b.association.state.link.receiver.reassembly.delivered == 0


def test_a_restart_of_the_association_ends_all_channels_and_new_ones_start_afresh():
    pair = connected()
    near, far = pair.open("old")
    quiet_near, quiet_far = pair.open("quiet")
    pair.a.send(near, "arrived")
    pair.settle()
    pair.b.send(far, bytes(5000), *[bytes(100_000)] * 10)
    pair.drain()
    pair.restart_left()
    for channel in (far, quiet_far):
        assert channel.state is ChannelState.CLOSED
        assert channel.error == "the peer restarted its SCTP association"
    assert far.lost_data
    assert not quiet_far.lost_data
    assert pair.b.take_all(far) == ["arrived"]
    new_near, new_far = pair.open("new")
    assert new_near.id == near.id
    pair.b.send(new_far, "first")
    pair.settle()
    assert pair.a.take_all(new_near) == ["first"]
    assert quiet_near.state is ChannelState.OPEN  # belongs to a peer that is no more
    assert pair.b.association.unacknowledged_total == 0


@pytest.mark.parametrize(
    ("end", "errors"),
    [
        (lambda association, now: association.abort("", now), [None]),
        (lambda association, now: association.shutdown(now), [None]),
    ],
)
def test_a_goodbye_is_no_error(end, errors):
    pair = connected()
    pair.open()
    end(pair.a.association, pair.now)
    pair.exchange()
    assert pair.b.ends == errors


def test_an_association_that_breaks_ends_with_its_reason():
    pair = connected()
    near, _ = pair.open()
    pair.a.send(near, "lost")
    while not pair.a.ends:
        pair.drain()
        pair.lose_all()
        assert pair.fire_next_timer()
    assert pair.a.ends == ["the peer acknowledges nothing any more"]


def test_nothing_is_sent_on_channels_while_the_association_is_shut_down():
    pair = connected()
    near, far = pair.open()
    assert pair.a.channels.can_send(near)
    pair.b.association.shutdown(pair.now)
    assert not pair.b.channels.can_send(far)
    pair.exchange()
    assert not pair.a.channels.can_send(near)
