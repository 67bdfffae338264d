import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_webrtc.core.contract import split_run
from trio_webrtc.shell.framing import HEADER_LENGTH, MAX_DATAGRAM, Deframer, frame, frame_run

DATAGRAMS = st.lists(st.one_of(st.binary(max_size=300), st.sampled_from([b"", bytes(MAX_DATAGRAM)])), max_size=12)


def cut(stream, places):
    """The stream in pieces that begin at these places."""
    borders = [0, *sorted(places), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(borders)]


@given(DATAGRAMS, st.data())
def test_datagrams_come_out_whole_and_in_order_however_the_stream_is_cut(datagrams, data):
    stream = b"".join(map(frame, datagrams))
    places = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    deframer = Deframer()
    got = [datagram for piece in cut(stream, places) for datagram in deframer.feed(piece)]
    assert got == [datagram for datagram in datagrams if datagram]


@given(DATAGRAMS.map(lambda datagrams: b"".join(frame(datagram[:300]) for datagram in datagrams)))
def test_a_stream_that_comes_byte_by_byte_says_the_same(stream):
    at_once, dripping = Deframer(), Deframer()
    assert [x for at in range(len(stream)) for x in dripping.feed(stream[at : at + 1])] == at_once.feed(stream)


@given(st.lists(st.binary(max_size=2000)))
def test_whatever_comes_less_than_a_frame_is_held(pieces):
    deframer = Deframer()
    held = 0
    for piece in pieces:
        got = deframer.feed(piece)
        assert all(got)
        held += len(piece) - sum(HEADER_LENGTH + len(datagram) for datagram in got)
        assert len(deframer._rest) <= min(held, HEADER_LENGTH + MAX_DATAGRAM - 1)


@pytest.mark.parametrize("place", [1, 2, 3])
def test_a_length_may_be_split_over_two_segments(place):
    stream = frame(bytes(300)) + frame(b"next")
    deframer = Deframer()
    assert deframer.feed(stream[:place]) == []
    assert deframer.feed(stream[place:]) == [bytes(300), b"next"]


def test_a_datagram_comes_as_soon_as_its_last_byte_does():
    stream = frame(b"one") + frame(b"two")
    deframer = Deframer()
    assert deframer.feed(stream[:-1]) == [b"one"]
    assert deframer.feed(stream[-1:]) == [b"two"]


def test_empty_frames_say_nothing():
    assert Deframer().feed(frame(b"") + frame(b"x") + frame(b"") * 3) == [b"x"]


def test_the_largest_datagram_has_room_and_a_larger_one_has_not():
    assert Deframer().feed(frame(bytes(MAX_DATAGRAM))) == [bytes(MAX_DATAGRAM)]
    with pytest.raises(OverflowError):
        frame(bytes(MAX_DATAGRAM + 1))


@given(st.binary(min_size=1, max_size=500), st.one_of(st.none(), st.integers(1, 600)))
def test_a_run_is_framed_datagram_by_datagram(data, segment_size):
    assert frame_run(data, segment_size) == b"".join(map(frame, split_run(data, segment_size)))
