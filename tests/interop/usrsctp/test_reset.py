"""Streams start afresh in either direction, and are used again under their old numbers (RFC 6525, RFC 8831 §6.7)."""

import pytest

from trio_webrtc.core.sctp import IncomingStreamsReset, Message, OutgoingResetRefused, OutgoingStreamsReset
from trio_webrtc.errors import UsageError

from .endpoint import StreamsReset


@pytest.mark.parametrize("seed", range(5))
def test_we_reset_a_stream_and_use_it_again(meet, seed):
    meeting = meet(seed=seed).connect()
    for life in range(5):
        meeting.our_events.clear()
        meeting.theirs.notices.clear()
        for number in range(life + 1):
            meeting.ours.send(3, 51, b"%d.%d" % (life, number), now=meeting.now)
        meeting.ours.reset_streams([3], meeting.now)
        with pytest.raises(UsageError):
            meeting.ours.send(3, 51, b"too early", now=meeting.now)
        assert meeting.pass_time(60.0, until=lambda: meeting.told(OutgoingStreamsReset), loss=0.1, jitter=0.05)
        assert meeting.told(OutgoingStreamsReset) == [OutgoingStreamsReset((3,))]
        assert meeting.theirs.notices == [StreamsReset(incoming=True, refused=False, stream_ids=(3,))]
    sent = [b"%d.%d" % (life, number) for life in range(5) for number in range(life + 1)]
    assert [message.data for message in meeting.theirs.inbox] == sent


@pytest.mark.parametrize("seed", range(5))
def test_they_reset_a_stream_and_use_it_again(meet, seed):
    meeting = meet(seed=seed).connect()
    for life in range(5):
        meeting.theirs.notices.clear()
        for number in range(life + 1):
            assert meeting.theirs.send(3, b"%d.%d" % (life, number))
        meeting.theirs.reset_streams(3)
        done = StreamsReset(incoming=False, refused=False, stream_ids=(3,))
        assert meeting.pass_time(60.0, until=lambda: meeting.theirs.notices != [], loss=0.1, jitter=0.05)
        assert meeting.theirs.notices == [done]
    told = [event.data if isinstance(event, Message) else event for event in meeting.our_events[1:]]
    expected = []
    for life in range(5):
        expected += [b"%d.%d" % (life, number) for number in range(life + 1)]
        expected.append(IncomingStreamsReset((3,)))
    assert told == expected


@pytest.mark.parametrize("seed", range(5))
def test_a_reset_ends_a_stream_behind_all_that_was_sent_on_it(meet, seed):
    meeting = meet(seed=seed).connect()
    data = meeting.rng.randbytes(100_000)
    meeting.ours.send(1, 51, data, now=meeting.now)
    assert meeting.theirs.send(1, data)
    meeting.ours.reset_streams([1], meeting.now)
    meeting.theirs.reset_streams(1)
    assert meeting.pass_time(
        60.0,
        until=lambda: meeting.told(OutgoingStreamsReset) and len(meeting.theirs.notices) >= 3,
        loss=0.1,
        jitter=0.05,
    )
    assert [message.data for message in meeting.theirs.inbox] == [data]
    assert [type(event) for event in meeting.our_events].index(Message) < [
        type(event) for event in meeting.our_events
    ].index(IncomingStreamsReset)
    assert {(notice.incoming, notice.refused) for notice in meeting.theirs.notices[1:]} == {
        (True, False),
        (False, False),
    }


