"""What a whole peer makes of descriptions that change the peer's identity, or what there is to talk about."""

import pytest

from trio_webrtc.core.datachannel import ChannelState
from trio_webrtc.core.jsep import Which
from trio_webrtc.core.peer import ConnectionState, Ended, Secured
from trio_webrtc.errors import CloseReason, InvalidDescriptionError

from .test_peer import ALERT, PeerPair, goodbyes

STRANGERS = "a=fingerprint:sha-256 " + ":".join(["AB"] * 32)


@pytest.fixture
def pair() -> PeerPair:
    return PeerPair()


def forge(sdp: str) -> str:
    """The same description of another endpoint."""
    return "\r\n".join(STRANGERS if line.startswith("a=fingerprint") else line for line in sdp.split("\r\n"))


def with_another_name(sdp: str) -> str:
    """The same certificate, and one more."""
    return sdp.replace("a=setup", STRANGERS + "\r\na=setup")


def without_data(sdp: str) -> str:
    return sdp.replace("m=application 5000", "m=application 0").replace("a=group:BUNDLE 0\r\n", "")


def test_an_offer_that_needs_another_dtls_association_is_refused_and_changes_nothing(pair):
    near, far = pair.connect()
    with pytest.raises(InvalidDescriptionError, match="another one needs another connection"):
        pair.offer(pair.a, pair.b, forge)
    assert pair.b.core.signalling.state.value == "stable"
    pair.offer(pair.a, pair.b)
    pair.answer(pair.a, pair.b)
    pair.transfer(near, far)


def test_an_answer_that_needs_another_dtls_association_is_refused_and_changes_nothing(pair):
    near, far = pair.connect()
    pair.a.core.restart_ice(pair.now)
    pair.offer(pair.a, pair.b)
    with pytest.raises(InvalidDescriptionError, match="another one needs another connection"):
        pair.answer(pair.a, pair.b, forge)
    assert pair.a.core.signalling.state.value == "have-local-offer"
    pair.a.core.set_remote_description("answer", pair.b.core.signalling.describe(Which.CURRENT_LOCAL)[1], pair.now)
    pair.transfer(near, far)


def test_a_further_fingerprint_changes_nothing(pair):
    near, far = pair.connect()
    pair.negotiate(change=with_another_name)
    pair.transfer(near, far)


def test_another_endpoint_may_answer_than_the_one_that_answered_provisionally(pair):
    near = pair.create(pair.a)
    pair.offer(pair.a, pair.b)
    pair.b.core.set_local_description("pranswer", None, pair.now)
    pair.drain()
    provisional = forge(pair.b.core.signalling.describe(Which.PENDING_LOCAL)[1]).replace(
        "a=ice-ufrag:", "a=ice-ufrag:other"
    )
    pair.a.core.set_remote_description("pranswer", provisional, pair.now)
    pair.spend(0.5)
    pair.answer(pair.a, pair.b)
    assert pair.spend(10, lambda: bool(pair.b.arrived))
    pair.transfer(near, pair.b.arrived[0])


def test_data_may_flow_after_a_provisional_answer_already(pair):
    near = pair.create(pair.a)
    pair.offer(pair.a, pair.b)
    pair.b.core.set_local_description("pranswer", None, pair.now)
    pair.drain()
    pair.a.core.set_remote_description(*pair.b.core.signalling.describe(Which.PENDING_LOCAL), pair.now)
    assert pair.spend(5, lambda: bool(pair.b.arrived))
    pair.transfer(near, pair.b.arrived[0])
    pair.answer(pair.a, pair.b)
    pair.transfer(near, pair.b.arrived[0])


@pytest.mark.parametrize("by", ["offer", "answer"])
def test_taking_the_data_section_away_ends_the_connection(pair, by):
    near, far = pair.connect()
    taker, keeper = pair.a, pair.b
    if by == "offer":
        pair.offer(taker, keeper, without_data)
        keeper.core.set_local_description("answer", None, pair.now)
    else:
        pair.offer(keeper, taker)
        pair.answer(keeper, taker, without_data)
    assert keeper.core.closed
    pair.drain()
    assert keeper.told(Ended) == [Ended(CloseReason.REMOTE, None)]
    assert far.state is ChannelState.CLOSED
    assert goodbyes(keeper)[-1] == ALERT
    assert keeper.core.signalling.describe(Which.CURRENT_LOCAL) is not None, "which the taker has yet to be told"
    pair.spend(1)
    assert near.state is ChannelState.CLOSED
    assert taker.core.connection_state is ConnectionState.CLOSED


def test_audio_that_comes_and_goes_leaves_data_alone(pair):
    near, far = pair.connect()
    audio = "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:a\r\na=sendrecv\r\n"

    def with_audio(sdp: str) -> str:
        return sdp + audio

    def with_audio_stopped(sdp: str) -> str:
        return sdp + audio.replace("m=audio 9", "m=audio 0")

    def with_video_in_its_place(sdp: str) -> str:
        return sdp + audio.replace("m=audio", "m=video").replace("mid:a", "mid:v")

    for change in (with_audio, with_audio_stopped, with_video_in_its_place, with_audio):
        pair.offer(pair.a, pair.b, change)
        pair.b.core.set_local_description("answer", None, pair.now)
        pair.drain()
        assert pair.b.core.signalling.describe(Which.CURRENT_LOCAL)[1].count("m=") == 2
        pair.a.core.set_local_description("rollback", None, pair.now)
    assert isinstance(pair.b.core.stage, Secured)
    pair.transfer(near, far)
