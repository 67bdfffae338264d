"""Associations come up, from either side and from both at once, and come up again after a crash (RFC 9260 §5)."""

import pytest

from trio_webrtc.core.sctp import Established, Restarted

from .endpoint import Change

BEGINNERS = ["ours", "theirs", "both"]


def talk(meeting) -> None:
    """See a message cross in either direction."""
    meeting.ours.send(1, 51, b"from us", now=meeting.now)
    assert meeting.theirs.send(1, b"from them")
    here, there = len(meeting.our_inbox), len(meeting.theirs.inbox)
    assert meeting.pass_time(
        60.0, until=lambda: len(meeting.our_inbox) > here and len(meeting.theirs.inbox) > there, loss=0.05
    )
    assert meeting.our_inbox[here].data == b"from them"
    assert meeting.theirs.inbox[there].data == b"from us"


@pytest.mark.parametrize("beginner", BEGINNERS)
def test_an_association_comes_up(meet, beginner):
    meeting = meet().connect(from_=beginner)
    assert meeting.told(Established) == [Established(1024, 1024)]
    talk(meeting)


@pytest.mark.parametrize("beginner", BEGINNERS)
@pytest.mark.parametrize("seed", range(10))
def test_an_association_comes_up_though_packets_are_lost_and_overtaken(meet, beginner, seed):
    meeting = meet(seed=seed)
    meeting.theirs.listen() if beginner == "ours" else meeting.theirs.connect()
    if beginner != "theirs":
        meeting.ours.connect(meeting.now)
    both_up = lambda: meeting.ours.is_established and Change.UP in meeting.theirs.notices  # noqa: E731
    assert meeting.pass_time(120.0, until=both_up, loss=0.3, jitter=0.5), f"seed {seed}"
    talk(meeting)


@pytest.mark.parametrize("seed", range(5))
def test_a_peer_that_has_crashed_begins_anew(meet, seed):
    meeting = meet(seed=seed).connect(from_="theirs")
    talk(meeting)
    meeting.ours.send(3, 51, bytes(50_000), now=meeting.now)
    meeting.pass_time(0.05)
    meeting.theirs.begin_anew()
    meeting.theirs.connect()
    assert meeting.pass_time(60.0, until=lambda: meeting.told(Restarted) != [], loss=0.1)
    assert meeting.told(Restarted) == [Restarted((3,))]
    talk(meeting)


@pytest.mark.parametrize("seed", range(5))
def test_we_begin_anew_after_a_crash(meet, seed):
    meeting = meet(seed=seed).connect(from_="theirs")
    talk(meeting)
    meeting.we_begin_anew()
    meeting.ours.connect(meeting.now)
    assert meeting.pass_time(60.0, until=lambda: Change.RESTARTED in meeting.theirs.notices, loss=0.1)
    talk(meeting)
