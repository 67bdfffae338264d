"""Associations end, gracefully or at once, from either side, with nothing lost that was promised (RFC 9260 §9)."""

import pytest

from trio_webrtc.core.sctp import Aborted, Failed, ShutDown

from .endpoint import Change, ShuttingDown

LARGE = 200_000


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("side", ["ours", "theirs", "both"])
def test_a_shutdown_waits_for_all_that_was_sent(meet, side, seed):
    meeting = meet(seed=seed).connect()
    data = meeting.rng.randbytes(LARGE)
    meeting.ours.send(1, 51, data, now=meeting.now)
    assert meeting.theirs.send(1, data)
    if side != "theirs":
        meeting.ours.shutdown(meeting.now)
    if side != "ours":
        meeting.theirs.shutdown()

    def over() -> bool:
        return meeting.ours.is_ended and Change.SHUT_DOWN in meeting.theirs.notices

    assert meeting.pass_time(120.0, until=over, loss=0.05, jitter=0.02), f"seed {seed}: {meeting.ours.state}"
    assert meeting.told(ShutDown) == [ShutDown()]
    assert [message.data for message in meeting.our_inbox] == [data]
    assert [message.data for message in meeting.theirs.inbox] == [data]
    if side == "ours":
        assert meeting.theirs.notices[1:] == [ShuttingDown, Change.SHUT_DOWN]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("side", ["ours", "theirs", "both"])
def test_a_shutdown_comes_through_a_bad_network(meet, side, seed):
    meeting = meet(seed=seed).connect()
    if side != "theirs":
        meeting.ours.shutdown(meeting.now)
    if side != "ours":
        meeting.theirs.shutdown()

    def over() -> bool:
        return meeting.ours.is_ended and Change.SHUT_DOWN in meeting.theirs.notices

    assert meeting.pass_time(120.0, until=over, loss=0.4, jitter=0.5), f"seed {seed}: {meeting.ours.state}"
    assert meeting.told(ShutDown) == [ShutDown()]


def test_our_abort_ends_it_at_once(meet):
    meeting = meet().connect()
    meeting.ours.send(1, 51, bytes(LARGE), now=meeting.now)
    meeting.pass_time(0.05)
    meeting.ours.abort("enough", meeting.now)
    assert meeting.ours.is_ended
    meeting.pass_time(0.05)
    assert meeting.theirs.notices == [Change.UP, Change.LOST]


def test_their_abort_ends_it_at_once(meet):
    meeting = meet().connect()
    assert meeting.theirs.send(1, bytes(LARGE))
    meeting.pass_time(0.05)
    meeting.theirs.abort()
    meeting.pass_time(0.05)
    (aborted,) = meeting.told(Aborted)
    assert aborted.by_peer
    assert meeting.ours.is_ended


def test_an_abort_that_is_lost_is_noticed_in_time(meet):
    meeting = meet().connect()
    meeting.theirs.begin_anew()
    meeting.ours.send(1, 51, b"anybody there?", now=meeting.now)
    assert meeting.pass_time(300.0, until=lambda: meeting.ours.is_ended)
    assert [type(event) for event in meeting.our_events[1:]] in ([Aborted], [Failed])


@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_new_association_follows_an_old_one(meet, side):
    meeting = meet().connect(from_="theirs")
    meeting.ours.shutdown(meeting.now) if side == "ours" else meeting.theirs.shutdown()
    assert meeting.pass_time(60.0, until=lambda: meeting.ours.is_ended and Change.SHUT_DOWN in meeting.theirs.notices)
    meeting.we_begin_anew()
    meeting.theirs.begin_anew()
    meeting.theirs.notices.clear()
    meeting.connect(from_="theirs")
    meeting.ours.send(1, 51, b"again", now=meeting.now)
    assert meeting.pass_time(10.0, until=lambda: [message.data for message in meeting.theirs.inbox] == [b"again"])