@pytest.mark.parametrize("seed", range(3))
def test_many_streams_are_reset_in_both_directions_at_once(meet, seed):
    meeting = meet(seed=seed).connect(from_="both")
    streams = list(range(500))
    for stream_id in streams:
        meeting.ours.send(stream_id, 51, b"last", now=meeting.now)
        assert meeting.theirs.send(stream_id, b"last")
    meeting.ours.reset_streams(streams, meeting.now)
    meeting.theirs.reset_streams(*streams[:200])
    reset_here, reset_there = set(), set()

    def all_reset() -> bool:
        reset_here.update(*(event.stream_ids for event in meeting.told(OutgoingStreamsReset)))
        reset_there.update(*(event.stream_ids for event in meeting.told(IncomingStreamsReset)))
        notices = [notice for notice in meeting.theirs.notices if isinstance(notice, StreamsReset)]
        confirmed = {stream_id for notice in notices if not notice.incoming for stream_id in notice.stream_ids}
        return reset_here == set(streams) and reset_there == confirmed == set(streams[:200])

    assert meeting.pass_time(60.0, until=all_reset, loss=0.1)
    assert meeting.pass_time(60.0, until=lambda: len(meeting.theirs.inbox) == len(meeting.our_inbox) == 500, loss=0.1)
    for stream_id in streams[:200]:
        meeting.ours.send(stream_id, 51, b"first", now=meeting.now)
        assert meeting.theirs.send(stream_id, b"first")
    assert meeting.pass_time(60.0, until=lambda: len(meeting.theirs.inbox) == len(meeting.our_inbox) == 700, loss=0.1)


def test_they_ask_us_to_reset_our_streams(meet):
    meeting = meet().connect()
    meeting.ours.send(4, 51, b"first life", now=meeting.now)
    meeting.pass_time(1.0)
    meeting.theirs.reset_streams(4, incoming=True)
    assert meeting.pass_time(60.0, until=lambda: meeting.told(OutgoingStreamsReset))
    assert meeting.told(OutgoingStreamsReset) == [OutgoingStreamsReset((4,))]
    meeting.ours.send(4, 51, b"second life", now=meeting.now)
    meeting.pass_time(1.0)
    assert [message.data for message in meeting.theirs.inbox] == [b"first life", b"second life"]


def test_they_reset_all_streams_at_once(meet):
    meeting = meet(streams=16).connect()
    for life in range(2):
        meeting.our_events.clear()
        for stream_id in range(16):
            assert meeting.theirs.send(stream_id, b"%d" % life)
        meeting.theirs.reset_streams()

        def all_reset() -> bool:
            told = meeting.told(IncomingStreamsReset)
            return sorted(stream_id for event in told for stream_id in event.stream_ids) == list(range(16))

        assert meeting.pass_time(60.0, until=all_reset, loss=0.05)
        meeting.pass_time(5.0)
        assert all_reset()
        assert len(meeting.our_inbox) == 16 * (life + 1)


@pytest.mark.parametrize("seed", range(3))
def test_streams_are_reset_again_and_again_while_others_carry_data(meet, seed):
    """What is sent in each life arrives in that life, whole and in order."""
    meeting = meet(seed=seed).connect()
    rng = meeting.rng
    lives = dict.fromkeys(range(8), 0)
    sent: dict[int, list[bytes]] = {stream_id: [] for stream_id in lives}
    resetting: set[int] = set()
    handled = 0
    for _ in range(400):
        for event in meeting.our_events[handled:]:
            if isinstance(event, OutgoingStreamsReset):
                resetting -= set(event.stream_ids)
            assert not isinstance(event, OutgoingResetRefused)
        handled = len(meeting.our_events)
        stream_id = rng.randrange(8)
        if stream_id not in resetting:
            if rng.random() < 0.3:
                meeting.ours.reset_streams([stream_id], meeting.now)
                resetting.add(stream_id)
            else:
                data = b"%d/%d" % (stream_id, len(sent[stream_id])) * rng.choice([1, 1000])
                meeting.ours.send(stream_id, 51, data, now=meeting.now)
                sent[stream_id].append(data)
        meeting.pass_time(0.05, loss=0.1, jitter=0.02)
    total = sum(map(len, sent.values()))
    assert meeting.pass_time(60.0, until=lambda: len(meeting.theirs.inbox) == total), f"seed {seed}"
    for stream_id in lives:
        assert [message.data for message in meeting.theirs.inbox if message.stream_id == stream_id] == sent[stream_id]
